"""What an audit of ResNet-152 costs, beside torchinfo, fvcore, ptflops and Lightning's summary.

    python bench/audit.py [ROUNDS]

Each side builds torchvision's resnet152 and analyses it as its users do, in a fresh process, and
all take turns. Measured inside, once torch, torchvision and the tool are imported: seconds, and
the peak of resident memory over that of the imports. Each has one thread: two that wait for
each other on a busy machine make the others ten times slower, and on an idle one hardly faster.
Then `cnnctl audit vgg16` is timed beside `import torch`, and `cnnctl audit --all` once. Exits
with 1 if a promise is not kept.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
TORCH = [sys.executable, "-c", "import torch"]
PEERS = ("torchinfo", "fvcore", "ptflops")
IMAGE = (3, 224, 224)
MOST_TIME, MOST_MEMORY = 0.15, 0.1  # of the fastest peer, of the leanest
COMPARABLE = "cnnctl, forward"  # what the others do, and receptive fields
MOST_START, MOST_SECONDS = 1.5, 60
MIB, GIGA = 2**20, 1e9

Work = Callable[[], int]  # builds, analyses, gives the multiply-adds


def _ours() -> Callable[[], Any]:
    from cnnctl import nets
    from cnnctl.config import catalog, paths
    from cnnctl.nets import meta

    def build() -> Any:
        files = paths.config_files()["model"]
        spec, _ = nets.read_spec(catalog.facts(files["resnet152_v1_5"], files))
        assert spec is not None
        with meta.device():
            return nets.build(spec, num_classes=1000, shape=IMAGE)

    return build


def cnnctl_forward() -> Work:
    """The comparable work: layers, their parameters and multiply-adds, receptive fields."""
    from cnnctl.audit.forward import forward

    build = _ours()
    return lambda: sum(forward(build(), IMAGE).walk.macs.values())


def cnnctl_audit() -> Work:
    """All that `cnnctl audit` computes: the memory of a training step, too."""
    from cnnctl.audit.budget import MOMENTUM
    from cnnctl.audit.document import Subject, audit
    from cnnctl.audit.step import Setting

    build = _ours()

    def work() -> int:
        subject = Subject("resnet152_v1_5", build(), IMAGE)
        return audit(subject, Setting(32, MOMENTUM), "rows")["totals"]["macs"]

    return work


def torchinfo() -> Work:
    """`torchinfo.summary` with the size of an input."""
    tool, models = import_module("torchinfo"), import_module("torchvision.models")
    return lambda: tool.summary(models.resnet152(), (1, *IMAGE), verbose=0).total_mult_adds


def fvcore() -> Work:
    """`FlopCountAnalysis`, whose FLOPs are multiply-adds."""
    import torch

    tool, models = import_module("fvcore.nn"), import_module("torchvision.models")
    return lambda: tool.FlopCountAnalysis(models.resnet152().eval(), torch.zeros(1, *IMAGE)).total()


def ptflops() -> Work:
    """`get_model_complexity_info` with its default backend."""
    tool, models = import_module("ptflops"), import_module("torchvision.models")
    silent = {"as_strings": False, "print_per_layer_stat": False}
    return lambda: tool.get_model_complexity_info(models.resnet152(), IMAGE, **silent)[0]


def lightning() -> Work:
    """`ModelSummary` of every layer, with the example input that its sizes and FLOPs need."""
    import torch
    from pytorch_lightning import LightningModule
    from pytorch_lightning.utilities.model_summary import ModelSummary  # pyright: ignore[reportPrivateImportUsage] - where its users import it from

    models = import_module("torchvision.models")

    class Task(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = models.resnet152()
            self.example_input_array = torch.zeros(1, *IMAGE)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.net(image)

    return lambda: ModelSummary(Task(), max_depth=-1).total_flops // 2


OURS: dict[str, Callable[[], Work]] = {
    "cnnctl, forward": cnnctl_forward,
    "cnnctl, with a training step": cnnctl_audit,
}
THEIRS: dict[str, Callable[[], Work]] = {
    "torchinfo": torchinfo, "fvcore": fvcore, "ptflops": ptflops, "Lightning": lightning,
}  # fmt: skip


class Cost(NamedTuple):
    """Seconds, bytes above those of the imports, and the multiply-adds that were found."""

    seconds: float
    memory: int
    macs: int


def measure(side: str) -> None:
    """Do the work of one side here, and print its Cost as JSON."""
    import_module("torchvision")
    work = (OURS | THEIRS)[side]()
    clear = Path("/proc/self/clear_refs")
    if os.access(clear, os.W_OK):
        clear.write_text("5", encoding="ascii")  # the peak so far is forgotten
    before, began = _peak(), time.perf_counter()
    macs = work()
    print(json.dumps(Cost(time.perf_counter() - began, _peak() - before, int(macs))))


def _peak() -> int:
    """The most bytes that were resident."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


