import base64
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltaring
from deltaring.lines import Line
from deltaring.recording import (
    Problem,
    Record,
    Recording,
    RecordingWriter,
    _parse,
    _parse_text,
)
from tests.test_decoder import mutants
from tests.wire import audio_frame, frame, hostile, pcm

zstd = pytest.importorskip(
    "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd",
    reason="Zstandard needs the zstd extra",
)

AUDIO = audio_frame(pcm(3_000))
TEXT = frame("response.text.delta", delta="hi")


def envelope(raw: bytes, time: str = "1784858052.123456", source: str = "server") -> bytes:
    return b'{"time":%s,"source":"%s","event":%s}' % (time.encode(), source.encode(), raw)


def read(data: bytes, **options: int) -> tuple[list[Record], list[str]]:
    recording = Recording(io.BytesIO(data), name="rec", **options)  # type: ignore[arg-type]
    return list(recording), [str(problem) for problem in recording.problems]


def frames(data: bytes, **options: int) -> list[bytes]:
    records, problems = read(data, **options)
    assert not problems
    return [bytes(record.frame) for record in records]


# --- half a character ----------------------------------------------------------------------------

CUT = rb'{"type":"response.text.delta","delta":"\ud83d","x":"\u00e9\ud83d\ude00"}'


@pytest.mark.parametrize("line", [CUT, envelope(CUT), b'{"x":"\\ude00","event":%s}' % CUT])
def test_a_frame_with_half_a_character_comes_as_it_was(line: bytes) -> None:
    assert frames(line) == [CUT]
    event = deltaring.decode(CUT)
    assert isinstance(event, deltaring.ResponseTextDelta)
    assert event.delta == "\ufffd"


def test_the_frame_is_cut_out_where_it_stands() -> None:
    # Once mended, the two values are the same; the frame is the second.
    twin = CUT.replace(b"ud83d", b"ud83e", 1)
    assert frames(b'{"x":%s,"event":%s}' % (twin, CUT)) == [CUT]


# --- shapes of lines ----------------------------------------------------------------------------


def test_lines_that_are_scanned_are_runs_and_the_others_records_in_order() -> None:
    decoder, rows = deltaring.Decoder(), np.empty(9, deltaring.ROW)
    data = b"\n".join([AUDIO, envelope(AUDIO), TEXT, AUDIO, b"nonsense"]) + b"\n"
    recording = Recording(io.BytesIO(data), name="rec")
    told: list[object] = []
    for part in recording.runs(lambda *lines: decoder.scan(lines[0], rows, *lines[1:])):
        told.append(part.frame if isinstance(part, Record) else len(part.rows))
    assert told == [2, TEXT, 1]
    assert [problem.line for problem in recording.problems] == [5]


def test_bare_frames_have_no_time() -> None:
    assert read(TEXT + b"\n" + AUDIO + b"\n") == (
        [Record(None, "server", TEXT), Record(None, "server", AUDIO)],
        [],
    )


@pytest.mark.parametrize("raw", [TEXT, AUDIO])
def test_an_envelope_gives_its_frame_verbatim(raw: bytes) -> None:
    data = envelope(raw) + b"\n" + envelope(raw, "5", "client") + b"\n"
    assert read(data) == (
        [Record(1784858052.123456, "server", raw), Record(5.0, "client", raw)],
        [],
    )


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (
            b'{"source":"client","event":{"type": "a"},"time":1.5}',
            (1.5, "client", b'{"type": "a"}'),
        ),
        (b'{ "time" : 2 , "event" : {"a":{}} , "more":[1] }', (2.0, "server", b'{"a":{}}')),
        (b'{"time":null,"source":"server","event":{}}', (None, "server", b"{}")),
        (b'{"event":{}}', (None, "server", b"{}")),
        (b'{"time":"2026-01-01T00:00:00Z","event":{}}', (1767225600.0, "server", b"{}")),
        (b'{"time":"2026-01-01T00:00:00.250","event":{}}', (1767225600.25, "server", b"{}")),
        (b'{"time":"2026-01-01T01:00:00+01:00","event":{}}', (1767225600.0, "server", b"{}")),
        (b'{"time":1e3,"source":"server","event":{}}', (1000.0, "server", b"{}")),
        (b'{"time":1,"source":"server","raw":"e30K"}', (1.0, "server", b"{}\n")),
        (b'{"event":{"a":1},"event":{"b":2}}', (None, "server", b'{"b":2}')),
        (b'{"type":"x.dtmf","event":"9"}', (None, "server", b'{"type":"x.dtmf","event":"9"}')),
        (
            b'{"type":"x","source":5,"event":{}}',
            (None, "server", b'{"type":"x","source":5,"event":{}}'),
        ),
    ],
)
def test_any_shape_of_line_is_parsed(line: bytes, record: tuple[float | None, str, bytes]) -> None:
    assert read(line) == ([Record(*record)], [])


