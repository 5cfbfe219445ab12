"""What torch and onnxruntime say while they export that our user has no use for, by name."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

DEPRECATED = r"`torch\.jit\.\w+` is deprecated"  # torchscript is asked for by name
# torch's own, of images without a pixel, and borders of a net that takes one size alone
DECIDED = r"Converting a tensor to a Python boolean"
DECIDES = r"torch\.nn\.functional|cnnctl\.mirror"
CHATTY = (
    "torch.fx.experimental.symbolic_shapes",  # looks for the user's code, where we have an error
    "torch.onnx",
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without these warnings, and without the lines of these loggers."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", DEPRECATED)
        warnings.filterwarnings("ignore", DECIDED, module=DECIDES)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
