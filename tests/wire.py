"""Frames as servers send them, made from parts: layouts, chunk sizes, broken ones."""

import base64
import json
import random
from collections.abc import Iterator

GA, BETA = "response.output_audio.delta", "response.audio.delta"
COMPACT, SPACED = (",", ":"), (", ", ": ")

OPENAI = "type event_id response_id item_id output_index content_index delta"
VOICE_LIVE = "event_id type response_id item_id output_index content_index delta"
XAI = (
    "type event_id item_id response_id delta content_index output_index rid latency "
    "audio_duration_ms ts previous_item_id"
)
XAI_SHORT = (
    "type event_id item_id response_id delta content_index output_index rid ts previous_item_id"
)
ALPHABETICAL = "content_index delta event_id item_id output_index response_id type"
TYPE_LAST = "response_id item_id output_index content_index delta type"
GLM = "event_id type client_timestamp response_id output_index content_index delta"

KNOWN_LAYOUTS = [OPENAI, VOICE_LIVE, XAI, XAI_SHORT]
OTHER_LAYOUTS = [ALPHABETICAL, TYPE_LAST, GLM]

EXTRAS = {
    "rid": "417c5cb6-96ff-43bb-86c5-ceacabc8fac9",
    "latency": "0.53",
    "audio_duration_ms": 642,
    "ts": 1785214081361,
    "previous_item_id": None,
    "client_timestamp": 1785214081361,
}


