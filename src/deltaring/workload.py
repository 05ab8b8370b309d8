"""Workload: the frames that decoders are measured on, from recordings or made here.

Rule: a frame is measured only if plain `json` and strict `base64` can say what it holds; any other
is left out, and said to be. The built-in sets follow the sizes and the order in which real servers
were seen to send: 250 ms of audio in the steady state and shorter and longer chunks before it, text
in between, and the same events around each reply. Their audio is noise, always the same.
"""

import base64
import json
import random
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from msgspec import Struct

from deltaring.recording import Recording

AUDIO_TYPES = frozenset(("response.audio.delta", "response.output_audio.delta"))

Event = dict[str, Any]

_KINDS = {"event_id": str, "response_id": str, "item_id": str, "delta": str,
          "output_index": int, "content_index": int}  # fmt: skip

MAX_DELTA = 1 << 20
"""Bytes of audio in a delta of a built-in set; a real one has at most half as many."""

_REPLIES = 3
_REPLY_MS = 10_000
_WORDS = "What", "is", "the", "weather", "like", "in", "London", "today?"
_DELTAS = 64
_MODEL = "gpt-realtime"
_FIRST_CHUNKS = 100, 150, 250, 250, 250, 600  # ms, one captured reply of OpenAI's


class Frame(Struct, frozen=True, gc=False):
    """A frame, and what plain `json` and strict `base64` read in it."""

    data: bytes
    event: Event
    audio: bytes | None
    """Bytes of an audio delta; None for any other event."""


class Workload(Struct, frozen=True):
    """Sessions of server frames, in the order in which they came."""

    name: str
    sessions: list[list[Frame]]
    left_out: list[str] = []
    """Frames and lines that are not measured, where they stand, and why."""
    cut: str = ""
    """Where the frames were cut off to be no more than was asked for."""

    @property
    def frames(self) -> list[Frame]:
        """All frames of all sessions."""
        return [frame for session in self.sessions for frame in session]


def read(data: bytes) -> Frame:
    """Read a frame by the plainest means. ValueError (with the reason) where they fail."""
    event = json.loads(
        data.decode(), object_pairs_hook=_unique, parse_int=_int64, parse_float=_finite
    )
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise ValueError("no object with a type")
    if b"\\ud" in data.lower():
        json.dumps(event, ensure_ascii=False).encode()  # UnicodeEncodeError: half a character
    audio = _audio(event) if event["type"] in AUDIO_TYPES else None
    return Frame(data, event, audio)


def _unique(pairs: list[tuple[str, Any]]) -> Event:
    """Refuse an object that has a key twice: parsers differ on which counts."""
    event = dict(pairs)
    if len(event) < len(pairs):
        raise ValueError("a key that comes twice")
    return event


def _int64(text: str) -> int:
    number = int(text) if len(text) < 21 else 1 << 64
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("an integer of more than 64 bits")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if abs(number) == float("inf"):
        raise ValueError("a number beyond all floats")
    return number


def _audio(event: Event) -> bytes:
    for name, kind in _KINDS.items():
        if name in event and type(event[name]) is not kind:
            raise ValueError(f"an audio delta whose {name} is {type(event[name]).__name__}")
    try:
        if len(event["delta"]) % 4 or event["delta"].endswith("==="):
            raise ValueError("not strict base64: padding")  # Python before 3.13 takes too much
        return base64.b64decode(event["delta"], validate=True)
    except KeyError:
        raise ValueError("an audio delta without `delta`") from None
    except Base64Error as error:
        raise ValueError(f"not strict base64: {error}") from None


def from_recordings(recordings: Iterable[Recording], limit: int | None = None) -> Workload:
    """Take the server's frames of recordings, each of them a session; at most `limit` bytes.

    What a recording itself reports is in its `problems`. Raises OSError as opening a file does.
    """
    names: list[str] = []
    sessions: list[list[Frame]] = []
    left_out: list[str] = []
    cut = ""
    room = float("inf") if limit is None else limit
    for recording in recordings:
        session: list[Frame] = []
        for _, source, data in recording:
            if source != "server":
                continue
            room -= len(data)
            if room < 0 and (session or sessions):  # at least one frame
                cut = f"{recording.name}:{recording.line}"
                break
            try:
                session.append(read(bytes(data)))
            except (ValueError, RecursionError) as error:
                recording.report(str(error))
        names.append(recording.name)
        sessions.append(session)
        left_out += map(str, recording.problems)
        if cut:
            break
    return Workload(", ".join(names), [it for it in sessions if it], left_out, cut)


