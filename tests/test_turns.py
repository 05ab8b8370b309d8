import numpy as np
import pytest

import deltaring
from deltaring.turns import AUDIBLE, Turn
from tests.wire import audio_frame, frame, response, session


class Talk:
    """A session, told what happened and when."""

    def __init__(self, **options: object) -> None:
        self.session = deltaring.Session(deltaring.Decoder(**options))  # type: ignore[arg-type]

    def hear(self, raw: bytes, at: float | None) -> None:
        self.session.receive(raw, at)

    def started(self, at: float | None, item_id: str = "u") -> None:
        self.hear(frame("input_audio_buffer.speech_started", item_id=item_id), at)

    def stopped(self, at: float | None, item_id: str = "u") -> None:
        self.hear(frame("input_audio_buffer.speech_stopped", item_id=item_id), at)

    def committed(self, at: float | None) -> None:
        self.hear(frame("input_audio_buffer.committed", item_id="u"), at)

    def created(self, at: float | None, response_id: str = "r") -> None:
        self.hear(response("response.created", response_id), at)

    def done(self, at: float | None, response_id: str = "r", calls: bool = False) -> None:
        output = [{"id": "c", "type": "function_call", "name": "f"}] * calls
        self.hear(response("response.done", response_id, output=output, status="completed"), at)

    def audio(self, at: float | None, samples: object = (5_000,), response_id: str = "r") -> None:
        data = np.array(samples, np.int16).tobytes()
        self.hear(audio_frame(data, response_id=response_id, item_id=f"i{response_id}"), at)

    @property
    def turns(self) -> list[Turn]:
        return list(self.session.latencies.turns)


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_a_turn_has_all_its_times(talk: Talk) -> None:
    talk.started(1)
    talk.stopped(2)
    talk.committed(2.1)
    talk.created(2.2)
    talk.audio(3)
    talk.done(4)
    (turn,) = talk.turns
    assert turn == Turn(
        item_id="u", speech_started=1, speech_stopped=2, committed=2.1, response_id="r",
        responses=1, response_created=2.2, first_audio=3, audible=3, response_done=4, quiet=False,
    )  # fmt: skip
    assert (turn.to_first_audio, turn.to_audible) == (1, 1)


def test_the_end_of_a_response_that_no_turn_knows_ends_none(talk: Talk) -> None:
    talk.created(1)
    talk.audio(2)
    talk.done(3, "another")
    assert talk.turns[0].response_done is None
    talk.done(4)
    assert talk.turns[0].response_done == 4


def test_without_voice_detection_the_commit_is_what_counts(talk: Talk) -> None:
    talk.committed(2)
    talk.created(2.5)
    talk.audio(3)
    assert talk.turns[0].to_first_audio == 1


def test_an_unasked_response_counts_from_its_creation(talk: Talk) -> None:
    talk.created(2)
    talk.audio(2.25)
    assert talk.turns[0].to_first_audio == 0.25


def test_silence_at_the_start_is_not_audible(talk: Talk) -> None:
    talk.stopped(0)
    talk.created(1)
    talk.audio(2, [0] * 12_000 + [AUDIBLE - 1] * 12_000)
    talk.audio(2.5, [AUDIBLE - 1, 1 - AUDIBLE] * 1_200 + [-AUDIBLE])
    (turn,) = talk.turns
    assert turn.first_audio == 2
    assert turn.audible == 2 + 26_400 / 24_000


def test_what_comes_late_is_audible_when_it_comes(talk: Talk) -> None:
    talk.created(0)
    talk.audio(1, [0] * 240)
    talk.audio(5, [0] * 240 + [9_000])
    assert talk.turns[0].audible == 5


def test_audible_samples_are_found_across_the_wrap_of_a_ring() -> None:
    talk = Talk(seconds=1_000 / 24_000)
    talk.created(0)
    for at in (1, 2, 3):
        talk.audio(at, [0] * 300)
        track = next(iter(talk.session.decoder.tracks.values()))
        track.ring.read(100)
    talk.audio(4, [0] * 290 + [9_000])
    assert talk.turns[0].audible == 4
    assert not talk.turns[0].quiet


def test_samples_that_were_pulled_at_once_are_listened_to_all_the_same(talk: Talk) -> None:
    talk.created(0)
    raw = audio_frame(np.array([0, 0, 9_000], np.int16).tobytes(), response_id="r")
    event = talk.session.decoder.decode(raw)
    assert isinstance(event, deltaring.AudioDelta)
    event.track.ring.clear()
    talk.session.apply(event, 1)
    assert talk.turns[0].audible == 1 + 2 / 24_000


def test_an_unknown_format_is_audio_that_is_never_audible(talk: Talk) -> None:
    talk.hear(session(output_audio_format="opus"), 0)
    talk.created(0)
    talk.audio(1)
    assert (talk.turns[0].first_audio, talk.turns[0].audible) == (1, None)


def test_a_response_that_only_calls_a_function_does_not_end_the_turn(talk: Talk) -> None:
    talk.stopped(1)
    talk.created(2, "r1")
    talk.done(3, "r1", calls=True)
    talk.created(4, "r2")
    talk.audio(5, response_id="r2")
    talk.done(6, "r2")
    (turn,) = talk.turns
    assert (turn.responses, turn.response_id, turn.response_created) == (2, "r2", 2)
    assert (turn.to_first_audio, turn.response_done) == (4, 6)


def test_a_response_after_one_with_audio_is_a_turn_of_its_own(talk: Talk) -> None:
    talk.created(1, "r1")
    talk.audio(2, response_id="r1")
    talk.done(3, "r1")
    talk.created(4, "r2")
    talk.audio(5, response_id="r2")
    assert [turn.to_first_audio for turn in talk.turns] == [1, 1]


