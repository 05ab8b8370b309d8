import io

import numpy as np
import pytest

from deltaring.ogg import checksum, set_serial

soundfile = pytest.importorskip("soundfile", reason="the audio extra")


def opus(seconds: int = 3) -> bytes:
    samples = np.random.default_rng(1).integers(-9_000, 9_000, 24_000 * seconds).astype("i2")
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 24_000, 1, "OPUS", format="OGG") as encoder:
        encoder.write(samples)
    return file.getvalue()


def numbered(data: bytes, serial: int) -> bytes:
    file = io.BytesIO(data)
    set_serial(file, serial)
    return file.getvalue()


def test_the_checksum_is_the_one_that_the_encoder_wrote() -> None:
    page = opus()[:47]  # the first page has 19 bytes of an OpusHead
    stated = int.from_bytes(page[22:26], "little")
    assert checksum(page[:22] + bytes(4) + page[26:]) == stated


def test_two_encodings_differ_only_in_what_is_set() -> None:
    one, two = opus(), opus()
    assert one != two  # else libsndfile has become deterministic, and this module can go
    assert numbered(one, 1) == numbered(two, 1)


def test_the_serial_stands_in_every_page_and_the_audio_is_the_same() -> None:
    data = opus()
    there = numbered(data, 0x01020304)
    assert there.count(b"\4\3\2\1") == data.count(b"OggS") > 3
    before, _ = soundfile.read(io.BytesIO(data))
    after, _ = soundfile.read(io.BytesIO(there))  # libogg passes over pages that do not add up
    assert (before == after).all()


@pytest.mark.parametrize("data", [b"RIFF" + bytes(100), b"OggS\0"])
def test_what_is_no_ogg_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="byte 0"):
        numbered(data, 1)
