"""`cnnctl train --resume RUN`: what may be changed, what is refused, and that nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnctl import runs
from cnnctl.training.store import VerifiedIO

WORDS = (
    "model=mlp", "model.hidden=[8]", "data.size=8", "data.batch_size=500", "hardware=cpu",
    "trainer.max_epochs=2", "checkpoint.every=1steps", "schedule=constant", "progress=none",
)  # fmt: skip
SAME = ("weights_sha256", "best", "val", "test", "steps", "epochs")
LOCK = (
    "import fcntl, sys; file = open(sys.argv[1], 'a+'); fcntl.lockf(file, fcntl.LOCK_EX);"
    "file.truncate(0);"
    "file.write('process 1 on moon'); file.flush(); print(flush=True); sys.stdin.read()"
)
Ended = Callable[..., Path]


@pytest.fixture
def ended(cnnctl, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Train, and end it by SIGTERM while it saves `step`: ended(*words, step=2) -> run folder."""

    def train(*words: str, step: int = 2) -> Path:
        save = VerifiedIO.save_checkpoint

        def signalled(self: VerifiedIO, checkpoint: dict[str, Any], *more: Any, **how: Any) -> None:
            save(self, checkpoint, *more, **how)
            if checkpoint["global_step"] == step:
                os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(VerifiedIO, "save_checkpoint", signalled)
            outcome = cnnctl("train", *WORDS, *words)
        run = runs.listed("outputs")[-1]
        hint = f"(go on with: cnnctl train --resume {run})"
        told = f"cnnctl: ended by SIGTERM after step {step + 1} {hint}"
        assert (outcome.code, outcome.out, outcome.err.splitlines()[-1]) == (143, "", told)
        return run

    return train


@pytest.fixture
def whole(cnnctl) -> Callable[..., dict[str, Any]]:
    """The result of the same training, never ended; its folder is elsewhere."""

    def train(*words: str) -> dict[str, Any]:
        return cnnctl("train", *WORDS, "outputs=whole", *words, "--json").document["result"]

    return train


def content(run: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(run.rglob("*")) if file.is_file()}


