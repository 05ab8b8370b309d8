"""What a server sends and waits for: a pure function of the recording."""

import base64
import io
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaring.errors import InvalidJSON, SchemaError
from deltaring.inbox import PAUSE, Inbox
from deltaring.recording import Record, Recording
from deltaring.script import Send, Step, Wait, read_client_event, steps
from tests.wire import audio_done, audio_frame, frame, pcm, response, session

APPEND = "input_audio_buffer.append"
HEARD = frame("input_audio_buffer.speech_started")
STOPPED = frame("input_audio_buffer.speech_stopped")
COMMITTED = frame("input_audio_buffer.committed")
OTHER = frame("rate_limits.updated")


def server(data: bytes, time: float | None = None) -> Record:
    return Record(time, "server", data)


def client(data: bytes, time: float | None = None) -> Record:
    return Record(time, "client", data)


def append(count: int) -> bytes:
    return frame(APPEND, audio=base64.b64encode(bytes(count)).decode())


def play(*records: Record, ignore_client: bool = False) -> list[Step]:
    return list(steps(records, ignore_client=ignore_client))


def times(*records: Record) -> list[float]:
    return [round(step.at, 6) for step in play(*records)]


def waits(*records: Record) -> list[tuple[dict[str, int], int]]:
    return [(dict(step.events), step.audio) for step in play(*records) if isinstance(step, Wait)]


# --- times --------------------------------------------------------------------------------------


def test_frames_keep_their_recorded_distances() -> None:
    assert times(server(OTHER, 100.0), server(OTHER, 100.5), server(OTHER, 102.0)) == [0, 0.5, 2.0]


def test_a_clock_that_was_set_back_sends_at_once_and_goes_on_from_there() -> None:
    assert times(server(OTHER, 100.0), server(OTHER, 40.0), server(OTHER, 41.0)) == [0, 0, 1.0]


def test_a_frame_without_a_time_follows_at_once() -> None:
    records = server(OTHER, 100.0), server(audio_frame(pcm(480))), server(OTHER, 102.0)
    assert times(*records) == [0, 0, 2.0]


def test_without_times_an_audio_delta_lasts_its_duration() -> None:
    second = audio_frame(pcm(48_000))
    records = session(), second, second, frame("response.done", response={}), OTHER
    assert times(*map(server, records)) == [0, 0, 1.0, 2.0, 2.0]


def test_durations_go_by_the_format_of_the_session() -> None:
    telephony = session(output_audio_format="g711_ulaw")
    records = telephony, audio_frame(pcm(8_000)), OTHER
    assert times(*map(server, records)) == [0, 0, 1.0]


def test_an_unknown_format_has_no_duration() -> None:
    records = session(output_audio_format="opus"), audio_frame(pcm(8_000)), OTHER
    assert times(*map(server, records)) == [0, 0, 0]


def test_durations_outlast_any_ring_and_any_number_of_tracks() -> None:
    deltas = [audio_frame(pcm(4_800), item_id=f"item_{number}") for number in range(50)]
    assert times(*map(server, deltas * 2), server(OTHER))[-1] == 10.0


def test_an_odd_byte_counts_with_the_next_delta() -> None:
    records = [audio_frame(bytes(4_801)), audio_frame(bytes(4_799)), OTHER]
    assert times(*map(server, records)) == [0, 0.1, 0.2]


def test_a_frame_that_is_no_event_is_sent_all_the_same() -> None:
    assert [step.frame for step in play(server(b"\xff\n")) if isinstance(step, Send)] == [b"\xff\n"]


def test_time_starts_anew_with_a_wait() -> None:
    records = (
        server(OTHER, 10.0),
        client(frame("response.create"), 15.0),
        server(response("response.created", "r"), 15.3),
        server(OTHER, 15.5),
    )
    assert times(*records) == [0, 0, 0.3, 0.5]


def test_frames_on_the_same_audio_keep_their_distance() -> None:
    records = client(append(100), 1.0), server(STOPPED, 1.5), server(COMMITTED, 1.6)
    sent = [round(step.at, 6) for step in play(*records) if isinstance(step, Send)]
    assert sent == [0.5, 0.1]


def test_a_wait_begins_when_the_audio_before_it_has_lasted() -> None:
    records = server(audio_frame(pcm(48_000))), client(frame("response.create")), server(OTHER)
    assert times(*records) == [0, 1.0, 0]


