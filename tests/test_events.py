import re
import typing

import msgspec
import pytest

import deltaring
from deltaring import events
from tests.wire import frame

# The types as the protocol writes them, and the fields that the project was asked to take
# (a Rust catalogue of the beta events; openai-python's declarations for the rest).
PART = dict(response_id="r", item_id="i", output_index=1, content_index=2)
ITEM = dict(
    id="i", object="realtime.item", type="message", role="user", status="completed", call_id="c",
    name="n", arguments="{}", output="o",
    content=[dict(type="text", text="t", audio="a", transcript="s")],
)  # fmt: skip
SESSION = dict(
    id="s", object="realtime.session", model="m", modalities=["text"], instructions="x", voice="ash",
    input_audio_format="pcm16", output_audio_format="pcm16", turn_detection={"type": "server_vad"},
    tools=[{"type": "function"}], tool_choice="auto", temperature=0.8, max_response_output_tokens="inf",
)  # fmt: skip
USAGE = dict(
    total_tokens=3, input_tokens=1, output_tokens=2,
    input_token_details=dict(cached_tokens=1, text_tokens=1, audio_tokens=0),
    output_token_details=dict(text_tokens=1, audio_tokens=1),
)  # fmt: skip
RESPONSE = dict(
    id="r", object="realtime.response", status="completed", status_details={"type": "x"},
    output=[ITEM], usage=USAGE,
)  # fmt: skip
ERROR = dict(type="t", code="c", message="m", param="p", event_id="e")
CALL = dict(response_id="r", item_id="i", output_index=1, call_id="c")
LIMIT = dict(name="tokens", limit=1, remaining=2, reset_seconds=0.5)
TRANSCRIPTION = "conversation.item.input_audio_transcription."

