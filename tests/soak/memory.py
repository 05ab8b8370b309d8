"""Memory: what a process holds, and by how much that grows once it is warm.

Rule: the resident set is what the system counts (/proc/PID/statm): Python's heap, C's, and every
page of a ring that was ever touched. Nothing is collected for the measurement's sake: the garbage
collector runs when it runs, as in an agent.

Python takes its heap from the system by the MiB, so a bound of one needs a finer measure:
tracemalloc's sum of what is allocated, which takes twice the time.
"""

import os
import tracemalloc
from pathlib import Path

MIB = 1 << 20


def resident(process: int | str = "self") -> int:
    """Return the bytes of a process that are in memory now."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(process: int | str = "self") -> int:
    """Return how many file descriptors a process has."""
    return len(os.listdir(f"/proc/{process}/fd"))


class Watch:
    """The memory of one process from now on."""

    def __init__(self, process: int | str = "self") -> None:
        self._process = process
        self.start = self.warm = self.most = self.end = self._now()
        self.is_warm = False

    def _now(self) -> int:
        return resident(self._process)

    def look(self) -> int:
        """Look once, which takes 20 us; return the bytes."""
        self.end = self._now()
        self.most = max(self.most, self.end)
        return self.end

    def warm_up(self) -> None:
        """From here on, growth counts."""
        self.warm = self.most = self.look()
        self.is_warm = True

    @property
    def grown(self) -> int:
        """Bytes from the warm-up to the most since."""
        return self.most - self.warm

    def __str__(self) -> str:
        figures = (self.start, self.warm, self.most, self.end)
        start, warm, most, end = (f"{figure / MIB:.1f}" for figure in figures)
        grown = f"{self.grown / MIB:+.2f}"
        return f"{start} MiB at the start, {warm} warm, {most} at most, {end} at the end: {grown}"


class HeapWatch(Watch):
    """What this process has allocated from now on, in Python's heap and numpy's, to the byte."""

    def __init__(self) -> None:
        tracemalloc.start()
        super().__init__()

    def _now(self) -> int:
        return tracemalloc.get_traced_memory()[0]

    def close(self) -> None:
        """Trace no more."""
        tracemalloc.stop()
