"""cnnctl data: check a data set, show what training sees of it, keep it decoded."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from cnnctl.commands import Call
from cnnctl.config import companions, compose, paths, preflight, schema
from cnnctl.config.images import Folder
from cnnctl.config.masks import Masks
from cnnctl.config.near import did_you_mean
from cnnctl.config.overrides import key_of, quoted
from cnnctl.errors import EXIT_FAILED, Problem, UsageError
from cnnctl.report.result import Result

FLAGS = {"--quarantine": "check", "--report": "check", "--output": "show", "--clear": "cache"}
ENDINGS = {"--report": ".html", "--output": ".png"}
TAKES = ("data", "augment", "model", "recipe", "seed", "hardware", "progress")  # sections


def run(call: Call) -> Result:
    """One of the three; raises UsageError, ConfigError or DataError before anything is written."""
    work, *names = call.targets or [""]
    if work not in WORK:
        text = f"data takes one of {', '.join(WORK)}, got {work or 'nothing'}"
        raise UsageError(text, did_you_mean(work, WORK) or "cnnctl data check digits")
    for flag, belongs in FLAGS.items():
        if flag in call.flags and work != belongs:
            raise UsageError(
                f"{flag} has no effect on: cnnctl data {work}", f"cnnctl data {belongs}"
            )
    if work == "cache" and ("--clear" in call.flags or not names):
        return _caches(call, names)
    if len(names) != 1:
        hint = f"cnnctl data {work} digits, or see: cnnctl list data"
        raise UsageError(f"data {work} takes one data set, got {len(names)}", hint)
    for flag in (flag for flag in FLAGS if flag in call.flags):
        _writable(flag, Path(call.flags[flag]))
    return WORK[work](call, names[0], _composed(call, names[0]))


def _composed(call: Call, name: str) -> schema.Train:
    """The configuration of `train` with this data set. Raises ConfigError with every problem."""
    extra = paths.extra_dirs(call.flags)
    unknown, kept = [], []
    for override in map(quoted, call.overrides):
        section = key_of(override).partition(".")[0]
        known = section not in schema.Train.__dataclass_fields__ or section in TAKES
        if key_of(override) == "data" or not known:
            own = f"it is {name}" if section == "data" else f"change {', '.join(TAKES)} only"
            text = f"'{override}' has no effect on: cnnctl data {call.targets[0]} {name}"
            unknown.append(Problem(text, own, key_of(override)))
        else:
            kept.append(override)
    with compose.opened(extra):
        words = companions.completed([*_choice(name, extra), *kept], extra)
        config, found = compose.compose("train", words)
        train, problems = preflight.check(config, [*unknown, *found])
    preflight.require(problems)
    assert train is not None
    return train


def _choice(name: str, extra: list[Path]) -> list[str]:
    """The overrides that choose a data set by its name, or by where it is."""
    options = paths.config_files(extra)["data"]
    if name in options:
        return [f"data={name}"]
    if Path(name).expanduser().exists() or name.startswith("hf://") or "{" in name:
        kind = "folder_masks" if _has_masks(Path(name).expanduser()) else "folder"
        return [f"data={kind}", f"data.root={_literal(name)}"]
    if os.sep in name or name.startswith("~") or Path(name).suffix:
        raise UsageError(f"there is no file or folder {name}", "a path, or see: cnnctl list data")
    hint = did_you_mean(name, options) or "a path, or see: cnnctl list data"
    raise UsageError(f"unknown data set '{name}'", hint)


def _has_masks(root: Path) -> bool:
    """Whether a folder is one of images and masks, as data=folder_masks takes it."""
    return any(
        (place / "images").is_dir() and (place / "masks").is_dir()
        for place in (root, root / "train")
    )


def _literal(text: str) -> str:
    """A text as it is, whatever signs of Hydra's grammar it has."""
    doubled = re.sub(r"\\+(?='|\Z)", lambda found: 2 * found[0], text)
    return "'" + doubled.replace("'", "\\'") + "'"


