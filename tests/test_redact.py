import base64
import json
import random
from typing import Any

import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st

import deltaring
from deltaring.recording import Recording
from deltaring.redact import Redaction, check_kinds
from tests.wire import BETA, GA, XAI, audio_frame, frame, hostile, pcm, response, session

SECRET = "sk-5eCr3t"
WITHHELD = "deltaring.withheld"
KEY, MARK = "Bearer " + SECRET, "[redacted]"


def redacted(data: bytes, source: str = "server", **kinds: bool) -> bytes:
    return Redaction(**kinds).apply(data, source)


def loaded(data: bytes) -> Any:
    return json.loads(data)


# --- secrets --------------------------------------------------------------------------------------

MCP = {
    "type": "mcp",
    "server_label": "calendar",
    "authorization": KEY,
    "headers": {"X-Api-Key": SECRET, "X-Other": SECRET},
    "require_approval": "never",
}
PLACES = {
    "client_secret.value": session(client_secret={"value": SECRET, "expires_at": 1784858052}),
    "client_secret as a string": session(client_secret=SECRET),
    "client_secret as a list": session(client_secret=[SECRET]),
    "client_secret as a number": session(client_secret={"value": 271828182845}),
    "transcription session": frame(
        "transcription_session.created", session={"client_secret": {"value": SECRET}}
    ),
    "client_secret at the top": frame("vendor.event", client_secret={"value": SECRET}),
    "tools of session.created": session(tools=[MCP]),
    "tools of session.updated": session("session.updated", tools=[{"type": "function"}, MCP]),
    "tools of session.update": frame("session.update", session={"tools": [MCP]}),
    "tools of response.create": frame("response.create", response={"tools": [MCP]}),
    "tools of response.done": response("response.done", "resp_x", tools=[MCP]),
    "tools of an item": frame("conversation.item.added", item={"tools": [MCP]}),
    "tools in tools": session(tools=[{"group": {"tools": [{"inner": [MCP]}]}}]),
    "tools in an unknown event": frame("vendor.event", a={"b": [{"tools": [MCP]}]}),
    "headers as a list": session(tools=[{"headers": [["X-Api-Key", SECRET]]}]),
    "headers as a string": session(tools=[{"headers": f"X-Api-Key: {SECRET}"}]),
    "one tool, no list": session(tools=MCP),
    "query of a server": session(tools=[{"server_url": f"https://a.test/mcp?key={SECRET}"}]),
    "user of a server": session(tools=[{"server_url": f"https://me:{SECRET}@a.test/mcp"}]),
    "user of an escaped URL": b'{"type":"a","tools":[{"server_url":"https:\\/\\/%s@a.test\\/"}]}'
    % SECRET.encode(),
    "escaped key": session(client_secret={"value": SECRET}).replace(b"_secret", b"_\\u0073ecret"),
    "escaped inner key": session(tools=[MCP]).replace(b'"authori', b'"\\u0061uthori'),
    "escaped list": session(tools=[MCP]).replace(b'"tools"', b'"t\\u006F\\u006fls"'),
    "escaped value": session(client_secret={"value": '"' + SECRET + '\\"\n'}),
    "duplicate key, the first": b'{"type":"a","client_secret":"%s","client_secret":null}'
    % SECRET.encode(),
    "duplicate key, the last": b'{"type":"a","tools":1,"tools":[{"headers":{"a":"%s"}}]}'
    % SECRET.encode(),
    "duplicate object": b'{"type":"a","session":{"client_secret":"%s"},"session":{}}'
    % SECRET.encode(),
    "beside a lone surrogate": b'{"type":"a","text":"\\ud83d","client_secret":"%s"}'
    % SECRET.encode(),
    "beside a huge number": b'{"type":"a","n":%s,"client_secret":"%s"}'
    % (b"9" * 5_000, SECRET.encode()),
    "beside no number": b'{"type":"a","n":NaN,"client_secret":"%s"}' % SECRET.encode(),
}
UNREADABLE = {
    "not closed": session(client_secret=SECRET)[:-1],
    "with more after it": session(client_secret=SECRET) + b"x",
    "two documents": session(client_secret=SECRET) * 2,
    "binary": b"\0\1" + SECRET.encode(),
    "UTF-16": session(client_secret=SECRET).decode().encode("utf-16"),
    "no UTF-8": session(client_secret=SECRET).replace(b"sess_x", b"sess_\xff"),
    "byte order mark": b"\xef\xbb\xbf" + session(client_secret=SECRET),
    "a list": b'[{"client_secret":"%s"}]' % SECRET.encode(),
    "a string": b'"%s"' % SECRET.encode(),
    "single quotes": b"{'client_secret':'%s'}" % SECRET.encode(),
    "control character": session(client_secret=SECRET).replace(b"sess_x", b"sess_\n"),
    "too deep": b'{"a":' * 300 + b'{"client_secret":"%s"}' % SECRET.encode() + b"}" * 300,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_blanked(place: str) -> None:
    kept = redacted(PLACES[place])
    assert SECRET.encode() not in kept
    assert b"271828182845" not in kept
    assert WITHHELD not in kept.decode()


@pytest.mark.parametrize("place", sorted(PLACES.keys() - {"beside no number"}))
def test_a_frame_without_its_secret_is_an_event_of_the_same_kind(place: str) -> None:
    before, after = deltaring.decode(PLACES[place]), deltaring.decode(redacted(PLACES[place]))
    assert (type(after), after.type, after.event_id) == (type(before), before.type, before.event_id)


def test_only_the_secrets_change() -> None:
    data = session(
        tools=[MCP], client_secret={"value": SECRET, "expires_at": 1784858052}, more=1.50
    )
    changed = data.replace(KEY.encode(), MARK.encode()).replace(SECRET.encode(), MARK.encode())
    assert redacted(data) == changed


def test_all_else_in_a_redacted_frame_is_kept_to_the_byte() -> None:
    before = b'{ "n" : 1.500e+3 , "big":%s, "n":2,\t"u":"\\u00e9\\/\\ud83d", ' % (b"9" * 5_000)
    after = b' ,"x":[ ] , "type":"a"}\n'
    data = before + b'"client_secret":"%s"' % SECRET.encode() + after
    assert redacted(data) == before + b'"client_secret":"[redacted]"' + after


def test_names_of_headers_stay() -> None:
    tool = loaded(redacted(session(tools=[MCP])))["session"]["tools"][0]
    assert tool["headers"] == {"X-Api-Key": MARK, "X-Other": MARK}


def test_a_server_url_keeps_host_and_path() -> None:
    data = session(tools=[{"server_url": f"https://me:{SECRET}@a.test/mcp?key={SECRET}#{SECRET}"}])
    assert loaded(redacted(data))["session"]["tools"][0]["server_url"] == "https://a.test/mcp"


def test_null_is_no_secret() -> None:
    data = session(client_secret=None, tools=[{"authorization": None, "headers": None}])
    assert redacted(data) is data


@pytest.mark.parametrize("place", PLACES)
def test_what_was_redacted_once_is_left_alone(place: str) -> None:
    kept = redacted(PLACES[place])
    assert redacted(kept) is kept


def test_secrets_may_stay_where_audio_goes() -> None:
    data = session(client_secret=SECRET, tools=[MCP, {"server_url": "https://a.test/?key=b"}])
    assert redacted(data, secrets=False, audio=True) is data


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_frame_that_cannot_be_checked_is_withheld(name: str) -> None:
    data = UNREADABLE[name]
    assert loaded(redacted(data)) == {"type": WITHHELD, "bytes": len(data)}


@pytest.mark.parametrize("name", UNREADABLE)
def test_with_nothing_to_hide_even_that_passes(name: str) -> None:
    assert redacted(UNREADABLE[name], secrets=False) is UNREADABLE[name]


def test_frames_are_counted() -> None:
    redaction = Redaction()
    for data in (session(client_secret=SECRET), session(), b"\0", session(tools=[MCP])):
        redaction.apply(data, "server")
    assert (redaction.redacted, redaction.withheld) == (2, 1)


def test_real_frames_without_secrets_are_the_same_bytes(real_recordings: list[Any]) -> None:
    for path in real_recordings:
        redaction = Redaction()
        for record in Recording(path):
            changed = redaction.apply(record.frame, record.source) is not record.frame
            assert not changed or b"client_secret" in record.frame
        assert not redaction.withheld


def test_the_frames_of_the_example_are_the_same_bytes(example: Any) -> None:
    redaction = Redaction()
    for record in Recording(example):
        assert redaction.apply(record.frame, record.source) is record.frame


HOSTILE = hostile()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_frame_is_too_hostile(name: str) -> None:
    data = HOSTILE[name]
    data = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    redaction = Redaction()
    kept = redaction.apply(data, "server")
    assert kept is data or redaction.withheld


# hypothesis also draws texts that stand in the code under test.
KEYS = st.text().filter(lambda key: key not in ("client_secret", "tools"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
STEPS = st.lists(
    st.sampled_from(["session", "response", "item", "tools", "x", "value"]) | st.none(), max_size=6
)
SECRETS = st.sampled_from(
    [
        {"client_secret": SECRET},
        {"client_secret": {"value": SECRET}},
        {"tools": [{"authorization": SECRET}]},
        {"tools": [{"headers": {"any": SECRET, "more": [SECRET]}}]},
        {"tools": [1, {"deeper": [{"headers": {"any": {"other": SECRET}}}]}]},
    ]
)


def spelled(value: Any, chance: random.Random) -> str:
    """JSON with letters written as escapes, here and there."""
    if isinstance(value, dict):
        pairs = (f"{spelled(key, chance)}:{spelled(value[key], chance)}" for key in value)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(spelled(inner, chance) for inner in value) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    return '"' + "".join(spelled_letter(letter, chance) for letter in value) + '"'


def spelled_letter(letter: str, chance: random.Random) -> str:
    if ord(letter) < 0x10000 and chance.random() < 0.2:
        return f"\\u{ord(letter):04{chance.choice('xX')}}"
    return json.dumps(letter)[1:-1]


@settings(deadline=None)
@given(noise=JSON, steps=STEPS, secret=SECRETS, chance=st.randoms(use_true_random=False))
def test_a_secret_is_blanked_wherever_it_is(
    noise: Any, steps: list[str | None], secret: dict[str, Any], chance: random.Random
) -> None:
    value: Any = secret
    for step in steps:
        value = [noise, value] if step is None else {"noise": noise, step: value}
    data = spelled({"type": "a", "noise": noise, "place": value}, chance).encode()
    kept = redacted(data)
    assert SECRET not in json.dumps(loaded(kept))  # where an escape in it would not hide it
    assert SECRET.encode() not in kept
    assert json.dumps(loaded(kept)["noise"]) == json.dumps(loaded(data)["noise"])


@settings(deadline=None)
@given(
    document=st.dictionaries(KEYS, JSON),
    indent=st.sampled_from([None, 2]),
    ascii=st.booleans(),
)
@case(document={"tools": [{"name": "client_secret"}], "headers": 1}, indent=None, ascii=True)
@case(document={"session": {"value": SECRET, "authorization": KEY}}, indent=2, ascii=False)
@case(document={"text": '{"client_secret":"x"}', "\\": '\\"'}, indent=None, ascii=False)
def test_what_has_no_secret_is_the_same_object(
    document: dict[str, Any], indent: int | None, ascii: bool
) -> None:
    data = json.dumps(document, indent=indent, ensure_ascii=ascii).encode(errors="surrogatepass")
    assert redacted(data) is data


# --- audio ----------------------------------------------------------------------------------------


def played(frames: list[bytes]) -> bytes:
    """The samples that a decoder makes of frames, as bytes."""
    decoder = deltaring.Decoder()
    samples = b""
    for data in frames:
        event = decoder.decode(data)
        if isinstance(event, deltaring.AudioDelta):
            samples += event.track.ring.read(event.track.ring.readable).tobytes()
    return samples


@pytest.mark.parametrize("type", [BETA, GA])
@pytest.mark.parametrize("layout", ["type event_id response_id item_id delta", XAI])
def test_speech_becomes_silence_of_equal_length(type: str, layout: str) -> None:
    data = audio_frame(pcm(12_000), type=type, layout=layout)
    kept = redacted(data, audio=True)
    assert len(kept) == len(data)
    assert played([kept]) == bytes(12_000)


@given(sizes=st.lists(st.integers(0, 700), max_size=5), seed=st.integers())
def test_any_chunking_keeps_its_samples(sizes: list[int], seed: int) -> None:
    frames = [audio_frame(pcm(size, seed)) for size in sizes]
    kept = [redacted(data, audio=True) for data in frames]
    assert played(kept) == bytes(len(played(frames)))


@pytest.mark.parametrize(("name", "sample"), [("g711_ulaw", 0), ("g711_alaw", 8), ("pcm16", 0)])
def test_silence_is_in_the_format_of_the_session(name: str, sample: int) -> None:
    redaction = Redaction(audio=True)
    frames = [session(output_audio_format=name), audio_frame(pcm(400))]
    kept = [redaction.apply(data, "server") for data in frames]
    samples = played(kept)
    assert len(samples) == len(played(frames))
    assert set(memoryview(samples).cast("h")) == {sample}


def silence(redaction: Redaction, data: bytes, source: str = "server") -> set[int]:
    kept = loaded(redaction.apply(data, source))
    return set(base64.b64decode(kept.get("delta") or kept["audio"]))


APPEND = frame("input_audio_buffer.append", audio=base64.b64encode(pcm(400)).decode())


def test_a_response_may_have_its_own_format() -> None:
    redaction = Redaction(audio=True)
    redaction.apply(session(output_audio_format="g711_ulaw"), "server")
    redaction.apply(response("response.created", "own", output_audio_format="pcm16"), "server")
    assert silence(redaction, audio_frame(pcm(400), response_id="own")) == {0}
    assert silence(redaction, audio_frame(pcm(400), response_id="another")) == {0xFF}


def test_formats_of_as_many_responses_are_remembered_as_a_decoder_remembers() -> None:
    redaction = Redaction(audio=True)
    for number in range(300):
        stated = response("response.created", f"r{number}", output_audio_format="g711_ulaw")
        redaction.apply(stated, "server")
    assert silence(redaction, audio_frame(pcm(400), response_id="r299")) == {0xFF}
    assert silence(redaction, audio_frame(pcm(400), response_id="r0")) == {0}


def test_a_delta_without_a_response_is_of_the_latest() -> None:
    redaction = Redaction(audio=True)
    stated = {"output": {"format": {"type": "audio/pcmu"}}}
    redaction.apply(response("response.created", "own", audio=stated), "server")
    data = audio_frame(pcm(400), layout="type event_id delta")
    assert silence(redaction, data) == {0xFF}
    redaction.apply(response("response.created", "other"), "server")
    assert silence(redaction, data) == {0}


def test_a_client_speaks_in_the_format_it_asked_for() -> None:
    redaction = Redaction(audio=True)
    stated = {"input": {"format": {"type": "audio/pcma"}}, "output": {"format": "g711_ulaw"}}
    redaction.apply(frame("session.update", session={"audio": stated}), "client")
    assert silence(redaction, APPEND, "client") == {0xD5}
    assert silence(redaction, audio_frame(pcm(400))) == {0}  # not before the server agreed


def test_a_new_session_starts_with_pcm() -> None:
    redaction = Redaction(audio=True)
    redaction.apply(session(input_audio_format="g711_ulaw"), "server")
    assert silence(redaction, APPEND, "client") == {0xFF}
    redaction.apply(session("session.updated"), "server")
    assert silence(redaction, APPEND, "client") == {0xFF}  # nothing stated, nothing changed
    redaction.apply(session(), "server")
    assert silence(redaction, APPEND, "client") == {0}


def test_bytes_of_an_unknown_format_become_zeros() -> None:
    redaction = Redaction(audio=True)
    redaction.apply(session(output_audio_format="opus"), "server")
    assert silence(redaction, audio_frame(pcm(400))) == {0}


SPOKEN = base64.b64encode(pcm(600)).decode()
SPEECH = {
    "append": frame("input_audio_buffer.append", audio=SPOKEN),
    "item": frame(
        "conversation.item.create", item={"content": [{"type": "input_audio", "audio": SPOKEN}]}
    ),
    "part": frame("response.content_part.done", part={"type": "audio", "audio": SPOKEN}),
    "response": response("response.done", "r", output=[{"content": [{"audio": SPOKEN}]}]),
    "translation": frame("session.output_audio.delta", delta=SPOKEN),
    "escaped type": audio_frame(SPOKEN).replace(b"output_audio.delta", b"output_\\u0061udio.delta"),
    "escaped key": audio_frame(SPOKEN).replace(b'"delta"', b'"d\\u0065lta"'),
    "escaped payload": audio_frame(SPOKEN.replace("/", "\\/")),
    "first of two": b'{"delta":"%s","type":"%s","delta":"AAAA"}' % (SPOKEN.encode(), GA.encode()),
    "type twice": b'{"type":"%s","delta":"%s","type":"x"}' % (GA.encode(), SPOKEN.encode()),
    "nested": frame("response.event", event={"type": GA, "delta": SPOKEN}),
    "broken": frame("input_audio_buffer.append", audio="!" + SPOKEN),
    "url-safe": audio_frame(SPOKEN.replace("+", "-") + "-_-_"),
}


@pytest.mark.parametrize("place", SPEECH)
def test_no_speech_is_left(place: str) -> None:
    kept = redacted(SPEECH[place], audio=True)
    assert SPOKEN[100:140] not in kept.decode()
    assert loaded(kept)["type"] == loaded(SPEECH[place])["type"]


def test_text_stays_where_audio_is_redacted() -> None:
    data = frame("response.output_audio_transcript.delta", delta="Hello")
    assert redacted(data, audio=True) is data


def test_settings_called_audio_stay() -> None:
    data = session(audio={"output": {"format": {"type": "audio/pcm", "rate": 24000}}})
    assert redacted(data, audio=True) is data


# --- text -----------------------------------------------------------------------------------------

WORD = "Xylophone"
WORDS = {
    "text delta": frame("response.output_text.delta", delta=WORD),
    "transcript delta": frame("response.audio_transcript.delta", delta=WORD),
    "arguments delta": frame("response.function_call_arguments.delta", delta=WORD),
    "transcript": frame("response.output_audio_transcript.done", transcript=WORD),
    "text": frame("response.output_text.done", text=WORD),
    "arguments": frame("response.function_call_arguments.done", arguments='{"a":"' + WORD + '"}'),
    "arguments as an object": frame("x", arguments={"name": WORD, "type": WORD}),
    "input transcript": frame(
        "conversation.item.input_audio_transcription.completed",
        transcript=WORD,
        logprobs=[{"token": WORD, "logprob": -0.5, "bytes": [88, 121]}],
    ),
    "segment": frame("conversation.item.input_audio_transcription.segment", text=WORD, speaker="A"),
    "item": frame("conversation.item.create", item={"content": [{"text": WORD}]}),
    "function output": frame("conversation.item.create", item={"output": WORD}),
    "output as an object": frame("conversation.item.create", item={"output": {"name": WORD}}),
    "output in a response": response("response.done", "r", output=[{"output": [{"id": WORD}]}]),
    "transcripts in a response": response(
        "response.done", "r", output=[{"content": [{"transcript": WORD}]}]
    ),
    "instructions": session(instructions=WORD),
    "prompt": session(audio={"input": {"transcription": {"prompt": WORD, "keywords": [WORD]}}}),
    "variables": session(prompt={"id": "pmpt_1", "variables": {"name": WORD}}),
    "metadata": frame("response.create", response={"metadata": {"customer_id": WORD}}),
    "instructions of a response": frame("response.create", response={"instructions": WORD}),
    "description of a tool": session(tools=[{"name": "f", "description": WORD}]),
    "schema of a tool": session(tools=[{"name": "f", "parameters": {"enum": [WORD]}}]),
    "an error that quotes": frame("error", error={"code": "bad", "message": WORD}),
    "answer to an approval": frame("conversation.item.create", item={"reason": WORD}),
    "keys pressed": frame("input_audio_buffer.dtmf_event_received", event=WORD),
    "an unknown field": frame("vendor.event", summary=[{"sentence": WORD}]),
}


@pytest.mark.parametrize("place", WORDS)
def test_no_word_is_left(place: str) -> None:
    assert WORD not in redacted(WORDS[place], text=True).decode()


@pytest.mark.parametrize("place", WORDS)
def test_a_frame_without_its_words_is_an_event_of_the_same_kind(place: str) -> None:
    after = deltaring.decode(redacted(WORDS[place], text=True))
    assert type(after) is type(deltaring.decode(WORDS[place]))


def test_numbers_that_spell_words_are_zero() -> None:
    kept = loaded(redacted(WORDS["input transcript"], text=True))
    assert kept["logprobs"] == [{"token": "", "logprob": -0.5, "bytes": [0, 0]}]


def test_numbers_in_arguments_are_zero() -> None:
    data = frame("x", item={"arguments": {"card": 4111, "ok": True}, "output": {"pin": 1234}})
    assert loaded(redacted(data, text=True))["item"] == {
        "arguments": {"card": 0, "ok": True},
        "output": {"pin": 0},
    }


def test_ids_types_and_figures_stay() -> None:
    data = response(
        "response.done",
        "resp_1",
        status="cancelled",
        status_details={"type": "cancelled", "reason": "turn_detected"},
        output=[{"id": "item_1", "type": "message", "role": "assistant", "call_id": "call_1"}],
        usage={"total_tokens": 25, "input_token_details": {"text_tokens": 12}},
        modalities=["audio", "text"],
        voice="marin",
    )
    assert redacted(data, text=True) is data


def test_settings_of_a_session_stay() -> None:
    data = session(
        model="gpt-realtime",
        tool_choice="auto",
        max_output_tokens="inf",
        audio={
            "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": None},
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0},
        },
    )
    assert redacted(data, text=True) is data


@pytest.mark.parametrize("layout", ["type event_id response_id item_id delta", XAI])
def test_audio_stays_where_text_is_redacted(layout: str) -> None:
    data = audio_frame(pcm(600), layout=layout)
    assert loaded(redacted(data, text=True))["delta"] == loaded(data)["delta"]


def test_text_and_audio_go_together() -> None:
    part = {"type": "input_audio", "audio": SPOKEN, "transcript": WORD}
    data = frame("conversation.item.created", item={"content": [part]})
    kept = redacted(data, audio=True, text=True)
    assert loaded(kept)["item"]["content"] == [
        {"type": "input_audio", "audio": "A" * 800, "transcript": ""}
    ]


@pytest.mark.parametrize("kinds", [["video"], "audio", [""]])
def test_only_known_kinds_are_taken(kinds: Any) -> None:
    assert check_kinds(["text", "audio", "text"]) == {"audio", "text"}
    with pytest.raises(ValueError, match="audio and text"):
        check_kinds(kinds)
