"""Time against size: that no input makes any way in take longer than in proportion to its length.

    pip install ".[har,zstd]" && python -m benchmarks.linear

A row for each input that might, a column for each way in: the exponent of time over size (least
squares over the logarithms; 1 is linear, 2 is quadratic), and nanoseconds a byte at the largest
size. What is far from linear is marked, and the exit code is 1.
"""

import io
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

import deltaring
from benchmarks.frames import audio_delta
from benchmarks.kernel import decoder_of
from deltaring import ROW, kernel
from deltaring.errors import FrameError
from deltaring.recording import Recording
from deltaring.redact import Redaction
from deltaring.replay import inspect
from deltaring.script import read_client_event

SIZES = [1 << power for power in range(18, 23)]
"""Bytes: 0.25 to 4 MB. A quadratic step of 10 ns a pair would take 100 s at the first of them."""
ROUNDS = 3
_ENOUGH = 0.1  # seconds: what takes longer is not disturbed by much
STEEP = 1.3
"""An exponent from which a row is marked: caches and page faults make up to 1.2 of 1."""
_NOTICED = 0.005  # seconds; what takes less at 4 MB has a part of constant size that hides the rest

Way = Callable[[bytes], object]


def _repeated(unit: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: before + unit * (size // len(unit)) + after


_IN_STRING = b'{"type":"a.b","x":"', b'"}'
_IN_OBJECT = b'{"type":"a.b"', b"}"

INPUTS: dict[str, Callable[[int], bytes]] = {
    "quotes": _repeated(b'"'),
    "backslashes": _repeated(b"\\"),
    "backslashes in a string": _repeated(b"\\\\", *_IN_STRING),
    "escaped quotes": _repeated(b'\\"', *_IN_STRING),
    "escaped backslashes": _repeated(b"\\u005c", *_IN_STRING),
    "half characters": _repeated(b"\\ud83d", *_IN_STRING),
    "whole characters": _repeated(b"\\ud83d\\ude00", *_IN_STRING),
    "braces": _repeated(b"{"),
    "brackets": _repeated(b"["),
    "brackets in a string": _repeated(b"[{", *_IN_STRING),
    "shut at once": _repeated(b"[],", b'{"type":"a.b","x":[', b"0]}"),
    '{"delta":"': _repeated(b'{"delta":"'),
    '{"log":': _repeated(b'{"log":'),
    "digits": _repeated(b"7", b'{"type":"a.b","x":', b"}"),
    "digits, an index": _repeated(
        b"7", b'{"type":"response.audio.delta","delta":"","output_index":', b"}"
    ),
    "a fraction": _repeated(b"7", b'{"time":0.', b',"event":{"type":"a.b"}}'),
    "a long key": _repeated(b"k", b'{"type":"a.b","', b'":1}'),
    "a long type": _repeated(b"k", b'{"type":"', b'"}'),
    "commas": _repeated(b",", b'{"type":"a.b"', b"}"),
    "spaces": _repeated(b" ", b'{"type":"a.b"', b"}"),
    "spaces before": _repeated(b" ", b"", b'{"type":"a.b"}'),
    "a key again and again": _repeated(b',"a":1', *_IN_OBJECT),
    "types": _repeated(b',"type":"a.b"', *_IN_OBJECT),
    "deltas": _repeated(b',"delta":"AAAA"', b'{"type":"response.audio.delta"', b"}"),
    "envelopes": _repeated(b'{"time":1,"source":"server","event":'),
    "lines": _repeated(b'{"type":"a.b"}\n'),
    "line ends": _repeated(b"\n"),
    "carriage returns": _repeated(b"\r"),
    "NUL": _repeated(b"\0"),
    "continuation bytes": _repeated(b"\x80", *_IN_STRING),
    "ids": _repeated(b"i", b'{"type":"response.audio.delta","event_id":"', b'","delta":"AAAA"}'),
    "audio": lambda size: audio_delta(size // 4 * 3),
    "audio, bad at its end": lambda size: audio_delta(size // 4 * 3)[:-3] + b'!"}',
}  # fmt: skip


def _read(data: bytes) -> None:
    for _ in Recording(io.BytesIO(data)).views():
        pass


def _read_har(data: bytes) -> None:
    """As the text of a HAR after its first key."""
    _read(b'{"log":' + data)


def _read_messages(data: bytes) -> None:
    """As one message of a HAR that may not end."""
    _read(b'{"log":{"entries":[{"_webSocketMessages":[{"type":"receive","data":' + data)


def _decoding(form: str) -> Way:
    decode = decoder_of(form)

    def way(data: bytes) -> None:
        event = decode(data)
        if isinstance(event, deltaring.AudioDelta):
            event.track.ring.clear()

    return way


def _scanning(form: str) -> Way:
    decoder = deltaring.Decoder()
    decoder._scan = kernel.FORMS[form](decoder._pool).scan
    rows = np.empty(64, ROW)

    def way(data: bytes) -> None:
        for track in decoder.scan(data + b"\n", rows).tracks:
            track.ring.clear()

    return way


def ways() -> Iterator[tuple[str, Way]]:
    """Each way in, by name."""
    yield "decode", deltaring.decode
    yield "str", lambda data: deltaring.decode(data.decode("latin-1"))
    for form in kernel.FORMS:
        yield form, _decoding(form)
        yield f"scan {form}", _scanning(form)
    yield "recording", _read
    yield "HAR", _read_har
    yield "message", _read_messages
    yield "client", read_client_event
    yield "redact", lambda data: Redaction(audio=True, text=True).apply(data, "server")
    yield "inspect", lambda data: inspect(Recording(io.BytesIO(data)))


def seconds(way: Way, data: bytes) -> float:
    """The best of a few times that the way takes for the data, of this thread's processor."""
    best = math.inf
    for _ in range(ROUNDS):
        start = time.thread_time()
        with suppress(FrameError):
            way(data)
        best = min(best, time.thread_time() - start)
        if best > _ENOUGH:
            break
    return best


def main() -> int:
    """Print the table; 1 if something in it is steep."""
    columns = dict(ways())
    print(" " * 24 + "".join(f"{name:>14}" for name in columns))
    steep = 0
    for name, make in INPUTS.items():
        cells = []
        for way in columns.values():
            times = [seconds(way, make(size)) for size in SIZES]
            slope = statistics.linear_regression(
                [math.log(size) for size in SIZES], [math.log(each) for each in times]
            ).slope
            marked = slope > STEEP and times[-1] > _NOTICED
            steep += marked
            cost = times[-1] / SIZES[-1] * 1e9
            cells.append(f"{slope:>5.2f} {cost:>6.2f}{' *' if marked else '  '}")
        print(f"{name:24}" + "".join(cells), flush=True)
    print(f"{steep} marked", flush=True)
    return 1 if steep else 0


if __name__ == "__main__":
    sys.exit(main())
