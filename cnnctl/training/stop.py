"""Ctrl-C and SIGTERM end a run after its step, with a checkpoint."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from cnnctl.errors import Stopped


class Stop:
    """Notes the first signal of those it listens to.

    While steps are made (`waits`) a loop has to ask for `caught` and end by itself. A second
    Ctrl-C, and at other times the first signal, raise Stopped at once.
    """

    def __init__(self, signals: Sequence[int], hint: str) -> None:
        self.signals = signals
        self.hint = hint
        self.caught = 0
        self.waits = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Until the end of the block; a thread that is not the main one gets no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in self.signals}
        for number in self.signals:
            if before[number] is not signal.SIG_IGN:  # as a shell does for a job in the background
                signal.signal(number, self._note)
        try:
            yield
        finally:
            self.waits = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def error(self, number: int, after: str = "") -> Stopped:
        """What ends the run."""
        name = (
            "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        )
        return Stopped(f"{name}{after}", self.hint, number)

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.waits:
            raise self.error(number)
        if self.caught and number == signal.SIGINT:
            raise self.error(number)
        self.caught = self.caught or number
