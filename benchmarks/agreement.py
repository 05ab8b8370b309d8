"""Compare the ratios of `deltaring bench` with those of timeit, written out by hand.

    pip install ".[bench]" && python benchmarks/agreement.py

The calls and the frames are those of the contenders; nothing else of the harness is used, but the
standard library's timeit, the contenders in turns.
"""

import base64
import json
import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable

import numpy as np
import orjson
from pybase64 import b64decode

import deltaring
from deltaring import kernel
from deltaring.frame import decode_known
from deltaring.workload import built_in

SIZE = 12_000
FRAMES = [frame.data for frame in built_in(str(SIZE)).frames][:32]
PAYLOADS = [frame[frame.index(b'"delta":"') + 9 : -2] for frame in FRAMES]
out = memoryview(bytearray(SIZE))
samples = np.frombuffer(out, np.int16)
decoder = deltaring.Decoder()


Ratios = dict[tuple[str, str], float]
Call = Callable[[bytes], object]


def copied(decode: Callable[[bytes], bytes]) -> Call:
    """The audio of a frame, decoded and copied into the caller's buffer."""

    def call(frame: bytes) -> None:
        out[:SIZE] = decode(frame)

    return call


def ours(frame: bytes) -> None:
    decoder.decode(frame).track.ring.read_into(samples)  # type: ignore[union-attr]


def calls() -> dict[tuple[str, str], Call]:
    """Return the calls that are compared, by task and name."""
    import jiter  # asv reads this file, too, and has no such extra

    return {
        ("parse", "deltaring"): deltaring.decode,
        ("parse", "msgspec typed"): decode_known,
        ("parse", "orjson"): orjson.loads,
        ("parse", "jiter"): jiter.from_json,
        ("parse", "json"): json.loads,
        ("audio", "pybase64 + copy"): copied(lambda text: b64decode(text, None, True)),
        ("audio", f"deltaring {kernel.NAME}"): ours,
        ("audio", "msgspec typed + pybase64"): copied(
            lambda frame: b64decode(decode_known(frame).delta, None, True)  # type: ignore[union-attr]
        ),
        ("audio", "orjson + pybase64"): copied(
            lambda frame: b64decode(orjson.loads(frame)["delta"], None, True)
        ),
        ("audio", "jiter + pybase64"): copied(
            lambda frame: b64decode(jiter.from_json(frame)["delta"], None, True)
        ),
        ("audio", "json + base64"): copied(
            lambda frame: base64.b64decode(json.loads(frame)["delta"], None, True)
        ),
    }


BASELINE = {"parse": ("parse", "json"), "audio": ("audio", "json + base64")}


def by_timeit() -> Ratios:
    """Return how many times as fast as the baseline each is: the median of 31 rounds."""
    timers = {name: _timer(name[1], call) for name, call in calls().items()}
    numbers = {name: round(0.01 / min(timer.repeat(5, 1))) for name, timer in timers.items()}
    rounds = [
        {name: timer.timeit(numbers[name]) / numbers[name] for name, timer in timers.items()}
        for _ in range(31)
    ]
    return {
        name: statistics.median(times[BASELINE[name[0]]] / times[name] for times in rounds)
        for name in timers
    }


def _timer(name: str, call: Call) -> timeit.Timer:
    frames = PAYLOADS if name == "pybase64 + copy" else FRAMES
    return timeit.Timer(
        "for frame in frames: call(frame)", globals={"call": call, "frames": frames}
    )


def by_bench() -> Ratios:
    """Return what the command says."""
    command = [sys.executable, "-m", "deltaring", "bench", "--quick", "--json", "--set", str(SIZE)]
    document = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {(row["task"], row["name"]): row["ratio"] for row in document["rows"]}


if __name__ == "__main__":
    bench, plain = by_bench(), by_timeit()
    print("| task | 12,000 bytes a delta | bench | timeit | difference |\n|---|---|---:|---:|---:|")
    for task, name in plain:
        theirs, ours_ = plain[task, name], bench[task, name]
        print(f"| {task} | {name} | {ours_:.2f} | {theirs:.2f} | {ours_ / theirs - 1:+.1%} |")
