"""Tiny copies of the published data sets of pixels, each in the format it is published in."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

Split = list[tuple[np.ndarray, int]]  # pixels uint8 (C, H, W) as a reader must find them, label
Written = dict[str, Split]


def noise(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def split(pixels: np.ndarray, labels: list[int]) -> Split:
    return list(zip(pixels, labels, strict=True))


def idx(file: Path, values: np.ndarray, *, packed: bool = False) -> None:
    """The format of MNIST's home page, "THE IDX FILE FORMAT"."""
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    data = head + values.tobytes()
    file.with_name(f"{file.name}.gz" if packed else file.name).write_bytes(
        gzip.compress(data, mtime=0) if packed else data
    )


def mnist(root: Path, name: str = "MNIST", *, packed: bool = False) -> Written:
    written = {}
    for seed, (part, prefix, count) in enumerate([("train", "train", 30), ("test", "t10k", 10)]):
        pixels, labels = noise(count, (28, 28), seed), np.arange(count, dtype=np.uint8) % 10
        raw = root / name / "raw"
        idx(raw / f"{prefix}-images-idx3-ubyte", pixels, packed=packed)
        idx(raw / f"{prefix}-labels-idx1-ubyte", labels, packed=packed)
        written[part] = split(pixels[:, None], labels.tolist())
    return written


def emnist(root: Path, selection: str, classes: int, first: int = 0) -> Written:
    written = {}
    for seed, part in enumerate(["train", "test"]):
        pixels = noise(3 * classes, (28, 28), seed)
        labels = np.arange(3 * classes, dtype=np.uint8) % classes
        stem = root / f"EMNIST/raw/emnist-{selection}-{part}"
        idx(Path(f"{stem}-images-idx3-ubyte"), pixels.transpose(0, 2, 1))
        idx(Path(f"{stem}-labels-idx1-ubyte"), labels + np.uint8(first))
        written[part] = split(pixels[:, None], labels.tolist())
    return written


def cifar(folder: Path, files: dict[str, list[str]], key: str, names: dict) -> Written:
    """Rows of 3,072 bytes, red, green, blue, in pickles of Python 2's strings."""
    folder.mkdir(parents=True)
    (folder / ("meta" if "fine_label_names" in names else "batches.meta")).write_bytes(
        pickle.dumps(names, protocol=2)
    )
    written: Written = {}
    for part, batches in files.items():
        written[part] = []
        for batch in batches:
            pixels = noise(20, (3, 32, 32), len(batch) + len(written[part]))
            labels = [number % 10 for number in range(20)]
            entry = {"data": pixels.reshape(20, 3072), key: labels}
            (folder / batch).write_bytes(pickle.dumps(entry, protocol=2))
            written[part] += split(pixels, labels)
    return written


def cifar10(root: Path) -> Written:
    files = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
    names = {"label_names": [f"thing{number}" for number in range(10)]}
    return cifar(root / "cifar-10-batches-py", files, "labels", names)


def cifar100(root: Path) -> Written:
    names = {"fine_label_names": [f"thing{number}" for number in range(100)]}
    files = {"train": ["train"], "test": ["test"]}
    return cifar(root / "cifar-100-python", files, "fine_labels", names)


def svhn(root: Path) -> Written:
    """MATLAB's (32, 32, 3, N), where the digit 0 has the label 10."""
    io = pytest.importorskip("scipy.io")
    written = {}
    for seed, (part, count) in enumerate([("train", 30), ("test", 20), ("extra", 40)]):
        pixels = noise(count, (3, 32, 32), seed)
        labels = np.arange(count) % 10
        values = {"X": pixels.transpose(2, 3, 1, 0), "y": np.where(labels, labels, 10)[:, None]}
        root.mkdir(parents=True, exist_ok=True)
        io.savemat(root / f"{part}_32x32.mat", values)
        written[part] = split(pixels, labels.tolist())
    return written


def stl10(root: Path) -> Written:
    """Columns before rows; labels from 1; ten subsets, here of the images n, n + 1 and n + 2."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("\n".join("abcdefghij") + "\n")
    rows = [" ".join(str(n + step) for step in range(0, 40, 10)) for n in range(10)]
    (folder / "fold_indices.txt").write_text("\n".join(rows) + "\n")
    written = {}
    for seed, (part, count) in enumerate([("train", 40), ("test", 10)]):
        pixels = noise(count, (3, 96, 96), seed)
        labels = np.arange(count, dtype=np.uint8) % 10
        (folder / f"{part}_X.bin").write_bytes(pixels.transpose(0, 1, 3, 2).tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels + 1).tobytes())
        written[part] = split(pixels, labels.tolist())
    (folder / "unlabeled_X.bin").write_bytes(bytes(3 * 96 * 96))
    return written
