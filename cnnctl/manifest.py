"""What an exported file says about itself. Reading it imports no torch and runs no code.

The same JSON text stands in the file (ONNX: a metadata property; torch_export and torchscript:
a file of the archive; safetensors: its header) and beside it as manifest.json.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from cnnctl.config import tasks
from cnnctl.config.tasks import Task
from cnnctl.errors import CheckpointError

SCHEMA = 1
ENTRY = "cnnctl"  # the name under which a file keeps the text
BESIDE = "manifest.json"
SUFFIXES = {
    ".onnx": "onnx", ".pt2": "torch_export",
    ".torchscript": "torchscript", ".safetensors": "safetensors",
}  # fmt: skip
PREPROCESS, SOFTMAX = "preprocess", "softmax"
NORMALISED = "(byte / 255 − mean) / std, channel by channel"
SINCE = ("least", "stride", "margin")  # of nets for masks; files without them are of others


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An exported net: what goes in, what comes out, and where it is from.

    `include` holds "preprocess" if the file takes bytes, uint8 (B, C, H, W) of any height and
    width, and "softmax" if it gives probabilities; otherwise it takes what the net takes, float32
    (B, C, size, size), and gives logits. A net that makes images anew gives intensities with
    "preprocess", otherwise the net's own values: float32 (B, C, size, size). `own_loss` is whether
    the net was trained with another loss than cross-entropy, which the file does not have.
    `config` is the run's.

    Of a net that gives a class for every pixel, `least`, `stride` and `margin` are its sides: a
    file without "preprocess" takes images with sides of `least` + k·`stride` pixels, and its maps
    lack `margin` pixels at each edge. Of all others they are None.
    """

    format: str
    model: str
    include: tuple[str, ...]
    dynamic_batch: bool
    precision: str
    quantize: str | None
    classes: tuple[str, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    own_loss: bool
    run: str
    checkpoint: str
    weights_sha256: str
    versions: dict[str, str]
    config: dict[str, Any]
    least: int | None = None
    stride: int | None = None
    margin: int | None = None

    @property
    def task(self) -> Task:
        """What the net was trained for."""
        return tasks.of(self.config.get("model", {}))

    @property
    def takes(self) -> dict[str, Any]:
        """The contract of the input, in words."""
        if self.margin is not None:
            return self._takes_for_masks()
        whole = PREPROCESS in self.include
        batch = "batch" if self.dynamic_batch else 1
        sides = ("height", "width") if whole else (self.size, self.size)
        about = (
            f"RGB bytes of any size; the short side becomes {self.size}, the centre is kept"
            if whole
            else NORMALISED
        )
        if self.channels == 1:
            about = about.replace("RGB", "grey")
        return {
            "name": "images", "type": "uint8" if whole else "float32",
            "shape": [batch, self.channels, *sides], "about": about,
        }  # fmt: skip

    @property
    def gives(self) -> dict[str, Any]:
        """The contract of the output."""
        batch = "batch" if self.dynamic_batch else 1
        if self.task == "reconstruct":
            whole, shape = PREPROCESS in self.include, [batch, self.channels, self.size, self.size]
            name = "intensities" if whole else "values"
            about = "the image as the net makes it anew, "
            about += "0 black and 1 white; single values may lie beyond" if whole else NORMALISED
            return {"name": name, "type": "float32", "shape": shape, "about": about}
        name = "probabilities" if SOFTMAX in self.include else "logits"
        shape: list[int | str] = [batch, len(self.classes)]
        if self.margin is None:
            return {"name": name, "type": "float32", "shape": shape}
        lost = 0 if PREPROCESS in self.include else 2 * self.margin
        shape += [f"{side} - {lost}" if lost else side for side in ("height", "width")]
        about = "of each class for each pixel: the class is the place of the largest on axis 1"
        return {"name": name, "type": "float32", "shape": shape, "about": about}

    def side(self, length: int) -> int:
        """Of a net for masks: the least side of an image whose maps cover `length` pixels."""
        assert self.least is not None
        assert self.stride is not None
        assert self.margin is not None
        more = max(0, length - (self.least - 2 * self.margin))
        return self.least - (-more // self.stride) * self.stride

    @property
    def resize(self) -> int | None:
        """What the net for masks was trained to have the short side of images resized to."""
        return self.config.get("data", {}).get("resize")

    def _takes_for_masks(self) -> dict[str, Any]:
        whole, colour = PREPROCESS in self.include, "grey" if self.channels == 1 else "RGB"
        about = f"{colour} bytes of any size; the answer is as large"
        if not whole:
            about = f"{NORMALISED}; height and width are {self.least}"
            about += f" or any multiple of {self.stride} more"
        if self.margin and not whole:
            about += f", {self.margin} pixels at each edge mirrored"
        if self.resize is not None:
            about += f"; resize the short side to {self.resize} pixels first, as in training"
        batch = "batch" if self.dynamic_batch else 1
        return {
            "name": "images", "type": "uint8" if whole else "float32",
            "shape": [batch, self.channels, "height", "width"], "about": about,
        }  # fmt: skip

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "schema": SCHEMA, "input": self.takes, "output": self.gives, **asdict(self)
        }  # fmt: skip

    def text(self) -> str:
        """As the file holds it."""
        return json.dumps(self.document(), ensure_ascii=False)


def kind(file: Path) -> str | None:
    """The format that the name of a file says: one of SUFFIXES; of a .pt, also what is in it."""
    found = SUFFIXES.get(file.suffix.lower())
    if found is None and file.suffix.lower() == ".pt" and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            code = any(name.endswith("/constants.pkl") for name in archive.namelist())
        return "torchscript" if code else None
    return found


def sha256(file: Path) -> str:
    """Of the bytes of a file; it stands beside the file, which cannot hold its own."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read(file: Path) -> Manifest | None:
    """What the file says about itself; None if it is not an export of cnnctl.

    Raises CheckpointError if the file cannot be read, or is of another version of cnnctl.
    """
    try:
        form = kind(file)
        assert form is not None
        _not_empty(file)
        text = READERS[form](file)
        return None if text is None else _manifest(file, json.loads(text))
    except CheckpointError:
        raise
    except FileNotFoundError as wrong:
        raise CheckpointError(f"no file {file}") from wrong
    except Exception as wrong:  # three libraries, each with errors of its own
        reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
        raise CheckpointError(f"{file} cannot be read: {reason}", "export it anew") from wrong


def _not_empty(file: Path) -> None:
    """Of nothing, ONNX makes a net without layers."""
    if not file.stat().st_size:
        raise CheckpointError(f"{file} is empty", "export it anew")


def _manifest(file: Path, found: dict[str, Any]) -> Manifest:
    if not isinstance(found, dict):
        raise TypeError("its manifest is no JSON object")
    if found.get("schema") != SCHEMA:
        text = f"{file} has a manifest of schema {found.get('schema')}, this cnnctl reads {SCHEMA}"
        raise CheckpointError(text, "export it anew")
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(Manifest).items():
        if name not in found and name in SINCE:
            continue
        if name not in found:
            raise ValueError(f"its manifest has no '{name}'")
        form = get_origin(hint)
        if not isinstance(found[name], {tuple: list, dict: dict}.get(form, hint)):
            raise TypeError(f"{name} is not of the kind {hint}")
        values[name] = tuple(found[name]) if form is tuple else found[name]
    return Manifest(**values)


def _onnx(file: Path) -> str | None:
    try:
        import onnx
    except ImportError as wrong:
        raise CheckpointError("ONNX files need more: pip install 'cnnctl[onnx]'") from wrong
    proto = onnx.load(str(file), load_external_data=False)
    return next((entry.value for entry in proto.metadata_props if entry.key == ENTRY), None)


def _archive(file: Path) -> str | None:
    """A zip of torch's; what is not compressed in it stands in a folder `extra`."""
    with zipfile.ZipFile(file) as archive:
        found = [one for one in archive.infolist() if one.filename.endswith(f"/extra/{ENTRY}")]
        if not found:
            return None
        entry = found[0]
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > file.stat().st_size:
            raise ValueError(f"{entry.filename} is not as torch writes it")
        with archive.open(entry) as opened:  # so many bytes, whatever it would unpack to
            return opened.read(entry.file_size).decode()


def _safetensors(file: Path) -> str | None:
    from safetensors import safe_open

    with safe_open(file, framework="np") as opened:
        return (opened.metadata() or {}).get(ENTRY)


READERS = {
    "onnx": _onnx, "torch_export": _archive, "torchscript": _archive, "safetensors": _safetensors
}  # fmt: skip
