"""HAR files: the WebSocket messages in them, one by one.

Rule: nothing is held but the message at hand. ijson walks the document and says where messages are,
and never sees what stands in one; strings elsewhere, such as the bodies of responses, are passed
over when they are long.
"""

import re
from binascii import Error as Base64Error
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from pybase64 import b64decode

from deltaring.errors import InvalidJSON, RecordingError, SchemaError
from deltaring.frame import MAX_DEPTH, SHORT, check_depth, decode_mended, without_lone_surrogates
from deltaring.lines import CHUNK, Source

EXPANSION = 3
"""Bytes of JSON text that a byte of a frame takes at most: a character of two bytes, or of four, is
written as one or two escapes of six."""

_ROOM = 4_096  # bytes of a message beside its data
_TEXT, _BINARY = 1, 2  # opcodes; others are control frames, or -1 for an error that Chrome notes

# All that goes by without a brace: whole strings, and what stands between them. Possessive, so that
# a text with a million escapes costs no memory.
_TOKENS = re.compile(rb'(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)  # what is in one, up to its end
_QUOTE, _OPEN = b'"{'
_DIGITS = b"0123456789+-.eE"
_MAX_NUMBER = CHUNK  # characters: as much as is read at a time
_BOM = b"\xef\xbb\xbf"

_ENTRIES = ["log", "entries", "[]"]
_LIST = [*_ENTRIES, "_webSocketMessages"]
_MESSAGES = [*_LIST, "[]"]
_SOURCES = {"send": "client", "receive": "server"}


class Message(NamedTuple):
    """One WebSocket message of a HAR, unread."""

    entry: int
    """Its place in `log.entries`, from 0."""
    number: int
    """Its place in the `_webSocketMessages` of that entry, from 0."""
    offset: int
    """Byte at which it starts, from 0."""
    text: bytes | None
    """Its JSON; None for a message that is too long and was passed over."""


class HarReader:
    """The WebSocket messages of all entries of a HAR, in the order in which they stand there."""

    def __init__(self, source: Source, max_frame: int) -> None:
        """Read `source`. Raises RecordingError where ijson is missing."""
        ijson = _ijson_module()
        self.broken = ""
        """What ended the reading early, once it is known."""
        self.offset = 0
        """Where that is: the end of a text that is cut off; of a damaged one, what follows the last
        brace before the damage."""
        self.lists = 0
        """How many `_webSocketMessages` there were."""
        self._source = source
        self._limit = max_frame * EXPANSION + _ROOM
        self._chunk = bytearray(CHUNK)
        self._text = bytearray()
        self._start = 0  # in _text: what stands before it is done
        self._base = 0  # of _text[0] in the stream
        self._events = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._events)
        # SystemError: so says ijson 3.6 that an integer has more digits than Python takes.
        self._faults = (ijson.JSONError, ValueError, SystemError)
        self._path: list[str] = []  # the key at hand of each open object, "[]" for an array
        self._entry = self._number = -1
        self._found = False  # a message begins where _start is

    def __iter__(self) -> Iterator[Message]:
        self._read()
        if self._text.startswith(_BOM):
            self._start = len(_BOM)
        try:
            while self._find():
                if message := self._take():
                    yield message
        finally:
            with suppress(*self._faults):  # ijson's form in Python complains if it is left open
                self._parser.close()

    def _find(self) -> bool:
        """Go on to the next message; return whether there is one."""
        self._found = False
        try:
            while not self._found:
                if not self._walk():
                    self._finish()
                    return False
        except self._faults as error:
            self.broken = "damaged HAR: " + str(error.__cause__ or error).partition("\n")[0]
            return False
        return True

    def _walk(self) -> bool:
        """Hand on what there is up to the next brace; return whether there may be more."""
        stop = _TOKENS.match(self._text, self._start).end()  # type: ignore[union-attr]
        whole = stop == len(self._text)
        if not whole and self._text[stop] != _QUOTE:
            self._feed(stop + 1)
            self.offset = self._base + self._start
            return True
        if whole:
            self._check_number()
        self._feed(stop)
        if whole or stop + CHUNK > len(self._text):
            return self._read()
        self._skip_string()
        self._parse(b'""')
        return True

    def _check_number(self) -> None:
        """Refuse a number that does not end: ijson would hold all of it, and look at it from its
        start again with each piece."""
        size = len(self._text) - self._start
        if size >= _MAX_NUMBER and not self._text[self._start :].strip(_DIGITS):
            raise ValueError(f"a number of more than {_MAX_NUMBER} digits")

    def _feed(self, stop: int) -> None:
        # Whole strings, in which ijson does not bear half a character; browsers save pages that do.
        piece = without_lone_surrogates(bytes(memoryview(self._text)[self._start : stop]))
        self._start = stop
        if piece:  # nothing would be the end
            self._parse(piece)

    def _parse(self, piece: bytes) -> None:
        self._parser.send(piece)
        for event, value in self._events:
            self._follow(event, value)
        self._events.clear()

    def _follow(self, event: str, value: Any) -> None:
        """Keep to where the parser is."""
        path = self._path
        if event == "map_key":
            path[-1] = value
        elif event.startswith("end_"):
            path.pop()
        else:
            self._count(event)
            if event == "start_map":
                path.append("")
            elif event == "start_array":
                path.append("[]")
            if len(path) > MAX_DEPTH:
                raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")

    def _count(self, event: str) -> None:
        """Count the value that begins, if it is an entry, a list of messages or a message."""
        if self._path == _ENTRIES:
            self._entry += 1
        elif self._path == _LIST:
            self._number = -1
            self.lists += 1
        elif self._path == _MESSAGES:
            self._number += 1
            self._found = event == "start_map"
            if not self._found:
                raise ValueError("a WebSocket message is no object")

    def _take(self) -> Message | None:
        """Cut out the message that was found; None where the text ends within it."""
        offset = self._base + self._start - 1
        size, depth = self._measure(0, 1)
        while depth and len(self._text) - self._start <= self._limit:
            if not self._read():
                return None
            size, depth = self._measure(size, depth)
        if (len(self._text) - self._start if depth else size) > self._limit:
            return Message(self._entry, self._number, offset, None)  # passed over on the way on
        text = b"{%s" % memoryview(self._text)[self._start : self._start + size]
        self._start += size - 1  # the parser gets `{}`
        return Message(self._entry, self._number, offset, text)

    def _measure(self, size: int, depth: int) -> tuple[int, int]:
        """Go on, over what was read since, to the end of the object that begins before _start.

        Takes and returns how many of its bytes were looked at, and how many braces are open.
        """
        at = self._start + size
        while depth:
            at = _TOKENS.match(self._text, at).end()  # type: ignore[union-attr]
            if at == len(self._text) or self._text[at] == _QUOTE:
                break
            depth += 1 if self._text[at] == _OPEN else -1
            at += 1
        return at - self._start, depth

    def _skip_string(self) -> None:
        """Pass over the string that begins at _start."""
        self._start += 1
        while True:
            stop = _STRING.match(self._text, self._start).end()  # type: ignore[union-attr]
            ended = self._text.startswith(b'"', stop)
            self._start = stop + ended
            if ended or not self._read():
                return

    def _read(self) -> bool:
        """Read as much again as is there, so that scanning it anew costs no more than reading."""
        self._base += self._start
        del self._text[: self._start]
        self._start = 0
        before = len(self._text)
        wanted = before + max(before, CHUNK)
        chunk = memoryview(self._chunk)
        while len(self._text) < wanted and (count := self._source.readinto1(chunk)):
            self._text += chunk[:count]
        return len(self._text) > before

    def _finish(self) -> None:
        """Hand on what is left, and the end."""
        self._feed(len(self._text))
        try:
            self._parser.send(b"")
        except StopIteration:
            pass
        except self._faults:
            self.broken = "truncated HAR"
            self.offset = self._base + self._start


