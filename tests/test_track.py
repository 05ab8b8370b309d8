import numpy as np
import pytest

from deltaring import AudioRing, Track
from deltaring.audio import ALAW, MULAW, AudioFormat, find_format


def track(format: AudioFormat, capacity: int = 100) -> Track:
    return Track(("r", "i", 0), 1, format, AudioRing(capacity, format.dtype))


def receive(track: Track, data: bytes) -> tuple[int, int, int]:
    event = track.receive("response.audio.delta", "e", 0, data)
    return event.start, event.stop, event.dropped


def test_an_odd_byte_waits_for_the_next_delta() -> None:
    it = track(find_format("pcm16"))
    assert receive(it, b"\x01") == (0, 0, 0)
    assert it.pending == 1
    assert receive(it, b"") == (0, 0, 0)
    assert receive(it, b"\x02\x03\x04") == (0, 2, 0)
    assert it.pending == 0
    assert it.ring.read(9).tobytes() == b"\x01\x02\x03\x04"


def test_positions_count_dropped_samples() -> None:
    it = track(find_format("pcm16"), capacity=3)
    assert receive(it, bytes(8)) == (0, 4, 1)
    assert it.overrun
    it.ring.clear()
    assert receive(it, bytes(3)) == (4, 5, 1)
    assert receive(it, bytes(3)) == (5, 7, 2)
    assert (it.ring.written, it.ring.dropped, it.received) == (3, 4, 14)


def test_a_full_ring_without_a_refused_sample_is_no_overrun() -> None:
    it = track(find_format("pcm16"), capacity=3)
    assert receive(it, bytes(6)) == (0, 3, 0)
    assert receive(it, b"") == (3, 3, 0)
    assert not it.overrun
    it.ring.clear()
    assert receive(it, bytes(6)) == (3, 6, 0)


@pytest.mark.parametrize(("name", "table"), [("g711_ulaw", MULAW), ("audio/pcma", ALAW)])
def test_g711_is_decoded_by_table(name: str, table: np.ndarray) -> None:
    it = track(find_format(name), capacity=1000)
    codes = bytes(range(256))
    assert receive(it, codes[:3]) == (0, 3, 0)
    assert receive(it, codes[3:]) == (3, 256, 0)
    assert np.array_equal(it.ring.read(256), table)
    assert it.received == 256


def test_an_unknown_format_keeps_its_bytes() -> None:
    it = track(find_format("opus"))
    assert receive(it, b"Ogg") == (0, 3, 0)
    assert it.ring.read(9).tobytes() == b"Ogg"
    assert (it.format, it.sample_rate, it.ring.dtype) == ("opus", None, np.uint8)


def test_a_delta_after_the_end_is_late() -> None:
    it = track(find_format("pcm16"))
    receive(it, bytes(2))
    it._close()
    assert receive(it, bytes(4)) == (1, 3, 0)
    assert (it._late, it.ring.readable, it.done) == (1, 3, True)


def test_an_event_has_the_ids_of_its_track() -> None:
    it = Track(("r", "i", 7), 1, find_format("pcm16"), AudioRing(9))
    event = it.receive("response.audio.delta", "e", 0, b"")
    assert (event.response_id, event.item_id, event.content_index) == ("r", "i", 7)


def test_a_track_shows_its_key_its_format_and_whether_it_is_done() -> None:
    it = track(find_format("opus"))
    assert repr(it).startswith("<Track 1 ('r', 'i', 0) opus open <AudioRing uint8 capacity=100")
    it._close()
    assert "opus done" in repr(it)


def test_drained_is_done_and_read() -> None:
    it = track(find_format("pcm16"))
    receive(it, bytes(2))
    assert not it.drained
    it._close()
    assert not it.drained
    it.ring.clear()
    assert it.drained
