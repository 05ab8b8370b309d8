import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deltaring import AudioRing
from tests.seed import SEED


def samples(*values: int) -> np.ndarray:
    return np.array(values, np.int16)


def test_what_fits_is_accepted_and_the_rest_dropped() -> None:
    ring = AudioRing(4)
    assert ring.write(samples(1, 2, 3, 4, 5, 6)) == 4
    assert (ring.written, ring.dropped, ring.readable, ring.writable) == (4, 2, 4, 0)
    assert ring.read(10).tolist() == [1, 2, 3, 4]


def test_read_into_leaves_the_rest_of_out_alone() -> None:
    ring = AudioRing(4)
    ring.write(samples(1, 2))
    out = samples(9, 9, 9)
    assert ring.read_into(out) == 2
    assert out.tolist() == [1, 2, 9]


def test_read_into_takes_a_strided_view() -> None:
    ring = AudioRing(4)
    ring.write(samples(1, 2, 3))
    out = np.zeros((3, 2), np.int16)
    assert ring.read_into(out[:, 1]) == 3
    assert out.tolist() == [[0, 1], [0, 2], [0, 3]]


def test_samples_survive_the_wrap() -> None:
    ring = AudioRing(5)
    ring.write(samples(1, 2, 3, 4))
    assert ring.read(3).tolist() == [1, 2, 3]
    assert ring.write(samples(5, 6, 7)) == 3
    first, second = ring.read_regions(5)
    assert (first.tolist(), second.tolist()) == ([4, 5], [6, 7])


def test_write_regions_and_commit() -> None:
    ring = AudioRing(5)
    ring.write(samples(1, 2, 3, 4))
    ring.advance(3)
    first, second = ring.write_regions(9)
    assert (len(first), len(second)) == (1, 3)
    first[:], second[:2] = 5, (6, 7)
    assert ring.readable == 1
    ring.commit(3)
    assert ring.read(9).tolist() == [4, 5, 6, 7]


def test_read_regions_are_read_only() -> None:
    ring = AudioRing(4)
    ring.write(samples(1))
    with pytest.raises(ValueError, match="read-only"):
        ring.read_regions(1)[0][0] = 5


def test_an_empty_ring_starts_at_the_beginning_of_its_memory() -> None:
    ring = AudioRing(5)
    for value in range(4):
        ring.write(samples(value, value, value))
        first, second = ring.read_regions(3)
        assert (len(first), len(second)) == (3, 0)
        ring.clear()


def test_clear_counts_what_it_drops_and_frees_the_room() -> None:
    ring = AudioRing(4)
    ring.write(samples(1, 2, 3))
    assert ring.clear() == 3
    assert (ring.readable, ring.writable, ring.consumed) == (0, 4, 3)


def test_a_ring_without_capacity_takes_nothing() -> None:
    ring = AudioRing(0)
    assert ring.write(samples(1, 2)) == 0
    assert ring.dropped == 2
    assert len(ring.read(5)) == 0
    assert ring.read_into(samples(1)) == 0


def test_a_detached_ring_reads_nothing_and_takes_nothing() -> None:
    ring = AudioRing(4)
    ring.write(samples(1, 2))
    ring.clear()
    assert len(ring._detach()) == 8
    assert (ring.write(samples(1)), ring.readable, ring.capacity) == (0, 0, 0)
    assert [len(region) for region in ring.read_regions(4)] == [0, 0]


def test_lists_are_taken_as_samples() -> None:
    ring = AudioRing(4)
    assert ring.write([1, -2]) == 2
    assert ring.read(2).tolist() == [1, -2]


@pytest.mark.parametrize(
    "bad", [np.zeros(2, np.float32), np.zeros(2, np.int32), np.zeros(2, np.uint8)]
)
def test_another_dtype_is_refused(bad: np.ndarray) -> None:
    ring = AudioRing(4)
    with pytest.raises(TypeError, match="holds int16"):
        ring.write(bad)
    with pytest.raises(TypeError, match="holds int16"):
        ring.read_into(bad)


