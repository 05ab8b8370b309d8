"""Speaker: who pulls the audio, in this thread or in one of its own.

Rule: time is virtual. `play(seconds)` is how much of it goes by, and so many callbacks follow, all
of one block. A speaker that is a thread may be behind by a second, as the decoder is ahead of a real
one; `settle` waits until it is not.
"""

import threading
from collections.abc import Callable

import numpy as np

from deltaring import Playback
from tests.soak.book import Book

BLOCKS = [480, 512, 960, 1_024, 2_048, 4_096]
"""Samples that a callback asks for, as devices have them."""

_BEHIND = 1.0  # seconds


class Speaker:
    """Calls back in the caller's thread."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._due = 0
        self.callbacks = 0
        self.playback: Playback
        self._out = np.empty(0, np.int16)

    def change(self, playback: Playback, block: int) -> None:
        """Go on with another playback; the last one's audio is over."""
        self.settle()
        self.playback = playback
        self._out = np.empty(block, np.int16)

    def play(self, seconds: float) -> None:
        """Let time go by."""
        self._due += round(seconds * self.playback.sample_rate)
        while self._due >= len(self._out):
            self._call()

    def _call(self) -> None:
        self._out.fill(1)  # silence has to be written, too
        self._book.hear(self._out, self.playback.read_into(self._out))
        self._due -= len(self._out)
        self.callbacks += 1

    def settle(self) -> None:
        """Return when all callbacks that are due have been."""

    def close(self) -> None:
        """Call back no more."""


class SpeakerThread(Speaker):
    """Calls back in a thread of its own, while the caller decodes."""

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self._changed = threading.Condition()
        self._closed = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def play(self, seconds: float) -> None:
        with self._changed:
            self._due += round(seconds * self.playback.sample_rate)
            self._changed.notify_all()
        self._wait(lambda: self._due <= _BEHIND * self.playback.sample_rate)

    def settle(self) -> None:
        self._wait(lambda: self._due < max(1, len(self._out)))

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._stopped)
        if self._stopped:
            raise RuntimeError("the audio thread has stopped; it has said why")

    def _run(self) -> None:
        try:
            while self._next():
                self._out.fill(1)
                self._book.hear(self._out, self.playback.read_into(self._out))
                self.callbacks += 1
                with self._changed:
                    self._due -= len(self._out)
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()

    def _next(self) -> bool:
        """Wait until a callback is due; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or 0 < len(self._out) <= self._due)
            return not self._closed

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
