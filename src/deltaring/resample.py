"""resampled(): samples at another rate.

Rule: the same samples give the same result, in blocks of any length: soxr works on floats, which
are rounded here, because what it rounds itself it dithers.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from deltaring.audio import INT16
from deltaring.ring import Samples

_LOW, _HIGH = np.iinfo(INT16).min, np.iinfo(INT16).max


def resampled(blocks: Iterable[Samples], rate: int, wanted: int) -> Iterator[Samples]:
    """Yield the int16 samples of `blocks`, which are at `rate` Hz, at `wanted` Hz.

    Of n samples it makes n * wanted / rate, rounded to the nearest whole number.
    """
    if rate == wanted:
        yield from blocks
        return
    import soxr  # type: ignore[import-untyped, unused-ignore]

    stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
    for block in blocks:
        yield _rounded(stream.resample_chunk(block.astype(np.float32)))
    yield _rounded(stream.resample_chunk(np.empty(0, np.float32), last=True))


def _rounded(values: Samples) -> Samples:
    return np.rint(values).clip(_LOW, _HIGH).astype(INT16)  # a steep filter overshoots