def built_in(name: str) -> Workload:
    """Make one of the built-in SETS; a number makes audio deltas of so many bytes.

    KeyError for another name.
    """
    rng = random.Random(name)
    events = _deltas(rng, int(name)) if name.isdecimal() else SETS[name](rng)
    return Workload(name, [[read(_compact(event)) for event in events]])


def _deltas(rng: random.Random, size: int) -> Iterator[Event]:
    """Audio deltas of one size, in OpenAI's order."""
    service = _Service(rng)
    place = {"response_id": service.id("resp"), "item_id": service.id("item"),
             "output_index": 0, "content_index": 0}  # fmt: skip
    for _ in range(_DELTAS):
        yield service.audio(place, base64.b64encode(rng.randbytes(size)).decode())


def _compact(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


class _Service:
    """How a server speaks: its names, its key order, its chunks."""

    format: ClassVar[Event] = {"type": "audio/pcm", "rate": 24000}

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def id(self, prefix: str) -> str:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        return prefix + "_" + "".join(self.rng.choices(letters, k=21))

    def event(self, type: str, **fields: Any) -> Event:
        return {"type": type, "event_id": self.id("event"), **fields}

    def chunk_ms(self, number: int) -> float:
        return _FIRST_CHUNKS[number] if number < 6 else self.rng.uniform(188, 275)

    def chunk(self, ms: float) -> bytes:
        return self.rng.randbytes(int(24 * ms) * 2)

    def audio(self, place: Event, data: str) -> Event:
        return self.event("response.output_audio.delta", **place, delta=data)


class _Telephony(_Service):
    """G.711 at 8 kHz, cut again to 20 ms by a gateway."""

    format: ClassVar[Event] = {"type": "audio/pcmu"}

    def chunk_ms(self, number: int) -> float:
        return 20

    def chunk(self, ms: float) -> bytes:
        return self.rng.randbytes(int(8 * ms))


class _XAI(_Service):
    """`delta` in the middle, 31 to 1,223 ms with a median of 489."""

    def chunk_ms(self, number: int) -> float:
        return min(1_223, max(31, self.rng.lognormvariate(6.19, 0.6)))  # e**6.19 is 489

    def audio(self, place: Event, data: str) -> Event:
        return self.event(
            "response.output_audio.delta",
            item_id=place["item_id"],
            response_id=place["response_id"],
            delta=data,
            content_index=0,
            output_index=0,
            rid=self.id("rid"),
            audio_duration_ms=489,
            ts=1785214081361,
            previous_item_id=None,
        )


class _HuggingFace(_Service):
    """Keys in alphabetical order, so the type comes last; 32 ms."""

    def chunk_ms(self, number: int) -> float:
        return 32

    def audio(self, place: Event, data: str) -> Event:
        return dict(sorted(super().audio(place, data).items()))


def _spoken(service: _Service) -> Iterator[Event]:
    yield _session(service)
    for _ in range(_REPLIES):
        yield from _question(service)
        yield from _reply(service, _speech(service))


def _written(rng: random.Random) -> Iterator[Event]:
    service = _Service(rng)
    yield _session(service)
    for _ in range(_REPLIES):
        yield from _reply(service, _text(service))


def _session(service: _Service) -> Event:
    detection = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                 "silence_duration_ms": 200, "idle_timeout_ms": None, "create_response": True,
                 "interrupt_response": True}  # fmt: skip
    session = {
        "type": "realtime", "object": "realtime.session", "id": service.id("sess"),
        "model": _MODEL, "output_modalities": ["audio"], "expires_at": 1785214081,
        "instructions": "Answer briefly and warmly. " * 20, "tools": [], "tool_choice": "auto",
        "max_output_tokens": "inf", "tracing": None, "truncation": "auto", "prompt": None,
        "audio": {
            "input": {"format": service.format, "transcription": None,
                      "noise_reduction": None, "turn_detection": detection},
            "output": {"format": service.format, "voice": "marin", "speed": 1.0},
        },
        "include": None,
    }  # fmt: skip
    return service.event("session.created", session=session)