# --- waits --------------------------------------------------------------------------------------


def test_a_client_event_is_waited_for_before_the_next_server_frame() -> None:
    records = server(OTHER), client(frame("session.update")), server(OTHER), server(OTHER)
    assert [type(step) for step in play(*records)] == [Send, Wait, Send, Send]
    assert waits(*records) == [({"session.update": 1}, 0)]


def test_client_events_in_a_row_are_one_wait() -> None:
    item, create = frame("conversation.item.create"), frame("response.create")
    records = client(item), client(item), client(create), server(OTHER)
    assert waits(*records) == [({"conversation.item.create": 2, "response.create": 1}, 0)]


def test_client_events_at_the_end_are_not_waited_for() -> None:
    assert not waits(server(OTHER), client(frame("session.update")))


def test_a_client_frame_that_no_server_can_read_is_not_waited_for() -> None:
    assert not waits(client(b"nonsense"), client(b'{"a":1}'), server(OTHER))


def test_nothing_is_waited_for_if_the_client_is_ignored() -> None:
    records = client(frame("session.update"), 1.0), client(append(9), 2.0), server(HEARD, 7.0)
    assert play(*records, ignore_client=True) == [Send(HEARD, 0)]


def test_audio_is_waited_for_where_the_server_says_that_it_heard() -> None:
    records = (
        client(append(100)),
        client(append(50)),
        server(HEARD),
        client(append(7)),
        server(STOPPED),
    )
    assert waits(*records) == [({}, 150), ({}, 157)]


def test_audio_beside_a_reply_is_not_waited_for() -> None:
    heard = client(append(100)), server(HEARD), server(COMMITTED), client(append(100))
    assert len(waits(*heard, server(response("response.created", "r")), server(OTHER))) == 2


def test_a_server_that_never_says_what_it_hears_replies_to_audio() -> None:
    created = response("response.created", "r")
    records = (
        client(append(100)),
        server(OTHER),
        server(created),
        client(append(60)),
        server(created),
    )
    assert waits(*records) == [({}, 100), ({}, 60)]


def test_a_translation_waits_for_its_audio() -> None:
    data = frame("session.input_audio_buffer.append", audio="AAAA")
    assert waits(client(data), server(frame("session.output_audio.delta"))) == [({}, 3)]


def test_a_commit_stands_for_its_audio() -> None:
    records = client(append(100)), client(frame("input_audio_buffer.commit")), server(COMMITTED)
    [wait] = [step for step in play(*records) if isinstance(step, Wait)]
    assert (dict(wait.events), wait.audio, wait.spent) == ({"input_audio_buffer.commit": 1}, 0, 100)


def test_a_turn_ends_with_its_commit() -> None:
    turn = client(append(100)), server(HEARD), server(COMMITTED)
    assert [step.spent for step in play(*turn, *turn) if isinstance(step, Wait)] == [0, 100] * 2


def test_a_wait_says_what_it_is() -> None:
    assert str(Wait(Counter({"a": 2, "b": 1}), 9, 0, 0)) == "2 a and b and 9 bytes of audio"


# --- client events ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(7))
def test_the_audio_of_an_event_is_counted_in_bytes(count: int) -> None:
    assert read_client_event(append(count)).audio_bytes == count


@pytest.mark.parametrize("audio", [None, 7, {"a": []}, ["AAAA"], ""])
def test_audio_of_another_kind_is_none(audio: object) -> None:
    assert read_client_event(frame(APPEND, audio=audio)).audio_bytes == 0


def test_a_client_may_cut_a_character_in_half() -> None:
    assert read_client_event(b'{"type":"a","x":"\\ud83d"}').type == "a"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"type":"a', b'{"type":"' + b"[" * 999])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidJSON):
        read_client_event(data)


