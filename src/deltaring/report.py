"""Report: what a recording holds, in figures: the contents of `session.json`.

Rule: it says nothing that is not in the recording (no clock, host, process or path of this run),
and its lists are bounded: what is beyond a bound is counted.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from deltaring.audiofiles import AudioFile
from deltaring.decoder import Stats
from deltaring.events import (
    ConversationCreated,
    ErrorEvent,
    InvalidEvent,
    ResponseCreated,
    ResponseDone,
    SessionCreated,
    SessionOutputAudioDelta,
    SessionUpdated,
    TranscriptionSessionCreated,
    TranscriptionSessionUpdated,
    UnknownEvent,
)
from deltaring.metrics import SessionMetrics
from deltaring.microphone import ClientFrame, UserAudio, read_client
from deltaring.recording import Record, Recording
from deltaring.run import Run
from deltaring.speech import SpokenItem
from deltaring.track import AudioDelta, Track
from deltaring.usage import add_usage, stated_usage

MAX_ROWS = 10_000
"""Sessions, responses or server errors that are listed; a session of an hour has hundreds."""

MAX_NAMES = 1_000
"""Event types that are counted apart; the rest are counted under `OTHER`."""

_BETA, _GA = "response.audio.delta", "response.output_audio.delta"

OTHER = "(other)"

MAX_NAME = 1_000
"""Characters of an id, a type or a message that are kept; real ones have some 30, or 300."""


class SessionRow(Struct, omit_defaults=True):
    """One session, from its session.created on."""

    id: str = ""
    model: str = ""
    input_audio_format: Any = None
    output_audio_format: Any = None


class ResponseRow(Struct, omit_defaults=True):
    """One response, at its end."""

    id: str = ""
    status: str = ""
    usage: Any = None


class ServerError(Struct, omit_defaults=True):
    """One `error` event."""

    line: int
    type: str = ""
    code: str | int | None = None
    message: str = ""


class Report(Struct, kw_only=True):
    """What was found in one recording; `session.json` is this, as JSON."""

    recording: str
    """The file's name, without its folder."""
    sessions: list[SessionRow] = []
    conversations: list[str] = []
    responses: list[ResponseRow] = []
    usage: dict[str, Any] = {}
    """Tokens of all responses, summed field by field. Cached tokens are part of the input."""
    frames: dict[str, int] = {}
    events: dict[str, int] = {}
    """How often each known type came from the server."""
    unknown: dict[str, int] = {}
    """The same for types that are not in the catalogue."""
    client: dict[str, int] = {}
    """The same for the client's events."""
    first_time: float | None = None
    last_time: float | None = None
    items: list[SpokenItem] = []
    """The assistant's audio, as it came."""
    seconds: float = 0.0
    """Of the assistant's audio."""
    user: list[UserAudio] = []
    """The user's audio, as it came."""
    user_seconds: float = 0.0
    files: list[AudioFile] = []
    """The audio that was written."""
    partial: bool = False
    """The file was cut off: this is what could be read of it."""
    metrics: SessionMetrics | None = None
    """As docs/metrics.md defines them, the stalls for a buffer of 0; never None in a report that is
    complete."""
    errors: list[dict[str, Any]] = []
    """What is wrong with the recording: line, byte offset, reason."""
    error_count: int = 0
    server_errors: list[ServerError] = []
    server_error_count: int = 0

    def to_json(self) -> bytes:
        """The report as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class Reporter:
    """Builds a Report while a recording is read."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        # A file name that is no UTF-8 cannot stand in JSON as it is.
        name = PurePath(recording.name).name.encode(errors="backslashreplace").decode()
        self._report = Report(recording=name)
        self._first, self._last = math.inf, -math.inf  # times: none yet
        self._conversations: set[str] = set()
        self._items: dict[int, SpokenItem] = {}
        self._tracks: dict[int, Track] = {}
        self._client = Counter[str]()
        self._events = Counter[str]()
        self._unknown = Counter[str]()

    @property
    def first_time(self) -> float | None:
        """The earliest time of a record so far."""
        return None if self._first == math.inf else self._first

    def take_client(self, record: Record) -> ClientFrame:
        """Count a frame of the client's; return what is read of it."""
        self._time(record.time)
        frame = read_client(record.frame)
        _count(self._client, _str(frame.type) or OTHER)
        return frame

    def take(self, event: Any, time: float | None) -> None:
        """Take an event of the server's; a kept invalid one becomes a problem of the recording."""
        self._time(time)
        if isinstance(event, InvalidEvent):
            self._recording.report(str(event.error))
        elif isinstance(event, UnknownEvent):
            _count(self._unknown, event.type)
        else:
            self._events[event.type] += 1
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)

    def take_audio(self, event: AudioDelta, time: float | None) -> SpokenItem:
        """Count an audio delta; return its track's item. A dropped sample is a problem."""
        self._time(time)
        self._events[event.type] += 1
        item = self.item(event.track)
        item.samples += event.stop - event.start - event.dropped
        self._dropped(event.dropped)
        return item

    def take_run(self, run: Run) -> None:
        """Count a run of audio deltas, as `take_audio` does for each."""
        rows, _, tracks = run
        # Both pass over nan; where all times are nan, what comes out is neither less nor more.
        self._first = min(self._first, float(np.fmin.reduce(rows["time"])))
        self._last = max(self._last, float(np.fmax.reduce(rows["time"])))
        ga = int(np.count_nonzero(rows["ga"]))
        self._events[_GA] += ga
        self._events[_BETA] += len(rows) - ga
        for track in tracks:
            own = rows if len(tracks) == 1 else rows[rows["track"] == track.serial]
            # Each delta starts where the one before it stopped.
            self.item(track).samples += own["stop"].item(-1) - own["start"].item(0)
        for index in rows["dropped"].nonzero()[0].tolist():
            row = rows[index]
            count, at = int(row["dropped"]), int(row["line"] - rows["line"][0])
            self._items[int(row["track"])].samples -= count
            self._dropped(count, line=index, offset=at)

    def item(self, track: Track) -> SpokenItem:
        """Return the item of a track, made at its first audio."""
        item = self._items.get(track.serial)
        if item is None:
            item = SpokenItem("", *track.key, track.format, track.sample_rate)
            self._items[track.serial] = item
            self._tracks[track.serial] = track
        return item

    def _dropped(self, count: int, *, line: int = 0, offset: int = 0) -> None:
        if count:
            reason = f"{count} samples did not fit into the ring and are lost"
            self._recording.report(reason, line=line, offset=offset)

    def _time(self, time: float | None) -> None:
        if time is not None:
            self._first, self._last = min(self._first, time), max(self._last, time)

    def finish(
        self, stats: Stats, user: Sequence[UserAudio] = (), files: Sequence[AudioFile] = ()
    ) -> Report:
        """Return the report, complete. user: what the client appended. files: what was written."""
        report, recording = self._report, self._recording
        if self._first < math.inf:
            report.first_time, report.last_time = self._first, self._last
        report.frames = {
            "server": stats.frames,
            "client": self._client.total(),
            "audio": stats.audio,
            "unknown": stats.unknown,
            "invalid": stats.invalid,
            "lenient": stats.lenient,
        }
        report.events = dict(sorted((+self._events).items()))
        report.unknown = dict(sorted(self._unknown.items()))
        report.client = dict(sorted(self._client.items()))
        for serial, item in self._items.items():
            track = self._tracks[serial]
            item.done, item.pending = track.done, track.pending
        report.items = list(self._items.values())
        report.seconds = sum(item.seconds for item in report.items)
        report.user, report.files = list(user), list(files)
        report.user_seconds = sum(part.seconds for part in user)
        report.errors = [
            {"line": problem.line, "offset": problem.offset, "reason": problem.reason}
            for problem in recording.problems
        ]
        report.error_count = recording.problem_count
        report.partial = bool(recording.broken)
        return report

    # --- what the events say ------------------------------------------------------------------

    def _session_created(self, event: Any) -> None:
        if len(self._report.sessions) < MAX_ROWS:
            self._report.sessions.append(SessionRow())
        self._session_updated(event)

    def _session_updated(self, event: Any) -> None:
        if not self._report.sessions:
            self._report.sessions.append(SessionRow())
        row, session = self._report.sessions[-1], _plain(event.session)
        row.id = _str(session.get("id")) or row.id
        row.model = _str(session.get("model")) or row.model
        row.input_audio_format = _format(session, "input") or row.input_audio_format
        row.output_audio_format = _format(session, "output") or row.output_audio_format

    def _conversation_created(self, event: ConversationCreated) -> None:
        self._conversation(_plain(event.conversation).get("id"))

    def _conversation(self, value: object) -> None:
        name = _str(value)
        if name and name not in self._conversations and len(self._conversations) < MAX_ROWS:
            self._conversations.add(name)
            self._report.conversations.append(name)

    def _response_created(self, event: ResponseCreated) -> None:
        self._conversation(_plain(event.response).get("conversation_id"))

    def _response_done(self, event: ResponseDone) -> None:
        response = _plain(event.response)
        usage = stated_usage(response.get("usage")) or stated_usage(event.usage)
        add_usage(self._report.usage, usage)
        if len(self._report.responses) < MAX_ROWS:
            self._report.responses.append(
                ResponseRow(_str(response.get("id")), _str(response.get("status")), usage or None)
            )

    def _translated(self, event: SessionOutputAudioDelta) -> None:
        if self._events[event.type] == 1:  # once is enough
            self._recording.report("translated speech (session.output_audio.delta) is not written")

    def _error(self, event: ErrorEvent) -> None:
        self._report.server_error_count += 1
        if len(self._report.server_errors) < MAX_ROWS:
            error = _plain(event.error)
            self._report.server_errors.append(
                ServerError(
                    self._recording.line,
                    _str(error.get("type")),
                    _short(error.get("code")),
                    _str(error.get("message")),
                )
            )


