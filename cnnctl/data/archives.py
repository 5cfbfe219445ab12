"""Images in one .tar or .zip, below train/<class> and so on, or below <class>.

Nothing is unpacked: the members are listed once, then each is read from its place. So a name
that would lead out of a folder does no harm.
"""

from __future__ import annotations

import hashlib
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from cnnctl.config.near import did_you_mean
from cnnctl.data.folder import SUFFIXES
from cnnctl.data.source import Blobs, Part
from cnnctl.errors import DataError

PACKED = (".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".zst", ".tzst")
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "val"
)
LAYOUT = "it must hold train/<class>/<image> or <class>/<image>"
BLOCK = 512  # bytes; what a tar archive is made of
NUMBER = re.compile(r"-?\d+(\.\d+)?")


class Member(NamedTuple):
    """Where a tar archive holds a file; `file` is the archive's number."""

    name: str
    offset: int
    size: int
    file: int = 0


class Entry(NamedTuple):
    """Where a zip archive holds a file: behind the local header at `header`."""

    name: str
    header: int
    packed: int
    size: int
    crc: int
    method: int


class Members:
    """Files in tar archives.

    An archive is opened for each read: that costs microseconds, and no two processes or
    threads ever move the same file offset. Numbers and names are two arrays, because a
    million Python objects would be copied into every loader process.
    """

    def __init__(self, files: Sequence[Path], members: Sequence[Member | Entry]) -> None:
        self.files = [str(file) for file in files]
        self.names = np.array([member.name.encode(errors="surrogateescape") for member in members])
        self.table = np.array([member[1:] for member in members], np.int64)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int, /) -> bytes:
        try:
            with Path(self._file(index)).open("rb") as file:
                return self._read(file, index)
        except (OSError, ValueError, zlib.error) as wrong:
            raise DataError(f"cannot read image {self.name(index)}: {reason(wrong)}") from wrong

    def _file(self, index: int) -> str:
        return self.files[self.table[index, 2]]

    def _read(self, file: BinaryIO, index: int) -> bytes:
        offset, size, _ = self.table[index].tolist()
        return _exactly(file, offset, size)

    def name(self, index: int) -> str:
        """The archive's path, and the member's path inside it."""
        return f"{self._file(index)}/{self.names[index].decode(errors='replace')}"

    def stamp(self) -> str:
        """As `stamp` says, of the archives and of these members' places in them."""
        return stamp(self.files, self.table.tobytes())


class Entries(Members):
    """Files in one zip archive, stored or deflated."""

    def _file(self, index: int) -> str:  # noqa: ARG002 - there is one only
        return self.files[0]

    def _read(self, file: BinaryIO, index: int) -> bytes:
        header, packed, size, crc, method = self.table[index].tolist()
        local = _exactly(file, header, zipfile.sizeFileHeader)
        if not local.startswith(zipfile.stringFileHeader):
            raise ValueError("the archive has changed or is damaged")
        name, extra = struct.unpack("<HH", local[26:])  # lengths, in bytes
        data = _exactly(file, header + len(local) + name + extra, packed)
        if method == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
        if len(data) != size or zlib.crc32(data) != crc:
            raise ValueError("its checksum is wrong")
        return data


def parts(root: str) -> dict[str, Part]:
    """The splits inside the archive `root`; class numbers follow the sorted names under train.

    Hidden files and what is no image are left out. Raises DataError, naming the archive, if
    it is compressed as a whole, encrypted, damaged, or laid out in another way.
    """
    path = Path(root).expanduser()
    if path.suffix.lower() == ".zip":
        kind, members = Entries, list(_entries(path))
    else:
        kind, members = Members, list(tar_members(path))
    latest = {member.name: member for member in members if _is_image(member.name)}
    blobs: dict[str, Blobs] = {}
    labels: dict[str, list[str]] = {}
    rows = sorted(_sorted_out(latest))  # as a folder of the same files is
    if not rows:
        raise DataError(f"{path} has no images below class folders", LAYOUT)
    for split, group in groupby(rows, itemgetter(0)):
        _, labels[split], names = zip(*group, strict=True)
        blobs[split] = kind([path], [latest[name] for name in names])
    return assemble(str(path), blobs, labels, sorted(set(labels.get("train", ()))))


