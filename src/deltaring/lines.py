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
    """One line: `buffer[start:stop]`, without its LF. Valid until the next one is looked for."""

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


class LineReader:
    """The lines of `source` but for empty ones; the last is incomplete if it has no LF.

        while lines.find():
            line = lines.take()

    After `find`, `buffer[start:stop]` is what was read and not taken; it begins with the line that
    was found. Who takes several lines of it at once says so with `skip`.
    """

    def __init__(self, source: Source, limit: int) -> None:
        self._source = source
        self._limit = limit
        self.buffer = bytearray(CHUNK)
        self.start = self.stop = 0
        self.number = 1
        """Of the next line."""
        self.offset = 0
        """Of that line's first byte."""
        self._base = 0  # of buffer[0] in the stream
        self._newline = -1  # where the line that was found ends; -1 at the end of the stream
        self._too_long = False

    def find(self) -> bool:
        """Have the next line in the buffer, reading as need be; return whether there is one."""
        self._too_long = False
        scan = self.start
        while True:
            newline = self._newline = self.buffer.find(b"\n", scan, self.stop)
            if newline == self.start and not self._too_long:
                scan = self._skip_empty()
            elif newline >= 0:
                self._too_long = self._too_long or newline - self.start > self._limit
                if self._too_long:
                    self.start = newline
                return True
            else:
                scan = self._make_room()
                if not self._fill():
                    return self._too_long or self.stop > self.start

    def take(self) -> Line:
        """Return the line that was found."""
        complete = self._newline >= 0
        stop = self._newline if complete else self.stop
        line = Line(
            self.number, self.offset, self.buffer, self.start, stop, complete, self._too_long
        )
        self.skip(1, stop + complete)
        return line

    def skip(self, count: int, start: int) -> None:
        """Pass over `count` lines, up to `buffer[start]`."""
        self.start = start
        self.number += count
        self.offset = self._base + start

    def __iter__(self) -> Iterator[Line]:
        while self.find():
            yield self.take()

    def _skip_empty(self) -> int:
        """Empty lines are nobody's; ten thousand million of them fit into a gzip of 10 MB."""
        end = _EMPTY.match(self.buffer, self.start, self.stop).end()  # type: ignore[union-attr]
        self.skip(end - self.start, end)
        return end

    def _make_room(self) -> int:
        """Make room behind what is there, or let go of a line that is too long; return its end."""
        size = self.stop - self.start
        if self._too_long or size > self._limit:
            self._too_long = True
            self._base += self.stop
            self.start = self.stop = 0
        elif self.start:
            self.buffer[:size] = self.buffer[self.start : self.stop]
            self._base += self.start
            self.start, self.stop = 0, size
        elif self.stop == len(self.buffer):
            # A new buffer: views of the old one may still be held.
            larger = bytearray(min(2 * size, self._limit + CHUNK))
            larger[:size] = self.buffer
            self.buffer = larger
        return self.stop

    def _fill(self) -> int:
        count = self._source.readinto1(memoryview(self.buffer)[self.stop :])
        self.stop += count
        return count
