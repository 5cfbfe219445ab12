"""What TAB offers behind the verbs that take a trained net."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnctl.commands import completion
from cnnctl.commands.completion import candidates
from cnnctl.config import compose, verbs
from cnnctl.config.read import read


@pytest.mark.parametrize(
    ("before", "current", "found"),
    [
        (["evaluate", "latest"], "crops=d", ["crops=dense"]),
        (["evaluate"], "flip=", ["flip=false", "flip=null", "flip=true"]),
        (["evaluate"], "checkpoint=", ["checkpoint=best", "checkpoint=last"]),
        (["evaluate"], "robustness=sh", ["robustness=shift"]),
        (["evaluate"], "robustness=shift,s", ["robustness=shift,scale"]),
        (["evaluate"], "robustness=shift,n", ["robustness=shift,noise"]),
        (["evaluate"], "hardware=c", ["hardware=cpu"]),
        (["evaluate"], "data=digi", ["data=digits"]),
        (["evaluate"], "data.b", ["data.balance=", "data.batch_size="]),
        (["evaluate", "data=folder", "split=val"], "data.ro", ["data.root="]),
        (["evaluate"], "mo", []),
        (["evaluate"], "mistakes=", []),
        (["evaluate"], "--c", ["--compare", "--config-dir"]),
        (["evaluate", "latest"], "la", ["latest"]),
        (["predict"], "la", ["latest"]),
        (["predict"], "f", ["format="]),
        (["predict", "latest"], "format=", ["format=csv", "format=table"]),
        (["predict", "latest"], "data.b", ["data.batch_size="]),
        (["predict", "latest"], "la", []),
        (["predict", "format=csv"], "la", ["latest"]),
        (["export"], "quantize=", ["quantize=int8", "quantize=null"]),
        (["export"], "include=softmax,", ["include=softmax,preprocess"]),
        (["export", "latest"], "la", []),
        (["export"], "hard", []),
        (["bench"], "resnet15", ["resnet152", "resnet152_v1_5"]),
        (["bench", "vgg16"], "resnet15", ["resnet152", "resnet152_v1_5"]),
        (["bench"], "engines=eager,o", ["engines=eager,onnxruntime"]),
        (["bench"], "--z", ["--zoo"]),
        (["bench", "--plot"], "", []),
    ],
)
def test_candidates(before: list[str], current: str, found: list[str]) -> None:
    assert candidates(before, current) == found


def test_the_images_of_predict_are_left_to_the_shell_where_there_are_some() -> None:
    assert candidates(["predict", "latest"], "") == []
    assert candidates(["predict", "latest"], "to") == ["top="]
    Path("tower.png").touch()
    Path("in").mkdir()
    Path("in/to.png").touch()
    for word in ("to", "tower.png", "in", "in/", "in/to", "./t", "~", str(Path.cwd() / "in")):
        assert candidates(["predict", "latest"], word) == []
    assert candidates(["predict", "latest"], "top") == ["top="]
    assert candidates(["predict", "latest"], "nowhere/to") == []


def test_every_word_that_is_offered_is_taken() -> None:
    for name in completion.TRAINED:
        cls = getattr(verbs, name.title())
        with compose.opened():
            config, _ = compose.compose(name, [])
        for key, words in verbs.choices(cls).items():
            for word in words:
                value = {"true": True, "false": False, "null": None}.get(word, word)
                value = [word] if key in verbs.lists(cls) and word != "null" else value
                _, problems = read(cls, {**config, key: value})
                assert problems == []


def test_verbs_that_take_a_trained_net_complete_run_folders() -> None:
    for name in ("2026-01-02_b", "2026-01-01_a"):
        Path("outputs/train", name).mkdir(parents=True)
    Path("outputs/train/2026-01-01_a/config.yaml").touch()
    for verb in completion.TRAINED:
        run, key = "outputs/train/2026-01-01_a", "outputs="
        output = ["output="] if verb in ("export", "predict") else []
        assert candidates([verb], "outp") == sorted([run, *output, key])
    assert (
        candidates(["predict", "latest"], "outputs/train/2026-01-01") == []
    )  # images by the shell
