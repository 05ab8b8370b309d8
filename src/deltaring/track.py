"""Track: the audio of one content part, from the bytes of its deltas to samples in its ring.

Rule: `bytes_per_sample * (ring.written + ring.dropped) + pending` is the number of bytes received,
always. Nothing is skipped and nothing invented: an odd byte waits for the next delta, and after the
first refused sample a track takes no more, because a hole would shift played time.
"""

from typing import ClassVar, TypeAlias

import numpy as np
from msgspec import Struct

from deltaring.audio import AudioFormat
from deltaring.ring import AudioRing

Key: TypeAlias = tuple[str, str, int]
"""`(response_id, item_id, content_index)`; ids that the server leaves out are empty."""


class AudioDelta(Struct, frozen=True, gc=False):
    """A decoded audio delta: its samples are in `track.ring`, its base64 text is gone.

    `start` and `stop` are positions in the track, in samples received, dropped ones included;
    `start` is the previous delta's `stop`. The last `dropped` of them did not fit into the ring.
    """

    type: str
    """response.audio.delta or response.output_audio.delta"""
    event_id: str
    track: "Track"
    output_index: int
    start: int
    stop: int
    dropped: int
    is_error: ClassVar[bool] = False

    @property
    def response_id(self) -> str:
        """Of the wire event; `""` where the server leaves it out."""
        return self.track.key[0]

    @property
    def item_id(self) -> str:
        """Of the wire event; `""` where the server leaves it out."""
        return self.track.key[1]

    @property
    def content_index(self) -> int:
        """Of the wire event."""
        return self.track.key[2]


class Track:
    """The audio of one content part of one response.

    `ring` is where its samples are read. After the track is done and all is read, the ring's memory
    may serve another track; a delta that comes even later gets a fresh ring, whose counters go on
    from those of the old one. So take `event.track.ring` anew with each event.
    """

    __slots__ = (
        "_carry",
        "_format",
        "_late",
        "_plain",
        "_table",
        "_wide",
        "done",
        "epoch",
        "key",
        "overrun",
        "ring",
        "serial",
    )

    def __init__(
        self, key: Key, serial: int, format: AudioFormat, ring: AudioRing, epoch: int = 0
    ) -> None:
        self.key = key
        self.serial = serial
        """Unique in its decoder, in the order of first audio; keys may come again."""
        self.epoch = epoch
        """Tells responses apart whose ids are the same: it goes up with each session.created, and
        where a response.created names an id that was done."""
        self.ring = ring
        self.done = False
        """The server said that this was all; deltas may come all the same."""
        self.overrun = False
        """A sample was refused; the track takes no more."""
        self._format = format
        self._carry = b""
        self._late = 0
        # What the compiled kernel needs of the format: a sample has two bytes; G.711's table.
        self._wide = format.bytes_per_sample == 2
        self._table = None if format.table is None else format.table.tobytes()
        self._update_plain()

    @property
    def format(self) -> str:
        """pcm16, g711_ulaw, g711_alaw, or the server's own word for what is not known."""
        return self._format.name

    @property
    def sample_rate(self) -> int | None:
        """Hertz; None where the format is not known."""
        return self._format.sample_rate

    @property
    def pending(self) -> int:
        """Bytes (0 or 1) of a sample whose other half has not come yet."""
        return len(self._carry)

    @property
    def received(self) -> int:
        """Bytes of audio received, after base64."""
        samples = self.ring.written + self.ring.dropped
        return samples * self._format.bytes_per_sample + len(self._carry)

    @property
    def drained(self) -> bool:
        """Done, and all of it read."""
        return self.done and not self.ring.readable

    def receive(self, type: str, event_id: str, output_index: int, data: bytes) -> AudioDelta:
        """Take the bytes of one delta: into the ring as far as they fit."""
        if self._plain and not len(data) & 1:
            # pcm16 with nothing carried, as nearly always: bytes are samples, and 0.4 us are saved.
            ring = self.ring
            start = ring.written
            count = len(data) >> 1
            if ring._put(data) == count:
                return AudioDelta(type, event_id, self, output_index, start, start + count, 0)
            return self._finish(type, event_id, output_index, start, count)
        if self.done:
            self._late += 1
        start = self.ring.written + self.ring.dropped
        data = self._samples(data)
        if not self.overrun:
            self.ring._put(data)
        return self._finish(
            type, event_id, output_index, start, len(data) // self.ring.dtype.itemsize
        )

    def _samples(self, data: bytes) -> bytes:
        """Turn bytes of the wire into whole samples, as bytes; keep an odd byte for later."""
        if self._format.table is not None:
            return self._format.table[np.frombuffer(data, np.uint8)].tobytes()
        if self._format.bytes_per_sample == 1:
            return data
        data = self._carry + data
        whole = len(data) & ~1
        self._carry = data[whole:]
        return data[:whole]

    def _finish(
        self, type: str, event_id: str, output_index: int, start: int, count: int
    ) -> AudioDelta:
        """Count what the ring refused, and say what happened."""
        ring = self.ring
        dropped = start + count - ring.written - ring.dropped
        if dropped:
            ring.dropped += dropped
            self.overrun = True
        self._update_plain()
        return AudioDelta(type, event_id, self, output_index, start, start + count, dropped)

    def _update_plain(self) -> None:
        self._plain = self._wide and not self._carry and not self.done and not self.overrun

    def _close(self) -> None:
        self.done = True
        self._plain = False

    def __repr__(self) -> str:
        state = "done" if self.done else "open"
        return f"<Track {self.serial} {self.key} {self.format} {state} {self.ring!r}>"
