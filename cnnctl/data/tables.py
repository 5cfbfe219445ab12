"""Images in the rows of a table: a CSV of paths, Parquet files, or a data set of Hugging Face."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Iterator, Sequence
from csv import Error, reader
from pathlib import Path
from typing import Any, NamedTuple

from cnnctl.data.archives import assemble
from cnnctl.data.files import Files, Names
from cnnctl.data.inside import Places, reason, stamp, unreadable
from cnnctl.data.listing import SPLITS, SUFFIXES
from cnnctl.data.shards import in_splits
from cnnctl.data.source import Part
from cnnctl.errors import DataError

PATHS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path")
LABELS = ("label", "labels", "class", "target", "fine_label")
IMAGES = ("image", "img")
LAST = threading.local()  # row group; each thread of a cache being built is somewhere else


def csv(root: str) -> dict[str, Part]:
    """The images that a CSV with a header lists: path, label, and, if there is one, split.

    Columns are found by their names, else the first and the second are taken. Paths start at
    the CSV's folder. Raises DataError, naming the line, for what is missing.
    """
    table = Path(root).expanduser()
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_cells(file.readlines(), table))
    except (OSError, UnicodeDecodeError, Error) as wrong:
        raise unreadable(table, wrong) from wrong
    missing = [(n, path) for n, (_, _, name) in rows if not (path := table.parent / name).is_file()]
    if missing:
        more = f", and {len(missing) - 1} more" if missing[1:] else ""
        raise DataError(f"{table} line {missing[0][0]}: no such file: {missing[0][1]}{more}")
    files = lambda names: Files(table.parent, Names.from_list(names))  # noqa: E731
    return assemble(str(table), (row for _, row in rows), files)


def _cells(lines: list[str], table: Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """The number of each line, and its split, class and path."""
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    rows = reader(lines, delimiter=delimiter)
    header = [name.strip().lower() for name in next(rows, [])]
    if any(Path(name).suffix in SUFFIXES for name in header):
        raise DataError(f"{table} has no header", "its first line must be: path,label")
    split = header.index("split") if "split" in header else -1
    at = [next((header.index(n) for n in known if n in header), None) for known in (PATHS, LABELS)]
    free = iter(n for n in range(len(header)) if n not in {split, *at})
    path, label = (next(free, None) if place is None else place for place in at)
    if path is None or label is None:
        raise DataError(f"{table} has no columns for path and label", f"it has {' '.join(header)}")
    for row in rows:
        where = f"{table} line {rows.line_num}"
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{where} has {len(row)} columns, the header {len(header)}")
        cells = [cell.strip() for cell in row]
        if not cells[path] or not cells[label]:
            raise DataError(f"{where} has no {'label' if cells[path] else 'path'}")
        name = "train" if split < 0 else SPLITS.get(cells[split].lower())
        if name is None:
            raise DataError(f"{where}: unknown split '{cells[split]}'", "train, val or test")
        yield rows.line_num, (name, cells[label], cells[path])


def library(name: str, extra: str, wanted_by: str) -> Any:
    """An optional module; DataError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        text = f"{wanted_by} needs {name.partition('.')[0]}"
        raise DataError(text, f"pip install 'cnnctl[{extra}]'") from missing


class Columns(NamedTuple):
    """Where a table has images and labels; `classes` if it names the numbers of its labels."""

    image: str
    label: str
    classes: tuple[str, ...]


def columns_of(schema: Any, where: str) -> Columns:
    """Found in an Arrow schema, and in what Hugging Face adds to it."""
    types = library("pyarrow", "parquet", where).types
    added = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = added.get("info", {}).get("features", {})

    def has_image(field: Any) -> bool:
        inside = types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        return inside or types.is_binary(field.type) or types.is_large_binary(field.type)

    def has_label(field: Any) -> bool:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        return types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)

    image = _one([field.name for field in schema if has_image(field)], IMAGES, "images", where)
    known = (*LABELS, *(name for name, said in features.items() if "names" in said))
    label = _one([field.name for field in schema if has_label(field)], known, "labels", where)
    return Columns(image, label, tuple(features.get(label, {}).get("names") or ()))


def _one(found: list[str], preferred: Sequence[str], what: str, where: str) -> str:
    named = [name for name in preferred if name in found]
    if not named and len(found) != 1:
        text = f"several columns could be {what}: {', '.join(found)}" if found else f"no {what}"
        raise DataError(f"{where}: {text}", f"name the column '{preferred[0]}'")
    return named[0] if named else found[0]


def _labelled(values: Sequence[Any], columns: Columns, where: str) -> Iterator[tuple[int, str]]:
    """The rows and the names of their classes; nothing if all the labels are secret."""
    classes = columns.classes
    if classes and all(value == -1 for value in values):  # as Hugging Face marks them
        return
    for row, value in enumerate(values):
        if value is None or (classes and value not in range(len(classes))):
            raise DataError(f"{where}/{row}: {columns.label} is {value}, which is no class")
        yield row, classes[value] if classes else str(value)