def assemble(
    where: str, blobs: Mapping[str, Blobs], labels: Mapping[str, Sequence[str]],
    classes: Sequence[str] = (),
) -> dict[str, Part]:  # fmt: skip
    """The parts train, val, test, their class numbers counted in `classes`.

    Without these, in the names of train: by size if all are numbers, else by letters. Raises
    DataError if there is no train, or a class that is not among them.
    """
    if "train" not in blobs:
        raise DataError(f"{where} has no split 'train'", f"it has {', '.join(blobs)}")
    ordered = tuple(classes) or _in_order(set(labels["train"]))
    numbers = {name: number for number, name in enumerate(ordered)}
    made: dict[str, Part] = {}
    for split in (split for split in ("train", "val", "test") if split in blobs):
        unknown = next((name for name in labels[split] if name not in numbers), None)
        if unknown is not None:
            text = f"{where} has class '{unknown}' in {split}, which train lacks"
            raise DataError(text, did_you_mean(unknown, ordered))
        counted = np.array([numbers[name] for name in labels[split]], np.int64)
        made[split] = Part(blobs[split], counted, ordered)
    return made


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    ordered = sorted(names)
    if all(NUMBER.fullmatch(name) for name in ordered):
        ordered.sort(key=float)
    return tuple(ordered)


def stamp(files: Iterable[str | Path], places: bytes) -> str:
    """SHA-256 over every file's path, size and time of the last change, and over `places`.

    `places` tells images of the same files apart.
    """
    digest = hashlib.sha256(places)
    for file in files:
        found = Path(file).stat()
        digest.update(f"{file}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def reason(wrong: Exception) -> str:
    """Why something could not be read, in one line."""
    text = getattr(wrong, "strerror", None) or str(wrong)
    return (text or type(wrong).__name__).strip().splitlines()[0]


def tar_members(path: Path, number: int = 0) -> Iterator[Member]:
    """The files in a plain tar archive, in its order; each has the archive's number.

    Raises DataError if the archive is compressed, damaged, or has links in place of images.
    """
    if path.name.lower().endswith(PACKED):
        text = f"{path} is compressed as a whole: no image can be read by itself"
        raise DataError(text, "unpack it, or make a plain .tar")
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # it would keep all of them
                if member.isreg() and not member.issparse():
                    yield Member(member.name, member.offset_data, member.size, number)
                elif not member.isdir() and _is_image(member.name):
                    text = f"{path} has a link or a hole in place of the image {member.name}"
                    raise DataError(text, "make it with tar --dereference --hard-dereference")
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)  # tarfile takes any wrong header for the end
            if tar.fileobj.read(BLOCK) != bytes(BLOCK):
                raise tarfile.ReadError("it ends early, or a header is wrong")
    except (tarfile.TarError, OSError) as wrong:
        raise unreadable(path, wrong) from wrong


def _entries(path: Path) -> Iterator[Entry]:
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
        yield Entry(
            one.filename, one.header_offset, one.compress_size, one.file_size, one.CRC,
            one.compress_type,
        )  # fmt: skip


def unreadable(path: Path, wrong: Exception) -> DataError:
    """The error for a file that is not there, or not what it should be."""
    if isinstance(wrong, OSError) and wrong.strerror:
        return DataError(f"cannot read {path}: {wrong.strerror}")
    return DataError(f"{path} is damaged: {reason(wrong)}", "make or download it again")


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
        if not deep or {steps[0] for _, steps in found} - {deep[0][1][0]}:
            break
        if deep[0][1][0].lower() in SPLITS:
            break
        found = [(name, steps[1:]) for name, steps in deep]
    split = [
        (SPLITS[steps[0].lower()], steps[1], name)
        for name, steps in deep
        if steps[0].lower() in SPLITS
    ]
    return split or [("train", steps[0], name) for name, steps in found]
