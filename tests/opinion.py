"""A second opinion: what must become of frames, by orjson and strict base64, in the plainest way.

Rule: nothing here is shared with deltaring. Types, fields, formats, tables and positions are
written anew, slow and short. Where orjson and the contract differ by design, it is by one of these:

TWICE   of two keys the last counts, as in orjson; but a second, different `type` is an error.
HALVES  half a character (`\\ud83d` alone), which orjson refuses, becomes U+FFFD.
HUGE    a number that orjson refuses or rounds (1e999, an integer over 64 bits) is as large as it is.
UNREAD  bytes that are no UTF-8 are an error where the text is read, and nothing where it is not.
DEPTH   128 levels are accepted, more than 1,000 refused, and between them both is right.
FAULTS  what is no JSON may be refused as no event: a decoder says what it met first.
BITS    base64 may leave bits over in its last character (RFC 4648, section 3.5): not looked at.
"""

import base64
import codecs
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import orjson

# --- JSON ---------------------------------------------------------------------------------------

_BAD = "\U0010fffe"  # stands for a byte that is no UTF-8
codecs.register_error("opinion", lambda error: (_BAD, error.start + 1))  # type: ignore[attr-defined]

_HUGE = re.compile(rb"(?:^|[\[:,\s])-?\d{19}")
_HALF = re.compile("[\ud800-\udfff]")


def parse(frame: bytes) -> Any:
    """Return the value of a frame, with _BAD for what is no UTF-8 in it. Raises ValueError."""
    try:
        value = orjson.loads(frame)
        if not _HUGE.search(frame):
            return value
    except orjson.JSONDecodeError:
        pass
    text = frame.decode(errors="opinion")
    return _mended(json.loads(text, parse_constant=_refuse, parse_int=_integer))


def _refuse(name: str) -> None:
    raise ValueError(name)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 4_300 else float(digits)


