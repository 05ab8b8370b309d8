"""Recorded sessions: reading and writing them, as docs/recording.md specifies.

Rule: frames stay as they were on the wire, and whatever is wrong with a file is named with its
line and byte offset while the rest of it is read. Nothing here knows what a frame means.
"""

import gzip
import io
import os
import re
import zlib
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import msgspec
import numpy as np
import orjson
from msgspec import Raw, Struct
from pybase64 import b64decode, b64encode

from deltaring.errors import FrameError, InvalidJSON, RecordingError, SchemaError
from deltaring.frame import (
    MAX_FRAME,
    SHORT,
    Frame,
    check_depth,
    too_large,
    without_lone_surrogates,
)
from deltaring.har import HarReader, Message, unpack
from deltaring.lines import Line, LineReader, Source
from deltaring.pure import appended, spans_audio_delta
from deltaring.run import ENVELOPE, ROW, Run

MAX_PROBLEMS = 1_000
"""Problems of one recording that are kept; further ones are only counted."""

_MAX_REASON = 500  # characters; a reason may quote what it found
_ENVELOPE_ROOM = 4_096  # bytes of a line beside its frame
_MAX_TIME = 1e12  # seconds, either side of 1970: the 12 digits that ENVELOPE takes
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # a frame, or a skippable one
_ZSTD_WINDOW_LOG = 27  # 128 MiB, zstd's own default; more would be memory at a file's command
# A HAR is an object whose first key is "log"; a text that may still become one is undecided.
_HAR = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"log"')
_UNDECIDED = re.compile(rb'\xef?\xbb?\xbf?\s*(?:\{\s*(?:"(?:l(?:og?)?)?)?)?')
# Bytes to ask a source for at least. For fewer, readers of the standard library fill buffers of
# their own, and what is left there is lost if the next read fails.
_LEAST = io.DEFAULT_BUFFER_SIZE + 1
_MAX_UNDECIDED = 4_096  # bytes; what writes HAR files puts some 20 before the key


_NO_ROWS = np.empty(0, ROW)

Scan: TypeAlias = Callable[[bytearray, int, int], Run]


class Record(NamedTuple):
    """One frame of a recording."""

    time: float | None
    """Unix seconds; None where the recording does not say."""
    source: str
    """server or client"""
    frame: bytes | memoryview


class Problem(Struct, frozen=True):
    """What is wrong with a recording, and where."""

    file: str
    line: int
    """From 1. In a HAR file: the number of the message in the whole file."""
    offset: int
    """Byte at which the line or message starts, from 0, after decompression."""
    reason: str
    """In a HAR file it begins with the path of the message there."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: byte {self.offset}: {self.reason}"


@runtime_checkable
class Opener(Protocol):
    """A file that is no path of the system's: one behind a URL, in an archive."""

    def open(self) -> BinaryIO:
        """Open it at its start; the recording closes it."""


Origin: TypeAlias = str | os.PathLike[str] | BinaryIO | Opener


