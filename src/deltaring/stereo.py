"""Stereo: both sides of a session in one file, the user left and the assistant right, on one clock.

Rule: a sample stands where its side's times put it, to the sample, and silence where there is none.
The file is made block by block: memory does not grow with it.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import zip_longest

import numpy as np
from msgspec import Struct

from deltaring.audio import INT16
from deltaring.audiofiles import AudioFiles
from deltaring.resample import resampled
from deltaring.ring import Samples
from deltaring.speech import Speech
from deltaring.tape import BLOCK, Tape
from deltaring.timeline import Timeline

JITTER = 0.1
"""Seconds by which the user's audio may come late and still follow what was before it: one usual
chunk. A microphone does not pause because a network does."""

_MAX_SECONDS = 12 * 3600
"""Of a file: a session ends after an hour, and a clock that was set must not fill the disk."""

_MAX_STRETCHES = 100_000  # of the user's audio: 20 MB of memory; an hour of speech has hundreds
_NOTHING = np.empty(0, INT16)


class Stretch(Struct):
    """Samples of a tape, and when the first of them was heard."""

    tape: Tape
    rate: int
    start: int
    stop: int
    at: float
    """Seconds of the record times."""

    @property
    def end(self) -> float:
        """When the last one was over."""
        return self.at + (self.stop - self.start) / self.rate


class Stereo:
    """Places the user's audio as it comes, and makes the file when all is there."""

    def __init__(self) -> None:
        self._user: list[Stretch] = []
        self._broken = False

    def hear(self, tape: Tape, count: int, time: float | None) -> None:
        """The last `count` samples of a tape of the user's were sent at a time."""
        rate = tape.sample_rate
        if time is None or rate is None or not count:
            return
        last = self._user[-1] if self._user else None
        end = -math.inf if last is None else last.end
        follows = time - end <= JITTER
        if last is not None and follows and last.tape is tape:
            last.stop = tape.samples
        elif len(self._user) < _MAX_STRETCHES:
            at = end if follows else time
            self._user.append(Stretch(tape, rate, tape.samples - count, tape.samples, at))
        else:
            self._broken = True

    def write(
        self, files: AudioFiles, speech: Speech, timeline: Timeline, origin: float | None
    ) -> None:
        """Write the file; what stands against it goes to `files.refused`.

        origin: the record time at which the file begins; None where there is none.
        """
        assistant = _heard(speech, timeline)
        stretches = self._user + assistant
        reason = self._refusal(stretches, timeline, origin)
        if reason:
            files.refused.append(f"stereo.{files.encoding.format}: {reason}")
        elif stretches and origin is not None:
            rate = files.encoding.rate(max(stretch.rate for stretch in stretches))
            if not files.encoding.holds(2 * round(_length(stretches, origin) * rate)):
                files.refused.append("stereo.wav: a WAV holds no more than 4 GiB")
                return
            sides = (_side(side, rate, origin) for side in (self._user, assistant))
            files.write("stereo", _paired(*sides), rate, channels=2)

    def _refusal(self, stretches: list[Stretch], timeline: Timeline, origin: float | None) -> str:
        if timeline.untimed or (stretches and origin is None):
            return "there is audio without a record time, so there is no common clock"
        if self._broken:
            return f"the user's audio has more than {_MAX_STRETCHES} gaps"
        if origin is not None and _length(stretches, origin) > _MAX_SECONDS:
            return "the record times span more than 12 hours"
        return ""


def _heard(speech: Speech, timeline: Timeline) -> list[Stretch]:
    stretches = []
    for serial, item, start, stop in timeline.heard():
        rate, tape = item.sample_rate, speech.tapes.get(serial)
        if rate is not None and tape is not None and start < stop:
            count = min(round((stop - start) * rate), tape.samples)
            stretches.append(Stretch(tape, rate, 0, count, start))
    return stretches


def _length(stretches: list[Stretch], origin: float) -> float:
    return max((stretch.end - origin for stretch in stretches), default=0.0)


def _side(stretches: list[Stretch], rate: int, origin: float) -> Iterator[Samples]:
    """Yield a side from the origin on: silence, and the stretches in their places."""
    position = 0
    for stretch in stretches:
        for block in _silence(round((stretch.at - origin) * rate) - position):
            position += len(block)
            yield block
        blocks = stretch.tape.blocks(stretch.start, stretch.stop)
        for block in resampled(blocks, stretch.rate, rate):
            position += len(block)
            yield block


def _silence(count: int) -> Iterator[Samples]:
    while count > 0:
        yield np.zeros(min(count, BLOCK), INT16)
        count -= BLOCK


def _paired(left: Iterable[Samples], right: Iterable[Samples]) -> Iterator[Samples]:
    """Yield blocks of shape `(n, 2)`; the shorter side ends in silence."""
    for pair in zip_longest(_even(left), _even(right), fillvalue=_NOTHING):
        block = np.zeros((max(map(len, pair)), 2), INT16)
        for side, samples in enumerate(pair):
            block[: len(samples), side] = samples
        yield block


def _even(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Yield the same samples, BLOCK at a time; each array is valid until the next one."""
    whole, filled = np.empty(BLOCK, INT16), 0
    for block in blocks:
        while len(block):
            taken = block[: BLOCK - filled]
            whole[filled : filled + len(taken)] = taken
            filled, block = filled + len(taken), block[len(taken) :]  # noqa: PLW2901
            if filled == BLOCK:
                yield whole
                filled = 0
    if filled:
        yield whole[:filled]
