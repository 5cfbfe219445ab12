"""What tests of several files of this folder ask for."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest


@pytest.fixture
def offline(monkeypatch) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise urllib.error.URLError(OSError(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
