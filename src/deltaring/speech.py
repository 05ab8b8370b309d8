"""Speech: the assistant's audio of a recording, as files.

Rule: every sample that a track received is in exactly one file, and none is dropped: rings are
drained before anything else is decoded.
"""

import shutil
import struct
from collections import OrderedDict
from typing import BinaryIO

from msgspec import Struct

from deltaring.audio import INT16
from deltaring.outdir import OutputFolder
from deltaring.track import Track

_HEADER = 44  # bytes before the samples: RIFF, fmt and the data chunk's head
_MAX_WAV = 0xFFFFFFFE - _HEADER  # bytes of samples: the sizes in a WAV are 32 bits wide
_MAX_OPEN = 16  # files: items that really interleave are two or three


def wav_header(sample_rate: int, size: int) -> bytes:
    """Return the 44 bytes before `size` bytes of mono 16-bit PCM (RIFF, 1991)."""
    fmt = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(chunks) + size) + chunks


class SpokenItem(Struct):
    """The audio of one track, and the file it went to."""

    file: str
    """Empty where no file was written."""
    response_id: str
    item_id: str
    content_index: int
    format: str
    sample_rate: int | None
    samples: int = 0
    """Bytes, where the format is not known."""
    pending: int = 0
    """Bytes (0 or 1) of a last sample whose other half never came."""
    done: bool = False
    """The server said that this was all."""

    @property
    def seconds(self) -> float:
        """Duration; 0 where it cannot be known."""
        return self.samples / self.sample_rate if self.sample_rate else 0.0


class Speech:
    """Writes the audio of each track to a file of its own, then all of it to one."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._items: dict[int, SpokenItem] = {}
        self._open: OrderedDict[int, BinaryIO] = OrderedDict()

    def take(self, track: Track, item: SpokenItem) -> None:
        """Write what the track has unread to the item's file."""
        serial, ring = track.serial, track.ring
        if serial not in self._items:
            item.file = f"item-{len(self._items) + 1:04}"
            self._items[serial] = item
            self._open[serial] = self._folder.part(item.file)
            self._open[serial].write(bytes(_HEADER))
        file = self._file(serial)
        for region in ring.read_regions(ring.readable):
            file.write(region.data)

    def _file(self, serial: int) -> BinaryIO:
        file = self._open.get(serial)
        if file is None:
            file = self._open[serial] = self._folder.reopen(self._items[serial].file)
        self._open.move_to_end(serial)
        if len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        return file

    def finish(self) -> list[str]:
        """Give all files their names; return what could not be a WAV, in words."""
        refused = []
        for serial, item in self._items.items():
            file, size = self._file(serial), item.samples * INT16.itemsize
            raw = _not_wav(item, size)
            name, item.file = item.file, item.file + (".raw" if raw else ".wav")
            if raw:
                refused.append(f"{item.file}: {raw}")
                _cut_head(file)
            else:
                file.seek(0)
                file.write(wav_header(item.sample_rate or 0, size))
            del self._open[serial]
            self._folder.keep(name, file, final=item.file)
        return refused + self._write_whole()

    def _write_whole(self) -> list[str]:
        """Join the items, in order, to one WAV; one for each rate if there are several."""
        wavs = [item for item in self._items.values() if item.file.endswith(".wav")]
        refused = []
        rates = list(dict.fromkeys(item.sample_rate for item in wavs))
        for number, rate in enumerate(rates, 1):
            name = "assistant.wav" if len(rates) == 1 else f"assistant-{number}.wav"
            items = [item for item in wavs if item.sample_rate == rate]
            size = sum(item.samples for item in items) * INT16.itemsize
            if size > _MAX_WAV:
                refused.append(f"{name}: a WAV holds no more than 4 GiB; there are only the items")
                continue
            with self._folder.create(name) as whole:
                whole.write(wav_header(rate or 0, size))
                for item in items:
                    with self._folder.open(item.file) as file:
                        file.seek(_HEADER)
                        shutil.copyfileobj(file, whole, 1 << 20)
        return refused


def _not_wav(item: SpokenItem, size: int) -> str:
    """Say why the item cannot be a WAV, or nothing."""
    if item.sample_rate is None:
        return f"the audio format {item.format!r} is not known; its bytes are kept as they came"
    if size > _MAX_WAV:
        return "a WAV holds no more than 4 GiB; the samples are kept without a header"
    return ""


def _cut_head(file: BinaryIO) -> None:
    """Move a file's contents to its start, over the room for a header that it does not get."""
    read, write = _HEADER, 0
    while True:
        file.seek(read)
        block = file.read(1 << 20)
        if not block:
            break
        file.seek(write)
        file.write(block)
        read, write = read + len(block), write + len(block)
    file.truncate(write)
