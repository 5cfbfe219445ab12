"""What a kernel of torch's CPU backend takes for itself and gives back before it returns.

A dispatch mode sees none of it. Where the peak of a step is inside a kernel, as it often is in
small nets and where images are large, it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnctl.audit import kernels
from cnnctl.audit.geometry import tensors
from cnnctl.audit.kernels import FLOAT, Convolution

aten: Any = torch.ops.aten

IMAGES = 4  # axes of a batch of images
SMALL = 128  # height and width of what is resized together: up to it torch turns images
PAIRS = (
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor,
    aten.add_.Tensor, aten.sub_.Tensor, aten.mul_.Tensor, aten.div_.Tensor,
)  # fmt: skip


def workspace(func: Any, args: Sequence[Any], out: Any) -> int:
    """Bytes beside arguments and results at the worst moment of one operation on a CPU."""
    rule = RULES.get(func)
    return 0 if rule is None else max(0, rule(args, out))


def none(*_: Any) -> int:
    """The same for a device whose kernels are not known."""
    return 0


def _convolution(args: Sequence[Any], out: Tensor) -> int:
    if out.dim() != IMAGES:
        return 0
    made = Convolution(args[0], args[1], out, *args[3:9], biased=args[2] is not None)
    return _gaps(args[0]) + kernels.forward(made)


def _convolution_backward(args: Sequence[Any], _: Any) -> int:
    gradient, image, weight = args[:3]
    if gradient.dim() != IMAGES:
        return 0
    made = Convolution(image, weight, gradient, *args[4:10])
    to_image, to_weight, _ = args[10]
    inside = kernels.backward(made, to_image=to_image, to_weight=to_weight)
    return _gaps(gradient, image) + inside


def _batch_norm_backward(args: Sequence[Any], _: Any) -> int:
    """A second gradient of the images; of those with gaps, if they are 16-bit, one of floats."""
    gradient, image = args[:2]
    if _gaps(gradient, image):
        return FLOAT * image.numel() if image.itemsize < FLOAT else 0
    return image.nbytes


def _pair(args: Sequence[Any], out: Tensor) -> int:
    """Those that have another type than the result are copied into it."""
    other = (value for value in tensors(args) if value.dim() and value.dtype != out.dtype)
    return sum(value.numel() * out.itemsize for value in other)


def _mean(args: Sequence[Any], out: Tensor) -> int:
    """That of 16-bit numbers is taken over floats."""
    values = args[0].numel() + out.numel()
    return FLOAT * values if args[0].itemsize < FLOAT else 0


def _gaps(*values: Tensor) -> int:
    """Copies of images that do not lie in memory without gaps."""
    return sum(
        value.nbytes
        for value in values
        if not value.is_contiguous() and not value.is_contiguous(memory_format=torch.channels_last)
    )


def _softmax(args: Sequence[Any], _: Any) -> int:
    """Values that do not lie row by row are copied first."""
    return 0 if args[0].is_contiguous() else args[0].nbytes


def _resize(args: Sequence[Any], out: Tensor) -> int:
    """Small results are made in channels_last: image and result are copied to it and back."""
    image = args[0]
    small = sum(out.shape[2:]) <= SMALL and image.dim() == IMAGES
    turned = (value.nbytes for value in (image, out) if not _is_last(value))
    return sum(turned) if small else 0


def _bicubic_backward(args: Sequence[Any], _: Any) -> int:
    """Its kernel knows no channels_last: the gradient is copied."""
    return 0 if args[0].is_contiguous() else args[0].nbytes


def _is_last(value: Tensor) -> bool:
    return value.is_contiguous(memory_format=torch.channels_last)


RULES: dict[Any, Callable[[Sequence[Any], Any], int]] = {
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: _convolution_backward,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.mean.dim: _mean,
    **dict.fromkeys((aten._softmax.default, aten._log_softmax.default), _softmax),  # noqa: SLF001 - their names
    aten.upsample_nearest2d.default: _resize,
    aten.upsample_bilinear2d.default: _resize,
    aten.upsample_bicubic2d_backward.default: _bicubic_backward,
    **dict.fromkeys(PAIRS, _pair),
}
