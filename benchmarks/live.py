"""What a live agent adds to decoding: the reducer, and what the audio callback pulls."""

import numpy as np

import deltaring
from benchmarks.frames import EVENTS, TRANSCRIPT_DELTA, audio_delta

RATE = 24_000


def reply() -> list[bytes]:
    """One spoken reply: 16 deltas of 250 ms, 40 of transcript, and what stands around them."""
    opening = [EVENTS["input_audio_buffer.speech_stopped"], EVENTS["response.output_item.done"]]
    streaming = [TRANSCRIPT_DELTA] * 40 + [audio_delta(12_000)] * 16
    return [*opening, *streaming, EVENTS["response.done"], EVENTS["rate_limits.updated"]]


class Reducer:
    """A reply of 60 frames, decoded only and with its session; seconds for all of it."""

    def setup(self) -> None:
        decoder = deltaring.Decoder()
        frames = reply()
        self.events = [decoder.decode(frame) for frame in frames if b"audio.delta" not in frame]
        self.audio = decoder.decode(audio_delta(12_000))
        self.session = deltaring.Session(decoder)
        for _ in range(20):
            self.time_events()
            self.time_audio_delta()

    def time_events(self) -> None:
        for event in self.events:
            self.session.apply(event, 1.0)

    def time_audio_delta(self) -> None:
        self.session.apply(self.audio, 1.0)


class Pull:
    """One audio callback: samples that are there, and silence."""

    params = [480, 4_096]
    param_names = ("samples",)

    def setup(self, samples: int) -> None:
        self.out = np.empty(samples, np.int16)
        self.decoder = deltaring.Decoder()
        self.playback = deltaring.Playback(self.decoder, RATE)
        self.idle = deltaring.Playback(deltaring.Decoder(), RATE)
        self.frame = audio_delta(48_000)
        for _ in range(200):
            self.time_read_into(samples)

    def time_read_into(self, samples: int) -> None:
        # A delta of a second now and then: some 0.05 us of each call.
        if self.playback.read_into(self.out) < samples:
            self.decoder.decode(self.frame)

    def time_silence(self, samples: int) -> None:
        self.idle.read_into(self.out)


class Interruption:
    """A barge-in: two deltas of 20 ms, half of it pulled, all of it cut, and the response's end."""

    def setup(self) -> None:
        self.number = 0
        self.out = np.empty(480, np.int16)
        self.decoder = deltaring.Decoder()
        self.playback = deltaring.Playback(self.decoder, RATE)
        for _ in range(50):
            self.time_interrupt()

    def time_interrupt(self) -> None:
        self.number += 1
        response_id = b"resp_%021d" % self.number
        frame = audio_20_ms.replace(b"resp_E4ySzvKWmfZzGYRJLuvPM", response_id)
        self.decoder.decode(frame)
        self.decoder.decode(frame)
        self.playback.read_into(self.out)
        self.playback.interrupt(0.01)
        self.decoder.decode(b'{"type":"response.done","response":{"id":"%s"}}' % response_id)


audio_20_ms = audio_delta(960)
