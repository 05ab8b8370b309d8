"""Audio formats: what the protocol calls them, and how their bytes become samples.

Rule: a format that is not known here is never guessed at. Its bytes stay bytes, and whoever needs
samples refuses it by its name.
"""

from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

INT16 = np.dtype("<i2")  # little-endian on the wire, so in memory too, whatever the machine
UINT8 = np.dtype("u1")

MIN_RATE, MAX_RATE = 4_000, 768_000
"""Hertz: half of telephony, and the fastest PCM that audio hardware knows. A server's rate sizes
rings, so one outside is no rate."""


def _mulaw_table() -> NDArray[np.int16]:
    """Samples of the 256 mu-law codes (ITU-T G.711, table 2a), on the 16-bit scale."""
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    table: NDArray[np.int16] = np.where(code & 0x80, -magnitude, magnitude).astype(INT16)
    return table


def _alaw_table() -> NDArray[np.int16]:
    """Samples of the 256 A-law codes (ITU-T G.711, table 1a), on the 16-bit scale."""
    code = np.arange(256) ^ 0x55
    segment = (code & 0x70) >> 4
    step = ((code & 0x0F) << 4) + np.where(segment == 0, 0x08, 0x108)
    magnitude = step << np.maximum(segment - 1, 0)
    table: NDArray[np.int16] = np.where(code & 0x80, magnitude, -magnitude).astype(INT16)
    return table


MULAW = _mulaw_table()
ALAW = _alaw_table()


class AudioFormat(Struct, frozen=True, gc=False):
    """How a track's bytes are to be understood."""

    name: str
    """pcm16, g711_ulaw, g711_alaw; any other name as the server gave it."""
    sample_rate: int | None
    """Hertz; None where the format is not known."""
    dtype: np.dtype[Any]
    """Of the ring: int16 for samples, uint8 for bytes that are kept as they came."""
    table: NDArray[np.int16] | None = None
    """G.711: the sample of each code."""

    @property
    def bytes_per_sample(self) -> int:
        """Bytes on the wire that make one element of the ring."""
        return 1 if self.table is not None else self.dtype.itemsize


PCM16 = AudioFormat("pcm16", 24_000, INT16)
"""What the protocol sends where nothing else was agreed."""

_MULAW = AudioFormat("g711_ulaw", 8_000, INT16, MULAW)
_ALAW = AudioFormat("g711_alaw", 8_000, INT16, ALAW)

# Beta's names, GA's names, and what clones say: "pcm" and "pcm24" (24 kHz, not 24 bits) are
# DashScope's and Zhipu's words for pcm16 at 24 kHz.
_KNOWN = {
    "pcm16": PCM16,
    "audio/pcm": PCM16,
    "pcm": PCM16,
    "pcm24": PCM16,
    "g711_ulaw": _MULAW,
    "audio/pcmu": _MULAW,
    "g711_alaw": _ALAW,
    "audio/pcma": _ALAW,
}

_UNSTATED = frozenset(("", "not specified"))  # xAI writes the latter beside a GA format object


def _rate(value: object, default: int | None) -> int | None:
    """Take a stated rate; one that no device could play does not count as stated."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if MIN_RATE <= value <= MAX_RATE else default
    return default


def find_format(name: str, rate: object = None, *, keep_g711: bool = False) -> AudioFormat:
    """Return the format of that name, in any dialect's spelling.

    `rate` in hertz replaces the format's own; it comes from the server, so anything but a number
    from 4,000 to 768,000 is passed over. With `keep_g711` the bytes of a G.711 format stay as they
    are. A name that is not known gives a format of raw bytes with that name and no sample rate.
    """
    known = _KNOWN.get(name)
    if known is None:
        return AudioFormat(name, None, UINT8)
    rate = _rate(rate, known.sample_rate)
    if keep_g711 and known.table is not None:
        return AudioFormat(known.name, rate, UINT8)
    return (
        known
        if rate == known.sample_rate
        else AudioFormat(known.name, rate, known.dtype, known.table)
    )


def stated_format(
    audio: object, flat: object, side: Literal["input", "output"] = "output"
) -> tuple[str, object] | None:
    """Return `(name, rate)` of the audio that a session or a response states for a side, or None.

    The arguments are its fields `audio` and `output_audio_format` (or `input_audio_format`). GA's
    `audio["output"]["format"]` goes before the flat one of beta: a server that sends both (xAI)
    means the object. Null, absent and misshapen alike are "not stated", which leaves what was
    agreed before.
    """
    part = audio.get(side) if isinstance(audio, dict) else None
    spec = part.get("format") if isinstance(part, dict) else None
    name, rate = (spec.get("type"), spec.get("rate")) if isinstance(spec, dict) else (spec, None)
    for stated in ((name, rate), (flat, None)):
        if isinstance(stated[0], str) and stated[0] not in _UNSTATED:
            return stated[0], stated[1]
    return None
