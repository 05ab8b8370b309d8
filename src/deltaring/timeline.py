"""Timeline: when each side spoke and was heard, on the clock of the record times.

Rule: the assistant is heard as a player that begins with the first delta would play it: one item
after the other, without gaps, until the user interrupts. What has no time has no place.
"""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import Struct

from deltaring.conversation import MAX_ID
from deltaring.events import (
    ConversationItemTruncated,
    InputAudioBufferCleared,
    InputAudioBufferCommitted,
    InputAudioBufferSpeechStarted,
    InputAudioBufferSpeechStopped,
    ResponseAudioTranscriptDone,
    ResponseOutputAudioTranscriptDone,
    ResponseOutputTextDone,
    ResponseTextDone,
)
from deltaring.run import Run
from deltaring.speech import SpokenItem
from deltaring.track import Key, Track
from deltaring.usage import is_number

_MAX_TIMED = 10_000
"""Items of the user, and texts, whose times are kept; a session of an hour has hundreds."""

Span = tuple[float, float]
"""From when to when, in seconds of the record times."""


class Heard(NamedTuple):
    """What was heard of one track."""

    serial: int
    item: SpokenItem
    start: float
    stop: float


class _Voice(Struct):
    """A track that has audio."""

    serial: int
    item: SpokenItem
    time: float
    """When its first delta came."""
    interrupted: float = math.inf
    """When the user first spoke after that."""
    truncated: float = math.inf
    """Seconds of its audio that the client says were heard."""


class Timeline:
    """Takes what a Session takes, with the same times."""

    def __init__(self) -> None:
        self._voices: dict[int, _Voice] = {}
        self._newest: dict[tuple[str, int], _Voice] = {}
        self._uninterrupted: list[_Voice] = []
        self._appended: float | None = None  # when the first audio of the input buffer was sent
        self.untimed = False
        """Some audio has no time."""
        self.spoken: dict[str, Span] = {}
        """When the user spoke, by item id."""
        self.texts: dict[Key, float] = {}
        """When a text of the assistant was final, by response id, item id and content index."""

    def audio(self, track: Track, item: SpokenItem, time: float | None) -> None:
        """Audio of a track came. item: what will hold all of its samples."""
        if track.serial in self._voices:
            return
        if time is None or math.isnan(time):
            self.untimed, time = True, math.nan
        voice = self._voices[track.serial] = _Voice(track.serial, item, time)
        self._newest[item.item_id, item.content_index] = voice
        self._uninterrupted.append(voice)

    def run(self, run: Run, item: Callable[[Track], SpokenItem]) -> None:
        """Take a run of audio deltas. item: returns that of a track."""
        for track in run.tracks:
            if track.serial not in self._voices:
                first = (run.rows["track"] == track.serial).argmax()
                self.audio(track, item(track), float(run.rows["time"][first]))

    def appended(self, time: float | None) -> None:
        """The client sent audio."""
        self.untimed = self.untimed or time is None
        if self._appended is None:
            self._appended = time

    def take(self, event: object, time: float | None) -> None:
        """Take an event that is no audio delta."""
        handler = _HANDLERS.get(type(event))
        if handler is not None and time is not None:
            handler(self, event, time)

    def heard(self) -> list[Heard]:
        """Return what was heard of the assistant's audio, in order, as far as it has times."""
        heard: list[Heard] = []
        cut: set[str] = set()
        end = -math.inf
        for voice in self._voices.values():
            if math.isnan(voice.time):
                continue
            item = voice.item
            start = max(voice.time, end)
            whole = start + item.seconds
            stop = min(whole, start + voice.truncated)
            if voice.truncated == math.inf:
                stop = start if item.response_id in cut else min(whole, voice.interrupted)
            end = max(start, stop)
            if end < whole and item.response_id:
                cut.add(item.response_id)
            heard.append(Heard(voice.serial, item, start, end))
        return heard

    # --- what the events say ------------------------------------------------------------------

    def _speech_started(self, event: InputAudioBufferSpeechStarted, time: float) -> None:
        for voice in self._uninterrupted:
            voice.interrupted = time
        self._uninterrupted.clear()
        self._speak(event.item_id, (time, time))

    def _speech_stopped(self, event: InputAudioBufferSpeechStopped, time: float) -> None:
        item_id = event.item_id or ""
        self._speak(item_id, (self.spoken.get(item_id, (time, time))[0], time))

    def _committed(self, event: InputAudioBufferCommitted, time: float) -> None:
        """Without voice detection, the item is what was sent since the last one."""
        if event.item_id not in self.spoken:
            self._speak(event.item_id, (time if self._appended is None else self._appended, time))
        self._appended = None

    def _speak(self, item_id: str, span: Span) -> None:
        known = item_id in self.spoken or len(self.spoken) < _MAX_TIMED
        if item_id and len(item_id) <= MAX_ID and known:
            self.spoken[item_id] = span

    def _cleared(self, event: InputAudioBufferCleared, time: float) -> None:
        self._appended = None

    def _truncated(self, event: ConversationItemTruncated, time: float) -> None:
        voice = self._newest.get((event.item_id, event.content_index))
        stated: Any = event.audio_end_ms  # as the server has it, where that is no integer
        if voice is not None and is_number(stated) and stated >= 0:
            voice.truncated = stated / 1e3

    def _text(self, event: Any, time: float) -> None:
        key = event.response_id, event.item_id, event.content_index
        if len(self.texts) < _MAX_TIMED and sum(map(len, key[:2])) <= MAX_ID:
            self.texts[key] = time


_HANDLERS: Final[dict[type, Callable[[Timeline, Any, float], None]]] = {
    InputAudioBufferSpeechStarted: Timeline._speech_started,
    InputAudioBufferSpeechStopped: Timeline._speech_stopped,
    InputAudioBufferCommitted: Timeline._committed,
    InputAudioBufferCleared: Timeline._cleared,
    ConversationItemTruncated: Timeline._truncated,
    ResponseAudioTranscriptDone: Timeline._text,
    ResponseOutputAudioTranscriptDone: Timeline._text,
    ResponseTextDone: Timeline._text,
    ResponseOutputTextDone: Timeline._text,
}
