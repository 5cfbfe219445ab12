"""Tiny copies of the published data sets, each in the format in which it is published."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets.utils
from PIL import Image

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.images import DATA, Data
from cnnctl.config.read import read
from cnnctl.data import decode

Split = list[tuple[np.ndarray, int]]  # pixels uint8 (C, H, W) as a reader must find them, label
Written = dict[str, Split]
SYNSETS = {"n02012849": ("crane",), "n02112018": ("Pomeranian",), "n03126707": ("crane",)}


def section(name: str, **changes: object) -> Data:
    """conf/data/NAME.yaml with changes."""
    numbers = runs.read_config(paths.conf_dir() / "data" / f"{name}.yaml")
    found, problems = read(DATA[name], numbers | {"size": 32} | changes, "data")
    assert problems == []
    assert found is not None
    return found


def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tiny file has the checksum of the published one: the one place that says so."""
    monkeypatch.setattr(torchvision.datasets.utils, "check_md5", lambda *_, **__: True)


def noise(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def split(pixels: np.ndarray, labels: list[int]) -> Split:
    return list(zip(pixels, labels, strict=True))


def photo(file: Path, seed: int, mode: str = "RGB") -> np.ndarray:
    """A file of noise of some size; what cnnctl's decoder makes of it (3, H, W)."""
    shape = (20 + seed % 3, 24, 3)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(1, shape, seed)[0]).convert(mode).save(file)
    return decode.image(file.read_bytes(), 3, str(file)).numpy()


def idx(file: Path, values: np.ndarray, *, packed: bool = False) -> None:
    """The format of MNIST's home page, "THE IDX FILE FORMAT"."""
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    data = head + values.tobytes()
    file.with_name(f"{file.name}.gz" if packed else file.name).write_bytes(
        gzip.compress(data) if packed else data
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


def folders(root: Path, names: list[str], count: int, pattern: str, seed: int = 0) -> Split:
    """root/<name>/<pattern with the image's number>."""
    return [
        (photo(root / name / pattern.format(number, label), seed + 7 * label + number), label)
        for label, name in enumerate(names)
        for number in range(1, count + 1)
    ]


def imagenette(root: Path) -> Written:
    names = list(torchvision.datasets.Imagenette._WNID_TO_CLASS)
    base = root / "imagenette2"
    return {
        "train": folders(base / "train", names, 3, "{}.JPEG"),
        "test": folders(base / "val", names, 1, "{}.JPEG", 50),
    }


def imagenet(root: Path) -> Written:
    """As torchvision leaves it once it has unpacked the archives."""
    written = {
        "train": folders(root / "train", list(SYNSETS), 3, "{}.JPEG"),
        "test": folders(root / "val", list(SYNSETS), 1, "{}.JPEG", 50),
    }
    torch.save((SYNSETS, list(SYNSETS)), root / "meta.bin")
    return written


def flowers102(root: Path) -> Written:
    """One folder of images, and lists of MATLAB that count from 1."""
    io = pytest.importorskip("scipy.io")
    ids = {"trnid": [5, 1, 6, 2], "valid": [3, 7], "tstid": [4, 8]}
    labels = [1, 102, 1, 102, 1, 102, 102, 1]
    base = root / "flowers-102"
    images = [photo(base / f"jpg/image_{n:05d}.jpg", n) for n in range(1, 9)]
    io.savemat(base / "setid.mat", ids)
    io.savemat(base / "imagelabels.mat", {"labels": labels})
    return {
        part: [(images[n - 1], labels[n - 1] - 1) for n in ids[key]]
        for part, key in [("train", "trnid"), ("val", "valid"), ("test", "tstid")]
    }


def food101(root: Path) -> Written:
    base = root / "food-101"
    names = ["apple_pie", "baby_back_ribs", "waffles"]
    written: Written = {}
    for part, numbers in [("train", range(3)), ("test", range(3, 5))]:
        listed = {name: [f"{name}/{number}" for number in numbers] for name in names}
        (base / "meta").mkdir(parents=True, exist_ok=True)
        (base / "meta" / f"{part}.json").write_text(json.dumps(listed))
        written[part] = [
            (photo(base / f"images/{path}.jpg", 7 * label + number), label)
            for label, name in enumerate(names)
            for number, path in zip(numbers, listed[name], strict=True)
        ]
    return written


def oxford_pets(root: Path) -> Written:
    """Lines of image, class from 1, cat or dog, and breed within these."""
    base = root / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    written: Written = {}
    for part, numbers in [("trainval", (1, 2, 3)), ("test", (4,))]:
        lines, found = [], []
        for label, (breed, kind) in enumerate([("Abyssinian", 1), ("great_pyrenees", 2)]):
            for number in numbers:
                name = f"{breed}_{number}"
                lines.append(f"{name} {label + 1} {kind} 1\n")
                found.append((photo(base / f"images/{name}.jpg", 9 * label + number), label))
        (base / f"annotations/{part}.txt").write_text("".join(lines))
        written["train" if part == "trainval" else part] = found
    return written


def gtsrb(root: Path) -> Written:
    """PPM files; those of the test are listed, with more columns than are read."""
    base = root / "gtsrb"
    train = folders(base / "GTSRB/Training", ["00000", "00001", "00002"], 3, "{1:05d}_{0:05d}.ppm")
    lines, test = ["Filename;Width;Height;Roi.X1;ClassId\n"], []
    for number, label in enumerate([2, 0, 1]):
        name = f"{number:05d}.ppm"
        pixels = photo(base / "GTSRB/Final_Test/Images" / name, 90 + number)
        lines.append(f"{name};24;20;5;{label}\n")
        test.append((pixels, label))
    (base / "GT-final_test.csv").write_text("".join(lines))
    return {"train": train, "test": test}


def caltech101(root: Path) -> Written:
    """Beside the classes there is a folder of other images, which is none."""
    base = root / "caltech101/101_ObjectCategories"
    photo(base / "BACKGROUND_Google/image_0001.jpg", 99, "L")
    return {"train": folders(base, ["Faces", "accordion", "wrench"], 4, "image_{:04d}.jpg")}


def eurosat(root: Path) -> Written:
    base = root / "eurosat/2750"
    return {"train": folders(base, ["AnnualCrop", "Forest", "River"], 4, "{}.jpg")}


WRITERS: dict[str, Callable[[Path], Written]] = {
    "mnist": mnist,
    "fashion_mnist": lambda root: mnist(root, "FashionMNIST"),
    "kmnist": lambda root: mnist(root, "KMNIST"),
    "emnist": lambda root: emnist(root, "balanced", 47),
    "cifar10": cifar10, "cifar100": cifar100, "svhn": svhn, "stl10": stl10,
    "imagenette": imagenette, "imagenet": imagenet, "flowers102": flowers102,
    "food101": food101, "oxford_pets": oxford_pets, "gtsrb": gtsrb, "caltech101": caltech101,
    "eurosat": eurosat,
}  # fmt: skip
CLASSES = {  # where the tiny set has fewer
    "imagenet": 3, "food101": 3, "oxford_pets": 2, "gtsrb": 3, "caltech101": 3, "eurosat": 3,
}  # fmt: skip
