import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltaring
from deltaring import ROW
from deltaring import report as module
from deltaring.recording import Record, Recording
from deltaring.replay import inspect
from deltaring.report import Report
from deltaring.track import AudioDelta
from tests.wire import BETA, GA, audio_frame, frame, pcm, response, session


def reported(*lines: bytes, name: str = "some/folder/rec.jsonl") -> Report:
    return inspect(Recording(io.BytesIO(b"\n".join(lines)), name=name))


def test_it_names_the_file_without_its_folder() -> None:
    assert reported().recording == "rec.jsonl"


def test_frames_and_events_are_counted() -> None:
    report = reported(
        session(),
        frame("a.b"),
        frame("a.b"),
        frame("error", error={"message": "no"}),
        b'{"time":1,"source":"client","event":{"type":"response.create"}}',
        b'{"time":3,"source":"client","event":{"odd":1}}',
        frame("error"),
        response("response.done", "r", output=5),
    )
    assert report.frames == {
        "server": 6, "client": 2, "audio": 0, "unknown": 2, "invalid": 1, "lenient": 1,
    }  # fmt: skip
    assert report.events == {"error": 1, "response.done": 1, "session.created": 1}
    assert report.unknown == {"a.b": 2}
    assert report.client == {"response.create": 1, "(other)": 1}
    assert (report.first_time, report.last_time) == (1.0, 3.0)


def test_an_event_that_tells_nothing_else_is_counted() -> None:
    assert reported(frame("response.text.delta", delta="x")).events == {"response.text.delta": 1}


def test_errors_have_their_place() -> None:
    report = reported(frame("a.b"), b"nonsense", frame("error"))
    assert [(error["line"], error["offset"]) for error in report.errors] == [(2, 15), (3, 24)]
    assert report.error_count == 2
    assert report.errors[1]["reason"] == "error: Object missing required field `error`"


def test_server_errors_are_listed_and_are_no_fault_of_the_recording() -> None:
    report = reported(frame("a.b"), frame("error", error={"code": "c", "message": "m"}))
    assert (report.server_errors[0].line, report.server_errors[0].code) == (2, "c")
    assert report.error_count == 0


def test_sessions_have_ids_models_and_formats() -> None:
    report = reported(
        session(model="m", output_audio_format="pcm16"),
        session("session.updated", output_audio_format="g711_ulaw", input_audio_format=None),
        session(
            audio={"output": {"format": {"type": "audio/pcm", "rate": 24000}}}, tools={"odd": 1}
        ),
    )
    assert [(row.id, row.model, row.output_audio_format) for row in report.sessions] == [
        ("sess_x", "m", "g711_ulaw"),
        ("sess_x", "", {"type": "audio/pcm", "rate": 24000}),
    ]


def test_usage_is_summed_field_by_field() -> None:
    usage = {
        "total_tokens": 10,
        "input_tokens": 4,
        "input_token_details": {"cached_tokens": 1, "cached_tokens_details": {"audio_tokens": 1}},
    }
    report = reported(
        response("response.done", "a", usage=usage),
        response("response.done", "b", usage=usage),
        response("response.done", "c", usage=None),
        frame("response.done", response={"id": "d", "usage": {}}, usage={"total_tokens": 7}),
        response("response.done", "e", usage={"total_tokens": "odd"}),
    )
    assert report.usage == {
        "total_tokens": 27,
        "input_tokens": 8,
        "input_token_details": {"cached_tokens": 2, "cached_tokens_details": {"audio_tokens": 2}},
    }
    assert [row.id for row in report.responses] == ["a", "b", "c", "d", "e"]


def test_items_have_their_samples() -> None:
    report = reported(
        audio_frame(pcm(100)), audio_frame(pcm(101)), audio_frame(pcm(8), item_id="j")
    )
    assert [(item.samples, item.pending, item.done) for item in report.items] == [
        (100, 1, False),
        (4, 0, False),
    ]
    assert report.seconds == 104 / 24_000


