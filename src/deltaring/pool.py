"""TrackPool: the tracks of one decoder, and the ring memory that they share.

Rule: memory goes from a track to the next only when the first is drained (done, and all read), and
it goes in a new AudioRing. Everything here is bounded: `max_tracks` blocks of memory,
HISTORY drained tracks, STARVED others without memory.

The life of a track: open at its first delta; done at its audio.done, its response's response.done
or a session.created; retired when it is drained and memory is asked for; forgotten when HISTORY
later ones are retired. A late delta brings a drained track back with a fresh ring.
"""

import itertools
from collections import OrderedDict, deque
from typing import Any, NamedTuple

from deltaring.audio import PCM16, AudioFormat, find_format, stated_format
from deltaring.ring import AudioRing, Samples, new_memory
from deltaring.track import Key, Track

HISTORY = 256
"""Drained tracks that are remembered, so that late deltas find their positions."""

STARVED = 4_096
"""Tracks that got no memory and have not ended: a bound, should a server never end anything."""

MAX_ID_CHARACTERS = 1 << 20
"""Of all ids in either list together; beyond it the oldest go first. Real ids have some 30."""

_MAX_RESPONSE_ID = 4_096  # characters; a longer id is not worth keeping a format for
_BYTE_RATE = 48_000  # bytes per second that an unknown format gets room for: those of pcm16


class Route(NamedTuple):
    """The header of a proven frame, cut inside its event_id, and the track that it leads to."""

    head: bytes
    """Up to and with the first underscore of the event_id, as in `event_`."""
    begin: int
    """Where the rest of the event_id begins: the length of `head`."""
    end: int
    tail: bytes
    """From the event_id's closing quote to the payload."""
    start: int
    """Where the payload starts."""
    prefix: str
    """The part of the event_id that is in `head`."""
    type: str
    output_index: int
    track: Track


