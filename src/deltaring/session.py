"""Session: what a Realtime session is in, from its events: a reducer that can be replayed.

Rule: the same events with the same times give the same state, whoever applies them and when. It
reads no clock and does no I/O. Everything is bounded, and what had to go is counted: texts before
items and responses, the oldest before the newest.
"""

import math
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from deltaring.audio import stated_format
from deltaring.conversation import MAX_ID, Conversation, Item
from deltaring.decoder import Decoder
from deltaring.events import (
    ConversationItemAdded,
    ConversationItemCreated,
    ConversationItemDeleted,
    ConversationItemDone,
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemRetrieved,
    ConversationItemTruncated,
    ErrorEvent,
    InputAudioBufferCommitted,
    InputAudioBufferSpeechStarted,
    InputAudioBufferSpeechStopped,
    RateLimit,
    RateLimitsUpdated,
    ResponseCreated,
    ResponseDone,
    ResponseOutputItemAdded,
    ResponseOutputItemDone,
    ServerEvent,
    SessionCreated,
    SessionInfo,
    SessionUpdated,
    TranscriptionSessionCreated,
    TranscriptionSessionUpdated,
    field_of,
    text_of,
)
from deltaring.frame import Frame
from deltaring.run import Run
from deltaring.track import AudioDelta, Track
from deltaring.transcript import CALLS, Transcript
from deltaring.turns import Turns
from deltaring.usage import add_usage, is_number, stated_usage

MAX_ITEMS = 1_024
"""A session lasts an hour at most, which has some hundreds of items."""

MAX_RESPONSES = 1_024
MAX_TURNS = 1_024
MAX_ERRORS = 64
MAX_RATE_LIMITS = 64

MAX_TEXT = 1 << 20
"""Characters of the transcript; a spoken hour has some 60,000."""

_MAX_BILLS = 16_384  # responses and transcriptions of which it is known that they were counted
_TOLD = ["time", "track", "start", "stop", "dropped"]  # of a row of a run
_MAX_MESSAGE = 1_000  # characters of an error's text


class Response(Struct):
    """One response. Times are those given to `apply`; None where unknown."""

    id: str = ""
    status: str = ""
    """in_progress, completed, cancelled, incomplete, failed"""
    reason: str = ""
    """Why it was not completed: turn_detected, max_output_tokens, an error's code, ..."""
    conversation_id: str = ""
    created: float | None = None
    first_audio: float | None = None
    done: float | None = None
    usage: dict[str, Any] | None = None
    """Tokens, nested as on the wire; None before it is done, or where the server says nothing."""


class SessionError(Struct):
    """An `error` event."""

    at: float | None
    type: str
    code: str
    message: str
    event_id: str
    """Of the client's event that caused it."""


