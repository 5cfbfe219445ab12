"""What `cnnctl train --resume RUN` does not go on from, and that nothing is lost by asking."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnctl import runs

WORDS = (
    "model=mlp", "model.hidden=[8]", "data.size=8", "data.batch_size=500", "hardware=cpu",
    "trainer.max_epochs=1", "schedule=constant", "progress=none",
)  # fmt: skip
HINT = "(that is a new run: cnnctl train --config RUN/config.yaml …)"
HALVES = ("data.batch_size=250", "trainer.accumulate=2")
PATTERN = ("model=pattern", "model.levels=[[4]]", "model.dropout=0")
Trained = Callable[..., Path]
Extend = Callable[..., str]


@pytest.fixture
def trained(cnnctl) -> Trained:
    """A finished run: trained("seed=1") -> its folder."""

    def train(*words: str) -> Path:
        return Path(cnnctl("train", *WORDS, *words, "--json").document["result"]["run"])

    return train


@pytest.fixture
def refusal(cnnctl) -> Extend:
    """What a refused extension says, which has changed nothing: refusal(run) -> one line."""

    def extend(run: Path, *words: str) -> str:
        before = content(run)
        code, out, err = cnnctl("train", "--resume", str(run), "trainer.max_epochs=2", *words)
        assert (code, out, err.count("error: ")) == (2, "", 1), err
        assert content(run) == before
        return err.splitlines()[-1].removeprefix("cnnctl: error: ")

    return extend


def content(run: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(run.rglob("*")) if file.is_file()}


def test_a_configuration_that_was_edited_is_not_that_of_the_checkpoint(trained, refusal) -> None:
    run = trained()
    config = runs.read_config(run / "config.yaml")
    config["optimizer"]["lr"] = 0.5
    runs.write_config(run, config)
    assert refusal(run) == f"optimizer.lr=0.5 would change the run, which has 0.003 {HINT}"
    assert refusal(run, "--dry-run").startswith("optimizer.lr=0.5 would change the run")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("seed=3", "seed=0 would change the run, which has 3"),
        ("model.hidden=[4]", "model.hidden=[8] would change the run, which has [4]"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(trained, refusal, word, text) -> None:
    run, other = trained(), trained(word)
    shutil.copy(other / "checkpoints/last.ckpt", run / "checkpoints/last.ckpt")
    assert refusal(run) == f"{text} {HINT}"


@pytest.mark.parametrize("kept", [(), ("state_dict",), ("cnnctl", "state_dict", "epoch"), None])
def test_weights_alone_are_no_place_to_go_on_from(trained, refusal, kept) -> None:
    run = trained()
    last = run / "checkpoints/last.ckpt"
    saved = torch.load(last, weights_only=True)
    last.unlink()  # best.ckpt is the same file
    torch.save([] if kept is None else {name: saved[name] for name in kept}, last)
    text = f"{last} is no checkpoint that a run can go on from (begin anew: remove {last})"
    assert refusal(run) == text


@pytest.mark.parametrize("damage", ["truncated", "empty", "a folder"])
def test_a_damaged_checkpoint_leaves_the_result_of_a_finished_run(trained, refusal, damage) -> None:
    run = trained()
    last = run / "checkpoints/last.ckpt"
    held = last.read_bytes()
    last.unlink()
    if damage == "a folder":
        last.mkdir()
    else:
        last.write_bytes(held[:-100] if damage == "truncated" else b"")
    assert refusal(run).startswith(f"{last} cannot be read: ")
    assert runs.read_result(run) is not None


def test_a_best_that_is_gone_is_told_before_a_step_is_made(cnnctl, trained) -> None:
    run = trained("trainer.max_epochs=2", "optimizer.lr=1e-30")  # the second epoch is no better
    best = run / "checkpoints/best.ckpt"
    best.unlink()
    last = (run / "checkpoints/last.ckpt").read_bytes()
    code, out, err = cnnctl("train", "--resume", str(run), "trainer.max_epochs=3")
    text = f"{best} is gone, which no later epoch may equal"
    hint = f"begin anew: remove {run / 'checkpoints/last.ckpt'}"
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"cnnctl: error: {text} ({hint})"
    assert (run / "checkpoints/last.ckpt").read_bytes() == last
    assert runs.read_result(run) is not None


def test_a_best_that_was_just_made_is_named_once_more(cnnctl, trained) -> None:
    run = trained()
    (run / "checkpoints/best.ckpt").unlink()
    assert cnnctl("train", "--resume", str(run), "trainer.max_epochs=2").code == 0
    assert (run / "checkpoints/best.ckpt").is_file()


def test_metrics_that_are_no_table_are_one_line(cnnctl, trained) -> None:
    run = trained()
    (run / "metrics.csv").write_text("something else\n1\n")
    code, _, err = cnnctl("train", "--resume", str(run), "trainer.max_epochs=2")
    told = f"cnnctl: error: {run / 'metrics.csv'} is no table of epochs (remove it)"
    assert (code, err.splitlines()[-1]) == (2, told)
    (run / "metrics.csv").unlink()
    assert cnnctl("train", "--resume", str(run)).code == 0


@pytest.mark.parametrize(("way", "name"), [("open", ".lock"), ("unlink", "result.json")])
def test_a_folder_that_cannot_be_written_is_one_line(
    cnnctl, trained, monkeypatch, way, name
) -> None:
    run, real = trained(), getattr(Path, way)

    def refuse(self: Path, *words: Any, **how: Any) -> Any:
        if self.name == name and words != ("r",):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(self, *words, **how)

    before = content(run)
    with monkeypatch.context() as patch:
        patch.setattr(Path, way, refuse)
        code, out, err = cnnctl("train", "--resume", str(run), "trainer.max_epochs=2")
    told = f"cnnctl: error: cannot write in {run}: Permission denied"
    assert (code, out, err.splitlines()[-1]) == (2, "", told)
    lock = {str(run / ".lock"): b""}
    assert content(run) | lock == before | lock


def test_an_empty_result_is_none(cnnctl, trained) -> None:
    run = trained()
    whole = runs.read_result(run)
    assert whole is not None
    (run / "result.json").write_text("{}")
    result = cnnctl("train", "--resume", str(run), "--json").document["result"]
    assert result["weights_sha256"] == whole["weights_sha256"]
    assert result == runs.read_result(run)


def test_a_folder_that_was_moved_is_named_below_its_new_place(cnnctl, trained) -> None:
    expected = cnnctl("train", *WORDS, "trainer.max_epochs=2", "outputs=whole", "--json")
    run = trained()
    Path("outputs").rename("elsewhere")
    words = ["--resume", run.name, "trainer.max_epochs=2", "outputs=elsewhere", "--json"]
    result = cnnctl("train", *words).document["result"]
    assert result["weights_sha256"] == expected.document["result"]["weights_sha256"]
    assert result["run"] == f"elsewhere/train/{run.name}"
    assert runs.read_config(Path(result["run"]) / "config.yaml")["outputs"] == "elsewhere"
    assert not Path("outputs").exists()


def test_batch_norm_goes_on_with_batches_of_the_same_size(cnnctl, trained, refusal) -> None:
    run = trained(*PATTERN, "model.norm=batch")
    told = "batch normalisation would see other images together than the run has so far"
    hint = "the batch_size, accumulate and devices of the run"
    for words in (HALVES, (*HALVES, "--dry-run")):
        assert refusal(run, *words) == f"{told} ({hint})"
    words = ("trainer.max_epochs=2", "hardware.devices=auto")  # which is one here, too
    assert cnnctl("train", "--resume", str(run), *words).code == 0


@pytest.mark.parametrize("words", [(*PATTERN, "model.norm=none"), ("model=lenet5", "data.size=32")])
def test_without_batch_norm_a_step_may_be_made_in_two_parts(cnnctl, trained, words) -> None:
    run = trained(*words)
    outcome = cnnctl("train", "--resume", str(run), "trainer.max_epochs=2", *HALVES, "--json")
    assert (outcome.code, outcome.document["result"]["epochs"]) == (0, 2)


@pytest.mark.parametrize("loss", ["dice", "focal"])
def test_the_overlap_of_a_batch_is_not_that_of_its_parts(cnnctl, loss) -> None:
    words = ["data=shapes", "data.images=12", "data.size=8", "data.batch_size=4", f"loss={loss}"]
    words += ["model=unet_small", "model.widths=[2,2]", "model.norm=none", *WORDS[4:]]
    run = cnnctl("train", *words, "--json").document["result"]["run"]
    halves = ("data.batch_size=2", "trainer.accumulate=2", "trainer.max_epochs=2")
    done = cnnctl("train", "--resume", run, *halves)
    told = "loss=dice would see other images together than the run has so far"
    assert (done.code, told in done.err) == ((2, True) if loss == "dice" else (0, False))
