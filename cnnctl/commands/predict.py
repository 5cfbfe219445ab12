"""cnnctl predict: what is on images, in words."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnnctl import manifest, runs
from cnnctl.commands import Call, trained
from cnnctl.config import compose, paths, preflight, rules_predict, tasks, verbs
from cnnctl.errors import ConfigError, DataError, Problem, UsageError
from cnnctl.export import folder
from cnnctl.report.result import Result

if TYPE_CHECKING:
    from cnnctl.data.pictures import Failed

EXAMPLE = "cnnctl predict latest cat.jpg"
NETS = (".ckpt", ".pt", ".pth", *manifest.SUFFIXES)
IMAGES = (".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def run(call: Call) -> Result:
    """Say what is on images; raises UsageError, RunError, CheckpointError, ConfigError, DataError.

    A file that cannot be read is no error; it is told, and the exit code is 1.
    """
    call = _patterns(call)
    target, words = _sorted(call.targets)
    ask = trained.asked(Call(call.verb, [target], call.overrides, call.flags), verbs.Predict)
    with compose.opened(paths.extra_dirs(call.flags)):
        predict = trained.keys(verbs.Predict, ask)
        if predict.format == "csv" and "--json" in call.flags:
            text = "format=csv has no effect beside --json"
            raise ConfigError([Problem(text, "leave out one of the two", "format")])
        if predict.output is not None:
            folder.require_new(Path(predict.output).expanduser())
        one = trained.find(target, predict.checkpoint, ask)
    task = tasks.of(one.config["model"])
    preflight.require(list(rules_predict.predict(predict, task)))
    from cnnctl.commands import predicted_classes, predicted_images, predicted_masks
    from cnnctl.data import pictures

    files, failed = pictures.find(words)
    if not files:
        raise DataError(*_nothing(failed))
    results = {
        "classify": predicted_classes.result, "segment": predicted_masks.result,
        "reconstruct": predicted_images.result,
    }  # fmt: skip
    return results[task](one, predict, files, failed)


def _sorted(targets: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The net and the images. Raises UsageError if one of them is missing, or not in its place."""
    if not targets:
        raise UsageError("predict takes a net and images, got nothing", EXAMPLE)
    first, *others = targets
    file, swapped = Path(first), next(filter(_is_net, others), None)
    images = file.is_dir() and not (file / runs.CONFIG).is_file()
    if file.suffix.lower() in IMAGES or (images and swapped):
        text = f"the net comes first, but {first} is {'a folder' if images else 'an image'}"
        raise UsageError(text, f"cnnctl predict {shlex.join([swapped or runs.LATEST, first])}")
    if not others:
        raise UsageError(
            f"predict takes images, got {first} alone",
            f"cnnctl predict {shlex.quote(first)} cat.jpg",
        )
    return first, others


def _is_net(word: str) -> bool:
    file = Path(word)
    return word == runs.LATEST or file.suffix in NETS or (file / runs.CONFIG).is_file()


def _nothing(failed: Sequence[Failed]) -> tuple[str, str]:
    """One line about what was given, and what to give."""
    named = [f"{one.file}: {one.reason}" for one in failed[:3]]
    more = f", and {len(failed) - len(named)} more" if len(failed) > len(named) else ""
    return f"there is nothing to predict: {'; '.join(named)}{more}", EXAMPLE


def _patterns(call: Call) -> Call:
    """'epoch=3/*.png' reads like an override; if there are files of such names, it is none."""
    found = [text for text in call.overrides if glob.has_magic(text) and glob.glob(text)]  # noqa: PTH207 - as in data.pictures
    kept = [text for text in call.overrides if text not in found]
    return Call(call.verb, [*call.targets, *found], kept, call.flags)
