"""The fast path: audio deltas of a known form, proven and decoded in one call.

Rule: `Feed` answers only where the *whole* frame is of a known form: fixed keys, each once, in a
known order, no escapes, ASCII ids, JSON integers, strict base64, nothing before or after. For
anything else it returns None and has changed nothing; the slow path then decides, and alone raises.
Searching for a marker such as `"delta":"` would be no proof: nested keys, duplicates and text that
holds the marker would all become wrong audio without an error.

The known forms, each compact and with the spaces of `json.dumps`, under both names:

    OpenAI, Azure   type event_id response_id item_id output_index content_index delta
    Voice Live,     event_id type response_id item_id output_index content_index delta
    DashScope
    xAI             type event_id item_id response_id delta content_index output_index
                    [rid] [latency] [audio_duration_ms] [ts] [previous_item_id]

`Feed.scan` does the same for the lines of a recording, bare or in an envelope, as long as they are
audio deltas. `appended` is for the other direction: a client's input_audio_buffer.append.

This is the pure-Python form of the kernel, and the reference for the compiled one.
"""

import re
from binascii import Error as Base64Error
from math import nan
from struct import Struct as Packed
from typing import Any, TypeAlias

import numpy as np
from pybase64 import b64decode

from deltaring.pool import Route, TrackPool
from deltaring.ring import Samples
from deltaring.run import ENVELOPE, ROW
from deltaring.track import AudioDelta, Track

Match: TypeAlias = re.Match[bytes]

# Everything in a pattern is fixed, or ends at a byte that it cannot contain: matching is linear.
# An id is printable ASCII without quote and backslash: nothing to unescape.
_ID = rb'"(?P<%s>[ !#-\[\]-~]*+)"'
_INDEX = rb"(?P<%s>0|[1-9][0-9]{0,8})"
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?"
_SCALAR = rb'(?:"[ !#-\[\]-~]*+"|null|true|false|' + _NUMBER + rb")"


def _field(key: bytes) -> bytes:
    value = _ID % key if key.endswith(b"id") else _INDEX % key
    return b'"' + key + b'": ?' + value


_TYPE = rb'"type": ?"(?P<type>response\.(?:output_)?audio\.delta)"'
_DELTA = rb'"delta": ?"'
_EVENT_ID, _RESPONSE_ID, _ITEM_ID, _OUTPUT_INDEX, _CONTENT_INDEX = map(
    _field, (b"event_id", b"response_id", b"item_id", b"output_index", b"content_index")
)


