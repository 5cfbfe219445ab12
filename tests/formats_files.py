"""Tiny copies of the published data sets of image files, each as it is published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from formats_arrays import Split, Written, noise
from PIL import Image
from torchvision import datasets

from cnnctl.data import decode

SYNSETS = {"n02012849": ("crane",), "n02112018": ("Pomeranian",), "n03126707": ("crane",)}


def photo(file: Path, seed: int, mode: str = "RGB") -> np.ndarray:
    """A file of noise of some size; what cnnctl's decoder makes of it (3, H, W)."""
    shape = (20 + seed % 3, 24, 3)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(1, shape, seed)[0]).convert(mode).save(file)
    return decode.image(file.read_bytes(), 3, str(file)).numpy()


def folders(root: Path, names: list[str], count: int, pattern: str, seed: int = 0) -> Split:
    """root/<name>/<pattern with the image's number>."""
    return [
        (photo(root / name / pattern.format(number, label), seed + 7 * label + number), label)
        for label, name in enumerate(names)
        for number in range(1, count + 1)
    ]


def imagenette(root: Path) -> Written:
    names = list(datasets.Imagenette._WNID_TO_CLASS)
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
