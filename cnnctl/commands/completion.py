"""Shell completion: verbs, flags, groups, options and keys; groups are folders, options files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from cnnctl.commands import COMMON, SHORT, VALUE, VERBS, Call
from cnnctl.config import paths
from cnnctl.config.near import did_you_mean
from cnnctl.errors import CnnctlError, UsageError

TYPE_CHECKING = False  # typing itself is not imported: it would slow down every TAB
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnnctl.report.result import Result

SCRIPTS = {
    # Where nothing is found, each shell completes file names, as for `--config` or `data.root=`.
    # bash breaks words at `=` and `:`, so what stands before the break is cut off again.
    "bash": """\
_cnnctl() {
  local cut="${COMP_LINE:0:COMP_POINT}"
  local word="${cut##* }" break="${COMP_WORDBREAKS//[^=:]/}"
  mapfile -t COMPREPLY < <(COMP_LINE="$cut" cnnctl __complete 2>/dev/null)
  if [[ -n "$break" && "$word" == *[=:]* ]]; then
    local prefix="${word%"${word##*[=:]}"}"
    COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
  fi
  [[ "${COMPREPLY[0]-}" == *[=/] ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _cnnctl cnnctl
""",
    "zsh": """\
_cnnctl() {
  local line="${(j: :)words[1,CURRENT-1]} $PREFIX"
  local -a found=(${(f)"$(COMP_LINE="$line" cnnctl __complete 2>/dev/null)"})
  compadd -S '' -- ${(M)found:#*[=/]}
  compadd -- ${found:#*[=/]}
  (( $#found )) || { compset -P '*='; _files }
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _cnnctl cnnctl
""",
    "fish": """\
function __cnnctl
  set -l found (COMP_LINE=(commandline -cp) cnnctl __complete 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c cnnctl -f -a '(__cnnctl)'
""",
}
LISTS = (
    "models",
    "data",
    "augments",
    "recipes",
    "optimizers",
    "schedules",
    "hardware",
    "loggers",
    "runs",
)
EVALUATE = (
    "latest", "split=test", "split=val", "split=train", "checkpoint=best", "checkpoint=last",
)  # fmt: skip
COMPOSING = ("train", "show")


def run(call: Call) -> Result:
    """Print the script of one shell."""
    from cnnctl.report.result import Result

    if len(call.targets) != 1 or call.targets[0] not in SCRIPTS:
        given = call.targets[0] if call.targets else "nothing"
        text = f"completion takes one of {', '.join(SCRIPTS)}, got {given}"
        raise UsageError(text, did_you_mean(given, SCRIPTS))
    return Result("text", {"shell": call.targets[0], "text": SCRIPTS[call.targets[0]]})


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
    if name in COMPOSING:
        return _overrides([word for word in before[1:] if "=" in word], current)
    if name == "evaluate":
        return _starting(current, [*EVALUATE, *_run_folders()])
    return _starting(current, SCRIPTS if name == "completion" else LISTS)


def _overrides(before: list[str], current: str) -> list[str]:
    sign = current[: len(current) - len(current.lstrip("+~"))]
    bare = current.lstrip("+~")
    groups = paths.config_files()
    group, equals, _ = bare.partition("=")
    if equals:
        found = _starting(bare, [f"{group}={option}" for option in groups.get(group, ())])
    else:
        found = _starting(bare, [f"{name}=" for name in groups])
        if "." in bare or not found:
            found += _starting(bare, [f"{key}=" for key in _keys(before)])
    return [sign + word for word in found]


def _starting(word: str, known: Iterable[str]) -> list[str]:
    return sorted(name for name in known if name.startswith(word))


def _run_folders() -> list[str]:
    from cnnctl import runs

    return [str(run) for run in runs.listed("outputs")]


def _keys(overrides: list[str]) -> list[str]:
    """Dotted keys of the composed configuration, kept until a configuration file changes."""
    files = [file for options in paths.config_files().values() for file in options.values()]
    files.append(paths.conf_dir() / paths.ROOT)
    states = [f"{file} {file.stat().st_mtime_ns}" for file in files]
    stamp = hashlib.sha256(json.dumps([*states, overrides]).encode()).hexdigest()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "cnnctl" / "keys.json"
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["stamp"] == stamp:
            return kept["keys"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = _composed_keys(overrides)
    with contextlib.suppress(OSError):  # a home that cannot be written to has no cache
        cache.parent.mkdir(parents=True, exist_ok=True)
        beside = cache.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps({"stamp": stamp, "keys": found}), encoding="utf-8")
        beside.replace(cache)
    return found


def _composed_keys(overrides: list[str]) -> list[str]:
    from cnnctl.config import compose, provenance

    with compose.opened():
        config, _ = compose.compose("train", overrides)
    return [row["key"] for row in provenance.rows(config, {})]
