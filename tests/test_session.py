import gc
import io
import random
import sys
import tracemalloc
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltaring
from deltaring.recording import Recording
from deltaring.session import MAX_ERRORS, Response, Session
from tests.test_decoder import mutants
from tests.wire import audio_frame, frame, hostile, pcm, response, session

USAGE = {"total_tokens": 10, "input_tokens": 7, "output_tokens": 3,
         "input_token_details": {"cached_tokens": 4}}  # fmt: skip
TRANSCRIPTION = "conversation.item.input_audio_transcription."


def told(*frames: bytes, **options: int) -> Session:
    """A session that got these frames, one a second."""
    state = Session(deltaring.Decoder(on_invalid="keep"), **options)
    for number, raw in enumerate(frames):
        state.receive(raw, float(number))
    return state


def message(type: str, item_id: str, previous: str | None = None, **item: object) -> bytes:
    return frame(type, previous_item_id=previous, item={"id": item_id, "type": "message", **item})


# --- in -----------------------------------------------------------------------------------------


def test_receive_applies_what_the_decoder_makes_of_a_frame() -> None:
    state = Session()
    event = state.receive(audio_frame(pcm(300)), 5)
    assert isinstance(event, deltaring.AudioDelta)
    assert state.decoder.stats.frames == 1
    assert state.latencies.turns[0].first_audio == 5


def test_apply_returns_the_event() -> None:
    event = deltaring.decode(frame("response.created", response={"id": "r"}))
    assert Session().apply(event) is event


def test_receive_raises_what_decode_raises() -> None:
    state = Session()
    with pytest.raises(deltaring.InvalidJSON):
        state.receive(b"{")
    assert told(b"{").items == []


def test_unknown_events_change_nothing() -> None:
    assert told(frame("x.y")).forgotten == {}


# --- configuration and epochs -----------------------------------------------------------------------


def test_the_configuration_is_the_last_word_of_the_server() -> None:
    state = told(session(model="a"), session("session.updated", model="b"))
    assert isinstance(state.config, deltaring.SessionInfo)
    assert state.config.model == "b"


def test_a_configuration_that_does_not_fit_is_a_dict() -> None:
    state = told(session(model=[1], output_audio_format="g711_ulaw"))
    assert isinstance(state.config, dict)
    assert state.config["model"] == [1]
    assert state.output_format == ("g711_ulaw", None)


def test_formats_are_those_of_each_side() -> None:
    audio = {"input": {"format": {"type": "audio/pcmu"}},
             "output": {"format": {"type": "audio/pcm", "rate": 16_000}}}  # fmt: skip
    state = told(session(audio=audio))
    assert state.input_format == ("audio/pcmu", None)
    assert state.output_format == ("audio/pcm", 16_000)


def test_null_leaves_a_format_as_it_was() -> None:
    state = told(
        session(input_audio_format="pcm16"), session("session.updated", input_audio_format=None)
    )
    assert state.input_format == ("pcm16", None)


def test_a_new_session_begins_an_epoch() -> None:
    state = told(
        session(output_audio_format="pcm16"),
        message("conversation.item.added", "a"),
        response("response.created", "r"),
        response("response.done", "r", usage=USAGE),
        session(),
    )
    assert state.epoch == 2
    assert (state.items, state.responses, state.output_format) == ([], [], None)
    assert state.usage["total_tokens"] == 10


# --- conversation ---------------------------------------------------------------------------------


def test_items_stand_in_the_order_of_the_conversation() -> None:
    state = told(
        message("conversation.item.added", "a"),
        message("conversation.item.added", "c", "a"),
        message("conversation.item.added", "b", "a"),
    )
    assert [item.id for item in state.items] == ["a", "b", "c"]


def test_an_item_is_added_and_done() -> None:
    state = told(
        message("conversation.item.added", "a", role="assistant", status="in_progress"),
        message("conversation.item.done", "a", role="assistant", status="completed"),
    )
    (item,) = state.items
    assert (item.added, item.done, item.role, item.status) == (0, 1, "assistant", "completed")


def test_a_beta_item_is_done_unless_it_says_otherwise() -> None:
    state = told(
        message("conversation.item.created", "a", status="in_progress"),
        message("conversation.item.created", "b", status="completed"),
    )
    assert [item.done for item in state.items] == [None, 1]


def test_a_retrieved_item_keeps_no_audio() -> None:
    state = told(
        message(
            "conversation.item.retrieved", "a", content=[{"type": "audio", "audio": "A" * 9_000}]
        )
    )
    assert b"AAAA" not in msgspec.json.encode(state.items)


