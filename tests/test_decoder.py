"""The decoder as a whole: its contract, and that the fast path changes nothing but time."""

import contextlib
import gc
import json
import os
import random
import sys
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from pybase64 import b64decode

import deltaring
from deltaring import AudioDelta, Decoder, InvalidEvent
from tests.kernels import FORMS, WAYS, both_forms, decoder_of, needs_native
from tests.outcome import comparable, outcome
from tests.wire import (
    BETA,
    COMPACT,
    GA,
    KNOWN_LAYOUTS,
    OPENAI,
    OTHER_LAYOUTS,
    SPACED,
    VOICE_LIVE,
    XAI,
    audio_done,
    audio_frame,
    frame,
    hostile,
    pcm,
    response,
    session,
)

LONG = os.environ.get("DELTARING_LONG") == "1"
KINDS = [bytes, bytearray, memoryview, bytes.decode, lambda data: memoryview(b"xx" + data)[2:]]


# --- the contract -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [30, 12_000])
def test_every_kind_of_frame_is_decoded(kind: Any, size: int) -> None:
    event = Decoder().decode(kind(audio_frame(pcm(size))))
    assert isinstance(event, AudioDelta)
    assert event.track.ring.read(size).tobytes() == pcm(size)


@pytest.mark.parametrize("layout", [*KNOWN_LAYOUTS, *OTHER_LAYOUTS])
@pytest.mark.parametrize("size", [30, 3_000])
def test_an_audio_delta_has_the_ids_of_the_wire(layout: str, size: int) -> None:
    event = Decoder().decode(audio_frame(pcm(size), layout=layout, output_index=3, content_index=2))
    assert isinstance(event, AudioDelta)
    wire = json.loads(audio_frame(b"", layout=layout, output_index=3, content_index=2))
    for name in ("type", "event_id", "response_id", "item_id", "output_index", "content_index"):
        assert getattr(event, name) == wire.get(name, 0 if name.endswith("index") else "")
    assert event.track.key == (event.response_id, event.item_id, event.content_index)
    assert not hasattr(event, "delta")
    assert not event.is_error


def test_positions_follow_each_other() -> None:
    decoder, last = Decoder(), 0
    for size in (100, 1, 1, 0, 801, 12_001):
        event = decoder.decode(audio_frame(pcm(size)))
        assert isinstance(event, AudioDelta)
        assert event.start == last
        last = event.stop
    assert last == (100 + 1 + 1 + 801 + 12_001) // 2


def test_stats_count_everything_once() -> None:
    decoder = Decoder(on_invalid="keep", seconds=100 / 24_000)
    for raw in (
        session(),
        audio_frame(pcm(100)),
        audio_frame(pcm(301)),
        audio_done("resp_E4ySzvKWmfZzGYRJLuvPM", "item_E4ySzyEXmG1cqrBzxotNa"),
        audio_frame(pcm(1)),
        frame("a.b"),
        frame("error"),
        b"nonsense",
        audio_frame("!"),
        response("response.done", "r", output=5),
    ):
        decoder.decode(raw)
    with pytest.raises(TypeError):
        decoder.decode(None)  # type: ignore[arg-type]
    assert decoder.stats == deltaring.Stats(
        frames=10, audio=3, fast=1, unknown=1, invalid=3, lenient=1,
        audio_bytes=402, dropped_samples=101, late=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "type", "event_id", "error"),
    [
        (frame("error", event_id="e"), "error", "e", deltaring.SchemaError),
        (audio_frame("!!!!"), GA, "event_E4ySyqtszaCwtKJ3TNavm", deltaring.InvalidAudio),
        (audio_frame("!" * 600), GA, "event_E4ySyqtszaCwtKJ3TNavm", deltaring.InvalidAudio),
        (b'{"type":5,"event_id":"e"}', "", "e", deltaring.SchemaError),
        (b"[]", "", "", deltaring.SchemaError),
        (b"nonsense", "", "", deltaring.InvalidJSON),
        (b'{"type":"error"', "", "", deltaring.InvalidJSON),
    ],
)
def test_keep_gives_an_invalid_event(raw: bytes, type: str, event_id: str, error: type) -> None:
    with pytest.raises(error) as caught:
        Decoder().decode(raw)
    event = Decoder(on_invalid="keep").decode(bytearray(raw))
    assert isinstance(event, InvalidEvent)
    assert (event.type, event.event_id, event.raw) == (type, event_id, raw)
    assert event.error.__class__ is error
    assert str(event.error) == str(caught.value)


