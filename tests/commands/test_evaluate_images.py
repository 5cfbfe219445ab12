from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnnctl import weights
from cnnctl.cli import main

QUICK = ("trainer.max_steps=2", "hardware=cpu", "progress=none")


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of LeNet-5 on digits, hardly trained."""
    outputs = tmp_path_factory.mktemp("outputs")
    assert main(["train", *QUICK, f"outputs={outputs}"]) == 0
    (run,) = outputs.glob("train/*")
    return run


@pytest.fixture
def pets(cnnctl, photos) -> Any:
    """A run on photos of cats and dogs; there is no test split."""
    root = photos({"train": {"cat": 8, "dog": 8}})
    words = ["data=folder", f"data.root={root}", *QUICK, "--json"]
    return cnnctl("train", *words).document["result"]


def test_other_images_with_other_classes_are_refused(cnnctl, lenet: Path, photos) -> None:
    root = photos({"train": {"cat": 4, "dog": 4}, "test": {"cat": 2, "dog": 2}})
    words = ["data=folder", f"data.root={root}", "data.channels=1", "data.size=32"]
    words += ["data.mean=[0.5]", "data.std=[0.5]", "outputs=here"]
    text = "the net knows 10 classes (0, 1, 2, 3, 4, …), the data has 2 (cat, dog)"
    outcome = cnnctl("evaluate", str(lenet), *words)
    hint = "evaluate on data with the same classes"
    assert outcome == (2, "", f"cnnctl: error: {text} ({hint})\n")
    assert not Path("here").exists()


def test_images_of_ones_own_are_measured_and_a_missing_test_split_is_told(
    cnnctl, pets, photos
) -> None:
    assert pets["test"] is None
    assert pets["val"]["top5"] is None
    text = "folder has no split 'test', only train, val"
    assert cnnctl("evaluate", "latest", "split=test") == (2, "", f"cnnctl: error: {text}\n")
    other = photos({"train": {"cat": 8, "dog": 8}, "test": {"cat": 3, "dog": 2}}, name="other")
    outcome = cnnctl("evaluate", "latest", f"data.root={other}", "--json")
    result = outcome.document["result"]
    assert outcome.err == ""
    assert [(row["class"], row["n"]) for row in result["per_class"]] == [("cat", 3), ("dog", 2)]
    assert weights.read(Path(result["checkpoint"])).classes == ("cat", "dog")
    rows = Path(result["predictions"]).read_text().splitlines()
    assert rows[1].startswith(f"{other}/test/cat/0.png,cat,")
    assert len(rows) == 6


def test_the_mistakes_are_the_pictures_of_the_data_set(cnnctl, pets, photos) -> None:
    other = photos({"train": {"cat": 8, "dog": 8}, "test": {"cat": 3, "dog": 2}}, name="other")
    swapped = Path("swapped")
    shutil.copytree(other, swapped)
    for one, its in (("cat", "dog"), ("dog", "cat")):  # half of them are wrong, at least
        shutil.copytree(other / "test" / one, swapped / "test" / its, dirs_exist_ok=True)
    words = [f"data.root={swapped}", "mistakes=2", "--json"]
    result = cnnctl("evaluate", "latest", *words).document["result"]
    with Image.open(Path(result["folder"]) / "mistakes.png") as picture:
        assert picture.width == 2 * 128 + 6 + 28
    result = cnnctl("evaluate", "latest", *words, "mistakes=0").document["result"]
    assert "mistakes.png" not in result["files"]


def test_images_that_the_net_was_trained_on_are_warned_of(cnnctl, lenet: Path) -> None:
    words = [str(lenet), "outputs=here", "mistakes=0", "--json"]
    code, out, err = cnnctl("evaluate", *words, "data.split_seed=5")
    split = json.loads((lenet / "split.json").read_text())
    away = {*split["val"], *split["test"]}
    rows = Path(json.loads(out)["result"]["predictions"]).read_text().splitlines()[1:]
    seen = sum(row.partition(",")[0] not in away for row in rows)
    assert code == 0
    assert err == (
        f"cnnctl: {seen} of the 359 images of test were not held out when {lenet} was trained: "
        "it may know them by heart (data.split_seed=5)\n"
    )
    assert cnnctl("evaluate", *words).err == ""


def test_a_checkpoint_beside_a_checkpoint_file_has_no_effect_and_is_refused(
    cnnctl, lenet: Path
) -> None:
    file = lenet / "checkpoints" / "best.ckpt"
    text = f"cnnctl: error: 'checkpoint=last' has no effect: {file} is a file (leave it out)\n"
    assert cnnctl("evaluate", str(file), "checkpoint=last") == (2, "", text)


def test_an_outputs_folder_that_cannot_be_written_is_told(cnnctl, lenet: Path) -> None:
    Path("file").write_text("kept")
    code, _, err = cnnctl("evaluate", str(lenet), "outputs=file")
    assert (code, err.startswith("cnnctl: error: cannot make a run folder in file")) == (2, True)
    assert Path("file").read_text() == "kept"


def test_accuracy_under_changes_is_kept_and_shown(cnnctl, lenet: Path) -> None:
    words = [str(lenet), "outputs=here", "robustness=shift"]
    code, shown, _ = cnnctl("evaluate", *words)
    (folder,) = Path("here/evaluate").iterdir()
    result = json.loads((folder / "result.json").read_text())
    points = result["robustness"]["kinds"]["shift"]["points"]
    assert points[0]["top1"] == pytest.approx(result["metrics"]["top1"])
    assert (code, "shift, " in shown, (folder / "robustness.png").is_file()) == (0, True, True)


def test_a_mirrored_look_is_part_of_the_result(cnnctl, lenet: Path) -> None:
    words = [str(lenet), "outputs=here", "mistakes=0", "predictions=none", "--json"]
    plain, mirrored = (
        cnnctl("evaluate", *words, f"flip={flip}").document["result"] for flip in ("null", "true")
    )
    assert (plain["way"]["flip"], mirrored["way"]["flip"]) == (False, True)
    assert plain["metrics"]["loss"] != mirrored["metrics"]["loss"]
    assert plain["calibration"]["temperature"] != mirrored["calibration"]["temperature"]


def test_another_set_is_shown_as_the_net_has_learned_to_see(cnnctl, photos) -> None:
    """The files of a data set say how large and how bright its own images are."""
    root = photos({"train": {"cat": 20, "dog": 20}, "test": {"cat": 9, "dog": 9}})
    own = ["data.mean=[0.1,0.2,0.3]", "data.std=[0.5,0.4,0.3]", "data.size=24"]
    words = ["model=keras_cnn", "data=folder", f"data.root={root}", *own, "hardware=cpu"]
    words += ["trainer.max_epochs=3", "progress=none", "--json"]
    run = cnnctl("train", *words).document["result"]
    told = {name: run["test"][name] for name in ("top1", "loss")}
    outcome = cnnctl("evaluate", "latest", "data=folder", f"data.root={root}", "--json")
    again = outcome.document["result"]["metrics"]
    assert {name: again[name] for name in told} == pytest.approx(told, abs=1e-6)
    words = ["data=folder", f"data.root={root}", "data.mean=[0.9,0.9,0.9]", "--json"]
    other = cnnctl("evaluate", "latest", *words).document["result"]["metrics"]
    assert other["loss"] != pytest.approx(told["loss"], rel=1e-3)