def test_an_item_without_an_id_is_none_and_one_too_long_is_forgotten() -> None:
    state = told(
        message("conversation.item.done", ""), message("conversation.item.done", "i" * 5_000)
    )
    assert state.items == []
    assert state.forgotten == {"items": 1}


def test_a_deleted_item_stays_and_says_so() -> None:
    state = told(
        message("conversation.item.added", "a"), frame("conversation.item.deleted", item_id="a")
    )
    assert [(item.id, item.deleted) for item in state.items] == [("a", True)]


def test_a_truncated_item_says_where() -> None:
    state = told(
        message("conversation.item.added", "a"),
        frame("conversation.item.truncated", item_id="a", content_index=0, audio_end_ms=1_500),
    )
    assert state.items[0].audio_end_ms == 1_500


def test_where_an_item_was_truncated_is_a_number_or_nothing() -> None:
    for end, kept in ((1_500.5, 1_500), (-5, None), ("x" * 9_000, None), ({}, None)):
        state = told(
            message("conversation.item.added", "a"),
            frame("conversation.item.truncated", item_id="a", content_index=0, audio_end_ms=end),
        )
        assert state.items[0].audio_end_ms == kept


def test_an_item_with_an_odd_part_is_described_all_the_same() -> None:
    state = told(
        message("conversation.item.created", "a", role="user", status="completed", content=5)
    )
    (item,) = state.items
    assert (item.role, item.status, item.done) == ("user", "completed", 0)


def test_what_happens_to_unknown_items_is_no_matter() -> None:
    state = told(
        frame("conversation.item.deleted", item_id="x"),
        frame("conversation.item.truncated", item_id="x", content_index=0, audio_end_ms=1),
    )
    assert state.items == []


def test_committed_audio_is_an_item() -> None:
    state = told(frame("input_audio_buffer.committed", item_id="u", previous_item_id=None))
    assert state.items[0].id == "u"


def test_items_of_a_response_say_so() -> None:
    item = {"id": "c", "type": "function_call", "name": "f", "call_id": "k"}
    state = told(frame("response.output_item.added", response_id="r", output_index=0, item=item))
    (found,) = state.items
    assert (found.response_id, found.name, found.call_id) == ("r", "f", "k")


# --- responses ------------------------------------------------------------------------------------


def test_a_response_has_its_times_status_and_usage() -> None:
    state = told(
        response("response.created", "r", status="in_progress", conversation_id="c"),
        audio_frame(pcm(300), response_id="r"),
        audio_frame(pcm(300), response_id="r"),
        response("response.done", "r", status="completed", usage=USAGE),
    )
    assert state.response("r") == Response(
        "r", "completed", "", "c", created=0, first_audio=1, done=3, usage=USAGE
    )


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"type": "cancelled", "reason": "turn_detected"}, "turn_detected"),
        ({"type": "failed", "error": {"code": "rate_limit_exceeded"}}, "rate_limit_exceeded"),
        ({"type": "failed", "error": {"type": "server_error"}}, "server_error"),
        ("client_cancelled", "client_cancelled"),
        (None, ""),
        ({"reason": 5}, ""),
    ],
)
def test_a_response_says_why_it_ended(details: object, reason: str) -> None:
    state = told(response("response.done", "r", status="cancelled", status_details=details))
    assert state.responses[0].reason == reason


def test_usage_is_summed_over_responses() -> None:
    state = told(*(response("response.done", f"r{n}", usage=USAGE) for n in range(3)))
    assert state.usage["total_tokens"] == 30
    assert state.usage["input_token_details"] == {"cached_tokens": 12}


def test_a_second_response_done_is_not_billed_again() -> None:
    state = told(*[response("response.done", "r", usage=USAGE)] * 2)
    assert state.usage["total_tokens"] == 10


def test_usage_beside_the_response_is_taken() -> None:
    state = told(frame("response.done", response={"id": "r", "usage": {}}, usage=USAGE))
    assert state.usage["total_tokens"] == 10


def test_the_cost_of_transcription_is_kept_apart() -> None:
    done = frame(TRANSCRIPTION + "completed", item_id="u", content_index=0, transcript="hi",
                 usage={"type": "duration", "seconds": 2.5})  # fmt: skip
    state = told(done, done.replace(b'"u"', b'"v"'))
    assert state.transcription_usage == {"seconds": 5.0}
    assert state.usage == {}


def test_a_transcription_that_is_told_twice_is_not_billed_again() -> None:
    done = frame(TRANSCRIPTION + "completed", item_id="u", content_index=0, transcript="hi",
                 usage={"type": "tokens", "total_tokens": 9})  # fmt: skip
    assert told(done, done).transcription_usage == {"total_tokens": 9}