class _TrackList(OrderedDict[int, Track]):
    """Tracks by serial, bounded in number and in the length of their ids."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._characters = 0

    def add(self, track: Track) -> list[Track]:
        """Add a track; return those that had to go for it, oldest first."""
        self[track.serial] = track
        self._characters += _id_characters(track)
        gone = []
        while len(self) > self._most or (self._characters > MAX_ID_CHARACTERS and len(self) > 1):
            serial = next(iter(self))
            gone.append(self[serial])
            self.pop(serial)
        return gone

    def pop(self, serial: int, default: Any = None) -> Any:
        track = super().pop(serial, None)
        if track is None:
            return default
        self._characters -= _id_characters(track)
        return track


def _id_characters(track: Track) -> int:
    return len(track.key[0]) + len(track.key[1])


class TrackPool:
    """Finds the track of an audio delta, opens and closes tracks, settles their formats."""

    __slots__ = (
        "_current",
        "_epoch",
        "_forgotten_bytes",
        "_forgotten_dropped",
        "_forgotten_late",
        "_free",
        "_history",
        "_holders",
        "_keep_g711",
        "_latest_format",
        "_max_tracks",
        "_opened",
        "_own_format",
        "_response_formats",
        "_sample_rate",
        "_seconds",
        "_serials",
        "_session_format",
        "_starved",
        "route",
        "tracks",
    )

    def __init__(
        self,
        seconds: float,
        format: str | None,
        sample_rate: int | None,
        keep_g711: bool,
        max_tracks: int,
    ) -> None:
        self._seconds = seconds
        self._sample_rate = sample_rate
        self._keep_g711 = keep_g711
        self._max_tracks = max_tracks
        self._own_format = None if format is None else self._resolve((format, None))
        self._session_format = self._resolve(None)
        self._response_formats: OrderedDict[str, AudioFormat] = OrderedDict()
        self._latest_format: AudioFormat | None = None  # for deltas that name no response
        self.tracks: dict[Key, Track] = {}
        self.route: Any = None
        """What the kernel remembers of where frames lead (pure: a Route); gone whenever that may
        have changed."""
        self._current: dict[Key, Track] = {}  # where a delta goes; `tracks` holds closed keys too
        self._holders: dict[int, Track] = {}  # the tracks that have memory, by serial
        self._history = _TrackList(HISTORY)  # those that gave it back
        self._starved = _TrackList(STARVED)  # those that got none
        self._epoch = 0  # goes up where response ids may come again, and mean others
        self._free: list[Samples] = []  # last in, first out: warm pages first
        self._opened: deque[Track] | None = None  # for who follows
        self._serials = itertools.count(1)
        self._forgotten_bytes = self._forgotten_dropped = self._forgotten_late = 0

    def follow(self) -> deque[Track]:
        """Return a queue that every track enters when it gets memory; those that have it are in.

        Another thread may take from it. It ends an earlier one, and keeps the last STARVED.
        """
        tracks = sorted(self._holders.values(), key=lambda track: track.serial)
        self._opened = deque(tracks, STARVED)
        return self._opened

    # --- formats ----------------------------------------------------------------------------

    def _resolve(self, stated: tuple[str, object] | None) -> AudioFormat:
        name, rate = stated or (PCM16.name, None)
        rate = rate if self._sample_rate is None else self._sample_rate
        return find_format(name, rate, keep_g711=self._keep_g711)

    def session_stated(self, audio: object, output_audio_format: object) -> None:
        """Take the output format from a session's fields; null leaves it as it was."""
        stated = stated_format(audio, output_audio_format)
        if stated is not None:
            self._session_format = self._resolve(stated)

    def response_stated(self, response_id: str, audio: object, output_audio_format: object) -> None:
        """Take one response's own output format, if it states one."""
        stated = stated_format(audio, output_audio_format)
        self._latest_format = None if stated is None else self._resolve(stated)
        self._response_formats.pop(response_id, None)
        if self._latest_format is not None and len(response_id) <= _MAX_RESPONSE_ID:
            self._response_formats[response_id] = self._latest_format
            if len(self._response_formats) > HISTORY:
                self._response_formats.popitem(last=False)

    def _format_for(self, response_id: str) -> AudioFormat:
        stated = self._response_formats.get(response_id) if response_id else self._latest_format
        return self._own_format or stated or self._session_format

    # --- tracks -----------------------------------------------------------------------------

    def track(self, key: Key) -> Track:
        """Return the track of that key, opened or brought back if need be."""
        track = self._current.get(key)
        if track is None:
            return self._open(key)
        if track.drained:
            self._retire_drained()
        if not track.ring.capacity and not track.overrun:
            self._revive(track)
        return track

    def _open(self, key: Key) -> Track:
        format = self._format_for(key[0])
        track = Track(key, next(self._serials), format, self._new_ring(format), self._epoch)
        self._current[key] = track
        self.tracks.pop(key, None)  # of an earlier response or epoch; its place is not this one's
        self.tracks[key] = track
        self._keep(track)
        return track

    def _revive(self, track: Track) -> None:
        """Give a track without memory a fresh ring whose counters go on from the old one's.

        It has dropped nothing: a track that has refused a sample takes no more.
        """
        self._history.pop(track.serial, None)
        self._starved.pop(track.serial, None)
        ring = self._new_ring(track._format)
        ring.written = ring.consumed = track.ring.written
        track.ring = ring  # as a whole: its consumer may be looking
        self._keep(track)

    def _keep(self, track: Track) -> None:
        if track.ring.capacity:
            self._holders[track.serial] = track
            if self._opened is not None:
                self._opened.append(track)
        else:
            self._remember(self._history if track.done else self._starved, track)

    def _new_ring(self, format: AudioFormat) -> AudioRing:
        """Return a ring for that format, with a capacity of 0 if all memory is held."""
        self._retire_drained()
        capacity = max(1, int(self._seconds * (format.sample_rate or _BYTE_RATE)))
        memory = self._take(capacity * format.dtype.itemsize)
        return AudioRing(0 if memory is None else capacity, format.dtype, memory=memory)

    def _take(self, size: int) -> Samples | None:
        """Return a free block of at least `size` bytes, or None if all are held."""
        if len(self._holders) >= self._max_tracks:
            return None
        if self._free and len(self._free[-1]) >= size:
            return self._free.pop()
        del self._free[-1:]  # too small: a larger one takes its place
        try:
            return new_memory(size)
        except MemoryError:
            return None

    def _retire_drained(self) -> None:
        for track in [track for track in self._holders.values() if track.drained]:
            del self._holders[track.serial]
            self._free.append(track.ring._detach())
            self._remember(self._history, track)
        self.route = None

    def _remember(self, tracks: "_TrackList", track: Track) -> None:
        for forgotten in tracks.add(track):
            self._forget(forgotten)

    def _forget(self, track: Track) -> None:
        for tracks in (self.tracks, self._current):
            if tracks.get(track.key) is track:
                del tracks[track.key]
        self._forgotten_bytes += track.received
        self._forgotten_dropped += track.ring.dropped
        self._forgotten_late += track._late

    # --- endings ----------------------------------------------------------------------------

    def audio_done(self, key: Key) -> None:
        """The track of that key is done; without a response id, its key is free again."""
        self._close(key)

    def response_created(self, response_id: str) -> None:
        """Tracks without a response id belong to an earlier response: they are done."""
        for key in [key for key in self._current if not key[0]]:
            self._close(key)
        if any(track.key[0] == response_id and track.done for track in self._current.values()):
            self._epoch += 1  # this server has one id for all

    def response_done(self, response_id: str) -> None:
        """The tracks of that response are done, and those without a response id."""
        for key in [key for key in self._current if key[0] in (response_id, "")]:
            self._close(key)

    def session_created(self) -> None:
        """A new epoch: all tracks are done, no key leads to them, formats start anew."""
        for key in list(self._current):
            self._close(key)
        self._current.clear()
        self._epoch += 1
        self.route = None
        self._response_formats.clear()
        self._latest_format = None
        self._session_format = self._resolve(None)

    def _close(self, key: Key) -> None:
        track = self._current.get(key)
        if track is None:  # never opened, or forgotten while others were closed
            return
        track._close()
        if not key[0]:
            del self._current[key]
        self.route = None
        if self._starved.pop(track.serial, None) is not None:
            self._remember(self._history, track)

    # --- figures ----------------------------------------------------------------------------

    def totals(self) -> tuple[int, int, int]:
        """Return bytes received, samples dropped and late deltas, of all tracks there ever were."""
        tracks = [*self._holders.values(), *self._history.values(), *self._starved.values()]
        return (
            self._forgotten_bytes + sum(track.received for track in tracks),
            self._forgotten_dropped + sum(track.ring.dropped for track in tracks),
            self._forgotten_late + sum(track._late for track in tracks),
        )
