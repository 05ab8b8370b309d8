"""Both forms of the kernel beside typed msgspec, json, and base64 alone; one size at a time.

    pip install ".[bench]" && python -m benchmarks.kernel

One run, the same frames, every way in turns; medians of the rounds in nanoseconds, and how many
times as fast (or slow) the native form is. `ring.clear()` stands for the listener.
"""

import base64
import json
import statistics
import timeit
from collections.abc import Callable
from types import MethodType

import pybase64

import deltaring
from benchmarks.frames import TRANSCRIPT_DELTA, audio_delta
from deltaring import kernel
from deltaring.frame import decode_known

ROUNDS = 51
ROUND_SECONDS = 0.004

Call = Callable[[], object]


class Kernel:
    """asv: one audio delta into a ring that is kept empty, by each form."""

    params = (["pure", "native"], [160, 960, 12_000, 48_000])
    param_names = ("form", "size")

    def setup(self, form: str, size: int) -> None:
        if form not in kernel.FORMS:
            raise NotImplementedError  # there is no compiled kernel
        self.frame = audio_delta(size)
        self.decode = decoder_of(form)
        for _ in range(50):
            self.time_decode(form, size)

    def time_decode(self, form: str, size: int) -> None:
        self.decode(self.frame).track.ring.clear()  # type: ignore[union-attr]


def decoder_of(form: str) -> Callable[[bytes], object]:
    """Return `Decoder.decode` with that form of the kernel."""
    decoder = deltaring.Decoder()
    if form == kernel.NAME:
        return decoder.decode
    decoder._kernel = kernel.FORMS[form](decoder._pool)
    decoder._feed = decoder._kernel.feed
    return MethodType(deltaring.Decoder.decode.__wrapped__, decoder)  # type: ignore[attr-defined]


def audio(size: int) -> dict[str, Call]:
    """The ways to decode one delta of that many bytes."""
    from hashcodecs import b64decode_into  # asv reads this file, too, and has no such extra

    frame = audio_delta(size)
    payload = memoryview(frame)[frame.index(b'"delta":"') + 9 : -2]
    buffer = bytearray(size)
    out = memoryview(buffer)
    native, pure = decoder_of("native"), decoder_of("pure")

    def by_native() -> None:
        native(frame).track.ring.clear()  # type: ignore[attr-defined]

    def by_pure() -> None:
        pure(frame).track.ring.clear()  # type: ignore[attr-defined]

    def typed() -> None:
        out[:] = pybase64.b64decode(decode_known(frame).delta, None, True)  # type: ignore[union-attr]

    def stdlib() -> None:
        out[:] = base64.b64decode(json.loads(frame)["delta"])

    return {
        "native": by_native,
        "pure": by_pure,
        "hashcodecs": lambda: b64decode_into(payload, buffer, None, True),
        "typed": typed,
        "json": stdlib,
    }


def text() -> dict[str, Call]:
    """The ways to decode a transcript delta of 251 bytes."""
    native, pure = decoder_of("native"), decoder_of("pure")
    return {
        "native": lambda: native(TRANSCRIPT_DELTA),
        "pure": lambda: pure(TRANSCRIPT_DELTA),
        "typed": lambda: decode_known(TRANSCRIPT_DELTA),
        "json": lambda: json.loads(TRANSCRIPT_DELTA),
    }


def medians(ways: dict[str, Call]) -> dict[str, float]:
    """Return nanoseconds per call: medians of interleaved rounds."""
    timers = {name: timeit.Timer(call) for name, call in ways.items()}
    counts = {
        name: max(1, round(ROUND_SECONDS / min(it.repeat(5, 20)) * 20))
        for name, it in timers.items()
    }
    rounds = [
        {name: it.timeit(counts[name]) / counts[name] for name, it in timers.items()}
        for _ in range(ROUNDS)
    ]
    return {name: statistics.median(times[name] for times in rounds) * 1e9 for name in ways}


if __name__ == "__main__":
    print("| frame | native | pure | hashcodecs | typed | json | / hashcodecs | typed / | json / |")
    print("|---|" + "---:|" * 8)
    for size in (12_000, 960, 160):
        ns = medians(audio(size))
        ratios = [ns["native"] / ns["hashcodecs"], ns["typed"] / ns["native"]]
        cells = [f"{value:,.0f}" for value in ns.values()]
        cells += [f"{value:.2f}" for value in (*ratios, ns["json"] / ns["native"])]
        print(f"| {size:,} bytes of audio | " + " | ".join(cells) + " |")
    ns = medians(text())
    cells = [
        f"{ns[name]:,.0f}" if name in ns else "" for name in ("native", "pure", "", "typed", "json")
    ]
    ratios = ["", f"{ns['typed'] / ns['native']:.2f}", f"{ns['json'] / ns['native']:.2f}"]
    print("| transcript, 251 bytes | " + " | ".join([*cells, *ratios]) + " |")