def assert_same(result: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {name: result[name] for name in SAME} == {name: expected[name] for name in SAME}


@pytest.mark.parametrize("how", ["folder", "name", "latest"])
def test_a_run_is_named_in_three_ways_and_goes_on_to_the_same_bits(
    cnnctl, ended, whole, how
) -> None:
    run = ended()
    expected = whole()
    before = json.loads((run / "plan.json").read_text())
    target = {"folder": str(run), "name": run.name, "latest": "latest"}[how]
    outcome = cnnctl("train", "--resume", target, "--json")
    assert outcome.code == 0
    result = outcome.document["result"]
    assert_same(result, expected)
    assert (result["run"], result["resumed"]) == (str(run), [3])
    assert result == json.loads((run / "result.json").read_text())
    assert json.loads((run / "plan.json").read_text()) == before


def test_all_keys_that_would_change_the_run_are_named_at_once(cnnctl, ended) -> None:
    run = ended()
    before = content(run)
    words = [
        "optimizer.lr=1", "seed=3", "model.hidden=[4]", "augment=flip_crop", "data.balance=loss",
        "trainer.max_epochs=1", "trainer.clip=2", "hardware.precision=bf16-mixed",
    ]  # fmt: skip
    code, out, err = cnnctl("train", "--resume", str(run), *words)
    assert (code, out, err.count("error:")) == (2, "", len(words)), err
    for key in words:
        assert f"error: {key}".replace("augment=", "augment.name=") in err
    cut = "trainer.max_epochs=1 would cut the run, which has 2 (at least 2)"
    assert f"cnnctl: error: {cut}\n" in err
    hint = "(that is a new run: cnnctl train --config RUN/config.yaml …)"
    assert f"optimizer.lr=1 would change the run, which has 0.003 {hint}\n" in err
    assert content(run) == before
    outcome = cnnctl("train", "--resume", str(run), "seed=3", "--json")
    assert (outcome.code, outcome.document["error"]["kind"]) == (2, "config")
    assert content(run) == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["seeed=1"], "unknown key 'seeed' (did you mean 'seed'?)"),
        (["-m", "seed=1,2"], "--resume goes on with one run; it does not go with --multirun"),
        (["--config", "x"], "--resume goes on with one run; it does not go with --config"),
        (["data.batch_size=400"], "global_batch of this run: 500, now 400"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_changes_nothing(cnnctl, ended, words, text) -> None:
    run = ended()
    before = content(run)
    code, out, err = cnnctl("train", "--resume", str(run), *words)
    assert (code, out) == (2, "")
    assert f"cnnctl: error: {text}" in err
    assert content(run) == before


def test_a_dry_run_shows_the_plan_and_changes_nothing(cnnctl, ended) -> None:
    run = ended()
    before = content(run)
    code, out, _ = cnnctl("train", "--resume", str(run), "--dry-run")
    assert (code, out.splitlines()[0].split()[:2]) == (0, ["net", "mlp"])
    assert content(run) == before


def test_what_does_not_change_the_weights_may_be_changed(cnnctl, ended, whole) -> None:
    run = ended()
    expected = whole()
    words = [
        "checkpoint.every=1h", "progress=plain", "on_nan=rollback", "on_oom=split",
        "data.workers=1", "hardware.devices=1",
    ]  # fmt: skip
    result = cnnctl("train", "--resume", str(run), *words, "--json").document["result"]
    assert_same(result, expected)
    saved = runs.read_config(run / "config.yaml")
    assert (saved["checkpoint"]["every"], saved["on_nan"]) == ("1h", "rollback")


def test_the_same_images_may_make_a_step_in_two_parts(cnnctl, ended, whole) -> None:
    run = ended()
    expected = whole()
    words = ["data.batch_size=250", "trainer.accumulate=2"]
    result = cnnctl("train", "--resume", str(run), *words, "--json").document["result"]
    assert result["val"] == pytest.approx(expected["val"], rel=1e-3)
    assert result["steps"] == expected["steps"]


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_is_extended_to_what_a_longer_one_gives(cnnctl, ended, whole, finished) -> None:
    run = ended()
    expected = whole("trainer.max_epochs=4")
    if finished:
        assert cnnctl("train", "--resume", str(run)).code == 0
    outcome = cnnctl("train", "--resume", str(run), "trainer.max_epochs=4", "--json")
    assert_same(outcome.document["result"], expected)
    assert "schedule" not in outcome.err
    assert runs.read_plan(run)["epochs"] == 4


def test_a_schedule_that_knows_its_end_is_extended_with_a_warning(cnnctl, ended) -> None:
    run = ended("schedule=cosine")
    outcome = cnnctl("train", "--resume", str(run), "trainer.max_epochs=3")
    assert outcome.code == 0
    text = "the cosine schedule now ends where the longer run does"
    assert f"cnnctl: {text}; the steps so far were made as if it ended earlier\n" in outcome.err


def test_a_finished_run_is_left_as_it_is(cnnctl, whole) -> None:
    result = whole()
    before = content(Path(result["run"]))
    outcome = cnnctl("train", "--resume", result["run"], "--json")
    text = f"{result['run']} is complete; nothing is left to do (more: trainer.max_epochs=4)\n"
    assert (outcome.code, outcome.err) == (0, text)
    assert outcome.document["result"] == result
    assert content(Path(result["run"])) == before
    refused = cnnctl("train", "--resume", "latest")
    assert (refused.code, refused.err) == (
        2, "cnnctl: error: no unfinished run in outputs (make one with: cnnctl train)\n",
    )  # fmt: skip


@pytest.mark.parametrize("left", [("config.yaml",), ("config.yaml", "plan.json", "metrics.csv")])
def test_a_run_without_a_checkpoint_begins_at_the_beginning(cnnctl, ended, whole, left) -> None:
    run = ended(step=5)
    expected = whole()
    for file in [file for file in run.rglob("*") if file.is_file() and file.name not in left]:
        file.unlink()
    result = cnnctl("train", "--resume", str(run), "--json").document["result"]
    assert_same(result, expected)
    assert result["resumed"] == []


def test_a_damaged_checkpoint_is_one_clear_line(cnnctl, ended) -> None:
    run = ended()
    last = run / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    before = content(run)
    code, out, err = cnnctl("train", "--resume", str(run))
    assert (code, out, err.count("error:")) == (2, "", 1)
    assert f"cnnctl: error: {last} cannot be read: it is truncated, or no checkpoint" in err
    assert content(run) == before


def test_a_run_that_another_process_trains_is_left_alone(cnnctl, ended) -> None:
    run = ended()
    before = content(run)
    words = [sys.executable, "-c", LOCK, str(run / ".lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        code, out, err = cnnctl("train", "--resume", str(run))
        text = f"{run} is being trained by process 1 on moon (wait for it, or end it)"
        assert (code, out, err.splitlines()[-1]) == (2, "", f"cnnctl: error: {text}")
        assert {**content(run), str(run / ".lock"): b""} == {**before, str(run / ".lock"): b""}
    assert cnnctl("train", "--resume", str(run)).code == 0


def test_data_that_have_changed_are_told(cnnctl, ended, photos) -> None:
    counts = {"cat": 6, "dog": 6}
    root = photos({"train": counts, "val": counts, "test": counts}, size=8)
    data = ["data=folder", f"data.root={root}", "data.batch_size=4", "model.input=[3,8,8]"]
    run = ended(*data)
    before = content(run)
    shutil.copy(root / "train/cat/0.png", root / "train/cat/6.png")
    code, _, err = cnnctl("train", "--resume", str(run))
    assert code == 2
    told = "sizes of this run: train 12, val 12, test 12, now train 13, val 12, test 12"
    assert f"cnnctl: error: {told}" in err
    assert content(run) == before