class Rows(Places):
    """Images in Parquet files; places are row group, row in it, row in the file."""

    def __init__(
        self, files: Sequence[str | Path], table: Sequence[Sequence[int]], column: str
    ) -> None:
        super().__init__(files, table)
        self.column = column

    def _read(self, file: str, *place: int) -> bytes:
        return _bytes(_row_group(file, place[0], self.column)[place[1]].as_py())


def _row_group(file: str, group: int, column: str) -> Any:
    if getattr(LAST, "key", None) != (file, group, column):
        with library("pyarrow.parquet", "parquet", file).ParquetFile(file) as opened:
            read = opened.read_row_group(group, columns=[column], use_threads=False)
        LAST.key, LAST.cells = (file, group, column), read.column(0)
    return LAST.cells


def _bytes(value: Any) -> bytes:
    """What a cell holds: bytes, or {bytes, path} as Hugging Face has it."""
    cell = value if isinstance(value, dict) else {"bytes": value}
    if cell["bytes"] is None and not cell.get("path"):
        raise ValueError("the cell is empty")
    return Path(cell["path"]).read_bytes() if cell["bytes"] is None else cell["bytes"]


def parquet(root: str) -> dict[str, Part]:
    """The splits in a Parquet file, or in a folder's train*.parquet and so on.

    Raises DataError, naming the file, if it is damaged or its columns cannot be told apart.
    """
    path = Path(root).expanduser()
    folder = path.is_dir()
    files = [*in_splits(sorted(path.rglob("[!.]*.parquet")), path)] if folder else [("train", path)]
    if not files:
        raise DataError(f"{path} has no .parquet files")
    columns = _columns(files[0][1])
    rows = (
        (split, label, (number, *place))
        for number, (split, file) in enumerate(files)
        for label, place in _read(file, columns)
    )
    paths = [file for _, file in files]
    return assemble(root, rows, lambda found: Rows(paths, found, columns.image), columns.classes)


def _columns(file: Path) -> Columns:
    parquet_of = library("pyarrow.parquet", "parquet", str(file))
    try:
        return columns_of(parquet_of.read_schema(file), str(file))
    except (OSError, ValueError) as wrong:
        raise unreadable(file, wrong) from wrong


def _read(file: Path, columns: Columns) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """The class of each row, and its group, row in that and row in the file."""
    if columns != _columns(file):
        raise DataError(f"{file} has other columns or classes than its neighbours")
    with library("pyarrow.parquet", "parquet", str(file)).ParquetFile(file) as opened:
        values = opened.read(columns=[columns.label]).column(0).to_pylist()
        groups = [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
    places = [(n, inside) for n, rows in enumerate(groups) for inside in range(rows)]
    for row, label in _labelled(values, columns, str(file)):
        yield label, (*places[row], row)


class Saved(Places):
    """Images in data sets of Hugging Face, one for each split, mapped from their files."""

    def __init__(self, root: str, table: Sequence[Sequence[int]], splits: dict[str, Any]) -> None:
        super().__init__([f"{root}/{split}" for split in splits], table)
        self.splits = dict(zip(self.files, splits.values(), strict=True))

    def _read(self, file: str, *place: int) -> bytes:
        return _bytes(self.splits[file][place[0]].column(0)[0].as_py())

    def stamp(self) -> str:
        """As for other places, of all files that are mapped."""
        files = [file["filename"] for data in self.splits.values() for file in data.cache_files]
        return stamp(files, self.table)


def hugging_face(root: str) -> dict[str, Part]:
    """The splits of hf://NAME or hf://NAME:CONFIG, or of a folder that save_to_disk wrote.

    Splits of other names than train, validation and test count only if there is one alone;
    a split without labels is left out. Raises DataError if it cannot be had.
    """
    found = _opened(library("datasets", "hf", root), root)
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    images: dict[str, Any] = {}
    rows: list[tuple[str, str, tuple[int, int]]] = []
    classes: tuple[str, ...] = ()
    for name, data in splits.items():
        split = SPLITS.get(name, "train" if len(splits) == 1 else "")
        if split:
            columns = columns_of(data.features.arrow_schema, f"{root}/{name}")
            classes = classes or columns.classes
            number, raw = len(images), data.with_format("arrow")  # nothing is decoded for it
            images[name] = raw.select_columns([columns.image])
            values = raw.select_columns([columns.label])[:].column(0).to_pylist()
            named = _labelled(values, columns, f"{root}/{name}")
            rows += [(split, label, (number, row)) for row, label in named]
    return assemble(root, rows, lambda places: Saved(root, places, images), classes)


def _opened(datasets: Any, root: str) -> Any:
    name = root.removeprefix("hf://")
    local = Path(name).expanduser()
    try:
        if (local / "dataset_dict.json").is_file() or (local / "state.json").is_file():
            return datasets.load_from_disk(str(local))
        name, _, config = name.partition(":")
        return datasets.load_dataset(name, config or None)
    except Exception as wrong:
        text = f"cannot load {root}: {reason(wrong)}"
        raise DataError(text, "hf://NAME or hf://NAME:CONFIG") from wrong