_HANDLERS: Final[dict[type, Callable[[Reporter, Any], None]]] = {
    SessionCreated: Reporter._session_created,
    SessionUpdated: Reporter._session_updated,
    TranscriptionSessionCreated: Reporter._session_created,
    TranscriptionSessionUpdated: Reporter._session_updated,
    ConversationCreated: Reporter._conversation_created,
    ResponseCreated: Reporter._response_created,
    ResponseDone: Reporter._response_done,
    SessionOutputAudioDelta: Reporter._translated,
    ErrorEvent: Reporter._error,
}


def _short(value: object) -> str | int | None:
    return _str(value) if isinstance(value, str) else value if isinstance(value, int) else None


def _count(counter: Counter[str], name: str) -> None:
    name = name[:MAX_NAME]
    counter[name if name in counter or len(counter) < MAX_NAMES else OTHER] += 1


def _plain(part: Any) -> dict[str, Any]:
    """A nested part as a dict: it is one already where it did not fit its declared form."""
    return part if isinstance(part, dict) else msgspec.structs.asdict(part)


def _str(value: object) -> str:
    return value[:MAX_NAME] if isinstance(value, str) else ""


def _format(session: dict[str, Any], side: str) -> Any:
    """What the session states, in the dialect's own form: a string, or an object of two fields."""
    audio = session.get("audio")
    part = audio.get(side) if isinstance(audio, dict) else None
    spec = part.get("format") if isinstance(part, dict) else None
    if isinstance(spec, dict):
        spec = {"type": _str(spec.get("type")), "rate": _short(spec.get("rate"))}
    return spec or _str(session.get(f"{side}_audio_format")) or None
