"""Inbox: what a client has sent, so far as a script may wait for it.

Rule: it holds counts and no frames, so that nothing a client sends makes it grow. Time is given to
it.
"""

from collections import Counter

from deltaring.script import ClientEvent, Wait

PAUSE = 1.0
"""Seconds without audio after which a client has ended its turn: longer than any chunking or
network makes them, shorter than a person cares to wait."""

SILENCE = 5.0
"""Seconds without audio after which even the rest of an earlier sentence has to do: a client that
spoke its next turn without a pause would be waited for in vain."""

_MAX_TYPES = 256  # types of events that are counted: the protocol has some twenty


class Inbox:
    """The events that a client has sent and that no `Wait` has used up."""

    def __init__(self) -> None:
        self._events: Counter[str] = Counter()
        self._voice = _Voice()

    def take(self, event: ClientEvent, now: float) -> None:
        """Take an event that came at `now`, in seconds of any monotonic clock."""
        if event.appends:
            self._voice.append(event.audio_bytes, now)
            return
        if event.ends_turn:
            self._voice.fall_silent()
        if event.type in self._events or len(self._events) < _MAX_TYPES:
            self._events[event.type] += 1

    def satisfies(self, wait: Wait, now: float) -> bool:
        """Whether all that is waited for has come."""
        return wait.events <= self._events and (
            not wait.audio or self._voice.has_said(wait.audio, now)
        )

    def use(self, wait: Wait) -> None:
        """Use up what was waited for: the next such event counts for the next `Wait`."""
        self._events -= wait.events
        if wait.spent:
            self._voice.end_turn(wait.spent)


class _Voice:
    """Appended audio, in bursts: those without a pause between them.

    A client may have more to say than the recording has, so the rest of a burst in which a turn
    ended counts for the next turn only while it goes on, as it does where a microphone is always
    on.
    """

    def __init__(self) -> None:
        self._said = 0
        """Bytes that count for this turn."""
        self._rest = 0
        """Bytes that count for it until the client pauses."""
        self._fresh = False
        """The client has started a burst in this turn."""
        self._last = float("-inf")

    def append(self, count: int, now: float) -> None:
        if self._paused(now):
            self._fresh, self._rest = True, 0
        if self._fresh:
            self._said += count
        else:
            self._rest += count
        self._last = now

    def fall_silent(self) -> None:
        """Pause at once: the client has said that this was all."""
        self._last = float("-inf")

    def has_said(self, count: int, now: float) -> bool:
        """Whether there are so many bytes, or something and then a pause."""
        if self._paused(now):
            waited = bool(self._rest) and now - self._last >= SILENCE
            return self._fresh or waited or self._said >= count
        return self._said + self._rest >= count

    def end_turn(self, count: int) -> None:
        self._said = max(0, self._said + self._rest - count)
        self._rest, self._fresh = 0, False

    def _paused(self, now: float) -> bool:
        return now - self._last >= PAUSE
