"""Image files that somebody points at: found by name, folder or pattern, and read for a net."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from cnnctl.data import decode
from cnnctl.data.listing import SUFFIXES
from cnnctl.data.reading import Whole
from cnnctl.errors import DataError

DIGITS = re.compile(r"(\d+)")
AHEAD = 2  # batches that are read while the net is at work
MOST = Image.MAX_IMAGE_PIXELS or 0  # of a picture; as many as PIL takes without a warning
DRAWN = ("EPS", "WMF")  # formats of lines, which PIL has other programs draw
PREVIEWS = ("MPO", "PSD")  # formats whose further pictures are previews, depths or layers
OTHERS = (  # how what is no image begins, at which byte, and what it is
    (0, b"version https://git-lfs", "a Git LFS pointer, fetch the file with: git lfs pull"),
    (0, b"%PDF", "PDF, save the page as PNG"),
    (0, b"\xff\x0a", "JPEG XL, save it as JPEG or PNG"),
    (4, b"JXL ", "JPEG XL, save it as JPEG or PNG"),
    *((4, b"ftyp" + brand, "HEIC, save it as JPEG or PNG")
      for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")),
    *((4, b"ftyp" + brand, "AVIF, save it as JPEG or PNG") for brand in (b"avif", b"avis")),
    (4, b"ftyp", "a film, save a frame as PNG"),
    (0, b"<svg", "SVG, a drawing; save it as PNG"),
    (0, b"<?xml", "XML or SVG; save a drawing as PNG"),
    (0, b"<!doctype html", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"PK\x03\x04", "a zip archive, unpack it"),
)  # fmt: skip
BEGINS = 32  # bytes in which all of them differ


@dataclass(frozen=True)
class Failed:
    """A file, folder or pattern of which there is no picture, and why."""

    file: str
    reason: str


class Picture(NamedTuple):
    """Uint8 (channels, H, W) of a file; `note` is what else it holds, if it does."""

    file: str
    pixels: Tensor
    note: str | None


def find(words: Sequence[str]) -> tuple[list[str], list[Failed]]:
    """The files that `words` name, each once, and the words that name none.

    A file is taken whatever its name; of folders and of patterns with *, ? and [ only what has
    the ending of an image, with all folders below, sorted as people count: 2.png before 10.png.
    Hidden files are left out there.
    """
    found: dict[tuple[str, str], str] = {}
    failed = list[Failed]()
    for word in words:
        path = word if os.path.lexists(word) else os.path.expanduser(word)  # noqa: PTH111 - Path would drop a leading ./
        if os.path.isdir(path):  # noqa: PTH112 - as above
            files, reason = _below(path, failed), "no image in this folder"
        elif os.path.lexists(path):
            files, reason = [path], ""
        else:
            files, reason = _matching(path, failed), "no such file or folder"
            reason = "no image is named so" if glob.has_magic(path) else reason
        failed += [] if files else [Failed(word, reason)]
        for file in files:  # by the real folder, for links may lead in circles
            folder, name = os.path.split(file)
            found.setdefault((os.path.realpath(folder), name), file)
    return list(found.values()), failed


def read(file: str, channels: int, size: int | None) -> Picture:
    """A file as evaluation shows it to the net: the short side resized, the centre kept.

    Without `size` it is the whole image as it is. Raises DataError with the reason alone. What
    would not fit into memory is refused by its head, before anything is decoded.
    """
    path = Path(file)
    if not path.is_file():  # a pipe would keep us waiting
        gone = "the link leads nowhere" if path.is_symlink() else "not a file"
        raise DataError(gone if os.path.lexists(file) else "no such file")
    try:
        note = _head(file, size)
        image = decode.image(path.read_bytes(), channels, file, size)
    except DataError as wrong:
        raise DataError(wrong.message.removeprefix(f"cannot read image {file}: ")) from wrong
    except Image.DecompressionBombError as wrong:
        raise DataError(_too_many()) from wrong
    except UnidentifiedImageError as wrong:
        raise DataError(_no_image(file)) from wrong
    except OSError as wrong:
        raise DataError(wrong.strerror or str(wrong)) from wrong
    except Exception as wrong:  # what is damaged can raise anything, and is one file of many
        reason = str(wrong).splitlines()[0] if str(wrong) else type(wrong).__name__
        raise DataError(f"damaged: {reason}") from wrong
    return Picture(file, image if size is None else Whole(size)(image), note)


def batches(
    files: Sequence[str], channels: int, size: int | None, count: int
) -> Generator[list[Picture | Failed], None, None]:
    """All files in their order, `count` at once, read by threads while the net is at work."""

    def one(file: str) -> Picture | Failed:
        try:
            return read(file, channels, size)
        except DataError as wrong:
            return Failed(file, wrong.message)

    waiting: deque[list[Future[Picture | Failed]]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        # of what PIL can live with, and of sizes, which are refused; no thread may set it alone
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for start in range(0, len(files), count):
            waiting.append([pool.submit(one, file) for file in files[start : start + count]])
            if len(waiting) == AHEAD:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]


def shown(file: str) -> str:
    r"""A name as text that can be printed: a byte that is not UTF-8 becomes \xe9."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def natural(path: str) -> list[list[str | int]]:
    """Sorts 2.png before 10.png, and what is in a folder together."""
    return [
        [int(part) if part.isdecimal() else part.casefold() for part in DIGITS.split(name)]
        for name in Path(path).parts
    ]


def require_room(width: int, height: int, short: int) -> None:
    """Raise DataError if an image would be too large once its short side is resized."""
    if short * short * max(width, height) > MOST * min(width, height):
        text = f"{width} x {height} pixels are too long and thin for {short} x {short}"
        raise DataError(text)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - of many


def _below(folder: str, failed: list[Failed]) -> list[str]:
    """All images in a folder and its folders; those that cannot be listed have failed."""
    found, seen = [], set[str]()

    def refused(wrong: OSError) -> None:
        failed.append(Failed(wrong.filename, f"cannot list it: {wrong.strerror}"))

    for top, folders, names in os.walk(folder, onerror=refused, followlinks=True):
        real = os.path.realpath(top)
        folders[:] = [] if real in seen else [name for name in folders if name[0] != "."]
        if real not in seen:
            found += [os.path.join(top, name) for name in names if _is_image(name)]  # noqa: PTH118 - of many
        seen.add(real)
    return _sorted(found)


def _matching(pattern: str, failed: list[Failed]) -> list[str]:
    """What a pattern matches that is an image or a folder with some."""
    found = []
    for path in glob.glob(pattern, recursive=True):  # noqa: PTH207 - Path.glob has no ./ and no absolute patterns
        if os.path.isdir(path):  # noqa: PTH112 - as in find
            found += _below(path, failed)
        elif _is_image(os.path.basename(path)):  # noqa: PTH119 - as in find
            found.append(path)
    return _sorted(found)


def _sorted(files: list[str]) -> list[str]:
    return sorted(sorted(files), key=natural)  # twice, so that a and A have one order


def _head(file: str, size: int | None) -> str | None:
    """Refuse what is too large, or no pixels; else what a file holds besides its first picture."""
    with Image.open(file) as opened:
        width, height = opened.size
        if opened.format in DRAWN:
            raise DataError(f"{opened.format}, a drawing; save it as PNG")
        if width * height > MOST:
            raise DataError(_too_many())
        if size is not None:
            require_room(width, height, size)
        several = getattr(opened, "n_frames", 1)
        if several == 1 or opened.format in PREVIEWS:
            return None
        return f"first of {several} {'pages' if opened.format == 'TIFF' else 'frames'}"


def _too_many() -> str:
    return f"more than {MOST:,} pixels, which may exhaust the memory; make it smaller"


def _no_image(file: str) -> str:
    """What a file is instead, if that is known."""
    with open(file, "rb") as opened:  # noqa: PTH123 - as in find
        begins = opened.read(BEGINS)
    if not begins:
        return "the file is empty"
    text = begins.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for place, mark, what in OTHERS:
        if begins[place:].startswith(mark) or (place == 0 and text.startswith(mark)):
            return f"not an image: {what}"
    return "not an image"
