"""What counts as having come from a client. Time is given, so there is none to wait for."""

from collections import Counter

from deltaring.inbox import PAUSE, SILENCE, Inbox
from deltaring.script import Wait, read_client_event
from tests.test_script import APPEND, append
from tests.wire import frame

COMMIT = frame("input_audio_buffer.commit")


def wait(*events: str, audio: int = 0, spent: int = 0) -> Wait:
    return Wait(Counter(events), audio, spent, 0.0)


def inbox(*frames: bytes, now: float = 0.0) -> Inbox:
    made = Inbox()
    send(made, *frames, now=now)
    return made


def send(to: Inbox, *frames: bytes, now: float) -> None:
    for data in frames:
        to.take(read_client_event(data), now)


def end_turn(of: Inbox, count: int) -> None:
    of.use(wait(audio=count, spent=count))


def test_an_event_of_the_type_is_enough() -> None:
    assert inbox(frame("response.create")).satisfies(wait("response.create"), 0)


def test_an_event_of_another_type_is_not() -> None:
    assert not inbox(frame("session.update")).satisfies(wait("response.create"), 0)


def test_all_of_several_must_have_come() -> None:
    both = wait("a", "b")
    made = inbox(frame("b"))
    assert not made.satisfies(both, 0)
    send(made, frame("a"), now=0)
    assert made.satisfies(both, 0)


def test_an_event_counts_once() -> None:
    made = inbox(frame("a"), frame("a"), frame("a"))
    made.use(wait("a", "a"))
    assert made.satisfies(wait("a"), 0)
    made.use(wait("a"))
    assert not made.satisfies(wait("a"), 0)


def test_appended_audio_is_no_event_to_count() -> None:
    assert not inbox(append(9)).satisfies(wait(APPEND), 0)


def test_audio_counts_in_bytes_however_it_is_cut() -> None:
    made = inbox(*[append(7)] * 14)
    assert not made.satisfies(wait(audio=100), 0)
    send(made, append(2), now=0)
    assert made.satisfies(wait(audio=100), 0)


def test_audio_is_not_used_up_before_its_turn_ends() -> None:
    made = inbox(append(100))
    made.use(wait(audio=60))
    assert made.satisfies(wait(audio=100), 0)


def test_less_audio_will_do_after_a_pause() -> None:
    made = inbox(append(10), now=5)
    assert not made.satisfies(wait(audio=100), 5 + PAUSE / 2)
    assert made.satisfies(wait(audio=100), 5 + PAUSE)


def test_less_audio_will_do_after_a_commit() -> None:
    assert inbox(append(10), COMMIT).satisfies(wait(audio=100), 0)


def test_a_pause_before_any_audio_is_not_enough() -> None:
    assert not inbox().satisfies(wait(audio=100), 1e6)


def test_a_pause_in_the_last_turn_is_not_enough() -> None:
    made = inbox(append(10))
    end_turn(made, 100)
    assert not made.satisfies(wait(audio=100), 1e6)


def test_audio_that_came_early_counts_for_the_next_turn() -> None:
    made = inbox(append(100), append(50))
    end_turn(made, 100)
    assert made.satisfies(wait(audio=50), 0)
    assert made.satisfies(wait(audio=50), 1e6)


def test_a_microphone_that_is_always_on_counts_on() -> None:
    made = inbox(append(100))
    end_turn(made, 100)
    send(made, append(50), now=PAUSE / 2)
    assert made.satisfies(wait(audio=50), PAUSE)


def test_the_rest_of_a_longer_turn_does_not_start_the_next() -> None:
    made = inbox(append(100))
    end_turn(made, 100)
    send(made, append(50), now=PAUSE / 2)
    assert not made.satisfies(wait(audio=50), 2 * PAUSE)
    send(made, append(10), now=3 * PAUSE)
    assert not made.satisfies(wait(audio=50), 3 * PAUSE)
    assert made.satisfies(wait(audio=50), 4 * PAUSE)


def test_a_flood_of_types_is_not_kept() -> None:
    made = inbox(*(frame(f"type {number}") for number in range(1_000)))
    assert len(made._events) == 256


def test_a_client_that_spoke_its_next_turn_without_a_pause_is_not_waited_for_in_vain() -> None:
    made = inbox(append(100))
    end_turn(made, 100)
    send(made, append(40), now=PAUSE / 2)
    assert not made.satisfies(wait(audio=50), 2 * PAUSE)
    assert made.satisfies(wait(audio=50), SILENCE + PAUSE)
