import json
import random
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltaring
from deltaring import AudioDelta, Decoder, Playback, PlaybackError, Truncation
from deltaring.playback import _MAX_LEFT, _MAX_STRETCHES, GAP, MAX_LATENCY, PATIENCE
from tests.seed import SEED
from tests.wire import audio_done, audio_frame, frame, response, session

RATE = 24_000


class Player:
    """A decoder and its playback, fed with samples whose values tell where they belong."""

    def __init__(self, rate: int = RATE, prebuffer_ms: float = 0, **options: int) -> None:
        self.decoder = Decoder(**options)  # type: ignore[arg-type]
        self.playback = Playback(self.decoder, rate, prebuffer_ms=prebuffer_ms)
        self.sent: dict[tuple[str, str], int] = {}

    def give(self, count: int, item: str = "a", response: str = "r") -> np.ndarray:
        """Send `count` samples of an item: 100 times its letter, and counted up."""
        start = self.sent.get((response, item), 0)
        self.sent[response, item] = start + count
        samples = values(item, start + count, start).astype(np.int16)
        raw = audio_frame(samples.tobytes(), response_id=response, item_id=item)
        event = self.decoder.decode(raw)
        assert isinstance(event, AudioDelta)
        return samples

    def end(self, item: str = "a", response: str = "r") -> None:
        self.decoder.decode(audio_done(response, item))

    def end_response(self, response_id: str = "r") -> None:
        self.decoder.decode(response("response.done", response_id))

    def pull(self, count: int) -> list[int]:
        out = np.full(count, -1, np.int16)
        self.got = self.playback.read_into(out)
        return out.tolist()


def values(item: str, stop: int, start: int = 0) -> np.ndarray:
    return (ord(item[0]) - 96) * 1_000 + np.arange(start, stop) % 1_000


def whole(item: str, count: int) -> list[int]:
    return values(item, count).tolist()


@pytest.fixture
def player() -> Player:
    return Player()


# --- what is pulled -------------------------------------------------------------------------------


def test_silence_stands_where_there_is_no_audio(player: Player) -> None:
    assert player.pull(4) == [0, 0, 0, 0]
    assert player.got == 0
    assert player.playback.underruns == 0


def test_audio_comes_out_as_it_went_in(player: Player) -> None:
    player.give(5)
    assert player.pull(3) + player.pull(2) == whole("a", 5)


def test_what_is_short_is_filled_with_silence(player: Player) -> None:
    player.give(3)
    assert player.pull(5) == [*whole("a", 3), 0, 0]
    assert player.got == 3


def test_a_strided_buffer_is_filled(player: Player) -> None:
    player.give(4)
    out = np.full((5, 2), -1, np.int16)
    assert player.playback.read_into(out[:, 1]) == 4
    assert out[:, 1].tolist() == [*whole("a", 4), 0]
    assert out[:, 0].tolist() == [-1] * 5


@pytest.mark.parametrize("out", [np.zeros(4, np.float32), np.zeros((2, 2), np.int16)])
def test_a_buffer_of_another_kind_is_refused(player: Player, out: np.ndarray) -> None:
    with pytest.raises(TypeError, match="out must be int16 in one dimension"):
        player.playback.read_into(out)


def test_tracks_follow_each_other_without_a_gap(player: Player) -> None:
    player.give(3, "a")
    player.end("a")
    player.give(3, "b")
    assert player.pull(5) == whole("a", 3) + whole("b", 2)


def test_tracks_play_in_the_order_in_which_they_opened(player: Player) -> None:
    player.give(2, "a")
    player.give(2, "b")
    player.give(2, "a")
    player.end("b")
    player.end("a")
    assert player.pull(6) == whole("a", 4) + whole("b", 2)


def test_audio_that_was_there_before_is_played() -> None:
    decoder = Decoder()
    decoder.decode(audio_frame(values("a", 4).astype(np.int16).tobytes()))
    out = np.empty(4, np.int16)
    assert Playback(decoder, RATE).read_into(out) == 4


