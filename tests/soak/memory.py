"""Memory: what a process holds, and by how much that grows once it is warm.

Rule: the resident set is what the system counts (/proc/PID/statm): Python's heap, C's, and every
page of a ring that was ever touched. Nothing is collected for the measurement's sake: the garbage
collector runs when it runs, as in an agent.
"""

import os
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
        self.start = self.warm = self.most = self.end = resident(process)
        self.is_warm = False

    def look(self) -> int:
        """Look once, which takes 20 us; return the bytes."""
        self.end = resident(self._process)
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
