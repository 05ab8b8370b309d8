"""Many connections in one process: what a frame costs with 1,000 decoders, and an idle one.

    python -m benchmarks.many

Frames come to the decoders in turn, as from a gateway's event loop; each listener empties its ring.
The frames of a round are the same for one decoder and for all.
"""

import os
import statistics
import time
from pathlib import Path

import deltaring
from benchmarks.frames import EVENTS, TRANSCRIPT_DELTA, audio_delta

DECODERS = 1_000
ROUNDS = 15


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def turn(decoders: list[deltaring.Decoder], frames: list[bytes], count: int) -> float:
    """Give frame after frame to the next decoder; return seconds per frame."""
    start = time.perf_counter()
    for frame in frames:
        for decoder in decoders * (count // len(decoders)):
            event = decoder.decode(frame)
            if type(event) is deltaring.AudioDelta:
                event.track.ring.clear()
    return (time.perf_counter() - start) / (count * len(frames))


def idle_cost() -> float:
    """Return bytes of memory that a decoder takes which has got its session.created only."""
    created = b'{"type":"session.created","event_id":"event_x","session":{"id":"sess_x"}}'
    before = resident()
    decoders = [deltaring.Decoder() for _ in range(DECODERS)]
    for decoder in decoders:
        decoder.decode(created)
    return (resident() - before) / DECODERS


if __name__ == "__main__":
    print(f"an idle decoder: {idle_cost() / 1024:.1f} KiB of resident memory")
    many = [deltaring.Decoder() for _ in range(DECODERS)]
    sets = {
        "audio deltas of 12,000 bytes": [audio_delta(12_000)],
        "audio deltas of 960 bytes": [audio_delta(960)],
        "transcript deltas": [TRANSCRIPT_DELTA],
        "a reply": [TRANSCRIPT_DELTA] * 4 + [audio_delta(12_000)] * 2 + [EVENTS["response.done"]],
    }
    for name, frames in sets.items():
        for decoders in (many, many[:1]):
            turn(decoders, frames, DECODERS)
        rounds = [
            [turn(decoders, frames, DECODERS) for decoders in (many[:1], many)]
            for _ in range(ROUNDS)
        ]
        one, all_ = (statistics.median(column) * 1e9 for column in zip(*rounds, strict=True))
        print(f"{name}: one {one:,.0f} ns, {DECODERS:,} in turn {all_:,.0f}, {all_ / one:.2f}x")