HALF = b'{"type":"a.b","text":"\\ud83d"}'


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (HALF, (None, "server", HALF)),
        (envelope(HALF, "1"), (1.0, "server", HALF)),
        (envelope(HALF, "1", "client"), (1.0, "client", HALF)),
        (envelope(HALF, "1")[:-1] + b',"copy":' + HALF.replace(b"d83d", b"fffd") + b"}", (1.0, "server", HALF)),
        (b'{"event":{"a":1},"\\uDE00":"\\ud83d\\ude00","event":' + HALF + b"}", (None, "server", HALF)),
    ],
)  # fmt: skip
def test_half_a_character_costs_nothing_and_stays(line: bytes, record: object) -> None:
    records, problems = read(line)
    assert [(time, source, bytes(frame)) for time, source, frame in records] == [record]
    assert problems == []


def test_what_follows_the_event_is_not_part_of_the_frame() -> None:
    tricky = envelope(AUDIO)[:-1] + b',"source":"client"}'
    assert read(tricky) == ([Record(1784858052.123456, "client", AUDIO)], [])
    tricky = envelope(AUDIO)[:-1] + b',"event":{"type":"b"}}'
    assert read(tricky)[0][0].frame == b'{"type":"b"}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nonsense", "not valid JSON"),
        (b'{"a":1}', "there is no `type`, no `event` and no `raw`"),
        (b"[1]", "neither a frame nor an envelope"),
        (b'{"event":5}', "`event` is no object"),
        (b'{"event":null}', "`event` is no object"),
        (b'{"event":{},"source":"x"}', "`source` is 'x'"),
        (envelope(AUDIO, source="robot"), "`source` is 'robot'"),
        (b'{"event":{},"source":5}', "neither a frame nor an envelope"),
        (b'{"event":{},"time":"soon"}', "no ISO 8601 time"),
        (b'{"event":{},"time":true}', "neither a frame nor an envelope"),
        (b'{"event":{},"time":1e999}', "out of range"),
        (b'{"raw":"e30"}', "`raw` is not strict base64"),
        (b'{"raw":5}', "neither a frame nor an envelope"),
        (envelope(AUDIO) + b"x", "not valid JSON"),
        (envelope(AUDIO)[:-1] + b"]", "not valid JSON"),
        (b"[" * 500, "deeper"),
        (b'{"type":"\xff', "not valid JSON"),
    ],
)
def test_a_broken_line_is_named_and_the_rest_is_read(line: bytes, reason: str) -> None:
    records, problems = read(TEXT + b"\n" + line + b"\n" + TEXT + b"\n")
    assert [record.frame for record in records] == [TEXT, TEXT]
    assert problems[0].startswith(f"rec:2: byte {len(TEXT) + 1}: ")
    assert reason in problems[0]
    assert len(problems) == 1


def test_crlf_bom_blank_lines_and_a_missing_last_newline() -> None:
    data = b"\xef\xbb\xbf" + AUDIO + b"\r\n\r\n \t\n\n" + TEXT + b"\r\n" + TEXT
    assert frames(data) == [AUDIO, TEXT, TEXT]


@pytest.mark.parametrize("raw", [TEXT, AUDIO])
def test_a_truncated_last_line_is_reported_as_that(raw: bytes) -> None:
    for last in (raw, envelope(raw)):
        records, problems = read(TEXT + b"\n" + last[:-3])
        assert len(records) == 1
        assert problems[0].startswith(f"rec:2: byte {len(TEXT) + 1}: truncated last line")


def test_problems_are_bounded() -> None:
    recording = Recording(io.BytesIO(b"x\n" * 5_000), name="rec")
    assert not list(recording)
    assert (len(recording.problems), recording.problem_count) == (1_000, 5_000)
    assert recording.problems[-1] == Problem("rec", 1_000, 1_998, recording.problems[-1].reason)


