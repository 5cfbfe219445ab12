"""Weights on disk: checkpoints read without running code in them, hashes, what did not match."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnctl.errors import CheckpointError

ENTRY = "cnnctl"  # the entry of a checkpoint that holds our JSON text
PREFIX = "net."  # of the net's tensors in a task's state dict
EXAMPLES = 3  # of what does not fit, in one line


@dataclass(frozen=True)
class Checkpoint:
    """The net's tensors, the configuration that made them and the names of the classes."""

    file: Path
    weights: dict[str, Tensor]
    config: dict[str, Any]
    classes: tuple[str, ...]
    epoch: int


def sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def entry(config: dict[str, Any], classes: tuple[str, ...]) -> str:
    """What a checkpoint says about itself: JSON text, so that reading it runs no code."""
    return json.dumps({"schema": 1, "config": config, "classes": classes})


def read(file: Path) -> Checkpoint:
    """Read a checkpoint of cnnctl. Raises CheckpointError if it is none, or is damaged."""
    if not file.is_file():
        raise CheckpointError(f"no checkpoint at {file}")
    found = content(file)
    try:
        return _checkpoint(file, found)
    except (KeyError, TypeError, ValueError) as wrong:
        raise _damaged(file) from wrong


def is_ours(content: Any) -> bool:
    """Whether what a file holds is a checkpoint of cnnctl."""
    return isinstance(content, dict) and ENTRY in content and "state_dict" in content


def content(file: Path) -> Any:
    """What torch.save put into a file. Raises CheckpointError if it cannot be read as data."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError as wrong:
        raise CheckpointError(f"cannot read {file}: {wrong.strerror}") from wrong
    except pickle.UnpicklingError as wrong:
        if "nsupported global: GLOBAL" not in str(wrong) and "unsupported GLOBAL" not in str(wrong):
            raise _damaged(file) from wrong
        text = f"{file} holds Python objects, which could run code; they are not read"
        raise CheckpointError(
            text, "save the tensors alone: torch.save(net.state_dict(), …)"
        ) from wrong
    except Exception as wrong:  # a damaged pickle can raise anything
        raise _damaged(file) from wrong


def load(net: nn.Module, checkpoint: Checkpoint) -> None:
    """Put the checkpoint's tensors into `net`. Raises CheckpointError if they do not fit."""
    wanted = net.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in checkpoint.weights]
    wrong += [f"{name} is unknown" for name in checkpoint.weights if name not in wanted]
    wrong += [
        f"{name} is {size(checkpoint.weights[name])} instead of {size(tensor)}"
        for name, tensor in wanted.items()
        if name in checkpoint.weights and checkpoint.weights[name].shape != tensor.shape
    ]
    if wrong:
        made = checkpoint.config["model"]["name"]
        raise CheckpointError(f"{checkpoint.file} holds another network ({made}): {some(wrong)}")
    net.load_state_dict(checkpoint.weights)


def _damaged(file: Path) -> CheckpointError:
    text = f"{file} cannot be read: it is truncated, or no checkpoint"
    return CheckpointError(text, "use another file")


def _checkpoint(file: Path, content: Any) -> Checkpoint:
    if not is_ours(content):
        raise CheckpointError(f"{file} is no checkpoint of cnnctl: it has no '{ENTRY}' entry")
    about = json.loads(content[ENTRY])
    weights = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in content["state_dict"].items()
        if name.startswith(PREFIX)
    }
    return Checkpoint(file, weights, about["config"], tuple(about["classes"]), content["epoch"])


def size(tensor: Tensor) -> str:
    """The shape of a tensor as people write it: 64x3x7x7."""
    return "x".join(str(side) for side in tensor.shape)


def some(faults: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(faults) - EXAMPLES} more" if len(faults) > EXAMPLES else ""
    return ", ".join(faults[:EXAMPLES]) + more
