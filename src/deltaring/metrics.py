"""Metrics: how long the answers of recorded sessions took, and how evenly their audio came.

Rule: docs/metrics.md defines each figure, and it comes from what the server sent and from the times
given with that: no clock is read. Where times are missing, what needs them is None, and what does
not is there.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from deltaring.arrivals import Arrivals, jitter, needed_buffer, stalls
from deltaring.conversation import MAX_ID
from deltaring.events import (
    ConversationItemTruncated,
    InputAudioBufferSpeechStarted,
    RateLimitsUpdated,
    ResponseCreated,
    ResponseDone,
    ServerEvent,
    SessionCreated,
    TranscriptionSessionCreated,
    field_of,
    text_of,
)
from deltaring.run import Run
from deltaring.session import Response, Session
from deltaring.track import AudioDelta, Track
from deltaring.turns import Turn
from deltaring.usage import is_number

MAX_RESPONSES = 10_000
"""Responses of a recording that are measured; a session of an hour has hundreds."""

MAX_STALLS = 1_000
"""Stalls of a response that are listed; it has some hundred deltas, and one for each at most."""

_MAX_COUNT = 1 << 53  # where floats are no longer exact; nobody counts that far
_DIGITS = 6  # of seconds: recorded times have no finer step


class Spread(Struct, frozen=True):
    """A distribution. A percentile is the smallest value that so many percent do not exceed."""

    count: int
    p50: float
    p95: float
    max: float


def spread(values: ArrayLike) -> Spread | None:
    """Return the spread of some values; None where there are none."""
    sample = np.asarray(values, np.float64)
    if not len(sample):
        return None
    p50, p95 = np.quantile(sample, [0.5, 0.95], method="inverted_cdf")
    return Spread(len(sample), float(p50), float(p95), float(sample.max()))


class Tokens(Struct, frozen=True):
    """Tokens by kind; None where the server does not say. Cached ones are part of the input."""

    input: int | None = None
    input_text: int | None = None
    input_audio: int | None = None
    input_image: int | None = None
    input_cached: int | None = None
    output: int | None = None
    output_text: int | None = None
    output_audio: int | None = None
    output_reasoning: int | None = None


class ResponseMetrics(Struct, frozen=True):
    """One response. Durations are in seconds; None is what cannot be known."""

    id: str
    epoch: int
    """The session it belongs to, in a recording of several: 1 is the first."""
    status: str
    """As the server last said: completed, cancelled, ..."""
    created: float | None
    """When response.created came: Unix seconds in a recording."""
    speech_stopped_to_audio: float | None
    """None too where the audio is not the first after the user spoke."""
    created_to_audio: float | None
    duration: float | None
    """From response.created to response.done."""
    deltas: int
    """That brought samples."""
    audio: float | None
    """Seconds of audio that came; None where its format is not known."""
    real_time_factor: float | None
    """Seconds from response.created to the last delta, for each second of audio."""
    jitter: Spread | None
    """From three deltas on."""
    needed_buffer: float | None
    stalls: list[float] | None
    """The length of each, MAX_STALLS at most, of a player with the buffer that the SessionMetrics
    name."""
    interrupted: bool
    tokens: Tokens


class SessionMetrics(Struct, frozen=True):
    """What was measured in one recording."""

    buffer: float
    """Of the player whose stalls are counted, in seconds."""
    epochs: int
    """How often a session was created: a reconnect begins another one."""
    responses: list[ResponseMetrics]
    """In the order in which they were first named."""
    left_out: int
    """How often something came for a response beyond MAX_RESPONSES, which is not measured."""
    interruptions: int
    """Responses that were interrupted."""
    tokens: Tokens
    """Of all responses."""
    headroom: dict[str, float]
    """The smallest `remaining / limit` of each rate limit, by name."""


def values(sessions: Iterable[SessionMetrics], name: str) -> list[float]:
    """Return a metric of all responses of some sessions, without those that have none.

    name: a field of ResponseMetrics that is a number; `jitter_p50`, `jitter_p95` and `jitter_max`
        are those of its jitter.
    """
    field, _, part = name.partition("_") if name.startswith("jitter_") else (name, "", "")
    found = (getattr(response, field) for session in sessions for response in session.responses)
    return [getattr(value, part) if part else value for value in found if value is not None]


class _Row:
    """A response while it is measured."""

    __slots__ = ("arrivals", "epoch", "interrupted", "response", "turn")

    def __init__(self, response: Response, epoch: int) -> None:
        self.response = response
        self.epoch = epoch
        self.arrivals = Arrivals()
        self.turn: Turn | None = None  # the one at hand when its audio began
        self.interrupted = False


class Meter:
    """Measures a session beside its Session: each event goes there first, and then here.

        session = deltaring.Session(deltaring.Decoder())
        meter = Meter(session)
        for time, source, frame in recording:
            if source == "server":
                meter.take(session.receive(frame, time), time)
        metrics = meter.read()

    It holds 16 bytes for each audio delta, 40 where the track changes, and no audio.
    """

    def __init__(self, session: Session, buffer: float = 0.0) -> None:
        """Begin to measure.

        buffer: seconds that the player waits after the first delta whose stalls are counted.

        Raises ValueError for a buffer that is negative or not finite.
        """
        if not 0 <= buffer < math.inf:
            raise ValueError(f"buffer is out of range: {buffer!r}")
        self._session = session
        self._buffer = buffer
        self._rows: list[_Row] = []
        self._by_id: dict[str, _Row] = {}  # of this epoch
        self._in_progress: dict[str, _Row] = {}
        self._headroom: dict[str, float] = {}
        self._left_out = 0

    def take(self, event: ServerEvent | AudioDelta, at: float | None = None) -> None:
        """Take an event that the session has applied, with the same time."""
        if type(event) is AudioDelta:
            times = np.array([math.nan if at is None else at])
            self._audio(event.track, times, np.array([event.stop - event.start]))
        else:
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)

    def take_run(self, run: Run) -> None:
        """Take a run of audio deltas that the session has applied."""
        rows, _, tracks = run
        for track in tracks:
            own = rows if len(tracks) == 1 else rows[rows["track"] == track.serial]
            self._audio(track, own["time"], own["stop"] - own["start"])

    def read(self) -> SessionMetrics:
        """Return what was measured so far."""
        responses = [_measured(row, self._buffer) for row in self._rows]
        return SessionMetrics(
            buffer=self._buffer,
            epochs=self._session.epoch,
            responses=responses,
            left_out=self._left_out,
            interruptions=sum(response.interrupted for response in responses),
            tokens=_tokens(self._session.usage),
            headroom=dict(sorted(self._headroom.items())),
        )

    # --- what the events say ------------------------------------------------------------------

    def _audio(self, track: Track, times: NDArray[Any], samples: NDArray[Any]) -> None:
        if np.count_nonzero(samples) < len(samples):  # deltas without samples tell nothing
            times, samples = times[samples > 0], samples[samples > 0]
        row = self._row(track.key[0]) if len(samples) else None
        if row is not None:
            if not len(row.arrivals):
                row.turn = self._turn()
            row.arrivals.add(track.serial, track.sample_rate or math.nan, times, samples)

    def _turn(self) -> Turn | None:
        turns = self._session.latencies.turns
        return turns[-1] if turns else None

    def _session_created(self, event: Any) -> None:
        self._by_id.clear()
        self._in_progress.clear()

    def _response_created(self, event: ResponseCreated) -> None:
        response_id = text_of(event.response, "id")
        if not response_id:  # without ids, each is another one
            self._by_id.pop("", None)
        row = self._row(response_id)
        if row is not None:
            self._in_progress[row.response.id] = row

    def _response_done(self, event: ResponseDone) -> None:
        row = self._row(text_of(event.response, "id"))
        if row is not None:
            self._in_progress.pop(row.response.id, None)

    def _row(self, response_id: str) -> _Row | None:
        """Return the response of that id, entered where it is new; None where there is no room."""
        key = response_id[:MAX_ID]
        row = self._by_id.get(key)
        if row is None and len(self._rows) < MAX_RESPONSES:
            response = self._session.response(key) or Response(key)
            row = self._by_id[key] = _Row(response, self._session.epoch)
            self._rows.append(row)
        self._left_out += row is None
        return row

    def _speech_started(self, event: InputAudioBufferSpeechStarted) -> None:
        for row in self._in_progress.values():
            row.interrupted = True

    def _truncated(self, event: ConversationItemTruncated) -> None:
        item = self._session.conversation.item(event.item_id)
        row = self._by_id.get(item.response_id) if item is not None else None
        if row is not None:
            row.interrupted = True

    def _limits(self, event: RateLimitsUpdated) -> None:
        for name, stated in self._session.rate_limits.items():
            limit, remaining = _count(stated, "limit"), _count(stated, "remaining")
            if limit and remaining is not None:
                share = remaining / limit
                self._headroom[name] = min(share, self._headroom.get(name, share))


_HANDLERS: Final[dict[type, Callable[[Meter, Any], None]]] = {
    SessionCreated: Meter._session_created,
    TranscriptionSessionCreated: Meter._session_created,
    ResponseCreated: Meter._response_created,
    ResponseDone: Meter._response_done,
    InputAudioBufferSpeechStarted: Meter._speech_started,
    ConversationItemTruncated: Meter._truncated,
    RateLimitsUpdated: Meter._limits,
}


def _measured(row: _Row, buffer: float) -> ResponseMetrics:
    response, arrivals, turn = row.response, row.arrivals, row.turn
    times, audio = arrivals.times, arrivals.audio
    first, last = (float(times[0]), float(times[-1])) if len(times) else (None, None)
    known, played = arrivals.known, arrivals.played()
    # A turn counts the first audio after the user spoke, whichever response brought it.
    stopped = turn.speech_stopped if turn is not None and turn.first_audio == first else None
    taken = _between(response.created, last)
    return ResponseMetrics(
        id=response.id,
        epoch=row.epoch,
        status=response.status,
        created=response.created,
        speech_stopped_to_audio=_between(stopped, first),
        created_to_audio=_between(response.created, first),
        duration=_between(response.created, response.done),
        deltas=len(arrivals),
        audio=None if math.isnan(audio) else round(audio, _DIGITS),
        real_time_factor=round(taken / audio, _DIGITS) if known and taken is not None else None,
        jitter=spread(jitter(times, arrivals.seconds)) if known else None,
        needed_buffer=needed_buffer(*played) if known else None,
        stalls=stalls(*played, buffer)[:MAX_STALLS].tolist() if known else None,
        interrupted=row.interrupted or response.status == "cancelled",
        tokens=_tokens(response.usage or {}),
    )


def _between(start: float | None, stop: float | None) -> float | None:
    """Seconds from one time to another; None where one is unknown, nan included."""
    if start is None or stop is None or math.isnan(stop - start):
        return None
    return round(stop - start, _DIGITS)


def _tokens(usage: dict[str, Any]) -> Tokens:
    input, output = usage.get("input_token_details"), usage.get("output_token_details")
    return Tokens(
        input=_count(usage, "input_tokens"),
        input_text=_count(input, "text_tokens"),
        input_audio=_count(input, "audio_tokens"),
        input_image=_count(input, "image_tokens"),
        input_cached=_count(input, "cached_tokens"),
        output=_count(usage, "output_tokens"),
        output_text=_count(output, "text_tokens"),
        output_audio=_count(output, "audio_tokens"),
        output_reasoning=_count(output, "reasoning_tokens"),
    )


def _count(part: object, name: str) -> int | None:
    """Return a stated count; None where there is none that a JSON number can hold."""
    value = field_of(part, name)
    return round(value) if is_number(value) and 0 <= value <= _MAX_COUNT else None
