"""Frames that are nearly right: real structures, changed in one to three places.

Rule: a frame is taken apart into members (key and value, as text), changed there, and written again,
so that most mutants are still JSON and get past the first look of a parser.
"""

import json
import random
from collections.abc import Iterator
from typing import Any, TypeAlias

from tests import opinion
from tests.wire import (
    BETA,
    COMPACT,
    GA,
    KNOWN_LAYOUTS,
    OTHER_LAYOUTS,
    SPACED,
    audio_done,
    audio_frame,
    frame,
    pcm,
    response,
    session,
)

Node: TypeAlias = Any
"""The text of a scalar (bytes), a list of nodes, or Members."""


class Members(list[list[Any]]):
    """An object: `[key, node]` each, keys as text with their quotes."""


def _taken_apart(value: Any) -> Node:
    if isinstance(value, Members):
        return Members([_text(key), _taken_apart(item)] for key, item in value)
    if isinstance(value, list):
        return list(map(_taken_apart, value))
    return _text(value)


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def taken_apart(raw: bytes) -> Node:
    """Return the structure of a frame."""
    return _taken_apart(json.loads(raw, object_pairs_hook=Members))


def written(node: Node, comma: bytes, colon: bytes) -> bytes:
    """Return the text of a structure."""
    if isinstance(node, bytes):
        return node
    if isinstance(node, Members):
        members = (key + colon + written(value, comma, colon) for key, value in node)
        return b"{" + comma.join(members) + b"}"
    return b"[" + comma.join(written(item, comma, colon) for item in node) + b"]"


def copied(node: Node) -> Node:
    """Return a structure that can be changed without the other."""
    if isinstance(node, Members):
        return Members([key, copied(value)] for key, value in node)
    return list(map(copied, node)) if isinstance(node, list) else node


# --- what there is to change ----------------------------------------------------------------------

_PARTS: dict[str, Any] = {
    "session": {"id": "sess_1", "model": "m", "modalities": ["text", "audio"], "voice": None, "tools": [{"type": "function"}],
                "turn_detection": {"type": "server_vad", "threshold": 0.5}, "output_audio_format": "g711_ulaw", "temperature": -1.0,
                "audio": {"output": {"format": {"type": "audio/pcm", "rate": 16_000}, "speed": 1}}, "expires_at": 1_784_858_052},
    "response": {"id": "resp_1", "object": "realtime.response", "status": "completed", "status_details": None, "metadata": {"a": "b"},
                 "output": [{"id": "item_1", "type": "message", "content": [{"type": "audio", "transcript": "é😀"}]}],
                 "usage": {"total_tokens": 3, "input_token_details": {"cached_tokens": 0}}, "max_output_tokens": "inf",
                 "audio": {"output": {"format": {"type": "audio/pcma"}}}},
    "item": {"id": "item_1", "type": "function_call", "role": None, "content": [{"type": "text", "text": "t"}], "arguments": "{}"},
    "conversation": {"id": "conv_1", "object": "realtime.conversation"},
    "error": {"type": "invalid_request_error", "code": None, "message": "m", "param": "p", "event_id": "event_0"},
    "rate_limits": [{"name": "tokens", "limit": 9, "remaining": 8, "reset_seconds": 0.5}],
    "part": {"type": "audio", "transcript": ""},
    "usage": {"type": "tokens", "total_tokens": 1},
    "logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}],
    "event": "5",
    "audio_start_ms": 10, "audio_end_ms": 20, "start": 0.5, "end": 1.25, "speaker": "A", "name": "f", "languages": [{"code": "en"}],
    "received_at": 5, "elapsed_ms": 7, "sample_rate": 24_000, "channels": 1, "format": "pcm16", "obfuscation": "x",
}  # fmt: skip


def sample(type: str) -> bytes:
    """Return a frame of a known type, with all that is strict in it and much that is open."""
    fields: dict[str, Any] = {}
    for spec in opinion.EVENTS[type]:
        name = spec.rstrip("!?*{}[]")
        fields[name] = _PARTS.get(name, 0 if name.endswith("_index") else f"{name}_1")
    odd = sum(type.encode()) % 3  # spreads the open fields over the types
    fields.update(dict(list(_PARTS.items())[6 + odd :: 3]))
    if type in opinion.AUDIO:
        fields["delta"] = "AAAAAQEB"
    return frame(type, **fields)


def bases() -> list[bytes]:
    """Return the frames to change: audio in all layouts, and one of each type."""
    audio = [
        audio_frame(pcm(size + number), type=type, layout=layout, separators=separators)
        for number, layout in enumerate((*KNOWN_LAYOUTS, *OTHER_LAYOUTS))
        for size in (40, 210)
        for type in (GA, BETA)
        for separators in (COMPACT, SPACED)
    ]
    others = [
        audio_done("resp_E4ySzvKWmfZzGYRJLuvPM", "item_E4ySzyEXmG1cqrBzxotNa"),
        response("response.done", "resp_E4ySzvKWmfZzGYRJLuvPM"),
        response("response.created", "resp_E4ySzvKWmfZzGYRJLuvPM", output_audio_format="pcm"),
        session("session.updated", output_audio_format="g711_alaw"),
        session("session.updated", audio={"output": {"format": {"type": "opus"}}}),
        frame("some.new.event", event_id="event_1", x={"type": "error"}),
    ]
    return [*audio, *audio, *map(sample, opinion.EVENTS), *others]


