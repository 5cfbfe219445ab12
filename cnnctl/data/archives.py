"""Images in one .tar or .zip, below train/<class> and so on, or below <class>.

Nothing is unpacked: each member is read from its place, and no path in it can lead anywhere.
"""

from __future__ import annotations

import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from cnnctl.config.near import did_you_mean
from cnnctl.data.files import Names
from cnnctl.data.inside import Places, unreadable
from cnnctl.data.listing import LAYOUT, SPLITS, SUFFIXES
from cnnctl.data.source import Blobs, Part
from cnnctl.errors import DataError

PACKED = (".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".zst", ".tzst")
LOCAL = struct.Struct("<4s22xHH")  # a zip's local header: what it is, lengths of name and extra
NUMBER = re.compile(r"-?\d+(\.\d+)?")


class Member(NamedTuple):
    """Where archive number `archive`, a tar, holds a file."""

    name: str
    archive: int
    offset: int
    size: int


class Members(Places):
    """Files in tar archives, opened for each read: microseconds, and no offset is shared."""

    def __init__(self, files: Sequence[Path], members: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(files, [place for _, *place in members])
        self.names = Names.from_list([name for name, *_ in members])

    def name(self, index: int) -> str:
        """The archive's path, and the member's path inside it."""
        return f"{self.files[self.table[index, 0]]}/{self.names[index]}"

    def _read(self, file: str, *place: int) -> bytes:
        with Path(file).open("rb") as opened:
            return _exactly(opened, *place)


class Entries(Members):
    """Files in one zip archive, stored or deflated, each behind a local header."""

    def _read(self, file: str, *place: int) -> bytes:
        header, packed, size, crc, method = place
        with Path(file).open("rb") as opened:
            local = LOCAL.unpack(_exactly(opened, header, LOCAL.size))
            data = _exactly(opened, header + LOCAL.size + sum(local[1:]), packed)
        if method == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
        if local[0] != b"PK\3\4" or len(data) != size or zlib.crc32(data) != crc:
            raise ValueError("its checksum is wrong")
        return data


def parts(root: str) -> dict[str, Part]:
    """The splits inside the archive `root`, without hidden files and what is no image.

    Raises DataError, naming the archive, if it is compressed as a whole, encrypted, damaged,
    or laid out in another way.
    """
    path = Path(root).expanduser()
    zipped = path.suffix.lower() == ".zip"
    kind, members = (Entries, _entries(path)) if zipped else (Members, tar_members(path))
    last = {member[0]: member for member in members if _is_image(member[0])}
    rows = sorted(_sorted_out(last))  # as a folder of the same files is
    if not rows:
        raise DataError(f"{path} has no images below class folders", LAYOUT)
    classes = sorted({label for split, label, _ in rows if split == "train"})
    return assemble(str(path), rows, lambda names: kind([path], [last[n] for n in names]), classes)


def assemble(
    where: str, rows: Iterable[tuple[str, str, Any]], kind: Callable[[list[Any]], Blobs],
    classes: Sequence[str] = (),
) -> dict[str, Part]:  # fmt: skip
    """The parts train, val and test of rows of split, class and place; `kind` takes the places.

    Classes are counted in `classes`, else in the names of train: by size if all are numbers.
    Raises DataError if there is no train, or a class that is not among them.
    """
    found: dict[str, tuple[list[str], list[Any]]] = {}
    for split, label, place in rows:
        labels, places = found.setdefault(split, ([], []))
        labels.append(label)
        places.append(place)
    if "train" not in found:
        text = f"{where} has no split 'train'" if found else f"{where} has no images"
        raise DataError(text, f"it has {', '.join(found)}" if found else None)
    ordered = tuple(classes or _in_order(set(found["train"][0])))
    numbers = {name: number for number, name in enumerate(ordered)}
    made: dict[str, Part] = {}
    for split in sorted(found, key=("train", "val", "test").index):
        labels, places = found[split]
        unknown = next((name for name in labels if name not in numbers), None)
        if unknown is not None:
            text = f"{where} has class '{unknown}' in {split}, which train lacks"
            raise DataError(text, did_you_mean(unknown, ordered))
        made[split] = Part(kind(places), np.array([numbers[n] for n in labels], np.int64), ordered)
    return made


def _in_order(names: Iterable[str]) -> list[str]:
    ordered = sorted(names)
    return sorted(ordered, key=float) if all(map(NUMBER.fullmatch, ordered)) else ordered


def tar_members(path: Path, archive: int = 0) -> Iterator[Member]:
    """The files in a plain tar archive, in its order.

    Raises DataError if the archive is compressed, damaged, or has links in place of images.
    """
    if path.name.lower().endswith(PACKED):
        text = f"{path} is compressed as a whole: no image can be read by itself"
        raise DataError(text, "unpack it, or make a plain .tar")
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue] - it keeps all
                name = member.name.removeprefix("./")
                if member.isreg() and not member.issparse():
                    yield Member(name, archive, member.offset_data, member.size)
                elif not member.isdir() and _is_image(name):
                    text = f"{path} has a link or a hole in place of the image {name}"
                    raise DataError(text, "make it with tar --dereference --hard-dereference")
            file.seek(tar.offset)  # tarfile takes any wrong header for the end
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it ends early, or a header is wrong")
    except (tarfile.TarError, OSError) as wrong:
        raise unreadable(path, wrong) from wrong


def _entries(path: Path) -> Iterator[tuple[str, int, int, int, int, int, int]]:
    try:
        with zipfile.ZipFile(path) as opened:
            found = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError) as wrong:
        raise unreadable(path, wrong) from wrong
    for one in found:
        if one.is_dir() or not _is_image(one.filename):
            continue
        if one.flag_bits & 1:
            raise DataError(f"{path} is encrypted: {one.filename}", "unpack it with its password")
        if one.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            text = f"{path} is compressed with method {one.compress_type}: {one.filename}"
            raise DataError(text, "make it again, stored or deflated")
        sizes = (one.compress_size, one.file_size)
        yield one.filename, 0, one.header_offset, *sizes, one.CRC, one.compress_type


def _exactly(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise ValueError("the archive ends early")
    return data


def _steps(name: str) -> tuple[str, ...]:
    """The folders and the file; Windows once wrote zips with its own separator."""
    return tuple(step for step in re.split(r"[/\\]", name) if step not in {"", "."})


def _is_image(name: str) -> bool:
    steps = _steps(name)
    hidden = any(step.startswith(".") or step == "__MACOSX" for step in steps)
    return not hidden and Path(name).suffix.lower() in SUFFIXES


def _sorted_out(names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Split, class and name of each image; folders that hold all the others do not count."""
    found = [(name, steps) for name in names if len(steps := _steps(name)) > 1]
    while True:
        deep = [(name, steps) for name, steps in found if len(steps) > 2]  # noqa: PLR2004 - split or top, class, image
        tops = {steps[0].lower() for _, steps in found}
        if not deep or len(tops) > 1 or tops & SPLITS.keys():
            break
        found = [(name, steps[1:]) for name, steps in deep]
    split = [(SPLITS.get(steps[0].lower(), ""), steps[1], name) for name, steps in deep]
    return [row for row in split if row[0]] or [("train", steps[0], name) for name, steps in found]
