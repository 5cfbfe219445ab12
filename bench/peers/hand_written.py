"""A training script of plain PyTorch: DataLoader, loop, validation, checkpoint, test.

    python bench/peers/hand_written.py DATA MODEL [--epochs N] [--precision P] [--steps N]

DATA is `digits` or a folder with train, val and test; MODEL is `lenet5` or `resnet20`.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import islice
from pathlib import Path

import torch
from subjects import images, net
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("model", choices=["lenet5", "resnet20"])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--batch-size", type=int, default=64)
    return parser.parse_args()


def evaluate(model: nn.Module, loader: DataLoader, *, bf16: bool) -> float:
    """Top-1."""
    model.eval()
    hits, seen = 0, 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch, labels in loader:
            hits += (model(batch).argmax(1) == labels).sum().item()
            seen += len(labels)
    return hits / seen


def main() -> None:
    """Train, validate after every epoch, keep the best, test it."""
    given = arguments()
    bf16 = given.precision == "bf16-mixed"
    torch.manual_seed(0)
    size = given.batch_size
    train = DataLoader(images(given.data, "train"), size, shuffle=True)
    val, test = (DataLoader(images(given.data, split), size) for split in ("val", "test"))
    model = net(given.model, 1 if given.data == "digits" else 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    best = -1.0
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(given.epochs):
            model.train()
            total = 0.0
            for batch, labels in islice(train, given.steps):
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = cross_entropy(model(batch), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
            top1 = evaluate(model, val, bf16=bf16)
            print(f"epoch {epoch + 1}: loss {total / len(train):.4f}, val {top1:.4f}")
            if top1 > best:
                best = top1
                torch.save(model.state_dict(), Path(folder) / "best.pt")
        model.load_state_dict(torch.load(Path(folder) / "best.pt"))
        print(f"test {evaluate(model, test, bf16=bf16):.4f}")


if __name__ == "__main__":
    main()
