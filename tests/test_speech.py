import re
import struct
import wave
from pathlib import Path

import pytest

import deltaring
from deltaring.outdir import OutputFolder
from deltaring.speech import Speech, SpokenItem, wav_header
from tests.wire import audio_frame, pcm, session


class Writer:
    """Decodes frames and writes their audio, as a replay does."""

    def __init__(self, root: Path) -> None:
        self.folder = OutputFolder(root, "f", re.compile("x"))
        self.speech = Speech(self.folder)
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
        self.refused = self.speech.finish()
        self.folder.finish()
        return {path.name: path.read_bytes() for path in self.folder.path.iterdir()}


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


def test_the_header_is_what_the_standard_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav_header(8_000, 6) + b"abcdef")
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (1, 2, 8_000, 3)
        assert file.readframes(9) == b"abcdef"


def test_interleaved_items_go_to_files_of_their_own(writer: Writer) -> None:
    for number in range(6):
        writer.give(pcm(100, number), f"item_{number % 2}")
    files = writer.finish()
    first = b"".join(pcm(100, number) for number in (0, 2, 4))
    second = b"".join(pcm(100, number) for number in (1, 3, 5))
    assert files["item-0001.wav"][44:] == first
    assert files["item-0002.wav"][44:] == second
    assert files["assistant.wav"] == wav_header(24_000, 600) + first + second


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


def test_what_a_wav_cannot_hold_is_kept_without_a_header(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaring.speech._MAX_WAV", 99)
    writer.give(pcm(100))
    assert writer.finish() == {"item-0001.raw": pcm(100)}
    assert "4 GiB" in writer.refused[0]


def test_a_whole_that_no_wav_can_hold_is_named(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaring.speech._MAX_WAV", 150)
    writer.give(pcm(100), "a")
    writer.give(pcm(100), "b")
    assert set(writer.finish()) == {"item-0001.wav", "item-0002.wav"}
    assert "assistant.wav" in writer.refused[0]
