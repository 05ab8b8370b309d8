"""Metrics of sessions made by hand, with known times."""

import io
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

import deltaring
from deltaring.metrics import (
    MAX_STALLS,
    Meter,
    ResponseMetrics,
    SessionMetrics,
    Spread,
    Tokens,
    spread,
    values,
)
from deltaring.recording import Recording
from deltaring.replay import measure
from deltaring.session import Session
from tests.wire import audio_frame, frame, hostile, response, session

NOW = 1_784_858_052.5
CREATED, DONE = "response.created", "response.done"
USAGE = {
    "total_tokens": 300, "input_tokens": 200, "output_tokens": 100,
    "input_token_details": {"text_tokens": 120, "audio_tokens": 70, "image_tokens": 10,
                            "cached_tokens": 64},
    "output_token_details": {"text_tokens": 20, "audio_tokens": 75, "reasoning_tokens": 5},
}  # fmt: skip

Told = tuple[float | None, bytes]


def audio(milliseconds: int, response_id: str = "r", item_id: str = "i") -> bytes:
    """An audio delta of pcm16 at 24 kHz."""
    return audio_frame(bytes(48 * milliseconds), response_id=response_id, item_id=item_id)


def started() -> bytes:
    return frame("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u")


def stopped() -> bytes:
    return frame("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="u")


def limits(**shares: Any) -> bytes:
    stated = [{"name": name, "limit": 100, "remaining": left} for name, left in shares.items()]
    return frame("rate_limits.updated", rate_limits=stated)


def recording(*told: Told) -> Recording:
    lines = (
        json.dumps({"time": at if at is None else NOW + at, "event": "X"}).encode()
        .replace(b'"X"', raw) for at, raw in told
    )  # fmt: skip
    return Recording(io.BytesIO(b"\n".join(lines) + b"\n"))


def measured(*told: Told, buffer: float = 0.0) -> SessionMetrics:
    source = recording(*told)
    metrics = measure(source, buffer=buffer)
    assert not source.problems
    return metrics


def only(*told: Told, buffer: float = 0.0) -> ResponseMetrics:
    (found,) = measured(*told, buffer=buffer).responses
    return found


TURN: list[Told] = [
    (0.0, session()),
    (1.0, started()),
    (2.0, stopped()),
    (2.2, response(CREATED, "r")),
    (2.5, audio(200)),
    (2.6, audio(200)),
    (3.0, audio(300)),
    (3.1, audio(100)),
    (3.2, response(DONE, "r", status="completed", usage=USAGE)),
    (3.3, limits(tokens=90, requests=40)),
]
BARE: list[Told] = [(None, raw) for _, raw in TURN]


# --- a turn ---------------------------------------------------------------------------------------


def test_times_are_counted_from_what_the_server_said() -> None:
    found = only(*TURN)
    assert found.speech_stopped_to_audio == 0.5
    assert found.created_to_audio == 0.3
    assert found.duration == 1.0
    assert found.created == pytest.approx(NOW + 2.2)


def test_audio_is_what_came_and_the_factor_is_the_time_it_took() -> None:
    found = only(*TURN)
    assert (found.deltas, found.audio) == (4, 0.8)
    assert found.real_time_factor == pytest.approx(0.9 / 0.8)  # from 2.2 to 3.1


def test_playback_figures_are_those_of_the_arrivals() -> None:
    found = only(*TURN)
    # Due 200 and 400 ms after the first, the second and third delta came after 100 and 500.
    assert found.needed_buffer == 0.1
    assert found.stalls == [0.1]
    # Gaps of 100, 400 and 100 ms; the pace is 600 for 700.
    assert found.jitter is not None
    assert found.jitter.count == 3
    assert found.jitter.max == pytest.approx(0.4 - 0.2 * 6 / 7, abs=1e-6)
    assert found.jitter.p50 == pytest.approx(0.3 * 6 / 7 - 0.1, abs=1e-6)


def test_stalls_are_those_of_the_buffer_asked_for() -> None:
    metrics = measured(*TURN, buffer=0.07)
    assert metrics.buffer == 0.07
    assert metrics.responses[0].stalls == [0.03]


def test_no_more_stalls_are_listed_than_the_bound_says() -> None:
    found = only(*((0.02 * number, audio(10)) for number in range(MAX_STALLS + 5)))
    assert found.stalls == [0.01] * MAX_STALLS
    assert found.needed_buffer == pytest.approx(0.01 * (MAX_STALLS + 4))


def test_tokens_are_told_by_kind() -> None:
    expected = Tokens(200, 120, 70, 10, 64, 100, 20, 75, 5)
    assert only(*TURN).tokens == expected
    assert measured(*TURN).tokens == expected


def test_tokens_of_a_session_are_summed() -> None:
    more = [(4.0, response(CREATED, "s")), (5.0, response(DONE, "s", usage={"input_tokens": 5}))]
    metrics = measured(*TURN, *more)
    assert (metrics.tokens.input, metrics.tokens.input_text) == (205, 120)
    assert metrics.responses[1].tokens == Tokens(input=5)


def test_headroom_is_the_smallest_share_that_was_left() -> None:
    metrics = measured(*TURN, (4, limits(tokens=100, requests=30)), (5, limits(requests=80)))
    assert metrics.headroom == {"requests": 0.3, "tokens": 0.9}


@pytest.mark.parametrize(
    "limit",
    [{"limit": 0, "remaining": 0}, {"limit": "x"}, {"limit": 5}, {"remaining": 5}, {},
     {"limit": 1, "remaining": 10**400}, {"limit": 2, "remaining": True}],
    ids=str,
)  # fmt: skip
def test_a_limit_without_figures_has_no_headroom(limit: dict[str, object]) -> None:
    told = frame("rate_limits.updated", rate_limits=[{"name": "odd", **limit}])
    assert measured((0, told)).headroom == {}


def test_the_example_is_measured(example: Path) -> None:
    metrics = measure(Recording(example))
    first, second, third = metrics.responses
    assert (first.deltas, first.created_to_audio, first.duration) == (0, None, 0.334)
    assert (second.speech_stopped_to_audio, second.created_to_audio) == (1.111, 0.314)
    assert (third.speech_stopped_to_audio, third.created_to_audio) == (0.434, 0.326)
    assert (second.needed_buffer, second.stalls) == (0, [])
    assert metrics.headroom == {"tokens": 0.975}


# --- which response it was ------------------------------------------------------------------------


def test_an_answer_after_a_function_call_is_counted_from_the_users_speech() -> None:
    asked = response(DONE, "call", output=[{"type": "function_call", "name": "f"}])
    call, answer = measured(
        (0, stopped()), (1, response(CREATED, "call")), (2, asked),
        (3, response(CREATED, "r")), (4, audio(100)), (5, response(DONE, "r")),
    ).responses  # fmt: skip
    assert (call.speech_stopped_to_audio, call.created_to_audio, call.audio) == (None, None, 0.0)
    assert (call.real_time_factor, call.jitter, call.needed_buffer, call.stalls) == (None,) * 4
    assert (answer.speech_stopped_to_audio, answer.created_to_audio) == (4, 1)


def test_an_answer_to_nobody_is_not_counted_from_speech() -> None:
    _, unasked = measured(
        (0, stopped()), (1, response(CREATED, "r")), (2, audio(100)), (3, response(DONE, "r")),
        (4, response(CREATED, "s")), (5, audio(100, "s")),
    ).responses  # fmt: skip
    assert (unasked.speech_stopped_to_audio, unasked.created_to_audio) == (None, 1)


def test_of_two_answers_at_a_time_the_first_that_is_heard_is_counted_from_speech() -> None:
    first, second = measured(
        (0, stopped()), (1, response(CREATED, "r")), (2, response(CREATED, "s")),
        (3, audio(100, "s")), (4, audio(100, "r")),
    ).responses  # fmt: skip
    assert (first.speech_stopped_to_audio, second.speech_stopped_to_audio) == (None, 3)


def test_audio_that_goes_on_while_the_user_speaks_belongs_to_the_turn_before() -> None:
    again: list[Told] = [(3.11, started()), (3.12, stopped()), (3.13, audio(100))]
    assert only(*TURN[:-2], *again, *TURN[-2:]).speech_stopped_to_audio == 0.5


def test_two_responses_in_one_run_are_told_apart() -> None:
    told = [(0.1 * n, audio(100 + n, "rs"[n % 2])) for n in range(6)]
    first, second = measured(*told).responses
    assert (first.id, first.deltas, first.audio) == ("r", 3, 0.306)
    assert (second.id, second.deltas, second.audio) == ("s", 3, 0.309)


def test_items_of_a_response_are_played_one_after_the_other() -> None:
    found = only((0, audio(100)), (1, audio(2_000, item_id="j")), (1.5, audio(100)))
    # The third delta belongs to the first item, and is due when that has played 100 ms.
    assert found.needed_buffer == 1.4


def test_jitter_is_told_in_the_order_of_arrival() -> None:
    found = only(*((0.1 * n, audio(100, item_id="ij"[n % 2])) for n in range(6)))
    assert found.jitter == Spread(5, 0, 0, 0)


def test_a_late_delta_still_counts() -> None:
    late: list[Told] = [(5.0, audio(100)), (6.0, response(CREATED, "s"))]
    found = measured(*TURN, *late).responses[0]
    assert (found.deltas, found.audio) == (5, 0.9)


def test_a_response_that_had_begun_before_the_recording_has_no_duration() -> None:
    found = only((0, audio(100)), (1, response(DONE, "r", status="completed")))
    assert (found.status, found.duration, found.created_to_audio) == ("completed", None, None)
    assert found.needed_buffer == 0


def test_audio_that_comes_when_its_response_is_done_belongs_to_no_turn() -> None:
    found = only((0, response(DONE, "r")), (1, audio(100)))
    assert (found.deltas, found.speech_stopped_to_audio) == (1, None)


def test_ids_that_come_again_after_a_reconnect_are_other_responses() -> None:
    metrics = measured(*TURN, *[(at + 10, raw) for at, raw in TURN if at is not None])
    assert metrics.epochs == 2
    first, second = metrics.responses
    assert (first.epoch, second.epoch) == (1, 2)
    assert (first.deltas, second.deltas) == (4, 4)
    assert first.duration == second.duration == 1.0


def test_deltas_without_samples_are_no_arrivals() -> None:
    told = [(2.3, audio(0)), (9.0, audio(0))]
    assert only(*TURN, *told) == only(*TURN)
    assert only((0, audio(0)), (0.5, audio_frame(b"x", response_id="r", item_id="i")), (1, audio(1)),
                (2, response(CREATED, "r"))).deltas == 1  # fmt: skip


def test_dropped_samples_are_audio_that_came() -> None:
    state = Session(deltaring.Decoder(seconds=0.1))
    meter = Meter(state)
    meter.take(state.receive(audio(500), NOW), NOW)
    assert meter.read().responses[0].audio == 0.5


# --- interruptions --------------------------------------------------------------------------------


def answered(*told: Told) -> SessionMetrics:
    return measured(
        (0, stopped()),
        (1, response(CREATED, "r")),
        (1, frame("response.output_item.added", response_id="r", output_index=0, item={"id": "i"})),
        (2, audio(9_000)),
        *told,
    )


@pytest.mark.parametrize(
    "frames",
    [
        [started(), response(DONE, "r", status="completed")],
        [response(DONE, "r", status="cancelled")],
        [
            response(DONE, "r", status="completed"),
            frame("conversation.item.truncated", item_id="i", content_index=0, audio_end_ms=1_500),
        ],
    ],
    ids=["speech", "cancelled", "truncated"],
)
@pytest.mark.parametrize("timed", [True, False])
def test_a_response_is_interrupted_by(frames: list[bytes], timed: bool) -> None:
    metrics = answered(*((3.0 + n if timed else None, raw) for n, raw in enumerate(frames)))
    assert metrics.responses[0].interrupted
    assert metrics.interruptions == 1


def test_speech_after_a_response_is_done_interrupts_nothing() -> None:
    metrics = answered((3, response(DONE, "r", status="completed")), (4, started()))
    assert not metrics.responses[0].interrupted
    assert metrics.interruptions == 0


def test_a_truncated_item_that_nobody_knows_interrupts_nothing() -> None:
    odd = frame("conversation.item.truncated", item_id="?", content_index=0, audio_end_ms=0)
    assert answered((3, odd)).interruptions == 0


def test_a_new_session_forgets_what_was_in_progress() -> None:
    assert answered((3, session()), (4, started())).interruptions == 0


# --- what is not known ----------------------------------------------------------------------------

TIMED = ["created", "speech_stopped_to_audio", "created_to_audio", "duration", "real_time_factor",
         "jitter", "needed_buffer", "stalls"]  # fmt: skip


def test_without_times_there_are_counts() -> None:
    metrics = measured(*BARE)
    (found,) = metrics.responses
    assert [getattr(found, name) for name in TIMED] == [None] * len(TIMED)
    assert (found.deltas, found.audio, found.status) == (4, 0.8, "completed")
    assert found.tokens.output_reasoning == 5
    assert (metrics.epochs, metrics.headroom) == (1, {"requests": 0.4, "tokens": 0.9})


def test_one_delta_without_a_time_leaves_playback_unknown() -> None:
    told = [(None if raw == audio(300) else at, raw) for at, raw in TURN]
    found = only(*told)
    assert (found.needed_buffer, found.stalls, found.jitter) == (None, None, None)
    assert found.real_time_factor is None
    assert (found.created_to_audio, found.duration, found.audio) == (0.3, 1.0, 0.8)


def test_audio_without_times_has_no_first_time() -> None:
    found = only(*((None if b"audio.delta" in raw else at, raw) for at, raw in TURN))
    assert (found.created_to_audio, found.speech_stopped_to_audio) == (None, None)
    assert (found.duration, found.deltas) == (1.0, 4)


def test_audio_in_an_unknown_format_has_arrivals_and_no_length() -> None:
    found = only(
        (0, session(output_audio_format="opus")), (1, response(CREATED, "r")), (2, audio(100))
    )
    assert (found.deltas, found.audio, found.created_to_audio) == (1, None, 1)
    assert (found.needed_buffer, found.real_time_factor) == (None, None)


def test_seconds_are_those_of_the_format() -> None:
    codes = audio_frame(bytes(4_000), response_id="r")
    assert only((0, session(output_audio_format="g711_ulaw")), (1, codes)).audio == 0.5


def test_a_server_without_ids_has_a_response_for_each_created() -> None:
    metrics = measured(
        (0, response(CREATED, "")), (1, audio(100, "")), (2, response(DONE, "")),
        (3, response(CREATED, "")), (4, audio(200, "")), (5, response(DONE, "")),
    )  # fmt: skip
    assert [found.audio for found in metrics.responses] == [0.1, 0.2]


def test_responses_that_are_not_objects_of_the_usual_form_are_measured() -> None:
    odd = {"output": 5, "usage": {"input_tokens": 3.0, "output_tokens": [1]}}
    found = only((0, response(CREATED, "r", **odd)), (1, response(DONE, "r", **odd)))
    assert (found.duration, found.tokens) == (1, Tokens(input=3))


def test_an_id_that_is_too_long_to_be_kept_is_cut() -> None:
    long = "r" * 2_000
    found = only((0, response(CREATED, long)), (1, audio(100, long)), (2, response(DONE, long)))
    assert (found.id, found.deltas) == (long[:1_000], 1)


@pytest.mark.parametrize("count", [-1, 10**400, "7", True])
def test_what_is_no_count_of_tokens_is_not_told(count: object) -> None:
    usage = {
        "input_tokens": count,
        "output_tokens": 5,
        "output_token_details": {"text_tokens": count},
    }
    assert only((0, response(DONE, "r", usage=usage))).tokens == Tokens(output=5)


def test_what_is_beyond_the_bound_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaring.metrics.MAX_RESPONSES", 2)
    told = [(n, response(CREATED, f"r{n}")) for n in range(5)]
    metrics = measured(*told, (5, response(DONE, "r1")), (6, response(DONE, "r2")))
    assert [(found.id, found.duration) for found in metrics.responses] == [("r0", None), ("r1", 4)]
    assert metrics.left_out == 4


def test_more_responses_than_a_session_keeps_are_measured() -> None:
    told = [(n + step, response(type, f"r{n}")) for n in range(2_000)
            for step, type in ((0.0, CREATED), (0.25, DONE))]  # fmt: skip
    assert [found.duration for found in measured(*told).responses] == [0.25] * 2_000


def test_an_empty_recording_has_no_metrics() -> None:
    assert measured() == SessionMetrics(0.0, 0, [], 0, 0, Tokens(), {})


@pytest.mark.parametrize("buffer", [-0.1, math.inf, math.nan])
def test_a_buffer_out_of_range_is_refused(buffer: float) -> None:
    with pytest.raises(ValueError, match="buffer is out of range"):
        measured(buffer=buffer)


# --- the same by any way --------------------------------------------------------------------------


def live(source: Recording) -> SessionMetrics:
    """Frame by frame, as in an agent; in place of runs."""
    state = Session(deltaring.Decoder(on_invalid="keep"))
    meter = Meter(state)
    for time, side, raw in source:
        if side == "server":
            meter.take(state.receive(raw, time), time)
    return meter.read()


def test_frame_by_frame_measures_the_same_as_runs(example: Path) -> None:
    assert live(Recording(example)) == measure(Recording(example))


def test_real_recordings_are_measured_the_same_by_runs(real_recordings: list[Path]) -> None:
    for path in real_recordings:
        metrics = measure(Recording(path))
        assert metrics == live(Recording(path)), path
        assert all(found.needed_buffer is None for found in metrics.responses), path


def test_real_audio_is_all_counted(real_recordings: list[Path]) -> None:
    (path,) = (path for path in real_recordings if path.name == "spoken-reply-full-audio.jsonl")
    (found,) = measure(Recording(path)).responses
    assert (found.deltas, found.audio) == (6, 1.6)


def test_hostile_frames_are_measured_the_same_by_runs() -> None:
    lines = b"\n".join(
        raw for raw in hostile().values() if isinstance(raw, bytes) and b"\n" not in raw
    )
    metrics = measure(Recording(io.BytesIO(lines)))
    assert len(metrics.responses) > 10
    assert metrics == live(Recording(io.BytesIO(lines)))
    msgspec.json.encode(metrics)


# --- distributions --------------------------------------------------------------------------------


def test_percentiles_are_values_that_came() -> None:
    assert spread(range(1, 101)) == Spread(100, 50, 95, 100)
    assert spread([3.0, 1.0]) == Spread(2, 1.0, 3.0, 3.0)
    assert spread([]) is None


def test_values_leave_out_what_is_not_known() -> None:
    sessions = [measured(*TURN), measured(*BARE)]
    assert values(sessions, "duration") == [1.0]
    assert values(sessions, "audio") == [0.8, 0.8]


def test_values_of_jitter_are_those_of_each_response() -> None:
    found = only(*TURN).jitter
    assert found is not None
    assert values([measured(*TURN)], "jitter_max") == [found.max]
