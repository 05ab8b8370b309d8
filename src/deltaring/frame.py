"""One frame to one event, typed: the slow path, which is always right.

Rule: every input gives an event or a `FrameError`. A type that is not in the catalogue gives an
`UnknownEvent`, whatever else is in the frame; a known type gives its class or an error, never
another class.
"""

import functools
import json
import re
import typing
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from deltaring.errors import FrameTooLarge, InvalidJSON, SchemaError
from deltaring.events import EVENT_CLASSES, Event, KnownEvent, ServerEvent, UnknownEvent

T = TypeVar("T")

Frame: TypeAlias = bytes | bytearray | memoryview | str
"""One WebSocket message. A memoryview may have an offset, any shape and any strides."""

MAX_FRAME = 32 << 20
"""Default limit in bytes. The largest frame seen is 3.4 MB; OpenAI takes no more than 15 MB."""

MAX_DEPTH = 256
"""Levels of nesting. msgspec has no limit of its own: on a thread with a stack of 256 KiB it
crashed at 700 nested objects (msgspec 0.22, x86-64). Real frames nest about 10 deep."""

SHORT = 400
"""Bytes. A frame up to this long cannot nest deeply enough to do harm, and the typed decode takes
it as fast as any other way would (benchmarks/decode.py): it goes there at once."""

_COUNTED = 4_096  # bytes: see _many_openers
_BLOCK = 64 << 10  # bytes looked at together: numpy's temporaries stay in the cache
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def as_bytes(frame: Frame, max_frame: int) -> bytes:
    """Return the frame as bytes: one copy, or a str's encoding.

    Raises FrameTooLarge before it copies (a str may be found too long only afterwards, by the
    caller), InvalidJSON for a str with lone surrogates, and TypeError.
    """
    if isinstance(frame, memoryview):
        size = _nbytes(frame)
    elif isinstance(frame, (bytes, bytearray, str)):
        size = len(frame)
    else:
        raise TypeError(
            f"a frame is bytes, bytearray, memoryview or str, not {type(frame).__name__}"
        )
    if size > max_frame:
        raise too_large(size, max_frame)
    if not isinstance(frame, str):
        return bytes(frame)
    try:
        return frame.encode()
    except UnicodeEncodeError as error:
        raise InvalidJSON(f"the frame is no text: {error}") from None


def _nbytes(view: memoryview) -> int:
    try:
        return view.nbytes
    except ValueError as error:  # released: there is no frame in it any more
        raise TypeError(f"not a frame: {error}") from None


def too_large(size: int, max_frame: int) -> FrameTooLarge:
    """Return the error for a frame of `size` bytes."""
    return FrameTooLarge(f"the frame has {size} bytes, the limit is {max_frame}")


def check_depth(frame: bytes) -> None:
    """Raise InvalidJSON if the frame nests deeper than MAX_DEPTH. Not needed up to SHORT."""
    if _many_openers(frame) and _depth(frame) > MAX_DEPTH:
        raise InvalidJSON(f"the frame nests deeper than {MAX_DEPTH} levels")


def _many_openers(frame: bytes) -> bool:
    """Whether there are more than MAX_DEPTH opening brackets, in strings or out of them.

    If not, the frame cannot nest too deeply. bytes.count() looks at each byte (0.3 ns in CPython
    3.11), which a short frame bears; a long one is nearly all base64, over which find() leaps.
    """
    if len(frame) < _COUNTED:
        return frame.count(b"[") + frame.count(b"{") > MAX_DEPTH
    left = MAX_DEPTH
    for opener in (b"[", b"{"):
        at = frame.find(opener)
        while at >= 0:
            left -= 1
            if left < 0:
                return True
            at = frame.find(opener, at + 1)
    return False


def _depth(frame: bytes) -> int:
    """Return the deepest nesting of brackets outside of strings, or the first over MAX_DEPTH."""
    if b"\\" in frame:  # then each quote that is left opens or closes a string
        frame = frame.replace(b"\\\\", b"").replace(b'\\"', b"")
    codes = np.frombuffer(frame, np.uint8)
    depth = deepest = quotes = 0
    for start in range(0, len(codes), _BLOCK):
        block = codes[start : start + _BLOCK]
        inside = np.cumsum(block == ord('"'), dtype=np.int64) + quotes
        depths = np.cumsum(_STEPS[block] * (inside % 2 == 0), dtype=np.int64) + depth
        depth, quotes = int(depths[-1]), int(inside[-1])
        deepest = max(deepest, int(depths.max()))
        if deepest > MAX_DEPTH:
            break
    return deepest


decode_known: Callable[[bytes], KnownEvent] = msgspec.json.Decoder(KnownEvent).decode
"""The typed decode. What it raises (DecodeError, UnicodeDecodeError, RecursionError) goes to
`parse_refused`; both are for frames that `check_depth` has passed."""


def parse_refused(frame: bytes, error: Exception) -> ServerEvent:
    """Decode what `decode_known` refused with `error`: an unknown event, or one whose open parts
    vary from the declared ones. Raises InvalidJSON or SchemaError.
    """
    text = without_lone_surrogates(frame)
    if not isinstance(error, msgspec.ValidationError):
        if text == frame:
            raise InvalidJSON(f"not valid JSON: {error}") from None
        try:
            return decode_known(text)
        except msgspec.ValidationError:
            pass  # known by now to be JSON at least up to there
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as second:
            raise InvalidJSON(f"not valid JSON: {second}") from None
    return _parse_misfit(frame, text)


