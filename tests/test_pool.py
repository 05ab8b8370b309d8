"""The life of tracks, through a Decoder: what is reused, what is kept, what is forgotten."""

import gc
import weakref

import numpy as np
import pytest

import deltaring
from deltaring import pool
from tests.wire import audio_done, audio_frame, frame, pcm, response, session

DELTA = bytes(200)


def give(
    decoder: deltaring.Decoder, response_id: str, item_id: str = "i", data: bytes = DELTA
) -> deltaring.AudioDelta:
    event = decoder.decode(audio_frame(data, response_id=response_id, item_id=item_id))
    assert isinstance(event, deltaring.AudioDelta)
    return event


def test_only_the_memory_of_a_drained_track_is_reused() -> None:
    decoder = deltaring.Decoder(max_tracks=1)
    first = give(decoder, "a").track
    decoder.decode(audio_done("a", "i"))
    assert give(decoder, "b").dropped == 100  # done, but not read
    first.ring.clear()
    assert give(decoder, "c").dropped == 0


def test_what_is_read_but_not_done_keeps_its_memory() -> None:
    decoder = deltaring.Decoder(max_tracks=1)
    give(decoder, "a").track.ring.clear()
    assert give(decoder, "b").track.ring.capacity == 0


def test_with_all_rings_held_a_new_track_drops_everything() -> None:
    decoder = deltaring.Decoder(max_tracks=2)
    give(decoder, "a")
    give(decoder, "b")
    third = give(decoder, "c")
    assert (third.track.ring.capacity, third.start, third.stop, third.dropped) == (0, 0, 100, 100)
    assert third.track.overrun
    assert give(decoder, "c").dropped == 100
    assert decoder.stats.dropped_samples == 200


def test_a_ring_never_serves_two_tracks() -> None:
    decoder = deltaring.Decoder(max_tracks=1)
    first = give(decoder, "a").track
    old = first.ring
    old.clear()
    decoder.decode(audio_done("a", "i"))
    second = give(decoder, "b", data=pcm(200)).track
    assert second.ring is not old
    assert second.ring._memory is not old._memory
    assert (old.readable, len(old.read(100)), old.read_into(np.zeros(5, np.int16))) == (0, 0, 0)
    assert second.ring.read(100).tobytes() == pcm(200)


def test_memory_is_really_reused() -> None:
    decoder = deltaring.Decoder(max_tracks=3)
    seen = set()
    for number in range(10):
        track = give(decoder, f"r{number}").track
        seen.add(track.ring._memory.ctypes.data)
        track.ring.clear()
        decoder.decode(response("response.done", f"r{number}"))
    assert len(seen) == 1


def test_a_late_delta_of_a_drained_track_gets_a_fresh_ring_and_goes_on() -> None:
    decoder = deltaring.Decoder()
    track = give(decoder, "a").track
    old = track.ring
    old.clear()
    decoder.decode(audio_done("a", "i"))
    give(decoder, "b")  # opening it retires the drained one
    event = give(decoder, "a", data=pcm(301))
    assert event.track is track
    assert track.ring is not old
    assert (event.start, event.stop, event.dropped) == (100, 250, 0)
    assert track.ring.read(999).tobytes() == pcm(301)[:300]
    assert 2 * (track.ring.written + track.ring.dropped) + track.pending == 501
    assert decoder.stats.late == 1


def test_an_overrun_track_gets_no_fresh_ring() -> None:
    decoder = deltaring.Decoder(seconds=10 / 24_000)
    track = give(decoder, "a").track
    assert track.overrun
    track.ring.clear()
    decoder.decode(audio_done("a", "i"))
    give(decoder, "b")
    event = give(decoder, "a")
    assert (event.start, event.stop, event.dropped) == (100, 200, 100)


def test_audio_done_of_a_may_come_after_deltas_of_b() -> None:
    decoder = deltaring.Decoder()
    a, b = give(decoder, "r", "a").track, give(decoder, "r", "b").track
    decoder.decode(audio_done("r", "a"))
    assert (a.done, b.done) == (True, False)
    assert give(decoder, "r", "b").start == 100