def test_a_list_of_floats_is_refused() -> None:
    with pytest.raises(TypeError, match="holds int16"):
        AudioRing(4).write([0.9, 1.7])
    assert AudioRing(4).write([]) == 0


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="1 dimension"):
        AudioRing(4).write(np.zeros((2, 2), np.int16))
    with pytest.raises(ValueError, match="1 dimension"):
        AudioRing(4).read_into(np.zeros((2, 2), np.int16))


@pytest.mark.parametrize("call", ["read", "read_regions", "write_regions", "advance", "commit"])
def test_a_negative_count_is_refused(call: str) -> None:
    with pytest.raises(ValueError):
        getattr(AudioRing(4), call)(-1)


@pytest.mark.parametrize("call", ["advance", "commit"])
def test_more_than_there_is_is_refused(call: str) -> None:
    with pytest.raises(ValueError):
        getattr(AudioRing(4), call)(5)


def test_a_negative_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        AudioRing(-1)


def spy_on(ring: AudioRing) -> list[int]:
    """Note the value of `written` at each store into the ring's memory.

    No thread switch falls between the two in CPython, so that threads alone could not tell.
    """
    seen: list[int] = []

    class Spy:
        def __setitem__(self, where: slice, data: bytes) -> None:
            seen.append(ring.written)
            memory[where] = data

    memory, ring._buffer = ring._buffer, Spy()  # type: ignore[assignment]
    return seen


def test_data_is_stored_before_it_is_published() -> None:
    ring = AudioRing(4)
    seen = spy_on(ring)
    ring.write(samples(1, 2, 3))
    ring.advance(2)
    ring.write(samples(4, 5, 6))
    assert seen == [0, 3, 3]
    assert ring.read(9).tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    "memory",
    [
        np.zeros(8, np.uint8)[::-1],
        np.zeros(16, np.uint8)[::2],
        np.zeros((2, 4), np.uint8),
        np.zeros(4, np.int16),
    ],
)
def test_memory_in_other_pieces_is_refused(memory: np.ndarray) -> None:
    with pytest.raises(ValueError, match="contiguous array of uint8"):
        AudioRing(4, memory=memory)


def test_memory_that_is_given_is_the_rings_own() -> None:
    memory = np.zeros(10, np.uint8)
    AudioRing(4, memory=memory).write(samples(1, 2, 3, 4))
    assert memory.tolist() == [1, 0, 2, 0, 3, 0, 4, 0, 0, 0]


def test_memory_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="4 samples need 8 bytes, memory has 7"):
        AudioRing(4, memory=np.zeros(7, np.uint8))


def test_a_ring_shows_its_counters() -> None:
    ring = AudioRing(4)
    ring.write(samples(1, 2, 3, 4, 5))
    ring.read(1)
    assert repr(ring) == "<AudioRing int16 capacity=4 readable=3 written=4 dropped=1>"


def test_room_is_given_back_after_the_copy() -> None:
    ring = AudioRing(4)
    seen = []

    class Out(np.ndarray):
        def __setitem__(self, where: object, data: object) -> None:
            seen.append(ring.consumed)
            super().__setitem__(where, data)

    ring.write(samples(1, 2, 3))
    ring.read(2)
    ring.write(samples(4, 5))
    # The compiled form runs no Python between the two.
    read_into = getattr(AudioRing.read_into, "__wrapped__", AudioRing.read_into)
    assert read_into(ring, np.zeros(9, np.int16).view(Out)) == 3
    assert (seen, ring.consumed) == ([2, 2], 5)


