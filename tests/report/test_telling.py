from __future__ import annotations

import io
import time

from rich.console import Console

from cnnctl.report import telling


def test_on_a_terminal_a_line_moves(monkeypatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(
        telling, "Console", lambda **_: Console(file=shown, force_terminal=True, width=80)
    )
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(telling, "PATIENCE", 0)
    with telling.telling() as tell:
        time.sleep(0.01)
        tell("lenet5: batch 8")
        time.sleep(0.2)
    assert "measuring lenet5: batch 8" in shown.getvalue()


def test_elsewhere_there_is_a_line_now_and_then(monkeypatch, capsys) -> None:
    monkeypatch.setattr(telling, "EVERY", 0.02)
    with telling.telling() as tell:
        tell("one")
        time.sleep(0.03)
        tell("two")
        tell("three")
    assert capsys.readouterr().err == "measuring two\n"


def test_what_is_quick_is_not_told(capsys) -> None:
    with telling.telling() as tell:
        tell("one")
    assert capsys.readouterr() == ("", "")
