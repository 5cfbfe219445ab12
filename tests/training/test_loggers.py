from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnctl.config import schema
from cnnctl.errors import RunError
from cnnctl.training import loggers, wandb_run
from cnnctl.training.loggers import CsvLogger

WANDB = schema.Wandb(name="wandb", project="p", entity=None, mode="offline", group=None, tags=())


def rows(run: Path) -> list[str]:
    return (run / "metrics.csv").read_text(encoding="utf-8").splitlines()


def test_the_first_record_writes_the_header_and_later_ones_rows(tmp_path) -> None:
    logger = CsvLogger(tmp_path)
    assert not (tmp_path / "metrics.csv").exists()
    logger.log_metrics({"epoch": 1, "val/top1": 0.123456789}, step=3)
    logger.log_metrics({"epoch": 2, "val/top1": 1.0})
    text = (tmp_path / "metrics.csv").read_bytes()
    assert text == b"epoch,val/top1\r\n1,0.123457\r\n2,1\r\n"


def test_a_resumed_run_goes_on_below(tmp_path) -> None:
    for epoch in (1, 2):
        CsvLogger(tmp_path).log_metrics({"epoch": epoch, "step": 20 * epoch})
    assert rows(tmp_path) == ["epoch,step", "1,20", "2,40"]


@pytest.mark.parametrize(
    ("step", "kept"),
    [(20, []), (21, ["1,20"]), (60, ["1,20", "2,40"]), (80, ["1,20", "2,40", "3,60"])],
)
def test_rows_after_the_checkpoint_are_lost(tmp_path, step, kept) -> None:
    """A row is there before the checkpoint of its epoch: whoever goes on writes it again."""
    first = CsvLogger(tmp_path)
    for epoch in (1, 2, 3):
        first.log_metrics({"epoch": epoch, "step": 20 * epoch})
    second = CsvLogger(tmp_path)
    assert len(rows(tmp_path)) == 4  # nothing is lost before there is something to write
    second.log_metrics({"epoch": 9, "step": step})
    second.log_metrics({"epoch": 10, "step": step + 20})
    assert rows(tmp_path) == ["epoch,step", *kept, f"9,{step}", f"10,{step + 20}"]
    assert (tmp_path / "metrics.csv").read_bytes().count(b"\r\n") == len(kept) + 3
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["metrics.csv"]


def test_a_row_that_was_torn_is_lost(tmp_path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,val/top1\r\n1,20,0.5\r\n2,4")
    CsvLogger(tmp_path).log_metrics({"epoch": 2, "step": 40, "val/top1": 0.75})
    assert rows(tmp_path) == ["epoch,step,val/top1", "1,20,0.5", "2,40,0.75"]


def test_a_file_without_rows_gets_its_header(tmp_path) -> None:
    (tmp_path / "metrics.csv").write_text("")
    CsvLogger(tmp_path).log_metrics({"epoch": 1, "step": 20})
    assert rows(tmp_path) == ["epoch,step", "1,20"]


def test_the_logger_has_the_name_of_the_run(tmp_path) -> None:
    assert (CsvLogger(tmp_path).name, CsvLogger(tmp_path).version) == ("csv", tmp_path.name)


def test_metrics_that_cannot_be_written_are_named(tmp_path) -> None:
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(RunError) as caught:
        CsvLogger(tmp_path).log_metrics({"epoch": 1, "step": 20})
    assert str(caught.value) == f"cannot write {tmp_path / 'metrics.csv'}: Is a directory"


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"epoch,top1\r\n1,0.5\r\n",
        b"epoch,step\r\n1,many\r\n",
        b"epoch,step\r\n1,20\r\n2,40,7\r\n",
        b"epoch,step\r\n1," + b"2" * 200_000,
    ],
    ids=["bytes", "no step", "no number", "a field more", "too long"],
)
def test_what_is_no_table_of_epochs_is_told_and_left_alone(tmp_path, content) -> None:
    file = tmp_path / "metrics.csv"
    file.write_bytes(content)
    with pytest.raises(RunError) as caught:
        CsvLogger(tmp_path).log_metrics({"epoch": 2, "step": 60})
    assert str(caught.value) == f"{file} is no table of epochs (remove it)"
    assert file.read_bytes() == content


def test_metrics_csv_is_always_written(tmp_path) -> None:
    (only,) = loggers.build(schema.Logger(name="local"), tmp_path, {})
    assert isinstance(only, CsvLogger)
    loggers.close(only)


@pytest.mark.parametrize(
    ("rank", "kinds"), [(None, ["csv", "wandb"]), ("0", ["csv", "wandb"]), ("1", ["csv"])]
)
def test_wandb_is_started_by_the_first_process_alone(monkeypatch, tmp_path, rank, kinds) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(wandb_run, "start", lambda *_: SimpleNamespace(name="wandb"))
    assert [logger.name for logger in loggers.build(WANDB, tmp_path, {})] == kinds