class RingAgainstDeque(RuleBasedStateMachine):
    """Any sequence of calls, against a bounded deque."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = AudioRing(7)
        self.model: deque[int] = deque()
        self.next = 0
        self.dropped = 0

    def _new(self, count: int) -> np.ndarray:
        self.next += count
        return np.arange(self.next - count, self.next).astype(np.int16)

    @rule(count=st.integers(0, 12))
    def write(self, count: int) -> None:
        new = self._new(count)
        accepted = min(count, 7 - len(self.model))
        assert self.ring.write(new) == accepted
        self.model.extend(new[:accepted].tolist())
        self.dropped += count - accepted

    @rule(count=st.integers(0, 9), used=st.integers(0, 9))
    def write_regions(self, count: int, used: int) -> None:
        first, second = self.ring.write_regions(count)
        assert len(first) + len(second) == min(count, 7 - len(self.model))
        used = min(used, len(first) + len(second))
        new = self._new(used)
        first[:used] = new[: len(first)]
        second[: max(0, used - len(first))] = new[len(first) :]
        self.ring.commit(used)
        self.model.extend(new.tolist())

    @rule(count=st.integers(0, 12))
    def read(self, count: int) -> None:
        assert self.ring.read(count).tolist() == self._pop(count)

    @rule(count=st.integers(0, 12), used=st.integers(0, 12))
    def read_regions(self, count: int, used: int) -> None:
        first, second = self.ring.read_regions(count)
        both = first.tolist() + second.tolist()
        assert both == list(self.model)[:count]
        used = min(used, len(both))
        self.ring.advance(used)
        self._pop(used)

    @rule()
    def clear(self) -> None:
        assert self.ring.clear() == len(self._pop(99))

    def _pop(self, count: int) -> list[int]:
        return [self.model.popleft() for _ in range(min(count, len(self.model)))]

    @invariant()
    def counters(self) -> None:
        ring = self.ring
        assert ring.readable == ring.written - ring.consumed == len(self.model)
        assert ring.writable == 7 - len(self.model)
        assert ring.dropped == self.dropped


TestRingAgainstDeque = RingAgainstDeque.TestCase
TestRingAgainstDeque.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Let the threads change places often: after 10 us and not after 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class IndexBeforeData(AudioRing):
    """Publishes samples before they are there: what the order of `write` is for."""

    __slots__ = ()

    def _put(self, data: bytes | memoryview) -> int:
        size = min(len(data) // 2, self.writable) * 2
        start, written = self.written % self.capacity * 2, self.written
        self.written = written + size // 2
        time.sleep(0)
        first = min(size, len(self._buffer) - start)
        self._buffer[start : start + first] = data[:first]
        self._buffer[: size - first] = data[first:size]
        return size // 2


class EarlyFree(AudioRing):
    """Gives room back before it has copied what is there."""

    __slots__ = ()

    def read_into(self, out: np.ndarray) -> int:
        consumed = self.consumed
        regions = self._regions(consumed, min(len(out), self.readable))
        count = len(regions[0]) + len(regions[1])
        self.consumed = consumed + count
        time.sleep(0)
        out[:count] = np.concatenate(regions)
        return count


# A period that is prime to every capacity: a sample in the wrong place cannot look right.
PERIOD = 31_013
BLOCK = 480  # samples of one audio callback: 20 ms


def corrupted(ring: AudioRing, total: int, seed: int) -> int:
    """Send `total` samples from one thread to an audio callback in another; count the wrong ones."""
    pattern = (np.arange(PERIOD + 24_000) % PERIOD).astype(np.int16)
    # Deltas of many sizes; the shortest rings get what they can hold.
    chance = random.Random(seed)
    sizes = [chance.randrange(1, min(24_000, 2 * ring.capacity)) for _ in range(997)]
    wrong = 0

    def callback() -> None:
        nonlocal wrong
        out, received = np.empty(BLOCK, np.int16), 0
        while received < total:
            count = ring.read_into(out)
            at = received % PERIOD
            if count and not np.array_equal(out[:count], pattern[at : at + count]):
                wrong += int((out[:count] != pattern[at : at + count]).sum())
            received += count
            if not count:
                time.sleep(0)

    thread = threading.Thread(target=callback)
    thread.start()
    sent = number = 0
    while sent < total:
        at, number = sent % PERIOD, number + 1
        accepted = ring.write(pattern[at : at + min(sizes[number % 997], total - sent)])
        sent += accepted
        if not accepted:
            time.sleep(0)
    thread.join()
    return wrong


LONG = os.environ.get("DELTARING_LONG") == "1"


@pytest.mark.parametrize(
    ("capacity", "megabytes", "share"),
    [(48_000, 10_000, 100), (65_536, 10_000, 100), (4_800, 1_000, 20), (97, 20, 1)],
)
def test_two_threads_see_every_sample_in_order(
    capacity: int, megabytes: int, share: int, fast_switching: None
) -> None:
    """All of it with DELTARING_LONG=1; else a share in megabytes."""
    total = (megabytes if LONG else share) * 1_000_000 // 2
    assert corrupted(AudioRing(capacity), total, SEED) == 0


@pytest.mark.parametrize("ring", [IndexBeforeData, EarlyFree])
@pytest.mark.parametrize("capacity", [97, 4_800, 48_000])
def test_a_ring_in_the_wrong_order_is_found_out(
    ring: type[AudioRing], capacity: int, fast_switching: None
) -> None:
    for seed in range(5):
        total = 20 * capacity
        while not (found := corrupted(ring(capacity), total, seed)) and total < 2_000 * capacity:
            total *= 4
        assert found


# --- what has just been written ---------------------------------------------------------------------


def test_recent_samples_are_seen_whether_they_were_read_or_not() -> None:
    ring = AudioRing(10)
    ring.write(np.arange(4, dtype=np.int16))
    ring.read(3)
    assert np.concatenate(ring.recent(0, 4)).tolist() == [0, 1, 2, 3]
    assert np.concatenate(ring.recent(2, 3)).tolist() == [2]


def test_recent_samples_are_seen_across_the_wrap() -> None:
    ring = AudioRing(10)
    for _ in range(4):
        ring.write(np.arange(4, dtype=np.int16))
        ring.read(3)
    first, second = ring.recent(12, 16)
    assert (len(first) + len(second), np.concatenate((first, second)).tolist()) == (4, [0, 1, 2, 3])


def test_samples_that_were_written_over_are_not_recent() -> None:
    ring = AudioRing(4)
    ring.write(np.arange(4, dtype=np.int16))
    ring.read(4)
    ring.write(np.arange(2, dtype=np.int16))  # an empty ring starts again at the beginning
    assert [len(part) for part in ring.recent(0, 4)] == [0, 0]
    assert [len(part) for part in ring.recent(5, 9)] == [0, 0]


def test_samples_before_a_new_beginning_are_not_recent_though_there_was_room_for_all() -> None:
    ring = AudioRing(10)
    ring.write(np.arange(4, dtype=np.int16))
    ring.read(4)
    ring.write(np.arange(2, dtype=np.int16))
    assert [len(part) for part in ring.recent(0, 4)] == [0, 0]
    assert ring.recent(4, 6)[0].tolist() == [0, 1]


def test_recent_samples_cannot_be_changed() -> None:
    ring = AudioRing(4)
    ring.write(np.arange(4, dtype=np.int16))
    with pytest.raises(ValueError, match="read-only"):
        ring.recent(0, 4)[0][0] = 1


def test_memory_that_was_given_back_is_not_recent() -> None:
    ring = AudioRing(4)
    ring.write(np.arange(4, dtype=np.int16))
    ring.clear()
    ring._detach()
    assert [len(part) for part in ring.recent(0, 4)] == [0, 0]


def test_memory_is_taken_page_by_page() -> None:
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("resident memory is read from /proc")
    rings = [AudioRing(4 << 20) for _ in range(50)]
    before = int(status.read_text().split()[1])
    for ring in rings:
        ring.write(samples(1, 2, 3))
    grown = (int(status.read_text().split()[1]) - before) * os.sysconf("SC_PAGE_SIZE")
    assert grown < 50 * 64 * 1024


def test_memory_is_had_on_systems_that_cannot_be_told_about_large_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("mmap.MADV_NOHUGEPAGE", raising=False)  # macOS
    assert AudioRing(4 << 20).write(samples(1, 2, 3)) == 3
    monkeypatch.delattr("mmap.MAP_PRIVATE", raising=False)  # Windows
    assert AudioRing(4 << 20).write(samples(1, 2, 3)) == 3


def test_a_ring_larger_than_all_memory_is_a_memory_error() -> None:
    for capacity in (1 << 55, 1 << 62):
        with pytest.raises(MemoryError):
            AudioRing(capacity)
