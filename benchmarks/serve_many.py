"""`deltaring serve` with many clients at a time: frames lost or reordered, memory, lateness.

    python -m benchmarks.serve_many --clients 200 --seconds 60

The server, as a user starts it, plays a recording of that length to every client in real time: four
audio deltas of 12,000 bytes and eight transcript deltas a second. The clients are in a second
process, and each compares every frame with the recording. Lateness is how much later a frame came
than it should have after the client's first one (negative where that one was late itself). Memory
is the server's resident set.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from benchmarks.frames import TRANSCRIPT_DELTA, audio_delta
from deltaring.recording import Recording, RecordingWriter

RATE = 12  # frames a second, a third of them audio: 250 ms each
START = 1_767_225_600.0  # 2026: any time will do

Counts = dict[str, Any]


def frames(seconds: float) -> Iterator[tuple[float, bytes]]:
    """Yield `(time, frame)`; the number of a frame stands in its event_id."""
    audio = audio_delta(12_000)
    for number in range(int(seconds * RATE) + 1):
        frame = TRANSCRIPT_DELTA if number % 3 else audio
        yield (
            START + number / RATE,
            frame.replace(b"event_E4ySzfnOcWHFSZXcbUmTo", b"event_%021d" % number),
        )


class Client:
    """Compares what it gets with what was recorded."""

    def __init__(self, expected: list[tuple[float, bytes]]) -> None:
        self._expected = expected
        self._numbers: list[int] = []
        self.changed = 0
        self.late: list[float] = []

    async def run(self, url: str) -> None:
        """Take all frames until the server closes."""
        async with connect(url, compression=None, max_size=None, open_timeout=60) as socket:
            start = 0.0
            while len(self._numbers) < len(self._expected):
                frame = await socket.recv(decode=False)
                start = start or time.monotonic()
                self._take(frame, time.monotonic() - start)
            async for _ in socket:
                self._numbers.append(len(self._expected))  # one too many

    def _take(self, frame: bytes, elapsed: float) -> None:
        at = frame.index(b'"event_id":"event_') + 18
        number = int(frame[at : at + 21])
        due, expected = self._expected[number]
        self._numbers.append(number)
        self.changed += frame != expected
        self.late.append(elapsed - (due - START))

    def counts(self) -> Counts:
        """What came, and what did not as it should."""
        came = self._numbers
        return {
            "received": len(came),
            "lost": len(self._expected) - len(set(came)),
            "reordered": sum(b <= a for a, b in pairwise(came)),
            "changed": self.changed,
        }


async def run_clients(url: str, path: Path, count: int) -> Counts:
    """Run all clients; return their counts, added up."""
    expected = [(time, frame) for time, _, frame in Recording(path) if time is not None]
    clients = [Client(expected) for _ in range(count)]
    results = await asyncio.gather(*(client.run(url) for client in clients), return_exceptions=True)
    failed = [repr(result) for result in results if isinstance(result, BaseException)]
    counts = [client.counts() for client in clients]
    total = {key: sum(each[key] for each in counts) for key in counts[0]}
    late = np.concatenate([client.late for client in clients]) * 1_000
    quantiles = dict(zip(("p50", "p99", "max"), np.quantile(late, (0.5, 0.99, 1)), strict=True))
    return {"sent": len(expected) * count, **total, "failed": failed, "late_ms": quantiles}


def resident(process: int) -> float:
    """Return the resident set of a process in MB."""
    text = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=True
    )
    return int(text.stdout) / 1_000


def measure(clients: int, seconds: float) -> Counts:
    """Start server and clients, watch them, and return what was counted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "session.jsonl")
        with RecordingWriter(path) as recording:
            for at, frame in frames(seconds):
                recording.write(frame, time=at)
        serve = [sys.executable, "-m", "deltaring", "serve", str(path), "--port", "0"]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            url = server.stdout.readline().strip()
            work = [sys.executable, "-m", "benchmarks.serve_many", "--clients", str(clients)]
            with subprocess.Popen([*work, "--of", url, str(path)], stdout=subprocess.PIPE) as many:
                memory = _watch(server.pid, many)
                assert many.stdout
                counts: Counts = json.load(many.stdout)
            server.terminate()
            counts |= {"memory_mb": memory, "exit_code": server.wait(10)}
    return counts


def _watch(server: int, clients: "subprocess.Popen[bytes]") -> list[float]:
    """Return the server's memory, twice a second until the clients are done."""
    memory = []
    while clients.poll() is None:
        memory.append(resident(server))
        time.sleep(0.5)
    return memory


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--of", nargs=2, metavar=("URL", "REC"), help="only run the clients")
    options = parser.parse_args()
    if options.of:
        url, path = options.of
        json.dump(asyncio.run(run_clients(url, Path(path), options.clients)), sys.stdout)
        return
    counts = measure(options.clients, options.seconds)
    memory = counts["memory_mb"]
    # All clients are there after a sixth of the time, and none has left before the last.
    start, middle, end = (memory[int(len(memory) * part)] for part in (1 / 6, 1 / 2, 9 / 10))
    late = counts["late_ms"]
    print(f"{options.clients} clients, {options.seconds:.0f} s at real time")
    print(f"frames: {counts['sent']:,} sent, {counts['received']:,} received")
    for name in ("lost", "reordered", "changed"):
        print(f"{name}: {counts[name]}")
    print(f"late: {late['p50']:.1f} ms median, {late['p99']:.1f} p99, {late['max']:.1f} at most")
    print(f"server memory: {start:.1f} MB at the start, {middle:.1f} halfway, {end:.1f} at the end")
    print(f"server exit code: {counts['exit_code']}; clients that failed: {counts['failed']}")


if __name__ == "__main__":
    main()
