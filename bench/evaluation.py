"""How long 10,000 photos take from a folder to top-1 and loss.

    python bench/evaluation.py [ROUNDS] [--cifar FOLDER]

CIFAR-10's test split, with and without a cache of decoded pixels, as `cnnctl evaluate` does it:
the folder is listed, the images are found in the cache or decoded into it, and measured, by class,
with the calibration error and with intervals. Beside it a loop without gradients over ImageFolder
and a DataLoader that counts loss and hits. Importing is left out on both sides. LeNet-5 shows the
loading; ResNet-20, once and without a promise, mostly the net. Nets have one thread. Exits with
1 if a promise is not kept, with 0 where there is no CIFAR-10.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import images
import pairs
import torch
from pairs import Cost, Table
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from cnnctl import nets
from cnnctl.commands import job
from cnnctl.nets.net import Net
from cnnctl.scoring import figures, predictions
from cnnctl.scoring.scorer import Eager
from cnnctl.scoring.scores import score
from cnnctl.scoring.ways import Way
from cnnctl.training.start import Job

SIZES = {"train": 10, "val": 10, "test": 10_000}  # what is not measured is decoded, too
PROMISES = {"lenet5": 1.5, "resnet20": None}
BATCH = 64


class Ours:
    """From the folder to the figures, by cnnctl."""

    def __init__(self, given: Job, net: Net, cache: Path) -> None:
        self.given = given
        self.net = net
        self.cache = cache

    def cold(self) -> Cost:
        """Without a cache."""
        shutil.rmtree(self.cache, ignore_errors=True)
        return self.warm()

    def warm(self) -> Cost:
        """With the cache that is there."""
        return pairs.timed(self._measure)

    def _measure(self) -> None:
        train, device = self.given.train, self.given.plan.device
        source = job.ready(train)
        scorer = Eager(self.net, train, source.classes, device)
        scores = score(scorer, source, "test", train, Way(), lambda *_: None)
        found = figures.figures(predictions.of(scores), train.seed)
        assert found["n"] == SIZES["test"]


def theirs(root: Path, net: Net) -> Callable[[], Cost]:
    """From the folder to the figures, written by hand."""

    @torch.no_grad()
    def work() -> float:
        normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        change = transforms.Compose([transforms.ToTensor(), normalise])
        net.eval()
        hits, total = 0, 0.0
        for batch, labels in DataLoader(ImageFolder(str(root / "test"), change), BATCH):
            logits = net(batch)
            total += cross_entropy(logits, labels, reduction="sum").item()
            hits += int((logits.argmax(1) == labels).sum())
        return total + hits

    return lambda: pairs.timed(work)


def main() -> int:
    """Measure; returns 1 if a promise is not kept."""
    torch.set_num_threads(1)
    parser = pairs.arguments(__doc__)
    images.add_argument(parser)
    given = parser.parse_args()
    cifar = images.found(given.cifar)
    if cifar is None:
        return 0
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place) / "cache"
        os.environ["CNNCTL_CACHE"] = str(cache)
        root = images.part(cifar, Path(place) / "cifar", SIZES)
        table = Table("evaluation", given.rounds, unit="images/s", work=SIZES["test"])
        for model, promise in PROMISES.items():
            words = [f"model={model}", "data=folder", f"data.root={root}", "hardware=cpu"]
            ready = pairs.prepared([*words, f"data.batch_size={BATCH}", "progress=none"])
            plan = ready.plan
            net = nets.build(ready.spec, num_classes=len(plan.classes), shape=plan.shape)
            own = Ours(ready, net, cache)
            sides = {"cold": own.cold, "warm": own.warm, "theirs": theirs(root, net)}
            rounds = given.rounds if promise else 1
            turns = pairs.in_turn(sides, rounds, warm=int(bool(promise)))
            table.row(f"{model}, decoded the first time", turns, ("cold", "theirs"), promise)
            table.row(f"{model}, from the cache", turns, ("warm", "theirs"), promise)
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
