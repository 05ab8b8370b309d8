"""Recorded sessions in bulk: `Decoder.scan` over a file, beside reading it and other loops.

    python -m benchmarks.scan

A page-cached file of 12,000-byte deltas, bare and in envelopes; every way in turns; medians of the
rounds in microseconds per line. All but `readinto` decode all audio; rings are emptied as they go.
"""

import base64
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pybase64

from benchmarks.frames import audio_delta
from benchmarks.kernel import decoder_of
from deltaring import ROW, Decoder, kernel
from deltaring.lines import CHUNK, LineReader
from deltaring.recording import Recording

LINES = 4_000
ROUNDS = 15

Way = Callable[[Path], object]


def lines(shape: str, count: int) -> bytes:
    """Return a recording of that shape, bare or enveloped."""
    frame = audio_delta(12_000)
    if shape == "enveloped":
        frame = b'{"time":1784858052.123456,"source":"server","event":' + frame + b"}"
    return (frame + b"\n") * count


def scan(form: str, path: Path) -> None:
    """Take run after run."""
    decoder = Decoder(seconds=3_600)
    decoder._kernel = kernel.FORMS[form](decoder._pool)
    decoder._scan = decoder._kernel.scan
    rows = np.empty(1_024, ROW)
    with path.open("rb") as file:
        reader = LineReader(file, 1 << 20)
        while reader.find():
            run = decoder.scan(reader.buffer, rows, reader.start, reader.stop)
            for track in run.tracks:
                track.ring.clear()
            reader.skip(len(run.rows), run.stop)


def line_by_line(path: Path) -> None:
    """What replay did before `scan`, with the pure kernel."""
    decode = decoder_of("pure")
    for record in Recording(path).views():
        decode(record.frame).track.ring.clear()  # type: ignore[arg-type, attr-defined]


def readinto(path: Path) -> None:
    """Read the file into one buffer."""
    buffer = bytearray(CHUNK)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def loop(
    loads: Callable[[bytes], dict[str, str]], decode: Callable[[str], bytes], path: Path
) -> None:
    """Parse each line, decode its delta."""
    with path.open("rb") as file:
        for line in file:
            frame = loads(line)
            decode(frame.get("event", frame)["delta"])  # type: ignore[call-overload]


def ways() -> dict[str, Way]:
    """All contenders, by name."""
    forms: dict[str, Way] = {
        f"scan {form}": lambda path, form=form: scan(form, path)  # type: ignore[misc]
        for form in reversed(kernel.FORMS)
    }
    return {
        "readinto": readinto,
        **forms,
        "line by line, pure": line_by_line,
        "orjson + strict pybase64": lambda path: loop(
            orjson.loads, lambda text: pybase64.b64decode(text, None, True), path
        ),
        "json + base64": lambda path: loop(json.loads, base64.b64decode, path),
    }


def seconds(way: Way, path: Path) -> float:
    start = time.perf_counter()
    way(path)
    return time.perf_counter() - start


class Scan:
    """asv: seconds for 1,000 lines, by each form."""

    params = (["pure", "native"], ["bare", "enveloped"])
    param_names = ("form", "shape")

    def setup(self, form: str, shape: str) -> None:
        if form not in kernel.FORMS:
            raise NotImplementedError  # there is no compiled kernel
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "recording"
        self.path.write_bytes(lines(shape, 1_000))
        self.time_scan(form, shape)

    def teardown(self, form: str, shape: str) -> None:
        self.folder.cleanup()

    def time_scan(self, form: str, shape: str) -> None:
        scan(form, self.path)


if __name__ == "__main__":
    print("| way | " + " | ".join(f"{shape}, us per line" for shape in Scan.params[1]) + " |")
    print("|---|" + "---:|" * len(Scan.params[1]))
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        for shape in Scan.params[1]:
            path.write_bytes(lines(shape, LINES))
            rounds = [
                {name: seconds(way, path) for name, way in ways().items()} for _ in range(ROUNDS)
            ]
            columns.append(
                {name: statistics.median(times[name] for times in rounds) for name in ways()}
            )
    for name in ways():
        cells = [f"{column[name] / LINES * 1e6:.2f}" for column in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")
