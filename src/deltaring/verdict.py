"""Verdict: whether a contender's output is right. Only then does its time count.

Rule: every frame of the workload is compared with what plain `json` and strict `base64` read in it:
the event, and every byte of audio, item by item. Before that come frames that a decoder must not
fail on: items that interleave, odd numbers of bytes, other servers' key orders, escapes, text that
looks like audio; and after it what must be an error: bad base64 of every kind, at every place.
"""

import base64
import inspect
import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from msgspec import Struct

from deltaring.audio import PCM16, find_format, stated_format
from deltaring.contenders import PARSE, SESSION, Contender, caller_buffer
from deltaring.events import EVENT_CLASSES
from deltaring.workload import Event, Frame, read

_ANY = "type", "event_id"
_KNOWN = (*_ANY, "response_id", "item_id", "output_index", "content_index", "call_id")
_TEXT = (*_KNOWN, "delta", "transcript", "text", "arguments")
_PARTS = "session", "response", "item"
_ENDS = frozenset(("response.done", "response.output_audio.done", "response.audio.done"))
_REASON = 240  # characters

Key: TypeAlias = tuple[Any, Any, Any]
Sessions: TypeAlias = Iterable[Iterable[Frame]]


class Wrong(Exception):
    """What a contender got wrong."""


def why_wrong(contender: Contender, task: str, sessions: Sessions, size: int) -> str:
    """Return what was wrong first, or nothing. `size`: bytes of the buffer for the audio."""
    if contender.make is None:
        return contender.why
    out = caller_buffer(max(size, _SIZE))
    sessions = [list(session) for session in sessions]
    try:
        check = _made(contender, task, out)
        check.session(PROBES, "probe")
        if task == SESSION:
            for session in sessions:
                _made(contender, task, out).session(session, "frame")
        else:  # one object serves all passes
            for session in sessions * 2:
                check.session(session, "frame")
        check.refuses()
    except Wrong as wrong:
        return str(wrong)
    return ""


def why_wrong_now(made: Any, contender: Contender, task: str, sessions: Sessions) -> str:
    """Return what is wrong with an object that was timed, or nothing."""
    try:
        for session in sessions:
            _check_of(contender, task)(made).session(session, "timed, frame")
    except Wrong as wrong:
        return str(wrong)
    return ""


def _check_of(contender: Contender, task: str) -> type["_Check"]:
    return _Parse if task == PARSE else _Floor if contender.floor else _Receive


def _made(contender: Contender, task: str, out: memoryview) -> "_Check":
    try:
        made = contender.make(out) if contender.make else None
        if task != PARSE and inspect.isdatadescriptor(inspect.getattr_static(made, "out", None)):
            raise Wrong("`out` is worked out when it is asked for, and not when it is timed")
    except (Exception, SystemExit) as error:
        raise Wrong(f"it could not be made: {_told(error)}") from error
    return _check_of(contender, task)(made)


class _Check:
    """Runs one contender over sessions; what is wrong with a frame raises Wrong."""

    def __init__(self, contender: Any) -> None:
        self.contender = contender
        self.streams: dict[Key, _Stream] = {}
        self.half = True  # of a sample may wait for its other half

    def session(self, frames: Iterable[Frame], label: str) -> None:
        for number, frame in enumerate(frames, 1):
            try:
                self.frame(frame)
            except (Exception, SystemExit) as error:
                where = f"{label} {number} ({frame.event['type']})"
                raise Wrong(f"{where}: {_told(error)}") from error

    def frame(self, frame: Frame) -> None:
        raise NotImplementedError

    def refuses(self) -> None:
        """What is bad must raise, whatever; and the next good frame must be right."""
        for label, data in self.bad():
            try:
                self.call(Frame(data, {}, b""))
            except Exception:  # noqa: BLE001 - any error will do: none is prescribed
                refused = True
            else:
                refused = False
            if not refused:
                raise Wrong(f"accepts {label}")
            self.session([_GOOD], f"after {label}, frame")

    def bad(self) -> Iterator[tuple[str, bytes]]:
        for label, text in _bad_texts():
            yield f"bad base64: {label}", _delta(0, "a", text)

    def call(self, frame: Frame) -> tuple[Any, int]:
        event, count = self.contender.receive(frame.data)
        return event, count

    def heard(self, frame: Frame, count: int) -> None:
        """Compare the bytes of audio that a call put into the buffer."""
        event, name = frame.event, frame.event["type"]
        if frame.audio is not None:
            stream = self.streams.setdefault(_key(event), _Stream())
            stream.add(bytes(self.contender.out[:count]), frame.audio, self.half)
        elif count:
            raise Wrong(f"{count:,} bytes of audio from an event that has none")
        if name == "session.created":
            self.streams.clear()
        elif name in _ENDS:  # a server without ids begins anew
            self.streams = {key: stream for key, stream in self.streams.items() if key[0]}
        if name in ("session.created", "session.updated"):
            self.half = _has_halves(event)

    def spoil(self, frame: Frame) -> None:
        """Leave nothing right in the buffer."""
        if frame.audio:
            out = self.contender.out
            size = min(len(frame.audio), len(out))
            if not out.readonly:
                out[:size] = bytes(byte ^ 0x55 for byte in frame.audio[:size])


