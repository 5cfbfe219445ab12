from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from targets import short_run

from cnnctl.commands import predicted_classes
from cnnctl.config import compose, verbs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_run(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(autouse=True)
def bee() -> None:
    Image.new("RGB", (9, 9)).save("bee.png")


LATEST = "cnnctl predict latest"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], f"predict takes a net and images, got nothing ({LATEST} cat.jpg)"),
        (["latest"], f"predict takes images, got latest alone ({LATEST} cat.jpg)"),
        (["bee.png"], f"the net comes first, but bee.png is an image ({LATEST} bee.png)"),
        (["BEE.JPG", "latest"], f"the net comes first, but BEE.JPG is an image ({LATEST} BEE.JPG)"),
        (["bee.png", "net.onnx"], "the net comes first, but bee.png is an image (cnnctl predict net.onnx bee.png)"),  # noqa: E501 - the text in one piece
        (["home", "latest"], f"the net comes first, but home is a folder ({LATEST} home)"),
        (["nun", "bee.png"], "no run 'nun' in outputs (see them with: cnnctl list runs)"),
        (["home", "bee.png"], "home is no run: it has no config.yaml (see runs with: cnnctl list runs)"),  # noqa: E501 - as above
        (["RUN", "gone.png"], f"there is nothing to predict: gone.png: no such file or folder ({LATEST} cat.jpg)"),  # noqa: E501 - as above
        (["RUN", "a", "b", "c", "d*"], f"there is nothing to predict: a: no such file or folder; b: no such file or folder; c: no such file or folder, and 1 more ({LATEST} cat.jpg)"),  # noqa: E501 - as above
        (["RUN", "bee.png", "top=11"], "top must be at most 10, as the net knows 10 classes, got 11 (top=10)"),  # noqa: E501 - as above
        (["RUN", "bee.png", "top=0"], "top must be at least 1, got 0"),
        (["RUN", "bee.png", "topp=2"], "unknown key 'topp' (did you mean 'top'?)"),
        (["RUN", "bee.png", "format=json"], "format must be one of table, csv, got 'json'"),
        (["RUN", "bee.png", "data.size=64"], "'data.size=64' has no effect here: the run has its own data.size (change hardware, outputs, data.batch_size only)"),  # noqa: E501 - as above
        (["RUN", "bee.png", "model=mlp"], "'model=mlp' has no effect here: the run has its own model (change hardware, outputs, data.batch_size only)"),  # noqa: E501 - as above
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(cnnctl, run: Path, words: list[str], text: str) -> None:
    given = [str(run) if word == "RUN" else word for word in words]
    assert cnnctl("predict", *given) == (2, "", f"cnnctl: error: {text}\n")


def test_csv_within_a_document_is_refused(cnnctl, run: Path) -> None:
    outcome = cnnctl("predict", str(run), "bee.png", "format=csv", "--json")
    assert outcome.code == 2
    assert outcome.document["error"] == {
        "kind": "config", "message": "format=csv has no effect beside --json",
        "hint": "leave out one of the two",
    }  # fmt: skip


def test_the_values_of_the_configuration_are_told_by_the_schema() -> None:
    with compose.opened():
        config, problems = compose.compose("predict", [])
    assert problems == []
    assert set(config) == set(verbs.Predict.__dataclass_fields__)
    assert config["top"] is None
    assert [predicted_classes._top(*given) for given in ((None, 3), (None, 1000), (7, 10))] == [
        3,
        5,
        7,
    ]
    assert json.dumps(config)
