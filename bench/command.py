"""`cnnctl train` as a whole, on digits, beside scripts that do the same.

    python bench/command.py [ROUNDS]

1. LeNet-5, 40 epochs, from start to end: against a script as Lightning's documentation shows
   them (peers/stock_lightning.py), and one without Lightning (peers/hand_written.py).
2. To the first step, with validation and test behind it: against the latter.

All on a terminal, where bars draw, without augmentation, on one thread. The script of timm is
left out: train.py is neither in its wheel nor in its source distribution. Exits with 1 if a
promise is not kept.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence

import pairs
from pairs import CNNCTL, PEERS, Cost

EPOCHS = 40
LEAST_LIGHTNING, LEAST_START = 1.8, 1 / 1.5  # the start takes at most 1.5 times as long
PLAIN = ["model=lenet5", "data=digits", "augment=none", "schedule=constant", "hardware=cpu"]


def ours(*words: str) -> Cost:
    """Train with cnnctl."""
    with tempfile.TemporaryDirectory() as outputs:
        return _run([CNNCTL, "train", *PLAIN, *words, f"outputs={outputs}"])


def theirs(script: str, *words: str) -> Cost:
    """Train with a script of peers/."""
    return _run([sys.executable, str(PEERS / script), "digits", "lenet5", *words])


def _run(command: Sequence[str]) -> Cost:
    return pairs.cost_of(command, OMP_NUM_THREADS="1")


def main() -> int:
    """Measure; returns 1 if a promise is not kept."""
    rounds = pairs.arguments(__doc__).parse_args().rounds
    table = pairs.Table("whole commands, LeNet-5 on digits", rounds)
    first = {
        "ours": lambda: ours("trainer.max_steps=1"),
        "by hand": lambda: theirs("hand_written.py", "--steps=1"),
    }
    turns = pairs.in_turn(first, rounds)
    table.row("one step / DataLoader script", turns, ("ours", "by hand"), LEAST_START, by="wall")
    whole = {
        "ours": lambda: ours(f"trainer.max_epochs={EPOCHS}"),
        "Lightning": lambda: theirs("stock_lightning.py", f"--epochs={EPOCHS}"),
        "by hand": lambda: theirs("hand_written.py", f"--epochs={EPOCHS}"),
    }
    turns = pairs.in_turn(whole, rounds, warm=0)  # the files have been read by now
    table.row(f"{EPOCHS} epochs / Lightning", turns, ("ours", "Lightning"), LEAST_LIGHTNING)
    table.row(f"{EPOCHS} epochs / DataLoader script", turns, ("ours", "by hand"))
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
