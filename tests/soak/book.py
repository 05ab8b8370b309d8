"""Book: what was sent, and what became of each sample of it.

Rule: it knows what must be heard from what was sent alone, and asks nothing of what it checks.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from tests.soak.tape import Tape


class Reply:
    """One response; cut as a whole."""

    def __init__(self, response_id: str) -> None:
        self.id = response_id
        self.cut = False


class Part:
    """One item's audio: a stretch of a tape."""

    def __init__(self, reply: Reply, item_id: str, tape: Tape, start: int, style: int) -> None:
        """start: the piece it begins at; style: of the cuts."""
        self.reply = reply
        self.item_id = item_id
        self.tape = tape
        self._payloads = tape.payloads[style]
        self._start = start
        self._next = start
        self.bytes = 0
        """Sent so far."""
        self.accepted = 0
        """Samples that found room in the ring."""
        self.heard = 0
        self.refused = False
        """A sample found no room; none that follows does."""
        self.done = False
        self.left = False
        """It was heard to its end, and the player has gone on."""

    @property
    def unread(self) -> int:
        return self.accepted - self.heard

    def next_payload(self) -> tuple[bytes, int]:
        """Return the next piece in base64, and its bytes."""
        payload = self._payloads[self._next % len(self._payloads)]
        self._next += 1
        return payload

    def expected(self, count: int) -> bytes:
        """Return the samples that must be heard next."""
        return self.tape.heard(self._start * self.tape.piece + self.heard, count)


class Book:
    """All samples of a life."""

    def __init__(self, seconds: float) -> None:
        """seconds: capacity of each ring."""
        self._seconds = seconds
        self._queue: deque[Part] = deque()  # in the order in which they are to be heard
        self._last: Part | None = None
        self.deltas = 0
        self.bytes = 0
        self.sent = self.heard = self.cut = self.late = self.dropped = self.wrong = 0
        """Samples; `wrong` counts callbacks with any that is not what was sent."""

    @property
    def unread(self) -> int:
        """Samples that are still to be heard."""
        return sum(part.unread for part in self._queue)

    @property
    def settled(self) -> bool:
        """Every sample that was sent is accounted for."""
        return self.sent == self.heard + self.cut + self.late + self.dropped + self.unread

    def send(self, part: Part, count: int) -> int:
        """Enter a delta of so many bytes, before it is decoded; return the samples to be refused."""
        before = part.bytes // part.tape.width
        new = not part.bytes
        part.bytes += count
        self.deltas += 1
        self.bytes += count
        samples = part.bytes // part.tape.width - before
        self.sent += samples
        if part.reply.cut or (part.left and not part.refused):
            self.late += samples
            return 0
        room = 0 if part.refused else int(self._seconds * part.tape.rate) - part.unread
        refused = max(0, samples - room)
        part.refused = part.refused or refused > 0
        self.dropped += refused
        part.accepted += samples - refused
        if new:
            self._queue.append(part)
        return refused

    def hear(self, out: NDArray[np.int16], count: int) -> None:
        """Check what a callback put out: `count` samples of audio, then silence."""
        at = 0
        while at < count:
            part = self._playing()
            taken = 0 if part is None else min(count - at, part.unread)
            if part is None or not taken:
                self.wrong += 1  # more than was ever sent
                return
            self.wrong += out[at : at + taken].tobytes() != part.expected(taken)
            part.heard += taken
            self._last = part
            at += taken
        self.heard += count
        if count < len(out):
            self.wrong += bool(out[count:].any())
        self._playing()

    def _playing(self) -> Part | None:
        """Return the part whose turn it is; those that are over are left."""
        while self._queue:
            part = self._queue[0]
            if part.unread or not (part.done or part.refused):
                return part
            part.left = True
            self._queue.popleft()
        return None

    def cut_off(self) -> int:
        """Enter an interruption: what was not heard never will be. Return how many samples."""
        lost = self.unread
        for part in [*([self._last] if self._last else []), *self._queue]:
            part.reply.cut = True
        self._queue.clear()
        self.cut += lost
        return lost