class Recording:
    """A recorded session, read from the start each time it is iterated over.

        recording = Recording("session.jsonl.gz")
        for time, source, frame in recording:
            ...
        for problem in recording.problems:
            print(problem)

    What is wrong with the file does not stop the iteration: it is put into `problems`. Opening may
    raise OSError, and RecordingError where Zstandard, or ijson for a HAR file, is needed and not
    installed.
    """

    def __init__(
        self,
        source: Origin,
        *,
        name: str | None = None,
        max_frame: int = MAX_FRAME,
    ) -> None:
        """Name a recording: a path, an Opener, or a binary stream (which can be read once).

        name: what problems call it, and what its output folder is named after; the path as given
            or the stream's own name unless told otherwise.
        max_frame: longest frame in bytes; a longer one is reported and skipped.
        """
        self._source = source
        self.max_frame = max_frame
        if isinstance(source, (str, os.PathLike)):
            self.name = name or os.fspath(source)
        else:
            self.name = name or str(getattr(source, "name", "stream"))
        self._start()

    def _start(self) -> None:
        self.problems: list[Problem] = []
        """What was found wrong so far, at most MAX_PROBLEMS."""
        self.problem_count = 0
        """How many problems there were so far."""
        self.broken = ""
        """What cut the file off before its end; what came before was delivered."""
        self.line = 0
        """Line number of the record at hand, from 1; in a HAR file, its message's number."""
        self.offset = 0
        """Byte at which that line or message starts, from 0, after decompression."""
        self._path = ""  # of the message at hand in a HAR file

    def __iter__(self) -> Iterator[Record]:
        """Yield the records, each with its frame as bytes."""
        for time, source, frame in self.views():
            yield Record(time, source, bytes(frame))

    def views(self) -> Iterator[Record]:
        """Yield the records without copying their frames.

        A frame is a memoryview that stays valid until the next record is asked for; its contents
        change then.
        """
        yield from self.runs(_take_nothing)  # type: ignore[misc]  # there are no runs

    def runs(self, scan: Scan) -> Iterator[Record | Run]:
        """Yield what `scan` takes of the lines ahead, and the records between, as `views` does.

        scan: is offered the lines that are in memory, as `buffer, start, stop`; returns a Run. That
            is `Decoder.scan` with rows of its own; they stay valid until the next one is asked for.
            A HAR file has no lines: all of it comes as records.
        """
        self._start()
        with _Stream(self._source) as stream:
            yield from self._har(stream) if stream.is_har() else self._lines(stream, scan)
            if stream.broken:
                self.broken = stream.broken
                self.report(stream.broken)

    def _lines(self, stream: "_Stream", scan: Scan) -> Iterator[Record | Run]:
        lines = LineReader(stream, self.longest_line)
        while lines.find():
            self.line, self.offset = lines.number, lines.offset
            run = scan(lines.buffer, lines.start, lines.stop)
            if count := len(run.rows):
                size = int(run.rows["line"][-1] - run.rows["line"][0])
                yield run
                self.line, self.offset = self.line + count - 1, self.offset + size
                lines.skip(count, run.stop)
            elif record := self._read(lines.take(), stream.broken):
                yield record

    def _har(self, stream: "_Stream") -> Iterator[Record]:
        reader = HarReader(stream, self.max_frame)
        for message in reader:
            self.line, self.offset = self.line + 1, message.offset
            self._path = f"log.entries[{message.entry}]._webSocketMessages[{message.number}]: "
            if record := self._unpack(message):
                yield record
        if reader.broken and not stream.broken:
            self.line, self.offset, self._path = self.line + 1, reader.offset, ""
            self.broken = reader.broken
            self.report(reader.broken)
        elif not reader.lists and not stream.broken:
            self.report("no entry of this HAR has `_webSocketMessages`")

    @property
    def longest_line(self) -> int:
        """Bytes. base64 makes four of three: it is the line of a frame that is kept as `raw`."""
        return self.max_frame * 4 // 3 + _ENVELOPE_ROOM

    def report(self, reason: str, *, line: int = 0, offset: int = 0) -> None:
        """Add a problem with the line at hand: for those who decode its frame, too.

        line, offset: how many lines and bytes after it, in a run.
        """
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            reason = self._path + reason
            reason = reason if len(reason) <= _MAX_REASON else reason[:_MAX_REASON] + " ..."
            place = max(self.line, 1) + line, self.offset + offset
            self.problems.append(Problem(self.name, *place, reason))

    def _read(self, line: Line, broken: str) -> Record | None:
        """Return the record of a line; None for an empty or broken one."""
        if line.too_long:
            self.report(f"the line is too long for a frame of {self.max_frame} bytes")
            return None
        try:
            record = _parse(line)
        except FrameError as error:
            if line.complete or not isinstance(error, InvalidJSON):
                self.report(str(error))
            elif not broken:
                self.report(f"truncated last line: {error}")
            return None
        return record if record is not None and self._fits(record.frame) else None

    def _unpack(self, message: Message) -> Record | None:
        """Return the record of a message; None for one that has no frame, or is broken."""
        if message.text is None:
            self.report(f"the message is too long for a frame of {self.max_frame} bytes")
            return None
        try:
            fields = unpack(message.text)
            if fields is None:
                return None
            time, source, frame = fields
            record = Record(_unix_time(time), source, frame)
        except FrameError as error:
            self.report(str(error))
            return None
        return record if self._fits(frame) else None

    def _fits(self, frame: bytes | memoryview) -> bool:
        if len(frame) > self.max_frame:
            self.report(str(too_large(len(frame), self.max_frame)))
        return len(frame) <= self.max_frame


def _take_nothing(buffer: bytearray, start: int, stop: int) -> Run:
    return Run(_NO_ROWS, start, [])


