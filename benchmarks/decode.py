"""Time of one frame. asv reports seconds a call; numbers in the code are of `ratios.py`."""

import deltaring
from benchmarks.frames import TRANSCRIPT_DELTA, audio_delta

SIZES = [160, 240, 480, 960, 2_000, 4_800, 12_000, 48_000]


class AudioDelta:
    """One audio delta into a ring that is kept empty, by either path; sizes in bytes of PCM."""

    params = (SIZES, [True, False])
    param_names = ("size", "fast_path")

    def setup(self, size: int, fast_path: bool) -> None:
        self.frame = audio_delta(size)
        self.decoder = deltaring.Decoder(fast_path=fast_path)

    def time_decode(self, size: int, fast_path: bool) -> None:
        event = self.decoder.decode(self.frame)
        event.track.ring.clear()  # type: ignore[union-attr]


class TranscriptDelta:
    """One transcript delta of 251 bytes."""

    def setup(self) -> None:
        self.decoder = deltaring.Decoder()

    def time_decoder(self) -> None:
        self.decoder.decode(TRANSCRIPT_DELTA)

    def time_stateless(self) -> None:
        deltaring.decode(TRANSCRIPT_DELTA)
