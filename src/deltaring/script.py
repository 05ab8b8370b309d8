"""steps(): what a server does to play a recording, frame by frame and wait by wait.

Rule: every server frame is in exactly one `Send`, in the order of the recording, and times never go
back. Nothing here reads a clock or a socket, and no more than the record at hand is held.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from deltaring.decoder import Decoder
from deltaring.errors import FrameError, InvalidJSON, SchemaError
from deltaring.frame import SHORT, check_depth, decode_mended
from deltaring.recording import Record
from deltaring.track import AudioDelta

_RING_SECONDS = 0.001  # only positions are wanted: what does not fit is counted all the same

# By these a server says what it has heard. All other frames may stand beside appended audio by
# chance: most clients never stop sending it.
_HEARD = ("input_audio_buffer.", "session.input_", "session.output_")
_COMMITTED = "input_audio_buffer.committed"
_REPLY = "response.created"
# Seconds between two frames. A session lasts an hour at most, so a longer gap is a wrong time; it
# must not hold a client for years.
_MAX_GAP = 3_600.0
_GREETINGS = ("session.created", "transcription_session.created", "conversation.created")


class Send(NamedTuple):
    """Send a frame, `at` seconds after the start of the script or the end of the last `Wait`."""

    frame: bytes
    at: float


class Wait(NamedTuple):
    """Wait for what the client had sent; then time starts anew.

    It begins `at` seconds after the start of the script or the end of the last `Wait`.
    """

    events: Counter[str]
    """How many events of each type, but for appended audio."""
    audio: int
    """Bytes of audio that the client had appended in this turn; 0 if none is waited for."""
    spent: int
    """Bytes of audio of the turns that end here; 0 where the turn goes on."""
    at: float

    def __str__(self) -> str:
        names = [name if count == 1 else f"{count} {name}" for name, count in self.events.items()]
        return " and ".join(names + [f"{self.audio} bytes of audio"] * bool(self.audio))


Step: TypeAlias = Send | Wait


def steps(records: Iterable[Record], *, ignore_client: bool = False) -> Iterator[Step]:
    """Yield what a server does to play the records; each is looked at before the next is taken.

    ignore_client: send as the times say, and wait for nothing.
    """
    pace = _Pace()
    asked = _Asked()
    for time, source, frame in records:
        if source == "server":
            data = bytes(frame)
            if wait := asked.before(data, pace.at):
                pace.restart(asked.time)
                yield wait
            yield Send(data, pace.place(time, data))
        elif not ignore_client:
            asked.take(time, bytes(frame))


class ClientEvent(Struct):
    """What matters of a client event."""

    # Types are counted, so that a long one would be memory at a client's command.
    type: Annotated[str, Meta(max_length=128)]
    event_id: Any = None
    audio: Any = None

    @property
    def appends(self) -> bool:
        """Whether it is audio, in a session of any kind."""
        return self.type.endswith("input_audio_buffer.append")

    @property
    def ends_turn(self) -> bool:
        """Whether the audio that was appended so far is done with."""
        return self.type in ("input_audio_buffer.commit", "input_audio_buffer.clear")

    @property
    def audio_bytes(self) -> int:
        """Bytes that its base64 text stands for."""
        text = self.audio if isinstance(self.audio, str) else ""
        return len(text) * 3 // 4 - text[-2:].count("=")


_EVENTS = msgspec.json.Decoder(ClientEvent)


def read_client_event(frame: bytes) -> ClientEvent:
    """Read an event that a client sent. Raises InvalidJSON or SchemaError."""
    if len(frame) > SHORT:
        check_depth(frame)
    try:
        return decode_mended(_EVENTS, frame)
    except msgspec.ValidationError as error:
        raise SchemaError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJSON(str(error)) from None


def _type_of(frame: bytes) -> str:
    try:
        return read_client_event(frame).type
    except FrameError:
        return ""


class _Pace:
    """When frames go out: as recorded, or where no time was recorded, as their audio lasts."""

    def __init__(self) -> None:
        self.at = 0.0
        self._last: float | None = None
        self._decoder = Decoder(
            seconds=_RING_SECONDS, max_tracks=1, keep_g711=True, on_invalid="keep"
        )

    def place(self, time: float | None, frame: bytes) -> float:
        """Return the place of a server frame, and go on."""
        if time is not None:
            gap = 0.0 if self._last is None else time - self._last
            self.at += gap if 0 < gap <= _MAX_GAP else 0.0
            self._last = time
        at = self.at
        if self._last is None:
            self.at += self._duration(frame)
        return at

    def restart(self, time: float | None) -> None:
        """Count from here on; the last of what is waited for had been sent at `time`."""
        self.at = 0.0
        if time is not None:
            # A server's second frame on the same audio is later than its first, not than the audio.
            self._last = time if self._last is None else max(time, self._last)

    def _duration(self, frame: bytes) -> float:
        """Seconds of audio in a frame; 0 where there is none or its format is not known."""
        event = self._decoder.decode(frame)
        if isinstance(event, AudioDelta) and event.track.sample_rate:
            return (event.stop - event.start) / event.track.sample_rate
        return 0.0


class _Asked:
    """What the client had sent when the server sent its next frame."""

    def __init__(self) -> None:
        self.time: float | None = None
        """When the client had sent the last of what was waited for."""
        self._events: Counter[str] = Counter()
        self._audio = self._spent = 0
        self._appended: float | None = None
        self._tells = False
        """The server says what it hears; so its replies need not tell."""

    def take(self, time: float | None, frame: bytes) -> None:
        """Take a client frame; one that a server cannot read is nothing to wait for."""
        try:
            event = read_client_event(frame)
        except FrameError:
            return
        if event.appends:
            self._audio += event.audio_bytes
            self._appended = time
            return
        self._events[event.type] += 1
        self.time = time
        if event.ends_turn:
            self._spent, self._audio = self._spent + self._audio, 0

    def before(self, frame: bytes, at: float) -> Wait | None:
        """Return what to wait for before the server frame, if anything."""
        if self._greets(frame):
            return None
        audio = self._audio and self._heard(frame)
        if not self._events and not audio:
            return None
        if audio:
            self.time = self._appended
        wait = Wait(self._events, audio, self._spent, at)
        self._events, self._spent = Counter(), 0
        return wait

    def _greets(self, frame: bytes) -> bool:
        """Whether the server sends it unasked: a client that spoke at once was not waited for."""
        return _type_of(frame) in _GREETINGS

    def _heard(self, frame: bytes) -> int:
        """Bytes of audio that the server must have heard to send the frame."""
        name = _type_of(frame)
        self._tells |= name.startswith(_HEARD)
        replies = name == _REPLY and not self._tells
        heard = self._audio if replies or name.startswith(_HEARD) else 0
        if replies or name == _COMMITTED:
            self._spent, self._audio = self._spent + self._audio, 0
        return heard