@pytest.mark.parametrize("way", WAYS)
def test_an_audio_delta_may_be_too_large(way: str) -> None:
    raw = audio_frame(pcm(600))
    decoder = decoder_of(way, max_frame=len(raw) - 1)
    for kind in KINDS:
        with pytest.raises(deltaring.FrameTooLarge):
            decoder.decode(kind(raw))
    assert not decoder.tracks
    assert decoder_of(way, max_frame=len(raw)).decode(raw).type == GA  # type: ignore[union-attr]


def test_keep_takes_what_cannot_be_encoded_and_what_is_too_large() -> None:
    decoder = Decoder(on_invalid="keep", max_frame=500)
    event = decoder.decode('{"type":"\ud800"}')
    assert isinstance(event, InvalidEvent)
    assert isinstance(event.error, deltaring.InvalidJSON)
    event = decoder.decode(b" " * 501)
    assert isinstance(event, InvalidEvent)
    assert (event.raw, event.error.__class__) == (b"", deltaring.FrameTooLarge)


def test_a_slow_audio_error_publishes_nothing() -> None:
    for size in (40, 4_000):
        decoder = Decoder()
        with pytest.raises(deltaring.InvalidAudio, match="response.output_audio.delta: delta"):
            decoder.decode(audio_frame("A" * size + "!"))
        assert not decoder.tracks


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 0}, {"seconds": -1}, {"seconds": float("nan")}, {"seconds": float("inf")},
        {"seconds": 1e9}, {"sample_rate": 0}, {"sample_rate": 10**9}, {"max_tracks": 0},
        {"max_frame": 0}, {"on_invalid": "ignore"},
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} is out of range"):
        Decoder(**options)


def test_the_stateless_decode_keeps_the_base64_text() -> None:
    event = deltaring.decode(audio_frame(pcm(300)))
    assert isinstance(event, deltaring.ResponseOutputAudioDelta)
    assert b64decode(event.delta, None, True) == pcm(300)


def test_translated_speech_stays_a_typed_event() -> None:
    event = Decoder().decode(frame("session.output_audio.delta", delta="AAAA", sample_rate=24_000))
    assert isinstance(event, deltaring.SessionOutputAudioDelta)


# --- nothing is kept alive ----------------------------------------------------------------------

BAD = [
    b"nonsense",
    frame("error"),
    b'{"type":5}',
    b"[]",
    audio_frame("!"),
    audio_frame("!" * 600),
    b"[" * 500,
    b" " * 5_001,
]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("raw", BAD)
def test_a_raised_error_is_gone_when_it_is_handled(raw: bytes, no_collector: None) -> None:
    decoder, memory = Decoder(max_frame=5_000), bytearray(raw)
    for call in (decoder.decode, deltaring.decode):
        try:
            call(memoryview(memory))
        except deltaring.FrameError as error:
            gone = weakref.ref(error)
        assert gone() is None
    memory.clear()  # a BufferError if anything still looked at it


@pytest.mark.parametrize("raw", BAD)
def test_a_kept_event_holds_neither_decoder_nor_frame(raw: bytes, no_collector: None) -> None:
    decoder, memory = Decoder(max_frame=5_000, on_invalid="keep"), bytearray(raw)
    event = decoder.decode(memoryview(memory))
    assert isinstance(event, InvalidEvent)
    gone = weakref.ref(decoder)
    del decoder
    assert gone() is None
    memory.clear()


