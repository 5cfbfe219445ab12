from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cnnctl.cli import main

Result = dict[str, Any]


def trained(tmp_path_factory: pytest.TempPathFactory, *words: str) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    code = main(["train", *words, "hardware=cpu", "progress=none", f"outputs={outputs}"])
    assert code == 0
    (run,) = outputs.glob("train/*")
    return run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of LeNet-5 on digits, one epoch long."""
    return trained(tmp_path_factory, "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with another seed."""
    return trained(tmp_path_factory, "trainer.max_epochs=1", "seed=1")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perceptron after two steps, on smaller images."""
    return trained(tmp_path_factory, "model=mlp", "trainer.max_steps=2", "data.size=28")


@pytest.fixture
def asked(cnnctl):
    def run(*words: Any) -> Result:
        outcome = cnnctl("evaluate", *map(str, words), "outputs=here", "--json")
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.document["result"]

    return run


def test_a_better_net_is_named(asked, cnnctl, good: Path, bad: Path) -> None:
    """Each sees the images at its own size."""
    result = asked(good, bad, "--compare")
    told, nets = result["comparison"], result["nets"]
    assert [one["run"] for one in nets] == [str(good), str(bad)]
    first, second = (one["metrics"]["top1"] for one in nets)
    wanted = json.loads((bad / "result.json").read_text())["test"]["top1"]
    assert second == pytest.approx(wanted, abs=1e-6)
    assert told["difference"] == pytest.approx(second - first)
    assert (told["better"], told["p"] < 0.05) == (0, True)
    counts = [told[f"{name}_right"] for name in ("both", "only_first", "only_second")]
    assert sum(counts) + told["both_wrong"] == 359
    assert counts[0] + counts[1] == pytest.approx(359 * first)
    assert "the first is better" in cnnctl("evaluate", str(good), str(bad), "--compare").out


def test_what_is_compared_is_kept_for_both(asked, good: Path, bad: Path) -> None:
    result = asked(good, bad, "--compare", "mistakes=1")
    folder = Path(result["folder"])
    assert folder.name.split("_")[2:4] == ["compare", "digits"]
    assert sorted(file.name for file in folder.iterdir()) == sorted(result["files"])
    assert set(result["files"]) == {"result.json"} | {
        f"{name}_{number}.{end}"
        for number in (1, 2)
        for name, end in (
            ("predictions", "csv"), ("mistakes", "png"), ("reliability", "png"),
            ("confusion", "png"),
        )
    }  # fmt: skip
    right = []
    for one in result["nets"]:
        with Path(one["predictions"]).open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        right.append([row["label"] == row["prediction"] for row in rows])
        assert sum(right[-1]) / 359 == pytest.approx(one["metrics"]["top1"])
    only = sum(first and not second for first, second in zip(*right, strict=True))
    assert only == result["comparison"]["only_first_right"]
    assert json.loads((folder / "result.json").read_text()) == result


def test_nets_that_are_about_as_good_have_no_winner(asked, good: Path) -> None:
    shutil.copytree(good, "copy")
    told = asked(good, "copy", "--compare")["comparison"]
    assert (told["difference"], told["p"], told["better"]) == (0, 1, None)
    assert told["loss"]["difference"] == 0


def test_other_images_cannot_be_compared(cnnctl, good: Path) -> None:
    """The runs have cut their test splits in another way."""
    shutil.copytree(good, "other")
    config = Path("other/config.yaml")
    config.write_text(config.read_text().replace("split_seed: 0", "split_seed: 9"))
    outcome = cnnctl("evaluate", str(good), "other", "--compare", "outputs=here", "--json")
    error = outcome.document["error"]
    assert (outcome.code, error["kind"]) == (2, "data")
    assert "they are not measured on the same images: image 1 of" in error["message"]
    assert "data.split_seed=…" in error["hint"]
    assert not Path("here").exists()
    words = ("--compare", "outputs=here", "data.split_seed=0")
    assert cnnctl("evaluate", str(good), "other", *words).code == 0


def test_an_ensemble_is_measured_beside_its_members(
    asked, good: Path, alike: Path, bad: Path
) -> None:
    result = asked(good, alike, bad, "--ensemble")
    told = result["ensemble"]
    shares = [one["metrics"]["top1"] for one in told["members"]]
    for run, share, one in zip((good, alike, bad), shares, told["members"], strict=True):
        kept = json.loads((run / "result.json").read_text())
        assert share == pytest.approx(kept["test"]["top1"], abs=1e-6)
        assert (one["run"], one["name"]) == (str(run), run.name)
        assert one["weights_sha256"] == kept["best"]["weights_sha256"]
    assert told["mean_top1"] == pytest.approx(sum(shares) / 3)
    assert told["best_top1"] == max(shares) == shares[told["best"]]
    top1 = result["metrics"]["top1"]
    assert told["gain_over_mean"]["difference"] == pytest.approx(top1 - sum(shares) / 3)
    assert told["gain_over_best"]["difference"] == pytest.approx(top1 - max(shares))
    assert (result["run"], result["checkpoint"], result["n"]) == (None, None, 359)
    assert result["calibration"]["fitted_on"] == {"split": "val", "n": 179}
    assert {"predictions.csv", "reliability.png"} < set(result["files"])


def test_an_ensemble_is_shown(cnnctl, good: Path, alike: Path) -> None:
    code, out, err = cnnctl("evaluate", str(good), str(alike), "--ensemble", "split=val")
    assert (code, err) == (0, "")
    for text in ("net 1", "net 2", "together", "against the mean", "no temperature: it would be"):
        assert f"\n{text}" in out
    (folder,) = (good.parent.parent / "evaluate").glob("*_ensemble_digits_*")
    assert (folder / "result.json").is_file()


@pytest.mark.parametrize(
    ("targets", "words", "text"),
    [
        ("", (), "evaluate takes one run, got 0 (cnnctl evaluate latest, or see: cnnctl list runs)"),  # noqa: E501 - the text in one piece
        ("ab", (), "evaluate takes one run, got 2 (--compare for two of them, --ensemble for all together)"),  # noqa: E501 - as above
        ("a", ("--compare",), "--compare takes two nets, got 1 (cnnctl evaluate RUN_A RUN_B --compare)"),  # noqa: E501 - as above
        ("abc", ("--compare",), "--compare takes two nets, got 3 (cnnctl evaluate RUN_A RUN_B --compare)"),  # noqa: E501 - as above
        ("a", ("--ensemble",), "--ensemble takes two nets or more, got 1 (cnnctl evaluate RUN1 RUN2 --ensemble)"),  # noqa: E501 - as above
        ("ab", ("--ensemble", "--compare"), "--compare and --ensemble do not go together (one after the other)"),  # noqa: E501 - as above
        ("ab", ("--ensemble", "robustness=shift"), "'robustness' has no effect with --ensemble: it is measured net by net (leave it out, or give one run)"),  # noqa: E501 - as above
    ],
)  # fmt: skip
def test_nets_and_flags_that_do_not_go_together(cnnctl, targets: str, words, text: str) -> None:
    assert cnnctl("evaluate", *targets, *words) == (2, "", f"cnnctl: error: {text}\n")


@pytest.mark.parametrize("flag", ["--compare", "--ensemble"])
def test_a_net_given_twice_is_refused(cnnctl, good: Path, flag: str) -> None:
    file = good / "checkpoints" / "best.ckpt"
    code, _, err = cnnctl("evaluate", str(good), str(file), flag)
    text = f"{file} and {good} are the same net: {file}"
    assert (code, text in err) == (2, True)
