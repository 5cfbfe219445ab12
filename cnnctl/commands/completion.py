"""Shell completion: verbs, flags, groups, options and keys; groups are folders, options files."""

from __future__ import annotations

import os
from pathlib import Path

from cnnctl.commands import COMMON, SHORT, VALUE, VERBS, Call
from cnnctl.config import keys, paths
from cnnctl.config.near import did_you_mean
from cnnctl.errors import CnnctlError, UsageError

TYPE_CHECKING = False  # typing itself is not imported: it would slow down every TAB
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cnnctl.report.result import Result

# The scripts are files in shells/. Where nothing is found, each shell completes file names, as
# for `--config` or `data.root=`.
SHELLS = ("bash", "zsh", "fish")
LISTS = (
    "models", "data", "augments", "losses", "recipes", "optimizers", "schedules", "hardware",
    "loggers", "transfers", "runs",
)  # fmt: skip
TRAINED = ("evaluate", "predict", "export", "bench")  # verbs that take a trained net
CHECKPOINTS = ("best", "last")
LATEST = "latest"
CLAIMS = "claims"
DATA = ("check", "show", "cache")
NOT_DATA = ("logger", "optimizer", "schedule", "trainer")  # what these have no use for


def run(call: Call) -> Result:
    """Print the script of one shell."""
    from cnnctl.report.result import Result

    if len(call.targets) != 1 or call.targets[0] not in SHELLS:
        given = call.targets[0] if call.targets else "nothing"
        text = f"completion takes one of {', '.join(SHELLS)}, got {given}"
        raise UsageError(text, did_you_mean(given, SHELLS))
    shell = call.targets[0]
    script = Path(__file__).with_name("shells") / shell
    return Result("text", {"shell": shell, "text": script.read_text(encoding="utf-8")})


def complete() -> int:
    """What the scripts call: candidates for the last word of $COMP_LINE, one a line."""
    words = os.environ.get("COMP_LINE", "cnnctl ").split(" ")[1:] or [""]
    try:
        for word in candidates([word for word in words[:-1] if word], words[-1]):
            print(word)
    except (CnnctlError, OSError):
        return 1  # a prompt is no place for an error message
    return 0


def candidates(before: list[str], current: str) -> list[str]:
    """What `current` can become after the words `before`."""
    if not before:
        return _starting(current, VERBS)
    name, last = before[0], SHORT.get(before[-1], before[-1])
    if name not in VERBS or VERBS[name].flags.get(last, ("",))[0] == VALUE:
        return []  # behind a flag stands a file, or a word that only Hydra knows
    if current.startswith("-"):
        return _starting(current, [*VERBS[name].flags, *COMMON])
    return _words(name, before[1:], current)


def _words(name: str, before: list[str], current: str) -> list[str]:
    """What `current` can become as a target or a key of one verb."""
    if name in ("train", "show"):
        return _overrides([word for word in before if "=" in word], current)
    if name == "audit":
        return _audited(before, current)
    if name == "data":
        return _of_data(before, current)
    if name in ("conv", "upsample"):
        return _starting(current, _own_keys(name, current))
    if name in TRAINED:
        return _of_trained(name, before, current)
    return _starting(current, SHELLS if name == "completion" else LISTS)


def _audited(before: list[str], current: str) -> list[str]:
    """Nets, claims, runs, and the keys of the net that is named."""
    nets = paths.config_files()["model"]
    if CLAIMS in before:
        return _starting(current, nets)
    targets = _starting(current, [*nets, *([] if before else [CLAIMS]), *_run_folders()])
    chosen = [f"model={word}" for word in before if word in nets][-1:]
    chosen += [word for word in before if "=" in word]
    return sorted({*targets, *_overrides(chosen, current, "audit")})


def _of_data(before: list[str], current: str) -> list[str]:
    """What is done, a data set (or a file, which the shell completes), then keys of training."""
    if not before:
        return _starting(current, DATA)
    sets = paths.config_files()["data"]
    if len(before) == 1:
        return _starting(current, sets)
    chosen = [f"data={word}" for word in before if word in sets]
    found = _overrides([*chosen, *(word for word in before if "=" in word)], current)
    return [word for word in found if not word.startswith(("data=", *NOT_DATA))]


def _of_trained(name: str, before: list[str], current: str) -> list[str]:
    """A run, or a net to measure; behind it images, which the shell completes; then keys."""
    named = [word for word in before if "=" not in word and not word.startswith("-")]
    if name == "predict" and named and _starts_a_file(current):
        return []
    found = _key_of_trained(name, before, current)
    if not named or name in ("bench", "evaluate"):  # which take several
        nets = paths.config_files()["model"] if name == "bench" else ()
        found += _starting(current, [*_run_folders(), LATEST, *nets])
    return sorted(found)


def _key_of_trained(name: str, before: list[str], current: str) -> list[str]:
    """The keys of a verb and those of the run that it may change, or the words of one of them."""
    from cnnctl.config import verbs

    cls = getattr(verbs, name.title())
    files = paths.config_files()
    may = {word: files.get(word, ()) for word in verbs.OF_RUN[cls]}
    words = {**verbs.choices(cls), "checkpoint": CHECKPOINTS, **may}
    key, equals, value = current.partition("=")
    if equals:
        so_far, comma, _ = value.rpartition(",") if key in verbs.lists(cls) else ("", "", "")
        several = [word for word in words.get(key, ()) if word not in so_far.split(",")]
        several = [word for word in several if not comma or word != "null"]
        return _starting(current, [f"{key}={so_far}{comma}{word}" for word in several])
    known = [*words]
    if "." in current:
        chosen = [word for word in before if word.startswith("data=")]
        known += [key for key in keys.known(chosen) if key.partition(".")[0] in may]
    return _starting(current, {f"{key}=" for key in known})


def _starts_a_file(word: str) -> bool:
    """Whether there is a file that `word` can become; the shell knows how to write its name."""
    place = Path(word).expanduser()
    folder, start = (place, "") if not word or word.endswith("/") else (place.parent, place.name)
    return folder.is_dir() and any(one.name.startswith(start) for one in folder.iterdir())


def _own_keys(name: str, current: str) -> list[str]:
    """The keys of a verb that composes nothing, or the words that one of them can be."""
    from cnnctl.commands import conv, upsample

    module = {"conv": conv, "upsample": upsample}[name]
    key, equals, _ = current.partition("=")
    if equals:
        return [f"{key}={word}" for word in module.WORDS.get(key, ())]
    return [f"{name}=" for name in module.KEYS]


def _overrides(before: list[str], current: str, root: str = "train") -> list[str]:
    sign = current[: len(current) - len(current.lstrip("+~"))]
    bare = current.lstrip("+~")
    groups = _groups(root)
    group, equals, _ = bare.partition("=")
    if equals:
        found = _starting(bare, [f"{group}={option}" for option in groups.get(group, ())])
    else:
        found = _starting(bare, [f"{name}=" for name in groups])
        if "." in bare or (not found and root == "train"):  # keys of an audit are in its groups
            found += _starting(bare, [f"{key}=" for key in keys.known(before, root)])
    return [sign + word for word in found]


def _groups(root: str) -> Mapping[str, Iterable[str]]:
    """Groups with their options, and the keys that are words with those."""
    files = paths.config_files()
    if root == "train":
        return files
    from cnnctl.config import audit

    return {key: files.get(key, words) for key, words in audit.choices().items()}


def _starting(word: str, known: Iterable[str]) -> list[str]:
    return sorted(name for name in known if name.startswith(word))


def _run_folders() -> list[str]:
    from cnnctl import runs

    return [str(run) for run in runs.listed("outputs")]
