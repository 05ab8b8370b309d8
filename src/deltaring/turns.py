"""Turns: who spoke when, and how long it took until an answer was heard.

Rule: a turn is made of what the server said and when the caller says that it came; no clock is
read. Where times are not given, there are turns without times.

A turn begins where the user begins to speak (or, without voice detection, where the input buffer is
committed, or a response is created unasked). Responses that bring no audio, as those that only call
a function, do not end it: the user is still waiting.
"""

from collections import deque
from itertools import islice

from msgspec import Struct

from deltaring.audio import INT16
from deltaring.ring import Samples
from deltaring.track import AudioDelta, Track

AUDIBLE = 328
"""Sample value (1 % of full scale, -40 dBFS) from which audio counts as heard: the noise before the
first word is below a third of that in recorded replies."""

_RECENT = 16  # turns whose responses may still bring audio


class Turn(Struct):
    """One exchange. Times are those given to `Session.apply`, in seconds; None where unknown."""

    item_id: str = ""
    """Of the user's speech."""
    speech_started: float | None = None
    speech_stopped: float | None = None
    committed: float | None = None
    response_id: str = ""
    """Of the latest response."""
    responses: int = 0
    """How many there were: those before the last brought no audio."""
    response_created: float | None = None
    """The first one."""
    first_audio: float | None = None
    """The first delta with samples came."""
    audible: float | None = None
    """When the first sample of at least AUDIBLE could be heard, if playing began with the first
    delta and went on: that, and the samples before it; or when it came, if that is later."""
    response_done: float | None = None
    """The last one."""
    interrupted: float | None = None
    """The user began to speak while the response was not done."""
    quiet: bool = True
    """No sample was audible so far."""

    @property
    def asked(self) -> float | None:
        """When the user had said all: speech stopped, else the commit, else the first response."""
        for time in (self.speech_stopped, self.committed, self.response_created):
            if time is not None:
                return time
        return None

    @property
    def to_first_audio(self) -> float | None:
        """Seconds from `asked` to the first audio."""
        return _between(self.asked, self.first_audio)

    @property
    def to_audible(self) -> float | None:
        """Seconds from `asked` to the first audible sample."""
        return _between(self.asked, self.audible)


def _between(start: float | None, stop: float | None) -> float | None:
    return None if start is None or stop is None else stop - start


class Turns:
    """The turns of a session: the last `most`."""

    def __init__(self, most: int) -> None:
        self.turns: deque[Turn] = deque(maxlen=most)
        self.forgotten = 0
        """Turns that had to go."""
        self.settled: Track | None = None
        """The track whose further deltas tell nothing new."""
        self._first: Track | None = None  # of the turn's audio
        self._closed = True  # the next event opens a turn

    def _current(self) -> Turn:
        if self._closed:
            self.forgotten += len(self.turns) == self.turns.maxlen
            self.turns.append(Turn())
            self.settled = self._first = None
            self._closed = False
        return self.turns[-1]

    def close(self) -> None:
        """A new session: nothing that comes belongs to an earlier turn."""
        self._closed = True

    def speech_started(self, item_id: str, at: float | None) -> None:
        """The user begins to speak; an answer that is not done is interrupted."""
        if self._is_answered() and self.turns[-1].response_done is None:
            self.turns[-1].interrupted = at
        self._close_if_answered()
        turn = self._current()
        turn.item_id = item_id
        if turn.speech_started is None:
            turn.speech_started = at

    def speech_stopped(self, item_id: str, at: float | None) -> None:
        """The user has paused; if they go on before an answer, the last pause counts."""
        self._close_if_answered()
        turn = self._current()
        turn.item_id = item_id or turn.item_id
        turn.speech_stopped = at

    def committed(self, item_id: str, at: float | None) -> None:
        """The input buffer has become an item."""
        self._close_if_answered()
        turn = self._current()
        turn.item_id = item_id or turn.item_id
        turn.committed = at

    def _is_answered(self) -> bool:
        return not self._closed and (self.turns[-1].responses > 0 or self._first is not None)

    def _close_if_answered(self) -> None:
        self._closed = self._closed or self._is_answered()

    def response_created(self, response_id: str, at: float | None) -> None:
        """The model begins to answer."""
        if not self._closed and self._first is not None:
            self._closed = True
        turn = self._current()
        turn.responses += 1
        turn.response_id = response_id
        turn.response_done = None
        if turn.response_created is None:
            turn.response_created = at

    def response_done(self, response_id: str, at: float | None) -> None:
        """The model has answered, or was stopped."""
        if self.turns and self.turns[-1].response_id == response_id:
            self.turns[-1].response_done = at

    def audio(self, event: AudioDelta, at: float | None) -> None:
        """Audio came: the first of a turn is what the user waits for."""
        if event.track is self.settled or event.stop == event.start:
            return
        if self._is_late(event.response_id):
            self.settled = event.track
            return
        turn = self._current()
        if self._first is None:
            self._first = event.track
            turn.first_audio = at
        if event.track is self._first and turn.quiet:
            self._listen(turn, event, at)
        else:
            self.settled = event.track

    def _is_late(self, response_id: str) -> bool:
        """Whether an earlier turn had that response."""
        earlier = islice(reversed(self.turns), 0 if self._closed else 1, _RECENT)
        return bool(response_id) and any(turn.response_id == response_id for turn in earlier)

    def _listen(self, turn: Turn, event: AudioDelta, at: float | None) -> None:
        """Look for the first audible sample, in the samples that have just come."""
        position = event.start
        for region in event.track.ring.recent(event.start, event.stop - event.dropped):
            loud = _first_loud(region)
            if loud is not None:
                turn.quiet = False
                self.settled = event.track
                if at is not None and turn.first_audio is not None:
                    rate = event.track.sample_rate or 1
                    turn.audible = max(at, turn.first_audio + (position + loud) / rate)
                return
            position += len(region)


def _first_loud(samples: Samples) -> int | None:
    """Return the index of the first audible sample; None where there is none, or no telling."""
    if samples.dtype != INT16:
        return None
    loud = (samples >= AUDIBLE) | (samples <= -AUDIBLE)
    index = int(loud.argmax()) if len(loud) else 0
    return index if len(loud) and loud[index] else None
