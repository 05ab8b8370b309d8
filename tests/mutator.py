"""Inputs for the fuzz targets: what to start from, and a mutator that knows JSON, lines and frames.

Rule: nearly right is what finds faults. So a mutated frame stays JSON half of the time, and what is
put in is what some reader might take for something else. The same bytes and seed give the same
mutant.
"""

import functools
import json
import random
from collections.abc import Iterator
from typing import Any

import msgspec

from deltaring.events import EVENT_CLASSES
from tests.wire import (
    BETA,
    COMPACT,
    EXTRAS,
    GA,
    KNOWN_LAYOUTS,
    OTHER_LAYOUTS,
    SPACED,
    audio_done,
    audio_frame,
    frame,
    hostile,
    pcm,
    response,
    session,
)

MAX_SIZE = 1 << 14
"""Bytes of an input: a few frames that the fast path takes, and never slow."""

# --- what to start from -------------------------------------------------------------------------


def audio_frames() -> list[bytes]:
    """All layouts under both names, of a length that the fast path takes, and short ones."""
    return [
        audio_frame(pcm(count), type=type, layout=layout, separators=separators)
        for type in (GA, BETA)
        for layout in (*KNOWN_LAYOUTS, *OTHER_LAYOUTS)
        for separators in (COMPACT, SPACED)
        for count in (9, 301)
    ]


def event_frames() -> list[bytes]:
    """One frame of each type of the catalogue, with all of its fields."""
    return [
        frame(name, **{field: _example(field, kind) for field, kind in _fields(cls)})
        for name, cls in EVENT_CLASSES.items()
    ]


def _fields(cls: type) -> list[tuple[str, Any]]:
    return [(field.encode_name, field.type) for field in msgspec.structs.fields(cls)]


def _example(name: str, kind: Any) -> Any:
    """A value for a field, in the middle of what its declaration allows."""
    choices = [kind, *getattr(kind, "__args__", ())]
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            part = {field: _example(field, inner) for field, inner in _fields(choice)}
            return [part] if str(kind).startswith("list") else part
    if name.endswith("_id") or name == "id":
        return f"{name}_1"
    return 1 if int in choices or float in choices else "x" if str in choices else None


def life() -> list[bytes]:
    """The frames of a short session: formats, two replies, what is late, an error."""
    first, second = dict(response_id="r1", item_id="i1"), dict(response_id="r2", item_id="i2")
    return [
        session(audio={"output": {"format": {"type": "audio/pcm", "rate": 24_000}}}),
        response("response.created", "r1"),
        audio_frame(pcm(301), **first),
        audio_frame(pcm(9), **first),
        frame("response.output_audio_transcript.delta", delta="hi", output_index=0, **first),
        audio_done("r1", "i1"),
        response("response.done", "r1", status="completed", usage={"total_tokens": 5}),
        session("session.updated", output_audio_format="g711_ulaw"),
        response("response.created", "r2"),
        audio_frame(pcm(303), type=BETA, **second),
        frame("input_audio_buffer.speech_started", audio_start_ms=10, item_id="u1"),
        frame("conversation.item.truncated", item_id="i2", content_index=0, audio_end_ms=5),
        audio_frame(pcm(303), type=BETA, **second),
        frame("error", error={"type": "x", "code": None, "message": "no"}),
        *(frame("conversation.item.added", item={"id": f"u{number}"}) for number in range(3)),
    ]


def client_frames() -> list[bytes]:
    """What a client sends."""
    tools = [{"type": "mcp", "server_url": "https://u:p@h/?key=k", "authorization": "hide", "headers": {"a": "b"}}]  # fmt: skip
    return [
        frame("session.update", session={"tools": tools, "client_secret": {"value": "v"}}),
        frame("input_audio_buffer.append", audio="AAAA" * 30),
        frame("input_audio_buffer.commit"),
        frame("conversation.item.create", item={"role": "user", "content": [{"text": "hi"}]}),
        frame("response.create", event_id="e"),
    ]


def envelope(raw: bytes, time: str = "1784858052.5", source: str = "server") -> bytes:
    """A line as RecordingWriter writes it."""
    return b'{"time":%s,"source":"%s","event":%s}' % (time.encode(), source.encode(), raw)


