"""What the fuzzer calls: one small function a promise, from bytes to nothing.

Rule: a target raises only where a promise of the documents is broken; all errors that are
documented are handled here, by name. The first byte of the input chooses among the options of a
target, so that one corpus reaches all of them.
"""

import gzip
import io
import itertools
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from pybase64 import b64decode

import deltaring
from deltaring import ROW, AudioDelta, InvalidEvent, har, lines
from deltaring.audio import find_format
from deltaring.errors import FrameError, InvalidJSON, SchemaError
from deltaring.inbox import Inbox
from deltaring.lines import CHUNK
from deltaring.pure import spans_audio_delta
from deltaring.recording import Record, Recording, RecordingWriter, Scan
from deltaring.redact import Redaction
from deltaring.replay import inspect, replay
from deltaring.run import Run
from deltaring.script import Wait, read_client_event, steps
from deltaring.session import MAX_ERRORS, Session
from deltaring.tables import write_tables
from tests.kernels import WAYS, decoder_of
from tests.mutator import (
    Pairs,
    client_frames,
    event_frames,
    hars,
    life,
    parse,
    recorded,
    small_hostile,
    stock,
)
from tests.outcome import comparable, outcome

Seeds = Callable[[], list[bytes]]


def _split(data: bytes) -> tuple[int, bytes]:
    return (data[0], data[1:]) if data else (0, b"")


def _with_options(count: int, inputs: list[bytes]) -> list[bytes]:
    return [bytes([number % count]) + data for number, data in enumerate(inputs)]


# --- decode: every type of input, one outcome ---------------------------------------------------


class _Bytes(bytes):
    pass


class _Text(str):
    __slots__ = ()


def _kinds(frame: bytes) -> Iterator[Any]:
    """The frame in each form that a transport may hand over."""
    yield bytearray(frame)
    yield memoryview(b"xx" + frame)[2:]
    yield memoryview(bytes(itertools.chain.from_iterable(zip(frame, frame, strict=True))))[::2]
    yield memoryview(frame[::-1])[::-1]
    yield _Bytes(frame)
    try:
        text = frame.decode()
    except UnicodeDecodeError:
        return
    yield text
    yield _Text(text)


def _decoded(frame: Any) -> tuple[Any, ...]:
    try:
        event = deltaring.decode(frame)
    except FrameError as error:
        return type(error), str(error)
    assert type(event.type) is str
    assert type(event.event_id) is str
    assert event.is_error in (True, False)
    event.event_id.encode()  # no half of a character comes through
    return type(event), repr(event)


def decode(data: bytes) -> None:
    """An event or a FrameError, and the same for each type of input."""
    expected = _decoded(data)
    for frame in _kinds(data):
        assert _decoded(frame) == expected, (type(frame), _decoded(frame), expected)
    text = data.decode(errors="surrogateescape")
    if any("\ud800" <= each <= "\udfff" for each in text):
        assert _decoded(text)[0] is InvalidJSON


# --- decoder: sequences of frames, all ways of decoding them ------------------------------------

DECODERS: list[dict[str, Any]] = [
    {"seconds": 1.0},
    {"seconds": 0.01, "max_tracks": 2},
    {"seconds": 0.02, "max_tracks": 1, "keep_g711": True},
    {"seconds": 1.0, "max_frame": 700},
    {"seconds": 1.0, "format": "g711_ulaw", "max_frame": 399},
    {"seconds": 1.0, "format": "opus", "sample_rate": 48_000},
]