def test_nothing_is_allocated_that_grows_with_the_buffer() -> None:
    import tracemalloc

    peaks = []
    for size in (1_000, 100_000):
        player, out = Player(), np.empty(size, np.int16)
        player.give(2 * size)
        player.playback.read_into(out[:10])
        tracemalloc.start()
        player.playback.read_into(out)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] <= peaks[0] + 100


# --- underruns, the prebuffer, waiting ------------------------------------------------------------


def test_an_underrun_is_counted_once_with_all_its_silence(player: Player) -> None:
    player.give(3)
    player.pull(5)
    player.pull(5)
    player.give(5)
    player.pull(5)
    assert (player.playback.underruns, player.playback.underrun_samples) == (1, 7)


def test_silence_behind_a_finished_track_is_no_underrun(player: Player) -> None:
    player.give(3)
    player.end()
    player.pull(5)
    player.pull(5)
    assert (player.playback.underruns, player.playback.underrun_samples) == (0, 0)


def test_a_track_starts_when_the_prebuffer_is_there() -> None:
    player = Player(prebuffer_ms=1)  # 24 samples
    player.give(23)
    assert player.pull(4) == [0] * 4
    player.give(1)
    assert player.pull(4) == whole("a", 4)
    assert player.playback.underruns == 0


def test_a_short_track_that_is_done_does_not_wait_for_the_prebuffer() -> None:
    player = Player(prebuffer_ms=1)
    player.give(3)
    player.end()
    assert player.pull(3) == whole("a", 3)


def test_after_an_underrun_the_prebuffer_is_filled_again() -> None:
    player = Player(prebuffer_ms=1)
    player.give(24)
    player.pull(30)
    player.give(23)
    assert player.pull(4) == [0] * 4
    player.give(1)
    assert player.pull(2) == whole("a", 26)[24:]


def test_a_track_that_never_ends_is_left_when_another_waits(player: Player) -> None:
    player.give(2, "a")
    player.pull(2)
    player.give(2, "b")
    silence = round(PATIENCE * RATE)
    assert player.pull(silence) == [0] * silence
    assert player.pull(2) == whole("b", 2)


def test_a_track_that_never_ends_is_waited_for_while_no_other_has_audio(player: Player) -> None:
    player.give(2, "a")
    player.pull(3 * round(PATIENCE * RATE))
    player.give(2, "a")
    assert player.pull(2) == whole("a", 4)[2:]


def test_what_comes_after_a_track_was_left_is_late(player: Player) -> None:
    player.give(2)
    player.end()
    player.pull(4)
    player.give(3)  # a late delta brings the track back
    assert player.pull(4) == [0] * 4
    assert player.playback.late_samples == 3


def test_late_audio_holds_no_memory() -> None:
    player = Player(max_tracks=2)
    for number in range(50):
        item = f"a{number}"
        player.give(2, item)
        player.end(item)
        player.pull(4)
        player.give(2, item)
        player.pull(4)
    assert player.playback.late_samples == 100
    assert player.decoder.stats.dropped_samples == 0


def test_a_track_that_overran_is_left_when_it_was_played() -> None:
    player = Player(seconds=10 / RATE)  # type: ignore[arg-type]
    player.give(12, "a")
    player.give(3, "b")
    assert player.pull(14) == whole("a", 10) + whole("b", 3) + [0]


# --- what cannot be played ------------------------------------------------------------------------


def test_a_track_of_another_rate_is_refused_once() -> None:
    player = Player(rate=48_000)
    player.give(2)
    player.give(2)
    out = np.full(3, -1, np.int16)
    with pytest.raises(PlaybackError, match="audio at 24000 Hz cannot be played at 48000 Hz"):
        player.playback.read_into(out)
    assert out.tolist() == [0, 0, 0]
    assert player.pull(2) == [0, 0]


def test_an_unknown_format_is_refused_by_name(player: Player) -> None:
    player.decoder.decode(session(output_audio_format="opus"))
    player.give(2)
    with pytest.raises(PlaybackError, match="'opus'"):
        player.pull(2)


