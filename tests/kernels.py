"""Both forms of the kernel, whichever of them runs by itself."""

from typing import Any

import pytest

import deltaring
from deltaring.kernel import FORMS

WAYS = [*FORMS, "slow"]

both_forms = pytest.mark.parametrize("form", FORMS)
needs_native = pytest.mark.skipif("native" not in FORMS, reason="there is no compiled kernel")


def decoder_of(way: str, **options: Any) -> deltaring.Decoder:
    """Make a decoder with that form of the fast path, or without any ("slow")."""
    decoder = deltaring.Decoder(fast_path=way != "slow", **options)
    if way != "slow":
        decoder._kernel = FORMS[way](decoder._pool)
        decoder._feed, decoder._scan = decoder._kernel.feed, decoder._kernel.scan
    return decoder
