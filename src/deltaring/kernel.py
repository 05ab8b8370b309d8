"""The kernel: which form of the fast path runs, the compiled one or the pure one.

Rule: both have one contract, and nothing above this module knows which one runs. `feed(frame)`
answers with an AudioDelta whose samples are in the ring of its track, or with None, having changed
nothing; it answers only where the whole frame is proven. What is proven may differ, as what is left
takes the slow path, with the same outcome.

The environment variable DELTARING_KERNEL chooses: `pure`, or `native`, which makes the absence of
the compiled form an ImportError; unset, the compiled form runs where it is there.
"""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from deltaring import pure
from deltaring.audio import INT16, UINT8
from deltaring.pool import TrackPool
from deltaring.ring import AudioRing
from deltaring.track import AudioDelta, Track

Method = TypeVar("Method", bound=Callable[..., Any])

_WANTED = os.environ.get("DELTARING_KERNEL", "")
if _WANTED not in ("", "pure", "native"):
    raise ImportError(f"DELTARING_KERNEL is {_WANTED!r}, not 'pure' or 'native'")


def _import_native() -> Any:
    """Return the compiled form; None if it is not there or not wanted."""
    try:
        return None if _WANTED == "pure" else import_module("deltaring._kernel")
    except ImportError:
        if _WANTED == "native":
            raise
        return None


_native = _import_native()

NAME = "pure" if _native is None else "native"
"""Which form of the kernel runs."""

if _native is not None:
    _native.bind(TrackPool, Track, AudioRing, AudioDelta)
    AudioRing.read_into = _native.read_into_method(  # type: ignore[method-assign]
        AudioRing.read_into, AudioRing, INT16, UINT8, np.ndarray
    )

FORMS: dict[str, Any] = {"pure": pure.Feed}
"""The forms that are there, by name, each as its class `Feed`."""
if _native is not None:
    FORMS["native"] = _native.Feed

Feed: Any = FORMS[NAME]


def simd() -> str | None:
    """Return how base64 is decoded (avx512, avx2, neon, scalar); None with the pure kernel."""
    return None if _native is None else str(_native.simd())


def entry(
    method: Method, owner: type, typed: Callable[[bytes], object], handlers: dict[type, Any]
) -> Method:
    """Return what `owner` should have as its method `decode`: `method`, or what is tried before it.

    typed: decodes a frame of no audio. handlers: what its events mean for the tracks, by class.
    """
    if _native is None:
        return method
    entered: Method = _native.decode_method(method, owner, typed, handlers)
    return entered