def test_kept_g711_is_refused() -> None:
    player = Player(rate=8_000, keep_g711=True)
    player.decoder.decode(session(output_audio_format="g711_ulaw"))
    player.give(2)
    with pytest.raises(PlaybackError, match="g711_ulaw"):
        player.pull(2)


def test_a_refused_track_waits_for_its_turn() -> None:
    player = Player()
    player.give(3, "a")
    player.end("a")
    player.decoder.decode(session(output_audio_format="opus"))
    player.give(3, "b")
    assert player.pull(5) == [*whole("a", 3), 0, 0]
    with pytest.raises(PlaybackError):
        player.pull(2)


def test_the_tracks_after_a_refused_one_are_played(player: Player) -> None:
    player.decoder.decode(session(output_audio_format="opus"))
    player.give(2, "a")
    player.decoder.decode(session("session.updated", output_audio_format="pcm16"))
    player.give(2, "b")
    with pytest.raises(PlaybackError):
        player.pull(2)
    assert player.pull(2) == whole("b", 2)
    assert player.playback.late_samples == 0 or player.decoder.stats.dropped_samples == 0


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_must_be_positive(rate: int) -> None:
    with pytest.raises(ValueError, match="sample_rate is out of range"):
        Playback(Decoder(), rate)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_prebuffer_must_be_a_time(value: float) -> None:
    with pytest.raises(ValueError, match="prebuffer_ms is out of range"):
        Playback(Decoder(), RATE, prebuffer_ms=value)


# --- interruption ---------------------------------------------------------------------------------


def test_nothing_that_plays_is_nothing_to_cut(player: Player) -> None:
    assert player.playback.interrupt() == []
    player.give(2)
    player.end()
    player.pull(2)
    assert player.playback.interrupt() == []


def test_an_interruption_says_what_was_heard(player: Player) -> None:
    player.give(1_000)
    player.pull(500)
    assert player.playback.interrupt() == [Truncation("a", 0, 500, 20)]
    assert player.pull(3) == [0, 0, 0]
    assert player.playback.cut_samples == 500


def test_latency_is_taken_back(player: Player) -> None:
    player.give(1_000)
    player.pull(500)
    assert player.playback.interrupt(100 / RATE) == [Truncation("a", 0, 400, 16)]


def test_latency_is_taken_back_across_a_track_border(player: Player) -> None:
    player.give(100, "a")
    player.end("a")
    player.give(1_000, "b")
    player.pull(150)
    assert player.playback.interrupt(80 / RATE) == [
        Truncation("a", 0, 70, 2),
        Truncation("b", 0, 0, 0),
    ]


def test_the_silence_of_an_underrun_is_part_of_the_latency(player: Player) -> None:
    player.give(100)
    player.pull(130)
    player.give(100)
    player.pull(20)
    assert player.playback.interrupt(60 / RATE) == [Truncation("a", 0, 90, 3)]


def test_more_latency_than_was_put_out_leaves_nothing_heard(player: Player) -> None:
    player.give(1_000)
    player.pull(50)
    assert player.playback.interrupt(3) == [Truncation("a", 0, 0, 0)]


def test_a_latency_beyond_all_bounds_is_no_error(player: Player) -> None:
    player.give(100)
    player.pull(50)
    assert player.playback.interrupt(1e308) == [Truncation("a", 0, 0, 0)]


def test_an_item_that_was_heard_whole_is_not_truncated(player: Player) -> None:
    player.give(100, "a")
    player.end("a")
    player.give(100, "b")
    player.pull(150)
    assert player.playback.interrupt(50 / RATE) == [Truncation("b", 0, 0, 0)]


def test_an_item_whose_end_is_not_known_is_truncated_where_it_stands(player: Player) -> None:
    player.give(100)
    player.pull(100)
    assert player.playback.interrupt() == [Truncation("a", 0, 100, 4)]