class Ledger:
    """What a decoder must have received, counted from the frames and from what it says."""

    def __init__(self, decoder: deltaring.Decoder) -> None:
        self.decoder = decoder
        self.received: Counter[int] = Counter()
        self.stops: dict[int, int] = {}
        self.tracks: dict[int, deltaring.Track] = {}

    def take(self, event: AudioDelta, frame: bytes) -> None:
        """An audio delta follows the last of its track, and brings what its frame holds."""
        track = event.track
        assert event.start == self.stops.get(track.serial, 0)
        assert event.dropped <= event.stop - event.start
        self.stops[track.serial] = event.stop
        self.tracks[track.serial] = track
        self.received[track.serial] += len(b64decode(_last_delta(frame), None, True))

    def balance(self) -> None:
        """`bytes_per_sample * (written + dropped) + pending == received`."""
        for serial, track in self.tracks.items():
            width = find_format(track.format).bytes_per_sample if track.sample_rate else 1
            width = 1 if self.decoder._pool._keep_g711 and "g711" in track.format else width
            samples = track.ring.written + track.ring.dropped
            assert width * samples + track.pending == self.received[serial] == track.received


def _last_delta(frame: bytes) -> str:
    text = frame.decode(errors="replace")  # what need not be looked at may be no UTF-8
    return next(value for key, value in reversed(parse(text)) if key == "delta")


def _published(decoder: deltaring.Decoder) -> list[Any]:
    """All that others can see of a decoder."""
    return [
        (key, track.serial, track.ring.written, track.ring.dropped, track.pending, track.done)
        for key, track in decoder.tracks.items()
    ]


def _decode_one(ledger: Ledger, frame: bytes) -> tuple[Any, ...]:
    before = _published(ledger.decoder)
    result = outcome(ledger.decoder, frame)
    if issubclass(result[0], FrameError):
        assert _published(ledger.decoder) == before, "published before an error"
    return result


