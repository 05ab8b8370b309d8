import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaring import lines
from deltaring.lines import LineReader


class Dribble(io.BytesIO):
    """A stream that gives at most `most` bytes a read."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self.most = most

    def readinto1(self, buffer: memoryview) -> int:  # type: ignore[override]
        return super().readinto(buffer[: self.most])


def read(
    data: bytes, limit: int = 100, most: int = 1 << 20
) -> list[tuple[int, int, bytes, bool, bool]]:
    return [
        (
            line.number,
            line.offset,
            bytes(line.buffer[line.start : line.stop]),
            line.complete,
            line.too_long,
        )
        for line in LineReader(Dribble(data, most), limit)
    ]


def test_lines_have_numbers_and_offsets() -> None:
    assert read(b"ab\n\nc\nd") == [
        (1, 0, b"ab", True, False),
        (3, 4, b"c", True, False),
        (4, 6, b"d", False, False),
    ]


def test_an_empty_stream_has_no_lines() -> None:
    assert read(b"") == []
    assert read(b"\n\n") == []


@pytest.mark.parametrize("most", [1, 7, 64, 1 << 20])
def test_a_long_line_is_passed_over(most: int) -> None:
    data = b"a\n" + b"x" * 500 + b"\nb\n"
    assert [line[:2] + line[3:] for line in read(data, 100, most)] == [
        (1, 0, True, False),
        (2, 2, True, True),
        (3, 503, True, False),
    ]


def test_a_long_line_at_the_end_is_passed_over() -> None:
    assert [line[3:] for line in read(b"x" * 500, 100, 64)] == [(False, True)]


def test_a_long_line_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "CHUNK", 128)
    sizes = {len(line.buffer) for line in LineReader(Dribble(b"x" * 100_000 + b"\na", 64), 500)}
    assert max(sizes) <= 1024


@given(
    st.lists(st.integers(0, 300), max_size=12),
    st.integers(1, 700),
    st.integers(16, 400),
    st.booleans(),
)
def test_lines_are_those_of_split(sizes: list[int], most: int, chunk: int, ended: bool) -> None:
    parts = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    data = b"\n".join(parts) + (b"\n" if ended else b"")
    expected, offset = [], 0
    for number, part in enumerate(data.split(b"\n"), 1):
        if part:
            too_long = len(part) > 200
            complete = offset + len(part) < len(data)
            expected.append((number, offset, b"" if too_long else part, complete, too_long))
        offset += len(part) + 1
    before, lines.CHUNK = lines.CHUNK, chunk
    try:
        found = [
            (n, o, b"" if long else text, c, long) for n, o, text, c, long in read(data, 200, most)
        ]
    finally:
        lines.CHUNK = before
    assert found == expected