FIELDS: dict[str, dict[str, typing.Any]] = {
    "session.created": dict(session=SESSION),
    "session.updated": dict(session=SESSION),
    "session.closed": {},
    "transcription_session.created": dict(session=SESSION),
    "transcription_session.updated": dict(session=SESSION),
    "conversation.created": dict(conversation=dict(id="c", object="realtime.conversation")),
    "conversation.item.created": dict(previous_item_id="p", item=ITEM),
    "conversation.item.added": dict(previous_item_id=None, item=ITEM),
    "conversation.item.done": dict(previous_item_id="p", item=ITEM),
    "conversation.item.retrieved": dict(item=ITEM),
    "conversation.item.deleted": dict(item_id="i"),
    "conversation.item.truncated": dict(item_id="i", content_index=2, audio_end_ms=1500),
    TRANSCRIPTION + "delta": dict(item_id="i", content_index=2, delta="d", logprobs=None),
    TRANSCRIPTION + "completed": dict(
        item_id="i",
        content_index=2,
        transcript="t",
        usage=dict(type="duration", seconds=3.5),
        languages=[dict(code="en")],
        logprobs=[dict(token="a", logprob=-0.5, bytes=[97])],
    ),
    TRANSCRIPTION + "segment": dict(
        item_id="i", content_index=2, id="s", text="t", speaker="A", start=0.5, end=1.0
    ),
    TRANSCRIPTION + "failed": dict(item_id="i", content_index=2, error=ERROR),
    "input_audio_buffer.committed": dict(previous_item_id="p", item_id="i"),
    "input_audio_buffer.cleared": {},
    "input_audio_buffer.speech_started": dict(audio_start_ms=5, item_id="i"),
    "input_audio_buffer.speech_stopped": dict(audio_end_ms=5, item_id=None),
    "input_audio_buffer.timeout_triggered": dict(audio_start_ms=5, audio_end_ms=6, item_id="i"),
    "input_audio_buffer.dtmf_event_received": dict(event="9", received_at=1763605109),
    "output_audio_buffer.started": dict(response_id="r"),
    "output_audio_buffer.stopped": dict(response_id="r", audio_end_ms=5, item_id="i"),
    "output_audio_buffer.cleared": dict(response_id="r"),
    "response.created": dict(response=RESPONSE),
    "response.done": dict(response=RESPONSE),
    "response.output_item.added": dict(response_id="r", output_index=1, item=ITEM),
    "response.output_item.done": dict(response_id="r", output_index=1, item=ITEM),
    "response.content_part.added": dict(PART, part=ITEM["content"][0]),
    "response.content_part.done": dict(PART, part=ITEM["content"][0]),
    "response.text.delta": dict(PART, delta="d"),
    "response.output_text.delta": dict(PART, delta="d"),
    "response.text.done": dict(PART, text="t"),
    "response.output_text.done": dict(PART, text="t"),
    "response.audio.delta": dict(PART, delta="AAAA"),
    "response.output_audio.delta": dict(PART, delta="AAAA"),
    "response.audio.done": PART,
    "response.output_audio.done": PART,
    "response.audio_transcript.delta": dict(PART, delta="d"),
    "response.output_audio_transcript.delta": dict(PART, delta="d"),
    "response.audio_transcript.done": dict(PART, transcript="t"),
    "response.output_audio_transcript.done": dict(PART, transcript="t"),
    "response.function_call_arguments.delta": dict(CALL, delta="d"),
    "response.function_call_arguments.done": dict(CALL, name="n", arguments="{}"),
    "response.mcp_call_arguments.delta": dict(
        response_id="r", item_id="i", output_index=1, delta="d", obfuscation="o"
    ),
    "response.mcp_call_arguments.done": dict(
        response_id="r", item_id="i", output_index=1, arguments="{}"
    ),
    "response.mcp_call.in_progress": dict(item_id="i", output_index=1),
    "response.mcp_call.completed": dict(item_id="i", output_index=1),
    "response.mcp_call.failed": dict(item_id="i", output_index=1),
    "mcp_list_tools.in_progress": dict(item_id="i"),
    "mcp_list_tools.completed": dict(item_id="i"),
    "mcp_list_tools.failed": dict(item_id="i"),
    "session.input_transcript.delta": dict(delta="d", elapsed_ms=1200),
    "session.output_transcript.delta": dict(delta="d", elapsed_ms=1200),
    "session.output_audio.delta": dict(
        delta="AAAA", sample_rate=24000, channels=1, format="pcm16", elapsed_ms=1200
    ),
    "rate_limits.updated": dict(rate_limits=[LIMIT]),
    "error": dict(error=ERROR),
}


def same(value: object, wire: object) -> bool:
    """Whether a decoded value has all that the wire has."""
    if isinstance(wire, dict) and not isinstance(value, dict):
        return all(same(getattr(value, key), part) for key, part in wire.items())
    if isinstance(wire, list) and isinstance(value, list):
        return len(value) == len(wire) and all(map(same, value, wire))
    return value == wire


def test_the_catalogue_has_the_58_types() -> None:
    assert len(FIELDS) == 58
    assert set(events.EVENT_CLASSES) == set(FIELDS)


@pytest.mark.parametrize("type", FIELDS)
def test_each_type_decodes_to_its_class_with_its_fields(type: str) -> None:
    event = deltaring.decode(frame(type, event_id="event_1", **FIELDS[type]))
    assert event.__class__ is events.EVENT_CLASSES[type]
    assert (event.type, event.event_id, event.is_error) == (type, "event_1", type == "error")
    assert same(event, FIELDS[type])
    assert not any(isinstance(getattr(event, key), dict) for key in FIELDS[type])


@pytest.mark.parametrize("type", FIELDS)
def test_a_class_is_named_after_its_type(type: str) -> None:
    name = "".join(word.capitalize() for word in re.split(r"[._]", type))
    assert events.EVENT_CLASSES[type].__name__ == ("ErrorEvent" if type == "error" else name)


def test_every_event_can_be_had_from_the_package() -> None:
    names = {cls.__name__ for cls in events.EVENT_CLASSES.values()}
    assert names | {"UnknownEvent", "InvalidEvent", "ServerEvent"} <= set(deltaring.__all__)
    assert all(hasattr(deltaring, name) for name in deltaring.__all__)