DELTAS = st.tuples(
    st.none() | st.integers(0, 9), st.integers(1, 99), st.sampled_from("ab"), st.sampled_from([BETA, GA])
)  # fmt: skip
"""Of each delta its time, its bytes, its item and its type."""


@given(st.lists(DELTAS, min_size=1), st.integers(1, 9))
def test_runs_are_counted_as_their_deltas_one_by_one(
    deltas: list[tuple[int | None, int, str, str]], most: int
) -> None:
    frames = [audio_frame(pcm(size), item_id=item, type=type) for _, size, item, type in deltas]
    times = [time for time, *_ in deltas]
    lines = [
        raw if time is None else b'{"time":%d,"source":"server","event":%s}' % (time, raw)
        for time, raw in zip(times, frames, strict=True)
    ]
    reports = []
    for in_runs in (True, False):
        recording = Recording(io.BytesIO(), name="x")
        reporter, decoder = module.Reporter(recording), deltaring.Decoder(seconds=200 / 24_000)
        at = 0
        while at < len(lines):
            recording.line, recording.offset = at + 1, sum(len(line) + 1 for line in lines[:at])
            if in_runs:
                data = b"".join(line + b"\n" for line in lines[at:])
                run = decoder.scan(data, np.empty(most, ROW))
                reporter.take_run(run)
                at += len(run.rows)
            else:
                event = decoder.decode(frames[at])
                assert isinstance(event, AudioDelta)
                reporter.take_audio(event, times[at])
                at += 1
        reports.append(reporter.finish(decoder.stats))
    assert reports[0] == reports[1]


def test_conversations_are_listed_once() -> None:
    report = reported(
        frame("conversation.created", conversation={"id": "c"}),
        response("response.created", "r", conversation_id="c"),
        response("response.created", "s", conversation_id="d"),
    )
    assert report.conversations == ["c", "d"]


def test_lists_are_bounded(monkeypatch: object) -> None:
    types = [frame(f"type.{number}") for number in range(module.MAX_NAMES + 10)]
    report = reported(*types)
    assert len(report.unknown) == module.MAX_NAMES + 1
    assert report.unknown[module.OTHER] == 10


def test_it_becomes_json() -> None:
    assert json.loads(reported(session()).to_json())["sessions"] == [{"id": "sess_x"}]


def test_rows_are_bounded_and_what_is_counted_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    report = reported(
        *(session(id=f"s{number}", model=f"m{number}") for number in range(3)),
        *(frame("error", error={"code": str(number)}) for number in range(3)),
        *(
            response("response.done", f"r{number}", usage={"total_tokens": 1})
            for number in range(3)
        ),
        *(frame("conversation.created", conversation={"id": str(number)}) for number in range(3)),
    )
    assert [error.code for error in report.server_errors] == ["0", "1"]
    assert report.server_error_count == 3
    assert [row.id for row in report.responses] == ["r0", "r1"]
    assert report.usage == {"total_tokens": 3}
    assert report.conversations == ["0", "1"]
    assert [row.id for row in report.sessions] == ["s0", "s2"]


def test_a_session_that_was_only_updated_is_one() -> None:
    report = reported(session("session.updated", model="m"), session("session.updated", model="n"))
    assert [row.model for row in report.sessions] == ["n"]


def test_translated_speech_is_told_of_once() -> None:
    delta = frame("session.output_audio.delta", delta="AAAA")
    report = reported(delta, delta)
    assert [error["reason"] for error in report.errors] == [
        "translated speech (session.output_audio.delta) is not written"
    ]


def test_the_first_time_is_the_earliest_so_far() -> None:
    reporter = module.Reporter(Recording(io.BytesIO(), name="x"))
    assert reporter.first_time is None
    for time in (None, 5.0, 3.0, 7.0):
        reporter.take_client(Record(time, "client", b"{}"))
    assert reporter.first_time == 3


def test_a_client_frame_that_is_no_json_is_counted() -> None:
    recording = Recording(io.BytesIO(), name="x")
    reporter = module.Reporter(recording)
    reporter.take_client(Record(None, "client", b"nonsense"))
    assert reporter.finish(deltaring.Decoder().stats).client == {"(other)": 1}
