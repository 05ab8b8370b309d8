"""Time of one frame. asv reports seconds a call; numbers in the code are of `ratios.py`."""

import deltaring
from benchmarks.frames import BETA, EVENTS, GA, LAYOUTS, TRANSCRIPT_DELTA, audio_delta, delta
from deltaring.frame import Frame

SIZES = [160, 240, 480, 960, 2_000, 4_800, 12_000, 48_000]

WARM = 50  # decodes in each setup: the first ones open tracks and touch memory for the first time


def warm(decoder: deltaring.Decoder, frame: Frame) -> None:
    for _ in range(WARM):
        event = decoder.decode(frame)
        if isinstance(event, deltaring.AudioDelta):
            event.track.ring.clear()


class AudioDelta:
    """One audio delta into a ring that is kept empty, by either path; sizes in bytes of PCM."""

    params = (SIZES, [True, False])
    param_names = ("size", "fast_path")

    def setup(self, size: int, fast_path: bool) -> None:
        self.frame = audio_delta(size)
        self.decoder = deltaring.Decoder(fast_path=fast_path)
        warm(self.decoder, self.frame)

    def time_decode(self, size: int, fast_path: bool) -> None:
        event = self.decoder.decode(self.frame)
        event.track.ring.clear()  # type: ignore[union-attr]


class TranscriptDelta:
    """One transcript delta of 251 bytes."""

    def setup(self) -> None:
        self.decoder = deltaring.Decoder()
        warm(self.decoder, TRANSCRIPT_DELTA)

    def time_decoder(self) -> None:
        self.decoder.decode(TRANSCRIPT_DELTA)

    def time_stateless(self) -> None:
        deltaring.decode(TRANSCRIPT_DELTA)


class Chunks:
    """Audio deltas by duration: 20 to 1,000 ms of pcm16, 20 and 250 ms of G.711."""

    params = (["pcm16", "g711_ulaw"], [20, 100, 250, 1_000], [GA, BETA], LAYOUTS)
    param_names = ("format", "ms", "name", "layout")

    def setup(self, format: str, ms: int, name: str, layout: str) -> None:
        if format == "g711_ulaw" and ms not in (20, 250):
            raise NotImplementedError  # asv's word for "not this combination"
        self.frame = delta(ms * (48 if format == "pcm16" else 8), name, layout)
        self.decoder = deltaring.Decoder(format=format)
        warm(self.decoder, self.frame)

    def time_decode(self, format: str, ms: int, name: str, layout: str) -> None:
        event = self.decoder.decode(self.frame)
        event.track.ring.clear()  # type: ignore[union-attr]


class Kinds:
    """Each kind of frame that a 250 ms delta may come in."""

    params = (["bytes", "str", "bytearray", "memoryview"], ["audio", "transcript"])
    param_names = ("kind", "event")

    def setup(self, kind: str, event: str) -> None:
        frame = audio_delta(12_000) if event == "audio" else TRANSCRIPT_DELTA
        kinds = {"bytes": bytes, "str": bytes.decode, "bytearray": bytearray}
        self.frame = kinds.get(kind, memoryview)(frame)
        self.decoder = deltaring.Decoder(seconds=1.0)
        warm(self.decoder, self.frame)

    def time_decode(self, kind: str, event: str) -> None:
        decoded = self.decoder.decode(self.frame)
        if type(decoded) is deltaring.AudioDelta:
            decoded.track.ring.clear()


class Events:
    """One frame of each kind that is no audio delta, through a decoder."""

    params = list(EVENTS)
    param_names = ("event",)

    def setup(self, event: str) -> None:
        self.frame = EVENTS[event]
        self.decoder = deltaring.Decoder()
        warm(self.decoder, self.frame)

    def time_decode(self, event: str) -> None:
        self.decoder.decode(self.frame)
