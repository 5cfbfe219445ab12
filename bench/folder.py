"""`cnnctl train` as a whole on a folder of JPEGs, beside scripts that do the same.

    python bench/folder.py [ROUNDS] [--cifar FOLDER] [--images N] [--epochs N]

A part of CIFAR-10's files, shifted and flipped: of `--images` nine tenths to train, the others
for validation, and 1,000 to test; LeNet-5 for three epochs, ResNet-20 for `--epochs`. Both sides
read the JPEGs: cnnctl starts without a cache in every run, the scripts (peers/) have ImageFolder,
PIL, torchvision.transforms and a DataLoader. Where a row names no precision for the script, it
has 32 bits. Nets have a thread for every core; on a busy machine, where threads that wait for each
other are ten times slower, set OMP_NUM_THREADS=1, which leaves less to gain: while a script decodes
in one process, its other cores have nothing to do. Promises are for the work: what is left of both
sides less the same commands on a hundred images, which is how long they take to start. Decoding,
loading, training, validating and testing are in it.

Then what cnnctl itself reports: images a second while it trains, the share of that time in which
it waits for images, its peak of memory; and what channels_last and bfloat16 gain. Exits with 1
if a promise is not kept, with 0 where there is no CIFAR-10.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import images
import pairs
from pairs import CNNCTL, PEERS, Cost, Table, Turn

TEST = 1000  # images
THREADS = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
LENET_EPOCHS = 3
PLAIN = ["data=folder", "augment=flip_crop", "schedule=constant", "hardware=cpu", "optimizer=adam"]
BF16 = "bf16-mixed"
HAND, LIGHTNING, START = "by hand", "Lightning", ", to start"
SCRIPTS = {HAND: "hand_written.py", LIGHTNING: "stock_lightning.py"}
LEAST_LENET = 3.0
LEAST = {
    HAND: {"32 bits": 1.5, "bfloat16": 2.2},
    LIGHTNING: {"32 bits": 1.8, "bfloat16": 2.5},
}


class Ours:
    """`cnnctl train` on a folder, with an empty cache every time."""

    def __init__(self, root: Path, *words: str) -> None:
        self.words = [*PLAIN, f"data.root={root}", *words]
        self.results: list[dict[str, Any]] = []

    def __call__(self) -> Cost:
        """Train."""
        with tempfile.TemporaryDirectory() as place:
            command = [CNNCTL, "train", *self.words, f"outputs={place}"]
            cost = pairs.cost_of(command, OMP_NUM_THREADS=THREADS, CNNCTL_CACHE=f"{place}/cache")
            (result,) = Path(place).glob("train/*/result.json")
            self.results.append(json.loads(result.read_text(encoding="utf-8")))
        return cost

    def figure(self, key: str) -> float:
        """The median of what the runs have reported."""
        return median(result[key] for result in self.results)


def theirs(peer: str, root: Path, model: str, *words: str) -> Callable[[], Cost]:
    """A script of peers/."""
    command = [sys.executable, str(PEERS / SCRIPTS[peer]), str(root), model, *words]
    return lambda: pairs.cost_of(command, OMP_NUM_THREADS=THREADS)


def starts(root: Path, model: str, peers: Sequence[str]) -> dict[str, Callable[[], Cost]]:
    """All sides with one step on next to nothing."""
    root = root.with_name("few")
    own = Ours(root, f"model={model}", "trainer.max_steps=1")
    others = {peer + START: theirs(peer, root, model, "--steps=1") for peer in peers}
    return {"ours" + START: own, **others}


def rows(
    table: Table, title: str, turns: Sequence[Turn], sides: tuple[str, str], promise: float | None
) -> None:
    """The whole commands, and what they take beside starting."""
    table.row(f"{title} / {sides[1]}", turns, sides)
    started = ("ours" + START, sides[1].partition(",")[0] + START)
    longer = [
        {side: less(turn[side], turn[start]) for side, start in zip(sides, started, strict=True)}
        for turn in turns
    ]
    table.row("  less the start", longer, sides, promise, by="wall")


def less(whole: Cost, part: Cost) -> Cost:
    """The difference."""
    return Cost(whole.wall - part.wall, whole.cpu - part.cpu)


def lenet(table: Table, root: Path, rounds: int) -> None:
    """The rows of LeNet-5."""
    own = Ours(root, "model=lenet5", f"trainer.max_epochs={LENET_EPOCHS}")
    hand = theirs(HAND, root, "lenet5", f"--epochs={LENET_EPOCHS}")
    turns = pairs.in_turn({"ours": own, HAND: hand, **starts(root, "lenet5", [HAND])}, rounds)
    rows(table, f"LeNet-5, {LENET_EPOCHS} epochs", turns, ("ours", HAND), LEAST_LENET)
    told({"LeNet-5": own})


def resnet(table: Table, root: Path, rounds: int, epochs: int) -> None:
    """The rows of ResNet-20."""
    words = ["model=resnet20", f"trainer.max_epochs={epochs}"]
    own = {
        "32 bits": Ours(root, *words),
        "bfloat16": Ours(root, *words, f"hardware.precision={BF16}"),
        "32 bits, no channels_last": Ours(root, *words, "trainer.channels_last=false"),
    }
    peers = {
        f"{peer}{more}": theirs(peer, root, "resnet20", f"--epochs={epochs}", *precision)
        for peer in SCRIPTS
        for more, precision in {"": [], ", bfloat16": [f"--precision={BF16}"]}.items()
    }
    sides = {**own, **peers, **starts(root, "resnet20", list(SCRIPTS))}
    turns = pairs.in_turn(sides, rounds, warm=0)  # LeNet-5 has read the files
    title = f"ResNet-20, {epochs} epochs"
    for peer, promises in LEAST.items():
        for precision, promise in promises.items():
            rows(table, f"{title}, {precision}", turns, (precision, peer), promise)
        rows(table, f"{title}, bfloat16", turns, ("bfloat16", f"{peer}, bfloat16"), None)
    told({f"ResNet-20, {name}": run for name, run in own.items()})
    speeds = {name: run.figure("images_per_second") for name, run in own.items()}
    layout = speeds["32 bits"] / speeds["32 bits, no channels_last"]
    shorter = speeds["bfloat16"] / speeds["32 bits"]
    print(f"images a second: channels_last {layout:.2f} times as many, bfloat16 {shorter:.2f}")


def told(runs: Mapping[str, Ours]) -> None:
    """What cnnctl reports."""
    for name, run in runs.items():
        speed, waiting = run.figure("images_per_second"), run.figure("waiting")
        peak = run.figure("peak_memory_bytes") / 1e6
        shares = f"{speed:>8,.0f} images/s, {waiting:6.1%} of it waiting, peak {peak:,.0f} MB"
        print(f"  cnnctl, {name:36}{shares}", flush=True)


def main() -> int:
    """Measure; returns 1 if a promise is not kept."""
    parser = pairs.arguments(__doc__)
    parser.add_argument("--images", type=int, default=5000, help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="of ResNet-20 (%(default)s)")
    images.add_argument(parser)
    given = parser.parse_args()
    cifar = images.found(given.cifar)
    if cifar is None:
        return 0
    with tempfile.TemporaryDirectory() as place:
        val = given.images // 10
        sizes = {"train": given.images - val, "val": val, "test": TEST}
        root = images.part(cifar, Path(place) / "whole", sizes)
        images.part(cifar, root.with_name("few"), {"train": 60, "val": 20, "test": 20})
        table = Table("whole commands, a folder of JPEGs", given.rounds)
        lenet(table, root, given.rounds)
        resnet(table, root, given.rounds, given.epochs)
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
