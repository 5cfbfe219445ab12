"""cnnctl audit: what a net costs, layer by layer, and what a training step of it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl.commands import Call, subjects
from cnnctl.config import audit as schema
from cnnctl.config import compose, paths
from cnnctl.config.overrides import key_of, quoted
from cnnctl.errors import ConfigError, NetError, Problem, UsageError, UserError
from cnnctl.report.result import Result

if TYPE_CHECKING:
    from cnnctl.audit.document import Subject
    from cnnctl.audit.step import Setting

SIZES = ("budget", "input", "reserve", "sizes")
EXIT_TOO_LARGE = 3  # the configured batch does not fit a budget


def run(call: Call) -> Result:
    """One net in detail, or several side by side. Raises UserError for what cannot be audited."""
    if call.targets[:1] == ["claims"]:
        from cnnctl.commands import claims

        return claims.run(call)
    targets = _targets(call)
    overrides = [quoted(_as_text(text)) for text in call.overrides]
    with compose.opened(paths.extra_dirs(call.flags)):
        settled = [subjects.settle(target, overrides) for target in targets]
    found = [_audited(typed, what, call.flags) for typed, what in settled]
    typed = settled[0][0]
    shown = "json" if "--json" in call.flags else typed.format
    data: dict[str, Any] = {"nets": found, "detail": typed.detail, "format": shown}
    if "--against" in call.flags:
        from cnnctl.audit import paper

        data["against"] = [row for net in found for row in paper.compare(net)]
    if "--plot" in call.flags:
        from cnnctl.report import scatter

        data["plot"] = scatter.save(found, Path(call.flags["--plot"]))
    fits = [fit for net in found for fit in net.get("budget", ())]
    code = EXIT_TOO_LARGE if any(not fit["fits"] for fit in fits) else 0
    return Result("audited" if len(found) == 1 else "compared", data, code)


def _targets(call: Call) -> Sequence[str | None]:
    """The nets named, all of them with --all, the default one without a name."""
    against = call.flags.get("--against", "paper")
    if against != "paper":
        raise UsageError(f"--against takes paper, got '{against}'")
    if "--failed" in call.flags:
        raise UsageError("--failed is an option of: cnnctl audit claims")
    if "--all" not in call.flags:
        return call.targets or [None]
    if call.targets:
        raise UsageError(f"--all takes no net, got {', '.join(call.targets)}")
    return subjects.names()


def _as_text(override: str) -> str:
    """Sizes in quotes: Hydra would take 224 for a number, and 3GB,24GB for a sweep."""
    name, _, value = override.partition("=")
    if key_of(override) not in SIZES or value.startswith(("[", "'", '"')) or value == "null":
        return override
    if key_of(override) == "budget":
        texts = ",".join(f"'{one}'" for one in value.split(","))
        return f"{name}=[{texts}]"
    if key_of(override) == "sizes":
        return f"{name}=[{value}]"
    return f"{name}='{value}'"


def _audited(typed: schema.Audit, what: Any, flags: Mapping[str, str]) -> dict[str, Any]:
    """The document of one net. Imports torch."""
    subject = subjects.subject(typed, what)
    with subjects.running(subject, what):
        if "--strict" in flags:
            _strict(subject)
        found = _document(subject, typed, what_if="--what-if" in flags)
    if typed.sizes is not None:
        found["sizes"] = [_sized(typed, what, side) for side in typed.sizes]
    return found


def _sized(typed: schema.Audit, what: Any, side: int) -> dict[str, Any]:
    """What the net costs on images of another size, or why it does not take them."""
    from cnnctl.audit import sizes

    try:
        subject = subjects.subject(typed, what, side)
        with subjects.running(subject, what):
            return sizes.row(subject, _setting(typed), side)
    except UserError as wrong:
        return sizes.refused(side, wrong)


def _setting(typed: schema.Audit) -> Setting:
    """How a step is made."""
    from cnnctl.audit.step import Setting

    return Setting(
        typed.batch_size, typed.optimizer, typed.precision,
        typed.accelerator, typed.channels_last, typed.accumulate,
    )  # fmt: skip


def _document(subject: Subject, typed: schema.Audit, *, what_if: bool) -> dict[str, Any]:
    """What the net costs, with budgets and other steps where they are asked for."""
    from cnnctl.audit import budget, document

    setting = _setting(typed)
    found = document.audit(subject, setting, typed.memory)
    if typed.budget is not None:
        if found["memory"]["peak"] is None:
            raise NetError(f"{subject.name}: {found['memory']['reason']}")
        given = None if typed.reserve is None else schema.size(typed.reserve)
        budgets = {text: schema.size(text) for text in typed.budget}
        found["budget"] = budget.fits(subject, setting, budgets, given)
    if what_if:
        found["what_if"] = budget.what_if(subject, setting)
    return found


def _strict(subject: Subject) -> None:
    """Raise ConfigError with every layer whose size division leaves a remainder."""
    from cnnctl.nets import sizes

    wrong = [
        Problem(f"fractions are illegal, but {subject.name}: {name}: {text}", key=name)
        for name, text in sizes.remainders(subject.net, subject.input).items()
    ]
    if wrong:
        raise ConfigError(wrong)
