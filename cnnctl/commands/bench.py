"""cnnctl bench: how long a net takes, on every engine that is here, and what else that costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl.commands import Call, cases, zoo
from cnnctl.commands.asked import Asked, asked, keys
from cnnctl.commands.cases import Target
from cnnctl.config import compose, paths, preflight, rules_bench, schema, verbs
from cnnctl.config.overrides import key_of, quoted
from cnnctl.errors import EXIT_FAILED, CnnctlError, ConfigError, Problem, UsageError
from cnnctl.report.result import Result

if TYPE_CHECKING:
    from cnnctl.devices import Device
    from cnnctl.latency.energy import Meter
    from cnnctl.latency.measure import Found, Missing

TYPED = {
    "hardware.accelerator": "device",
    "hardware=": "device=",
    "hardware.precision": "precision",
}
OF_RUNS = ("checkpoint", "outputs")
MADE_UP = ("bench runs a net on made-up images", "input=3x64x64")
INSTEAD = {  # of sections of a training: what bench has in their place
    "data": MADE_UP,
    "augment": MADE_UP,
    "hardware": ("bench has keys of its own", "device=cpu, precision=32-true, threads=1"),
}


def run(call: Call) -> Result:
    """Measure; raises UserError for what cannot be measured, before it measures anything."""
    picture = _picture(call)
    of_net = [quoted(text) for text in call.overrides if _section(text) == "model"]
    other = [text for text in call.overrides if _section(text) != "model"]
    ask = _asked(Call(call.verb, (), other, call.flags))
    with compose.opened(paths.extra_dirs(call.flags)):
        bench = _keys(ask, call)
        targets = [cases.settle(name, bench, ask, of_net) for name in _targets(call)]
    given = [text for text in [*ask.own, *ask.of_run] if key_of(text) in OF_RUNS]
    if given and not any(target.one for target in targets):
        raise UsageError(f"'{given[0]}' has no effect: no run is among the targets", "leave it out")
    named = {key_of(text) for text in ask.own}
    data = _measured(targets, bench, explicit="batch" in named, drawn=picture is not None)
    if "--zoo" in call.flags:
        zoo.finish(data, targets, picture, plain=not of_net and bench.input is None)
    code = EXIT_FAILED if _failed(data["nets"], call.targets, named) else 0
    return Result("zoo" if "--zoo" in call.flags else "benched", data, code)


def _failed(nets: Sequence[dict[str, Any]], targets: Sequence[str], named: Collection[str]) -> bool:
    """Whether something could not be measured that was asked for by name."""
    if targets and not all(net["rows"] for net in nets):
        return True
    missing = [one for net in nets for one in net["unavailable"]]
    return any(
        "engines" in named or ("batch" in named and one["batch"] is not None) for one in missing
    )


def _asked(call: Call) -> Asked:
    """The command line, sorted; what is told of keys of a training is told of this verb."""
    found = asked(call, verbs.Bench)
    texts = {key_of(text): text for text in call.overrides}
    unknown = [
        _without(texts[problem.key], problem.key) if problem.key in texts else problem
        for problem in [*found.unknown, *found.doubled]
    ]
    return dataclasses.replace(found, unknown=unknown, of_weights=[], doubled=[])


def _without(override: str, name: str) -> Problem:
    """A key of a training that bench does not have, and what it has instead."""
    section = name.partition(".")[0]
    why, hint = INSTEAD.get(section, ("bench trains nothing", "leave it out"))
    return Problem(f"{override} has no effect: {why}", hint, name)


def _keys(ask: Asked, call: Call) -> verbs.Bench:
    """The verb's own keys, checked. Raises ConfigError."""
    bench = keys(verbs.Bench, ask)
    given = {key_of(text) for text in ask.own}
    whole = "--zoo" in call.flags
    preflight.require(list(rules_bench.broken(bench, given, zoo=whole)))
    return zoo.single(bench, given) if whole else bench


