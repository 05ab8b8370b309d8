"""decode() and Decoder: one call per frame, from a WebSocket message to an event.

Rule: `decode` returns an event or raises a `FrameError`, and before an error nothing is published:
no sample, no position, no state. The decoder does no I/O, reads no clock, starts no thread and logs
nothing.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from msgspec import DecodeError, Struct
from numpy.typing import NDArray
from pybase64 import b64decode

from deltaring.audio import MAX_RATE, MIN_RATE
from deltaring.errors import FrameError, FrameTooLarge, InvalidAudio, InvalidJSON
from deltaring.events import (
    InvalidEvent,
    ResponseAudioDelta,
    ResponseAudioDone,
    ResponseCreated,
    ResponseDone,
    ResponseOutputAudioDelta,
    ResponseOutputAudioDone,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    UnknownEvent,
)
from deltaring.frame import (
    MAX_FRAME,
    SHORT,
    Frame,
    as_bytes,
    check_depth,
    decode_known,
    parse_refused,
    read_ids,
    too_large,
)
from deltaring.kernel import Feed, entry
from deltaring.pool import TrackPool
from deltaring.run import ROW, Run
from deltaring.track import AudioDelta, Key, Track

_MAX_SECONDS = 86_400  # a day in one ring: beyond it, somebody took seconds for samples


def decode(frame: Frame) -> ServerEvent:
    """Decode one frame by itself; an audio delta keeps its base64 text in `delta`.

    Raises FrameTooLarge (over 32 MiB), InvalidJSON or SchemaError, all of them FrameError, and
    TypeError for what is no frame.
    """
    data = frame if type(frame) is bytes else as_bytes(frame, MAX_FRAME)
    if len(data) > SHORT:
        if len(data) > MAX_FRAME:
            raise too_large(len(data), MAX_FRAME)
        check_depth(data)
    try:
        return decode_known(data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        return parse_refused(data, error)


class Stats(Struct, frozen=True):
    """Counters of a decoder, as they were when they were asked for."""

    frames: int
    """Frames given to `decode`, whatever came of them."""
    audio: int
    """Audio deltas decoded."""
    fast: int
    """Of these, the ones that the fast path took."""
    unknown: int
    """Events of a type that is not in the catalogue."""
    invalid: int
    """Frames that raised a FrameError, or were kept as InvalidEvent."""
    lenient: int
    """Known events that fitted only at a second attempt: with a part as plain objects, the last of
    two values, or half a character replaced."""
    audio_bytes: int
    """Bytes of audio received, after base64."""
    dropped_samples: int
    """Samples that did not fit into their ring."""
    late: int
    """Audio deltas that came after their track was done."""


class Decoder:
    """Decodes the frames of one connection; audio goes into rings, in decoded form.

    One decoder per connection, used by one thread at a time. Each of its rings may be read by one
    other thread, an audio callback for instance.

        decoder = deltaring.Decoder()
        event = decoder.decode(frame)
        if isinstance(event, deltaring.AudioDelta):
            event.track.ring.read_into(out)
    """

    __slots__ = (
        "__weakref__",
        "_feed",
        "_invalid",
        "_keep",
        "_kernel",
        "_lenient",
        "_max_frame",
        "_pool",
        "_scan",
        "_short",
        "_slow",
        "_slow_audio",
        "_unknown",
    )

    def __init__(
        self,
        *,
        seconds: float = 240.0,
        format: str | None = None,
        sample_rate: int | None = None,
        keep_g711: bool = False,
        max_tracks: int = 16,
        max_frame: int = MAX_FRAME,
        on_invalid: Literal["raise", "keep"] = "raise",
        fast_path: bool = True,
    ) -> None:
        """Make a decoder; its memory is taken from the system only as audio comes.

        seconds: capacity of each ring. The default holds the longest reply (4,096 tokens are
            204.8 s), since audio may come nine times faster than it plays.
        format, sample_rate: of the audio, in place of what the server states. Names as on the
            wire (pcm16, g711_ulaw, g711_alaw, audio/pcm, ...); hertz.
        keep_g711: keep G.711 bytes (uint8 rings) instead of decoding them to int16.
        max_tracks: how many tracks may hold ring memory at a time. One more gets a ring of
            capacity 0, and all its samples count as dropped.
        max_frame: longest frame in bytes; a longer one is FrameTooLarge.
        on_invalid: "raise" a FrameError, or "keep" the frame as an InvalidEvent.
        fast_path: False sends every frame the slow way; nothing but time changes.

        Raises ValueError for a value out of range.
        """
        _check("seconds", seconds, 0 < seconds <= _MAX_SECONDS and math.isfinite(seconds))
        _check(
            "sample_rate", sample_rate, sample_rate is None or MIN_RATE <= sample_rate <= MAX_RATE
        )
        _check("max_tracks", max_tracks, max_tracks >= 1)
        _check("max_frame", max_frame, max_frame >= 1)
        _check("on_invalid", on_invalid, on_invalid in ("raise", "keep"))
        self._pool = TrackPool(seconds, format, sample_rate, keep_g711, max_tracks)
        self._kernel = Feed(self._pool)
        self._feed = self._kernel.feed if fast_path else _decline
        self._scan = self._kernel.scan if fast_path else _scan_nothing
        self._max_frame = max_frame
        self._short = min(SHORT, max_frame)
        self._keep = on_invalid == "keep"
        self._slow = self._slow_audio = self._unknown = self._invalid = self._lenient = 0

    @property
    def tracks(self) -> dict[Key, Track]:
        """The tracks by key, in the order of first audio: a copy, which any thread may ask for.

        The live ones, and the last 256 drained. Where a key came again (servers without ids, or a
        new epoch), it leads to the newest.
        """
        return self._pool.tracks.copy()

    def follow(self) -> deque[Track]:
        """Return a queue that each track enters when it gets memory for its samples; for a player.

        Those that have memory now are in it. Another thread may take from it; what nobody takes is
        let go beyond 4,096. A track enters again when a late delta brings it back. There is one
        such queue: a new one ends the last.
        """
        return self._pool.follow()

    @property
    def stats(self) -> Stats:
        """A snapshot of the counters."""
        fast = self._kernel.taken
        audio_bytes, dropped_samples, late = self._pool.totals()
        return Stats(
            frames=fast + self._slow + self._invalid,
            audio=self._slow_audio + fast,
            fast=fast,
            unknown=self._unknown,
            invalid=self._invalid,
            lenient=self._lenient,
            audio_bytes=audio_bytes,
            dropped_samples=dropped_samples,
            late=late,
        )

    def decode(self, frame: Frame) -> ServerEvent | AudioDelta:
        """Decode one frame: an `AudioDelta` for an audio delta, else the event of its type.

        Raises FrameTooLarge, InvalidJSON, SchemaError or InvalidAudio, all of them FrameError (kept
        as InvalidEvent with `on_invalid="keep"`), and TypeError for what is no frame.
        """
        event: ServerEvent | AudioDelta
        # One level of calls for most frames: each further one would cost a tenth of their time.
        try:
            if type(frame) is not bytes:
                frame = as_bytes(frame, self._max_frame)
            size = len(frame)
            if size > self._short:
                if size > self._max_frame:
                    raise too_large(size, self._max_frame)
                audio: AudioDelta | None = self._feed(frame)
                if audio is not None:
                    return audio
                check_depth(frame)
            try:
                event = decode_known(frame)
            except (DecodeError, UnicodeDecodeError, RecursionError) as error:
                event = self._parse_refused(frame, error)
            if type(event) in _HANDLERS:
                event = _HANDLERS[type(event)](self, event)
            self._slow += 1
            return event
        except FrameError as error:
            self._invalid += 1
            if not self._keep:
                raise
            # Without its traceback, or it would keep this decoder and the frame alive.
            return _kept(frame, error.with_traceback(None))

    def scan(
        self,
        buffer: bytes | bytearray,
        rows: NDArray[np.void],
        start: int = 0,
        stop: int | None = None,
    ) -> Run:
        """Decode the audio deltas that `buffer[start:stop]` begins with, in one call: for bulk.

        Each is a line that ends with LF or CR LF: a frame, or a frame in the envelope of a
        recording (docs/recording.md). The first line that is anything else ends the run, as do the
        first that is not complete, and the end of `rows`; that line is for `decode`. All samples
        are in their rings, so these need room for what `buffer` holds, and `max_tracks` for its
        tracks; what does not fit is dropped, as always, and counted in the rows.

        buffer: bytes or bytearray. rows: an array of dtype ROW in one dimension, filled from its
        start.

        Raises TypeError for other arguments.
        """
        if rows.dtype != ROW or rows.ndim != 1 or not rows.flags.carray:
            raise TypeError("rows must be a writable array of dtype deltaring.ROW, in one piece")
        if not isinstance(buffer, (bytes, bytearray)):
            raise TypeError(f"buffer must be bytes or bytearray, not {type(buffer).__name__}")
        first, last, _ = slice(start, stop).indices(len(buffer))
        count, end, tracks = self._scan(buffer, first, max(first, last), rows, self._max_frame)
        return Run(rows[:count], end, tracks)

    def _parse_refused(self, frame: bytes, error: Exception) -> ServerEvent:
        event = parse_refused(frame, error)
        if type(event) is UnknownEvent:
            self._unknown += 1
        else:
            self._lenient += 1
        return event

    # --- what events mean for tracks and formats ----------------------------------------------

    def _audio(self, event: ResponseAudioDelta) -> AudioDelta:
        try:
            data = b64decode(event.delta, None, True)
        except ValueError as error:  # binascii.Error, or a str that is not ASCII
            raise InvalidAudio(f"{event.type}: delta is not strict base64: {error}") from None
        track = self._pool.track((event.response_id, event.item_id, event.content_index))
        self._slow_audio += 1
        return track.receive(event.type, event.event_id, event.output_index, data)

    def _audio_done(self, event: ResponseAudioDone) -> ResponseAudioDone:
        self._pool.audio_done((event.response_id, event.item_id, event.content_index))
        return event

    def _response_created(self, event: ResponseCreated) -> ResponseCreated:
        self._pool.response_created(_id(event.response))
        self._pool.response_stated(_id(event.response), *_output(event.response))
        return event

    def _response_done(self, event: ResponseDone) -> ResponseDone:
        self._pool.response_done(_id(event.response))
        return event

    def _session_created(self, event: SessionCreated) -> SessionCreated:
        self._pool.session_created()
        self._pool.session_stated(*_output(event.session))
        return event

    def _session_updated(self, event: SessionUpdated) -> SessionUpdated:
        self._pool.session_stated(*_output(event.session))
        return event


_HANDLERS: Final[dict[type, Callable[[Decoder, Any], Any]]] = {
    ResponseAudioDelta: Decoder._audio,
    ResponseOutputAudioDelta: Decoder._audio,
    ResponseAudioDone: Decoder._audio_done,
    ResponseOutputAudioDone: Decoder._audio_done,
    ResponseCreated: Decoder._response_created,
    ResponseDone: Decoder._response_done,
    SessionCreated: Decoder._session_created,
    SessionUpdated: Decoder._session_updated,
}

Decoder.decode = entry(  # type: ignore[method-assign]
    Decoder.decode, Decoder, decode_known, _HANDLERS
)


def _kept(frame: Frame, error: FrameError) -> InvalidEvent:
    """The event in place of an error."""
    error.__context__ = None
    if isinstance(error, FrameTooLarge):
        return InvalidEvent("", "", b"", error)
    raw = frame.encode(errors="surrogatepass") if isinstance(frame, str) else bytes(frame)
    name, event_id = ("", "") if isinstance(error, InvalidJSON) else read_ids(raw)
    return InvalidEvent(name, event_id, raw, error)


def _decline(frame: bytes) -> None:
    """The fast path of a decoder that has none."""


def _scan_nothing(buffer: object, start: int, *rest: object) -> tuple[int, int, list[Track]]:
    """The same for a run of lines."""
    return 0, start, []


def _check(name: str, value: object, valid: bool) -> None:
    if not valid:
        raise ValueError(f"{name} is out of range: {value!r}")


def _output(config: Any) -> tuple[object, object]:
    """The two fields that may state an output format, typed or (where lenient) in a dict."""
    if isinstance(config, dict):
        return config.get("audio"), config.get("output_audio_format")
    return config.audio, config.output_audio_format


def _id(response: Any) -> str:
    value = response.get("id") if isinstance(response, dict) else response.id
    return value if isinstance(value, str) else ""