class _Parse(_Check):
    """Of the events that `parse` returns."""

    def call(self, frame: Frame) -> tuple[Any, int]:
        return self.contender.parse(frame.data), 0

    def frame(self, frame: Frame) -> None:
        _compare(self.call(frame)[0], frame.event, _TEXT)

    def bad(self) -> Iterator[tuple[str, bytes]]:
        data = _GOOD.data
        yield "a frame that is cut off", data[:-1]
        yield "a frame that is cut off in its text", data[:-20]
        yield "a frame with something behind it", data + b"x"
        yield "an empty frame", b""


class _Receive(_Check):
    """Of the events and the audio that `receive` returns."""

    def frame(self, frame: Frame) -> None:
        self.spoil(frame)
        event, count = self.call(frame)
        _compare(event, frame.event, _TEXT if frame.audio is None else _KNOWN)
        del event  # some parsers let it live until the next call only
        self.heard(frame, count)


class _Floor(_Check):
    """Of the audio that comes from the base64 text alone."""

    def call(self, frame: Frame) -> tuple[Any, int]:
        event, count = self.contender.receive(payload(frame))
        return event, count

    def frame(self, frame: Frame) -> None:
        if frame.audio is not None:
            self.spoil(frame)
            self.heard(frame, self.call(frame)[1])


def _has_halves(event: Event) -> bool:
    """Whether the audio that a session states comes in samples of two bytes."""
    session = event.get("session")
    if not isinstance(session, dict):
        return True
    stated = stated_format(session.get("audio"), session.get("output_audio_format"))
    return stated is None or find_format(*stated).bytes_per_sample == PCM16.bytes_per_sample


class _Stream(Struct):
    """The audio of one item: what came, and what should have."""

    expected: int = 0
    received: int = 0
    waiting: bytes = b""

    def add(self, heard: bytes, audio: bytes, half: bool) -> None:
        """Compare. Half a sample may wait for its other half, if the format has halves."""
        self.expected += len(audio)
        self.received += len(heard)
        if self.received != self.expected and not (half and self.received == self.expected & ~1):
            missing = self.expected - self.received
            much = "few" if missing > 0 else "many"
            raise Wrong(f"{abs(missing):,} bytes of audio too {much}")
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


# --- events -------------------------------------------------------------------------------------


def _compare(event: Any, expected: Event, names: tuple[str, ...]) -> None:
    """Compare an event: a dict with all of the frame, any other with what its type is known for."""
    if isinstance(event, dict):
        for name in [*expected, *(event.keys() - expected.keys())]:
            _same(name, event.get(name), expected.get(name))
        return
    known = EVENT_CLASSES.get(expected["type"])
    fields = _ANY if known is None else (*_ANY, *known.__struct_fields__)
    for name in names:
        kind = int if name.endswith("index") else str
        if name in fields and isinstance(expected.get(name), kind):
            _same(name, _get(event, name), expected[name])
    for name in _PARTS if known is not None else ():
        part = expected.get(name)
        if name in fields and isinstance(part, dict) and isinstance(part.get("id"), str):
            _same(f"{name}.id", _get(_get(event, name), "id"), part["id"])