def _writable(flag: str, file: Path) -> None:
    """Whether there is a place for what will be written."""
    ending = ENDINGS.get(flag, file.suffix)
    if file.is_dir() or not file.absolute().parent.is_dir():
        place = "it is a folder" if file.is_dir() else f"there is no folder {file.parent}"
        raise UsageError(f"{flag} cannot write {file}: {place}")
    if file.suffix != ending:
        raise UsageError(
            f"{flag} writes a {ending} file, got {file}", f"{flag} {file.stem}{ending}"
        )


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all."""
    from cnnctl.data import places

    try:
        places.write(file, content)
    except OSError as wrong:
        raise UsageError(f"cannot write {file}: {wrong.strerror}") from wrong


def _check(call: Call, name: str, train: schema.Train) -> Result:
    listed, report = call.flags.get("--quarantine"), call.flags.get("--report")
    if listed and not isinstance(train.data, Folder):
        text = f"--quarantine has no effect on {name}: only data=folder can leave images out"
        raise UsageError(text, "cnnctl data check FOLDER --quarantine FILE")
    from cnnctl.data import check, check_masks, strays
    from cnnctl.report import data_page, progress

    began = time.perf_counter()
    loaded = strays.load(train.data)
    with progress.reading(train.progress) as tell:
        if isinstance(train.data, Masks):
            document = check_masks.masks(loaded.source, train.data, tell)
        else:
            document = check.check(loaded, train.data, tell)
    document["seconds"] = round(time.perf_counter() - began, 2)
    if listed:
        rows = list(check.quarantine(document))
        head = f"# images of {name} to leave out: data.quarantine={listed}; path, tab, reason\n"
        text = head + "".join(f"{path}\t{reason}\n" for path, reason in rows)
        _write(Path(listed), os.fsencode(text))
        document["quarantine"] = {"file": listed, "images": len(rows)}
    if report:
        _write(Path(report), data_page.html(document, loaded.source, name).encode())
        document["report"] = report
    return Result("checked", document, EXIT_FAILED if document["wrong"] else 0)


def _show(call: Call, name: str, train: schema.Train) -> Result:
    from cnnctl.commands import job
    from cnnctl.data import preview, preview_masks
    from cnnctl.report import data_masks_sheet, sheet

    stem = train.data.name if train.data.name == name else Path(name).resolve().name.split(".")[0]
    file = Path(call.flags.get("--output", f"{stem}_{train.augment.name}.png"))
    data = dataclasses.replace(train.data, on_error="skip")
    train = dataclasses.replace(train, data=data)
    source = job.ready(train, build=False)
    title = f"{stem} · augment {train.augment.name} · {data.size}×{data.size}"
    if isinstance(data, Masks):
        pairs, epochs = preview_masks.preview(source, train), preview_masks.EPOCHS
        heads, shown, legend = data_masks_sheet.sheet(pairs, source.classes)
        images = [{"name": row.name} for row in pairs]
    else:
        rows, epochs = preview.preview(source, train), preview.EPOCHS
        heads, legend = ["unchanged", *(f"epoch {epoch}" for epoch in range(epochs))], []
        shown = [sheet.Row(row.label, list(row.versions.numpy())) for row in rows]
        images = [{"class": row.label, "name": row.name} for row in rows]
    _write(file, sheet.png(heads, shown, title, legend))
    told = {"data": train.data.name, "augment": train.augment.name, "epochs": epochs}
    return Result("sheet", {"file": str(file), **told, "images": images})


def _cache(call: Call, name: str, train: schema.Train) -> Result:  # noqa: ARG001 - as the others
    from cnnctl.commands import job
    from cnnctl.data import cache

    if isinstance(train.data, Masks):
        text = f"there is no cache of images with masks, such as {name}"
        raise UsageError(text, "training holds them in memory if they fit")
    began = time.perf_counter()
    before = {row["cache"] for row in cache.listed()}
    source = job.ready(train)
    seconds = round(time.perf_counter() - began, 2)
    feeds = {split: dataclasses.asdict(feed) for split, feed in source.feeds.items()}
    used = {feed["file"] for feed in feeds.values()}
    rows = [
        {**row, "built": row["cache"] not in before}
        for row in cache.listed()
        if row["cache"] in used
    ]
    return Result(
        "cached",
        {"data": train.data.name, "seconds": seconds, "splits": feeds, "caches": rows,
         "images": source.sizes},
    )  # fmt: skip


def _caches(call: Call, names: list[str]) -> Result:
    """All caches, or none any more."""
    clear = "--clear" in call.flags
    if names or call.overrides:
        text = f"--clear removes every cache; it does not go with {[*names, *call.overrides][0]}"
        if not clear:
            text = f"'{call.overrides[0]}' has no effect on a list of the caches"
        raise UsageError(text, f"cnnctl data cache{' --clear' * clear}")
    from cnnctl.data import cache

    rows = cache.listed()
    told = {"place": str(cache.place()), "caches": rows}
    if not clear:
        return Result("caches", told | {"bytes": sum(row["bytes"] for row in rows)})
    try:
        return Result("cleared", told | {"freed": cache.clear()})
    except OSError as wrong:
        raise UsageError(f"cannot remove {wrong.filename}: {wrong.strerror}") from wrong


WORK: dict[str, Callable[[Call, str, schema.Train], Result]] = {
    "check": _check, "show": _show, "cache": _cache,
}  # fmt: skip