def _targets(call: Call) -> Sequence[str]:
    if not call.targets and "--zoo" not in call.flags:
        raise UsageError("bench takes a net, a run or a file", "cnnctl bench resnet18")
    twice = [name for name in call.targets if call.targets.count(name) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is named twice", "leave it out once")
    return call.targets or zoo.NETS


def _picture(call: Call) -> Path | None:
    """Where the charts go; told before anything is measured if they cannot."""
    if "--plot" not in call.flags:
        return None
    if "--zoo" not in call.flags:
        raise UsageError("--plot is an option of: cnnctl bench --zoo")
    from cnnctl.report import picture

    place = Path(call.flags["--plot"])
    picture.check(place)
    if not place.parent.is_dir():
        raise UsageError(f"cannot write {place}: there is no folder {place.parent}")
    return place


def _section(override: str) -> str:
    return key_of(override).partition(".")[0]


def _measured(
    targets: Sequence[Target], bench: verbs.Bench, *, explicit: bool, drawn: bool
) -> dict[str, Any]:
    """The document. Imports torch; raises UserError before minutes are spent on the first net."""
    import torch

    from cnnctl.latency import energy, engines, machine
    from cnnctl.report.telling import telling

    device = _device(bench)
    for target in targets:
        found = cases.check(target, bench, device, strict=explicit)
        if drawn and found is not None and not (found.about["params"] and found.about["macs"]):
            text = f"{target.name} has no parameters or multiply-adds that are known"
            raise UsageError(text, f"leave out {target.name}, or --plot")
    with machine.prepared(device, bench.threads), engines.kernels(), telling() as tell:
        meter, load = energy.meter(device.first), machine.load()
        tell("matrix products")
        best = machine.matmul_flops(device)
        nets, missing = [], []
        for one in targets:
            net, found = _net(one, bench, device, meter, tell, strict=explicit)
            nets.append(net)
            missing += found.missing
            best = max(best, machine.matmul_flops(device))  # others may use the machine, too
        if not any(net["rows"] for net in nets):
            raise _nothing(targets, missing)
        for row in (row for net in nets for row in net["rows"]):
            row["share"] = None if row["flops"] is None else row["flops"] / best
        return {
            "device": device.accelerator, "device_name": machine.name(device),
            "threads": torch.get_num_threads(), "precision": device.precision,
            "load": load, "cores": machine.cores(), "seconds": bench.seconds, "matmul_flops": best,
            "energy": None if meter is None else meter.source,
            "versions": machine.versions(), "nets": nets,
        }  # fmt: skip


def _net(  # noqa: PLR0913 - what, how, on what
    target: Target, bench: verbs.Bench, device: Device, meter: Meter | None,
    tell: Callable[[str], None], *, strict: bool,
) -> tuple[dict[str, Any], Found]:  # fmt: skip
    """One net, and what was found; it is let go before the next one is built."""
    from cnnctl.latency import measure

    tell(target.name)
    subject = cases.subject(target, bench, device)
    batch = cases.batches(subject, bench, strict=strict)
    wanted = measure.Bench(device, batch, bench.seconds, meter)
    found = measure.measure(subject.case, wanted, lambda what: tell(f"{target.name}: {what}"))
    return subject.about | found.told(), found


def _nothing(targets: Sequence[Target], missing: Sequence[Missing]) -> CnnctlError:
    """Why there is not one figure: what the engine says, or all of them together."""
    errors = {str(one.error): one.error for one in missing}
    if len(errors) == 1:
        return missing[0].error
    reasons = dict.fromkeys(f"{one.engine}: {one.error}" for one in missing)
    names = ", ".join(target.name for target in targets)
    return UsageError(f"nothing runs {names}: {'; '.join(reasons)}")


def _device(bench: verbs.Bench) -> Device:
    """Where it runs. Raises ConfigError, in the words of this verb."""
    from cnnctl import devices

    wanted = schema.Hardware(
        name="bench", accelerator=bench.device, devices=1, num_nodes=1,
        precision=bench.precision, strategy="auto", sync_batchnorm=False,
        deterministic=False, matmul="highest",
    )  # fmt: skip
    try:
        found = devices.settle(wanted)
    except ConfigError as wrong:
        raise ConfigError([_reworded(problem) for problem in wrong.problems]) from wrong
    if bench.threads is not None and found.accelerator != "cpu":
        text = f"threads={bench.threads} has no effect: device=auto is {found.accelerator} here"
        raise ConfigError([Problem(text, "device=cpu, or leave it out", "threads")])
    return found


def _reworded(problem: Problem) -> Problem:
    texts = [problem.message, problem.hint or ""]
    for word, own in TYPED.items():
        texts = [text.replace(word, own) for text in texts]
    return Problem(texts[0], texts[1] or None, TYPED.get(problem.key or "", problem.key))
