import re
import struct
from pathlib import Path

import pytest

import deltaring
from deltaring.audiofiles import AudioFiles
from deltaring.encoding import Encoding, wav_header
from deltaring.outdir import OutputFolder
from deltaring.speech import Speech, SpokenItem
from deltaring.tape import Tapes
from tests.wire import audio_frame, pcm, session


class Writer:
    """Decodes frames and writes their audio, as a replay does."""

    def __init__(self, root: Path, format: str = "wav", rate: int | None = None) -> None:
        self.folder = OutputFolder(root, "f", re.compile("x"))
        self.tapes = Tapes(self.folder)
        self.files = AudioFiles(self.folder, Encoding(format, rate))
        self.speech = Speech(self.files, self.tapes)
        self.decoder = deltaring.Decoder()
        self.items: dict[int, SpokenItem] = {}

    def give(self, data: bytes, item_id: str = "i") -> None:
        event = self.decoder.decode(audio_frame(data, item_id=item_id))
        assert isinstance(event, deltaring.AudioDelta)
        track = event.track
        item = self.items.setdefault(
            track.serial, SpokenItem("", *track.key, track.format, track.sample_rate)
        )
        item.samples += event.stop - event.start
        self.speech.take(track, item)
        track.ring.clear()

    def finish(self) -> dict[str, bytes]:
        self.tapes.close()
        self.speech.finish()
        self.refused = self.files.refused
        self.folder.finish()
        return {path.name: path.read_bytes() for path in self.folder.path.iterdir()}


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


def test_an_item_lasts_as_long_as_its_rate_says_and_0_where_there_is_none() -> None:
    assert SpokenItem("", "r", "i", 0, "pcm16", 24_000, samples=12_000).seconds == 0.5
    assert SpokenItem("", "r", "i", 0, "opus", None, samples=12_000).seconds == 0


def test_interleaved_items_go_to_files_of_their_own(writer: Writer) -> None:
    for number in range(6):
        writer.give(pcm(100, number), f"item_{number % 2}")
    files = writer.finish()
    first = b"".join(pcm(100, number) for number in (0, 2, 4))
    second = b"".join(pcm(100, number) for number in (1, 3, 5))
    assert files["item-0001.wav"][44:] == first
    assert files["item-0002.wav"][44:] == second
    assert files["assistant.wav"] == wav_header(24_000, 600) + first + second


def test_each_item_is_a_wav_by_itself(writer: Writer) -> None:
    writer.give(pcm(100))
    writer.give(pcm(50, 1))
    assert writer.finish()["item-0001.wav"] == wav_header(24_000, 150) + pcm(100) + pcm(50, 1)


def test_audio_that_goes_around_the_end_of_a_ring_is_whole(writer: Writer) -> None:
    writer.decoder = deltaring.Decoder(seconds=0.01)  # 240 samples
    track = writer.decoder.decode(audio_frame(pcm(400), item_id="i")).track  # type: ignore[union-attr]
    track.ring.read(150)
    writer.give(pcm(300, 1))
    assert writer.finish()["item-0001.wav"][44:] == pcm(400)[300:] + pcm(300, 1)


def test_more_items_at_a_time_than_files_may_be_open(writer: Writer) -> None:
    writer.decoder = deltaring.Decoder(max_tracks=200)
    for turn in range(3):
        for number in range(100):
            writer.give(pcm(20, 3 * number + turn), f"item_{number}")
    files = writer.finish()
    assert len(files) == 101
    for number in range(100):
        expected = b"".join(pcm(20, 3 * number + turn) for turn in range(3))
        assert files[f"item-{number + 1:04}.wav"][44:] == expected


@pytest.mark.parametrize("first", [b"", b"a"])
def test_an_item_that_starts_without_a_sample_loses_none(writer: Writer, first: bytes) -> None:
    writer.decoder = deltaring.Decoder(max_tracks=200)
    writer.give(first, "a")
    for number in range(20):  # so that the first item's file is closed in between
        writer.give(pcm(20, number), f"item_{number}")
    writer.give(pcm(101), "a")
    expected = (first + pcm(101))[: 100 + 2 * len(first)]
    assert writer.finish()["item-0001.wav"][44:] == expected


