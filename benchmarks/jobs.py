"""Bulk replay as a whole: how it scales, what an hour costs, and decoding beside simple loops.

    python -m benchmarks.jobs scale FOLDER          # see benchmarks.sessions; jobs 1 and 2 in turns
    python -m benchmarks.jobs scale FOLDER --out /dev/shm/out     # the same without a disk
    python -m benchmarks.jobs decode                # microseconds per delta of 12,000 bytes
    python -m benchmarks.jobs memory                # peaks of worker and parent; needs 2 GB of disk

`scale` runs the command, from its start to its end, into a new folder each time, and compares the
folders byte for byte. `decode` takes a page-cached file of 16,000 deltas; each way runs in a
process of its own, in turns, and takes its time without starting up, and without what a file of one
delta takes; ours includes the content hash, the reducer, the metrics, and writing transcripts and
session.json. `memory` looks at the processes of the command while it runs.
"""

import argparse
import base64
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pybase64

from benchmarks.frames import audio_delta
from deltaring import kernel
from deltaring.job import Task, replay_one
from deltaring.journal import Done, Output

DELTAS = 16_000
ROUNDS = 9
SHAPES = ("bare", "enveloped")


# --- scale ----------------------------------------------------------------------------------------


def tree_hash(folder: Path) -> str:
    """Return a hash of all names and bytes in a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def scale(folder: Path, out: Path, rounds: int, options: list[str]) -> None:
    """Time the command with one process and with two, writing to `out`."""
    taken: dict[int, list[float]] = {1: [], 2: []}
    used: dict[int, list[float]] = {1: [], 2: []}
    hashes = set()
    for _ in range(rounds):
        for jobs in (1, 2):
            shutil.rmtree(out, ignore_errors=True)
            os.sync()  # what an earlier round left to be written is not this one's
            wall, cpu = run(["replay", str(folder), "-o", str(out), "-j", str(jobs), *options])
            taken[jobs].append(wall)
            used[jobs].append(cpu)
            hashes.add(tree_hash(out))
    shutil.rmtree(out)
    for jobs in (1, 2):
        wall, cpu = statistics.median(taken[jobs]), statistics.median(used[jobs])
        spread = f"{min(taken[jobs]):.1f} to {max(taken[jobs]):.1f}"
        print(f"-j {jobs}: {wall:.1f} s ({spread}), {cpu:.1f} s of processor time")
    ratios = [one / two for one, two in zip(taken[1], taken[2], strict=True)]
    print(f"-j 1 / -j 2: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"{len(hashes)} different tree(s): {', '.join(sorted(hashes))}")


def run(arguments: list[str]) -> tuple[float, float]:
    """Run the command; return the seconds that passed, and those of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "deltaring", *arguments], check=True, stdout=sys.stderr)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- decode ---------------------------------------------------------------------------------------


def write_deltas(path: Path, shape: str, count: int) -> None:
    """Write a recording of so many deltas, one every 100 ms."""
    frame = audio_delta(12_000)
    with path.open("wb") as file:
        for number in range(count):
            stamp = b'{"time":%.6f,"source":"server","event":' % (1_784_858_052 + number / 10)
            file.write(stamp + frame + b"}\n" if shape == "enveloped" else frame + b"\n")


def loop(
    loads: Callable[[bytes], dict[str, Any]], decode: Callable[[str], bytes], path: Path
) -> None:
    """Parse each line, and decode its delta."""
    with path.open("rb") as file:
        for line in file:
            frame = loads(line)
            decode(frame.get("event", frame)["delta"])


def replayed(path: Path) -> None:
    """What a worker does with a recording."""
    with tempfile.TemporaryDirectory() as out:
        row = replay_one(Task(str(path), out, Output(audio="none")))
        if not isinstance(row, Done) or row.frames not in (1, DELTAS) or row.problems:
            raise RuntimeError(f"not decoded: {row}")


WAYS: dict[str, Callable[[Path], None]] = {
    "deltaring, compiled kernel": replayed,
    "deltaring, pure kernel": replayed,
    "orjson + strict pybase64": lambda path: loop(orjson.loads, _strict, path),
    "json + base64": lambda path: loop(json.loads, base64.b64decode, path),
}
_KERNELS = {"deltaring, compiled kernel": "native", "deltaring, pure kernel": "pure"}


def _strict(text: str) -> bytes:
    return pybase64.b64decode(text, None, True)