def test_speech_during_an_answer_interrupts_it(talk: Talk) -> None:
    talk.created(1, "r1")
    talk.audio(2, response_id="r1")
    talk.started(3)
    talk.audio(3.5, response_id="r1")  # late
    talk.done(3.6, "r1")
    talk.stopped(4)
    talk.created(4.5, "r2")
    talk.audio(5, response_id="r2")
    first, second = talk.turns
    assert first.interrupted == 3
    assert (second.speech_started, second.interrupted) == (3, None)
    assert second.to_first_audio == 1


def test_speech_after_an_answer_does_not_interrupt_it(talk: Talk) -> None:
    talk.created(1)
    talk.audio(2)
    talk.done(3)
    talk.started(4)
    assert talk.turns[0].interrupted is None
    assert len(talk.turns) == 2


def test_a_pause_before_the_answer_does_not_end_the_turn(talk: Talk) -> None:
    talk.started(1)
    talk.stopped(2)
    talk.started(3)
    talk.stopped(4)
    (turn,) = talk.turns
    assert (turn.speech_started, turn.speech_stopped) == (1, 4)


def test_a_new_session_begins_a_new_turn(talk: Talk) -> None:
    talk.stopped(1)
    talk.hear(session(), 2)
    talk.created(3)
    assert len(talk.turns) == 2


def test_without_times_there_are_turns_without_times(talk: Talk) -> None:
    talk.started(None)
    talk.stopped(None)
    talk.created(None)
    talk.audio(None)
    (turn,) = talk.turns
    assert turn.to_first_audio is turn.to_audible is turn.audible is None


def test_without_ids_turns_are_told_apart(talk: Talk) -> None:
    for at in (0, 10):
        talk.stopped(at)
        talk.hear(frame("response.created", response={}), at + 1)
        talk.audio(at + 2, response_id="")
        talk.hear(frame("response.done", response={}), at + 3)
    assert [turn.to_first_audio for turn in talk.turns] == [2, 2]
    assert [turn.response_done for turn in talk.turns] == [3, 13]


def test_audio_that_nobody_announced_is_a_turn(talk: Talk) -> None:
    talk.audio(1)
    assert talk.turns[0].first_audio == 1


def test_a_delta_without_samples_is_no_first_audio(talk: Talk) -> None:
    talk.created(1)
    talk.audio(2, [])
    talk.audio(3)
    assert talk.turns[0].first_audio == 3


def test_turns_are_bounded(talk: Talk) -> None:
    for number in range(3_000):
        talk.created(number, f"r{number}")
        talk.audio(number, response_id=f"r{number}")
        talk.done(number, f"r{number}")
    assert len(talk.turns) == 1_024
    assert talk.session.forgotten["turns"] == 3_000 - 1_024


def test_an_answer_in_writing_ends_the_turn(talk: Talk) -> None:
    talk.created(1, "r1")
    talk.done(2, "r1")
    talk.created(3_600, "r2")
    talk.audio(3_600.5, response_id="r2")
    assert [turn.to_first_audio for turn in talk.turns] == [None, 0.5]


def test_one_track_for_all_turns_is_listened_to_from_where_the_turn_begins(talk: Talk) -> None:
    for at in (0, 100):
        talk.started(at)
        talk.stopped(at + 1)
        talk.audio(at + 2, [0] * 240 + [9_000] * 24_000, response_id="")
    assert [turn.to_audible for turn in talk.turns] == pytest.approx([1.01, 1.01])


def test_without_ids_what_is_heard_while_the_user_speaks_is_of_the_answer_before(
    talk: Talk,
) -> None:
    talk.stopped(0)
    talk.audio(1, response_id="")
    talk.started(2)
    talk.audio(2.1, response_id="")  # in flight
    talk.stopped(3)
    talk.audio(4, response_id="")
    assert [turn.first_audio for turn in talk.turns] == [1, 4]
    assert talk.turns[1].speech_started == 2


def test_the_end_of_an_interrupted_response_is_its_own(talk: Talk) -> None:
    for response_id in ("r", ""):
        talk.created(1, response_id)
        talk.audio(2, response_id=response_id)
        talk.started(3)
        talk.done(3.5, response_id)
        interrupted, new = talk.turns[-2:]
        assert (interrupted.response_done, new.response_done) == (3.5, None)


def test_the_first_audible_sample_may_be_in_a_later_track(talk: Talk) -> None:
    talk.created(0)
    talk.audio(1, [0] * 24_000)
    data = np.array([0] * 240 + [9_000], np.int16).tobytes()
    talk.hear(audio_frame(data, response_id="r", item_id="second"), 1.5)
    assert talk.turns[0].audible == 2.01


def test_late_audio_of_a_response_that_is_done_is_not_the_next_ones(talk: Talk) -> None:
    talk.created(0, "r1")
    talk.done(0.1, "r1", calls=True)
    talk.created(0.2, "r2")
    talk.audio(0.3, response_id="r1")
    talk.audio(0.9, response_id="r2")
    assert talk.turns[0].first_audio == 0.9


def test_one_response_id_for_all_turns(talk: Talk) -> None:
    for at in (0, 10):
        talk.created(at)
        talk.audio(at + 1)
        talk.done(at + 2)
    assert [turn.to_first_audio for turn in talk.turns] == [1, 1]


def test_a_response_that_was_cancelled_before_its_audio_answers_nothing(talk: Talk) -> None:
    talk.stopped(1)
    talk.created(1.1, "r1")
    talk.hear(response("response.done", "r1", status="cancelled"), 1.2)
    talk.created(1.3, "r2")
    talk.audio(2, response_id="r2")
    assert [turn.to_first_audio for turn in talk.turns] == [1]
