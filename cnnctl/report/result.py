"""What a command returns: data, and the view that shows it to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """`data` is the JSON contract's `result`; `view` names the function of report.console.

    `code` is the exit code: a command can have a result and have failed in part.
    """

    view: str
    data: dict[str, Any]
    code: int = 0
