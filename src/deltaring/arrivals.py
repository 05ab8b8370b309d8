"""Arrivals: when the audio of one response came, and what a player would have made of it.

Rule: every figure is a function of arrival times and lengths alone, to the microsecond, as
docs/metrics.md defines it. Nothing is assumed of a network or a device.

A delta here is one that brought samples. `times` are seconds of any one clock, `seconds` the
lengths of the deltas: two arrays of float64 of the same shape (n,).
"""

from array import array
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Seconds: TypeAlias = NDArray[np.float64]

_DIGITS = 6
"""Unix times of our days, as floats, have a step of 0.24 us: what is less than 1 us is rounding,
and would make a stall of each delta that comes exactly in time."""

_FEWEST = 3  # deltas that have a jitter: of a single gap the pace is the gap itself


def jitter(times: Seconds, seconds: Seconds) -> Seconds:
    """Return how far each gap between two deltas is from even delivery, in seconds, shape (n - 1,).

    `|gap - pace * length of the earlier delta|`, with the pace at which the response came: the sum
    of the gaps over that of these lengths. In order of arrival; empty for fewer than three deltas.
    """
    if len(times) < _FEWEST:
        return np.empty(0)
    gaps, lengths = np.diff(times), seconds[:-1]
    pace = gaps.sum() / lengths.sum()
    samples: Seconds = np.abs(gaps - pace * lengths)
    return samples.round(_DIGITS)


def needed_buffer(times: Seconds, seconds: Seconds) -> float:
    """Return the shortest delay after the first delta from which playback never runs dry.

    In seconds; deltas in the order in which they are played, at least one.
    """
    return float(_late(times, seconds).max())


def stalls(times: Seconds, seconds: Seconds, buffer: float) -> Seconds:
    """Return how long a player stalled that starts `buffer` seconds after the first delta.

    It plays the deltas in the given order; where the next one is not there, it is silent until that
    comes, and goes on at once. In seconds, one for each stall, in order; together they last as long
    as the buffer is too short: `max(0, needed_buffer - buffer)`.
    """
    late = np.append(round(buffer, _DIGITS), _late(times, seconds))
    lengths: Seconds = np.diff(np.maximum.accumulate(late))  # each stall moves what follows
    return lengths[lengths > 0].round(_DIGITS)


def _late(times: Seconds, seconds: Seconds) -> Seconds:
    """How long after its turn each delta came, had playing begun with the first one."""
    late: Seconds = times - times[0] - (np.cumsum(seconds) - seconds)
    return late.round(_DIGITS)


class Arrivals:
    """The deltas of one response, in order of arrival: 16 bytes each, 40 if the track changes."""

    def __init__(self) -> None:
        self._times, self._samples = array("d"), array("q")
        # Of those that came one after the other for one track: its serial, its rate, how many.
        self._tracks, self._rates, self._counts = array("q"), array("d"), array("q")

    def __len__(self) -> int:
        return len(self._times)

    def add(self, track: int, rate: float, times: ArrayLike, samples: ArrayLike) -> None:
        """Take deltas of the track with that serial.

        rate: samples per second, nan where unknown.
        times, samples: when each came, nan where unknown, and how many it brought; shape (n,).
        """
        before = len(self)
        self._times.frombytes(np.asarray(times, np.float64).tobytes())
        self._samples.frombytes(np.asarray(samples, np.int64).tobytes())
        if not self._tracks or self._tracks[-1] != track:
            self._tracks.append(track)
            self._rates.append(rate)
            self._counts.append(0)
        self._counts[-1] += len(self) - before

    @property
    def audio(self) -> float:
        """Seconds of audio; nan where the length of a delta is unknown."""
        return float(self.seconds.sum())

    @property
    def known(self) -> bool:
        """There are deltas, and all of them have times and lengths."""
        return len(self) > 0 and not np.isnan(self.times + self.seconds).any()

    @property
    def times(self) -> Seconds:
        """In order of arrival."""
        return np.array(self._times)

    @property
    def seconds(self) -> Seconds:
        """In order of arrival."""
        seconds: Seconds = np.array(self._samples) / np.repeat(self._rates, self._counts)
        return seconds

    def played(self) -> tuple[Seconds, Seconds]:
        """Return times and lengths in the order of playing: track after track, as they opened."""
        order = np.argsort(np.repeat(self._tracks, self._counts), kind="stable")
        return self.times[order], self.seconds[order]
