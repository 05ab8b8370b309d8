import numpy as np
import pytest

from deltaring.resample import resampled
from deltaring.ring import Samples

pytest.importorskip("soxr", reason="the audio extra")


def noise(count: int) -> Samples:
    return np.random.default_rng(1).integers(-20_000, 20_000, count).astype("<i2")


def whole(samples: Samples, rate: int, wanted: int, size: int = 1_000) -> Samples:
    blocks = (samples[at : at + size] for at in range(0, len(samples), size))
    return np.concatenate([*resampled(blocks, rate, wanted), np.empty(0, "<i2")])


@pytest.mark.parametrize("count", [0, 1, 7, 2_401, 99_999])
@pytest.mark.parametrize(("rate", "wanted"), [(24_000, 16_000), (8_000, 24_000), (22_050, 48_000)])
def test_the_number_of_samples_is_the_exact_one_rounded(count: int, rate: int, wanted: int) -> None:
    assert len(whole(noise(count), rate, wanted)) == round(count * wanted / rate)


def test_blocks_of_any_length_give_the_same() -> None:
    samples = noise(10_000)
    expected = whole(samples, 24_000, 16_000, 10_000)
    for size in (1, 333, 4_096):
        assert (whole(samples, 24_000, 16_000, size) == expected).all()


def test_a_tone_keeps_its_pitch_and_its_level() -> None:
    tone = (10_000 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)).astype("<i2")
    there = whole(tone, 24_000, 8_000)
    expected = 10_000 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)
    assert np.abs(there - expected)[100:-100].max() < 3


def test_values_are_rounded_and_not_cut_off() -> None:
    for level in (-7, 7):
        there = whole(np.full(4_800, level, "<i2"), 24_000, 16_000)
        assert (there[200:-200] == level).all()


def test_what_overshoots_is_clipped_and_does_not_wrap() -> None:
    square = np.where(np.arange(4_000) // 100 % 2, 32_767, -32_768).astype("<i2")
    there = whole(square, 24_000, 48_000)
    assert there.max() == 32_767
    middles = there[100::200]
    assert (np.sign(middles) == np.where(np.arange(len(middles)) % 2, 1, -1)).all()


def test_the_same_rate_is_passed_on() -> None:
    blocks = [noise(10), noise(20)]
    assert all(
        there is block
        for there, block in zip(resampled(blocks, 24_000, 24_000), blocks, strict=True)
    )