@pytest.mark.parametrize("type", FIELDS)
def test_ids_may_be_left_out(type: str) -> None:
    ids = {"event_id", "response_id", "item_id", "output_index", "content_index", "call_id"}
    event = deltaring.decode(
        frame(type, **{key: value for key, value in FIELDS[type].items() if key not in ids})
    )
    for name in ids & set(event.__struct_fields__):
        assert getattr(event, name) == (0 if name.endswith("index") else "")


@pytest.mark.parametrize("name", ["audio", "audio_transcript", "text"])
@pytest.mark.parametrize("end", ["delta", "done"])
def test_the_ga_class_derives_from_the_beta_class(name: str, end: str) -> None:
    beta = events.EVENT_CLASSES[f"response.{name}.{end}"]
    assert issubclass(events.EVENT_CLASSES[f"response.output_{name}.{end}"], beta)


def test_one_case_matches_both_dialects() -> None:
    event = deltaring.decode(frame("response.output_audio_transcript.delta", delta="hi"))
    match event:
        case deltaring.ResponseAudioTranscriptDelta(delta=text):
            assert text == "hi"
        case _:
            pytest.fail("not matched")


@pytest.mark.parametrize("cls", [*events.EVENT_CLASSES.values(), events.UnknownEvent])
def test_events_are_immutable_and_not_tracked_by_the_collector(cls: type[msgspec.Struct]) -> None:
    assert cls.__struct_config__.frozen
    assert not cls.__struct_config__.gc
    assert cls.__doc__


def test_a_nested_part_may_be_null_all_over() -> None:
    nulls = dict.fromkeys(events.SessionInfo.__struct_fields__)
    event = deltaring.decode(frame("session.created", session=nulls))
    assert isinstance(event, deltaring.SessionCreated)
    assert isinstance(event.session, deltaring.SessionInfo)
    nulls = dict.fromkeys(events.ResponseInfo.__struct_fields__)
    event = deltaring.decode(frame("response.done", response=nulls))
    assert isinstance(event, deltaring.ResponseDone)
    assert isinstance(event.response, deltaring.ResponseInfo)


def test_a_field_is_read_from_a_typed_part_and_from_one_that_did_not_fit() -> None:
    for part in (events.RealtimeError(code="c"), {"code": "c"}):
        assert events.field_of(part, "code") == events.text_of(part, "code") == "c"
        assert events.field_of(part, "other") is None
        assert events.text_of(part, "other") == ""
    assert events.field_of({"code": 5}, "code") == 5
    assert events.text_of({"code": 5}, "code") == ""
    assert events.field_of(None, "code") is None


def test_every_real_frame_decodes_to_its_class(real_recordings: list) -> None:
    unknown = set()
    for path in real_recordings:
        for line in path.read_bytes().splitlines():
            wire = msgspec.json.decode(line)
            event = deltaring.decode(line)
            if isinstance(event, deltaring.UnknownEvent):
                unknown.add(event.type)
                continue
            fields = {key: value for key, value in wire.items() if key in event.__struct_fields__}
            assert same(
                event, {key: _declared(getattr(event, key), value) for key, value in fields.items()}
            )
            assert not any(
                isinstance(getattr(event, name, None), dict)
                for name in (
                    "session",
                    "response",
                    "item",
                    "part",
                    "error",
                    "conversation",
                    "usage",
                )
            )
    assert unknown == {"ping", " input_audio_buffer.dtmf_event_received"}


def _declared(value: object, wire: object) -> object:
    """The wire's value without the keys that the model does not have."""
    if isinstance(wire, dict) and isinstance(value, msgspec.Struct):
        return {
            key: _declared(getattr(value, key), part)
            for key, part in wire.items()
            if key in value.__struct_fields__
        }
    if isinstance(wire, list) and isinstance(value, list):
        return [_declared(*pair) for pair in zip(value, wire, strict=True)]
    return wire