class Session:
    """The state of a session, after the events it was given.

        session = deltaring.Session(deltaring.Decoder())
        async for frame in connection:
            event = session.receive(frame, time.time())

    Used by one thread at a time.
    """

    def __init__(
        self,
        decoder: Decoder | None = None,
        *,
        max_items: int = MAX_ITEMS,
        max_responses: int = MAX_RESPONSES,
        max_text: int = MAX_TEXT,
    ) -> None:
        """Begin without any state.

        decoder: what `receive` decodes with; a new one with default options unless given.
        max_items, max_responses, max_text: how many conversation items, responses and characters of
            transcript are kept.
        """
        self.decoder = Decoder() if decoder is None else decoder
        self._max_responses = max_responses
        self._responses: dict[str, Response] = {}
        self._heard: Track | None = None  # whose first audio is noted
        self._newest = Response()  # where the server gives responses no ids
        self._gone = Counter[str]()
        self._billed: dict[int, None] = {}  # hashes of what this epoch's usage was counted for
        self.epoch = 0
        """How many sessions there were: a session.created begins one."""
        self.config: SessionInfo | dict[str, Any] | None = None
        """What the server last said the session is; a dict where a part did not fit."""
        self.input_format: tuple[str, object] | None = None
        """The user's audio, as `(name, rate)` of the server's own words; None before it is said."""
        self.output_format: tuple[str, object] | None = None
        """The same for the model's; a response may state another one."""
        self.conversation = Conversation(max_items)
        self.transcript = Transcript(max_text)
        """What was said by both sides, while it streams and when it is final; calls included."""
        self.latencies = Turns(MAX_TURNS)
        self.usage: dict[str, Any] = {}
        """Tokens of all responses, summed field by field; cached ones are part of the input."""
        self.transcription_usage: dict[str, Any] = {}
        """The same for the transcription of the user's audio, seconds where that is the unit."""
        self.rate_limits: dict[str, RateLimit] = {}
        """The last word on each, by name."""
        self.errors: deque[SessionError] = deque(maxlen=MAX_ERRORS)
        self.error_count = 0

    # --- events in ----------------------------------------------------------------------------

    def receive(self, frame: Frame, at: float | None = None) -> ServerEvent | AudioDelta:
        """Decode a frame and apply its event, which is returned. Raises as `Decoder.decode`."""
        return self.apply(self.decoder.decode(frame), at)

    def apply(
        self, event: ServerEvent | AudioDelta, at: float | None = None
    ) -> ServerEvent | AudioDelta:
        """Take an event, and return it.

        at: when it came, in seconds of any one clock; None where that is not known. An audio delta
            must be applied before the next frame is decoded, as its samples are looked at.
        """
        if type(event) is AudioDelta:
            self._audio(event, at)
            return event
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event, at)
        self.transcript.take(event, at)
        return event

    def apply_run(self, run: Run) -> None:
        """Take the audio deltas that `Decoder.scan` took, with their times, as `apply` would each.

        Before the next frame or run is decoded, as their samples are looked at.
        """
        if run.tracks == [self.latencies.settled] == [self._heard]:
            return
        tracks = {track.serial: track for track in run.tracks}
        for time, serial, start, stop, dropped in run.rows[_TOLD].tolist():
            track = tracks[serial]
            if not self._is_settled(track):
                at = None if math.isnan(time) else time
                self._audio(AudioDelta("", "", track, 0, start, stop, dropped), at)

    # --- state out ----------------------------------------------------------------------------

    @property
    def items(self) -> list[Item]:
        """The conversation's items in order, deleted ones included."""
        return self.conversation.items

    @property
    def responses(self) -> list[Response]:
        """The responses of this epoch, in the order in which they were created."""
        return list(self._responses.values())

    def response(self, response_id: str) -> Response | None:
        """Return the response of that id, if there is one."""
        return self._responses.get(response_id)

    @property
    def forgotten(self) -> dict[str, int]:
        """What had to go because a bound was reached, by kind; empty where nothing had."""
        counts = {
            "items": self.conversation.forgotten,
            "turns": self.latencies.forgotten,
            "errors": self.error_count - len(self.errors),
            "text": self.transcript.left_out,
            **self._gone,
        }
        return {kind: count for kind, count in counts.items() if count}

    # --- what the events say ------------------------------------------------------------------

    def _session_created(self, event: Any, at: float | None) -> None:
        self.epoch += 1
        self.conversation.clear()
        self._responses.clear()
        self._billed.clear()
        self._newest = Response()
        self.latencies.close()
        self.input_format = self.output_format = None
        self._session_updated(event, at)

    def _session_updated(self, event: Any, at: float | None) -> None:
        config = self.config = event.session
        audio, flat = field_of(config, "audio"), field_of(config, "input_audio_format")
        self.input_format = stated_format(audio, flat, "input") or self.input_format
        flat = field_of(config, "output_audio_format")
        self.output_format = stated_format(audio, flat, "output") or self.output_format

    def _item(self, event: Any, at: float | None) -> Item | None:
        item_id = text_of(event.item, "id")
        item = self.conversation.place(item_id, getattr(event, "previous_item_id", None), at)
        if item is not None:
            self.conversation.describe(item, event.item, getattr(event, "response_id", ""))
            if item.status == "completed" and item.done is None:
                item.done = at
        return item

    def _item_created(self, event: ConversationItemCreated, at: float | None) -> None:
        """Beta's one event for an item of the user's, and for one that has only begun."""
        if text_of(event.item, "status") == "in_progress":
            self._item(event, at)
        else:
            self._item_done(event, at)

    def _item_done(self, event: Any, at: float | None) -> None:
        item = self._item(event, at)
        if item is not None and item.done is None:
            item.done = at

    def _item_deleted(self, event: ConversationItemDeleted, at: float | None) -> None:
        item = self.conversation.item(event.item_id)
        if item is not None:
            item.deleted = True

    def _item_truncated(self, event: ConversationItemTruncated, at: float | None) -> None:
        item = self.conversation.item(event.item_id)
        if item is not None:
            end: Any = event.audio_end_ms  # it may be anything where the event did not fit
            item.audio_end_ms = round(end) if is_number(end) and end >= 0 else None

    def _speech_started(self, event: InputAudioBufferSpeechStarted, at: float | None) -> None:
        self.latencies.speech_started(event.item_id[:MAX_ID], at)

    def _speech_stopped(self, event: InputAudioBufferSpeechStopped, at: float | None) -> None:
        self.latencies.speech_stopped(text_of(event, "item_id")[:MAX_ID], at)

    def _committed(self, event: InputAudioBufferCommitted, at: float | None) -> None:
        self.conversation.place(event.item_id, event.previous_item_id, at)
        self.latencies.committed(event.item_id[:MAX_ID], at)

    def _transcribed(
        self, event: ConversationItemInputAudioTranscriptionCompleted, at: float | None
    ) -> None:
        if self._is_new_bill(event.item_id, event.content_index):
            add_usage(self.transcription_usage, stated_usage(event.usage))

    def _response_created(self, event: ResponseCreated, at: float | None) -> None:
        response = self._response(text_of(event.response, "id"), new=True)
        response.created = at if response.created is None else response.created
        self._describe(response, event.response)
        self.latencies.response_created(response.id, at)

    def _response(self, response_id: str, *, new: bool = False) -> Response:
        """Return the response of that id, entered where it is new; without an id, the newest."""
        if not response_id:
            self._newest = Response() if new else self._newest
            return self._newest
        response = self._responses.get(response_id)
        if response is None:
            response = Response(response_id[:MAX_ID])
            if len(response_id) <= MAX_ID:
                self._responses[response_id] = response
            if len(response_id) > MAX_ID or len(self._responses) > self._max_responses:
                self._gone["responses"] += 1
            if len(self._responses) > self._max_responses:
                del self._responses[next(iter(self._responses))]
        return response

    def _describe(self, response: Response, stated: Any) -> None:
        response.status = text_of(stated, "status")[:MAX_ID] or response.status
        conversation = text_of(stated, "conversation_id")[:MAX_ID]
        response.conversation_id = conversation or response.conversation_id
        response.reason = _reason(field_of(stated, "status_details")) or response.reason

    def _response_done(self, event: ResponseDone, at: float | None) -> None:
        response_id = text_of(event.response, "id")
        response = self._response(response_id)
        self._describe(response, event.response)
        usage = stated_usage(field_of(event.response, "usage")) or stated_usage(event.usage)
        if usage and (not response_id or self._is_new_bill(response_id)):
            response.usage = usage
            add_usage(self.usage, usage)
        if response.done is None:
            response.done = at
        if not response_id:
            self._newest = Response()
        output = field_of(event.response, "output")
        calls = isinstance(output, list) and any(text_of(it, "type") in CALLS for it in output)
        answered = response.status == "completed" and not calls
        self.latencies.response_done(response.id, at, answered=answered)

    def _is_new_bill(self, *what: object) -> bool:
        """Whether usage of that was not counted yet: events may come twice."""
        key = hash(what)
        if key in self._billed:
            return False
        self._billed[key] = None
        if len(self._billed) > _MAX_BILLS:
            del self._billed[next(iter(self._billed))]
        return True

    def _is_settled(self, track: Track) -> bool:
        """Whether further deltas of a track change nothing."""
        return track is self._heard and track is self.latencies.settled

    def _audio(self, event: AudioDelta, at: float | None) -> None:
        if event.track is not self._heard and event.start < event.stop:
            self._heard = event.track
            response = self._response(event.response_id)
            if response.first_audio is None:
                response.first_audio = at
        self.latencies.audio(event, at)

    def _limits(self, event: RateLimitsUpdated, at: float | None) -> None:
        for stated in event.rate_limits:
            limit = RateLimit(text_of(stated, "name")[:MAX_ID], *_figures(stated))
            if limit.name in self.rate_limits or len(self.rate_limits) < MAX_RATE_LIMITS:
                self.rate_limits[limit.name or ""] = limit
            else:
                self._gone["rate_limits"] += 1

    def _error(self, event: ErrorEvent, at: float | None) -> None:
        self.error_count += 1
        fields = (field_of(event.error, name) for name in ("type", "code", "message", "event_id"))
        texts = ("" if field is None else str(field)[:_MAX_MESSAGE] for field in fields)
        self.errors.append(SessionError(at, *texts))


