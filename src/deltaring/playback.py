"""Playback: what the loudspeaker pulls, and how much of it was heard.

Rule: the audio callback never waits and never gets what was cut. It tries the lock; only
`interrupt` ever holds that for long enough to be met, and then the callback puts out silence.
What was pulled is kept in a short log, so that an interruption can say what was heard to the
sample, silence between the samples included.

A voice is a track that is to be played. Voices wait in a queue, in the order in which their tracks
opened; the first is playing. One that is over, or cut, is left: it is never played again, and what
comes for its track after that is cleared and counted as late.
"""

import math
import threading
from collections import deque
from itertools import islice
from typing import NamedTuple

import msgspec

from deltaring.audio import INT16
from deltaring.decoder import Decoder
from deltaring.errors import PlaybackError
from deltaring.ring import Samples
from deltaring.track import Track

PATIENCE = 0.5
"""Seconds that playback waits for more of a track while a later one has audio already: a gap in the
network is shorter, and a server that never ends its tracks must not silence those that follow."""

GAP = 1.0
"""Seconds without a delta after which a cut track without a response id is heard again. Servers
without ids mostly tell replies apart by their events; for one that does not, a pause has to do."""

MAX_LATENCY = 10.0
"""Seconds of output that are remembered for `interrupt`; no device is later than that."""

_MAX_STRETCHES = 32_768  # of the log: 10 s of callbacks of 16 samples, each with an underrun
_MAX_LEFT = 4_096  # tracks that are remembered as left; the decoder forgets those before them
_MAX_CUT = 1_024  # responses that are remembered as cut; late deltas come within seconds


class Truncation(NamedTuple):
    """How much of an item was heard when it was cut off."""

    item_id: str
    content_index: int
    heard: int
    """Samples."""
    audio_end_ms: int
    """The same in milliseconds, rounded down."""

    def to_frame(self) -> bytes:
        """Return the client event `conversation.item.truncate`, which tells the model."""
        return msgspec.json.encode(
            {
                "type": "conversation.item.truncate",
                "item_id": self.item_id,
                "content_index": self.content_index,
                "audio_end_ms": self.audio_end_ms,
            }
        )


class _Voice:
    """A track, and what was pulled of it."""

    __slots__ = ("buffering", "heard", "quiet", "refusal", "started", "track", "waited")

    def __init__(self, track: Track, refusal: str) -> None:
        self.track = track
        self.refusal = refusal
        """Why it cannot be played; mostly empty."""
        self.heard = 0
        """Samples pulled, less those that `interrupt` took back."""
        self.started = False
        self.buffering = True  # it waits for the prebuffer: at its start, and after an underrun
        self.waited = 0  # samples of silence while it was the first and had nothing
        self.quiet = 0  # samples of output since something came late for it

    @property
    def complete(self) -> bool:
        """Nothing more will come."""
        return self.track.done or self.track.overrun

    @property
    def ended(self) -> bool:
        """Nothing more will come, and all was pulled. It is asked in this order: data comes first,
        then `done`."""
        return self.complete and not self.track.ring.readable

    @property
    def truncated(self) -> bool:
        """Whether less was heard than there will be, or is: in this order, as data comes first."""
        return not self.complete or self.heard < self.track.ring.written + self.track.ring.dropped


class _Stretch:
    """Samples that were put out together; silence where there is no voice."""

    __slots__ = ("count", "voice")

    def __init__(self, voice: _Voice | None, count: int) -> None:
        self.voice = voice
        self.count = count