def test_response_done_ends_its_own_tracks() -> None:
    decoder = deltaring.Decoder()
    tracks = [
        give(decoder, "r", "a").track,
        give(decoder, "r", "b").track,
        give(decoder, "s").track,
    ]
    decoder.decode(response("response.done", "r"))
    assert [track.done for track in tracks] == [True, True, False]


@pytest.mark.parametrize(
    "closing",
    [
        audio_done("", ""),
        response("response.done", "any"),
        response("response.created", "any"),
        response("response.done", None),
        response("response.created", "any", output=5),
    ],
)
def test_without_a_response_id_an_ending_closes_the_key(closing: bytes) -> None:
    decoder = deltaring.Decoder()
    first = give(decoder, "", "").track
    decoder.decode(closing)
    second = give(decoder, "", "")
    assert first.done
    assert second.track is not first
    assert (second.start, second.track.serial) == (0, first.serial + 1)


def test_a_session_created_starts_an_epoch() -> None:
    decoder = deltaring.Decoder()
    first = give(decoder, "a", data=bytes(201)).track
    decoder.decode(session())
    event = give(decoder, "a")
    assert first.done
    assert event.track is not first
    assert (event.start, event.track.pending) == (0, 0)
    assert first.ring.readable == 100


def test_an_id_that_comes_again_after_a_reconnect_is_told_by_its_epoch() -> None:
    decoder = deltaring.Decoder()
    first = give(decoder, "a").track
    decoder.decode(session())
    assert give(decoder, "a").track.epoch == first.epoch + 1


def test_tracks_are_listed_in_the_order_of_first_audio() -> None:
    decoder = deltaring.Decoder()
    for name in "bca":
        give(decoder, name)
    give(decoder, "b")
    assert [key[0] for key in decoder.tracks] == ["b", "c", "a"]


def test_tracks_is_a_copy() -> None:
    decoder = deltaring.Decoder()
    give(decoder, "a")
    decoder.tracks.clear()
    assert len(decoder.tracks) == 1


def test_256_drained_tracks_are_remembered() -> None:
    decoder = deltaring.Decoder()
    for number in range(400):
        give(decoder, f"r{number}").track.ring.clear()
        decoder.decode(response("response.done", f"r{number}"))
    drained = [key[0] for key in decoder.tracks][:-1]
    assert drained == [f"r{number}" for number in range(143, 399)]
    assert decoder.stats.audio_bytes == 400 * 200
    assert give(decoder, "r150").start == 100
    assert give(decoder, "r5").start == 0


def test_tracks_that_never_end_are_bounded() -> None:
    decoder = deltaring.Decoder()
    for number in range(5_000):
        give(decoder, f"r{number}")
    assert len(decoder.tracks) == 16 + 4_096
    assert decoder.stats.audio_bytes == 5_000 * 200
    assert decoder.stats.dropped_samples == (5_000 - 16) * 100


def test_a_live_track_without_memory_is_not_forgotten_for_drained_ones() -> None:
    decoder = deltaring.Decoder(max_tracks=1)
    give(decoder, "held")
    give(decoder, "live")
    for number in range(300):
        give(decoder, f"r{number}")
        decoder.decode(response("response.done", f"r{number}"))
    assert give(decoder, "live").start == 100


@pytest.mark.parametrize("closing", [session(), response("response.done", "r")])
def test_closing_many_tracks_may_forget_some_that_are_to_be_closed(closing: bytes) -> None:
    decoder = deltaring.Decoder(max_tracks=1)
    held = give(decoder, "r", "held").track
    starved = [give(decoder, "r", f"starved{number}").track for number in range(3)]
    held.ring.clear()
    decoder.decode(audio_done("r", "held"))
    for number in range(256):  # a full history, whose oldest stand behind the starved ones
        give(decoder, "r", f"drained{number}").track.ring.clear()
        decoder.decode(audio_done("r", f"drained{number}"))
    decoder.decode(closing)
    assert all(track.done for track in starved)
    assert decoder.stats.audio_bytes == 260 * 200


def test_a_track_with_a_very_long_id_is_counted() -> None:
    decoder = deltaring.Decoder(max_tracks=1)
    give(decoder, "held")
    for _ in range(2):
        give(decoder, "r", "i" * 2_000_000)
    assert decoder.stats.audio_bytes == 3 * 200
    assert decoder.stats.dropped_samples == 200


