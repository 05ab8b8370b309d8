import json
import threading
import time

import msgspec
import pytest

import deltaring
from deltaring.frame import (
    MAX_DEPTH,
    as_bytes,
    check_depth,
    decode_mended,
    parse_refused,
    read_ids,
)
from tests.wire import frame, response, session

NUL = b"\0"


@pytest.mark.parametrize(
    "given",
    [
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        memoryview(b"xxabc")[2:],
        memoryview(b"axbxc")[::2],
        memoryview(bytearray(b"abc")),
        "abc",
    ],
)
def test_every_kind_of_frame_becomes_bytes(given: object) -> None:
    assert as_bytes(given, 3) == b"abc"  # type: ignore[arg-type]
    assert type(as_bytes(given, 3)) is bytes  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [None, 5, [b"a"], {"type": "error"}, object()])
def test_what_is_no_frame_is_a_type_error(given: object) -> None:
    with pytest.raises(TypeError, match="a frame is bytes, bytearray, memoryview or str"):
        deltaring.decode(given)  # type: ignore[arg-type]


def test_a_released_memoryview_is_a_type_error() -> None:
    view = memoryview(b"{}")
    view.release()
    with pytest.raises(TypeError, match="released"):
        deltaring.decode(view)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, bytes.decode])
def test_a_frame_over_the_limit_is_refused_whatever_its_kind(kind: type) -> None:
    decoder = deltaring.Decoder(max_frame=20)
    assert decoder.decode(kind(b'{"type":"abcdefghi"}')).type == "abcdefghi"
    with pytest.raises(deltaring.FrameTooLarge, match="21 bytes, the limit is 20"):
        decoder.decode(kind(b'{"type":"abcdefghij"}'))


def test_the_limit_of_a_str_is_in_bytes() -> None:
    with pytest.raises(deltaring.FrameTooLarge):
        deltaring.Decoder(max_frame=20).decode('{"type":"abcdefghé"}'.replace("b", "é"))


def test_decode_has_the_default_limit() -> None:
    with pytest.raises(deltaring.FrameTooLarge, match="33554433 bytes"):
        deltaring.decode(b" " * ((32 << 20) + 1))


# --- depth ------------------------------------------------------------------------------------


def nested(opener: str, closer: str, depth: int, key: str = "x") -> bytes:
    """A frame with `depth` levels inside the event's own."""
    return f'{{"type":"response.done","response":{{}},"{key}":{opener * depth}1{closer * depth}}}'.encode()


