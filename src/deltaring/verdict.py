"""Verdict: whether a contender's output is right. Only then does its time count.

Rule: every frame of the workload is compared with what plain `json` and strict `base64` read in it:
ids, indices and texts of the event, and every byte of audio, item by item. Before that come frames
that a decoder in use must not fail on: items that interleave, odd numbers of bytes, other servers'
key orders, escapes, text that looks like audio, and bad base64, which must be an error.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from msgspec import Struct

from deltaring.contenders import PARSE, Contender, caller_buffer
from deltaring.events import EVENT_CLASSES
from deltaring.workload import Event, Frame, read

_ANY = "type", "event_id"
_KNOWN = (*_ANY, "response_id", "item_id", "output_index", "content_index", "call_id")
_TEXT = (*_KNOWN, "delta", "transcript", "text", "arguments")
_ENDS = frozenset(("response.done", "response.output_audio.done", "response.audio.done"))

Key: TypeAlias = tuple[Any, Any, Any]


class Wrong(Exception):
    """What a contender got wrong."""


def why_wrong(
    contender: Contender, task: str, sessions: Iterable[Iterable[Frame]], size: int
) -> str:
    """Return what was wrong first, or nothing. `size`: bytes of the buffer for the audio."""
    make = contender.make
    if make is None:
        return contender.why
    out = caller_buffer(max(size, _SIZE))
    kind: type[_Check] = _Receive
    if task == PARSE:
        kind = _Parse
    elif contender.floor:
        kind = _Floor
    try:
        kind(make(out)).session(PROBES, "probe")
        for session in sessions:
            kind(make(out)).session(session, "frame")
        if kind is not _Parse:
            _refuses(kind(make(out)))
    except Wrong as wrong:
        return str(wrong)
    return ""


def _refuses(check: "_Check") -> None:
    """Bad base64 must raise, whatever; and the next good frame must be right."""
    for label, text in _BAD.items():
        try:
            check.call(Frame(_delta(0, "a", text), {}, b""))
        except Exception:  # noqa: BLE001 - any error will do: none is prescribed
            refused = True
        else:
            refused = False
        if not refused:
            raise Wrong(f"accepts bad base64: {label}, {text!r}")
        check.session([_GOOD], f"after {label}, frame")


class _Check:
    """Runs one contender over sessions; what is wrong with a frame raises Wrong."""

    def __init__(self, contender: Any) -> None:
        self.contender = contender
        self.streams: dict[Key, _Stream] = {}

    def session(self, frames: Iterable[Frame], label: str) -> None:
        for number, frame in enumerate(frames, 1):
            try:
                self.frame(frame)
            except Exception as error:
                raise _at(number, frame, label, error) from error

    def frame(self, frame: Frame) -> None:
        raise NotImplementedError

    def call(self, frame: Frame) -> tuple[Any, int]:
        event, count = self.contender.receive(frame.data)
        return event, count

    def heard(self, frame: Frame, count: int) -> None:
        """Compare the bytes of audio that a call put into the buffer."""
        name = frame.event["type"]
        if frame.audio is not None:
            stream = self.streams.setdefault(_key(frame.event), _Stream())
            stream.add(bytes(self.contender.out[:count]), frame.audio)
        elif count:
            raise Wrong(f"{count:,} bytes of audio from an event that has none")
        if name == "session.created":
            self.streams.clear()
        elif name in _ENDS:  # a server without ids begins anew
            self.streams = {key: stream for key, stream in self.streams.items() if key[0]}


class _Parse(_Check):
    """Of the events that `parse` returns."""

    def frame(self, frame: Frame) -> None:
        _compare(self.contender.parse(frame.data), frame, _fields(frame, _TEXT))


class _Receive(_Check):
    """Of the events and the audio that `receive` returns."""

    def frame(self, frame: Frame) -> None:
        event, count = self.call(frame)
        _compare(event, frame, _fields(frame, _TEXT if frame.audio is None else _KNOWN))
        self.heard(frame, count)


class _Floor(_Check):
    """Of the audio that comes from the base64 text alone."""

    def call(self, frame: Frame) -> tuple[Any, int]:
        event, count = self.contender.receive(payload(frame))
        return event, count

    def frame(self, frame: Frame) -> None:
        if frame.audio is not None:
            self.heard(frame, self.call(frame)[1])


class _Stream(Struct):
    """The audio of one item: what came, and what should have."""

    expected: int = 0
    received: int = 0
    waiting: bytes = b""

    def add(self, heard: bytes, audio: bytes) -> None:
        """Compare. Half a sample may wait for its other half."""
        self.expected += len(audio)
        self.received += len(heard)
        if self.received not in (self.expected, self.expected & ~1):
            missing = self.expected - self.received
            raise Wrong(f"{missing:,} bytes of audio too few" if missing > 0 else
                        f"{-missing:,} bytes of audio too many")  # fmt: skip
        audio = self.waiting + audio
        if heard != audio[: len(heard)]:
            at = next(i for i, byte in enumerate(heard) if byte != audio[i])
            raise Wrong(f"byte {at} of the audio is {heard[at]}, not {audio[at]}")
        self.waiting = audio[len(heard) :]


def payload(frame: Frame) -> bytes:
    """The base64 text of an audio delta, escapes resolved."""
    text: str = json.loads(frame.data)["delta"]
    return text.encode()


def _key(event: Event) -> Key:
    return event.get("response_id", ""), event.get("item_id", ""), event.get("content_index", 0)


def _fields(frame: Frame, names: tuple[str, ...]) -> dict[str, Any]:
    """The fields that an event must have: none but type and event_id where it is not known."""
    event = frame.event
    known = EVENT_CLASSES.get(event["type"])
    return {
        name: event[name]
        for name in names
        if (name in _ANY or (known and name in known.__struct_fields__))
        and isinstance(event.get(name), int if name.endswith("index") else str)
    }


def _compare(event: Any, frame: Frame, fields: dict[str, Any]) -> None:
    mapping = hasattr(event, "__getitem__")
    for name, expected in fields.items():
        value = event[name] if mapping else getattr(event, name)
        if value != expected:
            raise Wrong(f"{name} is {_short(value)}, not {_short(expected)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."


def _at(number: int, frame: Frame, label: str, error: Exception) -> Wrong:
    what = str(error) if isinstance(error, Wrong) else f"raised {type(error).__name__}: {error}"
    first = what.splitlines()[0] if what else type(error).__name__
    return Wrong(f"{label} {number} ({frame.event['type']}): {first[:200]}")


# --- frames that a decoder in use must not fail on ----------------------------------------------


def _event(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _delta(number: int, item: str, text: str) -> bytes:
    return _event(
        type="response.output_audio.delta",
        event_id=f"event_{number}",
        response_id="resp_1",
        item_id=f"item_{item}",
        output_index="ab".index(item),
        content_index=0,
        delta=text,
    )


def _base64(start: int, count: int) -> str:
    """`count` bytes that no other place holds, and that make `+` and `/`."""
    return base64.b64encode(bytes(((start + i) * 251 + 11) & 255 for i in range(count))).decode()


def _interleaved() -> list[bytes]:
    """Two items in turns; sizes around every block size, odd ones among them."""
    sizes = [1, 2, 3, 5, 24, 47, 48, 49, 64, 95, 96, 97, 333, 480, 961, 2_400, 4_799, 12_000]
    return [
        _delta(2 * number + at, item, _base64(number * 7 + at * 31, size))
        for number, size in enumerate(sizes)
        for at, item in enumerate("ab")
    ]


def _other_orders() -> list[bytes]:
    fields = json.loads(_delta(100, "a", _base64(5, 960)))
    by_name = _event(**dict(sorted(fields.items())))
    delta = fields.pop("delta")
    type_last = {key: value for key, value in fields.items() if key != "type"}
    return [
        by_name,
        _event(**fields, delta=delta, rid="417c5cb6", ts=1785214081361),
        _event(**type_last, delta=delta, type="response.output_audio.delta"),
        json.dumps({**fields, "delta": delta}).encode(),  # with spaces
        _event(**{**fields, "type": "response.audio.delta"}, delta=delta),
        _event(**fields, delta=delta).replace(b"/", b"\\/"),
        _event(**fields, delta=delta).replace(b"+", b"\\u002B"),
        _event(note={"delta": "AAAA", "type": "error"}, **fields, delta=delta),
    ]


def _text_like_audio() -> list[bytes]:
    trap = '{"type":"response.output_audio.delta","delta":"AAAA"}'
    return [
        _event(event_id="event_1", response_id="resp_1", item_id="item_a", output_index=0,
               content_index=0, text=trap, type="response.output_text.done"),
        _event(event_id="event_2", error={"type": "response.output_audio.delta", "delta": "AAAA",
               "message": trap, "code": None, "param": None, "event_id": None}, type="error"),
    ]  # fmt: skip


PROBES = [read(data) for data in (*_interleaved(), *_other_orders(), *_text_like_audio())]
_SIZE = max(len(frame.data) for frame in PROBES)
_GOOD = read(_delta(0, "a", _base64(9, 960)))
_BAD = {
    "a character outside the alphabet": "AA**AAAA**AA",
    "the URL alphabet": "AA-_",
    "a newline": "AAAA\nAAAA",
    "a length that is no multiple of 4": "AAAAA",
    "padding in the middle": "AA==AAAA",
    "too little padding": "AA=",
}
"""Text that RFC 4648 refuses."""