def decoder(data: bytes) -> None:
    """Native, pure and slow agree on each frame; the books balance; keep keeps what raise raises."""
    choice, data = _split(data)
    options = DECODERS[choice % len(DECODERS)]
    ledgers = [Ledger(decoder_of(way, **options)) for way in WAYS]
    keeper = decoder_of(WAYS[choice // len(DECODERS) % len(WAYS)], on_invalid="keep", **options)
    for frame in data.split(b"\n"):
        results = [_decode_one(ledger, frame) for ledger in ledgers]
        assert results.count(results[0]) == len(results), results
        _check_kept(keeper, frame, results[0][0])
        for ledger in ledgers:
            event = _audio_of(ledger, results[0])
            if event is not None:
                ledger.take(event, frame)
            ledger.balance()
    stats = [comparable(ledger.decoder.stats) for ledger in (*ledgers,)]
    assert [*stats, comparable(keeper.stats)].count(stats[0]) == len(stats) + 1


def _audio_of(ledger: Ledger, result: tuple[Any, ...]) -> AudioDelta | None:
    """The event of an outcome, made again: what it says of itself, and the decoder's own track."""
    if result[0] is not AudioDelta:
        return None
    (type, event_id, _, _, index), (start, stop, dropped, key, *_) = result[1], result[2]
    track = ledger.decoder.tracks[key]
    return AudioDelta(type, event_id, track, index, start, stop, dropped)


def _check_kept(keeper: deltaring.Decoder, frame: bytes, expected: type) -> None:
    event = keeper.decode(frame)
    if isinstance(event, InvalidEvent):
        assert type(event.error) is expected
        assert event.raw in (frame, b"")
    elif isinstance(event, AudioDelta):
        assert expected is AudioDelta
        event.track.ring.clear()
    else:
        assert type(event) is expected


# --- session: the state of it -------------------------------------------------------------------


def session(data: bytes) -> None:
    """Any events give a state; it is bounded, and the same by each way and with any reading of it."""
    choice, data = _split(data)
    options = {**DECODERS[choice % len(DECODERS)], "on_invalid": "keep"}
    sessions = [Session(decoder_of(way, **options), max_items=2, max_responses=1) for way in WAYS]
    for number, frame in enumerate(data.split(b"\n")):
        at = None if choice & 0x80 and number % 3 else number / 2
        for each in sessions:
            each.receive(frame, at)
            if choice & 0x40:
                _state(each)
    states = [_state(each) for each in sessions]
    assert states.count(states[0]) == len(states)
    for way in WAYS[:-1]:
        assert _state(_applied(data, decoder_of(way, **options))) == _state(
            _applied(data, decoder_of("slow", **options))
        )


def _applied(data: bytes, decoder: deltaring.Decoder) -> Session:
    """The session of a recording, run by run where the decoder takes any."""
    session, rows = Session(decoder, max_items=2, max_responses=1), np.empty(9, ROW)
    scan: Scan = lambda buffer, start, stop: decoder.scan(buffer, rows, start, stop)  # noqa: E731
    for record in Recording(io.BytesIO(data)).runs(scan):
        if isinstance(record, Run):
            session.apply_run(record)
        elif record.source == "server":
            session.receive(record.frame, record.time)
    return session


def _state(session: Session) -> Any:
    assert len(session.items) <= 2
    assert len(session.responses) <= 1
    assert len(session.errors) <= MAX_ERRORS
    said = [*session.transcript.lines()]
    "".join(said).encode()
    turns = [msgspec.structs.asdict(turn) for turn in session.latencies.turns]
    return (session.items, session.responses, session.errors, session.usage, said, turns)


# --- recording: any bytes -----------------------------------------------------------------------


def _gzip(text: bytes) -> bytes:
    return gzip.compress(text, 1, mtime=0)


def _zstd(text: bytes) -> bytes:
    try:
        from backports import zstd
    except ImportError:
        from compression import zstd  # type: ignore[import-not-found, no-redef]
    return zstd.compress(text, 1)  # type: ignore[no-any-return]


def _two(text: bytes) -> bytes:
    return _gzip(text[: len(text) // 2]) + _gzip(text[len(text) // 2 :])


WRAPPINGS: list[Callable[[bytes], bytes]] = [
    bytes, bytes, bytes, _gzip, _zstd, _two,
    lambda text: _gzip(text)[:-5],
    lambda text: _zstd(text)[:-5],
    lambda text: _gzip(text) + text,
    lambda text: _zstd(text) + _gzip(text),
]  # fmt: skip


class Trickle(io.RawIOBase):
    """A stream without a position that gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, step: int) -> None:
        self._left, self._step = memoryview(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._step, len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


@contextmanager
def chunks_of(size: int) -> Iterator[None]:
    """Let readers of lines and of HARs read so many bytes at a time."""
    lines.CHUNK = har.CHUNK = size
    try:
        yield
    finally:
        lines.CHUNK = har.CHUNK = CHUNK


_COMPRESSED = re.compile(rb"\x1f\x8b|\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")

Story = tuple[list[Any], list[tuple[int, int, str]], str]


def story(recording: Recording, records: Iterator[Record | Run]) -> Story:
    """All that a recording says: places, times, sources, frames; its problems; what broke it."""
    said: list[Any] = []
    for record in records:
        if isinstance(record, Run):
            said += _said_by(recording, record)
        else:
            time, source, frame = record
            said.append((recording.line, recording.offset, time, source, bytes(frame)))
    problems = [(each.line, each.offset, each.reason) for each in recording.problems]
    assert recording.problem_count >= len(problems)
    return said, problems, recording.broken


def _said_by(recording: Recording, run: Run) -> Iterator[Any]:
    first = int(run.rows["line"][0])
    for number, row in enumerate(run.rows.tolist()):
        time = None if row[2] != row[2] else row[2]
        yield recording.line + number, recording.offset + row[0] - first, time, "server", None


def _by_runs(data: bytes, way: str, rows: int) -> Story:
    recording = Recording(io.BytesIO(data))
    decoder = decoder_of(way, seconds=1.0, max_tracks=64)
    array = np.empty(rows, ROW)
    scan: Scan = lambda buffer, start, stop: decoder.scan(buffer, array, start, stop)  # noqa: E731
    return story(recording, recording.runs(scan))


def recording(data: bytes) -> None:
    """Nothing is raised; views and runs and any chunks say the same; each line is accounted for."""
    choice, text = _split(data)
    data = WRAPPINGS[choice % len(WRAPPINGS)](text)
    whole = Recording(io.BytesIO(data))
    expected = story(whole, iter(whole))
    for other in _other_readings(data, choice):
        assert other == expected, (other, expected)
    for way in WAYS[:-1]:
        _agree(_by_runs(data, way, 1 + choice % 5), expected)
    if choice % len(WRAPPINGS) < 3 and not _COMPRESSED.match(data):
        _account(data, expected)
    _rewrite(expected[0])


def _other_readings(data: bytes, choice: int) -> Iterator[Story]:
    again = Recording(io.BytesIO(data))
    yield story(again, again.views())
    with chunks_of(1 + choice):
        source: Any = Trickle(data, 1 + choice % 7) if choice & 1 else io.BytesIO(data)
        small = Recording(source)
        yield story(small, small.views())


def _agree(by_runs: Story, expected: Story) -> None:
    """The rows of runs are the records, but for the frame, which rows do not hold."""
    said, problems, broken = by_runs
    assert (problems, broken) == expected[1:]
    assert len(said) == len(expected[0])
    for one, other in zip(said, expected[0], strict=True):
        assert one[:4] == other[:4]
        assert one[4] in (None, other[4])


def _account(data: bytes, expected: Story) -> None:
    """Each line is a record, a problem or blank; what json reads as a frame is one."""
    if _is_har(data):
        return
    records = {record[0]: record for record in expected[0]}
    refused = {problem[0] for problem in expected[1]}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        blank = not line.removesuffix(b"\r").strip()
        assert (number in records) + (number in refused) + blank == 1, (number, line)
        frame = _obvious(line)
        if frame is not None:
            assert records.get(number, (0,) * 5)[4] == frame, (line, expected[1])
        if number in records:
            assert records[number][4] in line or _has_raw(line), (line, records[number])


def _has_raw(line: bytes) -> bool:
    return "raw" in json.loads(line.decode(errors="replace"))  # names need be no UTF-8


def _is_har(data: bytes) -> bool:
    return data.removeprefix(b"\xef\xbb\xbf").lstrip().removeprefix(b"{").lstrip()[:5] == b'"log"'


def _obvious(line: bytes) -> bytes | None:
    """The frame of a line that is bare beyond doubt: an object in UTF-8 with a `type`, not deep."""
    text = line.removesuffix(b"\r")
    if text.count(b"[") + text.count(b"{") > 128 or not text.startswith(b"{"):
        return None
    try:
        text.decode()
        document = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return text if "type" in document else None


def _refuse(name: str) -> None:
    raise ValueError(name)


_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_PLACE = tempfile.TemporaryDirectory(prefix="deltaring-fuzz-", dir=_MEMORY)
PLACE = Path(_PLACE.name)
"""Where targets that write do so."""


def _rewrite(said: list[Any]) -> None:
    """What a writer writes, a reader reads."""
    if len(said) > 40:
        return
    path = PLACE / "written.jsonl"
    path.unlink(missing_ok=True)
    with RecordingWriter(path) as writer:
        for _, _, time, source, frame in said:
            writer.write(frame, source=source, time=time)
    again = Recording(path)
    assert [tuple(record) for record in again] == [record[2:] for record in said]
    assert not again.problems


# --- HAR: any bytes -----------------------------------------------------------------------------


def har_file(data: bytes) -> None:
    """Nothing is raised; any chunks say the same; of a valid one no clear message is missing."""
    choice, text = _split(data)
    data = text if _is_har(text) else b'{"log":' + text + b"}"
    whole = Recording(io.BytesIO(data))
    expected = story(whole, iter(whole))
    # Longer than a key, and than numbers: longer strings are passed over unseen, longer numbers end
    # the reading.
    with chunks_of(512 + choice):
        small = Recording(Trickle(data, 1 + choice % 7))
        other = story(small, small.views())
    document = _document(data)
    if document is None or _LONG_NUMBER.search(data):
        return
    assert other == expected, (other, expected)
    found = {record[0]: record[2:] for record in expected[0]}
    wrong = {problem[0]: problem[2] for problem in expected[1]}
    for number, (path, message) in enumerate(_messages(document), 1):
        clear = _clear(message)
        assert clear is None or found.get(number) == clear, (number, clear, expected)
        assert number in found or wrong.get(number, path).startswith(path), (path, wrong)


_LONG_NUMBER = re.compile(rb"[0-9+.eE-]{512}")


def _document(data: bytes) -> Any:
    """The text as a document without doubt, or None."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    if text.count(b"[") + text.count(b"{") > 128:
        return None
    try:
        text.decode()
        json.loads(text, parse_constant=_refuse)
        return parse(text)
    except (ValueError, RecursionError):
        return None


def _all(value: Any, key: str) -> list[Any]:
    return [inner for name, inner in value if name == key] if isinstance(value, Pairs) else []


def _messages(document: Any) -> Iterator[tuple[str, Any]]:
    """The messages with their paths, in order; up to one that is no object, where reading ends."""
    entries = [
        entry
        for log in _all(document, "log")
        for entries in _all(log, "entries")
        for entry in (entries if type(entries) is list else ())
    ]
    for place, entry in enumerate(entries):
        for messages in _all(entry, "_webSocketMessages"):
            for number, message in enumerate(messages if type(messages) is list else ()):
                if not isinstance(message, Pairs):
                    return
                yield f"log.entries[{place}]._webSocketMessages[{number}]: ", message


def _clear(message: Any) -> tuple[Any, ...] | None:
    """The record of a message about which there is no doubt."""
    fields = dict(message)
    text, time = fields.get("data"), fields.get("time")
    if len(fields) != len(message) or fields.get("type") not in ("send", "receive"):
        return None
    if type(text) is not str or fields.get("opcode", "1") != "1" or not _is_time(time):
        return None
    source = {"send": "client", "receive": "server"}[fields["type"]]
    return None if time is None else float(time), source, _mended(text)


def _is_time(time: Any) -> bool:
    return time is None or (time.__class__.__name__ == "Token" and abs(float(time)) <= 1e12)


def _mended(text: str) -> bytes:
    """In UTF-8, with U+FFFD for half a character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


# --- replay: any recording ----------------------------------------------------------------------


def replayed(data: bytes) -> None:
    """A report for every recording, the same whether or not anything is written."""
    choice, data = _split(data)
    looked, read = Recording(io.BytesIO(data), name="x"), Recording(io.BytesIO(data), name="x")
    report = inspect(looked)
    json.loads(report.to_json())
    options: dict[str, Any] = {"audio": ("wav", "none")[choice & 1], "stereo": choice & 3 == 2}
    tabled = bool(choice & 4) and find_spec("pyarrow") is not None
    written, folder = replay(read, PLACE / "out", salvage=True, events=tabled, **options)
    assert _said_of(written) == _said_of(report)
    for name in ("session.json", "transcript.json"):
        json.loads((folder / name).read_bytes())
    if tabled:
        write_tables(PLACE / "out", [("x", folder.name)])
    shutil.rmtree(PLACE / "out")


def _said_of(report: Any) -> Any:
    """A report but for the files, and for what of the audio could not be written as asked."""
    said = json.loads(report.to_json())
    return {key: value for key, value in said.items() if key not in _OF_FILES}


_OF_FILES = ("files", "items", "user", "errors", "error_count")


# --- redaction ----------------------------------------------------------------------------------


def redact(data: bytes) -> None:
    """What goes out is the frame, or a document of the same shape without secrets, or withheld."""
    choice, data = _split(data)
    options = {"secrets": bool(choice & 1), "audio": bool(choice & 2), "text": bool(choice & 4)}
    redaction = Redaction(**options)
    for number, frame in enumerate(data.split(b"\n")):
        source = ("server", "client")[(choice >> 3) + number & 1]
        kept = redaction.apply(frame, source)
        # An audio delta has nothing to hide in its known fields, whatever its payload is.
        if kept == frame and (not options["secrets"] or spans_audio_delta(frame, 0, len(frame))):
            continue
        document = parse(kept.decode(errors="surrogatepass"))
        if document[:1] != [["type", "deltaring.withheld"]]:
            _same_shape(parse(frame.decode(errors="surrogatepass")), document, options["secrets"])


def _same_shape(before: Any, after: Any, secrets: bool) -> None:
    """Keys and lengths are the same, and only values differ."""
    assert type(before) is type(after) or not isinstance(before, list)
    if isinstance(before, Pairs):
        assert [key for key, _ in before] == [key for key, _ in after]
        for (key, old), (_, new) in zip(before, after, strict=True):
            if key == "client_secret" and secrets:
                _no_words(new)
            _same_shape(old, new, secrets)
    elif isinstance(before, list):
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            _same_shape(old, new, secrets)


def _no_words(value: Any, key: str = "") -> None:
    if isinstance(value, Pairs):
        for name, inner in value:
            _no_words(inner, name)
    elif isinstance(value, list):
        for inner in value:
            _no_words(inner, key)
    else:
        assert key == "expires_at" or value in ("[redacted]", None, True, False), value


# --- the replay server's core -------------------------------------------------------------------


def server(data: bytes) -> None:
    """A script sends every server frame once and in order; a client that says what was recorded is
    never waited for; whatever else one says is an event or a FrameError."""
    choice, text = _split(data)
    inbox = Inbox()
    for line in text.split(b"\n"):
        _client_says(inbox, line)
    records = list(Recording(io.BytesIO(text)))
    _play(records, Inbox(), ignore_client=bool(choice & 1))


def _client_says(inbox: Inbox, message: bytes) -> None:
    from deltaring.server import _error

    try:
        inbox.take(read_client_event(message), 0.0)
    except (InvalidJSON, SchemaError) as error:
        _check_answer(_error(error), str(error))


def _check_answer(frame: str, reason: str) -> None:
    answer = deltaring.decode(frame)
    assert isinstance(answer, deltaring.ErrorEvent)
    assert answer.error.message == reason  # type: ignore[union-attr]


def _play(records: list[Record], inbox: Inbox, *, ignore_client: bool) -> None:
    sent, last = [], 0.0
    for step in steps(_heard(records, inbox), ignore_client=ignore_client):
        assert step.at >= last
        last = step.at
        if isinstance(step, Wait):
            assert inbox.satisfies(step, 0.0), (step, vars(inbox))
            inbox.use(step)
            last = 0.0
        else:
            sent.append(step.frame)
    assert sent == [record.frame for record in records if record.source == "server"]


def _heard(records: list[Record], inbox: Inbox) -> Iterator[Record]:
    for record in records:
        if record.source == "client":
            _client_says(inbox, bytes(record.frame))
        yield record


def socket(data: bytes) -> None:
    """The server on a real socket outlives any client, and goes on serving others."""
    _sockets().attack(data)


def _sockets() -> Any:
    from tests import sockets  # websockets is an extra

    return sockets


# --- the list -----------------------------------------------------------------------------------


def _frames() -> list[bytes]:
    return [*stock(), *small_hostile()]


def _lives() -> list[bytes]:
    frames = [*life(), *event_frames()]
    groups = [b"\n".join(frames[at : at + 8]) for at in range(0, len(frames), 4)]
    return [*groups, b"\n".join(life()), *small_hostile()[::3]]


def _recordings() -> list[bytes]:
    return [*recorded(), *recorded(), *recorded()]


def _said() -> list[bytes]:
    return [b"\n".join(client_frames()), *recorded(), *client_frames(), *event_frames()[:5]]


TARGETS: dict[str, tuple[Callable[[bytes], None], Seeds]] = {
    "decode": (decode, _frames),
    "decoder": (decoder, lambda: _with_options(18, _lives())),
    "session": (session, lambda: _with_options(256, _lives() + recorded()[:1])),
    "recording": (recording, lambda: _with_options(10, _recordings())),
    "har": (har_file, lambda: _with_options(40, hars())),
    "replay": (replayed, lambda: _with_options(8, _recordings() + hars())),
    "redact": (redact, lambda: _with_options(16, _lives() + client_frames())),
    "server": (server, lambda: _with_options(2, _said())),
    "socket": (socket, lambda: _sockets().seeds()),
}
"""By name: what to call, and what to start from."""