VALUES = [
    b"null", b"true", b"false", b"0", b"1", b"-1", b"-0", b"0.0", b"1e2", b"1.5", b"1e999", b"-1e999", b"9007199254740993",
    b"18446744073709551616", b"9" * 40, b"01", b"1.", b"nan", b"Infinity", b"", b'""', b'"a"', b'"AAAA"', b'"AA=="', b'"A"',
    b'"pcm16"', b'"opus"', b'"error"', b'"response.audio.delta"', b'"\\ud83d"', b'"\\ud83d\\ude00"', b'"\xff"', b'"\xed\xa0\x80"',
    b'"\\u0041"', b'"\\x"', b"'a'", b"[]", b"{}", b'["a",1]', b'{"type":"error"}', b'{"id":"resp_1"}', b'{"delta":"AAAA"}', b"[1e999]",
    b'["\xff"]', b"[" * 130 + b"]" * 130, b"[" * 300 + b"]" * 300, b'{"a":1,"a":2}', b"12345",
]  # fmt: skip
PIECES = [
    b"\\n", b"\\u0041", b"\\u00e9", b"\\ud83d", b"\\ude00", b"\\/", b"\\\\", b'\\"', b"\xff", b"\xc3\xa9", b"\xf0\x9f\x98\x80",
    b"\0", b"\n", b"=", b"==", b"+", b"/", b"-", b"A", b" ", b"\\", b'"', b"\x7f",
]  # fmt: skip
COMMAS = [b",", b",", b",", b", ", b" , ", b",\n\t", b",,", b";"]
COLONS = [b":", b":", b":", b": ", b" : ", b":\r\n"]


def mutants(seed: int, count: int, sources: list[bytes] | None = None) -> Iterator[bytes]:
    """Yield so many mutants of the sources, the same for the same seed."""
    chance = random.Random(seed)
    structures = list(map(taken_apart, sources or bases()))
    for _ in range(count):
        node = copied(chance.choice(structures))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            _change(chance, node, structures)
        yield _outside(chance, written(node, *_separators(chance)))


def _separators(chance: random.Random) -> tuple[bytes, bytes]:
    if chance.random() < 0.85:
        return chance.choice(((b",", b":"), (b", ", b": ")))
    return chance.choice(COMMAS), chance.choice(COLONS)


def _objects(node: Node) -> Iterator[Members]:
    if isinstance(node, Members):
        yield node
    if isinstance(node, list):
        for item in node:
            yield from _objects(item[1] if isinstance(node, Members) else item)


def _change(chance: random.Random, root: Members, structures: list[Node]) -> None:
    """Change one member, of the frame itself more often than of a part."""
    members = root if chance.random() < 0.7 else chance.choice(list(_objects(root)))
    if not members:
        members.append([b'"type"', chance.choice(VALUES)])
        return
    at = chance.randrange(len(members))
    key, value = members[at]
    match chance.randrange(9):
        case 0:
            del members[at]
        case 1:
            chance.shuffle(members)
        case 2:
            members.insert(chance.randrange(len(members) + 1), [key, _value(chance, structures)])
        case 3:
            members[at][1] = _value(chance, structures)
        case 4 | 5 if isinstance(value, bytes) and value.startswith(b'"'):
            members[at][1] = _respelt(chance, value)
        case 6:
            members[at][0] = _respelt(chance, key)
        case 7:
            members.insert(at, [chance.choice(members)[0], value])
        case _:
            members.insert(at, [b'"x"', _value(chance, structures)])


def _value(chance: random.Random, structures: list[Node]) -> Node:
    if chance.random() < 0.8:
        return chance.choice(VALUES)
    return copied(chance.choice(chance.choice(structures))[1])


def _respelt(chance: random.Random, text: bytes) -> bytes:
    """Change a string: the same characters in other letters, or one more, or some fewer."""
    at = chance.randrange(1, len(text)) if len(text) > 1 else 0
    match chance.randrange(4):
        case 0 if len(text) > 2 and at < len(text) - 1 and text[at] < 0x80 and b"\\" not in text:
            return text[:at] + b"\\u%04x" % text[at] + text[at + 1 :]
        case 1 | 0:
            return text[:at] + chance.choice(PIECES) + text[at:]
        case 2:
            return text[:at] + text[at + chance.choice((1, 1, 2, 3, 4)) :]
        case _:
            return (
                text[:-1] + chance.choice((b"A", b"=", b"==", b"AA", b"AAA=", b"AAAA")) + text[-1:]
            )


def _outside(chance: random.Random, raw: bytes) -> bytes:
    """Now and then: something before or after the frame, or a part of it."""
    match chance.randrange(40):
        case 0:
            return raw + chance.choice((b" ", b"\n", b"}", b"x", b"\0", b",", b"{}"))
        case 1:
            return chance.choice((b" ", b"\n\t", b"\xef\xbb\xbf", b"[", b"\0")) + raw
        case 2:
            return raw[: chance.randrange(len(raw) + 1)]
        case 3:
            at = chance.randrange(len(raw))
            return raw[:at] + chance.randbytes(1) + raw[at + 1 :]
    return raw