def test_what_nests_too_deeply_is_refused() -> None:
    with pytest.raises(InvalidJSON, match="deeper"):
        read_client_event(b'{"type":"a","audio":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@pytest.mark.parametrize("data", [b"[]", b"1", b"{}", b'{"type":null}', frame("a" * 129)])
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(SchemaError):
        read_client_event(data)


# --- all recordings -----------------------------------------------------------------------------

SERVER_FRAMES = st.sampled_from(
    [
        HEARD, STOPPED, COMMITTED, OTHER, response("response.created", "r"), session(),
        audio_frame(pcm(480)), audio_done("r", "i"), b"\xff", b"nonsense",
    ]
)  # fmt: skip
CLIENT_FRAMES = st.sampled_from(
    [
        append(0), append(1), append(100), append(4_800), b"nonsense",
        *map(frame, ("input_audio_buffer.commit", "input_audio_buffer.clear", "session.update",
                     "response.create", "response.cancel")),
    ]
)  # fmt: skip
TIMES = st.none() | st.floats(-1e12, 1e12)
RECORDS = st.lists(
    st.builds(server, SERVER_FRAMES, TIMES) | st.builds(client, CLIENT_FRAMES, TIMES), max_size=60
)


def follow(records: Iterable[Record], inbox: Inbox, now: float) -> list[bytes]:
    """Play to a client that has sent all it ever will, at `now`; stop where it is waited for."""
    sent = []
    for step in steps(records):
        if isinstance(step, Send):
            sent.append(step.frame)
        elif inbox.satisfies(step, now):
            inbox.use(step)
        else:
            break
    return sent


@settings(deadline=None)
@given(RECORDS, st.booleans())
def test_every_server_frame_is_sent_once_and_in_order(records: list[Record], ignore: bool) -> None:
    sent = [step.frame for step in play(*records, ignore_client=ignore) if isinstance(step, Send)]
    assert sent == [record.frame for record in records if record.source == "server"]


@settings(deadline=None)
@given(RECORDS)
def test_times_never_go_back(records: list[Record]) -> None:
    last = 0.0
    for step in play(*records):
        assert step.at >= last
        last = 0.0 if isinstance(step, Wait) else step.at


@settings(deadline=None)
@given(RECORDS, st.sampled_from([0.0, 10 * PAUSE]))
def test_a_client_that_sends_what_was_recorded_gets_it_all(
    records: list[Record], later: float
) -> None:
    inbox = Inbox()
    for record in records:
        if record.source == "client" and record.frame != b"nonsense":
            inbox.take(read_client_event(bytes(record.frame)), 0.0)
    wanted = [record.frame for record in records if record.source == "server"]
    assert follow(records, inbox, later) == wanted


@settings(deadline=None)
@given(RECORDS, st.lists(CLIENT_FRAMES, max_size=20))
def test_whatever_a_client_sends_it_gets_the_beginning(
    records: list[Record], frames: list[bytes]
) -> None:
    inbox = Inbox()
    for data in frames:
        if data != b"nonsense":
            inbox.take(read_client_event(data), 0.0)
    sent = follow(records, inbox, 10 * PAUSE)
    assert sent == [record.frame for record in records if record.source == "server"][: len(sent)]


def test_steps_are_made_as_the_file_is_read() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            buffer[: len(OTHER) + 1] = OTHER + b"\n"
            return len(OTHER) + 1

    script = steps(Recording(Endless()).views())  # type: ignore[arg-type]
    assert [next(script) for _ in range(1_000)] == [Send(OTHER, 0)] * 1_000


def test_real_recordings_are_sent_as_they_are(real_recordings: list[Path]) -> None:
    for path in real_recordings:
        sent = [step.frame for step in steps(Recording(path).views()) if isinstance(step, Send)]
        lines = [line.strip() for line in path.read_bytes().splitlines()]
        assert [json.loads(data) for data in sent] == [json.loads(line) for line in lines if line]
        assert sent == [line for line in lines if line]


def test_one_wrong_time_does_not_hold_a_session_for_years() -> None:
    first = 1784858052.0
    records = (
        server(OTHER, first),
        server(OTHER, 0.0),
        server(OTHER, first + 0.1),
        server(OTHER, first + 0.3),
    )
    assert times(*records) == pytest.approx([0, 0, 0, 0.2])


def test_what_a_client_sent_before_the_greeting_is_waited_for_after_it() -> None:
    records = [
        client(frame("session.update", session={})),
        server(session()),
        server(frame("session.updated", session={})),
    ]
    kinds = [type(step).__name__ for step in steps(records)]
    assert kinds == ["Send", "Wait", "Send"]


def test_half_a_character_is_no_reason_to_refuse_an_event() -> None:
    half = b'{"type":"response.create","event_id":"\\ud83d"}'
    assert read_client_event(half).type == "response.create"
    assert waits(client(half), server(OTHER)) == [({"response.create": 1}, 0)]