class Playback:
    """The audio of a decoder, in the order in which it is to be heard.

        playback = deltaring.Playback(decoder, 24_000)

        def callback(out, frames, time, status):        # the audio thread
            playback.read_into(out[:, 0])

        for truncation in playback.interrupt(latency):  # the user began to speak
            await connection.send(truncation.to_frame())

    It is the one consumer of the decoder's rings: nobody else may read them. One thread may call
    `read_into`, another one decodes, and any may call `interrupt`.
    """

    def __init__(self, decoder: Decoder, sample_rate: int, *, prebuffer_ms: float = 0.0) -> None:
        """Follow the tracks of `decoder` from now on, those included that are unread.

        sample_rate: hertz, of the device; tracks of another rate are refused.
        prebuffer_ms: audio that has to be there before a track starts, and after an underrun
            before it goes on: latency against stalls. A track that is done does not wait for it.

        Raises ValueError for a value out of range.
        """
        if sample_rate <= 0:
            raise ValueError(f"sample_rate is out of range: {sample_rate!r}")
        if not 0 <= prebuffer_ms <= 60_000:
            raise ValueError(f"prebuffer_ms is out of range: {prebuffer_ms!r}")
        self.sample_rate = sample_rate
        self._prebuffer = round(prebuffer_ms * sample_rate / 1_000)
        self._lock = threading.Lock()
        self._opened = decoder.follow()
        self._queue: deque[_Voice] = deque()
        self._queued: set[Track] = set()
        self._kept = 0  # length of the queue when it was last tidied up
        self._left: dict[Track, _Voice] = {}  # as long as they have memory
        self._gone: dict[int, None] = {}  # the serials of those that were left, and have none
        self._last: _Voice | None = None  # that was put out
        self._cut: dict[int, None] = {}  # the responses that were
        self._log: deque[_Stretch] = deque()  # what was put out
        self._logged = 0
        self.underruns = 0
        """How often a track that had started had nothing when it was asked."""
        self.underrun_samples = 0
        """Samples of silence that were put out for that reason."""
        self.blocked_samples = 0
        """Samples of silence that were put out because `interrupt` was at work."""
        self.late_samples = 0
        """Samples that came for a cut response, or after playback had left their track."""
        self.cut_samples = 0
        """Samples that `interrupt` found unplayed and dropped."""

    # --- the audio thread ---------------------------------------------------------------------

    def read_into(self, out: Samples) -> int:
        """Fill `out` (int16, one dimension, of any stride); return how many samples are audio.

        Silence stands wherever there is no audio, behind it mostly. It never waits, and allocates
        nothing that grows with `out`. Raises TypeError for an array of another kind; and
        PlaybackError once for each track that cannot be played here, whose turn it would be: `out`
        is silent then, the track is passed over, and the next call goes on.
        """
        if out.dtype != INT16 or out.ndim != 1:
            raise TypeError(f"out must be int16 in one dimension, not {out.dtype} in {out.ndim}")
        if not self._lock.acquire(blocking=False):
            out[:] = 0
            self.blocked_samples += len(out)
            return 0
        try:
            return self._pull(out)
        finally:
            self._lock.release()

    def _pull(self, out: Samples) -> int:
        self._queue_opened()
        self._clear_left(len(out))
        voice = self._first()
        if voice is not None and voice.refusal:
            self._leave(voice)
            out[:] = 0
            self._note(None, len(out))
            raise PlaybackError(voice.refusal)
        count = 0
        while voice is not None and not voice.refusal and count < len(out):
            taken = voice.track.ring.read_into(out[count:])
            self._put_out(voice, taken)
            count += taken
            voice = self._first()
        if count < len(out):
            out[count:] = 0
            self._put_out_silence(len(out) - count)
        return count

    def _first(self) -> _Voice | None:
        """Return the voice whose turn it is, if it has something; those that are over are left."""
        while self._queue:
            voice = self._queue[0]
            if voice.refusal or self._is_ready(voice):
                return voice
            if not voice.ended and not self._is_given_up(voice):
                return None
            self._leave(voice)
            if not voice.started:  # it had nothing: should it get something yet, that is not late
                del self._left[voice.track]
        return None

    def _is_ready(self, voice: _Voice) -> bool:
        complete, readable = voice.complete, voice.track.ring.readable
        waiting = voice.buffering and voice.waited < PATIENCE * self.sample_rate
        return readable > 0 and (not waiting or complete or readable >= self._prebuffer)

    def _is_given_up(self, voice: _Voice) -> bool:
        return voice.waited >= PATIENCE * self.sample_rate and any(
            later.track.ring.readable for later in islice(self._queue, 1, None)
        )

    def _put_out(self, voice: _Voice, count: int) -> None:
        self._last = voice
        voice.heard += count
        voice.started, voice.buffering, voice.waited = True, False, 0
        self._note(voice, count)

    def _put_out_silence(self, count: int) -> None:
        if self._queue:
            voice = self._queue[0]
            voice.waited += count
            if voice.started:
                self.underruns += not voice.buffering
                self.underrun_samples += count
            voice.buffering = True
        self._note(None, count)

    def _note(self, voice: _Voice | None, count: int) -> None:
        """Log what was put out; forget what is older than MAX_LATENCY."""
        if self._log and self._log[-1].voice is voice:
            self._log[-1].count += count
        else:
            self._log.append(_Stretch(voice, count))
        self._logged += count
        most = MAX_LATENCY * self.sample_rate
        while self._logged - self._log[0].count >= most or len(self._log) > _MAX_STRETCHES:
            self._logged -= self._log.popleft().count

    # --- which tracks are played ----------------------------------------------------------------

    def _queue_opened(self) -> None:
        while self._opened:
            track = self._opened.popleft()
            if track in self._queued or track.drained:  # what comes for it then is told again
                continue
            voice = _Voice(track, self._refusal(track))
            if self._is_left(track) or _reply(track) in self._cut:
                self._left.setdefault(track, voice)
            else:
                self._enqueue(voice)
        if len(self._queue) > 2 * self._kept + 64:
            self._tidy()

    def _is_left(self, track: Track) -> bool:
        return track in self._left or track.serial in self._gone

    def _enqueue(self, voice: _Voice) -> None:
        self._queue.append(voice)
        self._queued.add(voice.track)

    def _tidy(self) -> None:
        """Drop the voices that have nothing to say any more, wherever they stand."""
        self._queue = deque(voice for voice in self._queue if not voice.ended)
        self._queued = {voice.track for voice in self._queue}
        self._kept = len(self._queue)

    def _refusal(self, track: Track) -> str:
        """Say why a track cannot be played, or nothing."""
        if track.sample_rate is None or track.ring.dtype != INT16:
            return f"audio in the format {track.format!r} cannot be played: only int16 samples can"
        if track.sample_rate != self.sample_rate:
            return f"audio at {track.sample_rate} Hz cannot be played at {self.sample_rate} Hz"
        return ""

    def _leave(self, voice: _Voice) -> None:
        """Take the first voice off the queue; its track is watched as long as it has memory."""
        self._queue.popleft()
        self._queued.discard(voice.track)
        self._left[voice.track] = voice
        voice.quiet = 0

    def _clear_left(self, count: int) -> None:
        """Clear what came too late, before `count` more samples are put out."""
        for track, voice in list(self._left.items()):
            ring, has_id = track.ring, bool(track.key[0])
            if not ring.capacity:  # the decoder took its memory back; should it get more, it tells
                del self._left[track]
                self._gone[track.serial] = None
            elif not ring.readable:
                voice.quiet += count
            elif voice.quiet < GAP * self.sample_rate or has_id or voice.refusal:
                self.late_samples += ring.clear()
                voice.quiet = 0
            else:
                self._resume(voice)
        while len(self._gone) > _MAX_LEFT:
            del self._gone[next(iter(self._gone))]

    def _resume(self, voice: _Voice) -> None:
        """Have a track heard again from here on."""
        del self._left[voice.track]
        again = _Voice(voice.track, voice.refusal)
        again.heard = voice.track.ring.consumed
        self._enqueue(again)

    # --- interruption -----------------------------------------------------------------------------

    def interrupt(self, latency: float = 0.0) -> list[Truncation]:
        """Stop at once, drop what is unplayed, and return what was heard of each item cut off.

        latency: seconds that were pulled and are not audible yet, as the device says (sounddevice:
            `stream.latency`, or `time.outputBufferDacTime - time.currentTime`); they are taken
            back, from an earlier track too.

        The responses of these items are cut: what else comes for them is never played. It waits at
        most for one running `read_into`. Items that were heard whole are not in the list.
        Raises ValueError for a latency that is negative or not finite.
        """
        if not 0 <= latency < math.inf:
            raise ValueError(f"latency is out of range: {latency!r}")
        with self._lock:
            self._queue_opened()
            self._clear_left(0)
            self._take_back(round(min(latency, 2 * MAX_LATENCY) * self.sample_rate))
            played = [stretch.voice for stretch in self._log if stretch.voice is not None]
            voices = dict.fromkeys([*played, *self._queue])
            truncated = [voice for voice in voices if voice.truncated]
            self._cut_responses([*([self._last] if self._last else []), *truncated])
            while self._queue:
                self.cut_samples += self._queue[0].track.ring.clear()
                self._leave(self._queue[0])
            self._log.clear()
            self._logged = 0
        return [self._truncation(voice) for voice in truncated]

    def _take_back(self, count: int) -> None:
        """Have the last `count` samples of output not been heard."""
        for stretch in reversed(self._log):
            taken = min(stretch.count, count)
            count -= taken
            if stretch.voice is not None:
                stretch.voice.heard -= taken

    def _cut_responses(self, voices: list[_Voice]) -> None:
        for voice in voices:
            if voice.track.key[0]:  # without an id, it is the track alone that is left
                self._cut[_reply(voice.track)] = None
        while len(self._cut) > _MAX_CUT:
            del self._cut[next(iter(self._cut))]

    def _truncation(self, voice: _Voice) -> Truncation:
        _, item_id, content_index = voice.track.key
        end = voice.heard * 1_000 // self.sample_rate
        return Truncation(item_id, content_index, voice.heard, end)


def _reply(track: Track) -> int:
    """Which response a track belongs to; a hash, as an id may be long."""
    return hash((track.epoch, track.key[0]))
