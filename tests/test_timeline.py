import math

import pytest

import deltaring
from deltaring.speech import SpokenItem
from deltaring.timeline import Timeline
from tests.wire import audio_frame, frame, pcm, session

SECOND = pcm(48_000)


class Played:
    """A timeline, and the decoder whose events it takes."""

    def __init__(self) -> None:
        self.decoder = deltaring.Decoder()
        self.timeline = Timeline()
        self.items: dict[int, SpokenItem] = {}

    def give(self, data: bytes, time: float | None) -> None:
        event = self.decoder.decode(data)
        if not isinstance(event, deltaring.AudioDelta):
            self.timeline.take(event, time)
            return
        track = event.track
        item = self.items.setdefault(
            track.serial, SpokenItem("", *track.key, track.format, track.sample_rate)
        )
        item.samples += event.stop - event.start
        self.timeline.audio(track, item, time)

    def speak(self, time: float | None, item: str = "a", response: str = "r") -> None:
        """A second of audio comes."""
        self.give(audio_frame(SECOND, item_id=item, response_id=response), time)

    def heard(self) -> list[tuple[str, float, float]]:
        return [(item.item_id, start, stop) for _, item, start, stop in self.timeline.heard()]


@pytest.fixture
def played() -> Played:
    return Played()


def started(item_id: str = "u") -> bytes:
    return frame("input_audio_buffer.speech_started", event_id="e", item_id=item_id)


def test_an_item_is_heard_from_its_first_delta_on_without_gaps(played: Played) -> None:
    for time in (10.0, 10.1, 15.0):
        played.speak(time)
    assert played.heard() == [("a", 10.0, 13.0)]


def test_an_item_waits_until_the_one_before_is_over(played: Played) -> None:
    played.speak(10.0, "a")
    played.speak(10.1, "b")
    played.speak(10.2, "a")
    played.speak(20.0, "c")
    assert played.heard() == [("a", 10.0, 12.0), ("b", 12.0, 13.0), ("c", 20.0, 21.0)]


def test_the_user_interrupts_what_is_heard_and_what_waits(played: Played) -> None:
    played.speak(10.0, "a")
    played.speak(10.1, "b", "other")
    played.give(started(), 10.5)
    played.speak(10.6, "a")
    played.speak(10.7, "late")
    played.speak(12.0, "c", "next")
    assert played.heard() == [
        ("a", 10.0, 10.5), ("b", 10.5, 10.5), ("late", 10.7, 10.7), ("c", 12.0, 13.0),
    ]  # fmt: skip


def test_what_waits_when_the_user_speaks_is_not_heard_at_all(played: Played) -> None:
    played.speak(10.0, "a")
    played.speak(10.1, "b", "other")
    played.give(started(), 10.5)
    played.give(frame("conversation.item.truncated", event_id="e", item_id="a", content_index=0, audio_end_ms=900), 10.6)  # fmt: skip
    assert played.heard() == [("a", 10.0, 10.9), ("b", 10.9, 10.9)]


def test_speech_after_the_end_interrupts_nothing(played: Played) -> None:
    played.speak(10.0)
    played.give(started(), 11.0)
    played.give(started(), 10.5)  # a clock that goes back: the first one counted
    assert played.heard() == [("a", 10.0, 11.0)]


@pytest.mark.parametrize(
    ("stated", "stop"), [(300, 10.3), (0, 10.0), (5_000, 11.0), (299.5, 10.2995)]
)
def test_what_the_client_says_was_heard_goes_before(
    stated: float, stop: float, played: Played
) -> None:
    played.speak(10.0)
    played.give(started(), 10.9)
    played.give(frame("conversation.item.truncated", event_id="e", item_id="a", content_index=0, audio_end_ms=stated), 10.9)  # fmt: skip
    assert played.heard() == [("a", 10.0, pytest.approx(stop))]