def test_the_stand_ins_of_the_api_description_are_no_audio(real_recordings: list) -> None:
    # Two of the real frames: documentation, whose `delta` is a word and no base64.
    invalid = []
    for path in real_recordings:
        decoder = Decoder(on_invalid="keep")
        events = map(decoder.decode, path.read_bytes().splitlines())
        invalid += [event for event in events if isinstance(event, InvalidEvent)]
    assert [json.loads(event.raw)["delta"] for event in invalid] == ["Base64EncodedAudioDelta"] * 2


# --- exact figures ------------------------------------------------------------------------------


@pytest.mark.parametrize("type", [GA, BETA])
@pytest.mark.parametrize("layout", KNOWN_LAYOUTS)
@pytest.mark.parametrize("separators", [COMPACT, SPACED])
@both_forms
def test_the_fast_path_takes_every_long_delta(
    form: str, type: str, layout: str, separators: tuple[str, str]
) -> None:
    decoder = decoder_of(form)
    for number in range(100):
        item = {"item_id": f"item_{number // 10}", "event_id": f"event_{number}"}
        data = pcm(1_536 + number)
        decoder.decode(audio_frame(data, type=type, layout=layout, separators=separators, **item))
    assert decoder.stats.fast == decoder.stats.audio == 100


@both_forms
def test_the_fast_path_takes_the_long_deltas_of_real_servers(
    form: str, real_recordings: list
) -> None:
    decoder = decoder_of(form, on_invalid="keep")
    for path in real_recordings:
        for line in path.read_bytes().splitlines():
            if b"audio.delta" in line and len(json.loads(line).get("delta", "")) >= 2_048:
                decoder.decode(line)
    assert decoder.stats.fast == decoder.stats.audio > 0


@both_forms
def test_an_audio_delta_leaves_nothing_behind(form: str) -> None:
    decoder, raw = decoder_of(form), audio_frame(pcm(12_000))
    decoder.decode(raw)
    tracemalloc.start()
    try:
        for _ in range(50):
            decoder.decode(raw)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50):
            decoder.decode(raw)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 500
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # The event, its event_id, its `stop`; `start` is the `stop` of the one before.
        (audio_frame(pcm(12_000)), 3),
        (audio_frame(pcm(960), type=BETA), 3),
        # The event, three ids, the text.
        (
            frame(
                "response.output_audio_transcript.delta",
                event_id="event_1",
                response_id="resp_1",
                item_id="item_1",
                output_index=0,
                content_index=0,
                delta="fog",
            ),
            5,
        ),
    ],
    ids=["audio", "beta audio", "transcript"],
)
@both_forms
def test_allocations_per_event(form: str, raw: bytes, expected: int) -> None:
    decoder = decoder_of(form, seconds=1.0)
    kept: list[object] = [None] * 1_000

    def fill() -> None:
        for at in range(len(kept)):
            event = kept[at] = decoder.decode(raw)
            if isinstance(event, AudioDelta):
                event.track.ring.clear()

    fill()
    kept[:] = [None] * len(kept)
    gc.collect()
    before = sys.getallocatedblocks()
    fill()
    assert round((sys.getallocatedblocks() - before) / len(kept), 1) == expected


@pytest.mark.parametrize(
    ("form", "most"),
    # pure: the decoded bytes, once; native: the event alone, as they go straight into the ring.
    [pytest.param("pure", 13_000), pytest.param("native", 500, marks=needs_native)],
)
def test_memory_at_the_peak_of_an_audio_delta(form: str, most: int) -> None:
    decoder, raw = decoder_of(form, seconds=1.0), audio_frame(pcm(12_000))
    for _ in range(10):
        decoder.decode(raw)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        decoder.decode(raw)
        assert tracemalloc.get_traced_memory()[1] - before < most
    finally:
        tracemalloc.stop()


# --- fast = slow --------------------------------------------------------------------------------