def test_items_that_were_not_begun_are_truncated_at_nothing(player: Player) -> None:
    player.give(10, "a")
    player.give(10, "b")
    player.pull(5)
    assert player.playback.interrupt() == [Truncation("a", 0, 5, 0), Truncation("b", 0, 0, 0)]


def test_a_second_interruption_has_nothing_to_cut(player: Player) -> None:
    player.give(100)
    player.pull(50)
    player.playback.interrupt()
    assert player.playback.interrupt(1) == []


def test_deltas_of_a_cut_response_are_late(player: Player) -> None:
    player.give(100, "a")
    player.pull(50)
    player.playback.interrupt()
    player.give(7, "a")
    player.give(5, "b")  # a later item of the same response
    assert player.pull(20) == [0] * 20
    assert player.playback.late_samples == 12


def test_a_later_item_of_a_cut_response_that_was_between_items_is_late(player: Player) -> None:
    player.give(10, "a")
    player.end("a")
    player.pull(10)
    player.playback.interrupt()
    player.give(10, "b")
    assert player.pull(10) == [0] * 10


def test_the_next_response_is_heard(player: Player) -> None:
    player.give(100, "a", "r1")
    player.pull(50)
    player.playback.interrupt()
    player.give(3, "b", "r2")
    player.give(9, "a", "r1")
    assert player.pull(4) == [*whole("b", 3), 0]


def test_cut_audio_holds_no_memory() -> None:
    player = Player(max_tracks=2)
    for number in range(50):
        player.give(100, "a", f"r{number}")
        player.pull(10)
        player.playback.interrupt()
        player.give(100, "a", f"r{number}")
        player.end_response(f"r{number}")
        player.pull(10)
    assert player.decoder.stats.dropped_samples == 0
    assert len(player.playback._left) <= 2


def test_memory_of_what_was_cut_is_bounded() -> None:
    player = Player()
    for number in range(3_000):
        player.give(2, "a", f"r{number}")
        player.playback.interrupt()
        player.end_response(f"r{number}")
        player.pull(1)
    assert len(player.playback._cut) <= 1_024
    assert len(player.playback._left) <= 16


def test_the_log_is_bounded(player: Player) -> None:
    for _ in range(30):
        player.pull(RATE)
        player.give(RATE)
        player.pull(RATE)
    assert sum(stretch.count for stretch in player.playback._log) <= (MAX_LATENCY + 1) * RATE
    for _ in range(10_000):
        player.give(1)
        player.pull(2)
    assert len(player.playback._log) <= _MAX_STRETCHES


@pytest.mark.parametrize("latency", [-0.1, float("nan"), float("inf")])
def test_a_latency_must_be_a_time(player: Player, latency: float) -> None:
    with pytest.raises(ValueError, match="latency is out of range"):
        player.playback.interrupt(latency)


def test_a_truncation_is_a_client_event() -> None:
    assert json.loads(Truncation("item_1", 2, 48, 2).to_frame()) == {
        "type": "conversation.item.truncate",
        "item_id": "item_1",
        "content_index": 2,
        "audio_end_ms": 2,
    }


def test_while_an_interruption_is_at_work_the_callback_gets_silence(player: Player) -> None:
    player.give(10)
    with player.playback._lock:
        assert player.pull(4) == [0] * 4
    assert player.playback.blocked_samples == 4
    assert player.pull(4) == whole("a", 4)


# --- servers without ids --------------------------------------------------------------------------


def test_without_ids_the_next_reply_is_heard(player: Player) -> None:
    player.give(100, "a", "")
    player.pull(10)
    player.playback.interrupt()
    player.give(10, "a", "")
    assert player.pull(10) == [0] * 10
    player.decoder.decode(frame("response.created", response={}))
    player.sent.clear()
    player.give(10, "a", "")
    assert player.pull(10) == whole("a", 10)


