"""Where transfer learning wins: few images.

    python bench/transfer.py [FOLDER] [--quick] [--threads N] [--picture FILE]

FOLDER holds CIFAR-10, or any other classes, as train/CLASS and test/CLASS; without it nothing is
measured. ResNet-20 learns the first half of the classes. Then it learns the others, of which it
gets 10, 100 and 1,000 images a class: from scratch, and from those weights by each regime; all
through `cnnctl train`, with the same steps, augmentation and optimizer. The best epoch is chosen by
further images, the same for all, and the test images of the new classes are all measured. A star
marks the regime that `transfer=auto` chooses.

Prints a table, mean and range over the seeds, and draws it. Exits with 1 unless the best regime
beats learning from scratch at the two small sizes, by more with the fewest images than with the
most, and `auto` comes near the best regime of each size. Takes about half an hour on two cores,
a few minutes with --quick, which promises nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
REGIMES = ("none", "feature_extract", "finetune_top", "finetune_all")
TITLES = {"none": "from scratch"}
COLOURS = ("#8f8a80", "#3f6fb5", "#2f8f6b", "#c05a2b")
COMMON = (
    "model=resnet20", "data=folder", "augment=flip_crop", "optimizer=sgd", "schedule=cosine",
    "schedule.warmup=5%", "progress=none",
)  # fmt: skip
NEAR = 0.03  # top-1 that auto may be behind the best regime, which chance decides, too
Tops = dict[str, list[float]]  # regime: test top-1 of every seed
CHOOSING = 40  # images a class that choose the epoch


class Size(NamedTuple):
    """A part of the new classes: images a class, and how long and how often it is learned."""

    images: int
    batch: int
    epochs: int
    seeds: int


class Scale(NamedTuple):
    """How much of everything: images a class and epochs of the first half, tests of the other."""

    source: int
    source_epochs: int
    test: int
    sizes: tuple[Size, ...]


FULL = Scale(4900, 12, 1000, (Size(10, 16, 60, 5), Size(100, 32, 30, 3), Size(1000, 64, 10, 2)))
QUICK = Scale(600, 4, 100, (Size(10, 16, 20, 1), Size(100, 32, 8, 1)))


class Bench:
    """Subsets as folders of links, runs as commands, all below one folder."""

    def __init__(self, photos: Path, place: Path, threads: int) -> None:
        self.photos = photos
        self.place = place
        self.env = {**os.environ, "OMP_NUM_THREADS": str(threads), "CNNCTL_CACHE": str(place / "c")}

    def subset(self, classes: Sequence[str], train: int, test: int, seed: int) -> Path:
        """Images to train on, drawn by the seed; those to choose by and to test on never change."""
        root = self.place / f"{classes[0]}_{train}_{seed}"
        for name in classes:
            found = self._drawn("train", name)
            self._link(root / "val" / name, found[:CHOOSING])
            rest = found[CHOOSING:]
            random.Random(f"{seed} {name}").shuffle(rest)  # noqa: S311 - a draw, not a secret
            self._link(root / "train" / name, rest[:train])
            self._link(root / "test" / name, self._drawn("test", name)[:test])
        return root

    def train(self, *words: str) -> dict[str, Any]:
        """The result of one run, or the plan with --dry-run."""
        command = [CNNCTL, "train", "--json", *COMMON, f"outputs={self.place / 'runs'}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.env)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        return json.loads(done.stdout)["result"]

    def _drawn(self, split: str, name: str) -> list[Path]:
        found = sorted((self.photos / split / name).iterdir())
        random.Random(f"{split} {name}").shuffle(found)  # noqa: S311 - as above
        return found

    def _link(self, folder: Path, files: Sequence[Path]) -> None:
        folder.mkdir(parents=True)
        for file in files:
            (folder / file.name).symlink_to(file.resolve())


def measured(
    bench: Bench, classes: Sequence[str], size: Size, start: str, test: int
) -> tuple[Tops, str]:
    """Test top-1 of every regime, one for each seed, and the regime that auto chooses."""
    found: Tops = {regime: [] for regime in REGIMES}
    chosen = ""
    for seed in range(size.seeds):
        root = bench.subset(classes, size.images, test, seed)
        words = [f"data.root={root}", f"data.batch_size={size.batch}", f"seed={seed}",
                 f"trainer.max_epochs={size.epochs}"]  # fmt: skip
        begun = [*words, f"pretrained={start}"]
        chosen = bench.train(*begun, "transfer=auto", "--dry-run")["transfer"]["name"]
        for regime in REGIMES:
            how = words if regime == "none" else [*begun, f"transfer={regime}"]
            result = bench.train(*how)
            found[regime].append(result["test"]["top1"])
            told = f"{size.images} a class, seed {seed}, {title(regime)}"
            print(f"{told}: {found[regime][-1]:.3f}, {result['seconds']:.0f} s", flush=True)
    return found, chosen


def title(regime: str) -> str:
    """As the table names it."""
    return TITLES.get(regime, regime)


def table(sizes: Sequence[Size], rows: Sequence[Tops], chosen: Sequence[str]) -> None:
    """Test top-1 by images a class: mean, lowest and highest over the seeds."""
    print(f"\n| images a class | {' | '.join(map(title, REGIMES))} |")
    print(f"|---:|{'---:|' * len(REGIMES)}")
    for size, row, auto in zip(sizes, rows, chosen, strict=True):
        cells = [_cell(row[regime]) + " \\*" * (regime == auto) for regime in REGIMES]
        print(f"| {size.images:,} | {' | '.join(cells)} |")


def _cell(tops: Sequence[float]) -> str:
    if len(tops) == 1:
        return f"{100 * tops[0]:.1f} %"
    return f"{100 * mean(tops):.1f} % ({100 * min(tops):.1f} – {100 * max(tops):.1f})"


def verdict(rows: Sequence[Tops], chosen: Sequence[str]) -> bool:
    """Whether transfer wins where images are few, and auto chooses well."""
    means = [{regime: mean(tops) for regime, tops in row.items()} for row in rows]
    best = [max(row[regime] for regime in REGIMES[1:]) for row in means]
    gains = [top - row["none"] for top, row in zip(best, means, strict=True)]
    behind = [top - row[auto] for top, row, auto in zip(best, means, chosen, strict=True)]
    wins = min(gains[:2]) > 0 and gains[0] > gains[-1]
    told = ", ".join(f"{100 * gain:+.1f}" for gain in gains)
    print(f"\nbest regime against from scratch, from few images to many: {told} points of top-1")
    print(f"auto behind the best: {', '.join(f'{100 * less:.1f}' for less in behind)} points")
    print(f"transfer {'wins' if wins else 'DOES NOT WIN'} where images are few")
    return wins and max(behind) <= NEAR


def picture(sizes: Sequence[Size], rows: Sequence[Tops], file: Path) -> None:
    """Test top-1 against images a class, a line for each regime and a mark for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for regime, colour in zip(REGIMES, COLOURS, strict=True):
        means = [100 * mean(row[regime]) for row in rows]
        axes.plot([size.images for size in sizes], means, color=colour, label=title(regime))
        for size, row in zip(sizes, rows, strict=True):
            tops = [100 * top for top in row[regime]]
            axes.plot([size.images] * len(tops), tops, "o", color=colour, ms=4, alpha=0.6)
    _frame(axes, [size.images for size in sizes])
    figure.savefig(file)
    print(f"drawn: {file}")


