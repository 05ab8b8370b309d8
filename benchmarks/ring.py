"""Time of one write and one read of 250 ms, inside the memory and around its end."""

import numpy as np

import deltaring

COUNT = 6_000  # samples


class Ring:
    """A write and a read; `wrap`: each goes around the end of the ring's memory."""

    params = [False, True]
    param_names = ("wrap",)

    def setup(self, wrap: bool) -> None:
        # A sample that stays unread keeps the ring from starting again at the beginning, and with
        # this capacity each write of COUNT wraps.
        self.ring = deltaring.AudioRing(COUNT + 1 if wrap else 10 * COUNT)
        self.samples = np.arange(COUNT, dtype=np.int16)
        self.out = np.empty(COUNT, np.int16)
        if wrap:
            self.ring.write(self.samples[:1])

    def time_write_clear(self, wrap: bool) -> None:
        self.ring.write(self.samples)
        self.ring.advance(COUNT)

    def time_write_read_into(self, wrap: bool) -> None:
        self.ring.write(self.samples)
        self.ring.read_into(self.out)

    def time_write_regions_commit(self, wrap: bool) -> None:
        first, second = self.ring.write_regions(COUNT)
        first[:] = self.samples[: len(first)]
        second[:] = self.samples[len(first) :]
        self.ring.commit(COUNT)
        self.ring.advance(COUNT)