class Told(NamedTuple):
    """Wall and CPU seconds of one run of a command, and what it printed."""

    wall: float
    cpu: float
    text: str


def told_by(command: list[str], **env: str) -> Told:
    """Run a command, with `env` added to the environment."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **env}
    )
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}: {done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Told(wall, cpu, done.stdout)


def cost_of(side: str) -> Cost:
    """The cost of one side in a process of its own."""
    told = told_by([sys.executable, __file__, "--side", side], OMP_NUM_THREADS="1")
    return Cost(*json.loads(told.text.splitlines()[-1]))


def analyses(rounds: int) -> bool:
    """Print what each side took; whether the promises are kept."""
    turns = [{side: cost_of(side) for side in OURS | THEIRS} for _ in range(rounds + 1)][1:]
    typical = {
        side: Cost(
            *(median(figures) for figures in zip(*(turn[side] for turn in turns), strict=True))
        )
        for side in turns[0]
    }
    fastest = min(THEIRS, key=lambda side: typical[side].seconds)
    leanest = min(THEIRS, key=lambda side: typical[side].memory)
    print(f"{'':30}{'G macs':>8}{'time':>10}{'ratio':>8}{'memory':>12}{'ratio':>8}")
    kept = True
    for side, cost in typical.items():
        quick = median(turn[side].seconds / turn[fastest].seconds for turn in turns)
        lean = median(turn[side].memory / turn[leanest].memory for turn in turns)
        missed = side == COMPARABLE and (quick > MOST_TIME or lean > MOST_MEMORY)
        kept &= not missed
        spent = (
            f"{1000 * cost.seconds:>7.0f} ms{quick:>8.3f}{cost.memory / MIB:>8.1f} MiB{lean:>8.3f}"
        )
        print(f"{side:30}{cost.macs / GIGA:>8.2f}{spent}{'  NOT KEPT' if missed else ''}")
    print(f"ratios: to {fastest}, the fastest of the others, and to {leanest}, the leanest;")
    print(f"{COMPARABLE}: at most {MOST_TIME} and {MOST_MEMORY}; no other predicts a step\n")
    return kept


def commands(rounds: int) -> bool:
    """Print what the command takes from start to end; whether the promises are kept."""
    one = [CNNCTL, "audit", "vgg16"]
    pairs = [(told_by(one), told_by(TORCH)) for _ in range(rounds + 1)][1:]
    ours, theirs = (1000 * median(pair[side].wall for pair in pairs) for side in (0, 1))
    ratio = median(ours.wall / theirs.wall for ours, theirs in pairs)
    cpu = median(ours.cpu / theirs.cpu for ours, theirs in pairs)
    slow = "" if ratio <= MOST_START else "  NOT KEPT"
    told = f"{ours:.0f} ms / {theirs:.0f} ms = {ratio:.2f}, CPU {cpu:.2f}"
    print(f"cnnctl audit vgg16 / import torch: {told}; at most {MOST_START}{slow}")
    whole = told_by([CNNCTL, "audit", "--all"]).wall
    late = "" if whole < MOST_SECONDS else "  NOT KEPT"
    print(f"cnnctl audit --all: {whole:.1f} s; less than {MOST_SECONDS} s{late}")
    return not slow and not late


def main() -> int:
    """Measure everything; returns 1 if a promise is not kept."""
    if sys.argv[1:2] == ["--side"]:
        measure(sys.argv[2])
        return 0
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    missing = [name for name in PEERS if find_spec(name) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)} (pip install --editable '.[bench]')")
    print(f"{rounds} rounds in turn after one to warm up; {os.cpu_count()} cores\n")
    kept = [analyses(rounds), commands(rounds)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
