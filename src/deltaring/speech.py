"""Speech: the assistant's audio of a recording, as files.

Rule: every sample that a track received is in exactly one item's file, and none is dropped: rings
are drained before anything else is decoded.
"""

from msgspec import Struct

from deltaring.audiofiles import AudioFiles
from deltaring.tape import Tape, Tapes
from deltaring.track import Track


class SpokenItem(Struct):
    """The audio of one track, as it came, and the file it went to."""

    file: str
    """Empty where none was written: there are no samples, or no audio was asked for."""
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
    """Writes the audio of each track to a file of its own, and all of it to one."""

    def __init__(self, files: AudioFiles, tapes: Tapes) -> None:
        self._files = files
        self._tapes = tapes
        self._items: dict[int, SpokenItem] = {}
        self.tapes: dict[int, Tape] = {}
        """The samples of each track, by its serial."""

    def take(self, track: Track, item: SpokenItem) -> None:
        """Take what the track has unread, which belongs to the item."""
        serial, ring = track.serial, track.ring
        tape = self.tapes.get(serial)
        if tape is None:
            name = f"item-{len(self.tapes) + 1:04}"
            tape = self.tapes[serial] = self._tapes.new(name, item.sample_rate)
            self._items[serial] = item
        for region in ring.read_regions(ring.readable):
            tape.write(region)

    def finish(self) -> None:
        """Write the files. The tapes must be closed."""
        for serial, item in self._items.items():
            item.file = self._files.keep(self.tapes[serial], item.format)
        self._join()

    def _join(self) -> None:
        """Join the items, in order, to one file; one for each rate if there are several."""
        groups: dict[int, list[Tape]] = {}
        for serial, item in self._items.items():
            if item.sample_rate is not None and item.file:
                rate = self._files.encoding.rate(item.sample_rate)
                groups.setdefault(rate, []).append(self.tapes[serial])
        for number, (rate, tapes) in enumerate(groups.items(), 1):
            name = "assistant" if len(groups) == 1 else f"assistant-{number}"
            self._files.join(name, tapes, rate)