@pytest.mark.parametrize(("opener", "closer"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("key", ["x", "usage"])
def test_128_levels_are_accepted_and_1001_refused(opener: str, closer: str, key: str) -> None:
    assert isinstance(deltaring.decode(nested(opener, closer, 127, key)), deltaring.ResponseDone)
    with pytest.raises(deltaring.InvalidJSON, match="deeper"):
        deltaring.decode(nested(opener, closer, 1000, key))


def test_brackets_inside_strings_do_not_count() -> None:
    text = '[{"\\' * 2000
    event = deltaring.decode(frame("response.text.delta", delta=text))
    assert isinstance(event, deltaring.ResponseTextDelta)
    assert event.delta == text


def test_siblings_do_not_count() -> None:
    check_depth(json.dumps([[]] * 5000).encode())


@pytest.mark.parametrize("prefix", [b"", b'"a"', b'"\\""', b'"\\\\"', b'"["', b'"\\\\\\"["'])
@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_depth_is_counted_exactly_around_strings(prefix: bytes, depth: int) -> None:
    data = prefix + b"[" * depth
    if depth > MAX_DEPTH:
        with pytest.raises(deltaring.InvalidJSON):
            check_depth(data)
    else:
        check_depth(data)


@pytest.mark.parametrize("opener", ["[", '{"a":'])
@pytest.mark.parametrize("key", ["x", "usage"])
def test_no_depth_crashes_a_thread_with_a_small_stack(opener: str, key: str) -> None:
    outcomes = []

    def run() -> None:
        for depth in (60, 126, 200, 254, 399, 700, 1000, 100_000):
            data = f'{{"type":"response.done","response":{{}},"{key}":{opener * depth}'.encode()
            for text in (data, data[:399]):
                with pytest.raises(deltaring.InvalidJSON):
                    deltaring.decode(text)
        outcomes.append("done")

    before = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert outcomes == ["done"]


@pytest.mark.parametrize("pattern", [b'"', b"\\", b"{", b"[]", b'{"delta":"', b'"\\"', b'["'])
def test_time_is_linear_in_the_size(pattern: bytes) -> None:
    # A bound with two orders of magnitude of room: it is there to catch the square, not the noise.
    data = pattern * ((1 << 20) // len(pattern))
    started = time.process_time()
    with pytest.raises(deltaring.FrameError):
        deltaring.decode(data)
    assert time.process_time() - started < 5


# --- unknown and lenient ------------------------------------------------------------------------


def test_an_unknown_type_is_kept_whole() -> None:
    raw = frame("some.new.event", event_id="event_9", payload={"a": [1]})
    assert deltaring.decode(raw) == deltaring.UnknownEvent("some.new.event", "event_9", raw)


@pytest.mark.parametrize("known", deltaring.EVENT_CLASSES)
def test_a_type_that_resembles_a_known_one_is_unknown(known: str) -> None:
    stem, _, _ = known.rpartition(".")
    for name in (f"{known}.v2", f"{known}s", known[:-1], known.upper(), f"{known} ", f"{stem}.new"):
        event = deltaring.decode(
            frame(name, item_id="i", delta="", session={}, response={}, item={})
        )
        assert (type(event), event.type) == (deltaring.UnknownEvent, name)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_an_unknown_event_has_a_copy(kind: type) -> None:
    memory = bytearray(frame("some.new.event"))
    event = deltaring.decode(kind(memory))
    memory[:] = b" " * len(memory)
    assert isinstance(event, deltaring.UnknownEvent)
    assert event.raw == frame("some.new.event")


@pytest.mark.parametrize("event_id", [None, 5, [], {}, True, 1.5])
def test_an_unknown_event_has_no_id_but_a_string(event_id: object) -> None:
    event = deltaring.decode(frame("some.new.event", event_id=event_id))
    assert event.event_id == ""
    assert deltaring.decode(b'{"type":"a.b","event_id":1e999}').event_id == ""


def test_the_last_event_id_counts() -> None:
    assert deltaring.decode(b'{"type":"a.b","event_id":"x","event_id":"y"}').event_id == "y"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b"{}", "there is no `type`"),
        (b'{"type":5}', "`type` is int"),
        (b'{"type":null}', "`type` is NoneType"),
        (b'{"type":"a.b","type":"a.c"}', "`type` comes twice, as 'a.b' and as 'a.c'"),
        (b'{"type":"a.b","type":"error","error":{}}', "`type` comes twice"),
        (b'{"type":"error","error":{},"type":"a.b"}', "`type` comes twice"),
        (b'{"type":"a.b","type":null}', "`type` comes twice"),
        (b'{"type":"error"}', "error: Object missing required field `error`"),
        (
            b'{"type":"response.audio.delta","delta":null}',
            r"response.audio.delta: .* - at `\$.delta`",
        ),
        (
            b'{"type":"response.done","response":5}',
            r"Expected `object`, got `int` - at `\$.response`",
        ),
        (b'{"type":"response.done","response":null}', r"got `null` - at `\$.response`"),
        (b'{"type":"response.done","response":{"output":5},"event_id":6}', r"at `\$.event_id`"),
        (b'{"type":"rate_limits.updated","rate_limits":{}}', r"at `\$.rate_limits`"),
    ],
)
def test_a_schema_error_names_the_field(text: bytes, reason: str) -> None:
    with pytest.raises(deltaring.SchemaError, match=reason):
        deltaring.decode(text)


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"{", b'{"type":"error"', b'{"type":"a.b"', b"nonsense", b"{'type':'a'}", b'{"type":"a.b"} x',
     b'\xef\xbb\xbf{"type":"a.b"}', b'{"type":"\xff"}', b'{"type":"a.b","event_id":"\xff"}',
     b'{"type":"error","error":{},"event_id":"\xff"}', b'{"type":"a.b",}', b'{"type":"a.b","x":nan}'],
)  # fmt: skip
def test_what_is_no_json_is_invalid_json(text: bytes) -> None:
    with pytest.raises(deltaring.InvalidJSON):
        deltaring.decode(text)


