"""Weights & Biases without a prompt, a hang or a dead run.

`wandb.init` asks for a key on a terminal and fails without one elsewhere, and with a key but
no network it gives up after minutes. So what can work is settled before it is called: online
only with a login and an answering server, offline otherwise.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger

from cnnctl.config import schema

PROBE_SECONDS = 4
INIT_SECONDS = 20


def start(logger: schema.Wandb, run: Path, config: dict[str, Any]) -> WandbLogger:
    """A wandb run with the name of the run folder, handed to Lightning ready-made.

    All runs share one wandb folder beside them. Falls back to offline if wandb refuses.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")  # the result says where the figures are
    import wandb

    mode = settle(logger.mode)
    options: dict[str, Any] = {
        "project": logger.project, "entity": logger.entity, "group": logger.group,
        "tags": list(logger.tags) or None, "id": run.name, "name": run.name,
        "dir": str(run.parent.parent.absolute()), "config": config,
        "resume": "allow", "allow_val_change": True,
    }  # fmt: skip
    settings = wandb.Settings(init_timeout=INIT_SECONDS, console="off", silent=True)
    try:
        experiment = wandb.init(**options, mode=mode, settings=settings)
    except wandb.Error:
        wandb.teardown()
        experiment = wandb.init(**options, mode="offline", settings=settings)
    experiment.define_metric("epoch")
    experiment.define_metric("*", step_metric="epoch", step_sync=True)
    return WandbLogger(experiment=experiment)


def told(logger: WandbLogger) -> dict[str, str]:
    """What the user should know: mode, and the address or how to send the figures later."""
    experiment = logger.experiment
    if experiment.disabled:
        return {"mode": "disabled"}
    if experiment.offline:
        place = Path(experiment.settings.sync_dir)
        parts = sorted(place.parent.glob(f"offline-run-*-{experiment.id}"))  # one for each resuming
        words = ["--append", *map(str, parts)] if len(parts) > 1 else [str(place)]
        return {"mode": "offline", "sync": f"wandb sync {' '.join(words)}"}
    return {"mode": "online", "url": str(experiment.url)}


def settle(wanted: str) -> Any:
    """`online` or `offline` for auto; $WANDB_MODE wins, as it does in wandb itself."""
    given = os.environ.get("WANDB_MODE")
    if given:
        return {"dryrun": "offline"}.get(given, given)
    if wanted == "offline":
        return wanted
    import wandb

    if not wandb.login(prompt=False, verify=False):
        return "offline"
    return "online" if wanted == "online" or answers(wandb.setup().settings.base_url) else "offline"


def answers(url: str) -> bool:
    """Whether a server answers at `url`, with whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS):  # noqa: S310 - wandb's own address
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