def recorded() -> list[bytes]:
    """Recordings: a session bare, enveloped, with a client in it, and each odd form of a line."""
    frames, said = life(), client_frames()
    both = [
        envelope(raw, f"{number}.25", source)
        for number, (raw, source) in enumerate(
            [(frames[0], "server")]
            + [(raw, "client") for raw in said]
            + [(frame("input_audio_buffer.committed"), "server")]
            + [(raw, "server") for raw in frames[1:]]
        )
    ]
    odd = [
        b'{"time":"2026-07-24T01:54:12.5+02:00","event":{"type":"a.b"}}',
        b'{"time":"20260724T015412","source":"client","event":{"type":"a.b"}}',
        b'{"event":{"x":1},"time":null}',
        b'{"raw":"eyJ0eXBlIjoiYSJ9","source":"server","time":-1e3}',
        b'{"raw":"AAA","time":1}',
        b'{"source":"client","event":{"type":"input_audio_buffer.append","audio":null}}',
        b'{"source":"nobody","event":{}}',
        b'{"type":"a.b","text":"\\ud83d"}',
        b'{"time":1,"event":{"type":"a.b","text":"\\ud83d"}}',
        b'{"a":"\\ud83d","event":{"type":"a.b"}}',
        b"",
        b"  ",
        b"[1]",
        b"\xff\xfe",
        b'{"type":"input_audio_buffer.dtmf_event_received","event":"5"}',
    ]
    return [
        b"\n".join(frames) + b"\n",
        b"\r\n".join(both) + b"\r\n",
        b"\xef\xbb\xbf" + b"\n".join(odd) + b"\n",
        b"\n".join(envelope(raw) for raw in audio_frames()[:12]),
    ]


def hars() -> list[bytes]:
    """HAR files as Chrome and mitmproxy write them."""
    messages = [
        {"type": "receive", "time": 1.5, "opcode": 1, "data": raw.decode()} for raw in life()
    ]
    messages += [{"type": "send", "time": 2, "opcode": 1, "data": client_frames()[0].decode()}]
    messages += [{"type": "send", "time": "2026-07-24T01:54:12Z", "opcode": 2, "data": "AAAA"}]
    messages += [{"type": "receive", "time": 3, "opcode": -1, "data": "gone"}]
    page = {"request": {"url": "https://x/"}, "response": {"content": {"text": "<html>" * 40}}}
    entries = [page, {"_webSocketMessages": messages[:5], **page}, page]
    entries += [{**page, "_webSocketMessages": messages[5:]}]
    log = {"log": {"version": "1.2", "entries": entries}}
    odd = b'{"log":{"entries":[{"_webSocketMessages":[{"type":"receive","data":"\\ud83d"}]}]}}'
    return [
        json.dumps(log).encode(),
        json.dumps(log, indent=2, ensure_ascii=False).encode(),
        odd,
        b'{"log":{"entries":[]}}',
    ]


def small_hostile() -> list[bytes]:
    """The hostile frames that are short enough."""
    frames = [
        raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw
        for raw in hostile().values()
    ]
    return [raw for raw in frames if len(raw) < MAX_SIZE // 2]


# --- documents, with each key as often as it stands there ---------------------------------------


class Pairs(list):  # type: ignore[type-arg]
    """An object: a list of `[key, value]`."""


class Token(str):
    """A value that is written as it stands: a number, or any text at all."""

    __slots__ = ()


def parse(text: bytes | str) -> Any:
    """Read JSON without losing anything. Raises ValueError or RecursionError."""
    return json.loads(
        text,
        object_pairs_hook=lambda pairs: Pairs(list(pair) for pair in pairs),
        parse_int=Token,
        parse_float=Token,
        parse_constant=Token,
    )


def write(value: Any, separators: tuple[str, str] = COMPACT, ascii: bool = False) -> str:
    """Write what `parse` read."""
    if isinstance(value, Token):
        return value
    comma, colon = separators
    if isinstance(value, Pairs):
        inside = comma.join(
            write(key, separators, ascii) + colon + write(inner, separators, ascii)
            for key, inner in value
        )
        return "{" + inside + "}"
    if isinstance(value, list):
        return "[" + comma.join(write(inner, separators, ascii) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=ascii)


# --- mutations ----------------------------------------------------------------------------------

VALUES = [
    "null", "true", "false", "0", "-0", "-1", "1", "1.5", "1e3", "1e999", "-1e-999", "9223372036854775807",
    "9223372036854775808", "18446744073709551616", "-9223372036854775809", "1" * 400, "1e400", "253402300800",
    "999999999999.9", "1e12", "-62135596801", "NaN", "Infinity", '""', '"x"', '"\\ud83d"', '"\\ude00\\ud83d"', '"\\u0000"',
    '"\u6f22\U0001f600"', '"AAAA"', '"AAA="', '"AA=="', '"!"', '"eyJ0eXBlIjoiYSJ9"', '"' + "i" * 300 + '"', "[]", "{}", "[[]]", "[{}]",
    '{"type":"a.b"}', '{"id":null}', '"pcm16"', '"g711_alaw"', '"audio/pcmu"', '"opus"', '{"type":"audio/pcm","rate":8000}',
    '"server"', '"client"', '"receive"', '"send"', '"2026-07-24T01:54:12.5+02:00"', '"2026-07-24"', '"0001-01-01T00:00:00+23:59"',
    '"9999-12-31T23:59:59-23:59"', '"inf"', '"response.done"', '"completed"', "[" * 120 + "]" * 120, "[" * 300 + "]" * 300,
    '{"a":' * 250 + "1" + "}" * 250,
]  # fmt: skip

KEYS = sorted(
    {name for cls in EVENT_CLASSES.values() for name in cls.__struct_fields__}
    | {"type", "id", "time", "source", "event", "raw", "log", "entries", "_webSocketMessages", "opcode", "data"}
    | {"audio", "format", "rate", "output", "input", "usage", "total_tokens", "content", "status", "metadata", "tools"}
    | {"client_secret", "authorization", "headers", "server_url", "value", "expires_at", "", "\ud83d", "é", *EXTRAS}
)  # fmt: skip

TOKENS = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"\r", b"\n", b"\n\n", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x82",
    b"=", b"==", b"A", b"+", b"/", b"-", b"0", b"1.5", b"null", b"\\u0041", b"\\ud83d", b"\\ude00", b"\\u005c", b"\\/", b'\\"', b"\\\\",
    b'"type":"error",', b'"delta":"AAAA",', b',"delta":"QUJD"', b'","delta":"', b'"type":"response.audio.delta",',
    b'"content_index":1,', b'"event_id":"x",', b'{"time":1,"source":"server","event":', b'"raw":"AAAA",', b"item_", b"resp_", b"output_",
    b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\x00\x00\x00\x00", b'{"log":{"entries":[',
]  # fmt: skip