def _mended(value: Any) -> Any:
    """HALVES: json has joined the pairs; what is left is half of one."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


def _has_bad(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_bad, value))
    if isinstance(value, dict):
        return any(_has_bad(key) or _has_bad(item) for key, item in value.items())
    return isinstance(value, str) and _BAD in value


def _types(frame: bytes) -> list[Any]:
    """Return each `type` at the top level, since a dict has but the last."""
    text = frame.decode(errors="opinion")
    pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs, parse_int=float)
    return [value for key, value in pairs if key == "type"]


def _depth(frame: bytes) -> int:
    depth = deepest = 0
    for token in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', frame, re.DOTALL):
        depth += (token in b"[{") - (token in b"]}")
        deepest = max(deepest, depth)
    return deepest


# --- events -------------------------------------------------------------------------------------

_ITEM, _OF_RESPONSE = " item_id", " response_id item_id output_index"
_PART = _OF_RESPONSE + " content_index"

# What must fit in each event: `!` is required, `?` may be null, `{}` and `[]` are parts that must
# be there and of that kind. `_index` is an integer, all else that has no mark a string.
_TABLE = f"""
session.created session{{}}
session.updated session{{}}
session.closed
transcription_session.created session{{}}
transcription_session.updated session{{}}
conversation.created conversation{{}}
conversation.item.created previous_item_id? item{{}}
conversation.item.added previous_item_id? item{{}}
conversation.item.done previous_item_id? item{{}}
conversation.item.retrieved item{{}}
conversation.item.deleted {_ITEM}
conversation.item.truncated {_ITEM} content_index
conversation.item.input_audio_transcription.delta {_ITEM} content_index? delta?
conversation.item.input_audio_transcription.completed {_ITEM} content_index transcript!
conversation.item.input_audio_transcription.segment {_ITEM} content_index id text!
conversation.item.input_audio_transcription.failed {_ITEM} content_index error{{}}
input_audio_buffer.committed {_ITEM} previous_item_id?
input_audio_buffer.cleared
input_audio_buffer.speech_started {_ITEM}
input_audio_buffer.speech_stopped item_id?
input_audio_buffer.timeout_triggered {_ITEM}
input_audio_buffer.dtmf_event_received event*
output_audio_buffer.started response_id
output_audio_buffer.stopped response_id item_id?
output_audio_buffer.cleared response_id
response.created response{{}}
response.done response{{}}
response.output_item.added response_id output_index item{{}}
response.output_item.done response_id output_index item{{}}
response.content_part.added {_PART}
response.content_part.done {_PART}
response.text.delta {_PART} delta!
response.output_text.delta {_PART} delta!
response.text.done {_PART} text!
response.output_text.done {_PART} text!
response.audio.delta {_PART} delta!
response.output_audio.delta {_PART} delta!
response.audio.done {_PART}
response.output_audio.done {_PART}
response.audio_transcript.delta {_PART} delta!
response.output_audio_transcript.delta {_PART} delta!
response.audio_transcript.done {_PART} transcript!
response.output_audio_transcript.done {_PART} transcript!
response.function_call_arguments.delta {_OF_RESPONSE} call_id delta!
response.function_call_arguments.done {_OF_RESPONSE} call_id arguments!
response.mcp_call_arguments.delta {_OF_RESPONSE} delta!
response.mcp_call_arguments.done {_OF_RESPONSE} arguments!
response.mcp_call.in_progress {_ITEM} output_index
response.mcp_call.completed {_ITEM} output_index
response.mcp_call.failed {_ITEM} output_index
mcp_list_tools.in_progress {_ITEM}
mcp_list_tools.completed {_ITEM}
mcp_list_tools.failed {_ITEM}
session.input_transcript.delta delta!
session.output_transcript.delta delta!
session.output_audio.delta delta!
rate_limits.updated rate_limits[]
error error{{}}
"""
EVENTS = {type: ["event_id", *fields] for type, *fields in map(str.split, _TABLE.split("\n")[1:-1])}
AUDIO = ("response.audio.delta", "response.output_audio.delta")


def class_name(type: str) -> str:
    """Return the name of the class of a known type."""
    name = "".join(word.title() for word in re.split(r"[._]", type))
    return "ErrorEvent" if name == "Error" else name


def fits(wire: dict[str, Any], spec: str) -> bool:
    name, mark = re.fullmatch(r"(\w+)(\W*)", spec).groups()  # type: ignore[union-attr]
    if name not in wire:
        return mark in ("", "?")
    kinds = {"{}": (dict,), "[]": (list,), "*": (object,)}.get(mark)
    if kinds is None:
        kinds = (int,) if name.endswith("_index") else (str,)
        kinds += (type(None),) * (mark == "?")
    return object in kinds or type(wire[name]) in kinds  # a bool is no int here


class Reading(NamedTuple):
    """What may become of a frame: an event of that name, one of those errors, or either."""

    name: str
    """Of the class; empty where the frame must be refused."""
    wire: dict[str, Any]
    errors: frozenset[str] = frozenset()


def _refused(*errors: str) -> Reading:
    return Reading("", {}, frozenset(errors))


def read(frame: bytes) -> Reading:
    """Read a frame by itself."""
    depth = _depth(frame) if frame.count(b"[") + frame.count(b"{") > 128 else 0
    if depth > 1_000:
        return _refused("InvalidJSON", "SchemaError")
    try:
        wire = parse(frame)
    except ValueError:
        return _refused("InvalidJSON", "SchemaError")
    if not isinstance(wire, dict):
        return _refused("SchemaError")
    reading = _read_event(frame, wire)
    if depth > 128:
        return reading._replace(errors=reading.errors | {"InvalidJSON"})
    return reading


def _read_event(frame: bytes, wire: dict[str, Any]) -> Reading:
    types = _types(frame)
    if not types or not isinstance(types[0], str) or any(other != types[0] for other in types):
        return _spoilt(frame, _refused("SchemaError"), wire.values())
    type = types[0]
    if type not in EVENTS:
        event_id = wire.get("event_id")
        texts = [text for text in (type, event_id) if isinstance(text, str)]
        return _spoilt(frame, Reading("UnknownEvent", wire), texts)
    if not all(fits(wire, spec) for spec in EVENTS[type]):
        return _spoilt(frame, _refused("SchemaError"), wire.values())
    return _spoilt(frame, Reading(class_name(type), wire), map(wire.get, _strict(type)))


def _strict(type: str) -> Iterator[str]:
    return (re.sub(r"\W", "", spec) for spec in EVENTS[type] if spec[-1] not in "}]*")


def _spoilt(frame: bytes, reading: Reading, read: Iterable[Any]) -> Reading:
    """UNREAD: what becomes of a frame that is no UTF-8; `read` is what somebody must look at.

    A part of an event is looked at as far as its declaration goes, which is not known here; nor is
    which of two values, where only the last counts.
    """
    try:
        frame.decode()
    except UnicodeDecodeError:
        if any(map(_has_bad, read)):
            return _refused("InvalidJSON", *reading.errors)
        return reading._replace(errors=reading.errors | {"InvalidJSON"})
    return reading


def same(value: Any, wire: Any) -> bool:
    """Whether a value of an event is what stood on the wire; fields that are not declared aside."""
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        return isinstance(wire, dict) and all(
            same(getattr(value, n), wire[n]) if n in wire else not getattr(value, n) for n in names
        )
    if isinstance(value, list):
        return isinstance(wire, list) and len(value) == len(wire) and all(map(same, value, wire))
    if isinstance(value, dict):
        return isinstance(wire, dict) and value.keys() == wire.keys() and all(
            same(value[key], wire[key]) for key in value
        )  # fmt: skip
    if isinstance(value, float) and type(wire) is int:
        return value == _rounded(wire)
    return type(value) is type(wire) and value == wire


def _rounded(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


# --- audio --------------------------------------------------------------------------------------

_QUADS = re.compile(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def strict_base64(text: str) -> bytes:
    """Decode RFC 4648, section 4, and nothing else. Raises ValueError."""
    if not _QUADS.fullmatch(text):
        raise ValueError("no strict base64")
    return base64.b64decode(text)


def mulaw(code: int) -> int:
    """ITU-T G.711: sign, three bits of exponent, four of mantissa, all inverted."""
    code = 255 - code
    magnitude = (2 * (code % 16) + 33) * 2 ** (code // 16 % 8) - 33
    return 4 * (-magnitude if code >= 128 else magnitude)


def alaw(code: int) -> int:
    """ITU-T G.711: the same with every other bit inverted, and a linear lowest segment."""
    code ^= 0b01010101
    exponent, mantissa = code // 16 % 8, code % 16
    magnitude = (2 * mantissa + 33) * 2 ** (exponent - 1) if exponent else 2 * mantissa + 1
    return 8 * (magnitude if code >= 128 else -magnitude)


def _table(law: Any) -> list[bytes]:
    return [law(code).to_bytes(2, "little", signed=True) for code in range(256)]


_TABLES = {"g711_ulaw": _table(mulaw), "g711_alaw": _table(alaw)}
_NAMES = {
    "pcm16": ("pcm16", 24_000), "audio/pcm": ("pcm16", 24_000), "pcm": ("pcm16", 24_000), "pcm24": ("pcm16", 24_000),
    "g711_ulaw": ("g711_ulaw", 8_000), "audio/pcmu": ("g711_ulaw", 8_000),
    "g711_alaw": ("g711_alaw", 8_000), "audio/pcma": ("g711_alaw", 8_000),
}  # fmt: skip
Format = tuple[str, int | None]


def _stated(config: dict[str, Any]) -> Format | None:
    """The output format that a session or a response states: GA's object before beta's word."""
    place: Any = config
    for key in ("audio", "output", "format"):
        place = place.get(key) if isinstance(place, dict) else None
    name = place.get("type") if isinstance(place, dict) else place
    rate = place.get("rate") if isinstance(place, dict) else None
    if not isinstance(name, str) or name in ("", "not specified"):
        name, rate = config.get("output_audio_format"), None
    if not isinstance(name, str) or name in ("", "not specified"):
        return None
    if name not in _NAMES:
        return name, None
    known, usual = _NAMES[name]
    valid = type(rate) in (int, float) and math.isfinite(rate) and 4_000 <= rate <= 768_000
    return known, int(rate) if valid else usual


@dataclass
class Voice:
    """The audio of one key, as far as it has come."""

    key: tuple[str, str, int]
    format: Format
    serial: int
    received: bytearray = field(default_factory=bytearray)
    late: int = 0
    done: bool = False

    @property
    def width(self) -> int:
        return 2 if self.format[0] == "pcm16" else 1

    @property
    def position(self) -> int:
        return len(self.received) // self.width

    @property
    def pending(self) -> int:
        return len(self.received) % self.width

    def samples(self, start: int, stop: int) -> bytes:
        data = bytes(self.received[start * self.width : stop * self.width])
        table = _TABLES.get(self.format[0])
        return data if table is None else b"".join(table[code] for code in data)


class Heard(NamedTuple):
    """What an audio delta added to its voice."""

    voice: Voice
    start: int
    stop: int
    samples: bytes


class Opinion:
    """One connection: formats, voices and positions. Give it the events that were accepted."""

    def __init__(self) -> None:
        self.voices: list[Voice] = []
        self._open: dict[tuple[str, str, int], Voice] = {}
        self._serials = itertools.count(1)
        self._forget_formats()

    def _forget_formats(self) -> None:
        self._session: Format = ("pcm16", 24_000)
        self._latest: Format | None = None
        self._responses: dict[str, Format | None] = {}

    def hear(self, wire: dict[str, Any]) -> Heard | None:
        """Take an event. Raises ValueError for audio that is no strict base64."""
        match wire["type"]:
            case "response.audio.delta" | "response.output_audio.delta":
                return self._audio(wire)
            case "response.audio.done" | "response.output_audio.done":
                self._end(lambda key: key == _key(wire))
            case "response.created":
                self._end(lambda key: key[0] == "")
                response = wire["response"]
                self._latest = self._responses[_id(response)] = _stated(response)
            case "response.done":
                self._end(lambda key: key[0] in ("", _id(wire["response"])))
            case "session.created":
                self._end(lambda key: True)
                self._open.clear()
                self._forget_formats()
                self._session = _stated(wire["session"]) or self._session
            case "session.updated":
                self._session = _stated(wire["session"]) or self._session
        return None

    def _end(self, ends: Any) -> None:
        for key in list(filter(ends, self._open)):
            self._open[key].done = True
            if key[0] == "":  # a server without ids: the next delta is another response's
                del self._open[key]

    def _audio(self, wire: dict[str, Any]) -> Heard:
        data = strict_base64(wire["delta"])
        key = _key(wire)
        voice = self._open.get(key)
        if voice is None:
            of_response = self._responses.get(key[0]) if key[0] else self._latest
            voice = Voice(key, of_response or self._session, next(self._serials))
            self._open[key] = voice
            self.voices.append(voice)
        start = voice.position
        voice.late += voice.done
        voice.received += data
        stop = voice.position
        return Heard(voice, start, stop, voice.samples(start, stop))


def _key(wire: dict[str, Any]) -> tuple[str, str, int]:
    return wire.get("response_id", ""), wire.get("item_id", ""), wire.get("content_index", 0)


def _id(response: dict[str, Any]) -> str:
    value = response.get("id", "")
    return value if isinstance(value, str) else ""
