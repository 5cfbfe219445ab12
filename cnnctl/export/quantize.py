"""int8: weights and arithmetic of an ONNX file in integers, scaled on training images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from cnnctl.data.prepare import Prepare
from cnnctl.export.onnx import describe
from cnnctl.export.shown import Shown
from cnnctl.manifest import PREPROCESS, Manifest

IMAGES = 128  # of the training split: they show how large the values in the net become
BATCH = 32
KINDS = ("Conv", "Gemm", "MatMul")  # what is done in integers; all else is too quick to matter


def integers(plain: Path, file: Path, manifest: Manifest, shown: Shown, prepare: Prepare) -> None:
    """Write `plain` once more as `file`: static, symmetric, one scale per output channel.

    Weights take 7 of 8 bits (`reduce_range`): on processors without VNNI two products of 8 bits
    overflow, and what was proven here would be something else there.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        """Hands over the training images in batches."""

        def __init__(self) -> None:
            self.batches = _batches(shown, manifest, prepare)

        def get_next(self) -> dict[str, Any] | None:  # pyright: ignore[reportIncompatibleMethodOverride] - None ends it, as its documentation says
            """The next batch."""
            found = next(self.batches, None)
            return None if found is None else {manifest.takes["name"]: found.numpy()}

    ready = file.with_name("ready.onnx")
    quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready), str(file), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        reduce_range=True, op_types_to_quantize=list(KINDS),
        nodes_to_exclude=_of_images(onnx.load(str(ready))),
    )  # fmt: skip
    ready.unlink()
    describe(file, manifest)


def _of_images(model: Any) -> list[str]:
    """The products that resize: neither of their factors is a weight."""
    known = {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in KINDS]
    return [node.name for node in products if not known & set(node.input)]


def _batches(shown: Shown, manifest: Manifest, prepare: Prepare) -> Iterator[Tensor]:
    for images, _ in shown.chunks(BATCH):
        given = images if PREPROCESS in manifest.include else prepare.plain(images)
        yield from (given.split(BATCH) if manifest.dynamic_batch else given.split(1))
