"""The figures of arrival times, against a player that is simulated millisecond by millisecond."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaring.arrivals import Arrivals, jitter, needed_buffer, stalls

NOW = 1_784_858_052.123456
DELTAS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 300)), min_size=1, max_size=12)
"""The gap before a delta and its length, in milliseconds."""
BUFFERS = st.integers(0, 500)


def arrays(times_ms: list[int], lengths_ms: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return NOW + np.array(times_ms) / 1e3, np.array(lengths_ms) / 1e3


def arrived(deltas: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    gaps, lengths = zip(*deltas, strict=True)
    return list(itertools.accumulate(gaps)), list(lengths)


def simulated(times: list[int], lengths: list[int], buffer: int) -> list[int]:
    """The milliseconds of each stall of a player that looks for audio once a millisecond."""
    now, played, silent, found = times[0] + buffer, 0, 0, []
    while played < sum(lengths):
        there = sum(
            length
            for count, length in enumerate(lengths, 1)
            if all(time <= now for time in times[:count])
        )
        if there > played:
            found += [silent] * bool(silent)
            played, silent = played + 1, 0
        else:
            silent += 1
        now += 1
    return found


def in_ms(lengths: np.ndarray) -> list[int]:
    return [round(length * 1e3) for length in lengths]


# --- the player -----------------------------------------------------------------------------------


@given(DELTAS, BUFFERS)
def test_stalls_are_those_of_a_simulated_player(deltas: list[tuple[int, int]], buffer: int) -> None:
    times, lengths = arrived(deltas)
    assert in_ms(stalls(*arrays(times, lengths), buffer / 1e3)) == simulated(times, lengths, buffer)


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300)), min_size=1, max_size=8))
def test_times_that_go_back_stall_as_the_simulated_player_does(
    deltas: list[tuple[int, int]],
) -> None:
    times, lengths = map(list, zip(*deltas, strict=True))
    assert in_ms(stalls(*arrays(times, lengths), 0.0)) == simulated(times, lengths, 0)


@given(DELTAS)
def test_the_needed_buffer_is_the_smallest_that_never_stalls(deltas: list[tuple[int, int]]) -> None:
    times, lengths = arrived(deltas)
    needed = needed_buffer(*arrays(times, lengths))
    assert needed == round(needed, 3) >= 0
    assert simulated(times, lengths, round(needed * 1e3)) == []
    if needed:
        assert simulated(times, lengths, round(needed * 1e3) - 1) == [1]


@given(DELTAS, BUFFERS)
def test_stalls_last_as_long_as_the_buffer_is_too_short(
    deltas: list[tuple[int, int]], buffer: int
) -> None:
    times, seconds = arrays(*arrived(deltas))
    missing = max(0.0, needed_buffer(times, seconds) - buffer / 1e3)
    assert stalls(times, seconds, buffer / 1e3).sum() == pytest.approx(missing, abs=1e-9)


def test_a_late_delta_needs_as_much_buffer_as_it_is_late() -> None:
    # The third should be there at 400 ms, and comes at 450.
    assert needed_buffer(*arrays([0, 100, 450], [200, 200, 200])) == 0.05


def test_two_gaps_are_two_stalls_and_the_second_is_counted_from_the_first() -> None:
    times, seconds = arrays([0, 250, 500], [200, 200, 200])
    assert stalls(times, seconds, 0.0).tolist() == [0.05, 0.05]
    assert stalls(times, seconds, 0.05).tolist() == [0.05]
    assert stalls(times, seconds, 0.06).tolist() == [0.04]
    assert stalls(times, seconds, 0.1).tolist() == []


@pytest.mark.parametrize("milliseconds", [20, 33, 100, 250])
def test_deltas_that_come_exactly_in_time_do_not_stall(milliseconds: int) -> None:
    times, lengths = [milliseconds * n for n in range(14_400)], [milliseconds] * 14_400
    assert len(stalls(*arrays(times, lengths), 0.0)) == 0
    assert needed_buffer(*arrays(times, lengths)) == 0


def test_a_single_delta_needs_no_buffer() -> None:
    assert needed_buffer(*arrays([7], [10_000])) == 0


# --- jitter ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", [0.1, 0.25, 1.0, 1.7])
def test_even_delivery_has_no_jitter_at_any_pace(pace: float) -> None:
    lengths = np.array([0.1, 0.15, 0.25, 0.25, 0.6, 0.05])
    times = NOW + pace * (np.cumsum(lengths) - lengths)
    assert jitter(times, lengths).tolist() == [0.0] * 5


def test_at_the_pace_of_playing_jitter_is_that_of_rfc_3550() -> None:
    times, seconds = arrays([0, 230, 480, 750], [250, 250, 250, 250])
    transits = times - (np.cumsum(seconds) - seconds)  # R - S
    assert jitter(times, seconds) == pytest.approx(np.abs(np.diff(transits)), abs=1e-6)
    assert in_ms(jitter(times, seconds)) == [20, 0, 20]


def test_a_gap_is_compared_with_the_length_of_the_delta_before_it() -> None:
    # The pace is 300 ms for 600 ms of audio.
    assert in_ms(jitter(*arrays([0, 100, 300], [400, 200, 999]))) == [100, 100]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_deltas_have_no_jitter(count: int) -> None:
    assert len(jitter(*arrays(list(range(count)), [10] * count))) == 0


# --- gathering ------------------------------------------------------------------------------------


def gathered(*parts: tuple[int, list[int], list[int]]) -> Arrivals:
    arrivals = Arrivals()
    for track, times, lengths in parts:
        arrivals.add(track, 1e3, NOW + np.array(times) / 1e3, lengths)
    return arrivals


@given(DELTAS, st.data())
def test_any_split_into_runs_gathers_the_same(
    deltas: list[tuple[int, int]], data: st.DataObject
) -> None:
    times, lengths = arrived(deltas)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(times)))))
    edges = itertools.pairwise([0, *cuts, len(times)])
    parts = gathered(*((1, times[start:stop], lengths[start:stop]) for start, stop in edges))
    whole = gathered((1, times, lengths))
    assert len(parts) == len(whole) == len(deltas)
    for some, all_ in zip(parts.played(), whole.played(), strict=True):
        assert some.tolist() == all_.tolist()


def test_tracks_are_played_one_after_the_other_as_they_opened() -> None:
    arrivals = gathered((3, [0], [100]), (4, [10, 20], [200, 201]), (3, [30], [101]))
    times, seconds = arrivals.played()
    assert in_ms(seconds) == [100, 101, 200, 201]
    assert in_ms(times - NOW) == [0, 30, 10, 20]
    assert in_ms(arrivals.seconds) == [100, 200, 201, 101]


def test_audio_is_the_sum_of_lengths() -> None:
    assert gathered((1, [0, 5], [250, 164]), (2, [9], [86])).audio == pytest.approx(0.5)


def test_nothing_is_known_without_deltas() -> None:
    assert not Arrivals().known


@pytest.mark.parametrize(("time", "rate"), [(np.nan, 1e3), (NOW, np.nan)])
def test_one_delta_without_time_or_length_leaves_all_unknown(time: float, rate: float) -> None:
    arrivals = gathered((1, [0], [100]))
    assert arrivals.known
    arrivals.add(2, rate, [time], [100])
    assert not arrivals.known


def test_deltas_of_one_track_take_16_bytes_each() -> None:
    import tracemalloc

    time, length = np.array([NOW]), np.array([2_400])
    arrivals = Arrivals()
    tracemalloc.start()
    try:
        for _ in range(10_000):
            arrivals.add(1, 24e3, time, length)
        assert tracemalloc.get_traced_memory()[0] < 20 * 10_000  # arrays grow ahead
    finally:
        tracemalloc.stop()
