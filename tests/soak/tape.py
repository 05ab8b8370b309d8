"""Tape: endless noise that is known to the sample, cut into payloads of 250 ms, as base64.

Rule: each part of a reply is a stretch of a tape that begins at a piece of its own. So a sample that
is lost, doubled, swapped or another part's does not match what stands at its place.
"""

import base64
import random
from collections.abc import Callable, Iterator

import numpy as np

PIECES = 64
"""Of a tape, which goes on at its beginning. It is even, as odd cuts come in pairs."""

_CALLBACK = 8_192  # samples that may be asked for at a time, at most


class Tape:
    """Noise in one format."""

    def __init__(self, rate: int, width: int, expand: Callable[[bytes], bytes]) -> None:
        """rate: hertz. width: bytes of a sample on the wire. expand: those as int16, as bytes."""
        self.rate = rate
        self.width = width
        self.piece = rate // 4
        """Samples in 250 ms."""
        self._count = self.piece * PIECES
        wire = random.Random(rate).randbytes(self._count * width)
        self.payloads = [list(_cut(wire, shift)) for shift in range(width)]
        """By style: `(base64, bytes)` of each piece; in the second style each cut is odd."""
        heard = expand(wire)
        self._heard = heard + heard[: 2 * _CALLBACK]

    def heard(self, position: int, count: int) -> bytes:
        """Return the int16 samples from a position on, as bytes; 8,192 at most."""
        start = 2 * (position % self._count)
        return self._heard[start : start + 2 * count]


def _cut(wire: bytes, shift: int) -> Iterator[tuple[bytes, int]]:
    """Cut into pieces; with a shift of 1, each second cut comes a byte later."""
    size = len(wire) // PIECES
    for number in range(PIECES):
        start = number * size + shift * (number % 2)
        stop = (number + 1) * size + shift * (1 - number % 2)
        yield base64.b64encode(wire[start:stop]), stop - start


def _mulaw(wire: bytes) -> bytes:
    """Expand as ITU-T G.711 has it, in arithmetic: a table is what is tested."""
    code = ~np.frombuffer(wire, np.uint8)
    steps = (code & 15).astype(np.int16)
    size = (((steps << 3) + 132) << ((code >> 4) & 7).astype(np.int16)) - 132
    return np.where(code & 128, -size, size).astype(np.int16).tobytes()


PCM16 = Tape(24_000, 2, bytes)
MULAW = Tape(8_000, 1, _mulaw)
