"""Turns: who spoke when, and how long it took until an answer was heard.

Rule: a turn is made of what the server said and when the caller says that it came; no clock is
read. Where times are not given, there are turns without times.

A turn begins where the user begins to speak (or, without voice detection, where the input buffer is
committed, or a response is created unasked). A response that only calls a function does not end it:
the user is still waiting.
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
        self._heard: Track | None = None  # that the turn's audio came for last
        self._before: Track | None = None  # the same of the turn before
        self._seconds = 0.0  # of the turn's audio so far, as long as none was audible
        self._done: deque[str] = deque(maxlen=_RECENT)  # responses that are
        self._closed = True  # the next event opens a turn

    def _current(self) -> Turn:
        if self._closed:
            self.forgotten += len(self.turns) == self.turns.maxlen
            self.turns.append(Turn())
            self._before, self._heard = self._heard or self._before, None
            self.settled, self._seconds = None, 0.0
            self._closed = False
        return self.turns[-1]

    def close(self) -> None:
        """A new session: nothing that comes belongs to an earlier turn."""
        self._closed = True
        self._done.clear()

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
        return not self._closed and (self.turns[-1].responses > 0 or self._heard is not None)

    def _close_if_answered(self) -> None:
        self._closed = self._closed or self._is_answered()

    def response_created(self, response_id: str, at: float | None) -> None:
        """The model begins to answer."""
        if not self._closed and self._heard is not None:
            self._closed = True
        if response_id in self._done:  # a server that has one id for all
            self._done.remove(response_id)
        turn = self._current()
        turn.responses += 1
        turn.response_id = response_id
        turn.response_done = None
        if turn.response_created is None:
            turn.response_created = at

    def response_done(self, response_id: str, at: float | None, *, answered: bool) -> None:
        """A response is over. answered: it was completed, and asked for no function or tool."""
        if response_id:
            self._done.append(response_id)
        for turn in islice(reversed(self.turns), _RECENT):
            if turn.responses and turn.response_id == response_id:
                turn.response_done = at
                break
        if self._is_answered() and self._heard is None and answered:
            self._closed = True  # in writing

    def audio(self, event: AudioDelta, at: float | None) -> None:
        """Audio came: the first of a turn is what the user waits for."""
        if event.track is self.settled or event.stop == event.start:
            return
        if self._is_late(event):
            if event.response_id:  # without one, the track may be the next answer's as well
                self.settled = event.track
            return
        turn = self._current()
        if self._heard is None:
            turn.first_audio = at
        self._heard = event.track
        if turn.quiet and event.track.ring.dtype == INT16:
            self._listen(turn, event, at)
        else:
            self.settled = event.track

    def _is_late(self, event: AudioDelta) -> bool:
        """Whether it belongs to an earlier answer, which may go on a while after a barge-in."""
        response_id = event.response_id
        if self._is_asking() and event.track is self._before:
            return True
        if not response_id:
            return False
        if response_id in self._done:
            return True
        if not self._closed and self.turns[-1].response_id == response_id:
            return False
        earlier = islice(reversed(self.turns), 0 if self._closed else 1, _RECENT)
        return any(turn.response_id == response_id for turn in earlier)

    def _is_asking(self) -> bool:
        """Whether the user is at it: what comes then for the last track is of the answer before."""
        if self._closed:
            return False
        turn = self.turns[-1]
        return not turn.responses and turn.speech_stopped is None and turn.committed is None

    def _listen(self, turn: Turn, event: AudioDelta, at: float | None) -> None:
        """Look for the first audible sample, in the samples that have just come."""
        rate = event.track.sample_rate or 1
        position = 0
        for region in event.track.ring.recent(event.start, event.stop - event.dropped):
            loud = _first_loud(region)
            if loud is not None:
                turn.quiet = False
                self.settled = event.track
                if at is not None and turn.first_audio is not None:
                    seconds = self._seconds + (position + loud) / rate
                    turn.audible = max(at, turn.first_audio + seconds)
                return
            position += len(region)
        self._seconds += (event.stop - event.start) / rate


def _first_loud(samples: Samples) -> int | None:
    """Return the index of the first audible sample; None where there is none."""
    loud = (samples >= AUDIBLE) | (samples <= -AUDIBLE)
    index = int(loud.argmax()) if len(loud) else 0
    return index if len(loud) and loud[index] else None