def test_without_ids_and_endings_a_pause_ends_the_cut(player: Player) -> None:
    player.give(100, "a", "")
    player.pull(10)
    player.playback.interrupt()
    player.give(10, "a", "")
    player.pull(10)
    player.pull(round(GAP * RATE))
    player.sent.clear()
    player.give(10, "a", "")
    assert player.pull(12) == [*whole("a", 10), 0, 0]
    assert player.playback.late_samples == 10


def test_a_response_id_that_comes_again_after_a_reconnect_is_another_response(
    player: Player,
) -> None:
    player.decoder.decode(session())
    player.give(100)
    player.pull(10)
    player.playback.interrupt()
    player.decoder.decode(session())
    player.sent.clear()
    player.give(10)
    assert player.pull(10) == whole("a", 10)


def test_one_id_for_all_responses_does_not_silence_the_next(player: Player) -> None:
    player.give(100, "a")
    player.pull(10)
    player.playback.interrupt()
    player.end_response()
    player.decoder.decode(response("response.created", "r"))
    player.give(10, "b")
    assert player.pull(10) == whole("b", 10)


def test_what_comes_again_after_a_pause_is_heard_from_there(player: Player) -> None:
    player.give(100, "a", "")
    player.pull(10)
    player.playback.interrupt()
    player.pull(round(GAP * RATE))
    player.give(30, "a", "")
    player.pull(10)
    (truncation,) = player.playback.interrupt()
    assert truncation.heard == 110


# --- what must not go wrong -----------------------------------------------------------------------


def test_audio_that_waits_for_a_prebuffer_is_played_before_a_track_is_given_up() -> None:
    player = Player(prebuffer_ms=200)
    player.give(2_400, "a")
    player.give(24_000, "b", "s")
    player.pull(round(PATIENCE * RATE))
    assert player.pull(2_400) == whole("a", 2_400)
    assert player.playback.late_samples == 0


_WRITTEN = deltaring.AudioRing.written  # type: ignore[misc]


class WatchedRing(deltaring.AudioRing):
    """A ring that its producer goes on with whenever somebody looks how far it is."""

    def __init__(self) -> None:
        self.meanwhile: list[Callable[[], object]] = []
        super().__init__(10_000)

    @property
    def written(self) -> int:  # type: ignore[override]
        before = _WRITTEN.__get__(self)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return before

    @written.setter
    def written(self, value: int) -> None:
        _WRITTEN.__set__(self, value)


def ending_after(looks: int, player: Player) -> WatchedRing:
    """Have 100 samples played; after some looks, the decoder writes the last 500 and ends."""
    player.give(100)
    player.pull(100)
    (track,) = player.decoder.tracks.values()
    track.ring = ring = WatchedRing()
    ring.write(np.zeros(100, np.int16))
    ring.read(100)

    def end() -> None:
        ring.write(np.zeros(500, np.int16))
        track._close()

    ring.meanwhile = [lambda: None] * looks + [end]
    return ring


def test_a_delta_between_two_looks_does_not_hide_an_item(player: Player) -> None:
    """The decoder may write the last samples, and then end the track, while `interrupt` looks."""
    ending_after(0, player)
    assert [truncation.heard for truncation in player.playback.interrupt()] == [100]


def test_a_callback_amid_an_interruption_gets_silence(player: Player) -> None:
    ring = ending_after(0, player)
    ring.meanwhile.append(lambda: player.pull(50))
    player.playback.interrupt()
    assert (player.got, player.playback.blocked_samples) == (0, 50)


@pytest.mark.parametrize("looks", range(6))
def test_a_delta_between_two_looks_is_heard(looks: int, player: Player) -> None:
    """The same while the callback looks."""
    ending_after(looks, player)
    heard = 0
    for _ in range(20):
        player.pull(50)
        heard += player.got
    assert (heard, player.playback.late_samples) == (500, 0)


def test_empty_tracks_do_not_pile_up(player: Player) -> None:
    player.give(10, "a")
    player.pull(20)
    for number in range(5_000):
        player.give(0, f"b{number}")
        player.end(f"b{number}")
        if number % 100 == 0:
            player.pull(1)
    assert len(player.playback._queue) < 200
    assert len(player.playback._queue) == len(player.playback._queued)