def test_a_str_with_lone_surrogates_is_invalid_json() -> None:
    with pytest.raises(deltaring.InvalidJSON):
        deltaring.decode('{"type":"\ud800"}')


@pytest.mark.parametrize(
    ("raw", "part", "field"),
    [
        (response("response.done", "r", output="odd"), "response", "output"),
        (response("response.created", "r", usage={"total_tokens": "many"}), "response", "usage"),
        (session("session.updated", tools={}), "session", "tools"),
        (frame("conversation.item.added", item={"id": "i", "content": 5}), "item", "content"),
        (frame("error", error={"code": ["x"], "message": "m"}), "error", "code"),
        (frame("response.content_part.done", part={"text": 5}), "part", "text"),
    ],
)
def test_an_odd_nested_part_comes_as_a_dict(raw: bytes, part: str, field: str) -> None:
    event = deltaring.decode(raw)
    assert event.__class__ is deltaring.EVENT_CLASSES[event.type]
    assert getattr(event, part) == json.loads(raw)[part]
    assert field in getattr(event, part)


def test_an_odd_row_makes_plain_rows() -> None:
    event = deltaring.decode(frame("rate_limits.updated", rate_limits=[{"name": []}]))
    assert isinstance(event, deltaring.RateLimitsUpdated)
    assert event.rate_limits == [{"name": []}]


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "1" * 4_400, "1" * 4_299], ids=["inf", "-inf", "4400", "4299"]
)
def test_a_number_out_of_range_costs_no_event(number: str) -> None:
    raw = b'{"type":"response.done","response":{"id":"r","metadata":{"a":%s}}}' % number.encode()
    event = deltaring.decode(raw)
    assert isinstance(event, deltaring.ResponseDone)
    part = event.response
    assert (part["id"] if isinstance(part, dict) else part.id) == "r"


@pytest.mark.parametrize(
    ("type", "field", "value"),
    [
        ("input_audio_buffer.speech_started", "audio_start_ms", 1234.5),
        ("conversation.item.truncated", "audio_end_ms", "12"),
        ("session.output_audio.delta", "sample_rate", 24_000.5),
        ("response.function_call_arguments.done", "name", 5),
        ("input_audio_buffer.dtmf_event_received", "event", 5),
        ("conversation.item.input_audio_transcription.completed", "logprobs", "odd"),
    ],
)
def test_only_ids_indices_and_texts_are_strict(type: str, field: str, value: object) -> None:
    fields = {"delta": "x", "arguments": "{}", "transcript": "t", "event": "1", field: value}
    event = deltaring.decode(frame(type, **fields))
    assert event.__class__ is deltaring.EVENT_CLASSES[type]
    assert getattr(event, field) == value


def test_the_last_of_two_values_counts_whatever_the_first_was() -> None:
    for text in (b'"delta":null,"delta":"AAAA"', b'"item_id":5,"delta":"AAAA","item_id":"i"'):
        event = deltaring.Decoder().decode(b'{"type":"response.audio.delta",%s}' % text)
        assert isinstance(event, deltaring.AudioDelta)
        assert event.stop == 1


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"error","error":{"code":["\xff"]}}',
        b'{"type":"conversation.item.truncated","audio_end_ms":0.5,"item_id":"\xff"}',
        b'{"type":"error","error":{"code":[1e999,"\xff"]}}',
        b'{"type":"error","error":{"code":[1e999,"\xed\xa0\x80"]}}',
    ],
    ids=["in the misfit", "beside it", "after infinity", "half a character after infinity"],
)
def test_a_misfit_that_is_no_utf_8_is_invalid_json(text: bytes) -> None:
    with pytest.raises(deltaring.InvalidJSON):
        deltaring.decode(text)


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"\ud83d!", "\ufffd!"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\ude00\ud83d", "\U0001f600\ufffd"),
        (rb"\\ud83d\ud83d", "\\ud83d\ufffd"),
        (rb"\ud83d\u0041", "\ufffdA"),
    ],
)
def test_half_a_character_is_replaced(sent: bytes, got: str) -> None:
    event = deltaring.decode(b'{"type":"response.text.delta","delta":"%s"}' % sent)
    assert isinstance(event, deltaring.ResponseTextDelta)
    assert event.delta == got


