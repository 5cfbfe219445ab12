"""What a net of every family reaches on digits, trained from scratch on the CPU.

    python bench/zoo.py [FAMILY …]

Trains one net of each family, or of the given ones, with the command that is printed, and
prints the rows of the README's table: test top-1 and seconds. Exits with 1 if a net stays
below what it is to reach.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

CNNCTL = str(Path(sys.executable).with_name("cnnctl"))
WANTED = 0.97  # test top-1
LESS = {"perceptron": 0.92}  # one layer of weights
SMALL = "model.small_input=true data.size=32"
ADAM = "optimizer.lr=0.001"
SHORT = "data.batch_size=32 augment=none"  # twice the steps in an epoch, and a simpler task
COMMANDS = {
    "perceptron": "recipe=perceptron_digits",
    "mlp": "model=mlp",
    "neocognitron": "model=neocognitron data.size=16 augment.shift=1 optimizer.lr=0.01",
    "lenet_1998": "model=lenet5_1998",
    "lenet": "model=lenet5",
    "pattern": f"model=keras_cnn {ADAM} trainer.max_epochs=10",
    "alexnet": f"model=alexnet_tv {SMALL} optimizer.lr=0.0003 trainer.max_epochs=10",
    "nin": f"model=nin_cifar model.norm=batch {ADAM} data.size=16 trainer.max_epochs=15",
    "vgg": f"model=vgg11_bn optimizer.lr=0.0003 data.size=32 {SHORT} trainer.max_epochs=6",
    "googlenet": f"model=googlenet_tv {SMALL} {ADAM} trainer.max_epochs=5",
    "inception": f"model=inception_v3 model.small_input=true data.size=24 {ADAM} "
    "trainer.max_epochs=5",
    "xception": f"model=xception model.small_input=true data.size=24 {ADAM} trainer.max_epochs=5",
    "resnet": f"model=resnet20 {ADAM} trainer.max_epochs=10",
    "wide_resnet": f"model=wrn40_4 data.size=16 {ADAM} trainer.max_epochs=8",
    "densenet": f"model=densenet_bc100_12 data.size=16 {ADAM} trainer.max_epochs=10",
    "mobilenet_v1": f"model=mobilenet_v1 {SMALL} {SHORT} trainer.max_epochs=10",
    "mobilenet_v2": f"model=mobilenet_v2 {SMALL} {SHORT} trainer.max_epochs=10",
    "shufflenet_v1": f"model=shufflenet_v1 {SMALL} {ADAM} trainer.max_epochs=10",
    "shufflenet_v2": f"model=shufflenet_v2_x1_0 {SMALL} {SHORT} trainer.max_epochs=12",
    "efficientnet": f"model=efficientnet_b0 {SMALL} {SHORT} trainer.max_epochs=12",
}


def train(command: str) -> tuple[float, float]:
    """Test top-1 and seconds of one run."""
    with tempfile.TemporaryDirectory() as outputs:
        words = [*command.split(), f"outputs={outputs}", "progress=none", "--json"]
        done = subprocess.run(
            [CNNCTL, "train", *words], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        sys.exit(done.stderr)
    result = json.loads(done.stdout)["result"]
    return result["test"]["top1"], result["seconds"]


def main() -> int:
    """Train and print; returns 1 if a net stays below what it is to reach."""
    families = sys.argv[1:] or list(COMMANDS)
    print("| family | test top-1 | seconds | `cnnctl train` … |\n|---|---|---|---|")
    missed = 0
    for family in families:
        top1, seconds = train(COMMANDS[family])
        missed += top1 < LESS.get(family, WANTED)
        print(f"| {family} | {top1:.3f} | {seconds:.0f} | `{COMMANDS[family]}` |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