def test_tracks_that_end_without_a_sample_do_not_pile_up_behind_one_that_is_waited_for(
    player: Player,
) -> None:
    player.give(10, "a")
    player.pull(10)
    for number in range(1_000):
        player.give(0, f"b{number}")
        player.pull(1)
        player.end(f"b{number}")
    assert len(player.playback._queue) < 200
    player.give(5, "a")
    player.end("a")
    player.give(5, "c")
    assert player.pull(10) == [*values("a", 15, 10), *values("c", 5)]


def test_what_comes_late_for_a_track_that_had_nothing_is_heard(player: Player) -> None:
    player.give(0, "a")
    player.pull(1)
    player.end("a")
    player.pull(1)
    player.give(5, "a")
    assert player.pull(5) == whole("a", 5)
    assert player.playback.late_samples == 0


def test_tracks_that_were_left_are_not_remembered_for_ever(player: Player) -> None:
    for number in range(_MAX_LEFT + 300):
        player.give(1, "a", f"r{number}")
        player.end("a", f"r{number}")
        player.pull(1)
    assert len(player.playback._gone) <= _MAX_LEFT


def test_a_track_that_got_memory_late_is_played() -> None:
    player = Player(max_tracks=1)
    player.give(10, "a", "r1")
    player.give(0, "b", "r2")  # no memory, and nothing refused
    player.end("a", "r1")
    player.pull(10)
    player.give(10, "c", "r3")
    player.end("c", "r3")
    player.pull(10)
    player.give(10, "b", "r2")
    assert player.pull(10) == whole("b", 10)


def test_interruptions_without_callbacks_leave_no_memory_held() -> None:
    player = Player(max_tracks=4)
    for number in range(10):
        player.give(100, "a", f"r{number}")
        player.playback.interrupt()
        player.give(100, "a", f"r{number}")
        player.end_response(f"r{number}")
    player.give(10, "b", "last")
    assert player.pull(10) == whole("b", 10)


def test_a_long_silence_within_a_response_does_not_save_it(player: Player) -> None:
    player.give(10, "a")
    player.end("a")
    player.pull(10)
    player.pull(round((MAX_LATENCY + 2) * RATE))
    player.playback.interrupt()
    player.give(10, "b")
    assert player.pull(10) == [0] * 10


# --- against a model --------------------------------------------------------------------------------

Step = tuple[str, int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("give", "give", "pull", "pull", "end", "interrupt")),
            st.integers(0, 4),
            st.integers(0, 300),
        ),
        max_size=60,
    )
)
def test_what_is_heard_is_what_a_list_of_samples_says(steps: list[Step]) -> None:
    """Items of one response each, given in any order; a plain list is the loudspeaker."""
    player = Player()
    queue: dict[int, int] = {}  # items that may be heard, in order: samples pulled
    given_: dict[int, int] = {}
    total: dict[int, int] = {}  # with what came late
    over: set[int] = set()  # cut, or ended and all pulled
    ended: set[int] = set()
    line: list[int | None] = []  # what was put out: the item of each sample, or None
    for action, item, count in steps:
        name = "abcde"[item]
        if action == "give":
            player.give(count, name, f"r{name}")
            total[item] = total.get(item, 0) + count
            given_[item] = given_.get(item, 0) + (0 if item in over else count)
            if item not in over:
                queue.setdefault(item, 0)
        elif action == "end":
            player.end(name, f"r{name}")
            ended |= {item} & given_.keys()
        elif action == "pull":
            expected: list[int] = []
            while queue and len(expected) < count:
                first = next(iter(queue))
                size = min(count - len(expected), given_[first] - queue[first])
                expected += whole("abcde"[first], queue[first] + size)[queue[first] :]
                line += [first] * size
                queue[first] += size
                if queue[first] < given_[first] or first not in ended:
                    break
                del queue[first]
                over |= {first} if given_[first] else set()
            line += [None] * (count - len(expected))
            assert player.pull(count) == expected + [0] * (count - len(expected))
        else:
            for lost in [line.pop() for _ in range(min(count, len(line)))]:
                if lost is not None:
                    queue[lost] = queue.get(lost, given_[lost]) - 1
            heard = {i: line.count(i) for i in given_}
            cut = [i for i in [*dict.fromkeys(line), *queue] if i in queue or heard.get(i, 0)]
            found = player.playback.interrupt(count / RATE)
            assert all(t.heard == heard["abcde".index(t.item_id)] for t in found)
            assert {"abcde".index(t.item_id) for t in found} == {
                i for i in {*queue, *line} - {None} if heard[i] < total[i] or i not in ended
            }
            over |= set(queue) | {i for i in cut if line[-1:] == [i]}
            queue.clear()
            line.clear()