def _question(service: _Service) -> Iterator[Event]:
    """What a server says while the user speaks."""
    item, place = service.id("item"), {"content_index": 0}
    yield service.event("input_audio_buffer.speech_started", audio_start_ms=1556, item_id=item)
    yield service.event("input_audio_buffer.speech_stopped", audio_end_ms=3008, item_id=item)
    yield service.event("input_audio_buffer.committed", previous_item_id=None, item_id=item)
    name = "conversation.item.input_audio_transcription"
    for word in _WORDS:
        yield service.event(f"{name}.delta", item_id=item, **place, delta=f" {word}",
                            obfuscation=service.id("")[:14])  # fmt: skip
    usage = {"type": "duration", "seconds": 2}
    text = " ".join(_WORDS)
    yield service.event(f"{name}.completed", item_id=item, **place, transcript=text, usage=usage)


def _reply(service: _Service, deltas: Callable[[Event], Iterator[Event]]) -> Iterator[Event]:
    """The events around the deltas of a reply."""
    response, item = service.id("resp"), service.id("item")
    place = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    message: Event = {"id": item, "type": "message", "status": "in_progress", "role": "assistant",
               "content": []}  # fmt: skip
    start: Event = {"object": "realtime.response", "id": response, "status": "in_progress",
             "status_details": None, "output": [], "conversation_id": service.id("conv"),
             "output_modalities": ["audio"], "max_output_tokens": "inf", "usage": None,
             "metadata": None}  # fmt: skip
    yield service.event("response.created", response=start)
    outer = {"response_id": response, "output_index": 0}
    yield service.event("response.output_item.added", **outer, item=message)
    yield service.event("conversation.item.added", previous_item_id=None, item=message)
    yield from deltas(place)
    content = [{"type": "output_audio", "transcript": "It is foggy in London. " * 8}]
    message = {**message, "status": "completed", "content": content}
    yield service.event("conversation.item.done", previous_item_id=None, item=message)
    yield service.event("response.output_item.done", **outer, item=message)
    usage = {"total_tokens": 146, "input_tokens": 40, "output_tokens": 106}
    end = {**start, "status": "completed", "output": [message], "usage": usage}
    yield service.event("response.done", response=end)
    yield service.event("rate_limits.updated", rate_limits=[])


def _speech(service: _Service) -> Callable[[Event], Iterator[Event]]:
    """Audio and its transcript; the transcript's deltas come first and come in between."""

    def deltas(place: Event) -> Iterator[Event]:
        part = {"type": "audio", "transcript": ""}
        yield service.event("response.content_part.added", **place, part=part)
        passed = words = number = 0.0
        while passed < _REPLY_MS:
            ms = service.chunk_ms(int(number))
            # Twelve a second make audio a quarter of the frames where it comes in 250 ms.
            while words < min(passed + 1_000, _REPLY_MS) * 0.012:
                name = "response.output_audio_transcript.delta"
                yield service.event(name, **place, delta=" fog",
                                    obfuscation=service.id("")[:12])  # fmt: skip
                words += 1
            yield service.audio(place, base64.b64encode(service.chunk(ms)).decode())
            passed, number = passed + ms, number + 1
        yield service.event("response.output_audio.done", **place)
        yield service.event("response.output_audio_transcript.done", **place, transcript="fog")
        yield service.event("response.content_part.done", **place, part=part)

    return deltas


def _text(service: _Service) -> Callable[[Event], Iterator[Event]]:
    def deltas(place: Event) -> Iterator[Event]:
        part = {"type": "text", "text": ""}
        yield service.event("response.content_part.added", **place, part=part)
        for _ in range(120):
            yield service.event("response.output_text.delta", **place, delta=" fog",
                                obfuscation=service.id("")[:12])  # fmt: skip
        yield service.event("response.output_text.done", **place, text=" fog" * 120)
        yield service.event("response.content_part.done", **place, part=part)

    return deltas


SETS: dict[str, Callable[[random.Random], Iterator[Event]]] = {
    "openai": lambda rng: _spoken(_Service(rng)),
    "telephony": lambda rng: _spoken(_Telephony(rng)),
    "xai": lambda rng: _spoken(_XAI(rng)),
    "huggingface": lambda rng: _spoken(_HuggingFace(rng)),
    "text": _written,
}
"""openai: 24 kHz pcm16 in chunks of 250 ms; telephony: G.711 in chunks of 20 ms; xai: `delta` in
the middle, chunks of 489 ms; huggingface: alphabetical keys, chunks of 32 ms; text: no audio."""
