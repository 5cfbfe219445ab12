"""`cnnctl train` as a whole on a folder of JPEGs, beside scripts that do the same.

    python bench/folder.py [ROUNDS] [--cifar FOLDER] [--epochs N]

A part of CIFAR-10's files: 4,500 to train, 500 for validation, 1,000 to test, shifted and
flipped; LeNet-5 for three epochs, ResNet-20 for `--epochs`. Both sides read the JPEGs: cnnctl
starts without a cache in every run, the scripts have ImageFolder, PIL, torchvision.transforms
and a DataLoader (peers/). Where a row names no precision for the scripts they have 32 bits, which
is what such scripts have; rows with bfloat16 on both sides follow. Nets have one thread: two that
wait for each other on a busy machine are ten times slower.

Then what cnnctl itself reports: images a second while it trains, the share of that time in which
it waits for images, its peak of memory; and what channels_last and bfloat16 gain. Exits with 1
if a promise is not kept, with 0 where there is no CIFAR-10.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import images
import pairs
from pairs import CNNCTL, PEERS, Cost, Table

SIZES = {"train": 4500, "val": 500, "test": 1000}
LENET_EPOCHS = 3
PLAIN = ["data=folder", "augment=flip_crop", "schedule=constant", "hardware=cpu"]
BF16 = "bf16-mixed"
LEAST_LENET = 3.0
LEAST_HAND = {"32 bits": 1.5, "bfloat16": 2.2}
LEAST_LIGHTNING = {"32 bits": 1.8, "bfloat16": 2.5}


class Ours:
    """`cnnctl train` on a folder, with an empty cache every time."""

    def __init__(self, root: Path, epochs: int, *words: str) -> None:
        self.words = [*PLAIN, f"data.root={root}", f"trainer.max_epochs={epochs}", *words]
        self.results: list[dict[str, Any]] = []

    def __call__(self) -> Cost:
        """Train."""
        with tempfile.TemporaryDirectory() as place:
            command = [CNNCTL, "train", *self.words, f"outputs={place}"]
            cost = pairs.cost_of(command, OMP_NUM_THREADS="1", CNNCTL_CACHE=f"{place}/cache")
            (result,) = Path(place).glob("train/*/result.json")
            self.results.append(json.loads(result.read_text(encoding="utf-8")))
        return cost

    def figure(self, key: str) -> float:
        """The median of what the runs have reported."""
        return median(result[key] for result in self.results)


def theirs(script: str, root: Path, model: str, epochs: int, *words: str) -> Callable[[], Cost]:
    """A script of peers/."""
    command = [sys.executable, str(PEERS / script), str(root), model, f"--epochs={epochs}", *words]
    return lambda: pairs.cost_of(command, OMP_NUM_THREADS="1")


def lenet(table: Table, root: Path, rounds: int) -> None:
    """The rows of LeNet-5."""
    own = Ours(root, LENET_EPOCHS, "model=lenet5")
    hand = theirs("hand_written.py", root, "lenet5", LENET_EPOCHS)
    turns = pairs.in_turn({"ours": own, "by hand": hand}, rounds)
    name = f"LeNet-5, {LENET_EPOCHS} epochs / DataLoader script"
    table.row(name, turns, ("ours", "by hand"), LEAST_LENET)
    told({"LeNet-5": own})


def resnet(table: Table, root: Path, rounds: int, epochs: int) -> None:
    """The rows of ResNet-20."""
    model, nchw = "model=resnet20", "trainer.channels_last=false"
    own = {
        "32 bits": Ours(root, epochs, model, "optimizer=adam"),
        "bfloat16": Ours(root, epochs, model, "optimizer=adam", f"hardware.precision={BF16}"),
        "32 bits, no channels_last": Ours(root, epochs, model, "optimizer=adam", nchw),
    }
    peers = {
        f"{name}{more}": theirs(script, root, "resnet20", epochs, *words)
        for name, script in {
            "by hand": "hand_written.py",
            "Lightning": "stock_lightning.py",
        }.items()
        for more, words in {"": [], ", bfloat16": [f"--precision={BF16}"]}.items()
    }
    turns = pairs.in_turn({**own, **peers}, rounds, warm=0)  # LeNet-5 has read the files
    for least, peer in ((LEAST_HAND, "by hand"), (LEAST_LIGHTNING, "Lightning")):
        for precision, promise in least.items():
            name = f"ResNet-20, {epochs} epochs, {precision} / {peer}"
            table.row(name, turns, (precision, peer), promise)
        name = f"ResNet-20, {epochs} epochs, bfloat16 / {peer}, bfloat16"
        table.row(name, turns, ("bfloat16", f"{peer}, bfloat16"))
    told({f"ResNet-20, {name}": run for name, run in own.items()})
    base = own["32 bits"].figure("images_per_second")
    cl = base / own["32 bits, no channels_last"].figure("images_per_second")
    gain = own["bfloat16"].figure("images_per_second") / base
    print(f"images a second: channels_last gains {cl:.2f} times, bfloat16 {gain:.2f} times more")


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
    parser.add_argument("--epochs", type=int, default=2, help="of ResNet-20 (%(default)s)")
    images.add_argument(parser)
    given = parser.parse_args()
    cifar = images.found(given.cifar)
    if cifar is None:
        return 0
    with tempfile.TemporaryDirectory() as place:
        root = images.part(cifar, Path(place), SIZES)
        table = Table("whole commands, a folder of JPEGs", given.rounds)
        lenet(table, root, given.rounds)
        resnet(table, root, given.rounds, given.epochs)
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
