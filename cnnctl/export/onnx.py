"""ONNX: the program through torch.export, checked by onnx, with what it says about itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from cnnctl import __version__
from cnnctl.errors import NetError, UsageError
from cnnctl.export.program import SOME, Program, trace
from cnnctl.export.silence import quiet
from cnnctl.manifest import ENTRY, Manifest

SCOPES = "pkg.torch.onnx.name_scopes"


def write(program: Program, manifest: Manifest, file: Path) -> None:
    """Write the file; raises what torch and onnx raise of a net that they cannot express."""
    traced = trace(program, manifest)
    names = [manifest.takes["name"]], [manifest.gives["name"]]
    _made(traced.program, traced.images, traced.free, names).save(str(file))
    describe(file, manifest)


def of_net(net: nn.Module, shape: Sequence[int], device: torch.device) -> bytes:
    """A net alone, for any number of images (C, H, W), as an ONNX file would hold it.

    Raises UsageError without onnx, and NetError of a net that it cannot express.
    """
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it and says so in many lines
    except ImportError as wrong:
        raise UsageError("onnx is not installed", "pip install 'cnnctl[onnx]'") from wrong
    images = torch.zeros(SOME, *shape, device=device)
    try:
        with quiet():
            made = _made(net.to(device).eval(), images, {0: Dim("batch", min=1)})
    except Exception as wrong:  # torch.export has a tree of its own
        reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
        raise NetError(f"the net does not go into ONNX: {reason}") from wrong
    return made.model_proto.SerializeToString()


def _made(
    net: nn.Module | ExportedProgram, images: Tensor, free: dict[int, Dim],
    names: tuple[list[str], list[str]] | tuple[None, None] = (None, None),
) -> torch.onnx.ONNXProgram:  # fmt: skip
    """What torch makes of a net; `free` are the axes of the images that may have any length."""
    made = torch.onnx.export(
        net, (images,), dynamo=True, verbose=False,
        input_names=names[0], output_names=names[1], dynamic_shapes=(free,),
    )  # fmt: skip
    assert made is not None
    return made


def _strip(model: Any) -> None:
    """Take out what the exporter notes of each node, but the layer it is of, which audits show."""
    for one in [*model.graph.node, *model.graph.value_info]:
        kept = [(entry.key, entry.value) for entry in one.metadata_props if entry.key == SCOPES]
        del one.metadata_props[:]
        for key, value in kept:
            one.metadata_props.add(key=key, value=value)


def describe(file: Path, manifest: Manifest) -> None:
    """Put the manifest into the file, and plain keys that other tools look for; then check it."""
    import onnx

    model = onnx.load(str(file))
    _strip(model)
    model.producer_name, model.producer_version = "cnnctl", __version__
    names = json.dumps(dict(enumerate(manifest.classes)), ensure_ascii=False)
    onnx.helper.set_model_props(
        model,
        {
            ENTRY: manifest.text(),
            **({} if manifest.task == "reconstruct" else {"names": names}),
            "input": json.dumps(manifest.takes, ensure_ascii=False),
            "output": json.dumps(manifest.gives, ensure_ascii=False),
            "model": manifest.model,
            "run": manifest.run,
            "weights_sha256": manifest.weights_sha256,
        },
    )
    onnx.save(model, str(file))
    onnx.checker.check_model(str(file), full_check=True)