class Same:
    """A decoder of each kind on the same frames, which must agree on everything."""

    def __init__(self, **options: Any) -> None:
        self.decoders = {way: decoder_of(way, **options) for way in WAYS}

    def check(self, raw: Any) -> tuple[Any, ...]:
        outcomes = [outcome(decoder, raw) for decoder in self.decoders.values()]
        assert outcomes.count(outcomes[0]) == len(outcomes), raw
        return outcomes[0]

    def finish(self) -> None:
        stats = [comparable(decoder.stats) for decoder in self.decoders.values()]
        assert stats.count(stats[0]) == len(stats)
        tracks = [list(decoder.tracks) for decoder in self.decoders.values()]
        assert tracks.count(tracks[0]) == len(tracks)


def test_the_hostile_corpus_is_large_enough() -> None:
    assert len(hostile()) >= 150


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_hostile_frames_come_out_the_same_with_and_without_the_fast_path(kind: int) -> None:
    same = Same(max_tracks=200)
    for _ in range(2):
        for raw in hostile().values():
            try:
                given = KINDS[kind](raw) if isinstance(raw, bytes) else raw
            except UnicodeDecodeError:
                continue
            same.check(given)
    same.finish()
    for form in FORMS:
        assert same.decoders[form].stats.fast > 100


def test_hostile_frames_raise_nothing_but_frame_errors() -> None:
    for raw in hostile().values():
        with contextlib.suppress(deltaring.FrameError):
            deltaring.decode(raw)


def test_a_track_that_waits_for_memory_gets_it_by_either_path() -> None:
    same = Same(max_tracks=1)
    name = "i" * 400  # a header so long that a frame without samples takes the fast path
    for decoder in same.decoders.values():
        decoder.decode(audio_frame(pcm(300), item_id="held"))
    done = audio_done("resp_E4ySzvKWmfZzGYRJLuvPM", "held")
    for raw in (done, audio_frame(b"", item_id=name), audio_frame(b"a", item_id=name)):
        same.check(raw)
    for decoder in same.decoders.values():
        next(iter(decoder.tracks.values())).ring.clear()
    result = same.check(audio_frame(pcm(301), item_id=name))
    assert result[2][:3] == (0, 151, 0)


def test_late_deltas_get_fresh_rings_by_either_path() -> None:
    for decoder in map(decoder_of, WAYS):
        rings = set()
        for _ in range(4):
            event = decoder.decode(audio_frame(pcm(300)))
            assert isinstance(event, AudioDelta)
            rings.add(event.track.ring)
            event.track.ring.clear()
            decoder.decode(audio_done(event.response_id, event.item_id))
        for _ in range(3):
            event = decoder.decode(audio_frame(pcm(300)))
            assert isinstance(event, AudioDelta)
            rings.add(event.track.ring)
            event.track.ring.clear()
        assert len(rings) == 7


