"""Print the README's table: ways to decode a frame, interleaved in one run.

    python benchmarks/ratios.py

Each round times every way once; the table shows the median of the rounds, the spread from the 10th
to the 90th percentile, and the median of each round's ratio to the first way, which holds even
where the machine's speed drifts. The garbage collector is off while timing, as in timeit.
"""

import base64
import json
import os
import statistics
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pybase64 import b64decode

sys.path.insert(0, str(Path(__file__).parent.parent))

import deltaring
from benchmarks.frames import TRANSCRIPT_DELTA, audio_delta, pcm
from deltaring.frame import decode_known

ROUNDS = 101
SIZE = 12_000  # bytes of PCM: 250 ms at 24 kHz, what OpenAI sends most

Ways = dict[str, Callable[[], object]]


def audio_ways() -> Ways:
    """From a 16 KB frame to samples in a buffer of the caller's."""
    frame = audio_delta(SIZE)
    payload = frame[frame.index(b'"delta":"') + 9 : -2]
    memory = np.zeros(SIZE, np.uint8).data
    decoder = deltaring.Decoder()
    slow = deltaring.Decoder(fast_path=False)

    def floor() -> None:
        memory[:] = b64decode(payload, None, True)

    def ours() -> None:
        decoder.decode(frame).track.ring.clear()  # type: ignore[union-attr]

    def ours_slow() -> None:
        slow.decode(frame).track.ring.clear()  # type: ignore[union-attr]

    def typed() -> None:
        memory[:] = b64decode(decode_known(frame).delta, None, True)  # type: ignore[union-attr]

    def stdlib() -> None:
        memory[:] = base64.b64decode(json.loads(frame)["delta"])

    assert decoder.decode(frame).track.ring.read(SIZE).tobytes() == pcm(SIZE)  # type: ignore[union-attr]
    return {
        "strict pybase64 + copy (payload alone)": floor,
        "deltaring: `Decoder.decode`, ring read": ours,
        "deltaring, fast path off": ours_slow,
        "typed msgspec + strict pybase64 + copy": typed,
        "json + base64 + copy": stdlib,
    }


def text_ways() -> Ways:
    """A transcript delta of 251 bytes to an event."""
    decode = deltaring.Decoder().decode
    return {
        "bare msgspec decoder, the same union": lambda: decode_known(TRANSCRIPT_DELTA),
        "deltaring: `Decoder.decode`": lambda: decode(TRANSCRIPT_DELTA),
        "deltaring: `decode`": lambda: deltaring.decode(TRANSCRIPT_DELTA),
        "json": lambda: json.loads(TRANSCRIPT_DELTA),
    }


def measure(ways: Ways) -> dict[str, list[float]]:
    """Return nanoseconds per call of each way, round by round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    number = max(20, int(2e-3 / timeit.timeit(next(iter(ways.values())), number=100) * 100))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            times[name].append(timeit.timeit(way, number=number) / number * 1e9)
    return times


def table(title: str, ways: Ways) -> None:
    times = measure(ways)
    first = next(iter(times.values()))
    print(f"| {title} | ns | 10 % to 90 % | ratio |\n|---|---|---|---|")
    for name, values in times.items():
        low, high = np.percentile(values, [10, 90])
        ratio = statistics.median(ours / base for ours, base in zip(values, first, strict=True))
        median = statistics.median(values)
        print(f"| {name} | {median:,.0f} | {low:,.0f} to {high:,.0f} | {ratio:.2f} |")
    print()


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    table("12,000 bytes of PCM to samples", audio_ways())
    table("251-byte transcript delta to an event", text_ways())
