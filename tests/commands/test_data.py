from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnctl.commands import VERBS, completion, data
from cnnctl.commands.completion import candidates
from cnnctl.report.data import KINDS

Photos = Callable[..., Path]
FAST = ("hardware=cpu", "progress=none")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNNCTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pixels"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pictures that have nothing to do with each other, 12 of each class, 4 to test."""
    seed = 0
    for split, count in (("train", 12), ("test", 4)):
        for name in ("cat", "dog"):
            (tmp_path / "animals" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
                file = tmp_path / "animals" / split / name / f"{number:02}.png"
                Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(file)
                seed += 1
    return Path("animals")


def test_the_digits_are_good(cnnctl) -> None:
    outcome = cnnctl("data", "check", "digits", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document["command"] == "data"
    result = outcome.document["result"]
    assert {name: split["images"] for name, split in result["splits"].items()} == {
        "train": 1259, "val": 179, "test": 359
    }  # fmt: skip
    assert not any(result["findings"].values())
    assert set(result["findings"]) == set(KINDS)
    assert result["channels"]["differ"] is False
    out = cnnctl("data", "check", "digits").out
    assert out.startswith("data     digits\nimages   train 1,259 · val 179 (drawn)")


def test_what_is_wrong_is_the_exit_code(cnnctl, root: Path) -> None:
    words = ("data", "check", str(root), "data.size=32", "progress=none")
    assert cnnctl(*words).code == 0
    shutil.copy(root / "train/cat/00.png", root / "train/cat/copy.png")
    assert cnnctl(*words).code == 0  # a copy in one split does little harm
    shutil.copy(root / "test/cat/00.png", root / "train/cat/leak.png")
    outcome = cnnctl(*words, "--json")
    assert (outcome.code, outcome.document["result"]["wrong"]) == (1, ["leaks"])
    out = cnnctl(*words).out
    assert "train/cat/leak.png = test/cat/00.png  equal files" in out
    assert out.splitlines()[-1].startswith("✗ training would stop or be misled · 34 images in")


def test_training_honours_what_a_check_writes(cnnctl, root: Path) -> None:
    shutil.copy(root / "test/cat/00.png", root / "train/cat/leak.png")
    (root / "train/dog/empty.png").write_bytes(b"")
    words = ("data", "check", str(root), "data.size=32", "progress=none")
    outcome = cnnctl(*words, "--quarantine", "q.txt", "--json")
    assert outcome.code == 1
    assert outcome.document["result"]["quarantine"] == {"file": "q.txt", "images": 2}
    head, *lines = Path("q.txt").read_text().splitlines()
    assert head.startswith("# ")
    assert sorted(line.split("\t")[0] for line in lines) == [
        "animals/train/cat/leak.png", "animals/train/dog/empty.png"
    ]  # fmt: skip
    assert cnnctl(*words, "data.quarantine=q.txt").code == 0
    training = ("train", "data=folder", f"data.root={root}", "data.size=32", *FAST, "--dry-run")
    assert cnnctl(*training, "data.quarantine=q.txt", "--json").code == 0


def test_a_report_is_a_page(cnnctl, root: Path) -> None:
    Path("r.html").write_text("an older one")
    outcome = cnnctl("data", "check", str(root), "data.size=32", "--report", "r.html")
    assert "report      r.html" in outcome.out
    assert Path("r.html").read_text().startswith("<!DOCTYPE html>")
    assert [file.name for file in Path().glob(".*")] == []


@pytest.mark.parametrize(
    "name", ["with space", "a,b=1", "it's", "{x}", "(y)", "null", "é#", "end\\"]
)
def test_a_folder_of_any_name(cnnctl, root: Path, name: str) -> None:
    root.rename(name)
    outcome = cnnctl("data", "check", name, "data.size=32", "--json")
    assert (outcome.code, outcome.document["result"]["root"]) == (0, name)


@pytest.mark.parametrize("pack", ["zip", "tar"])
def test_an_archive_is_checked_too(cnnctl, root: Path, pack: str) -> None:
    (root / "train/cat/00.png").write_bytes(b"")
    file = shutil.make_archive("packed", pack, root)
    result = cnnctl("data", "check", file, "data.size=32", "--json").document["result"]
    (broken,) = result["findings"]["broken"]
    assert broken["name"].endswith("train/cat/00.png")


def test_a_sheet_of_training_images(cnnctl, root: Path) -> None:
    outcome = cnnctl("data", "show", "digits", *FAST)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("sheet  digits_shift_rotate.png\n")
    with Image.open("digits_shift_rotate.png") as sheet:
        assert sheet.width > 8 * 128
    words = ("data", "show", str(root), "augment=none", "data.size=32", *FAST)
    assert cnnctl(*words, "--json").document["result"]["file"] == "animals_none.png"
    outcome = cnnctl(*words, "--output", "mine.png", "--json")
    result = outcome.document["result"]
    assert (result["file"], result["augment"], result["epochs"]) == ("mine.png", "none", 7)
    assert [one["class"] for one in result["images"]] == ["cat"] * 4 + ["dog"] * 4
    assert Path("mine.png").read_bytes() == Path("animals_none.png").read_bytes()


def test_a_sheet_builds_no_cache_and_passes_over_broken_images(
    cnnctl, root: Path, own_cache: Path
) -> None:
    (root / "train/cat/00.png").write_bytes(b"")
    outcome = cnnctl("data", "show", str(root), "data.size=32", *FAST, "--json")
    assert outcome.code == 0
    assert "train/cat/00.png" not in outcome.out
    assert not own_cache.exists()


def test_caches_are_built_listed_and_removed(cnnctl, root: Path, own_cache: Path) -> None:
    words = ("data", "cache", str(root), "data.size=32", *FAST, "--json")
    result = cnnctl(*words).document["result"]
    assert [row["built"] for row in result["caches"]] == [True, True]
    assert sorted(row["images"] for row in result["caches"]) == [8, 24]
    assert sum(row["bytes"] for row in result["caches"]) == 32 * 3 * 32 * 32
    assert {split["kind"] for split in result["splits"].values()} == {"map"}
    again = cnnctl(*words).document["result"]
    assert [row["built"] for row in again["caches"]] == [False, False]
    listed = cnnctl("data", "cache", "--json").document["result"]
    assert (listed["place"], listed["bytes"]) == (str(own_cache), 32 * 3 * 32 * 32)
    beside = own_cache.parent / "kept.txt"
    beside.write_text("not a cache")
    cleared = cnnctl("data", "cache", "--clear", "--json").document["result"]
    assert len(cleared["caches"]) == 2
    assert cleared["freed"] >= 32 * 3 * 32 * 32
    assert beside.exists()
    assert not own_cache.exists()
    assert cnnctl("data", "cache").out == f"no caches in {own_cache}\n"
    assert cnnctl("data", "cache", "--clear").out == f"no caches in {own_cache}\n"


def test_the_digits_need_no_cache(cnnctl, own_cache: Path) -> None:
    out = cnnctl("data", "cache", "digits", *FAST).out
    assert out.splitlines()[0] == "train  1,259 images in memory, 1.29 MB: no cache is needed"
    assert not own_cache.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "data takes one of check, show, cache, got nothing"),
        ("chek digits", "data takes one of check, show, cache, got chek (did you mean 'check'?)"),
        ("check", "data check takes one data set, got 0"),
        ("check digits fake", "data check takes one data set, got 2"),
        ("check digitz", "unknown data set 'digitz' (did you mean 'digits'?)"),
        ("check qqqq", "unknown data set 'qqqq' (a path, or see: cnnctl list data)"),
        ("check ./nix", "there is no file or folder ./nix"),
        ("show nix.tar", "there is no file or folder nix.tar"),
        ("check folder", "missing value: data.root"),
        ("check digits data.sise=3", "unknown key 'data.sise' (did you mean 'data.size'?)"),
        ("check digits data=fake", "'data=fake' has no effect on: cnnctl data check digits"),
        ("show digits optimizer=sgd", "'optimizer=sgd' has no effect on: cnnctl data show digits"),
        ("show digits --clear", "--clear has no effect on: cnnctl data show (cnnctl data cache)"),
        ("check digits --output a.png", "--output has no effect on: cnnctl data check"),
        ("cache --report a.html", "--report has no effect on: cnnctl data cache"),
        ("cache --clear digits", "--clear removes every cache; it does not go with digits"),
        ("cache seed=1", "'seed=1' has no effect on a list of the caches"),
        ("check digits --quarantine q.txt", "--quarantine has no effect on digits"),
        (
            "check digits --report a.txt",
            "--report writes a .html file, got a.txt (--report a.html)",
        ),
        ("show digits --output a.jpg", "--output writes a .png file, got a.jpg (--output a.png)"),
        ("show digits --output no/a.png", "--output cannot write no/a.png: there is no folder no"),
        ("check digits --report home", "--report cannot write home: it is a folder"),
        ("check digits --nothing", "unknown option '--nothing' of cnnctl data"),
    ],
)
def test_a_mistake_is_one_line(cnnctl, words: str, message: str) -> None:
    outcome = cnnctl("data", *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"cnnctl: error: {message}")
    assert sorted(file.name for file in Path().iterdir()) == ["home"]
    assert json.loads(cnnctl("data", *words.split(), "--json").out)["ok"] is False


@pytest.mark.parametrize(
    ("before", "current", "found"),
    [
        ([], "", {"cache", "check", "show"}),
        (["check"], "cifar", {"cifar10", "cifar100"}),
        (["check"], "./pho", set()),
        (["show", "digits"], "aug", {"augment="}),
        (["show", "digits"], "optimizer", set()),
        (["show", "cifar10"], "data.down", {"data.download="}),
        (["check", "digits"], "data=", set()),
    ],
)
def test_what_can_be_completed(before: list[str], current: str, found: set[str]) -> None:
    assert set(candidates(["data", *before], current)) == found


def test_the_words_are_the_same_everywhere() -> None:
    assert tuple(data.WORK) == completion.DATA
    assert set(data.FLAGS) <= set(VERBS["data"].flags)