def mutate(data: bytes, seed: int, max_size: int = MAX_SIZE) -> bytes:
    """Change something about lines, about a document in one of them, or about bytes."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice((_in_document, _in_document, _in_bytes, _in_lines))(data, chance)
    return data[:max_size]


def _in_lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    match chance.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, chance.choice(lines))
        case 2:
            lines.insert(at, chance.choice(stock()))
        case 3:
            lines.insert(at, envelope(chance.choice(stock()), chance.choice(VALUES)))
        case 4:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
    return b"\n".join(lines)


def _in_bytes(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    at = chance.randrange(len(data) + 1)
    match chance.randrange(5):
        case 0:
            changed[at:at] = chance.choice(TOKENS)
        case 1:
            changed[at : at + 1] = chance.randbytes(1)
        case 2:
            del changed[at : at + chance.choice((1, 1, 2, 3, 4, 30))]
        case 3:
            changed[at : at + chance.randrange(4)] = chance.choice(TOKENS)
        case 4:
            changed[at:at] = changed[at : at + chance.randrange(60)]
    return bytes(changed)


def _in_document(data: bytes, chance: random.Random) -> bytes:
    """Change a value, a key or an order in one line's document; in bytes, where it is none."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    head = lines[at].find(b"{")
    shallow = lines[at].count(b"[") + lines[at].count(b"{") < 150  # for the recursion in here
    try:
        document = parse(lines[at][head:]) if head >= 0 and shallow else None
    except (ValueError, RecursionError):
        document = None
    if not document:
        return _in_bytes(data, chance)
    _change(chance.choice(list(_holders(document))), chance)
    text = write(document, chance.choice((COMPACT, COMPACT, SPACED)), chance.random() < 0.5)
    lines[at] = lines[at][:head] + text.encode(errors="surrogatepass")
    return b"\n".join(lines)


def _holders(value: Any) -> Iterator[list[Any]]:
    """The objects and lists in a document that hold something."""
    if isinstance(value, list) and value:
        yield value
        for inner in value:
            yield from _holders(inner[1] if isinstance(value, Pairs) else inner)


def _change(holder: list[Any], chance: random.Random) -> None:
    at = chance.randrange(len(holder))
    value = Token(chance.choice(VALUES))
    match chance.randrange(7):
        case 0:
            del holder[at]
        case 1:
            chance.shuffle(holder)
        case 2:
            holder.insert(chance.randrange(len(holder) + 1), holder[at])
        case 3 if isinstance(holder, Pairs):
            holder.insert(at, [chance.choice(KEYS), value])
        case 4 if isinstance(holder, Pairs):
            holder[at] = [chance.choice(KEYS), holder[at][1]]
        case 5 if isinstance(holder, Pairs):
            holder.insert(at, [holder[at][0], value])
        case _:
            holder[at] = [holder[at][0], value] if isinstance(holder, Pairs) else value


@functools.cache
def stock() -> list[bytes]:
    """All single frames there are."""
    return [*life(), *client_frames(), *audio_frames(), *event_frames()]