def _compile(*fields: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\{" + rb", ?".join(fields))


_IDS_AND_INDICES = _RESPONSE_ID, _ITEM_ID, _OUTPUT_INDEX, _CONTENT_INDEX
_TYPE_FIRST = _compile(_TYPE, _EVENT_ID, *_IDS_AND_INDICES, _DELTA)
_EVENT_ID_FIRST = _compile(_EVENT_ID, _TYPE, *_IDS_AND_INDICES, _DELTA)
_DELTA_INSIDE = _compile(_TYPE, _EVENT_ID, _ITEM_ID, _RESPONSE_ID, _DELTA)
_XAI_EXTRAS = b"rid", b"latency", b"audio_duration_ms", b"ts", b"previous_item_id"
_AFTER_DELTA = re.compile(
    rb'", ?'
    + rb", ?".join((_CONTENT_INDEX, _OUTPUT_INDEX))
    + b"".join(rb'(?:, ?"%s": ?%s)?' % (key, _SCALAR) for key in _XAI_EXTRAS)
    + rb"\}"
)
_APPEND = re.compile(
    rb'\{(?:%s, ?)?"type": ?"input_audio_buffer\.append", ?"audio": ?"' % _EVENT_ID
)


_CR = ord("\r")
_GA = "response.output_audio.delta"
_pack_row = Packed("=qqdqqqqq").pack_into  # run.ROW; a numpy row by row takes four times as long


def _strict_base64(frame: bytes | memoryview, start: int, stop: int) -> bytes | None:
    """Decode that part of the frame, or return None if it isn't strict base64."""
    try:
        return b64decode(memoryview(frame)[start:stop], None, True)
    except Base64Error:
        return None


def _cut(frame: bytes, event_id: tuple[int, int], start: int, *rest: Any) -> Route:
    """Make the route of a proven frame from where its event_id and its payload lie."""
    begin, end = event_id
    begin = frame.find(b"_", begin, end) + 1 or begin
    prefix = frame[event_id[0] : begin].decode()
    return Route(frame[:begin], begin, end, frame[end:start], start, prefix, *rest)


class Feed:
    """One call per frame: the AudioDelta, its samples in the ring, or None for the slow path."""

    __slots__ = ("_pool", "taken")

    def __init__(self, pool: TrackPool) -> None:
        self._pool = pool
        self.taken = 0
        """Frames that were answered."""

    def feed(self, frame: bytes) -> AudioDelta | None:
        """Decode `frame` if it is proven to be an audio delta of a known form.

        A header seen before but for the event_id is compared, which takes 0.3 us where matching
        takes 0.8; and where bytes are samples (pcm16, nothing carried) and the ring need not wrap,
        this does what `Track.receive` does, in 0.3 us less (benchmarks/decode.py, 250 ms pcm16).
        """
        route: Route | None = self._pool.route
        if route is not None:
            head, begin, end, tail, start, prefix, type, output_index, track = route
            event_id = frame[begin:end]
            if (
                event_id.isalnum()
                and frame[:begin] == head
                and frame[end:start] == tail
                and frame[-2:] == b'"}'
            ):
                try:
                    # Arguments by position: keywords cost 165 ns.
                    data = b64decode(memoryview(frame)[start:-2], None, True)
                except Base64Error:
                    return None
                size = len(data)
                if not size:  # the closing quote may be the opening one: that is for the slow path
                    return None
                self.taken += 1
                if track._plain and not size & 1:
                    ring = track.ring
                    first = ring.written
                    if ring.consumed == first:
                        ring._origin = first
                    at = (first - ring._origin) << 1
                    if at + size <= ring._size:
                        ring._buffer[at : at + size] = data
                        ring.written = last = first + (size >> 1)
                        return AudioDelta(
                            type, prefix + event_id.decode(), track, output_index, first, last, 0
                        )
                return track.receive(type, prefix + event_id.decode(), output_index, data)
        # All forms say their type near the front. No proof: it spares other frames the matching.
        if frame.find(b'audio.delta"', 0, 128) < 0:
            return None
        return self._delta_last(frame) or self._delta_inside(frame)

    def _delta_last(self, frame: bytes) -> AudioDelta | None:
        match = _TYPE_FIRST.match(frame) or _EVENT_ID_FIRST.match(frame)
        if match is None or not frame.endswith(b'"}', match.end()):
            return None
        data = _strict_base64(frame, match.end(), len(frame) - 2)
        if data is None:
            return None
        track, type, index = self._track(match, match)
        if track.ring.capacity and not track.done:  # else the next delta may need another ring
            self._pool.route = _cut(frame, match.span("event_id"), match.end(), type, index, track)
        self.taken += 1
        return track.receive(type, match["event_id"].decode(), index, data)

    def _track(self, head: Match, indices: Match) -> tuple[Track, str, int]:
        """Return the track, the type and the output_index of a proven frame."""
        key = head["response_id"].decode(), head["item_id"].decode(), int(indices["content_index"])
        return self._pool.track(key), head["type"].decode(), int(indices["output_index"])

    def _delta_inside(self, frame: bytes) -> AudioDelta | None:
        match = _DELTA_INSIDE.match(frame)
        if match is None:
            return None
        start, stop = match.end(), frame.find(b'"', match.end())
        rest = _AFTER_DELTA.fullmatch(frame, stop) if stop >= 0 else None
        data = None if rest is None else _strict_base64(frame, start, stop)
        if rest is None or data is None:
            return None
        track, type, index = self._track(match, rest)
        self.taken += 1
        return track.receive(type, match["event_id"].decode(), index, data)

    def scan(
        self, buffer: bytes | bytearray, start: int, stop: int, rows: Samples, max_frame: int
    ) -> tuple[int, int, list[Track]]:
        """Take the audio deltas that `buffer[start:stop]` begins with, a line each, into `rows`.

        Returns what a Run holds. A line is taken if it is complete, its frame no longer than
        `max_frame`, and answered by `feed`.
        """
        tracks: dict[int, Track] = {}
        packed, view = rows.view(np.uint8).data, memoryview(buffer)
        count = 0
        while count < len(rows):
            newline = buffer.find(b"\n", start, stop)
            begin, end, time = _cut_frame(buffer, start, newline)
            if not 0 < end - begin <= max_frame:
                break
            event = self.feed(bytes(view[begin:end]))
            if event is None:
                break
            track = event.track
            tracks[track.serial] = track
            positions = event.start, event.stop, event.dropped, event.type == _GA
            _pack_row(
                packed, ROW.itemsize * count, start, newline - start, time, track.serial, *positions
            )
            start = newline + 1
            count += 1
        return count, start, list(tracks.values())


def _cut_frame(buffer: bytes | bytearray, start: int, newline: int) -> tuple[int, int, float]:
    """Return where the server's frame in a line lies, and its time; nothing where there is none."""
    if newline < 0:
        return 0, 0, nan
    if newline > start and buffer[newline - 1] == _CR:
        newline -= 1
    head = ENVELOPE.match(buffer, start, newline)
    if head is None:
        return start, newline, nan
    begin, (time, source) = head.end(), head.groups()
    if source != b"server" or not buffer.endswith(b"}", begin, newline):
        return 0, 0, nan
    return begin, newline - 1, float(time)


def spans_audio_delta(buffer: bytes | bytearray, start: int, stop: int) -> bool:
    """Whether `buffer[start:stop]` is one frame: an audio delta of a known form with `delta` last.

    It proves where the frame ends, since the payload is shown to hold no quote; that the payload is
    base64 is left to whoever decodes it.
    """
    match = _TYPE_FIRST.match(buffer, start, stop) or _EVENT_ID_FIRST.match(buffer, start, stop)
    if match is None or not buffer.endswith(b'"}', match.end(), stop):
        return False
    return buffer.find(b'"', match.end(), stop) == stop - 2


def appended(frame: bytes | memoryview) -> bytes | None:
    """Return the audio of a client's frame, if the whole frame is proven to append some.

    The known form: `[event_id] type audio`, compact or with the spaces of `json.dumps`. Parsing it
    instead costs 10 us a line, for 12,000 bytes of audio.
    """
    match = _APPEND.match(frame)
    if match is None or frame[-2:] != b'"}':
        return None
    # Of nothing, the closing quote may be the opening one.
    return _strict_base64(frame, match.end(), len(frame) - 2) or None
