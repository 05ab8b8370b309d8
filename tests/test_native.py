"""The compiled kernel itself: every SIMD path, every length, every byte; memory to its last byte."""

import array
import gc
import itertools
import random
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pybase64 import b64decode, b64encode

import deltaring
from deltaring import AudioRing, kernel
from deltaring.audio import INT16, UINT8
from deltaring.kernel import FORMS
from tests.conftest import ROOT
from tests.kernels import decoder_of
from tests.wire import XAI, audio_frame, hostile, pcm

pytestmark = pytest.mark.skipif("native" not in FORMS, reason="there is no compiled kernel")

_kernel: Any = kernel._native
PATHS = _kernel.simd_paths() if _kernel else []
ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each SIMD path of this processor in turn."""
    before = _kernel.simd()
    _kernel.use_simd(request.param)
    yield request.param
    _kernel.use_simd(before)


def around(text: bytes, event_id: str = "event_1", layout: str | None = None) -> bytes:
    """A frame with that payload, whatever it is."""
    frame = audio_frame("@", event_id=event_id, **({"layout": layout} if layout else {}))
    return frame.replace(b"@", text)


def heard(decoder: deltaring.Decoder, frame: bytes) -> bytes | None:
    """The samples of a frame that feed() answers; None where it does not."""
    event = decoder._feed(frame)
    if event is None:
        return None
    return event.track.ring.read(1 << 20).tobytes()


def test_the_fastest_path_is_used_unless_told_otherwise() -> None:
    assert _kernel.simd() == PATHS[0]
    assert PATHS[-1] == "scalar"


def test_an_unknown_path_is_refused() -> None:
    with pytest.raises(ValueError, match="no path 'mmx'"):
        _kernel.use_simd("mmx")


def test_every_length_decodes_at_every_alignment(path: str) -> None:
    decoder = decoder_of("native")
    whole, got = bytearray(), bytearray()
    for size in range(4_097):  # odd sizes shift all that follows by one byte in the ring
        data = pcm(size, size)
        whole += data
        samples = heard(decoder, around(b64encode(data), "e" * (1 + size % 67)))
        assert samples is not None
        got += samples
        assert len(got) == len(whole) & ~1
    assert got == whole[: len(got)]


def test_every_byte_at_every_place_is_judged(path: str) -> None:
    decoder = decoder_of("native")
    good = b64encode(pcm(300))  # several blocks of each path, and a rest
    for at in range(len(good)):
        for value in range(256):
            text = good[:at] + bytes((value,)) + good[at + 1 :]
            taken = heard(decoder, around(text))
            if value in ALPHABET:
                assert taken == b64decode(text, None, True), (at, value)
            elif value != ord("=") or at < len(good) - 1:
                assert taken is None, (at, value)
            else:
                assert decoder.stats.fast  # 299 bytes: half a sample is carried
                decoder = decoder_of("native")


def test_every_last_quad_is_decoded(path: str) -> None:
    letters = sorted(ALPHABET)
    ring = AudioRing(10)
    pads = [(bytes(pair) + b"==", 1) for pair in itertools.product(letters, repeat=2)]
    threes = itertools.product(letters, repeat=3)
    pads += [(bytes(three) + b"=", 2) for three in itertools.islice(threes, 0, None, 7)]
    for text, size in pads:
        decoder = decoder_of("native", seconds=0.01, format="opus")  # bytes as they come
        decoder._feed(around(text))
        (track,) = decoder.tracks.values()
        assert track.ring.read(9).tobytes() == b64decode(text, None, True)
        assert track.ring.written == size
    assert ring.writable == 10


@pytest.mark.parametrize(
    "tail", [b"=", b"==", b"===", b"A", b"AA", b"AAA", b"A===", b"=AAA", b"A=AA"]
)
@pytest.mark.parametrize("size", [0, 48, 1_536])
def test_bad_padding_is_left_to_the_slow_path(path: str, tail: bytes, size: int) -> None:
    text = b64encode(pcm(size)) + tail
    expected = tail in (b"AA==", b"AAA=")
    assert (heard(decoder_of("native"), around(text)) is not None) == expected


def test_a_delta_goes_around_the_end_of_the_ring(path: str) -> None:
    rng = random.Random(7)
    decoder = decoder_of("native", seconds=1_000 / 24_000, format="pcm16")
    whole, got = bytearray(), bytearray()
    for number in range(3_000):
        data = rng.randbytes(rng.choice((0, 1, 2, 3, 47, 300, rng.randrange(700))))
        whole += data
        event = decoder._feed(around(b64encode(data), f"event_{number}"))
        ring = event.track.ring
        assert event.dropped == 0
        got += ring.read(max(ring.readable - rng.randrange(300), 0)).tobytes()
    got += ring.read(1_000).tobytes()
    assert got == whole[: len(whole) & ~1]


def test_g711_goes_by_its_table(path: str) -> None:
    for name in ("g711_ulaw", "g711_alaw"):
        fast, slow = (decoder_of(way, format=name, seconds=0.7) for way in ("native", "slow"))
        for size in (0, 1, 2, 160, 161, 3_071, 3_072, 3_073, 5_000):
            frame = around(b64encode(pcm(size)))
            a, b = fast._feed(frame), slow.decode(frame)
            assert a.track.ring.read(3_000).tolist() == b.track.ring.read(3_000).tolist()
            assert (a.start, a.stop, a.dropped) == (b.start, b.stop, b.dropped)


def test_payloads_of_a_megabyte_are_decoded_without_the_lock(path: str) -> None:
    decoder = decoder_of("native")
    for size in (786_432, 786_435, 2_000_001):
        data = pcm(size)
        event = decoder._feed(around(b64encode(data)))
        carried = event.track.ring.read(1 << 21).tobytes()
        assert data.startswith((carried, carried[1:]))


def test_a_payload_inside_the_frame_is_found(path: str) -> None:
    decoder = decoder_of("native")
    for size in (0, 30, 48, 60, 5_000):
        frame = around(b64encode(pcm(size)), layout=XAI)
        assert heard(decoder, frame) == pcm(size)


@pytest.mark.parametrize("kind", [bytes, bytes.decode, bytearray, memoryview])
def test_a_frame_of_any_kind_is_read_where_it_lies(kind: Any) -> None:
    if kernel.NAME == "pure":
        pytest.skip("what is before Decoder.decode is not there with DELTARING_KERNEL=pure")
    decoder, data = deltaring.Decoder(seconds=1.0), pcm(12_000)
    frame = kind(around(b64encode(data)))
    decoder.decode(frame)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        event = decoder.decode(frame)
        assert tracemalloc.get_traced_memory()[1] - before < 500
    finally:
        tracemalloc.stop()
    assert isinstance(event, deltaring.AudioDelta)
    assert event.track.ring.read(6_000).tobytes() == data
    assert decoder.stats.fast == 2


def test_a_frame_that_others_may_change_is_copied_before_the_lock_is_given_away() -> None:
    decoder, data = deltaring.Decoder(), pcm(1_200_000)
    event = decoder.decode(bytearray(around(b64encode(data))))
    assert isinstance(event, deltaring.AudioDelta)
    assert event.track.ring.read(600_000).tobytes() == data


# --- objects that are not as they should be ------------------------------------------------------


@pytest.mark.parametrize(
    "slot", ["written", "consumed", "dropped", "capacity", "_origin", "_buffer"]
)
@pytest.mark.parametrize("value", ["x", None, -1, 1 << 80, 10**12, b"", memoryview(b"")])
def test_a_ring_that_was_tampered_with_is_left_alone(slot: str, value: object) -> None:
    decoder = decoder_of("native")
    ring = decoder._feed(around(b64encode(pcm(300)))).track.ring
    memory, before = ring._buffer.tobytes(), ring.consumed
    if slot == "dropped" and value == 10**12:
        return
    setattr(ring, slot, value)
    if slot != "consumed" or value != 10**12:
        assert decoder._feed(around(b64encode(pcm(300)))) is None
    if slot != "_buffer":
        assert ring._buffer.tobytes() == memory
    assert before == 0


def test_a_read_only_ring_is_left_alone() -> None:
    decoder = decoder_of("native")
    ring = decoder._feed(around(b64encode(pcm(300)))).track.ring
    ring._buffer = ring._buffer.toreadonly()
    assert decoder._feed(around(b64encode(pcm(300)))) is None


def test_memory_in_other_pieces_is_left_alone() -> None:
    decoder = decoder_of("native")
    ring = decoder._feed(around(b64encode(pcm(300)))).track.ring
    whole, out = ring._buffer, np.zeros(9, np.int16)
    for other in (whole[::-1], whole[::2], whole.cast("h"), memoryview(bytes(9))):
        ring._buffer = other
        assert decoder._feed(around(b64encode(pcm(300)))) is None
    ring._buffer = memoryview(bytearray(ring.capacity * 2))
    ring._buffer.release()
    assert decoder._feed(around(b64encode(pcm(300)))) is None
    assert ring.read_into(out) == 9  # by Python, from the array
    assert out.tobytes() == pcm(300)[:18]


@pytest.mark.parametrize(
    ("slot", "value"),
    [
        ("_wide", False), ("_wide", 5), ("_table", bytes(512)), ("_table", bytes(9)), ("done", 0),
        ("overrun", None), ("_plain", "x"), ("_late", -1), ("_late", "x"), ("_carry", b"xy"),
        ("_carry", "x"), ("ring", None), ("key", ("r", "i", 1 << 80)),
    ],
)  # fmt: skip
def test_a_track_that_was_tampered_with_is_left_alone(slot: str, value: object) -> None:
    decoder = decoder_of("native")
    event = decoder._feed(around(b64encode(pcm(300))))
    track, ring = event.track, event.track.ring
    setattr(track, slot, value)
    answer = decoder._feed(around(b64encode(pcm(300))))
    if (slot, value) == ("_wide", False) or slot == "key":  # bytes as they come; another track
        assert answer is not None
    else:
        assert answer is None
        assert (ring.written, decoder._kernel.taken) == (150, 1)


def test_without_memory_for_the_event_nothing_is_published() -> None:
    testcapi = pytest.importorskip("_testcapi", reason="needs CPython's own test module")
    for overrun in (False, True):
        for failing in range(1, 12):
            decoder = decoder_of("native", seconds=0.02, format="pcm16")
            ring = decoder._feed(around(b64encode(pcm(300)))).track.ring
            frame = around(b64encode(pcm(901 if overrun else 301)))
            testcapi.set_nomemory(failing, failing + 1)
            try:
                event = decoder._feed(frame)
            except MemoryError:
                event = None
            finally:
                testcapi.remove_mem_hooks()
            (track,) = decoder.tracks.values()
            received = 2 * (ring.written + ring.dropped) + track.pending
            assert received == (300 if event is None else 300 + (901 if overrun else 301))
            assert track.overrun == (event is not None and overrun)


def test_another_thread_may_do_what_it_likes_while_a_long_payload_is_decoded() -> None:
    decoder, stop = decoder_of("native", seconds=400.0), threading.Event()
    long = around(b64encode(pcm(6_000_000)))
    track = decoder._feed(around(b64encode(pcm(300)))).track

    def meddle() -> None:
        while not stop.is_set():
            ring = AudioRing(10_000_000)
            ring.written = ring.consumed = track.ring.written
            track.ring = ring

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        for _ in range(20):
            assert decoder._feed(long) is not None
    finally:
        stop.set()
        thread.join()


def test_feed_takes_bytes_and_a_pool_only() -> None:
    decoder = decoder_of("native")
    for frame in ("x", bytearray(9), None):
        with pytest.raises(TypeError, match="a frame must be bytes"):
            decoder._feed(frame)
    with pytest.raises(TypeError, match="pool must be a TrackPool"):
        FORMS["native"](object())


def test_decode_of_another_object_is_an_error_and_no_crash() -> None:
    for other in (5, None, object()):
        with pytest.raises((TypeError, AttributeError)):
            deltaring.Decoder.decode(other, b"{}")  # type: ignore[arg-type]
        with pytest.raises((TypeError, AttributeError)):
            AudioRing.read_into(other, np.zeros(1, np.int16))  # type: ignore[arg-type]


def test_methods_look_like_those_of_python() -> None:
    assert (deltaring.Decoder.decode.__doc__ or "").startswith("Decode one frame")
    assert deltaring.Decoder.decode.__name__ == "decode"
    decoder = deltaring.Decoder()
    assert weakref.WeakMethod(decoder.decode)() == decoder.decode
    assert deltaring.Decoder().decode.__self__.tracks == {}  # type: ignore[attr-defined]

    class Mine(deltaring.Decoder):
        def decode(self, frame: Any) -> Any:
            return super().decode(frame)

    assert Mine().decode(frame=around(b64encode(pcm(300)))).stop == 150


# --- read_into -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [INT16, UINT8, np.dtype(np.float32)])
def test_read_into_does_what_its_python_form_does(dtype: np.dtype[Any]) -> None:
    rng = random.Random(3)
    python = kernel._native and AudioRing.read_into.__wrapped__  # type: ignore[attr-defined]
    fast, slow = AudioRing(97, dtype), AudioRing(97, dtype)
    for number in range(5_000):
        samples = np.arange(number, number + rng.randrange(60)).astype(dtype)
        assert fast.write(samples) == slow.write(samples)
        out, other = np.zeros((2, rng.randrange(80)), dtype)
        assert fast.read_into(out) == python(slow, other)
        assert out.tobytes() == other.tobytes()
        assert (fast.consumed, fast.written) == (slow.consumed, slow.written)


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.zeros(9, np.uint16), TypeError),
        (np.zeros(9, np.float16), TypeError),
        (np.zeros((3, 3), np.int16), ValueError),
        (bytearray(9), AttributeError),
        (array.array("h", bytes(18)), AttributeError),
        (memoryview(bytearray(18)).cast("h"), AttributeError),
    ],
)
def test_read_into_refuses_what_its_python_form_refuses(out: Any, error: type) -> None:
    ring = AudioRing(9)
    ring.write(np.arange(5, dtype=np.int16))
    with pytest.raises(error):
        ring.read_into(out)
    assert ring.consumed == 0


def test_read_into_fills_every_second_sample_of_a_strided_buffer() -> None:
    ring, out = AudioRing(9), np.zeros(10, np.int16)
    ring.write(np.arange(1, 6, dtype=np.int16))
    assert ring.read_into(out[::2]) == 5
    assert out.tolist() == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]


# --- memory --------------------------------------------------------------------------------------


def test_nothing_leaks_whatever_comes() -> None:
    frames = [raw for raw in hostile().values() if isinstance(raw, bytes)]
    decoder = decoder_of("native", max_tracks=400)
    rows = np.empty(4, deltaring.ROW)

    def feed_all() -> None:
        for raw in frames:
            event = decoder._feed(raw)
            if event is not None:
                event.track.ring.clear()
            for track in decoder._scan(raw + b"\n", 0, len(raw) + 1, rows, 1 << 20)[2]:
                track.ring.clear()

    for _ in range(20):
        feed_all()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(50):
        feed_all()
    gc.collect()
    assert sys.getallocatedblocks() - before < 50


GUARDED = """
import ctypes, mmap, struct, sys
import numpy as np
from deltaring import kernel
from tests.kernels import decoder_of
from tests.test_native import around
from tests.wire import pcm
from pybase64 import b64encode

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None)

