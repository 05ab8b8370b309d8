"""deltaring against the second opinion (tests/opinion.py): events, ids, samples, positions, files."""

import base64
import itertools
import json
import os
import random
import re
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deltaring
import deltaring.decoder
from deltaring.recording import Recording
from deltaring.replay import replay
from tests import opinion
from tests.kernels import FORMS, WAYS, decoder_of
from tests.mutants import bases, mutants, sample
from tests.opinion import Heard, Opinion, Reading, read, same
from tests.wire import (
    BETA,
    COMPACT,
    GA,
    KNOWN_LAYOUTS,
    OTHER_LAYOUTS,
    SPACED,
    audio_done,
    audio_frame,
    frame,
    hostile,
    pcm,
    response,
    session,
)

LONG = os.environ.get("DELTARING_LONG") == "1"


def attempt(decode: Any, raw: bytes) -> Any:
    """Return the event, or the name of the error."""
    try:
        return decode(raw)
    except deltaring.FrameError as error:
        return type(error).__name__


class Trial:
    """One connection as every decoder sees it, and the opinion on each of its frames."""

    def __init__(self, **options: Any) -> None:
        options = {"seconds": 30.0, "max_tracks": 1_000, **options}
        self.decoders = {way: decoder_of(way, **options) for way in WAYS}
        self.opinion = Opinion()
        self.accepted = self.refused = self.unknown = self.audio = 0

    def check(self, raw: bytes) -> None:
        reading = read(raw)
        self._check_alone(raw, reading)
        results = {way: attempt(decoder.decode, raw) for way, decoder in self.decoders.items()}
        refused = {result for result in results.values() if isinstance(result, str)}
        if refused:
            assert len(refused) == 1, (raw, results)
            assert all(isinstance(result, str) for result in results.values()), (raw, results)
            self._check_refusal(raw, reading, refused.pop())
            return
        assert reading.name, (raw, reading, results)
        self.accepted += 1
        if reading.name == "UnknownEvent":
            self.unknown += 1
            heard = None
        else:
            heard = self.opinion.hear(reading.wire)
        for way, event in results.items():
            if heard is None:
                assert agrees(event, raw, reading), (way, raw, reading, event)
            else:
                assert sounds(event, reading, heard), (way, raw, reading, heard, event)
        self.audio += heard is not None

    def _check_alone(self, raw: bytes, reading: Reading) -> None:
        event = attempt(deltaring.decode, raw)
        if isinstance(event, str):
            assert event in reading.errors, (raw, reading, event)
        else:
            assert agrees(event, raw, reading), (raw, reading, event)

    def _check_refusal(self, raw: bytes, reading: Reading, error: str) -> None:
        self.refused += 1
        if error not in reading.errors:
            assert error == "InvalidAudio", (raw, reading, error)
            with pytest.raises(ValueError, match="no strict base64"):
                opinion.strict_base64(reading.wire["delta"])

    def finish(self) -> None:
        """Compare what is left to be compared at the end: voices, and the counters of them all."""
        voices = self.opinion.voices
        for way, decoder in self.decoders.items():
            stats = decoder.stats
            assert stats.frames == self.accepted + self.refused, way
            assert (stats.invalid, stats.unknown) == (self.refused, self.unknown), way
            assert (stats.audio, stats.dropped_samples) == (self.audio, 0), way
            assert stats.audio_bytes == sum(len(voice.received) for voice in voices), way
            assert stats.late == sum(voice.late for voice in voices), way
            newest = {voice.key: voice for voice in voices}
            for key, track in decoder.tracks.items():
                assert (track.serial, track.done, track.pending) == (
                    newest[key].serial, newest[key].done, newest[key].pending
                ), (way, key)  # fmt: skip


def agrees(event: Any, raw: bytes, reading: Reading) -> bool:
    """Whether an event is what the opinion says, in its class and in all of its fields."""
    wire = reading.wire
    if type(event).__name__ != reading.name or event.type != wire["type"]:
        return False
    if isinstance(event, deltaring.UnknownEvent):
        event_id = wire.get("event_id")
        return event.raw == raw and event.event_id == (
            event_id if isinstance(event_id, str) else ""
        )
    return same(event, wire)


