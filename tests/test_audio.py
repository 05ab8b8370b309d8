import sys
import warnings

import numpy as np
import pytest

from deltaring.audio import ALAW, INT16, MULAW, PCM16, UINT8, find_format, stated_format


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="audioop left the standard library")
@pytest.mark.parametrize(("table", "name"), [(MULAW, "ulaw2lin"), (ALAW, "alaw2lin")])
def test_g711_tables_equal_audioop(table: np.ndarray, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    assert table.tobytes() == getattr(audioop, name)(bytes(range(256)), 2)


def test_g711_tables_have_the_values_of_the_standard() -> None:
    # ITU-T G.711: the ends of the scale and the codes around zero, in 16 bits.
    assert MULAW[[0x00, 0x80, 0x7F, 0xFF]].tolist() == [-32124, 32124, 0, 0]
    assert ALAW[[0x2A, 0xAA, 0x55, 0xD5]].tolist() == [-32256, 32256, -8, 8]


@pytest.mark.parametrize(
    ("name", "canonical", "rate"),
    [
        ("pcm16", "pcm16", 24_000),
        ("audio/pcm", "pcm16", 24_000),
        ("pcm", "pcm16", 24_000),
        ("pcm24", "pcm16", 24_000),
        ("g711_ulaw", "g711_ulaw", 8_000),
        ("audio/pcmu", "g711_ulaw", 8_000),
        ("g711_alaw", "g711_alaw", 8_000),
        ("audio/pcma", "g711_alaw", 8_000),
    ],
)
def test_a_known_name_gives_int16_samples(name: str, canonical: str, rate: int) -> None:
    format = find_format(name)
    assert (format.name, format.sample_rate, format.dtype) == (canonical, rate, INT16)


@pytest.mark.parametrize("name", ["opus", "mp3", "PCM16", "audio/opus", ""])
def test_an_unknown_name_gives_raw_bytes(name: str) -> None:
    format = find_format(name, 16_000)
    assert (format.name, format.sample_rate, format.dtype) == (name, None, UINT8)
    assert format.bytes_per_sample == 1


def test_g711_can_be_kept() -> None:
    format = find_format("g711_ulaw", keep_g711=True)
    assert (format.name, format.sample_rate, format.dtype, format.table) == (
        "g711_ulaw", 8_000, UINT8, None,
    )  # fmt: skip
    assert find_format("pcm16", keep_g711=True) is PCM16


def test_a_stated_rate_is_taken() -> None:
    assert find_format("audio/pcm", 16_000).sample_rate == 16_000
    assert find_format("audio/pcm", 16_000.0).sample_rate == 16_000


@pytest.mark.parametrize(
    "rate", [None, 0, 1, 3_999, -1, True, "24000", 1e12, float("nan"), [], 768_001]
)
def test_a_rate_that_is_none_is_passed_over(rate: object) -> None:
    assert find_format("audio/pcm", rate).sample_rate == 24_000


PCM = {"type": "audio/pcm", "rate": 16_000}


@pytest.mark.parametrize(
    ("audio", "name", "stated"),
    [
        (None, None, None),
        (None, "g711_ulaw", ("g711_ulaw", None)),
        ({"output": {"format": PCM}}, None, ("audio/pcm", 16_000)),
        ({"output": {"format": PCM}}, "g711_ulaw", ("audio/pcm", 16_000)),
        ({"output": {"format": PCM}}, "not specified", ("audio/pcm", 16_000)),
        ({"output": {"format": "g711_alaw"}}, None, ("g711_alaw", None)),
        ({"output": {"format": None}}, "g711_ulaw", ("g711_ulaw", None)),
        ({"output": {"format": {"rate": 8000}}}, "g711_ulaw", ("g711_ulaw", None)),
        ({"output": {}}, None, None),
        ({"output": 5}, "", None),
        (5, "not specified", None),
        ({"output": {"format": {"type": 5}}}, 5, None),
    ],
)
def test_stated_format(audio: object, name: object, stated: object) -> None:
    assert stated_format(audio, name) == stated