def _get(value: Any, name: str) -> Any:
    return value[name] if hasattr(value, "__getitem__") else getattr(value, name)


def _equal(value: Any, expected: Any) -> bool:
    return type(value) is type(expected) and bool(value == expected)


def _same(name: str, value: Any, expected: Any) -> None:
    if not _equal(value, expected):
        raise Wrong(f"{name} is {_short(value)}, not {_short(expected)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."


def _told(error: BaseException) -> str:
    """What was wrong, in one line."""
    if isinstance(error, Wrong):
        return str(error)
    text = "; ".join(line.strip() for line in str(error).splitlines()[:3] if line.strip())
    told = f"raised {type(error).__name__}: {text}"
    return told if len(told) <= _REASON else told[:_REASON] + "..."


# --- frames that a decoder must not fail on -------------------------------------------------------


def _event(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _delta(
    number: int, item: str, text: str, *, response: str = "1", output: int = 0, content: int = 0
) -> bytes:
    return _event(
        type="response.output_audio.delta",
        event_id=f"event_{number:03}",
        response_id=f"resp_{response}",
        item_id=f"item_{item}",
        output_index=output,
        content_index=content,
        delta=text,
    )


def _base64(start: int, count: int) -> str:
    """`count` bytes that no other place holds, and that make `+` and `/`."""
    return base64.b64encode(bytes(((start + i) * 251 + 11) & 255 for i in range(count))).decode()


def _interleaved() -> list[bytes]:
    """Parts of items in turns; sizes around every block size, odd ones among them."""
    sizes = [1, 2, 3, 5, 24, 47, 48, 49, 64, 95, 96, 97, 333, 480, 961, 2_400, 4_799, 12_000]
    parts = [
        ("a", "1", 0, 0),
        ("b", "1", 1, 0),
        ("a", "1", 0, 1),
        ("a", "2", 0, 0),
        ("c", "2", 0, 0),
    ]
    return [
        _delta(
            len(parts) * number + at,
            item,
            _base64(number * 7 + at * 31, size),
            response=response,
            output=output,
            content=content,
        )
        for number, size in enumerate(sizes)
        for at, (item, response, output, content) in enumerate(parts)
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


_WORDS = 'Grüße, 你好, \U0001f600, "\\/"'


def _text() -> list[bytes]:
    """Text that looks like audio, and text of all alphabets."""
    trap = '{"type":"response.output_audio.delta","delta":"AAAA"}'
    place = {"response_id": "resp_1", "item_id": "item_a", "output_index": 0, "content_index": 0}
    name = "response.output_audio_transcript.delta"
    return [
        _event(event_id="event_1", **place, text=trap, type="response.output_text.done"),
        _event(event_id="event_2", error={"type": "response.output_audio.delta", "delta": "AAAA",
               "message": trap, "code": None, "param": None, "event_id": None}, type="error"),
        _event(type=name, event_id="event_3", **place, delta=_WORDS),
        json.dumps({"type": name, "event_id": "event_4", **place, "delta": _WORDS}).encode(),
    ]  # fmt: skip


def _bad_texts() -> Iterator[tuple[str, str]]:
    """Text that RFC 4648 refuses, short and long, wrong at its start, inside and at its end."""
    for size in (3, 48, 300, 1_536, 12_000):
        good = _base64(size, size)
        middle = len(good) // 2
        for at in sorted({0, middle, len(good) - 5, len(good) - 1} & set(range(len(good)))):
            for wrong in "*-_ \n\té=":
                if wrong != "=" or at < len(good) - 1:
                    text = good[:at] + wrong + good[at + 1 :]
                    yield f"{wrong!r} at {at} of {len(good)} characters", text
        # Padding behind complete quads is left out: Python's own strict mode took it before 3.13.
        for end in ("A", "AA", "AAA", "AA=", "A===", "\n"):
            yield f"{len(good)} characters and {end!r}", good + end
        for start in ("=AAA", "AA==", "AAA="):
            yield f"{start!r} before {len(good)} characters", start + good


PROBES = [read(data) for data in (*_interleaved(), *_other_orders(), *_text())]
_SIZE = max(len(frame.data) for frame in PROBES)
_GOOD = read(_delta(0, "a", _base64(9, 960)))