# --- an audio thread --------------------------------------------------------------------------------


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Loudspeaker:
    """An audio thread that pulls without pause, and keeps how many samples of each reply it got."""

    def __init__(self, playback: Playback) -> None:
        self.playback = playback
        self.pulled: dict[int, int] = {}
        self.callbacks = 0
        self.fault = ""
        self._running = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        out = np.empty(64, np.int16)
        while self._running:
            count = self.playback.read_into(out)
            if count:
                reply = int(out[0])
                if (out[:count] != reply).any():
                    self.fault = f"two replies in one callback: {out.tolist()}"
                self.pulled[reply] = self.pulled.get(reply, 0) + count
            self.callbacks += 1
            time.sleep(0)

    def settle(self) -> None:
        """Wait until the callback that may be running now is over and counted."""
        seen = self.callbacks
        while self.callbacks < seen + 2:
            time.sleep(0)

    def stop(self) -> None:
        self._running = False
        self._thread.join()


def reply(number: int, count: int) -> bytes:
    samples = np.full(count, number, np.int16).tobytes()
    return audio_frame(samples, response_id=f"r{number}", item_id=f"i{number}")


def test_tracks_that_are_gone_leave_no_ids_behind(player: Player) -> None:
    """Ids may be as long as a frame; it remembers of 4,096 tracks that they were left."""
    tracemalloc.start()
    for number in range(150):
        player.give(1, response=f"{number:0100000}")
        player.end(response=f"{number:0100000}")
        player.pull(RATE)
    player.sent.clear()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 3_000_000  # 2^20 characters of the decoder's, and what was put out for 10 s


@pytest.mark.usefixtures("quick_switches")
def test_a_thousand_interruptions_at_random_instants() -> None:
    """`heard` is what was pulled less the latency; nothing of a cut response comes afterwards."""
    decoder = Decoder()
    playback = Playback(decoder, RATE)
    speaker = Loudspeaker(playback)
    chance = random.Random(5 + SEED)
    exact = 0
    try:
        for number in range(1, 1_001):
            latency = chance.choice((0, 10, 150, 5_000))
            dropped = playback.cut_samples
            # With latency, the speaker must not run dry: its silence would be part of it.
            for _ in range(1 if latency else chance.randrange(1, 12)):
                decoder.decode(reply(number, 60_000 if latency else 200))
                for _ in range(chance.randrange(30)):
                    time.sleep(0)
            found = playback.interrupt(latency / RATE)
            starved = playback.cut_samples == dropped
            decoder.decode(reply(number, 200))  # late
            speaker.settle()
            pulled = speaker.pulled.get(number, 0)
            assert [truncation.item_id for truncation in found] == [f"i{number}"]
            if not (latency and starved):
                assert found[0].heard == max(0, pulled - latency)
                assert found[0].audio_end_ms == found[0].heard * 1_000 // RATE
                exact += 1
            decoder.decode(response("response.done", f"r{number}"))
        assert exact > 900
        assert not speaker.fault
    finally:
        speaker.stop()
    assert playback.late_samples == 200_000
