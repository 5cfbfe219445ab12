from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from exports import manifest, net, program
from PIL import Image

from cnnctl.data import decode
from cnnctl.export import onnx, snippet, torch_export, torchscript
from cnnctl.export.silence import quiet

WRITERS = {"onnx": onnx.write, "torch_export": torch_export.write, "torchscript": torchscript.write}


BARE = [pytest.param(kind, (), marks=pytest.mark.slow) for kind in WRITERS]


@pytest.mark.parametrize(
    ("kind", "include"), [*((kind, ("preprocess", "softmax")) for kind in WRITERS), *BARE]
)
def test_the_lines_name_the_class(tmp_path: Path, kind: str, include: tuple[str, ...]) -> None:
    classes = tuple(f"class {number}" for number in range(10))
    made, about = program(format=kind, include=include, classes=classes)
    with quiet():
        WRITERS[kind](made, about, tmp_path / "lenet5.pt2")
    (tmp_path / "manifest.json").write_text(about.text())
    image = Image.effect_noise((32, 32), 90)
    image.save("image.png")
    pixels = torch.tensor(list(image.tobytes()), dtype=torch.uint8).view(1, 1, 32, 32)
    with torch.no_grad():
        wanted = net()((pixels / 255 - 0.5) / 0.25).argmax()
    language, code = snippet.lines(about, "lenet5.pt2")
    assert language == "python"
    assert len(code.splitlines()) == 5
    command = [sys.executable, "-W", "ignore::FutureWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"class {wanted}\n", "")


UPRIGHT = 'ImageOps.exif_transpose(picture).convert("{}")'
FIT = f"ImageOps.fit({UPRIGHT.format('RGB')}, (8, 8), Image.Resampling.BILINEAR)"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"channels": 3},
            f"image = numpy.array({UPRIGHT.format('RGB')}).transpose(2, 0, 1)[None]",
        ),
        ({}, f"image = numpy.array({UPRIGHT.format('L')})[None, None]"),
        (
            {"channels": 3, "include": (), "size": 8, "mean": (0.5, 0.4, 0.3), "std": (0.2,) * 3},
            (
                f"image = ((numpy.array({FIT}) / 255 - [0.5, 0.4, 0.3])"
                ' / [0.2, 0.2, 0.2]).astype("float32").transpose(2, 0, 1)[None]'
            ),
        ),
    ],
)
def test_an_image_is_made_as_the_file_takes_it(changes: dict[str, Any], line: str) -> None:
    _, code = snippet.lines(manifest(**changes), "file")
    assert code.splitlines()[2] == line


def test_weights_alone_are_for_cnnctl() -> None:
    found = snippet.lines(manifest(format="safetensors"), "lenet5.safetensors")
    assert found == ("sh", "cnnctl predict lenet5.safetensors image.png\n")


def test_a_photo_is_read_as_predict_reads_it(tmp_path: Path) -> None:
    """Upright, and decoded at a part of its size if it is large."""
    made, about = program(include=("preprocess", "softmax"), classes=tuple("0123456789"))
    with quiet():
        onnx.write(made, about, tmp_path / "lenet5.onnx")
    (tmp_path / "manifest.json").write_text(about.text())
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.effect_noise((150, 90), 90).save("photo.jpg", exif=exif)
    _, code = snippet.lines(about, "lenet5.onnx")
    code = code.replace(snippet.IMAGE, "photo.jpg").replace("print(", "print(found.tolist(), ")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pixels = decode.image(Path("photo.jpg").read_bytes(), 1, "photo.jpg", about.size)
    assert pixels.shape == (1, 75, 45)
    wanted = made(pixels[None])[0]
    found = torch.tensor(json.loads(done.stdout[: done.stdout.index("]") + 1]))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