def sounds(event: Any, reading: Reading, heard: Heard) -> bool:
    """Whether an audio delta is what the opinion says; its samples are read, so none are left."""
    wire, voice = reading.wire, heard.voice
    track = event.track
    return (
        isinstance(event, deltaring.AudioDelta)
        and (event.type, event.event_id) == (wire["type"], wire.get("event_id", ""))
        and (event.response_id, event.item_id, event.content_index) == voice.key == track.key
        and event.output_index == wire.get("output_index", 0)
        and (event.start, event.stop, event.dropped) == (heard.start, heard.stop, 0)
        and (track.serial, track.done, track.pending) == (voice.serial, voice.done, voice.pending)
        and (track.format, track.sample_rate) == voice.format
        and track.ring.read(track.ring.readable).tobytes() == heard.samples
    )


# --- the opinion itself -------------------------------------------------------------------------


def test_the_opinion_knows_the_same_types() -> None:
    classes = {type: cls.__name__ for type, cls in deltaring.EVENT_CLASSES.items()}
    assert {type: opinion.class_name(type) for type in opinion.EVENTS} == classes


def test_what_the_opinion_takes_for_strict_is_declared() -> None:
    for type, specs in opinion.EVENTS.items():
        names = {re.sub(r"\W", "", spec) for spec in specs}
        assert names <= set(deltaring.EVENT_CLASSES[type].__struct_fields__), type


@pytest.mark.parametrize(
    ("raw", "reading"),
    [
        (b'{"type":"session.closed"}', ("SessionClosed", set())),
        (b'{"type":"a.b"}', ("UnknownEvent", set())),
        (b'{"type":"a.b","type":"a.c"}', ("", {"SchemaError"})),
        (b'{"type":"error"}', ("", {"SchemaError"})),
        (b'{"type":"response.text.delta","delta":null}', ("", {"SchemaError"})),
        (b'{"type":"response.text.delta","delta":"","output_index":true}', ("", {"SchemaError"})),
        (b'{"type":"session.closed","event_id":"\xff"}', ("", {"InvalidJSON"})),
        (b'{"type":"session.closed",}', ("", {"InvalidJSON", "SchemaError"})),
        (b"[" * 1_001, ("", {"InvalidJSON", "SchemaError"})),
    ],
)
def test_the_opinion_can_tell(raw: bytes, reading: tuple[str, set[str]]) -> None:
    name, _, errors = read(raw)
    assert (name, errors) == reading


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_the_tables_of_g711_are_those_of_the_formula(law: str) -> None:
    trial = Trial()
    trial.check(session(output_audio_format=f"g711_{law}"))
    trial.check(audio_frame(bytes(range(256)) * 3))
    trial.finish()


# --- frames -------------------------------------------------------------------------------------


def test_real_frames(real_recordings: list[Path]) -> None:
    trial = Trial()
    for path in real_recordings:
        for line in path.read_bytes().splitlines():
            trial.check(line)
    trial.finish()
    assert trial.accepted > 300


def test_real_frames_each_by_itself(real_recordings: list[Path]) -> None:
    for path in real_recordings:
        for line in path.read_bytes().splitlines():
            Trial().check(line)


def test_frames_of_every_type() -> None:
    trial = Trial()
    for type in opinion.EVENTS:
        trial.check(sample(type))
    trial.finish()
    assert trial.refused == 0


@pytest.mark.parametrize("layout", [*KNOWN_LAYOUTS, *OTHER_LAYOUTS])
def test_frames_of_every_layout(layout: str) -> None:
    trial = Trial()
    for type in (GA, BETA):
        for separators in (COMPACT, SPACED):
            for size in (0, 1, 2, 29, 30, 300, 301, 1_536, 12_000, 12_001):
                trial.check(audio_frame(pcm(size), type=type, layout=layout, separators=separators))
    trial.finish()
    assert trial.audio == 40


def test_hostile_frames() -> None:
    trial = Trial()
    for raw in hostile().values():
        if isinstance(raw, bytes):
            trial.check(raw)
    trial.finish()
    assert trial.audio > 100


MUTANTS = 1_000_000 if LONG else 20_000


