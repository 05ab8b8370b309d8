"""Encoding: how samples become a file: WAV, FLAC or Opus, at their own rate or at another.

Rule: the same samples give the same bytes, and a file that could not be written whole is an
OSError, also where the library that encodes it would not tell.
"""

import io
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from deltaring.audio import INT16, MAX_RATE, MIN_RATE
from deltaring.errors import ReplayError
from deltaring.ogg import set_serial
from deltaring.ring import Samples
from deltaring.tape import HEAD

FORMATS = ("wav", "flac", "opus")

MAX_WAV = 0xFFFFFFFE - HEAD
"""Bytes of samples: the sizes in a WAV are 32 bits wide."""

OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
"""What an Opus encoder takes (RFC 6716, section 2)."""

_MAX_FLAC_RATE = 655_350  # libsndfile's limit, from the format's 16-bit field for tens of hertz
_COMMON_RATE = 48_000  # hertz: for audio whose rate the format does not take
_SNDFILE = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}
_SERIAL = 1  # of the one stream in an Ogg file
_HINT = "pip install 'deltaring[audio]'"


class Encoding:
    """A format of files, and the rate of those that are written."""

    def __init__(self, format: str, rate: int | None = None) -> None:
        """Choose how to write.

        format: one of FORMATS. rate: in Hz; None for that which the audio has.

        Raises ReplayError where that cannot be had: a rate that the format does not take, or a
        package that is missing.
        """
        if format not in FORMATS:
            raise ReplayError(f"audio is written as {', '.join(FORMATS)} or none, not {format!r}")
        if rate is not None and not MIN_RATE <= rate <= MAX_RATE:
            raise ReplayError(f"a rate is {MIN_RATE} to {MAX_RATE} Hz, not {rate}")
        self.format = format
        self._rate = rate
        if rate is not None and not self._takes(rate):
            rates = "8000, 12000, 16000, 24000 or 48000" if format == "opus" else "up to 655350"
            raise ReplayError(f"{format} takes {rates} Hz, not {rate}")
        if format != "wav":
            _soundfile()
        if format == "opus" or rate is not None:
            check_resampling()

    def rate(self, own: int) -> int:
        """Return the rate in Hz at which audio of the rate `own` is written."""
        if self._rate is not None:
            return self._rate
        return own if self._takes(own) else _COMMON_RATE

    def _takes(self, rate: int) -> bool:
        if self.format == "opus":
            return rate in OPUS_RATES
        return self.format == "wav" or rate <= _MAX_FLAC_RATE

    def holds(self, samples: int) -> bool:
        """Whether so many samples, of all channels together, go into a file."""
        return self.format != "wav" or samples * INT16.itemsize <= MAX_WAV

    def write(self, file: BinaryIO, blocks: Iterable[Samples], rate: int, channels: int = 1) -> int:
        """Write int16 blocks to a new file open for reading and writing; return their samples.

        blocks: of shape `(n,)`, or `(n, channels)` where there are several.
        """
        if self.format == "wav":
            return _write_wav(file, blocks, rate, channels)
        return self._write_sndfile(file, blocks, rate, channels)

    def _write_sndfile(
        self, file: BinaryIO, blocks: Iterable[Samples], rate: int, channels: int
    ) -> int:
        soundfile = _soundfile()
        container, codec = _SNDFILE[self.format]
        sink = _Sink(file)
        samples = 0
        with soundfile.SoundFile(sink, "w", rate, channels, codec, format=container) as encoder:
            for block in blocks:
                encoder.write(np.ascontiguousarray(block, np.int16))
                sink.check()
                samples += len(block)
        sink.check()
        if container == "OGG":
            set_serial(file, _SERIAL)
        return samples


def choose_encoding(audio: str, rate: int | None, stereo: bool) -> Encoding | None:
    """Return what the options of a replay ask for; None where no audio is to be written.

    audio: one of FORMATS, or "none". rate: in Hz, or None. stereo: whether both sides go into one
        file, which may need resampling.

    Raises ReplayError for options that contradict each other, and as Encoding does.
    """
    if audio != "none":
        if stereo:
            check_resampling()
        return Encoding(audio, rate)
    if rate is not None or stereo:
        raise ReplayError("where no audio is written, there is no rate and no stereo file")
    return None


def check_resampling() -> None:
    """Raise ReplayError if the package that resamples is missing."""
    try:
        import soxr  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
    except ImportError:
        raise ReplayError(f"resampling needs soxr: {_HINT}") from None


def _soundfile() -> Any:
    try:
        import soundfile  # type: ignore[import-untyped, unused-ignore]
    except (ImportError, OSError):  # the latter where libsndfile itself is missing
        raise ReplayError(f"FLAC and Opus need soundfile: {_HINT}") from None
    return soundfile


def wav_header(sample_rate: int, size: int, channels: int = 1) -> bytes:
    """Return the 44 bytes before `size` bytes of 16-bit PCM (RIFF, 1991)."""
    frame = INT16.itemsize * channels
    fmt = struct.pack("<HHIIHH", 1, channels, sample_rate, sample_rate * frame, frame, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(chunks) + size) + chunks


def _write_wav(file: BinaryIO, blocks: Iterable[Samples], rate: int, channels: int) -> int:
    file.write(bytes(HEAD))
    samples = 0
    for block in blocks:
        file.write(np.ascontiguousarray(block, INT16).data)
        samples += len(block)
    file.seek(0)
    file.write(wav_header(rate, samples * channels * INT16.itemsize, channels))
    return samples


class _Sink:
    """The file that libsndfile writes to. It keeps the first error, which C code would lose."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the error, if there was one."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