def unpack(text: bytes) -> tuple[float | str | None, str, bytes] | None:
    """Return time, source and frame of a message; None for one that carries no frame.

    text: the message's JSON. The time is as it stands there: Unix seconds, as a rule. Of half a
    character in it the frame has U+FFFD, as it had on the wire. Raises InvalidJSON or SchemaError.
    """
    if len(text) > SHORT:
        check_depth(text)
    try:
        fields = decode_mended(_FIELDS, text)
    except msgspec.ValidationError as error:
        raise SchemaError(f"no WebSocket message: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJSON(f"not valid JSON: {error}") from None
    if fields.opcode not in (_TEXT, _BINARY):
        return None
    if fields.type not in _SOURCES:
        raise SchemaError(f"`type` is {fields.type[:40]!r}, not 'send' or 'receive'")
    return fields.time, _SOURCES[fields.type], _frame(fields)


class _Fields(Struct):
    type: str
    data: str
    time: float | str | None = None
    opcode: int = _TEXT


_FIELDS = msgspec.json.Decoder(_Fields)


def _frame(fields: _Fields) -> bytes:
    if fields.opcode == _TEXT:
        return fields.data.encode()
    try:
        return b64decode(fields.data, None, True)
    except (Base64Error, ValueError) as error:
        raise SchemaError(f"`data` is not strict base64: {error}") from None


def _ijson_module() -> Any:
    try:
        import ijson  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise RecordingError("this recording is a HAR: pip install 'deltaring[har]'") from None
    return ijson