@pytest.mark.parametrize("part", range(4))
def test_mutants(part: int) -> None:
    kinds = {"accepted": 0, "refused": 0, "unknown": 0, "audio": 0}
    trial = Trial(seconds=2.0)
    for number, raw in enumerate(mutants(part, MUTANTS // 4), 1):
        trial.check(raw)
        if number % 100 == 0:
            trial.finish()
            kinds = {name: count + getattr(trial, name) for name, count in kinds.items()}
            trial = Trial(seconds=2.0)
    # A generator whose mutants all fare alike would prove little.
    assert min(kinds.values()) > MUTANTS // 4 // 50, kinds


def test_mutants_of_real_frames(real_recordings: list[Path]) -> None:
    lines = [line for path in real_recordings for line in path.read_bytes().splitlines()]
    short = [line for line in lines if len(line) < 3_000]
    trial = Trial(seconds=2.0)
    for number, raw in enumerate(mutants(7, MUTANTS // 10, short), 1):
        trial.check(raw)
        if number % 100 == 0:
            trial.finish()
            trial = Trial(seconds=2.0)


# --- conversations ------------------------------------------------------------------------------

FORMATS: list[dict[str, Any]] = [
    {}, {"output_audio_format": None}, {"output_audio_format": "pcm16"}, {"output_audio_format": "g711_ulaw"},
    {"output_audio_format": "g711_alaw"}, {"output_audio_format": "opus"}, {"output_audio_format": "not specified"},
    {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16_000}}}}, {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
    {"audio": {"output": {"format": {"type": "audio/pcma", "rate": None}}}}, {"audio": {"output": {"format": "pcm24"}}},
    {"audio": {"output": None}, "output_audio_format": "pcm"}, {"audio": {"output": {"format": {"rate": 8_000}}}},
    {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 1e12}}}, "output_audio_format": "g711_ulaw"}, {"audio": "odd"},
]  # fmt: skip


def conversation(seed: int) -> Iterator[bytes]:
    """Frames of one connection: several replies at a time, cut anywhere, late, ended, begun again."""
    chance = random.Random(seed)
    # With ids, with some, with none; and one server that has one id for all.
    ids = chance.choice((["resp_1", "resp_2", "resp_3"], ["resp_1", ""], [""], ["resp_1"]))
    style = {"type": chance.choice((GA, BETA)), "separators": chance.choice((COMPACT, SPACED))}
    yield session(**chance.choice(FORMATS))
    for number in range(chance.randrange(5, 60)):
        key = chance.choice(ids), chance.choice(("item_1", "item_2", ""))
        index = chance.choice((0, 0, 0, 1))
        match chance.randrange(16):
            case 0:
                yield session("session.updated", **chance.choice(FORMATS))
            case 1 if chance.random() < 0.3:
                yield session(**chance.choice(FORMATS))
            case 2 | 3:
                yield response(
                    "response.created", chance.choice((key[0], None)), **chance.choice(FORMATS)
                )
            case 4:
                yield response("response.done", chance.choice((key[0], None)))
            case 5:
                yield audio_done(*key, content_index=index, type=chance.choice((GA, BETA)))
            case 6:
                yield sample(chance.choice(list(opinion.EVENTS)))
            case 7:
                yield frame(
                    "response.audio_transcript.delta",
                    response_id=key[0],
                    item_id=key[1],
                    delta="né😀",
                )
            case 8:
                yield audio_frame("A" * chance.randrange(600), response_id=key[0], item_id=key[1])
            case _:
                yield audio_frame(
                    chance.randbytes(chance.choice((0, 1, 2, 3, 150, 301, 1_000, 4_801))),
                    layout=chance.choice((*KNOWN_LAYOUTS, *OTHER_LAYOUTS)), response_id=key[0], item_id=key[1],
                    content_index=index, event_id=f"event_{number}", output_index=chance.randrange(3), **style,
                )  # fmt: skip


CONVERSATIONS = 20_000 if LONG else 400


