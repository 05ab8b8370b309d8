import io
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from deltaring.encoding import MAX_WAV, Encoding, choose_encoding, wav_header
from deltaring.errors import ReplayError
from deltaring.ring import Samples

soundfile = pytest.importorskip("soundfile", reason="the audio extra")
pytest.importorskip("soxr", reason="the audio extra")


def speech(count: int, channels: int = 1) -> Samples:
    """A tone that changes: what Opus keeps."""
    time = np.arange(count) / 24_000
    wave = (8_000 * np.sin(2 * np.pi * (300 + 100 * time) * time)).astype("<i2")
    return wave if channels == 1 else np.stack([wave, wave // 2], axis=1)


def written(format: str, samples: Samples, rate: int = 24_000) -> bytes:
    file = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    blocks = [samples[:1_000], samples[1_000:]]
    assert Encoding(format).write(file, blocks, rate, channels) == len(samples)
    return file.getvalue()


@pytest.mark.parametrize("format", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_files_hold_the_samples(format: str, channels: int) -> None:
    samples = speech(30_001, channels)
    there, rate = soundfile.read(io.BytesIO(written(format, samples)), dtype="int16")
    assert rate == 24_000
    assert (there == samples).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_an_opus_file_holds_the_same_number_of_samples_and_nearly_the_same(channels: int) -> None:
    samples = speech(30_001, channels)
    there, rate = soundfile.read(io.BytesIO(written("opus", samples)), dtype="int16")
    assert (rate, there.shape) == (24_000, samples.shape)
    assert np.abs(there[2_000:-2_000].astype(int) - samples[2_000:-2_000]).mean() < 500


@pytest.mark.parametrize("format", ["wav", "flac", "opus"])
def test_the_same_samples_give_the_same_bytes(format: str) -> None:
    assert written(format, speech(50_000)) == written(format, speech(50_000))


def test_the_wav_header_is_what_the_standard_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(wav_header(8_000, 8, 2) + b"abcdefgh")
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (2, 2, 8_000, 2)
        assert file.readframes(9) == b"abcdefgh"


@pytest.mark.parametrize(
    ("format", "own", "written"),
    [("wav", 22_050, 22_050), ("wav", 768_000, 768_000), ("flac", 22_050, 22_050),
     ("flac", 768_000, 48_000), ("opus", 24_000, 24_000), ("opus", 22_050, 48_000)],
)  # fmt: skip
def test_audio_keeps_its_rate_where_the_format_takes_it(
    format: str, own: int, written: int
) -> None:
    assert Encoding(format).rate(own) == written


def test_a_rate_that_is_given_goes_before_the_audios_own() -> None:
    assert Encoding("wav", 16_000).rate(24_000) == 16_000


def test_only_a_wav_has_an_end() -> None:
    assert Encoding("wav").holds(MAX_WAV // 2)
    assert not Encoding("wav").holds(MAX_WAV // 2 + 1)
    assert Encoding("flac").holds(MAX_WAV)


@pytest.mark.parametrize(
    ("audio", "rate", "stereo", "reason"),
    [("mp3", None, False, "'mp3'"), ("opus", 44_100, False, "opus takes 8000, 12000"),
     ("flac", 700_000, False, "flac takes up to 655350"), ("wav", 10, False, "4000 to 768000"),
     ("none", 8_000, False, "no audio is written"), ("none", None, True, "no audio is written")],
)  # fmt: skip
def test_options_that_cannot_be_met_are_refused(
    audio: str, rate: int | None, stereo: bool, reason: str
) -> None:
    with pytest.raises(ReplayError, match=reason):
        choose_encoding(audio, rate, stereo)


@pytest.mark.parametrize(
    ("package", "audio", "rate", "stereo"),
    [("soundfile", "flac", None, False), ("soundfile", "opus", None, False),
     ("soxr", "wav", 16_000, False), ("soxr", "opus", None, False), ("soxr", "wav", None, True)],
)  # fmt: skip
def test_a_missing_package_is_named(
    package: str, audio: str, rate: int | None, stereo: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ReplayError, match=rf"{package}: pip install 'deltaring\[audio\]'"):
        choose_encoding(audio, rate, stereo)


def test_wav_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert choose_encoding("wav", None, False) is not None
    assert choose_encoding("none", None, False) is None


class FullDisk(io.BytesIO):
    """Takes so many bytes, and no more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: object) -> int:
        if self.tell() + memoryview(data).nbytes > self.room:  # type: ignore[arg-type]
            raise OSError(28, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]


def test_an_error_ends_the_encoding_at_once() -> None:
    blocks = iter([speech(50_000)] * 3)
    with pytest.raises(OSError, match="No space left"):
        Encoding("flac").write(FullDisk(0), blocks, 24_000)
    assert len(list(blocks)) == 2


@pytest.mark.parametrize("format", ["wav", "flac", "opus"])
@pytest.mark.parametrize("short", [None, 1, 5_000])
def test_a_full_disk_is_an_error_wherever_it_is_met(format: str, short: int | None) -> None:
    samples = speech(50_000)
    room = 0 if short is None else len(written(format, samples)) - short
    with pytest.raises(OSError, match="No space left"):
        Encoding(format).write(FullDisk(room), [samples], 24_000)