APPEND = b'{"time":1.5,"source":"client","event":{"type":"input_audio_buffer.append","audio":"%s"}}'
APPENDS = [
    line
    for payload in (b"", b"AA==", base64.b64encode(pcm(90)), base64.b64encode(pcm(900)))
    for line in (
        APPEND % payload,
        json.dumps(json.loads(APPEND % payload)).encode(),
        (APPEND % payload).replace(b'{"type"', b'{"event_id":"evt_1","type"'),
    )
]
TOKENS = [b'"', b"\\", b'\\"', b'"}', b"}", b"{", b",", b" ", b"=", b"A", b"\0", b"\xff", b"\r",
          b'"audio":"AAAA",', b'"type":"x",', b'"event":{},', b'"time":2,']  # fmt: skip


@st.composite
def nearly_appends(draw: st.DrawFn) -> bytes:
    """A client's line with an edit or two, near its ends more often than inside."""
    line = draw(st.sampled_from(APPENDS))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, 110) | st.integers(-5, -1) | st.integers(0, len(line)))
        cut = draw(st.integers(0, 3))
        head, tail = line[:at], line[at:]
        line = head + draw(st.sampled_from([*TOKENS, b""])) + tail[cut:]
    return line


def outcome(parse: Callable[[], Record | None]) -> object:
    try:
        record = parse()
    except deltaring.FrameError as error:
        return type(error), str(error)
    return record and record._replace(frame=bytes(record.frame))


@settings(max_examples=1_500, deadline=None)
@given(nearly_appends())
def test_a_clients_line_is_read_as_the_parser_would(line: bytes) -> None:
    place = Line(1, 0, bytearray(line), 0, len(line), True, False)
    text = line.removesuffix(b"\r")
    assert outcome(lambda: _parse(place)) == outcome(lambda: _parse_text(text))