@pytest.mark.parametrize(
    ("raw", "error", "text"),
    [
        (rb'"delta":"\ud83d","item_id":5}', deltaring.SchemaError, "`str`, got `int`"),
        (rb'"delta":"\ud83d"', deltaring.InvalidJSON, "truncated"),
        (rb'"delta":"\ud83d",}', deltaring.InvalidJSON, "trailing comma"),
    ],
)
def test_half_a_character_hides_no_other_fault(
    raw: bytes, error: type[deltaring.FrameError], text: str
) -> None:
    with pytest.raises(error, match=text):
        deltaring.decode(b'{"type":"response.text.delta",' + raw)


@pytest.mark.parametrize("value", [b'"\xff"', b'[1e999,"\xff"]', b'{"\xff":1}'])
def test_a_nested_part_that_is_no_utf_8_is_invalid_json(value: bytes) -> None:
    raw = b'{"type":"response.done","response":{"id":"r","output":%s}}' % value
    with pytest.raises(deltaring.InvalidJSON, match="not valid JSON: .*utf-8"):
        deltaring.decode(raw)


def test_an_unknown_event_with_half_a_character_keeps_the_frame_as_it_is() -> None:
    raw = rb'{"type":"a.b","event_id":"\ud83d"}'
    assert deltaring.decode(raw) == deltaring.UnknownEvent("a.b", "\ufffd", raw)


def test_deep_nesting_is_found_in_little_memory() -> None:
    import tracemalloc

    data = b'{"type":"x","a":["' + b"[" * 300 + b'"' + b',""' * 1_000_000 + b"]}"
    tracemalloc.start()
    try:
        assert isinstance(deltaring.decode(data), deltaring.UnknownEvent)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data)
    finally:
        tracemalloc.stop()


def test_a_recursion_error_is_invalid_json() -> None:
    with pytest.raises(deltaring.InvalidJSON):
        parse_refused(b"", RecursionError("too deep"))


def test_read_ids_never_raises() -> None:
    assert read_ids(b'{"type":"a","event_id":"b"}') == ("a", "b")
    assert read_ids(b'{"type":5,"event_id":6}') == ("", "")
    assert read_ids(b"nonsense") == ("", "")


def test_msgspec_errors_never_escape() -> None:
    assert not issubclass(msgspec.DecodeError, deltaring.FrameError)
    for text in (b"{", b"[]", b'{"type":"error"}'):
        with pytest.raises(deltaring.FrameError):
            deltaring.decode(text)


# --- what others decode ---------------------------------------------------------------------------

PAIR = msgspec.json.Decoder(tuple[str, int])


@pytest.mark.parametrize(
    "text", [rb'["\ud83d",1]', memoryview(rb'["\ud83d",1]'), b'["\xef\xbf\xbd",1]']
)
def test_who_decodes_mended_gets_half_a_character_as_the_decoder_does(text: bytes) -> None:
    assert decode_mended(PAIR, text) == ("\ufffd", 1)


@pytest.mark.parametrize("text", [rb'["\ud83d",', b'["a",', b""])
def test_what_is_no_json_is_none_once_mended(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_mended(PAIR, text)


def test_what_does_not_fit_is_said_of_the_text_as_it_came() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"at `\$\[1\]`"):
        decode_mended(PAIR, b'["a","b"]')