def _frame(axes: Axes, images: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(images, [f"{each:,}" for each in images])
    axes.minorticks_off()
    axes.set_xlabel("images a class")
    axes.set_ylabel("test top-1, %")
    axes.set_title("ResNet-20 on five new classes", loc="left", fontsize=10)
    axes.grid(color="#e4e0d7", lw=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")


def main() -> int:
    """Learn one half, then the other; returns 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="train/CLASS and test/CLASS")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(%(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("transfer.png"), help="(%(default)s)")
    given = parser.parse_args()
    if given.folder is None:
        print("no FOLDER with CIFAR-10: left out")
        return 0
    scale = QUICK if given.quick else FULL
    names = sorted(folder.name for folder in (given.folder / "train").iterdir())
    old, new = names[: len(names) // 2], names[len(names) // 2 :]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(given.folder, Path(place), given.threads)
        root = bench.subset(old, scale.source, scale.test, 0)
        source = bench.train(f"data.root={root}", "data.batch_size=128",
                             f"trainer.max_epochs={scale.source_epochs}")  # fmt: skip
        print(f"{', '.join(old)}: {source['test']['top1']:.3f}, {source['seconds']:.0f} s")
        found = [measured(bench, new, size, source["run"], scale.test) for size in scale.sizes]
    rows, chosen = [row for row, _ in found], [auto for _, auto in found]
    table(scale.sizes, rows, chosen)
    kept = verdict(rows, chosen)
    picture(scale.sizes, rows, given.picture)
    print(f"{(time.perf_counter() - began) / 60:.0f} minutes")
    return 0 if kept or given.quick else 1


if __name__ == "__main__":
    sys.exit(main())