def test_an_unknown_format_is_refused_by_name_and_its_bytes_are_kept(writer: Writer) -> None:
    writer.decoder.decode(session(output_audio_format="opus"))
    writer.give(pcm(2_000_000))
    writer.give(pcm(77))
    files = writer.finish()
    assert files == {"item-0001.raw": pcm(2_000_000) + pcm(77)}
    assert "'opus'" in writer.refused[0]


def test_each_rate_gets_a_file_of_the_whole(writer: Writer) -> None:
    writer.give(pcm(100), "a")
    writer.decoder.decode(session("session.updated", output_audio_format="g711_ulaw"))
    writer.give(pcm(50), "b")
    files = writer.finish()
    assert set(files) == {"item-0001.wav", "item-0002.wav", "assistant-1.wav", "assistant-2.wav"}
    assert [struct.unpack_from("<I", files[f"assistant-{n}.wav"], 24)[0] for n in (1, 2)] == [
        24_000,
        8_000,
    ]


def test_no_audio_makes_no_file(writer: Writer) -> None:
    assert writer.finish() == {}


@pytest.mark.parametrize("format", ["wav", "flac", "opus"])
def test_an_item_without_a_whole_sample_makes_no_file(tmp_path: Path, format: str) -> None:
    pytest.importorskip("soundfile", reason="the audio extra")
    writer = Writer(tmp_path, format)
    writer.give(b"a")
    assert writer.finish() == {}
    assert writer.refused == []


def test_what_a_wav_cannot_hold_is_kept_without_a_header(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaring.encoding.MAX_WAV", 99)
    writer.give(pcm(100))
    assert writer.finish() == {"item-0001.raw": pcm(100)}
    assert "4 GiB" in writer.refused[0]


def test_a_whole_that_no_wav_can_hold_is_named(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaring.encoding.MAX_WAV", 150)
    writer.give(pcm(100), "a")
    writer.give(pcm(100), "b")
    assert set(writer.finish()) == {"item-0001.wav", "item-0002.wav"}
    assert "assistant.wav" in writer.refused[0]


def test_each_item_is_resampled_and_the_whole_is_their_sum(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the audio extra")
    writer = Writer(tmp_path, "flac", 16_000)
    writer.give(pcm(2 * 2_401), "a")
    writer.decoder.decode(session("session.updated", output_audio_format="g711_ulaw"))
    writer.give(pcm(800), "b")
    files = writer.finish()
    assert set(files) == {"item-0001.flac", "item-0002.flac", "assistant.flac"}
    parts = [
        soundfile.read(writer.folder.path / name, dtype="int16")
        for name in ("item-0001.flac", "item-0002.flac", "assistant.flac")
    ]
    assert [(len(samples), rate) for samples, rate in parts] == [
        (1_601, 16_000), (1_600, 16_000), (3_201, 16_000),
    ]  # fmt: skip
    assert parts[2][0].tolist() == parts[0][0].tolist() + parts[1][0].tolist()


def test_a_resampled_file_is_listed_with_its_own_rate_and_length(tmp_path: Path) -> None:
    pytest.importorskip("soxr")
    writer = Writer(tmp_path, rate=16_000)
    writer.give(pcm(4_800))
    writer.finish()
    listed = [(file.sample_rate, file.samples, file.seconds) for file in writer.files.written]
    assert listed == [(16_000, 1_600, 0.1)] * 2


def test_files_are_listed_as_they_were_written(writer: Writer) -> None:
    writer.give(pcm(100), "a")
    writer.give(pcm(201), "b")
    writer.finish()
    assert [(file.file, file.sample_rate, file.samples) for file in writer.files.written] == [
        ("item-0001.wav", 24_000, 50), ("item-0002.wav", 24_000, 100), ("assistant.wav", 24_000, 150),
    ]  # fmt: skip
    assert {(file.format, file.channels) for file in writer.files.written} == {("wav", 1)}
    assert writer.files.written[2].seconds == 150 / 24_000
