"""Lines of a byte stream in constant memory: one buffer, and views of it.

Rule: the buffer never holds more than one line and one read, and never more than `limit` bytes of a
line. What is longer is passed over without being kept.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

CHUNK = 256 << 10
"""Bytes per read: large enough to hide the calls, small enough to stay in the L2 cache, where
reading runs at 10 GB/s and not at the speed of page faults."""


_EMPTY = re.compile(rb"\n+")


class Source(Protocol):
    """A binary stream that gives what it has: any buffered reader of the standard library."""

    def readinto1(self, buffer: memoryview, /) -> int:
        """Fill `buffer` from its start with one read; return the number of bytes, 0 at the end."""


class Line(NamedTuple):
    """One line: `buffer[start:stop]`, without its LF. Valid until the next one is asked for."""

    number: int
    """From 1."""
    offset: int
    """Of its first byte in the stream, from 0."""
    buffer: bytearray
    start: int
    stop: int
    complete: bool
    """Whether it ended with an LF."""
    too_long: bool
    """Whether it was passed over; then there is nothing in it."""


def read_lines(source: Source, limit: int) -> Iterator[Line]:
    """Yield the lines of `source` but for empty ones; the last is incomplete if it has no LF."""
    buffer = bytearray(CHUNK)
    base = start = scan = stop = 0  # buffer[0] is at `base`; buffer[start:stop] is not yet yielded
    offset, number, skipping = 0, 1, False
    while True:
        newline = buffer.find(b"\n", scan, stop)
        if newline == start and not skipping:
            # Empty lines are nobody's; ten thousand million of them fit into a gzip of 10 MB.
            start = scan = _EMPTY.match(buffer, start, stop).end()  # type: ignore[union-attr]
            number, offset = number + start - newline, base + start
        elif newline >= 0:
            too_long = skipping or newline - start > limit
            begin = newline if too_long else start
            yield Line(number, offset, buffer, begin, newline, True, too_long)
            start = scan = newline + 1
            offset, number, skipping = base + start, number + 1, False
        if newline >= 0:
            continue
        if skipping or stop - start > limit:
            base, start, stop, skipping = base + stop, 0, 0, True
        elif start:
            buffer[: stop - start] = buffer[start:stop]
            base, start, stop = base + start, 0, stop - start
        elif stop == len(buffer):
            # A new buffer: views of the old one may still be held.
            larger = bytearray(min(2 * stop, limit + CHUNK))
            larger[:stop] = buffer
            buffer = larger
        scan = stop
        count = source.readinto1(memoryview(buffer)[stop:])
        if not count:
            if stop > start or skipping:
                yield Line(number, offset, buffer, start, stop, False, skipping)
            return
        stop += count
