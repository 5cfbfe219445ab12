"""What an audit of ResNet-152 costs, beside torchinfo, fvcore, ptflops and Lightning's summary.

    python bench/audit.py [ROUNDS]

Each side builds torchvision's resnet152 and analyses it in a fresh process, as its users do, and
all take turns. Measured inside, once torch, torchvision and the tool are imported: seconds, and
the peak of resident memory over that of the imports. Then times `cnnctl audit vgg16` beside
`import torch`, and `cnnctl audit --all` once. Exits with 1 if a promise is not kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
TORCH = [sys.executable, "-c", "import torch"]
PEERS = ("torchinfo", "fvcore", "ptflops")
LEAST_TIME, LEAST_MEMORY = 0.15, 0.1  # at most, of the fastest and of the leanest peer
START, ALL_SECONDS = 1.5, 60
MIB, GIGA = 2**20, 1e9

BUILD = """
with meta.device():
    spec, _ = nets.read_spec(catalog.facts(files["resnet152_v1_5"], files))
    net = nets.build(spec, num_classes=1000, shape=spec.input)
"""


class Side(NamedTuple):
    """What a tool imports, and the work that leaves its multiply-adds in `macs`."""

    name: str
    imports: str
    work: str
    ours: bool = False


SIDES = (
    Side(
        "cnnctl, forward",
        "from cnnctl import nets; from cnnctl.audit.forward import forward;"
        "from cnnctl.config import catalog, paths; from cnnctl.nets import meta;"
        "files = paths.config_files()['model']",
        BUILD + "macs = sum(forward(net, spec.input).walk.macs.values())",
        ours=True,
    ),
    Side(
        "cnnctl, and a training step",
        "from cnnctl import nets; from cnnctl.audit.budget import MOMENTUM;"
        "from cnnctl.audit.document import Subject, audit; from cnnctl.audit.step import Setting;"
        "from cnnctl.config import catalog, paths; from cnnctl.nets import meta;"
        "files = paths.config_files()['model']",
        BUILD
        + "found = audit(Subject(spec.name, net, spec.input), Setting(32, MOMENTUM), 'rows')\n"
        "macs = found['totals']['macs']",
        ours=True,
    ),
    Side(
        "torchinfo",
        "import torchinfo",
        "net = torchvision.models.resnet152()\n"
        "macs = torchinfo.summary(net, (1, 3, 224, 224), verbose=0).total_mult_adds",
    ),
    Side(
        "fvcore",
        "from fvcore.nn import FlopCountAnalysis",
        "net = torchvision.models.resnet152().eval()\n"
        "macs = FlopCountAnalysis(net, torch.zeros(1, 3, 224, 224)).total()",
    ),
    Side(
        "ptflops",
        "from ptflops import get_model_complexity_info",
        "net = torchvision.models.resnet152()\n"
        "macs, _ = get_model_complexity_info(net, (3, 224, 224), as_strings=False,"
        " print_per_layer_stat=False)",
    ),
    Side(
        "Lightning",
        "import pytorch_lightning; from pytorch_lightning.utilities.model_summary import ModelSummary",
        "class Task(pytorch_lightning.LightningModule):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = torchvision.models.resnet152()\n"
        "        self.example_input_array = torch.zeros(1, 3, 224, 224)\n"
        "    def forward(self, image):\n"
        "        return self.net(image)\n"
        "macs = ModelSummary(Task(), max_depth=-1).total_flops // 2",
    ),
)

SCRIPT = """
import json, resource, sys, time
import torch, torchvision
{imports}
def peak():
    try:
        return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
try:
    open("/proc/self/clear_refs", "w").write("5")
except OSError:
    pass  # the peak of the imports counts then, which favours whoever needs less than it
before = peak()
began = time.perf_counter()
{work}
seconds = time.perf_counter() - began
print(json.dumps([seconds, peak() - before, int(macs)]))
"""


class Cost(NamedTuple):
    """Seconds, bytes over those of the imports, and the multiply-adds that were found."""

    seconds: float
    memory: int
    macs: int


def cost_of(side: Side) -> Cost:
    """Build and analyse once, in a process of its own."""
    script = SCRIPT.format(imports=side.imports, work=side.work)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{side.name}: {done.stderr}")
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def analyses(rounds: int) -> bool:
    """Print what each side took; whether the promises are kept."""
    turns = [[cost_of(side) for side in SIDES] for _ in range(rounds + 1)][1:]
    sides = list(zip(*turns, strict=True))
    costs = [Cost(*(median(values) for values in zip(*side, strict=True))) for side in sides]
    peers = [number for number, side in enumerate(SIDES) if not side.ours]
    fastest = min(peers, key=lambda number: costs[number].seconds)
    leanest = min(peers, key=lambda number: costs[number].memory)
    print(f"{'':30}{'G macs':>8}{'time':>10}{'ratio':>8}{'memory':>12}{'ratio':>8}")
    kept = True
    for number, side in enumerate(SIDES):
        quick = median(turn[number].seconds / turn[fastest].seconds for turn in turns)
        lean = median(turn[number].memory / turn[leanest].memory for turn in turns)
        late = side.ours and (quick > LEAST_TIME or lean > LEAST_MEMORY)
        kept &= not late
        figures = (
            f"{costs[number].macs / GIGA:>8.2f}{1000 * costs[number].seconds:>7.0f} ms{quick:>8.3f}"
        )
        print(f"{side.name:30}{figures}{costs[number].memory / MIB:>8.1f} MiB{lean:>8.3f}"
              f"{'  NOT KEPT' if late else ''}")  # fmt: skip
    print(
        f"ratios: to {SIDES[fastest].name}, the fastest peer, and {SIDES[leanest].name}, the leanest;"
    )
    print(f"promised: at most {LEAST_TIME} of the time and {LEAST_MEMORY} of the memory\n")
    return kept


def seconds_of(command: list[str]) -> float:
    """Wall seconds of one run of a command."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}: {done.stderr}")
    return seconds


def commands(rounds: int) -> bool:
    """Print what the command takes from its start to its end; whether the promises are kept."""
    one = [CNNCTL, "audit", "vgg16"]
    pairs = [(seconds_of(one), seconds_of(TORCH)) for _ in range(rounds + 1)][1:]
    ours, theirs = (median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = median(ours / theirs for ours, theirs in pairs)
    slow = "" if ratio <= START else "  NOT KEPT"
    print(f"cnnctl audit vgg16 / import torch   {1000 * ours:.0f} ms / {1000 * theirs:.0f} ms"
          f" = {ratio:.2f} (at most {START}){slow}")  # fmt: skip
    whole = seconds_of([CNNCTL, "audit", "--all"])
    late = "" if whole < ALL_SECONDS else "  NOT KEPT"
    print(f"cnnctl audit --all   {whole:.1f} s (less than {ALL_SECONDS} s){late}")
    return ratio <= START and whole < ALL_SECONDS


def main() -> int:
    """Measure everything; returns 1 if a promise is not kept."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    missing = [name for name in PEERS if find_spec(name) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; pip install --editable '.[bench]'")
    print(f"{rounds} rounds in turn after one to warm up; {os.cpu_count()} cores\n")
    kept = [analyses(rounds), commands(rounds)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