_HANDLERS: Final[dict[type, Callable[[Session, Any, float | None], object]]] = {
    SessionCreated: Session._session_created,
    SessionUpdated: Session._session_updated,
    TranscriptionSessionCreated: Session._session_created,
    TranscriptionSessionUpdated: Session._session_updated,
    ConversationItemCreated: Session._item_created,
    ConversationItemAdded: Session._item,
    ConversationItemDone: Session._item_done,
    ConversationItemRetrieved: Session._item,
    ConversationItemDeleted: Session._item_deleted,
    ConversationItemTruncated: Session._item_truncated,
    ConversationItemInputAudioTranscriptionCompleted: Session._transcribed,
    InputAudioBufferSpeechStarted: Session._speech_started,
    InputAudioBufferSpeechStopped: Session._speech_stopped,
    InputAudioBufferCommitted: Session._committed,
    ResponseCreated: Session._response_created,
    ResponseDone: Session._response_done,
    ResponseOutputItemAdded: Session._item,
    ResponseOutputItemDone: Session._item_done,
    RateLimitsUpdated: Session._limits,
    ErrorEvent: Session._error,
}


def _figures(limit: Any) -> list[Any]:
    """What a rate limit says in numbers."""
    values = (field_of(limit, name) for name in ("limit", "remaining", "reset_seconds"))
    return [value if is_number(value) else None for value in values]


def _reason(details: Any) -> str:
    """Why a response ended as it did; a string at some servers, an object at OpenAI."""
    if isinstance(details, dict):
        error = details.get("error")
        code = error.get("code") or error.get("type") if isinstance(error, dict) else None
        details = details.get("reason") or code
    return details[:MAX_ID] if isinstance(details, str) else ""
