"""What is being done now, for commands that keep people waiting without a bar."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console

EVERY = 10  # seconds between two lines where there is no terminal
PATIENCE = 0.5  # seconds that nobody needs to be told about


@contextlib.contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Shows what is measured now: a line that moves on a terminal, elsewhere one now and then."""
    console = Console(stderr=True, highlight=False, markup=False)
    began = said = time.perf_counter()
    live = console.is_terminal and not console.is_dumb_terminal
    status = console.status("") if live else None

    def tell(what: str) -> None:
        nonlocal said
        now = time.perf_counter()
        if status is not None and now - began > PATIENCE:
            status.update(f"measuring {what}")
            status.start()
        elif status is None and now - said > EVERY:
            said = now
            with contextlib.suppress(BrokenPipeError):
                print(f"measuring {what}", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if status is not None:
            status.stop()