def test_a_response_that_was_forgotten_is_not_billed_again() -> None:
    done = [response("response.done", f"r{n}", usage=USAGE) for n in range(3)]
    assert told(*done, done[0], max_responses=1).usage["total_tokens"] == 30


def test_what_was_billed_in_earlier_sessions_takes_no_memory() -> None:
    state = told(session())
    tracemalloc.start()
    for number in range(2_000):
        state.receive(response("response.done", f"r{number}", usage=USAGE))
        if number % 200 == 0:
            state.receive(session())
    state.receive(session())
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert state.usage["total_tokens"] == 20_000
    assert grown < 80_000


def test_what_was_billed_is_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaring.session._MAX_BILLS", 2)
    done = [response("response.done", f"r{n}", usage=USAGE) for n in (0, 1, 1, 2, 2, 0)]
    assert told(*done).usage["total_tokens"] == 40  # only the first was forgotten


def test_responses_without_ids_and_beginnings_are_billed_each() -> None:
    assert (
        told(*[frame("response.done", response={"usage": USAGE})] * 3).usage["total_tokens"] == 30
    )


def test_a_response_whose_id_is_too_long_is_counted_and_not_kept() -> None:
    state = told(*(response("response.done", "r" * 1_000 + end, usage=USAGE) for end in "ab"))
    assert (state.responses, state.usage["total_tokens"], state.forgotten) == (
        [], 20, {"responses": 2},
    )  # fmt: skip


def test_responses_without_ids_are_the_newest_one() -> None:
    state = told(
        frame("response.created", response={}),
        frame("response.done", response={"usage": USAGE}),
        frame("response.created", response={}),
        frame("response.done", response={"usage": USAGE}),
    )
    assert state.usage["total_tokens"] == 20


# --- the rest -------------------------------------------------------------------------------------


def test_a_transcript_that_comes_late_has_its_place() -> None:
    state = told(
        frame("input_audio_buffer.committed", item_id="u"),
        frame("response.audio_transcript.done", response_id="r", item_id="a", output_index=0,
              content_index=0, transcript="fine"),
        frame(TRANSCRIPTION + "completed", item_id="u", content_index=0, transcript="how are you"),
    )  # fmt: skip
    assert [entry.text for entry in state.transcript.entries] == ["how are you", "fine"]


def test_rate_limits_are_the_last_word_on_each() -> None:
    state = told(
        frame("rate_limits.updated", rate_limits=[{"name": "tokens", "remaining": 5}]),
        frame("rate_limits.updated", rate_limits=[]),
        frame("rate_limits.updated", rate_limits=[{"name": "requests", "remaining": 9}]),
        frame("rate_limits.updated", rate_limits=[{"name": "tokens", "remaining": 4}]),
    )
    assert {name: limit.remaining for name, limit in state.rate_limits.items()} == {
        "tokens": 4, "requests": 9,
    }  # fmt: skip


def test_rate_limits_are_figures_and_bounded() -> None:
    limits = [{"name": f"l{n}", "remaining": "x" * 999, "limit": 5} for n in range(70)]
    state = told(frame("rate_limits.updated", rate_limits=limits))
    assert state.rate_limits["l0"] == deltaring.RateLimit("l0", 5, None, None)
    assert (len(state.rate_limits), state.forgotten) == (64, {"rate_limits": 6})


def test_errors_are_kept_with_their_times() -> None:
    state = told(frame("error", error={"type": "t", "code": 5, "message": "m" * 2_000}))
    (error,) = state.errors
    assert (error.at, error.type, error.code, error.message) == (0, "t", "5", "m" * 1_000)


def test_errors_that_had_to_go_are_counted() -> None:
    state = told(*[frame("error", error={"message": str(number)}) for number in range(100)])
    assert (state.error_count, state.forgotten["errors"]) == (100, 100 - MAX_ERRORS)
    assert [error.message for error in state.errors][-1] == "99"


# --- replayable, bounded ----------------------------------------------------------------------------


def state_of(state: Session) -> bytes:
    return msgspec.json.encode(
        [state.items, state.responses, list(state.latencies.turns), state.transcript.entries,
         state.usage, state.rate_limits, list(state.errors), state.epoch, state.forgotten]
    )  # fmt: skip


def test_real_sessions_give_the_same_state_each_time(real_recordings: list[Path]) -> None:
    for path in real_recordings:
        states = []
        for _ in range(2):
            state = told()
            for number, record in enumerate(Recording(path)):
                state.receive(record.frame, record.time or float(number))
            states.append(state_of(state))
        assert states[0] == states[1]


