from __future__ import annotations

import json
import math

import pytest

from cnnctl.report import document


def test_a_success() -> None:
    text = document.success("train", {"run": "outputs/é", "top1": 0.5, "test": None})
    assert list(json.loads(text)) == ["schema", "command", "ok", "result"]
    assert json.loads(text) == {
        "schema": 1, "command": "train", "ok": True,
        "result": {"run": "outputs/é", "top1": 0.5, "test": None},
    }  # fmt: skip
    assert "é" in text


@pytest.mark.parametrize("command", ["train", None])
@pytest.mark.parametrize("hint", ["a hint", None])
def test_a_failure(command: str | None, hint: str | None) -> None:
    text = document.failure(command, "usage", "a text", hint)
    assert list(json.loads(text)) == ["schema", "command", "ok", "error"]
    error = {"kind": "usage", "message": "a text", "hint": hint}
    assert json.loads(text) == {"schema": 1, "command": command, "ok": False, "error": error}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_cannot_say_is_never_printed(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        document.success("train", {"loss": value})
