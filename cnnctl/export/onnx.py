"""ONNX: the program through torch.export, checked by onnx, with what it says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cnnctl import __version__
from cnnctl.export.program import Program, trace
from cnnctl.manifest import ENTRY, Manifest

SCOPES = "pkg.torch.onnx.name_scopes"


def write(program: Program, manifest: Manifest, file: Path) -> None:
    """Write the file; raises what torch and onnx raise of a net that they cannot express."""
    import torch

    traced = trace(program, manifest)
    made = torch.onnx.export(
        traced.program, (traced.images,), dynamo=True, verbose=False,
        input_names=[manifest.takes["name"]], output_names=[manifest.gives["name"]],
        dynamic_shapes=(traced.free,),
    )  # fmt: skip
    assert made is not None
    made.save(str(file))
    describe(file, manifest)


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
    onnx.helper.set_model_props(
        model,
        {
            ENTRY: manifest.text(),
            "names": json.dumps(dict(enumerate(manifest.classes)), ensure_ascii=False),
            "input": json.dumps(manifest.takes, ensure_ascii=False),
            "output": json.dumps(manifest.gives, ensure_ascii=False),
            "model": manifest.model,
            "run": manifest.run,
            "weights_sha256": manifest.weights_sha256,
        },
    )
    onnx.save(model, str(file))
    onnx.checker.check_model(str(file), full_check=True)
