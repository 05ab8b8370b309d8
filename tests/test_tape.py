import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deltaring.outdir import OutputFolder
from deltaring.tape import BLOCK, HEAD, Tape, Tapes


@pytest.fixture
def tapes(tmp_path: Path) -> Iterator[Tapes]:
    tapes = Tapes(OutputFolder(tmp_path, "f", re.compile("x")))
    yield tapes
    tapes.abandon()


def read(tape: Tape, *bounds: int) -> list[int]:
    return [sample for block in tape.blocks(*bounds) for sample in block.tolist()]


def test_what_was_written_is_read_back_in_blocks(tapes: Tapes) -> None:
    tape = tapes.new("a", 24_000)
    samples = np.arange(2 * BLOCK + 5, dtype="<i2")
    tape.write(samples[:7])
    tape.write(samples[7:])
    tapes.close()
    assert tape.samples == len(samples)
    assert [len(block) for block in tape.blocks()] == [BLOCK, BLOCK, 5]
    assert read(tape) == samples.tolist()


def test_a_part_of_it_is_read(tapes: Tapes) -> None:
    tape = tapes.new("a", 24_000)
    tape.write(np.arange(100, dtype="<i2"))
    tapes.close()
    assert read(tape, 10, 13) == [10, 11, 12]


def test_bytes_of_an_unknown_format_have_no_room_before_them(tapes: Tapes) -> None:
    tape = tapes.new("a", None)
    tape.write(np.frombuffer(b"\xff\x00\x01", np.uint8))
    tapes.close()
    assert read(tape) == [255, 0, 1]
    (path,) = tapes.folder.path.iterdir()
    assert path.read_bytes() == b"\xff\x00\x01"


def test_samples_have_room_for_a_header(tapes: Tapes) -> None:
    tapes.new("a", 8_000).write(np.array([1], "<i2"))
    tapes.close()
    (path,) = tapes.folder.path.iterdir()
    assert path.read_bytes() == bytes(HEAD) + b"\1\0"


def test_more_tapes_than_files_may_be_open(tapes: Tapes) -> None:
    all_of_them = [tapes.new(f"t{number}", 24_000) for number in range(40)]
    assert len(tapes._open) <= 16
    for turn in range(3):
        for number, tape in enumerate(all_of_them):
            tape.write(np.array([turn, number], "<i2"))
    assert len(tapes._open) <= 16
    tapes.close()
    for number, tape in enumerate(all_of_them):
        assert read(tape) == [0, number, 1, number, 2, number]


def test_a_tape_that_was_cut_is_an_error(tapes: Tapes) -> None:
    tape = tapes.new("a", 24_000)
    tape.write(np.arange(100, dtype="<i2"))
    tapes.close()
    with tapes.folder.reopen("a") as file:
        file.truncate(HEAD + 50)
    with pytest.raises(OSError, match="shorter"):
        read(tape)


def test_abandoned_tapes_have_no_file_open(tapes: Tapes) -> None:
    tapes.new("a", 24_000).write(np.arange(100, dtype="<i2"))
    tapes.abandon()
    assert not tapes._open