def pcm(count: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(count)


def audio_frame(
    data: bytes | str,
    *,
    type: str = GA,
    layout: str = OPENAI,
    separators: tuple[str, str] = COMPACT,
    event_id: object = "event_E4ySyqtszaCwtKJ3TNavm",
    response_id: object = "resp_E4ySzvKWmfZzGYRJLuvPM",
    item_id: object = "item_E4ySzyEXmG1cqrBzxotNa",
    output_index: object = 0,
    content_index: object = 0,
) -> bytes:
    fields = {
        "type": type,
        "event_id": event_id,
        "response_id": response_id,
        "item_id": item_id,
        "output_index": output_index,
        "content_index": content_index,
        "delta": data if isinstance(data, str) else base64.b64encode(data).decode(),
        **EXTRAS,
    }
    return json.dumps({key: fields[key] for key in layout.split()}, separators=separators).encode()


def frame(type: str, **fields: object) -> bytes:
    return json.dumps({"type": type, **fields}, separators=COMPACT, ensure_ascii=False).encode()


def audio_done(response_id: str, item_id: str, type: str = GA, content_index: int = 0) -> bytes:
    return frame(
        type.replace("delta", "done"),
        event_id="event_x",
        response_id=response_id,
        item_id=item_id,
        output_index=0,
        content_index=content_index,
    )


def response(type: str, response_id: str | None, **fields: object) -> bytes:
    return frame(type, event_id="event_x", response={"id": response_id, **fields})


def session(type: str = "session.created", **fields: object) -> bytes:
    return frame(type, event_id="event_x", session={"id": "sess_x", **fields})


# --- frames that a guess would get wrong --------------------------------------------------------


def hostile() -> dict[str, bytes | str]:
    """Named frames, each with one thing about it that a marker search or a lax parser misreads."""
    return dict(
        _named(
            _escapes, _nesting, _duplicates, _orders, _whitespace, _truncations, _encodings,
            _base64_defects, _odd_lengths, _scalars, _other_events, _huge,
        )
    )  # fmt: skip


def _named(*groups: object) -> Iterator[tuple[str, bytes | str]]:
    for group in groups:
        for name, value in group():  # type: ignore[operator]
            yield f"{group.__name__.strip('_')}: {name}", value  # type: ignore[attr-defined]


B64 = base64.b64encode(pcm(600)).decode()
PLAIN = audio_frame(pcm(600))
HEAD, TAIL = PLAIN[: PLAIN.index(b'delta":"') + 8], b'"}'


def _sub(old: str, new: str, source: bytes = PLAIN) -> bytes:
    assert old.encode() in source
    return source.replace(old.encode(), new.encode(), 1)


def _escapes() -> Iterator[tuple[str, bytes]]:
    yield "slash in base64", HEAD + b"AAA\\/" * 200 + TAIL
    yield "plus as \\u002B", HEAD + b"AAA\\u002B" * 200 + TAIL
    yield "whole payload escaped", HEAD + b"\\u0041\\u0041\\u0041\\u0041" * 60 + TAIL
    yield "quote in payload", HEAD + B64.encode() + b'\\"' + TAIL
    yield "backslash at the end", HEAD + B64.encode() + b"\\" + TAIL
    yield "double backslash at the end", HEAD + B64.encode() + b"\\\\" + TAIL
    yield "event_id with escape", _sub("event_E", "event\\u005fE")
    yield "event_id with quote", _sub("event_E", 'event\\"E')
    yield "event_id with backslash", _sub("event_E", "event\\\\E")
    yield "response_id with newline escape", _sub("resp_E", "resp\\nE")
    yield "response_id with NUL escape", _sub("resp_E", "resp\\u0000E")
    yield "type with escape", _sub("response.output", "response\\u002eoutput")
    yield "type value wholly escaped", _sub('"' + GA, '"\\u0072' + GA[1:])
    yield "key with escape", _sub('"delta"', '"d\\u0065lta"')
    yield "type key with escape", _sub('"type"', '"typ\\u0065"')
    yield "bad escape", _sub("event_E", "event\\xE")
    yield "lone surrogate escape", _sub("event_E", "event\\ud800E")
    yield "surrogate pair escape", _sub("event_E", "event\\ud83d\\ude00E")
    yield "short unicode escape", _sub("event_E", "event\\u00E")


def _nesting() -> Iterator[tuple[str, bytes]]:
    inner = audio_frame(pcm(600)).decode()
    yield "frame in a field", _sub('{"type"', '{"x":' + inner + ',"type"')
    yield "frame in a string", _sub('{"type"', '{"x":' + json.dumps(inner) + ',"type"')
    yield "marker in event_id", _sub("event_E", '\\",\\"delta\\":\\"QUJD\\"E')
    yield "nested type first", _sub('{"type"', '{"x":{"type":"error"},"type"')
    yield "nested delta first", _sub('{"type"', '{"x":{"delta":"AAAA"},"type"')
    yield "delta is an object", HEAD[:-1] + b'{"delta":"' + B64.encode() + b'"}}'
    yield "delta is a list", HEAD[:-1] + b'["' + B64.encode() + b'"]}'
    yield "frame in a list", b"[" + PLAIN + b"]"
    yield "200 lists deep", _sub('{"type"', '{"x":' + "[" * 200 + "]" * 200 + ',"type"')
    yield "300 lists deep", _sub('{"type"', '{"x":' + "[" * 300 + "]" * 300 + ',"type"')
    yield (
        "1,001 objects deep",
        _sub('{"type"', '{"x":' + '{"a":' * 1001 + "1" + "}" * 1001 + ',"type"'),
    )
    yield "100,000 lists, never closed", b'{"type":"error","x":' + b"[" * 100_000
    yield "1,000 brackets in a string", _sub('{"type"', '{"x":"' + "[{" * 500 + '","type"')
    yield "brackets after an escaped quote", _sub('{"type"', '{"x":"\\"' + "[{" * 500 + '","type"')
    yield "audio delta inside response.done", response("response.done", "r", x=json.loads(PLAIN))


def _duplicates() -> Iterator[tuple[str, bytes]]:
    for key, value in (
        ("delta", '"AAAA"'),
        ("delta", "null"),
        ("type", f'"{GA}"'),
        ("type", f'"{BETA}"'),
        ("type", '"error"'),
        ("type", '"no.such.type"'),
        ("type", "null"),
        ("event_id", '"event_second"'),
        ("event_id", "7"),
        ("response_id", '"resp_second"'),
        ("item_id", '"item_second"'),
        ("content_index", "3"),
        ("output_index", '"3"'),
    ):
        yield f"second {key} {value}", PLAIN[:-1] + f',"{key}":{value}}}'.encode()
        yield f"first {key} {value}", b"{" + f'"{key}":{value},'.encode() + PLAIN[1:]
    yield "unknown type twice", b'{"type":"a.b","type":"a.b"}'
    yield "two unknown types", b'{"type":"a.b","type":"a.c"}'
    yield "unknown type, then known", b'{"type":"a.b","type":"error","error":{}}'


def _orders() -> Iterator[tuple[str, bytes]]:
    for type in (GA, BETA):
        for layout in (*KNOWN_LAYOUTS, *OTHER_LAYOUTS):
            for separators in (COMPACT, SPACED):
                space = "spaces" if separators is SPACED else "compact"
                yield (
                    f"{type} {layout} {space}",
                    audio_frame(pcm(600), type=type, layout=layout, separators=separators),
                )
    keys = OPENAI.split()
    shuffler = random.Random(5)
    for number in range(12):
        shuffler.shuffle(keys)
        yield f"shuffled {number}", audio_frame(pcm(600), layout=" ".join(keys))
    for key in keys:
        rest = " ".join(other for other in OPENAI.split() if other != key)
        yield f"without {key}", audio_frame(pcm(600), layout=rest)
    yield "xAI with a key after", audio_frame(pcm(600), layout=XAI)[:-1] + b',"more":1}'
    yield (
        "xAI extras in another order",
        audio_frame(pcm(600), layout=XAI.replace("rid latency", "latency rid")),
    )
    yield "xAI with delta twice", audio_frame(pcm(600), layout=XAI)[:-1] + b',"delta":"AAAA"}'
    yield "obfuscation after delta", PLAIN[:-1] + b',"obfuscation":"abc"}'


def _whitespace() -> Iterator[tuple[str, bytes]]:
    yield "two spaces", _sub('":"', '":  "')
    yield "tab", _sub('":"', '":\t"')
    yield "newline inside", _sub(',"event_id"', ',\n"event_id"')
    yield "space before a colon", _sub('"delta":', '"delta" :')
    yield "space before a comma", _sub(',"delta"', ' ,"delta"')
    yield "space inside the brace", b"{ " + PLAIN[1:]
    yield "space before the brace", b" " + PLAIN
    yield "space after", PLAIN + b" "
    yield "newline after", PLAIN + b"\n"
    yield "space before the last brace", PLAIN[:-1] + b" }"
    yield "indented", json.dumps(json.loads(PLAIN), indent=2).encode()
    yield "form feed", _sub(',"delta"', ',\f"delta"')
    yield "non-breaking space", _sub(',"delta"', ',\xa0"delta"')


def _truncations() -> Iterator[tuple[str, bytes]]:
    for cut in (
        1,
        2,
        3,
        5,
        100,
        400,
        len(B64) + 1,
        len(B64) + 2,
        len(B64) + 9,
        len(PLAIN) - 1,
        len(PLAIN),
    ):
        yield f"{cut} bytes short", PLAIN[:-cut]
    yield "no closing quote", PLAIN[:-2] + b"}"
    yield "payload opens and ends with one quote", HEAD + b"}"
    yield "the same with a long header", audio_frame("", item_id="i" * 600)[:-2] + b"}"
    yield "twice", PLAIN + PLAIN
    yield "brace after", PLAIN + b"}"
    yield "NUL after", PLAIN + b"\0"
    yield "trailing comma", PLAIN[:-1] + b",}"


def _encodings() -> Iterator[tuple[str, bytes | str]]:
    yield "UTF-16", PLAIN.decode().encode("utf-16")
    yield "UTF-32", PLAIN.decode().encode("utf-32")
    yield "byte order mark", b"\xef\xbb\xbf" + PLAIN
    yield "latin-1 in event_id", _sub("event_E", "event_\xe9").decode().encode("latin-1")
    yield "UTF-8 in event_id", _sub("event_E", "event_\xe9")
    yield "UTF-8 in response_id", _sub("resp_E", "resp_\u6f22")
    yield "overlong UTF-8", PLAIN.replace(b"event_E", b"event_\xc0\xaf")
    yield "control character in event_id", PLAIN.replace(b"event_E", b"event_\x01")
    yield "DEL in event_id", PLAIN.replace(b"event_E", b"event_\x7f")
    yield "NUL in payload", PLAIN.replace(b'"}', b'\0"}')
    yield "0xff in payload", PLAIN[:-6] + b"\xff\xff\xff\xff" + TAIL
    yield "0xff in an unknown field", PLAIN[:-1] + b',"x":"\xff"}'
    yield "str", PLAIN.decode()
    yield "str with a lone surrogate", PLAIN.decode().replace("event_E", "event_\ud800")
    yield "str with UTF-8", _sub("event_E", "event_\xe9").decode()


def _base64_defects() -> Iterator[tuple[str, bytes]]:
    for name, payload in {
        "one character short": B64[:-1],
        "two short": B64[:-2],
        "three short": B64[:-3],
        "one padding too many": B64 + "=",
        "four paddings": B64 + "====",
        "padding in the middle": B64[:400] + "AA==" + B64[400:],
        "padding at the start": "====" + B64,
        "only padding": "=" * 400,
        "url-safe alphabet": B64[:-4] + "-_-_",
        "newline": B64[:76] + "\n" + B64[76:],
        "escaped newline": B64[:76] + "\\n" + B64[76:],
        "space": B64[:-4] + " AAA",
        "leading space": " " + B64,
        "trailing space": B64 + " ",
        "bits left over": B64[:-4] + "AB==",
        "one bit left over": B64[:-4] + "AAB=",
        "percent": B64[:-4] + "%2B=",
        "equals in the last quad": B64[:-4] + "A=AA",
        "lone character": B64 + "A",
        "comma": B64[:-4] + "AA,A",
        "bad at the first byte": "!" + B64[1:],
        "bad at byte 63": B64[:63] + "!" + B64[64:],
        "bad at the last byte": B64[:-1] + "!",
    }.items():
        yield name, audio_frame(payload) if "\n" not in payload else HEAD + payload.encode() + TAIL
        yield f"{name}, xAI", audio_frame(payload, layout=XAI)
    yield "empty", audio_frame("")
    yield "empty, long ids", audio_frame("", item_id="i" * 600)


def _odd_lengths() -> Iterator[tuple[str, bytes]]:
    for count in (0, 1, 2, 3, 299, 300, 301, 302, 303, 601, 4799, 12_001):
        yield f"{count} bytes", audio_frame(pcm(count))
        yield f"{count} bytes, other item", audio_frame(pcm(count), item_id="item_other")


def _scalars() -> Iterator[tuple[str, bytes]]:
    for key in ("event_id", "response_id", "item_id"):
        for value in (None, 7, True, [], {}, "", "i" * 5000, "a b", "é", "../../x"):
            yield (
                f"{key} {str(value)[:9]!r} {type(value).__name__}",
                audio_frame(pcm(300), **{key: value}),
            )  # type: ignore[arg-type]
    for key in ("output_index", "content_index"):
        for text in ("null", '"0"', "0.0", "1e0", "-0", "-1", "01", "1.5", "true", "[]", "+1",
                     "999999999", "1000000000", "9" * 30, "0x1", "1_000"):  # fmt: skip
            yield f"{key} {text[:12]}", _sub(f'"{key}":0', f'"{key}":{text}')
    for text in ("null", "5", "true", '{"a":1}'):
        yield f"delta {text}", HEAD[:-1] + text.encode() + b"}"
    for key in ("rid", "latency", "audio_duration_ms", "ts", "previous_item_id"):
        for text in (
            '"x"',
            "null",
            "1",
            "-1.5e-3",
            "01",
            "1e999",
            "nan",
            "Infinity",
            '"\\n"',
            "{}",
            "tru",
        ):
            value = json.dumps(EXTRAS[key])
            yield (
                f"xAI {key} {text}",
                _sub(f'"{key}":{value}', f'"{key}":{text}', audio_frame(pcm(300), layout=XAI)),
            )


def _other_events() -> Iterator[tuple[str, bytes]]:
    yield "done", audio_done("resp_E4ySzvKWmfZzGYRJLuvPM", "item_E4ySzyEXmG1cqrBzxotNa")
    yield "late", PLAIN
    yield "response.done", response("response.done", "resp_E4ySzvKWmfZzGYRJLuvPM")
    yield "late again", PLAIN
    yield "session.created", session()
    yield "after the epoch", PLAIN
    yield "G.711 session", session("session.updated", output_audio_format="g711_ulaw")
    yield "G.711 delta", audio_frame(pcm(401), response_id="resp_g711")
    yield "opus session", session("session.updated", output_audio_format="opus")
    yield "opus delta", audio_frame(pcm(401), response_id="resp_opus")
    yield "lenient response", response("response.created", "resp_l", output=5)
    yield "delta of the lenient response", audio_frame(pcm(400), response_id="resp_l")
    yield "response is null", frame("response.done", response=None)
    yield "transcript is null", frame("response.audio_transcript.done", transcript=None)
    yield "type is empty", frame("")
    yield "type with a space", frame(" " + GA, delta="AAAA")
    yield "type in capitals", frame(GA.upper(), delta="AAAA")
    yield "type with NUL", frame(GA + "\0", delta="AAAA")
    yield "empty object", b"{}"
    yield "empty", b""
    yield "space", b" "
    yield "null", b"null"
    yield "number", b"1"
    yield "string", b'"response.audio.delta"'
    yield "list", b'["type","error"]'


def _huge() -> Iterator[tuple[str, bytes]]:
    yield "640,000 characters", audio_frame(pcm(480_000))
    yield "event_id of 100 KB", audio_frame(pcm(300), event_id="e" * 100_000)
    yield "1 MB of quotes", b'"' * (1 << 20)
    yield "1 MB of backslashes", b'{"type":"' + b"\\" * (1 << 20)
    yield "1 MB of braces", b"{" * (1 << 20)
    yield 'half a MB of {"delta":"', b'{"delta":"' * 50_000
    yield "1 MB of spaces", b" " * (1 << 20)
    yield "1 MB unknown", frame("big.unknown", x="y" * (1 << 20))