def _parse(line: Line) -> Record | None:
    """Cut the frame out of a line, or parse it; None for an empty line. Raises FrameError."""
    _, offset, buffer, start, stop, _, _ = line
    if not offset and buffer.startswith(_BOM, start, stop):
        start += len(_BOM)
    if buffer.endswith(b"\r", start, stop):
        stop -= 1
    if spans_audio_delta(buffer, start, stop):
        return Record(None, "server", memoryview(buffer)[start:stop])
    head = ENVELOPE.match(buffer, start, stop)
    if head is not None and buffer.endswith(b"}", head.end(), stop):
        frame = memoryview(buffer)[head.end() : stop - 1]
        if spans_audio_delta(buffer, head.end(), stop - 1) or appended(frame) is not None:
            return Record(float(head[1]), head[2].decode(), frame)
    text = bytes(memoryview(buffer)[start:stop])
    return None if text.isspace() or not text else _parse_text(text)


_ABSENT = Raw()


class _Fields(Struct):
    """The keys of a line that matter, unread: what stands in a frame is not ours to judge."""

    type: Raw = _ABSENT
    time: Raw = Raw(b"null")
    source: Raw = Raw(b'"server"')
    event: Raw = _ABSENT
    raw: Raw = _ABSENT


_FIELDS = msgspec.json.Decoder(_Fields)


