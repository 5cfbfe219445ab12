"""One net on images of several sizes: what grows with them, and what does not."""

from __future__ import annotations

from math import prod
from typing import Any

from cnnctl.audit import conventions
from cnnctl.audit.document import FLOAT, Subject
from cnnctl.audit.forward import forward
from cnnctl.audit.places import Field
from cnnctl.audit.step import Setting, measure
from cnnctl.audit.trace import Row
from cnnctl.errors import NetError, UserError

FIGURES = (
    "input", "output", "params", "macs", "activations", "bytes", "inference_peak_bytes", "peak",
    "receptive_field", "share", "sees_all",
)  # fmt: skip


def row(subject: Subject, setting: Setting, side: int) -> dict[str, Any]:
    """The costs of `subject`, whose images have this side.

    `activations` (values) and `bytes` are those of one image by the convention rows, `peak` those
    of a training step; null where the net cannot be trained, with the reason in `refused`.
    `receptive_field` is that of the last layer that has a local one, `share` that as a share of
    the side: above 1 a value sees beyond the image.
    """
    seen = forward(subject.net, subject.input)
    values = sum(conventions.values(one, "rows") for one in seen.walk.rows) + prod(subject.input)
    try:
        peak, reason = measure(subject.net, subject.input, setting).peak, None
    except NetError as wrong:
        peak, reason = None, wrong.message
    field = _last(seen.walk.rows)
    pixels = None if field is None else max(axis.size for axis in field.axes or ())
    return {
        "side": side, "input": list(subject.input), "output": list(seen.output),
        "params": sum(value.numel() for value in subject.net.parameters()),
        "macs": sum(seen.walk.macs.values()),
        "activations": values, "bytes": values * FLOAT.get(setting.precision, 4),
        "inference_peak_bytes": seen.peak, "peak": peak,
        "receptive_field": pixels, "share": None if pixels is None else pixels / side,
        "sees_all": None if seen.field is None else seen.field.everything, "refused": reason,
    }  # fmt: skip


def refused(side: int, wrong: UserError) -> dict[str, Any]:
    """The same of a size that the net does not take, with the reason."""
    return {"side": side, **dict.fromkeys(FIGURES), "refused": wrong.message}


def _last(rows: list[Row]) -> Field | None:
    """The last field with a local part."""
    fields = (row.field for row in reversed(rows))
    return next((field for field in fields if field is not None and field.axes), None)
