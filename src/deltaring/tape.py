"""Tape: samples on disk while a recording is read, before it is known what becomes of them.

Rule: what was written is read back as it was, and memory holds none of it. Tapes are temporary
files of an output folder: what is not kept as a file goes when the folder is finished.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from deltaring.audio import INT16, UINT8
from deltaring.outdir import OutputFolder
from deltaring.ring import Samples

HEAD = 44
"""Bytes at the start of a tape of samples: room for the header that makes it a WAV in place."""

BLOCK = 1 << 16
"""Samples that are read at a time: 128 KiB, which stay in the cache."""

_MAX_OPEN = 16  # files: items that really interleave are two or three


class Tape:
    """Mono int16 samples; bytes where `sample_rate` is None. Made by `Tapes.new`."""

    def __init__(self, tapes: "Tapes", name: str, sample_rate: int | None) -> None:
        self._tapes = tapes
        self.name = name
        self.sample_rate = sample_rate
        self.head = 0 if sample_rate is None else HEAD
        self.samples = 0
        """Bytes, where there is no sample rate."""

    def write(self, samples: Samples) -> None:
        """Append int16 samples, or bytes as uint8: a contiguous array."""
        self._tapes.file(self).write(samples.data)
        self.samples += len(samples)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[Samples]:
        """Yield the samples from `start` to `stop`, at most BLOCK at a time.

        What was written is there after `Tapes.close`.
        """
        dtype = UINT8 if self.sample_rate is None else INT16
        left = (self.samples if stop is None else stop) - start
        with self._tapes.folder.reopen(self.name) as file:
            file.seek(self.head + start * dtype.itemsize)
            while left > 0:
                block = np.fromfile(file, dtype, min(left, BLOCK))
                if not len(block):
                    raise OSError(f"{file.name} has become shorter")
                left -= len(block)
                yield block


class Tapes:
    """The tapes of an output folder, of which a few have their files open."""

    def __init__(self, folder: OutputFolder) -> None:
        self.folder = folder
        self._open: OrderedDict[str, BinaryIO] = OrderedDict()

    def new(self, name: str, sample_rate: int | None) -> Tape:
        """Begin a tape. name: of its temporary file, not used before."""
        tape = Tape(self, name, sample_rate)
        self._opened(name, self.folder.part(name)).write(bytes(tape.head))
        return tape

    def file(self, tape: Tape) -> BinaryIO:
        """Return the file to append to."""
        file = self._open.get(tape.name)
        if file is None:
            return self._opened(tape.name, self.folder.reopen(tape.name))
        self._open.move_to_end(tape.name)
        return file

    def _opened(self, name: str, file: BinaryIO) -> BinaryIO:
        if len(self._open) == _MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        self._open[name] = file
        return file

    def close(self) -> None:
        """Close the files; tapes can be read then."""
        while self._open:
            self._open.popitem()[1].close()

    def abandon(self) -> None:
        """Close the files, whether or not what was written gets to the disk."""
        while self._open:
            with suppress(OSError):
                self._open.popitem()[1].close()
