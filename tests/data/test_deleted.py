"""Files that go away, or are cut short, while a run reads its images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from images import picture

from cnnctl import runs
from cnnctl.commands import job
from cnnctl.config import compose
from cnnctl.data.module import DataModule
from cnnctl.data.reading import Reader
from cnnctl.errors import DataError
from cnnctl.training.noise import plain_errors
from cnnctl.training.start import Job


def prepared(root: Path, *more: str) -> Job:
    """A run of a small net on pictures of two classes, which are checked and not yet read."""
    for number in range(12):
        file = root / "ab"[number % 2] / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number, 12, 12))
    words = [
        "data=folder", f"data.root={root}", "data.size=12", "data.cache=never", "model=mlp",
        "augment=none", "hardware=cpu", "progress=none", "data.batch_size=2",
        "data.val_fraction=0.25", "trainer.max_epochs=2", *more,
    ]  # fmt: skip
    with compose.opened():
        config, problems = compose.compose("train", words)
    assert problems == []
    return job.prepare(config, words)


def read(ready: Job) -> str:
    """What is said when the images of an epoch are read as a run does; nothing if all are there."""
    loader = DataModule(ready.source, ready.train).train_dataloader()
    try:
        with plain_errors():
            for _ in loader:
                pass
    except DataError as wrong:
        return wrong.message
    return ""


def missing(file: str) -> str:
    return f"cannot read image {file}: No such file or directory"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_whose_file_is_deleted_ends_in_one_line_that_names_it(tmp_path, workers) -> None:
    ready = prepared(tmp_path / "pets", f"data.workers={workers}")
    gone = ready.source.splits["train"].name(3)
    Path(gone).unlink()
    with pytest.raises(DataError) as caught:
        job.work(ready, runs.create("outputs", "train", "run"))
    assert caught.value.message == missing(gone)


def test_a_file_may_go_after_it_has_been_read_once(tmp_path, monkeypatch) -> None:
    ready = prepared(tmp_path / "pets", "data.workers=0")
    gone = Path(ready.source.splits["train"].name(3))
    whole, epochs = Reader.batch, set()

    def batch(reader, ticket):
        epochs.add(ticket.epoch)
        if ticket.epoch == 1:
            gone.unlink(missing_ok=True)
        return whole(reader, ticket)

    monkeypatch.setattr(Reader, "batch", batch)
    with pytest.raises(DataError) as caught:
        job.work(ready, runs.create("outputs", "train", "run"))
    assert caught.value.message == missing(str(gone))
    assert caught.value.hint.startswith("mend it, then go on with: cnnctl train --resume outputs/")
    assert epochs == {None, 0, 1}  # None: measuring


@pytest.mark.parametrize("workers", [0, 1])
def test_all_files_may_be_gone(tmp_path, workers) -> None:
    ready = prepared(tmp_path / "pets", f"data.workers={workers}")
    assert read(ready) == ""
    shutil.rmtree(tmp_path / "pets")
    told = read(ready)
    names = [ready.source.splits["train"].name(number) for number in range(8)]
    assert told in {missing(name) for name in names}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"words", "not an image"),
        (picture(0, 12, 12)[:-30], "image file is truncated"),
        (picture(0, 64, 64, form="JPEG")[:-200], "image file is truncated"),
    ],
)
def test_a_file_that_is_written_anew_meanwhile_is_named(tmp_path, workers, content, reason) -> None:
    ready = prepared(tmp_path / "pets", f"data.workers={workers}")
    cut = ready.source.splits["train"].name(5)
    Path(cut).write_bytes(content)
    told = read(ready)
    assert told.startswith(f"cannot read image {cut}: {reason}")
    assert "\n" not in told


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path) -> None:
    ready = prepared(tmp_path / "pets", "data.workers=0")
    file = Path(ready.source.splits["train"].name(0))
    file.unlink()
    file.mkdir()
    assert read(ready) == f"cannot read image {file}: Is a directory"


def test_a_file_of_which_a_cache_was_made_may_go(tmp_path) -> None:
    ready = prepared(tmp_path / "pets", "data.cache=always")
    shutil.rmtree(tmp_path / "pets")
    assert read(ready) == ""