def guarded(pages):
    "Memory whose next byte faults."
    area = mmap.mmap(-1, (pages + 1) * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    libc.mprotect(ctypes.c_void_p(start + pages * PAGE), PAGE, 0)
    return area, start, pages * PAGE

area, start, room = guarded(8)
memory, memory_start, memory_room = guarded(4)

def at_the_end(data):
    "A bytes object whose closing NUL is the last byte that can be read."
    head = struct.pack("nPnn", 1 << 20, id(bytes), len(data), -1)
    whole = head + data + b"\\0"
    place = room - len(whole)
    place -= place % 8  # objects are aligned; up to 7 bytes of slack
    area[place : place + len(whole)] = whole
    return ctypes.cast(start + place, ctypes.py_object).value

if sys.argv[1] == "fault":
    ctypes.string_at(start + room - 1, 2)

for path in kernel._native.simd_paths():
    kernel._native.use_simd(path)
    for size in range(0, 700):
        for slack in range(8):
            frame = None  # before its memory is written again
            frame = at_the_end(around(b64encode(pcm(size)), "e" * (1 + slack)))
            decoder = decoder_of("native")
            pool = decoder._pool
            end = np.frombuffer(memory, np.uint8)[memory_room - (size & ~1) : memory_room]
            pool._free.append(end)
            pool._seconds = (size // 2) / 24_000 + 1e-9
            if size < 2:
                continue
            event = decoder._feed(frame)
            assert event.stop == size // 2 and event.dropped == 0
            assert event.track.ring._memory is end
            assert event.track.ring.read(size).tobytes() == pcm(size)[: size & ~1]
            frame = None
    for size in range(700):  # the path itself, whose last store may be a whole vector
        text = area
        start_of_text, start_of_out = room - 4 * size, memory_room - 3 * size
        area[start_of_text:room] = b64encode(pcm(3 * size))
        view, out = memoryview(area)[start_of_text:room], memoryview(memory)[start_of_out:memory_room]
        assert kernel._native.decode_quads(view, out)
        assert out.tobytes() == pcm(3 * size)
        view.release(), out.release()
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
def test_nothing_is_touched_past_the_ends() -> None:
    def run(mode: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", GUARDED, mode]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    result = run("all")
    assert result.stdout == "done\n", result.stderr[-2_000:]
    assert run("fault").returncode < 0  # the guard is one