@pytest.mark.parametrize("stated", [-1, None, "100", True])
def test_an_end_that_is_none_is_passed_over(stated: object, played: Played) -> None:
    played.speak(10.0)
    played.give(frame("conversation.item.truncated", event_id="e", item_id="a", content_index=0, audio_end_ms=stated), 10.9)  # fmt: skip
    assert played.heard() == [("a", 10.0, 11.0)]


def test_audio_without_a_time_has_no_place_and_is_known(played: Played) -> None:
    played.speak(10.0, "a")
    assert not played.timeline.untimed
    played.speak(None, "b")
    assert played.heard() == [("a", 10.0, 11.0)]
    assert played.timeline.untimed


def test_appended_audio_without_a_time_is_known(played: Played) -> None:
    played.timeline.appended(1.0)
    assert not played.timeline.untimed
    played.timeline.appended(None)
    assert played.timeline.untimed


def test_audio_of_an_unknown_format_takes_no_time(played: Played) -> None:
    played.give(session(output_audio_format="opus"), 9.0)
    played.speak(10.0)
    assert played.heard() == [("a", 10.0, 10.0)]


def test_the_user_spoke_as_long_as_the_server_heard_it(played: Played) -> None:
    played.give(started(), 5.0)
    assert played.timeline.spoken == {"u": (5.0, 5.0)}
    played.give(frame("input_audio_buffer.speech_stopped", event_id="e", item_id="u"), 7.0)
    played.give(frame("input_audio_buffer.committed", event_id="e", item_id="u"), 7.1)
    assert played.timeline.spoken == {"u": (5.0, 7.0)}


def test_without_voice_detection_it_is_what_was_sent_before_the_commit(played: Played) -> None:
    committed = frame("input_audio_buffer.committed", event_id="e", item_id="u")
    played.timeline.appended(3.0)
    played.give(frame("input_audio_buffer.cleared", event_id="e"), 3.5)
    for time in (4.0, 5.0):
        played.timeline.appended(time)
    played.give(committed, 6.0)
    played.give(committed.replace(b'"u"', b'"v"'), 8.0)
    assert played.timeline.spoken == {"u": (4.0, 6.0), "v": (8.0, 8.0)}


def test_texts_have_the_time_at_which_they_were_final(played: Played) -> None:
    ids = dict(event_id="e", response_id="r", item_id="a", output_index=0, content_index=1)
    played.give(frame("response.output_text.done", **ids, text="x"), 4.0)
    assert played.timeline.texts == {("r", "a", 1): 4.0}


def test_what_is_kept_is_bounded(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaring.timeline._MAX_TIMED", 2)
    for name in ("u", "v", "w", "x" * 5_000):
        played.give(started(name), 1.0)
        text = dict(response_id="r", item_id=name, output_index=0, content_index=0, text="x")
        played.give(frame("response.text.done", **text), 2.0)
    assert list(played.timeline.spoken) == ["u", "v"]
    assert list(played.timeline.texts) == [("r", "u", 0), ("r", "v", 0)]


def test_a_run_is_taken_as_its_lines_would_be(played: Played) -> None:
    import numpy as np

    from deltaring.run import ROW

    lines = b"".join(
        b'{"time":%s,"source":"server","event":%s}\n' % (str(time).encode(), audio_frame(SECOND, item_id=item))
        for time, item in ((10.0, "a"), (10.2, "b"), (10.3, "a"))
    ) + audio_frame(SECOND, item_id="c") + b"\n"  # fmt: skip
    run = played.decoder.scan(bytearray(lines), np.empty(9, ROW), 0, len(lines))
    items = {t.serial: SpokenItem("", *t.key, t.format, 24_000, 24_000) for t in run.tracks}
    for _ in range(2):  # the next run of tracks that are known
        played.timeline.run(run, lambda track: items[track.serial])
    assert played.heard() == [("a", 10.0, 11.0), ("b", 11.0, 12.0)]
    assert played.timeline.untimed
    assert math.isnan(run.rows["time"][3])