def test_long_ids_are_not_kept_for_ever() -> None:
    decoder = deltaring.Decoder()
    for number in range(40):
        give(decoder, f"r{number}", "i" * 100_000).track.ring.clear()
        decoder.decode(response("response.done", f"r{number}"))
    assert sum(len(item_id) for _, item_id, _ in decoder.tracks) < 3_000_000
    assert decoder.stats.audio_bytes == 40 * 200


def test_a_late_delta_gets_a_fresh_ring_though_no_other_track_opened() -> None:
    decoder = deltaring.Decoder(max_tracks=1)
    first = give(decoder, "a")
    old = first.track.ring
    old.clear()
    decoder.decode(audio_done("a", "i"))
    late = give(decoder, "a", data=pcm(200))
    assert late.track.ring is not old
    assert (late.start, late.dropped, old.readable, len(old.read(9))) == (100, 0, 0, 0)
    assert late.track.ring.read(999).tobytes() == pcm(200)


def test_a_follower_learns_of_each_track_that_gets_memory() -> None:
    decoder = deltaring.Decoder(max_tracks=2)
    tracks = [give(decoder, "a").track]
    opened = decoder.follow()
    tracks.append(give(decoder, "b").track)
    give(decoder, "without memory")
    assert list(opened) == tracks


def test_a_track_that_is_brought_back_is_followed_anew() -> None:
    decoder = deltaring.Decoder()
    track = give(decoder, "a").track
    track.ring.clear()
    opened = decoder.follow()
    decoder.decode(audio_done("a", "i"))
    give(decoder, "a")
    assert list(opened) == [track, track]


def test_where_the_system_has_no_memory_audio_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(size: int) -> None:
        raise MemoryError(size)

    decoder = deltaring.Decoder()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "new_memory", none_left)
        assert give(decoder, "a").dropped == 100
    assert give(decoder, "a").dropped == 100  # a hole would shift played time
    assert give(decoder, "b").dropped == 0


def test_to_forget_a_track_leaves_a_newer_one_of_its_key_alone() -> None:
    decoder = deltaring.Decoder()
    for _ in range(300):
        newest = give(decoder, "", "").track
        newest.ring.clear()
        decoder.decode(audio_done("", ""))
    assert decoder.tracks == {("", "", 0): newest}
    assert decoder.stats.audio_bytes == 300 * 200


def test_a_response_that_begins_again_under_its_id_starts_an_epoch() -> None:
    decoder = deltaring.Decoder()
    first = give(decoder, "r", "a").track
    decoder.decode(response("response.created", "r"))
    assert give(decoder, "r", "b").track.epoch == first.epoch
    decoder.decode(response("response.done", "r"))
    decoder.decode(response("response.created", "r"))
    assert give(decoder, "r", "c").track.epoch == first.epoch + 1


def test_response_formats_are_bounded() -> None:
    decoder = deltaring.Decoder()
    for number in range(3_000):
        decoder.decode(response("response.created", f"r{number}", output_audio_format="g711_ulaw"))
    assert len(decoder._pool._response_formats) == 256


def test_memory_is_taken_only_as_it_is_used() -> None:
    decoder = deltaring.Decoder()
    assert not decoder._pool._free
    assert not decoder._pool._holders


def test_a_dropped_decoder_frees_its_rings_at_once() -> None:
    decoder = deltaring.Decoder()
    memory = weakref.ref(give(decoder, "a").track.ring._memory)
    decoder.decode(frame("response.done", response={"id": "a"}))
    gc.disable()
    try:
        del decoder
        assert memory() is None
    finally:
        gc.enable()


# --- formats ------------------------------------------------------------------------------------

G711 = {"output": {"format": {"type": "audio/pcmu"}}}
PCM_16K = {"output": {"format": {"type": "audio/pcm", "rate": 16_000}}}


def opened(decoder: deltaring.Decoder, *frames: bytes) -> tuple[str, int | None]:
    for raw in frames:
        decoder.decode(raw)
    track = give(decoder, "r").track
    return track.format, track.sample_rate


def test_pcm16_at_24_khz_where_nothing_is_stated() -> None:
    assert opened(deltaring.Decoder()) == ("pcm16", 24_000)
    nothing = session(output_audio_format=None, audio=None)
    assert opened(deltaring.Decoder(), nothing) == ("pcm16", 24_000)


