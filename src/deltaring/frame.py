"""One frame to one event, typed: the slow path, which is always right.

Rule: every input gives an event or a `FrameError`. A type that is not in the catalogue gives an
`UnknownEvent`, whatever else is in the frame; a known type gives its class or an error, never
another class.
"""

import functools
import re
import types
import typing
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Struct

from deltaring.errors import FrameTooLarge, InvalidJSON, SchemaError
from deltaring.events import EVENT_CLASSES, Event, KnownEvent, ServerEvent, UnknownEvent

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
_STRINGS = re.compile(rb'"(?>[^"\\]+|\\.)*+"?', re.DOTALL)  # possessive: linear, and no memory
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1, as int8
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


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
    """Return the deepest nesting of brackets outside of strings."""
    brackets = _STRINGS.sub(b"", frame).translate(_STEPS, _NO_BRACKETS)
    return int(np.cumsum(np.frombuffer(brackets, np.int8), dtype=np.int32).max(initial=0))


decode_known: Callable[[bytes], KnownEvent] = msgspec.json.Decoder(KnownEvent).decode
"""The typed decode. What it raises (DecodeError, UnicodeDecodeError, RecursionError) goes to
`parse_refused`; both are for frames that `check_depth` has passed."""


def parse_refused(frame: bytes, error: Exception) -> ServerEvent:
    """Decode what `decode_known` refused with `error`: an unknown event, or one whose open parts
    vary from the declared ones. Raises InvalidJSON or SchemaError.
    """
    if not isinstance(error, msgspec.ValidationError):
        raise InvalidJSON(f"not valid JSON: {error}") from None
    try:
        head = read_head(frame)
    except msgspec.ValidationError as second:
        raise SchemaError(f"not an event: {second}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as second:
        raise InvalidJSON(f"not valid JSON: {second}") from None
    name = _type_of(head)
    if name not in EVENT_CLASSES:
        return UnknownEvent(name, head.event_id, frame)
    return _parse_loosely(frame, EVENT_CLASSES[name], error)


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


def _is_open(annotation: Any) -> bool:
    """Whether a field holds a nested value: anything that is not str, int, float or None."""
    arms = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return not set(arms) <= {str, int, float, type(None)}


def _loose_field(field: msgspec.structs.FieldInfo) -> tuple[Any, ...]:
    hint = field.type
    if _is_open(hint):
        # A required part must still be of its kind: `"response": 5` is no response.
        loose = dict[str, Any] if isinstance(hint, type) else list[Any]
        return (field.name, loose) if field.required else (field.name, Any, None)
    return (field.name, hint) if field.required else (field.name, hint, field.default)


@functools.cache  # made at the first misfit: most processes never see one
def _loose_decoder(cls: type[Event]) -> msgspec.json.Decoder[Any] | None:
    """Return a decoder for a twin of `cls` with plain nested fields; None where it has none."""
    fields = msgspec.structs.fields(cls)
    if not any(_is_open(field.type) for field in fields):
        return None
    twin = msgspec.defstruct(
        cls.__name__, map(_loose_field, fields), tag_field="type", tag=cls.type, kw_only=True
    )
    return msgspec.json.Decoder(twin)


def _parse_loosely(frame: bytes, cls: type[Event], error: msgspec.ValidationError) -> ServerEvent:
    """Decode with nested fields as plain objects, into the event's own class."""
    decoder = _loose_decoder(cls)
    try:
        if decoder is None:
            raise error
        return cls(**msgspec.structs.asdict(decoder.decode(frame)))  # type: ignore[return-value]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as second:
        raise SchemaError(f"{cls.type}: {second}") from None