def measure_one(way: str, path: Path) -> None:
    """Print the microseconds per delta that a way takes, in this process."""
    if _KERNELS.get(way, kernel.NAME) != kernel.NAME:
        raise RuntimeError(f"this is the {kernel.NAME} kernel")
    WAYS[way](path)
    start = time.perf_counter()
    WAYS[way](path.with_suffix(".one"))
    middle = time.perf_counter()
    WAYS[way](path)
    stop = time.perf_counter()
    print((stop - middle - (middle - start)) / (DELTAS - 1) * 1e6)


def decode() -> None:
    """Time all ways in turns, and print medians and how often json + base64 fits into each."""
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recording.jsonl"
            write_deltas(path, shape, DELTAS)
            write_deltas(path.with_suffix(".one"), shape, 1)
            taken: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS):
                for way, times in taken.items():
                    times.append(_timed(way, path))
        medians = {way: statistics.median(times) for way, times in taken.items()}
        print(
            f"{shape}: us per delta, median of {ROUNDS} (least to most), times json, times orjson"
        )
        for way, times in taken.items():
            compared = (
                f"{medians[other] / medians[way]:6.2f}"
                for other in ("json + base64", "orjson + strict pybase64")
            )
            spread = f"({min(times):.2f} to {max(times):.2f})"
            print(f"  {way:<28} {medians[way]:6.2f} {spread:<18}", *compared)


def _timed(way: str, path: Path) -> float:
    environment = {**os.environ, "DELTARING_KERNEL": _KERNELS.get(way, "")}
    command = [sys.executable, "-m", "benchmarks.jobs", "one", way, str(path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(result.stdout)


# --- memory ---------------------------------------------------------------------------------------


def memory() -> None:
    """Print how much memory one recording takes by its size, and a job by its recordings."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in (100, 1_000):
            path = folder / "recording.jsonl"
            write_megabytes(path, size)
            worker = peaks(folder, path, 2)[1]
            print(f"recording of {path.stat().st_size / 1e6:,.0f} MB: worker {worker:.0f} MB")
            path.unlink()
        for count in (100, 1_000, 10_000):
            sessions = folder / "sessions"
            copies(sessions, count)
            parent, worker = peaks(folder, sessions, 2)
            print(f"{count:,} recordings: parent {parent:.0f} MB, worker {worker:.0f} MB")
            shutil.rmtree(sessions)


def write_megabytes(path: Path, size: int) -> None:
    """Write a recording of one item, in envelopes."""
    frame = audio_delta(12_000)
    with path.open("wb") as file:
        number = 0
        while file.tell() < size * 1_000_000:
            stamp = b'{"time":%.6f,"source":"server","event":' % (1_784_858_052 + number / 10)
            file.write(stamp + frame + b"}\n")
            number += 1


def copies(folder: Path, count: int) -> None:
    """Put so many small recordings into a folder."""
    folder.mkdir()
    for number in range(count):
        shutil.copyfile("examples/two-turns.jsonl", folder / f"session-{number:05}.jsonl")


def peaks(folder: Path, recordings: Path, jobs: int) -> tuple[float, float]:
    """Replay, and return the most memory in MB that the parent had, and one of its workers."""
    out = folder / "out"
    command = [sys.executable, "-m", "deltaring", "replay", str(recordings), "-o", str(out)]
    highest: dict[int, float] = {}
    with subprocess.Popen([*command, "-j", str(jobs)], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for pid in (process.pid, *filter(is_worker, map(int, children))):
                highest[pid] = max(highest.get(pid, 0.0), resident(pid))
            time.sleep(0.02)
    shutil.rmtree(out)
    if process.returncode:
        raise RuntimeError(f"the command ended with {process.returncode}")
    return highest.pop(process.pid), max(highest.values())


def is_worker(pid: int) -> bool:
    """Whether a process has become a worker: before that, its memory is its parent's."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def resident(pid: int) -> float:
    """Return the most memory in MB that a process had so far; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")), 0.0)


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    scaled = commands.add_parser("scale", help="-j 1 and -j 2 over a folder of recordings")
    scaled.add_argument("folder", type=Path)
    scaled.add_argument("--out", type=Path, help="a new folder; beside FOLDER unless given")
    scaled.add_argument("--rounds", type=int, default=3)
    commands.add_parser("decode", help="beside simple loops")
    commands.add_parser("memory", help="by size and by number of recordings")
    one = commands.add_parser("one", help="what decode calls")
    one.add_argument("way", choices=WAYS)
    one.add_argument("path", type=Path)
    options, rest = parser.parse_known_args()
    if options.command == "scale":
        out = options.out or options.folder.with_name(options.folder.name + "-out")
        scale(options.folder, out, options.rounds, rest)
    elif options.command == "decode":
        decode()
    elif options.command == "memory":
        memory()
    else:
        measure_one(options.way, options.path)


if __name__ == "__main__":
    main()