def _parse_text(text: bytes) -> Record:
    """Parse a line of any shape. Raises InvalidJSON or SchemaError."""
    if len(text) > SHORT:
        check_depth(text)
    try:
        fields = _read_fields(text)
        if fields.type is not _ABSENT:
            return Record(None, "server", memoryview(text))
        time = msgspec.json.decode(fields.time, type=float | str | None)
        return Record(_unix_time(time), _source(fields.source), _frame(fields))
    except msgspec.ValidationError as error:
        raise SchemaError(f"neither a frame nor an envelope: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJSON(f"not valid JSON: {error}") from None


def _read_fields(text: bytes) -> _Fields:
    """Read the fields of a line, all of them as they stand there. Raises msgspec's errors."""
    try:
        return _FIELDS.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = bytearray(without_lone_surrogates(text))
        if mended == text:
            raise
        # What a decoder takes must not be lost on the way to it. Fields are views of what they are
        # read from, so that they can get back what was mended.
        fields = _FIELDS.decode(mended)
        mended[:] = text
        return fields


def _unix_time(value: float | str | None) -> float | None:
    """Return a time in Unix seconds. Raises SchemaError."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise SchemaError(f"`time` is no ISO 8601 time: {value[:40]!r}") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if value is not None and abs(value) > _MAX_TIME:
        raise SchemaError(f"`time` is no Unix time in seconds: {value}")
    return value


def _source(raw: Raw) -> str:
    value: str = msgspec.json.decode(raw, type=str)
    if value not in ("server", "client"):
        raise msgspec.ValidationError(f"`source` is {value[:40]!r}, not 'server' or 'client'")
    return value


def _frame(fields: _Fields) -> memoryview:
    if fields.event is not _ABSENT:
        view = memoryview(fields.event)
        if bytes(view[:1]) == b"{":
            return view
        raise msgspec.ValidationError("`event` is no object")
    if fields.raw is _ABSENT:
        raise msgspec.ValidationError("there is no `type`, no `event` and no `raw`")
    try:
        return memoryview(b64decode(msgspec.json.decode(fields.raw, type=str), None, True))
    except (Base64Error, ValueError) as error:
        raise msgspec.ValidationError(f"`raw` is not strict base64: {error}") from None


class _Stream:
    """The bytes of a recording, decompressed; a fault of the stream becomes an early end."""

    def __init__(self, source: Origin) -> None:
        self.broken = ""
        """What cut the stream off, once it is."""
        self._head = b""  # what was read of the text already
        self._faults: tuple[type[Exception], ...] = (OSError, zlib.error)
        with ExitStack() as owned:
            if isinstance(source, (str, os.PathLike)):
                source = owned.enter_context(Path(source).open("rb", buffering=0))
            elif isinstance(source, Opener):
                source = owned.enter_context(source.open())
            self._source, self._kind = self._decompressed(source, owned)
            self._owned = owned.pop_all()

    def _decompressed(self, source: BinaryIO, owned: ExitStack) -> tuple[Source, str]:
        head = _head(source)
        source = io.BufferedReader(_Pushback(head, source))
        if head.startswith(_GZIP):
            return owned.enter_context(gzip.GzipFile(fileobj=source)), "gzip"
        if _ZSTD.match(head):
            zstd = _zstd_module()
            self._faults += (zstd.ZstdError,)
            options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
            return owned.enter_context(zstd.ZstdFile(source, options=options)), "zstd"
        return source, ""

    def is_har(self) -> bool:
        """Whether the text is a HAR; for that it reads on until it can be told, and no further."""
        while _UNDECIDED.fullmatch(self._head) and len(self._head) < _MAX_UNDECIDED:
            more = self._more()
            if not more:
                break
            self._head += more
        return _HAR.match(self._head[:_MAX_UNDECIDED]) is not None

    def readinto1(self, buffer: memoryview) -> int:
        if not self._head:
            if len(buffer) >= _LEAST:
                return self._read(buffer)
            self._head = self._more()
        count = min(len(buffer), len(self._head))
        buffer[:count] = self._head[:count]
        self._head = self._head[count:]
        return count

    def _more(self) -> bytes:
        piece = bytearray(_LEAST)
        return bytes(piece[: self._read(memoryview(piece))])

    def _read(self, buffer: memoryview) -> int:
        """Read into a buffer of at least _LEAST bytes."""
        if self.broken:
            return 0
        try:
            return self._source.readinto1(buffer)
        except EOFError:
            self.broken = f"truncated {self._kind} stream"
        except self._faults as error:
            self.broken = f"damaged {self._kind} stream: {error}" if self._kind else str(error)
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._owned.close()


def _head(source: BinaryIO) -> bytes:
    """Read the first four bytes: a raw stream may give them one by one."""
    head = b""
    while len(head) < 4 and (more := source.read(4 - len(head))):
        head += more
    return head


class _Pushback(io.RawIOBase):
    """A stream whose first bytes were read already. Closing it leaves the stream open."""

    def __init__(self, head: bytes, source: Any) -> None:
        self._head = head
        self._readinto = getattr(source, "readinto1", None) or source.readinto

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head:
            return self._readinto(buffer) or 0
        count = min(len(buffer), len(self._head))
        buffer[:count] = self._head[:count]
        self._head = self._head[count:]
        return count


def _zstd_module() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore] # 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise RecordingError(
                "this recording is compressed with Zstandard: pip install 'deltaring[zstd]'"
            ) from None
    return zstd


class RecordingWriter:
    """Appends frames to a recording, each in one write to the operating system.

        with RecordingWriter("session.jsonl") as recording:
            recording.write(frame, time=time.time())

    A crash loses at most the line in flight. Raises OSError as files do.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, opener: Callable[[str, int], int] | None = None
    ) -> None:
        """Open `path` for appending; a last line that was cut off there is ended first.

        opener: opens the file in place of `os.open`, as that of `open` does.
        """
        self._file = io.FileIO(path, "ab+", opener=opener)
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - 1))
        self._torn = self._file.read(1) not in (b"", b"\n")
        """The file ends inside a line."""

    def write(self, frame: Frame, *, source: str = "server", time: float | None = None) -> None:
        """Append one frame as it is.

        source: "server" or "client". time: Unix seconds, None where it is not known.
        Raises ValueError for another source, or a time that a reader would refuse.
        """
        if source not in ("server", "client"):
            raise ValueError(f"source is 'server' or 'client', not {source!r}")
        if time is not None and not abs(time) <= _MAX_TIME:  # so is nan
            raise ValueError(f"time is no Unix time in seconds: {time}")
        data = frame.encode(errors="surrogatepass") if isinstance(frame, str) else bytes(frame)
        stamp = b"null" if time is None else repr(float(time)).encode()
        self._append(b'{"time":%s,"source":"%s",%s}\n' % (stamp, source.encode(), _body(data)))

    def _append(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line
        written = self._file.write(line)
        self._torn = written != len(line)
        if self._torn:
            raise OSError(f"{self._file.name}: only {written} of {len(line)} bytes were written")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _body(frame: bytes) -> bytes:
    """Return `"event":<frame>` where the frame can stand in a line, else `"raw":"<base64>"`."""
    event = b'"event":' + frame
    if b"\n" not in frame and b"\r" not in frame and _is_object(frame, event):
        return event
    return b'"raw":"' + b64encode(frame) + b'"'


def _is_object(frame: bytes, event: bytes) -> bool:
    """Whether the frame is an object from its first byte to its last, as a reader will take it."""
    if not (frame.startswith(b"{") and frame.endswith(b"}")):
        return False
    try:
        check_depth(b"{" + event + b"}")
        return isinstance(orjson.loads(frame), dict)  # which also looks at all of the UTF-8
    except (FrameError, orjson.JSONDecodeError):
        return False