_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def without_lone_surrogates(text: bytes) -> bytes:
    """Replace escapes of half a character with those of U+FFFD, which are as long.

    JavaScript that cuts a text inside an emoji writes each half as `\\ud83d`: grammatical JSON
    (RFC 8259, section 8.2), but no text, and msgspec refuses it.
    """
    if b"\\u" not in text or not _HALF.search(text):  # before something is called for each escape
        return text
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[2] else match[0], text)


def decode_mended(decoder: msgspec.json.Decoder[T], text: bytes | memoryview) -> T:
    """Decode a text that may hold half a character. Raises msgspec's errors."""
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = without_lone_surrogates(bytes(text))
        if mended == text:
            raise
        return decoder.decode(mended)


def _parse_misfit(frame: bytes, text: bytes) -> ServerEvent:
    """Decode `text`, which is `frame` or its mended form, without the typed union."""
    try:
        head = read_head(text)
    except msgspec.ValidationError as error:
        raise SchemaError(f"not an event: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJSON(f"not valid JSON: {error}") from None
    name = _type_of(head)
    if name not in EVENT_CLASSES:
        return UnknownEvent(name, head.event_id, frame)
    return _parse_loosely(text, EVENT_CLASSES[name])


def _type_of(head: "Head") -> str:
    """Return the one `type` of a frame, or raise SchemaError."""
    if not head.types:
        raise SchemaError("not an event: there is no `type`")
    name, *others = head.types
    if not isinstance(name, str):
        raise SchemaError(f"not an event: `type` is {type(name).__name__}, not a string")
    if any(other != name for other in others):
        raise SchemaError(f"`type` comes twice, as {name!r} and as {others[-1]!r}")
    return name


class Head(Struct, frozen=True):
    """What a frame says about itself: each `type` in it, and its event_id if that is a string."""

    types: list[Any]
    event_id: str


class _Recorded:
    """A field type that makes msgspec hand each occurrence of the key to a hook."""


class _RawHead(Struct):
    type: _Recorded | msgspec.UnsetType = msgspec.UNSET
    event_id: msgspec.Raw = msgspec.Raw(b'""')


def read_head(frame: bytes) -> Head:
    """Read a frame's type and event_id, whatever else it is. Raises msgspec's errors."""
    seen: list[Any] = []

    def record(_: type, value: Any) -> _Recorded:
        seen.append(value)
        return _RECORDED

    raw = msgspec.json.decode(frame, type=_RawHead, dec_hook=record)
    event_id = bytes(raw.event_id)
    return Head(seen, msgspec.json.decode(event_id) if event_id.startswith(b'"') else "")


_RECORDED = _Recorded()


def read_ids(frame: bytes) -> tuple[str, str]:
    """Return type and event_id of a frame, each `""` where it cannot be read. Never raises."""
    try:
        head = read_head(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    name = head.types[0] if head.types else None
    return name if isinstance(name, str) else "", head.event_id


# --- open parts -------------------------------------------------------------------------------

_STRICT = frozenset(("id", "delta", "transcript", "text", "arguments"))


def _is_open(name: str) -> bool:
    """Whether a field may hold what it was not declared for: all but ids, indices and texts."""
    return name not in _STRICT and not name.endswith(("_id", "_index"))


@functools.cache  # made at the first misfit: most processes never see one
def _raw_decoder(cls: type[Event]) -> msgspec.json.Decoder[Any]:
    """Return a decoder for the fields of `cls`, each unread: so the last of two counts."""
    fields = [
        (name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in cls.__struct_fields__
    ]
    return msgspec.json.Decoder(msgspec.defstruct(cls.__name__, fields))


def _parse_loosely(text: bytes, cls: type[Event]) -> ServerEvent:
    """Decode field by field, the open ones as whatever they are, into the event's own class."""
    try:
        raw = _raw_decoder(cls).decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJSON(f"not valid JSON: {error}") from None
    values = {}
    for field in msgspec.structs.fields(cls):
        value = getattr(raw, field.name)
        if value is not msgspec.UNSET:
            values[field.name] = _field_value(cls, field, bytes(value))
        elif field.required:
            raise SchemaError(f"{cls.type}: Object missing required field `{field.name}`")
    return cls(**values)  # type: ignore[return-value]


def _field_value(cls: type[Event], field: msgspec.structs.FieldInfo, raw: bytes) -> Any:
    """Decode one field as declared, or as it comes if it is an open one.

    Raises SchemaError, and InvalidJSON for text that is no UTF-8, which was passed over before.
    """
    kind = field.type
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        # A required part must still be of its kind: `"response": 5` is no response.
        if _is_open(field.name):
            value = _plain(raw)
            if not field.required or isinstance(value, _kind_of(kind)):
                return value
        raise SchemaError(f"{cls.type}: {error} - at `$.{field.name}`") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJSON(f"not valid JSON: {error}") from None


def _kind_of(annotation: Any) -> type:
    """What a required open field must be at least: an object, a list, or anything."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return dict
    return list if typing.get_origin(annotation) is list else object


def _plain(raw: bytes) -> Any:
    """Decode a value to plain objects, numbers out of range too. Raises InvalidJSON."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:
        # The standard library takes 1e999 as infinity; a number of 4,300 digits is refused by int.
        return _plain_by_stdlib(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJSON(f"not valid JSON: {error}") from None


def _plain_by_stdlib(raw: bytes) -> Any:
    try:
        # Decoded here: json.loads would let UTF-8 of half a character pass.
        return json.loads(raw.decode(), parse_int=_integer)
    except (ValueError, RecursionError) as error:  # no UTF-8
        raise InvalidJSON(f"not valid JSON: {error}") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 4_300 else float(digits)
