"""AudioFiles: the files of audio in an output folder, and the list of them.

Rule: a file is listed as it was written: its format, rate and samples are its own, not those of the
wire. What a format cannot hold is kept without a header, and said.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from msgspec import Struct

from deltaring.audio import INT16
from deltaring.encoding import Encoding, wav_header
from deltaring.outdir import OutputFolder
from deltaring.resample import resampled
from deltaring.ring import Samples
from deltaring.tape import Tape

_TOO_LARGE = "a WAV holds no more than 4 GiB"


class AudioFile(Struct):
    """A file of audio that was written."""

    file: str
    format: str
    """wav, flac or opus; raw for samples, or bytes of an unknown format, without a header."""
    sample_rate: int | None
    """Hz; None where it is not known."""
    channels: int
    samples: int
    """In each channel; bytes where the rate is not known."""
    seconds: float
    """0 where it cannot be known."""


class AudioFiles:
    """Writes tapes, and what is made of them, as files of one encoding."""

    def __init__(self, folder: OutputFolder, encoding: Encoding) -> None:
        self.folder = folder
        self.encoding = encoding
        self.written: list[AudioFile] = []
        self.refused: list[str] = []
        """What could not be written as it was asked for, in words."""

    def keep(self, tape: Tape, format: str) -> str:
        """Make a file of a tape; return its name, which is empty where there are no samples.

        format: of the wire, to be named in words.
        """
        if not tape.samples:  # libsndfile writes no header before there are some
            return ""
        if tape.sample_rate is None:
            reason = f"the audio format {format!r} is not known; its bytes are kept as they came"
            return self._raw(tape, reason)
        rate = self.encoding.rate(tape.sample_rate)
        if not self.encoding.holds(_resampled_count(tape, rate)):
            return self._raw(tape, f"{_TOO_LARGE}; the samples are kept without a header")
        if self.encoding.format == "wav" and rate == tape.sample_rate:
            return self._wav_in_place(tape, rate)
        return self.write(tape.name, resampled(tape.blocks(), tape.sample_rate, rate), rate)

    def join(self, stem: str, tapes: list[Tape], rate: int) -> None:
        """Write tapes, one after the other, to a file of the rate."""
        if not self.encoding.holds(sum(_resampled_count(tape, rate) for tape in tapes)):
            name = f"{stem}.{self.encoding.format}"
            self.refused.append(f"{name}: {_TOO_LARGE}; there are only the items")
            return
        self.write(stem, chain.from_iterable(_at_rate(tape, rate) for tape in tapes), rate)

    def write(self, stem: str, blocks: Iterable[Samples], rate: int, channels: int = 1) -> str:
        """Write int16 blocks, as `Encoding.write` takes them, and return the file's name."""
        name = f"{stem}.{self.encoding.format}"
        with self.folder.create(name) as file:
            samples = self.encoding.write(file, blocks, rate, channels)
        return self._list(name, rate, channels, samples)

    def _wav_in_place(self, tape: Tape, rate: int) -> str:
        """A tape is a WAV but for its header: nothing needs to be copied."""
        with self.folder.reopen(tape.name) as file:
            file.seek(0)
            file.write(wav_header(rate, tape.samples * INT16.itemsize))
            self.folder.keep(tape.name, file, final=f"{tape.name}.wav")
        return self._list(f"{tape.name}.wav", rate, 1, tape.samples)

    def _raw(self, tape: Tape, reason: str) -> str:
        name = f"{tape.name}.raw"
        with self.folder.create(name) as file:
            for block in tape.blocks():
                file.write(block.data)
        self.refused.append(f"{name}: {reason}")
        return self._list(name, tape.sample_rate, 1, tape.samples)

    def _list(self, name: str, rate: int | None, channels: int, samples: int) -> str:
        format, seconds = name.rpartition(".")[2], samples / rate if rate else 0.0
        self.written.append(AudioFile(name, format, rate, channels, samples, seconds))
        return name


def _at_rate(tape: Tape, rate: int) -> Iterator[Samples]:
    return resampled(tape.blocks(), tape.sample_rate or rate, rate)


def _resampled_count(tape: Tape, rate: int) -> int:
    return round(tape.samples * rate / (tape.sample_rate or rate))
