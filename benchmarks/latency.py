"""The slow end: percentiles of a 250 ms delta, alone and beside a busy thread; allocations."""

import gc
import sys
import threading
import time
import tracemalloc

import numpy as np

import deltaring
from benchmarks.frames import TRANSCRIPT_DELTA, audio_delta

CALLS = 20_000
BUSY_CALLS = 3_000  # one every 2 ms, as a live connection would; fewer make p99 a matter of luck


def _times(calls: int, pause: float = 0.0) -> np.ndarray:
    """Return nanoseconds of each of `calls` decodes; the collector is off."""
    decoder, frame = deltaring.Decoder(), audio_delta(12_000)
    times = np.empty(calls)
    gc.disable()
    for number in range(-100, calls):  # warms up in places that are written again later
        started = time.perf_counter_ns()
        event = decoder.decode(frame)
        times[number] = time.perf_counter_ns() - started
        event.track.ring.clear()  # type: ignore[union-attr]
        if pause:
            time.sleep(pause)
    gc.enable()
    return times


class Percentiles:
    """Of 20,000 decodes in a row."""

    params = [50, 99, 99.9]
    param_names = ("percentile",)
    unit = "ns"

    def track_decode(self, percentile: float) -> float:
        return float(np.percentile(_times(CALLS), percentile))


class BesideBusyThread:
    """Of a decode every 2 ms, while another thread computes without pause."""

    params = [50, 99]
    param_names = ("percentile",)
    unit = "ns"
    timeout = 120

    def track_decode(self, percentile: float) -> float:
        stop = threading.Event()

        def compute() -> None:
            while not stop.is_set():
                sum(range(1_000))

        thread = threading.Thread(target=compute, daemon=True)
        thread.start()
        try:
            return float(np.percentile(_times(BUSY_CALLS, 0.002), percentile))
        finally:
            stop.set()
            thread.join()


class Blocks:
    """Blocks of memory that an event keeps for as long as it is kept."""

    params = ["audio", "transcript"]
    param_names = ("event",)
    unit = "blocks"

    def track_per_event(self, event: str) -> float:
        frame = audio_delta(12_000) if event == "audio" else TRANSCRIPT_DELTA
        decoder = deltaring.Decoder(seconds=1.0)
        kept: list[object] = [decoder.decode(frame)] * 1_000
        before = sys.getallocatedblocks()
        for at in range(len(kept)):
            decoded = kept[at] = decoder.decode(frame)
            if isinstance(decoded, deltaring.AudioDelta):
                decoded.track.ring.clear()
        return (sys.getallocatedblocks() - before) / len(kept)


class Allocations:
    """Peak bytes that one decode allocates, the event that it returns included."""

    params = ["audio", "transcript"]
    param_names = ("event",)
    unit = "bytes"

    def track_peak(self, event: str) -> int:
        frame = audio_delta(12_000) if event == "audio" else TRANSCRIPT_DELTA
        decoder = deltaring.Decoder(seconds=1.0)
        for _ in range(10):  # routes, caches
            decoder.decode(frame)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        kept = decoder.decode(frame)
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        assert kept
        return peak