class Life:
    """One decoder's tracks as a consumer sees them: counters, contents, and which ring is which."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.rings: list[deltaring.AudioRing] = []

    def step(self, raw: bytes | None, read: int) -> list[Any]:
        event = None if raw is None else self.decoder.decode(raw)
        seen: list[Any] = [type(event)]
        if isinstance(event, AudioDelta):
            seen += [event.track.serial, event.start, event.stop, event.dropped]
        for number, (key, track) in enumerate(self.decoder.tracks.items()):
            if not any(track.ring is ring for ring in self.rings):
                self.rings.append(track.ring)
            ring = next(n for n, ring in enumerate(self.rings) if ring is track.ring)
            data = track.ring.read(read).tobytes() if read and number % 2 else b""
            seen.append((key, track.serial, ring, data, track.done, track.overrun, track.pending))
            seen.append((track.ring.written, track.ring.consumed, track.ring.capacity))
        return seen


def script(chance: random.Random) -> Iterator[bytes | None]:
    """Deltas, endings, formats and epochs in any order; None where only the consumer acts."""
    responses = chance.choice((["r", "s"], ["", "r"], [""]))
    pad = "i" * 300  # so that a delta without samples is long enough for the fast path
    for _ in range(chance.randrange(3, 30)):
        name, item = chance.choice(responses), chance.choice("abc") + pad
        match chance.randrange(12):
            case 0:
                yield audio_done(name, item)
            case 1:
                yield response(chance.choice(("response.done", "response.created")), name)
            case 2:
                yield session(chance.choice(("session.created", "session.updated")),
                              output_audio_format=chance.choice((None, "g711_ulaw", "opus", "pcm16")))  # fmt: skip
            case 3 | 4:
                yield None
            case _:
                data = chance.randbytes(chance.choice((0, 1, 2, 150, 151, 301)))
                layout = chance.choice((OPENAI, OPENAI, OPENAI, VOICE_LIVE, XAI))
                yield audio_frame(data, response_id=name, item_id=item, layout=layout)


LIVES = 200_000 if LONG else 8_000


@pytest.mark.parametrize("part", range(4))
def test_random_lives_of_tracks_are_the_same_by_either_path(part: int) -> None:
    for seed in range(part * LIVES // 4, (part + 1) * LIVES // 4):
        chance = random.Random(seed)
        options = {"max_tracks": chance.choice((1, 2, 16)), "seconds": chance.choice((0.005, 1.0))}
        lives = [Life(decoder_of(way, **options)) for way in WAYS]
        for raw in script(chance):
            read = chance.choice((0, 0, 10, 10_000))
            steps = [life.step(raw, read) for life in lives]
            assert steps.count(steps[0]) == len(steps), seed
        stats = [comparable(life.decoder.stats) for life in lives]
        assert stats.count(stats[0]) == len(stats)


def seeds() -> list[bytes]:
    """Frames to mutate: short enough to be quick, long enough for the fast path."""
    frames = [
        audio_frame(pcm(210 + number), type=type, layout=layout, separators=separators)
        for number, (type, layout, separators) in enumerate(
            (type, layout, separators)
            for type in (GA, BETA)
            for layout in (OPENAI, VOICE_LIVE, XAI)
            for separators in (COMPACT, SPACED)
        )
    ]
    return [
        *frames,
        *frames,
        audio_frame(pcm(210), layout=OTHER_LAYOUTS[0]),
        session(output_audio_format="g711_ulaw"),
    ]


TOKENS = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"=", b"==", b"A", b"+", b"/", b"\n", b"\0",
    b"\xff", b"0", b"-", b"1.5", b"null", b'"type":"error",', b'"delta":"AAAA",', b',"delta":"QUJD"',
    b'","delta":"', b'"type":"response.audio.delta",', b'"content_index":1,', b'"event_id":"x",',
    b"\\u0041", b"\\/", b'\\"', b"item_", b"resp_", b"output_",
]  # fmt: skip


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """Frames that are nearly right."""
    chance = random.Random(seed)
    sources = seeds()
    for _ in range(count):
        data = bytearray(chance.choice(sources))
        # Most of the interest is in the header and at the ends.
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            at = chance.choice((chance.randrange(len(data) + 1), chance.randrange(min(230, len(data) + 1)),
                                max(0, len(data) - chance.randrange(9))))  # fmt: skip
            match chance.randrange(6):
                case 0:
                    data[at:at] = chance.choice(TOKENS)
                case 1:
                    data[at : at + 1] = chance.randbytes(1)
                case 2:
                    del data[at : at + chance.choice((1, 1, 2, 3, 4, 30))]
                case 3:
                    data[at : at + chance.randrange(4)] = chance.choice(TOKENS)
                case 4:
                    other = chance.choice(sources)
                    start = chance.randrange(len(other))
                    data[at:at] = other[start : start + chance.randrange(40)]
                case 5:
                    end = at + chance.randrange(30)
                    data[at:at] = data[at:end]
        yield bytes(data)


MUTANTS = 5_000_000 if LONG else 200_000


@pytest.mark.parametrize("part", range(8))
def test_mutants_come_out_the_same_with_and_without_the_fast_path(part: int) -> None:
    same = Same(max_tracks=50, seconds=2.0)
    for number, raw in enumerate(mutants(part, MUTANTS // 8)):
        result = same.check(raw)
        if result[0] is AudioDelta and number % 8 == 0:
            check_against_json(raw)
        if number % 500 == 499:  # fresh ones: rings must not stay full
            same.finish()
            same = Same(max_tracks=50, seconds=2.0)


def check_against_json(raw: bytes) -> None:
    """A second opinion on an audio delta, from a parser that shares nothing with ours."""
    event = Decoder().decode(raw)
    assert isinstance(event, AudioDelta)
    try:
        wire = json.loads(raw)
    except UnicodeDecodeError:  # in a field that nobody reads
        return
    for name in ("type", "event_id", "response_id", "item_id", "output_index", "content_index"):
        assert getattr(event, name) == wire.get(name, 0 if name.endswith("index") else "")
    data = b64decode(wire["delta"], None, True)
    assert event.track.ring.read(len(data)).tobytes() == data[: len(data) & ~1]


# --- random sessions ----------------------------------------------------------------------------


class Model:
    """What must become of one track's bytes, in the plainest way."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.received = self.accepted = self.read = b""
        self.overrun = False
        self.position = 0

    def give(self, data: bytes) -> tuple[int, int, int]:
        self.received += data
        start, stop = self.position, len(self.received) // 2
        self.position = stop
        free = 0 if self.overrun else self.capacity - (len(self.accepted) - len(self.read)) // 2
        taken = min(free, stop - start)
        self.accepted += self.received[2 * start : 2 * (start + taken)]
        self.overrun |= taken < stop - start
        return start, stop, stop - start - taken