@pytest.mark.parametrize("line", [line for line in APPENDS if b'""' not in line])
def test_a_clients_audio_is_cut_out_and_not_parsed(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("deltaring.recording._parse_text")
    ((time, source, raw),) = Recording(io.BytesIO(line))
    assert (time, source, json.loads(raw)) == (1.5, "client", json.loads(line)["event"])


# --- size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [bytes, envelope])
def test_a_frame_over_the_limit_is_reported_and_skipped(wrap: type) -> None:
    size = len(AUDIO)
    data = b"\n".join((wrap(AUDIO), TEXT))
    assert len(frames(data, max_frame=size)) == 2
    records, problems = read(data, max_frame=size - 1)
    assert [record.frame for record in records] == [TEXT]
    assert problems == [f"rec:1: byte 0: the frame has {size} bytes, the limit is {size - 1}"]


def test_a_raw_frame_of_the_limit_fits() -> None:
    raw = b"\n" * 1_000
    data = b'{"raw":"' + base64.b64encode(raw) + b'"}'
    assert frames(data, max_frame=1_000) == [raw]


def test_a_long_line_is_reported_and_reading_goes_on() -> None:
    records, problems = read(b"x" * 100_000 + b"\n" + TEXT, max_frame=1_000)
    assert [record.frame for record in records] == [TEXT]
    assert problems == ["rec:1: byte 0: the line is too long for a frame of 1000 bytes"]


class Endless(io.RawIOBase):
    """A line without an end, as far as memory goes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self.left)
        buffer[:count] = b"x" * count
        self.left -= count
        return count


def test_memory_stays_flat_over_a_line_of_a_gigabyte() -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        recording = Recording(Endless(1 << 30), name="rec", max_frame=1 << 20)  # type: ignore[arg-type]
        assert not list(recording)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert "too long" in recording.problems[0].reason


# --- compression --------------------------------------------------------------------------------

MANY = [audio_frame(pcm(3_000, seed)) for seed in range(300)]
FILE = b"".join(envelope(raw) + b"\n" for raw in MANY)
COMPRESS = {"gzip": gzip.compress, "zstd": zstd.compress}


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("name", ["rec.jsonl", "rec.gz", "rec"])
def test_compressed_recordings_are_known_by_content(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(COMPRESS[kind](FILE))
    recording = Recording(path)
    assert [bytes(record.frame) for record in recording] == MANY
    assert not recording.problems


def test_gzip_of_several_members_is_read_whole() -> None:
    cut = FILE.index(b"\n", 50_000) - 77
    assert frames(gzip.compress(FILE[:cut]) + gzip.compress(FILE[cut:])) == MANY


GZIP_FORMS = {
    "an empty member first": gzip.compress(b"") + gzip.compress(FILE),
    "an empty member between": gzip.compress(FILE[:99])
    + gzip.compress(b"")
    + gzip.compress(FILE[99:]),
    "an empty member last": gzip.compress(FILE) + gzip.compress(b""),
    "zeros after it": gzip.compress(FILE) + bytes(1_000),
    "zeros between": gzip.compress(FILE[:99]) + bytes(512) + gzip.compress(FILE[99:]),
}


@pytest.mark.parametrize("form", GZIP_FORMS)
def test_empty_members_and_zeros_in_a_gzip_are_nothing(form: str) -> None:
    assert frames(GZIP_FORMS[form]) == MANY


def test_zstd_of_several_frames_is_read_whole() -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    parts = [zstd.compress(FILE[:99]), zstd.compress(b""), skippable, zstd.compress(FILE[99:])]
    assert frames(b"".join(parts)) == MANY
    assert frames(skippable + parts[0] + parts[3]) == MANY


@pytest.mark.parametrize("kind", COMPRESS)
def test_compressed_text_may_have_bom_crlf_and_no_last_newline(kind: str) -> None:
    text = b"\xef\xbb\xbf" + b"\r\n".join((TEXT, b"", AUDIO, envelope(AUDIO)))
    assert frames(COMPRESS[kind](text)) == [TEXT, AUDIO, AUDIO]


@pytest.mark.parametrize("name", ["rec.gz", "rec.jsonl.zst", "rec.har"])
def test_a_name_does_not_decide_what_plain_text_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILE)
    assert [record.frame for record in Recording(path)] == MANY


@pytest.mark.parametrize("name", ["rec.jsonl", "rec.gz", "rec.zst", "rec.har"])
def test_an_empty_file_is_an_empty_recording(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch()
    recording = Recording(path)
    assert (list(recording), recording.problems) == ([], [])


@pytest.mark.parametrize("kind", COMPRESS)
def test_nothing_compressed_is_an_empty_recording(kind: str) -> None:
    assert read(COMPRESS[kind](b"")) == ([], [])


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("size", [100, 4_095, 4_097, 8_193, 70_000, 140_000, 300_000])
def test_all_that_came_before_damage_is_read(kind: str, size: int) -> None:
    text = (TEXT + b"\n") * (size // len(TEXT) + 1)
    records, problems = read(COMPRESS[kind](text) + b"more")
    assert [record.frame for record in records] == text.split(b"\n")[:-1]
    assert f"damaged {kind} stream" in problems[0]


def test_all_that_came_before_damage_is_read_after_a_line_that_fills_the_buffer() -> None:
    text = frame("a.b", x="y" * 258_000) + b"\n" + (TEXT + b"\n") * 120
    records, _ = read(zstd.compress(text[:258_000]) + zstd.compress(text[258_000:]) + b"more")
    assert len(records) == 121


def test_all_that_came_before_a_failure_is_read(tmp_path: Path) -> None:
    class Failing(io.FileIO):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            count = super().readinto(memoryview(buffer)[:9_000])
            if not count:
                raise OSError("the disk is gone")
            return count

    path = tmp_path / "rec.jsonl"
    path.write_bytes((TEXT + b"\n") * 500)
    with Failing(path) as file:
        recording = Recording(file)  # type: ignore[arg-type]
        assert len(list(recording)) == 500
    assert "the disk is gone" in recording.broken


@pytest.mark.parametrize("data", [b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd"])
def test_a_header_alone_is_a_truncated_stream(data: bytes) -> None:
    records, problems = read(data)
    assert records == []
    assert [problem.split(": ")[-1] for problem in problems] in (
        ["truncated gzip stream"],
        ["truncated zstd stream"],
    )


def test_what_follows_a_gzip_is_damage_and_what_came_before_is_read() -> None:
    records, problems = read(gzip.compress(FILE) + b"more")
    assert [record.frame for record in records] == MANY
    assert "damaged gzip stream" in problems[0]


@pytest.mark.parametrize("kind", ["plain", *COMPRESS])
def test_a_named_pipe_is_read(kind: str, tmp_path: Path) -> None:
    path, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(path)
    file.write_bytes(COMPRESS[kind](FILE) if kind in COMPRESS else FILE)
    with subprocess.Popen(["sh", "-c", 'cat "$0" > "$1"', file, path]):
        assert [record.frame for record in Recording(path)] == MANY


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_stream_is_reported_as_that(kind: str, keep: float) -> None:
    data = COMPRESS[kind](FILE)
    records, problems = read(data[: int(len(data) * keep)])
    assert [bytes(record.frame) for record in records] == MANY[: len(records)]
    assert len(problems) == 1
    assert problems[0].endswith(f"truncated {kind} stream")


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_damaged_stream_is_reported_and_what_came_before_is_read(kind: str) -> None:
    data = bytearray(COMPRESS[kind](FILE))
    data[len(data) // 2 : len(data) // 2 + 50] = b"\xaa" * 50
    if (
        kind == "zstd"
    ):  # without a checksum, contents may change unseen: damage the frame's structure
        data[4:6] = b"\xff\xff"
    records, problems = read(bytes(data))
    assert len(records) < len(MANY)
    assert "stream" in problems[-1] or "JSON" in problems[-1]


def test_zstd_windows_over_128_mib_are_refused() -> None:
    options = {
        zstd.CompressionParameter.window_log: 28,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    data = compressor.compress(TEXT + b"\n" + b" " * (1 << 20)) + compressor.flush()
    records, problems = read(data)
    assert not records
    assert "zstd stream" in problems[0]


def test_a_gzip_bomb_is_read_in_constant_memory() -> None:
    import tracemalloc

    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(bytes(1 << 20) + b"\n" * 1_000_000)
    tracemalloc.start()
    try:
        recording = Recording(io.BytesIO(bomb.getvalue()), name="rec")
        assert not list(recording)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert recording.problem_count == 100


def test_without_the_extra_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("backports.zstd", "compression.zstd", "compression", "backports"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(deltaring.RecordingError, match=r"pip install 'deltaring\[zstd\]'"):
        read(zstd.compress(FILE))


# --- reading ------------------------------------------------------------------------------------


def test_views_are_memoryviews_of_the_same_frames(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    path.write_bytes(FILE)
    views = Recording(path).views()
    assert [bytes(record.frame) for record in views] == MANY


def test_iterating_again_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    path.write_bytes(TEXT + b"\nnonsense\n")
    recording = Recording(path)
    for _ in range(2):
        assert len(list(recording)) == 1
        assert recording.problem_count == 1


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_what_cannot_be_opened_is_an_os_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=name.strip(".") or "directory"):
        list(Recording(tmp_path / name))


def test_the_line_at_hand_is_known() -> None:
    recording = Recording(io.BytesIO(TEXT + b"\n\n" + AUDIO), name="rec")
    places = [(recording.line, recording.offset) for _ in recording]
    assert places == [(1, 0), (3, len(TEXT) + 2)]


def test_real_recordings_are_read_verbatim(real_recordings: list[Path]) -> None:
    for path in real_recordings:
        recording = Recording(path)
        assert [record.frame for record in recording] == path.read_bytes().splitlines()
        assert not recording.problems


# --- writing ------------------------------------------------------------------------------------


def test_a_written_frame_is_an_envelope(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    with RecordingWriter(path) as writer:
        writer.write(TEXT, time=1784858052.123456)
        writer.write(TEXT.decode(), source="client")
    assert path.read_bytes() == (
        envelope(TEXT) + b'\n{"time":null,"source":"client","event":' + TEXT + b"}\n"
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"x"',
        b'{"a":1}\n',
        b'{"a":\r1}',
        b'{"a":"\xff"}',
        b"{" * 2_000,
        b'{"a":1',
        b' {"a":1}',
        b'{"a":1} ',
    ],
)
def test_what_cannot_stand_in_a_line_is_kept_as_raw(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    with RecordingWriter(path) as writer:
        writer.write(raw, time=1.0)
    assert json.loads(path.read_bytes())["raw"] == base64.b64encode(raw).decode()
    assert [record.frame for record in Recording(path)] == [raw]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=40) | st.just(TEXT) | st.just(AUDIO),
            st.booleans(),
            st.none() | st.floats(0, 1e10),
        )
    )
)
def test_whatever_is_written_is_read(rows: list[tuple[bytes, bool, float | None]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rec.jsonl")
        with RecordingWriter(path) as writer:
            for raw, client, time in rows:
                writer.write(raw, source="client" if client else "server", time=time)
        expected = [
            Record(time, "client" if client else "server", raw) for raw, client, time in rows
        ]
        recording = Recording(path)
        assert list(recording) == expected
        assert not recording.problems


def test_frames_that_are_nearly_right_come_back_as_they_were(tmp_path: Path) -> None:
    frames = [*mutants(7, 20_000), *(raw for raw in hostile().values() if isinstance(raw, bytes))]
    path = tmp_path / "rec.jsonl"
    with RecordingWriter(path) as writer:
        for raw in frames:
            writer.write(raw)
    recording = Recording(path)
    assert [record.frame for record in recording] == frames
    assert not recording.problems


def test_a_writer_goes_on_after_a_cut_off_line(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    path.write_bytes(envelope(TEXT) + b"\n" + envelope(TEXT)[:20])
    with RecordingWriter(path) as writer:
        writer.write(AUDIO, time=1.0)
    recording = Recording(path)
    assert [record.frame for record in recording] == [TEXT, AUDIO]
    assert [problem.line for problem in recording.problems] == [2]


def test_a_killed_process_loses_at_most_the_line_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    code = (
        "import os, sys; from deltaring.recording import RecordingWriter\n"
        "writer = RecordingWriter(sys.argv[1])\n"
        'for n in range(100): writer.write(b\'{"type":"a.b"}\', time=float(n))\n'
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=False)
    assert [record.time for record in Recording(path)] == [float(n) for n in range(100)]


def test_a_short_write_costs_only_its_own_frame(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    writer = RecordingWriter(path)
    writer.write(TEXT, time=1.0)

    class Full(io.FileIO):
        def write(self, line: bytes) -> int:  # type: ignore[override]
            return super().write(line[:10]) or 0

    whole, writer._file = writer._file, Full(path, "ab")
    with pytest.raises(OSError, match="only 10 of"):
        writer.write(TEXT, time=2.0)
    writer._file.close()
    writer._file = whole
    writer.write(TEXT, time=3.0)
    writer.close()
    assert [record.time for record in Recording(path)] == [1.0, 3.0]


def test_the_deepest_frame_that_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    deep = [b'{"type":"a.b","x":' + b"[" * n + b"]" * n + b"}" for n in (253, 254, 255, 256)]
    with RecordingWriter(path) as writer:
        for raw in deep:
            writer.write(raw)
    recording = Recording(path)
    assert [record.frame for record in recording] == deep
    assert not recording.problems


def test_what_an_opener_opens_is_read_as_often_as_asked_and_closed() -> None:
    opened = []

    class Member:
        name = "rec.jsonl"

        def open(self) -> io.BytesIO:
            opened.append(io.BytesIO(FILE))
            return opened[-1]

    recording = Recording(Member())
    for count in (1, 2):
        assert [record.frame for record in recording] == MANY
        assert [stream.closed for stream in opened] == [True] * count
    assert recording.name == "rec.jsonl"


def test_a_stream_of_the_users_stays_open() -> None:
    for stream in (io.BytesIO(TEXT), io.BufferedReader(Endless(5))):  # type: ignore[type-var]
        list(Recording(stream, name="x"))
        assert not stream.closed


def test_a_complete_but_wrong_last_line_is_not_called_truncated() -> None:
    _, problems = read(b'{"time":true,"event":{}}')
    assert "truncated" not in problems[0]


@pytest.mark.parametrize("time", ["1e13", "-1e300"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    assert "no Unix time" in read(b'{"time":%s,"event":{}}' % time.encode())[1][0]


def test_a_reason_is_bounded() -> None:
    _, problems = read(b'{"source":"' + b"x" * 10_000 + b'","event":{}}')
    assert len(problems[0]) < 600


@pytest.mark.parametrize(
    "options", [{"source": "x"}, {"time": float("nan")}, {"time": float("inf")}, {"time": 1e13}]
)
def test_a_bad_source_or_time_is_refused(options: dict[str, object], tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "rec.jsonl") as writer, pytest.raises(ValueError):
        writer.write(TEXT, **options)  # type: ignore[arg-type]