@pytest.mark.parametrize("type", ["session.created", "session.updated"])
def test_the_session_states_the_format(type: str) -> None:
    beta = session(type, output_audio_format="g711_alaw")
    assert opened(deltaring.Decoder(), beta) == ("g711_alaw", 8_000)
    assert opened(deltaring.Decoder(), session(type, audio=PCM_16K)) == ("pcm16", 16_000)


def test_a_format_is_found_in_a_lenient_session_too() -> None:
    odd = session(audio=G711, tools={"odd": 1})
    assert opened(deltaring.Decoder(), odd) == ("g711_ulaw", 8_000)


def test_null_leaves_the_format_as_it_was() -> None:
    frames = session(audio=G711), session("session.updated", output_audio_format=None)
    assert opened(deltaring.Decoder(), *frames) == ("g711_ulaw", 8_000)


def test_the_response_goes_before_the_session() -> None:
    frames = session(audio=G711), response("response.created", "r", output_audio_format="pcm16")
    assert opened(deltaring.Decoder(), *frames) == ("pcm16", 24_000)
    other = session(audio=G711), response("response.created", "s", output_audio_format="pcm16")
    assert opened(deltaring.Decoder(), *other) == ("g711_ulaw", 8_000)


def test_the_constructor_goes_before_all() -> None:
    frames = session(audio=G711), response("response.created", "r", output_audio_format="opus")
    assert opened(deltaring.Decoder(format="pcm16"), *frames) == ("pcm16", 24_000)
    assert opened(deltaring.Decoder(format="pcm16", sample_rate=16_000), *frames) == (
        "pcm16",
        16_000,
    )
    assert opened(deltaring.Decoder(sample_rate=48_000), session(audio=PCM_16K)) == (
        "pcm16",
        48_000,
    )


def test_a_format_is_fixed_at_the_first_delta() -> None:
    decoder = deltaring.Decoder()
    give(decoder, "r")
    decoder.decode(session("session.updated", audio=G711))
    assert give(decoder, "r").track.format == "pcm16"
    assert give(decoder, "s").track.format == "g711_ulaw"


def test_an_epoch_starts_without_a_format() -> None:
    assert opened(deltaring.Decoder(), session(audio=G711), session()) == ("pcm16", 24_000)


def test_xai_says_not_specified_and_means_its_object() -> None:
    both = session(output_audio_format="not specified", audio=PCM_16K)
    assert opened(deltaring.Decoder(), both) == ("pcm16", 16_000)


def test_a_response_states_the_format_of_deltas_that_name_none() -> None:
    decoder = deltaring.Decoder()
    decoder.decode(response("response.created", "r", output_audio_format="g711_ulaw"))
    assert give(decoder, "", "").track.format == "g711_ulaw"
    decoder.decode(response("response.created", "s"))
    assert give(decoder, "", "").track.format == "pcm16"


def test_an_unknown_format_gets_a_ring_of_bytes() -> None:
    decoder = deltaring.Decoder()
    assert opened(decoder, session(output_audio_format="opus")) == ("opus", None)
    (track,) = decoder.tracks.values()
    assert (track.ring.dtype, track.ring.readable) == (np.uint8, 200)


def test_kept_g711_is_bytes() -> None:
    decoder = deltaring.Decoder(keep_g711=True)
    assert opened(decoder, session(audio=G711)) == ("g711_ulaw", 8_000)
    (track,) = decoder.tracks.values()
    assert (track.ring.dtype, track.ring.readable) == (np.uint8, 200)


def test_a_larger_format_gets_larger_memory() -> None:
    decoder = deltaring.Decoder(max_tracks=1, seconds=1)
    for number, rate in enumerate((8_000, 48_000, 16_000)):
        audio = {"output": {"format": {"type": "audio/pcm", "rate": rate}}}
        decoder.decode(session("session.updated", audio=audio))
        track = give(decoder, f"r{number}").track
        assert track.ring.capacity == rate
        track.ring.clear()
        decoder.decode(response("response.done", f"r{number}"))
    assert len(decoder._pool._free) + len(decoder._pool._holders) == 1