@pytest.mark.parametrize("part", range(4))
def test_conversations(part: int) -> None:
    for seed in range(part * CONVERSATIONS // 4, (part + 1) * CONVERSATIONS // 4):
        trial = Trial(seconds=2.0)
        for raw in conversation(seed):
            trial.check(raw)
        trial.finish()


def test_any_chunking_gives_the_same_samples() -> None:
    for seed in range(1_000 if LONG else 40):
        chance = random.Random(seed)
        data, trial = chance.randbytes(chance.randrange(3_000)), Trial(seconds=2.0)
        left = data
        while left:
            size = chance.choice((0, 1, 2, 3, chance.randrange(900)))
            trial.check(audio_frame(left[:size], layout=chance.choice(KNOWN_LAYOUTS)))
            left = left[size:]
        trial.finish()
        assert b"".join(bytes(voice.received) for voice in trial.opinion.voices) == data


# --- recordings ---------------------------------------------------------------------------------


def lines_of(path: Path) -> Iterator[tuple[float | None, str, bytes]]:
    """Read a recording whose lines are all right, as plainly as can be."""
    for line in path.read_bytes().splitlines():
        wire = json.loads(line)
        if "type" in wire:
            yield None, "server", line
        elif "event" in wire:
            # Where the frame stands in the line: what is left when the rest is taken away.
            head = re.match(rb'\{"time": ?[^"]*"source": ?"\w+", ?"event": ?', line)
            assert head is not None
            yield wire["time"], wire["source"], line[head.end() : -1]
        else:
            yield wire["time"], wire["source"], base64.b64decode(wire["raw"])


def check_recording(path: Path, out: Path, *, refused: int = 0) -> Opinion:
    """Replay a recording, and compare reader, report and audio files with the opinion on it.

    refused: how many frames there are whose audio is no strict base64.
    """
    recording = Recording(path)
    assert [(time, source, bytes(raw)) for time, source, raw in recording] == list(lines_of(path))
    report, folder = replay(recording, out)
    connection, appended, errors = Opinion(), b"", 0
    for _, source, raw in lines_of(path):
        reading = read(raw)
        if source == "client":
            appended += opinion.strict_base64(reading.wire.get("audio", ""))
        elif reading.name != "UnknownEvent":
            try:
                connection.hear(reading.wire)
            except ValueError:
                errors += 1
    assert errors == refused
    check_items(folder, report.items, connection.voices)
    if appended:
        assert content(folder / "user.wav", 24_000) == appended
    return connection


def check_items(folder: Path, items: list[Any], voices: list[opinion.Voice]) -> None:
    for voice, item in zip(voices, items, strict=True):
        assert (item.response_id, item.item_id, item.content_index) == voice.key
        assert (item.format, item.sample_rate) == voice.format
        assert (item.samples, item.pending, item.done) == (
            voice.position,
            voice.pending,
            voice.done,
        )
        assert bool(item.file) == bool(voice.position)
        if item.file:
            assert content(folder / item.file, voice.format[1]) == voice.samples(0, voice.position)
    check_joined(folder, [voice for voice in voices if voice.format[1] and voice.position])


def content(path: Path, rate: int | None) -> bytes:
    """Return the samples of a file, which must have that rate."""
    if rate is None:
        return path.read_bytes()
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2)
        return file.readframes(file.getnframes())


def check_joined(folder: Path, voices: list[opinion.Voice]) -> None:
    rates = list(dict.fromkeys(voice.format[1] for voice in voices))
    for number, rate in enumerate(rates, 1):
        name = "assistant.wav" if len(rates) == 1 else f"assistant-{number}.wav"
        parts = [voice.samples(0, voice.position) for voice in voices if voice.format[1] == rate]
        assert content(folder / name, rate) == b"".join(parts)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernel that a decoder gets which somebody else makes."""
    monkeypatch.setattr(deltaring.decoder, "Feed", FORMS[request.param])
    return str(request.param)


def test_the_example_recording(form: str, example: Path, tmp_path: Path) -> None:
    connection = check_recording(example, tmp_path)
    assert len(connection.voices) == 2
    trial = Trial()
    for _, source, raw in lines_of(example):
        if source == "server":
            trial.check(raw)
    trial.finish()


def test_real_recordings(form: str, real_recordings: list[Path], tmp_path: Path) -> None:
    for path in real_recordings:
        # The stand-ins for audio in the API's description are refused.
        refused = path.parent.name == "openapi-examples" and path.name != "translation.jsonl"
        check_recording(path, tmp_path / path.parent.name, refused=int(refused))


RECORDINGS = 300 if LONG else 3


def test_generated_recordings(form: str, tmp_path: Path) -> None:
    for number in range(RECORDINGS):
        chance = random.Random(number)
        path = tmp_path / f"{number}.jsonl"
        frames = itertools.chain.from_iterable(map(conversation, range(4 * number, 4 * number + 4)))
        # What is wrong with a line is for other tests.
        right = [raw for raw in frames if read(raw).name and not _bad_audio(raw)]
        path.write_bytes(b"".join(_line(chance, at, raw) for at, raw in enumerate(right)))
        check_recording(path, tmp_path / "out")


def _bad_audio(raw: bytes) -> bool:
    wire = json.loads(raw)
    if wire["type"] not in opinion.AUDIO:
        return False
    try:
        opinion.strict_base64(wire["delta"])
    except ValueError:
        return True
    return False


def _line(chance: random.Random, at: int, raw: bytes) -> bytes:
    ending = chance.choice((b"\n", b"\r\n"))
    match chance.randrange(4):
        case 0:
            return raw + ending
        case 1:
            return b'{"time": %d.5, "source": "server", "event": %s}' % (at, raw) + ending
        case 2:
            return b'{"time":null,"source":"server","raw":"%s"}' % base64.b64encode(raw) + ending
    return b'{"time":%d.25,"source":"server","event":%s}' % (at, raw) + ending


def test_there_are_mutants_of_every_type() -> None:
    assert {json.loads(raw)["type"] for raw in bases()} >= set(opinion.EVENTS)