def play_session(seed: int) -> None:
    """One random session: PCM cut anywhere, over several items, in every kind of frame."""
    chance = random.Random(seed)
    capacity = chance.choice((1, 7, 50, 400, 100_000))
    decoder = decoder_of(chance.choice((*FORMS, *WAYS)), seconds=(capacity + 0.5) / 24_000)
    style = {
        "type": chance.choice((GA, BETA)),
        "layout": chance.choice((OPENAI, OPENAI, VOICE_LIVE, XAI, OTHER_LAYOUTS[0])),
        "separators": chance.choice((COMPACT, SPACED)),
    }
    keys = [(f"resp_{n % 2}", f"item_{n}") for n in range(chance.randrange(1, 5))]
    models = {key: Model(capacity) for key in keys}
    for _ in range(chance.randrange(1, 14)):
        key = chance.choice(keys)
        model = models[key]
        data = chance.randbytes(
            chance.choice((0, 1, 2, 3, 5, chance.randrange(60), chance.randrange(900)))
        )
        raw = audio_frame(data, response_id=key[0], item_id=key[1], **style)  # type: ignore[arg-type]
        event = decoder.decode(chance.choice(KINDS)(raw))
        assert isinstance(event, AudioDelta)
        assert (event.start, event.stop, event.dropped) == model.give(data)
        track, ring = event.track, event.track.ring
        assert track.overrun == model.overrun
        assert 2 * (ring.written + ring.dropped) + track.pending == len(model.received)
        if chance.random() < 0.6:
            model.read += ring.read(chance.choice((1, 20, 10_000))).tobytes()
            assert model.accepted.startswith(model.read)
        if chance.random() < 0.1:
            decoder.decode(audio_done(*key, type=str(style["type"])))
        if chance.random() < 0.04:
            decoder.decode(response("response.done", key[0]))
    for (response_id, item_id), model in models.items():
        if model.received:
            model.read += decoder.tracks[response_id, item_id, 0].ring.read(100_000).tobytes()
            assert model.read == model.accepted
    received = sum(len(model.received) for model in models.values())
    assert decoder.stats.audio_bytes == received


SESSIONS = 100_000


@pytest.mark.parametrize("part", range(8))
def test_random_sessions_are_exact_to_the_sample(part: int) -> None:
    for seed in range(part * SESSIONS // 8, (part + 1) * SESSIONS // 8):
        play_session(seed)