@given(st.integers(0, 1 << 32))
def test_whatever_comes_nothing_else_is_raised(seed: int) -> None:
    told(*mutants(seed, 30), *(raw for raw in hostile().values() if isinstance(raw, bytes)))


def hostile_events(count: int) -> list[bytes]:
    """Events that all try to make something grow."""
    chance = random.Random(3)
    made = []
    for n in range(count):
        made.append(
            chance.choice([
                lambda n: message("conversation.item.added", f"i{n}", f"i{n - 9}", role="x" * 500),
                lambda n: response("response.created", f"r{n}", conversation_id="c" * 900),
                lambda n: response("response.done", f"r{n}", usage={f"u{n + k}": {f"v{n}": 1} for k in range(5)}),
                lambda n: frame("response.text.delta", response_id="r", item_id=f"t{n}", output_index=0,
                                content_index=0, delta="y" * 50),
                lambda n: frame(TRANSCRIPTION + "completed", item_id=f"u{n}", content_index=n, transcript="z" * 90),
                lambda n: frame("rate_limits.updated", rate_limits=[{"name": f"l{n}"}]),
                lambda n: frame("error", error={"message": "e" * 5_000, "code": "c" * 5_000}),
                lambda n: frame("input_audio_buffer.speech_started", item_id="s" * 500 + str(n)),
                lambda n: frame("input_audio_buffer.committed", item_id="b" * 500 + str(n)),
                lambda n: frame("response.function_call_arguments.delta", response_id="r", item_id=f"f{n}",
                                output_index=0, call_id="k" * 400, delta="{"),
                lambda n: audio_frame(b"ab", response_id=f"q{n}", item_id=f"p{n}"),
                lambda n: session(instructions="x" * 300) if n % 1_000 == 0 else session("session.updated"),
            ])(n)
        )  # fmt: skip
    return made


def test_a_hostile_session_stays_within_32_mib() -> None:
    """The bound that the documentation states."""
    events = hostile_events(30_000)
    state = Session(deltaring.Decoder(seconds=1))  # rings are the decoder's, and bounded there
    gc.collect()
    tracemalloc.start()
    for round_ in range(2):
        for number, raw in enumerate(events):
            event = state.receive(raw, float(number + round_))
            if isinstance(event, deltaring.AudioDelta):
                event.track.ring.clear()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 32 << 20
    assert len(state.items) <= 1_024
    assert len(state.responses) <= 1_024
    assert len(state.rate_limits) <= 64
    assert len(state.errors) == MAX_ERRORS
    assert {"items", "responses", "turns", "errors", "text"} <= state.forgotten.keys()
    assert sys.getsizeof(state.usage) < 100_000


# --- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_a_run_is_worth_as_much_as_its_deltas(rows: int) -> None:
    chance = random.Random(rows)
    lines = []
    for number in range(60):
        raw = audio_frame(
            bytes(chance.choice((0, 1, 300))) or pcm(600, number),
            response_id=f"r{number // 20}",
            item_id=f"i{chance.randrange(2)}",
        )
        lines.append(b'{"time":%d.5,"source":"server","event":%s}\n' % (number, raw))
        if number % 20 == 19:
            done = response("response.done", f"r{number // 20}")
            lines.append(b'{"time":%d.5,"source":"server","event":%s}\n' % (number, done))
    by_run, by_line = Session(), Session()
    space = np.empty(rows, deltaring.ROW)
    recording = Recording(io.BytesIO(b"".join(lines)))
    for record in recording.runs(lambda *at: by_run.decoder.scan(at[0], space, *at[1:])):
        if isinstance(record, deltaring.Run):
            by_run.apply_run(record)
        else:
            by_run.receive(record.frame, record.time)
    for line in Recording(io.BytesIO(b"".join(lines))):
        by_line.receive(line.frame, line.time)
    assert state_of(by_run) == state_of(by_line)
    assert by_run.latencies.turns[0].audible is not None


def test_a_run_without_times_leaves_them_unknown() -> None:
    state, rows = Session(), np.empty(9, deltaring.ROW)
    lines = b"".join(audio_frame(pcm(600), response_id="r") + b"\n" for _ in range(3))
    run = state.decoder.scan(lines, rows)
    state.apply_run(run)
    turn = state.latencies.turns[-1]
    assert (len(run.rows), state.responses[0].first_audio) == (3, None)
    assert (turn.first_audio, turn.audible) == (None, None)
