"""EventLog, by itself and as replay uses it: a row for each frame, however the frames come."""

import base64
import gzip
import io
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltaring
from deltaring import ROW, AudioDelta, Decoder, eventlog
from deltaring.errors import ReplayError
from deltaring.eventlog import EventLog, event_schema
from deltaring.microphone import read_client
from deltaring.recording import Recording
from deltaring.replay import replay
from deltaring.run import Run
from tests.wire import BETA, GA, audio_done, audio_frame, frame, hostile, pcm, response, session

pq = pytest.importorskip("pyarrow.parquet", reason="events are a Parquet file")

AUDIO = audio_frame(pcm(300))
TEXT = frame("response.text.delta", delta="hi")
APPEND = frame("input_audio_buffer.append", audio="AAAA")


def at(time: object, event: bytes, source: str = "server") -> bytes:
    return b'{"time":%s,"source":"%s","event":%s}' % (str(time).encode(), source.encode(), event)


def raw(event: bytes, source: str = "server") -> bytes:
    return b'{"time":1.5,"source":"%s","raw":"%s"}' % (source.encode(), base64.b64encode(event))


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        ReplayError, match=r"tables need pyarrow: pip install 'deltaring\[tables\]'"
    ):
        event_schema()


def lines(*frames: bytes) -> bytes:
    return b"".join(frame + b"\n" for frame in frames)


def take_nothing(decoder: Decoder, buffer: bytes, rows: Any, start: int, stop: int) -> Run:
    """In place of Decoder.scan: all frames come one by one."""
    return Run(rows[:0], start, [])


def table(data: bytes, *, runs: bool = True, seconds: float = 60.0) -> bytes:
    """Return the Parquet file of a recording's events, without replay."""
    recording, decoder = Recording(io.BytesIO(data)), Decoder(seconds=seconds, on_invalid="keep")
    buffer, file = np.empty(64, ROW), io.BytesIO()
    scan = Decoder.scan if runs else take_nothing
    with EventLog(file, recording) as log:
        for record in recording.runs(lambda *lines: scan(decoder, lines[0], buffer, *lines[1:])):
            if isinstance(record, Run):
                log.take_run(record)
            elif record.source == "client":
                log.take_client(read_client(record.frame).type, record.time)
            else:
                log.take(decoder.decode(record.frame), record.time)
    return file.getvalue()


def rows(data: bytes, **options: Any) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(table(data, **options))).to_pylist()


def column(name: str, *frames: bytes, **options: Any) -> list[Any]:
    return [row[name] for row in rows(lines(*frames), **options)]


def replayed(tmp_path: Path, data: bytes, name: str = "rec.jsonl") -> Path:
    """Replay a recording with its events; return their file."""
    (tmp_path / name).write_bytes(data)
    return replay(Recording(tmp_path / name), tmp_path / "out", events=True)[1] / "events.parquet"


# --- rows ---------------------------------------------------------------------------------------


def test_an_audio_delta_has_its_ids_and_its_place_in_the_track(tmp_path: Path) -> None:
    delta = audio_frame(pcm(300), response_id="r", item_id="i")
    first, second = at(1.25, delta), at(2.5, delta)
    row = {
        "line": 1, "offset": 0, "time": 1.25, "source": "server",
        "type": "response.output_audio.delta", "response_id": "r", "item_id": "i",
        "content_index": 0, "start": 0, "stop": 150, "dropped": 0,
    }  # fmt: skip
    later = {"line": 2, "offset": len(first) + 1, "time": 2.5, "start": 150, "stop": 300}
    found = pq.read_table(replayed(tmp_path, lines(first, second))).to_pylist()
    assert found == [row, row | later]


def test_every_frame_is_a_row_in_the_order_of_the_recording(tmp_path: Path) -> None:
    frames = [
        at(1, session()), at(2, APPEND, "client"), at(3, AUDIO), at(4, AUDIO), TEXT, AUDIO,
        at(5, frame("no.such.type")), at(6, frame("error")), at(7, AUDIO), at(8, APPEND, "client"),
    ]  # fmt: skip
    found = pq.read_table(replayed(tmp_path, lines(*frames))).to_pylist()
    assert [(row["line"], row["time"], row["source"], row["type"]) for row in found] == [
        (1, 1, "server", "session.created"),
        (2, 2, "client", "input_audio_buffer.append"),
        (3, 3, "server", GA),
        (4, 4, "server", GA),
        (5, None, "server", "response.text.delta"),
        (6, None, "server", GA),
        (7, 5, "server", "no.such.type"),
        (8, 6, "server", None),  # an error without its `error`
        (9, 7, "server", GA),
        (10, 8, "client", "input_audio_buffer.append"),
    ]


def test_the_example_has_a_row_for_each_of_its_lines(example: Path, tmp_path: Path) -> None:
    envelopes = [json.loads(line) for line in example.read_bytes().splitlines()]
    folder = replay(Recording(example), tmp_path, events=True)[1]
    found = pq.read_table(folder / "events.parquet").to_pylist()
    assert [(row["time"], row["source"], row["type"]) for row in found] == [
        (line["time"], line["source"], line["event"]["type"]) for line in envelopes
    ]


@pytest.mark.parametrize("wrapped", [bytes, lambda event: at(1.5, event)])
@pytest.mark.parametrize(
    "shape",
    [
        lambda lines: b"\n".join(lines) + b"\n",
        b"\n".join,
        lambda lines: b"\r\n".join(lines) + b"\r\n",
        lambda lines: b"\xef\xbb\xbf" + b"\n".join(lines),
        lambda lines: b"\n\n\n" + b"\n\n".join(lines),
        lambda lines: b" \n" + b"\n\r\n".join(lines),
        lambda lines: b"\nnonsense\n".join(lines) + b"\n{",
        (b"\n[" + b"x" * 300_000 + b"]\n").join,
    ],
    ids=["plain", "no last LF", "CRLF", "BOM", "empty", "blank", "broken", "long"],
)
def test_a_row_says_where_its_line_is(wrapped: Any, shape: Any, tmp_path: Path) -> None:
    other = audio_frame(pcm(300), item_id="other", type=BETA)
    frames = [AUDIO, AUDIO, TEXT, other, AUDIO, other, TEXT, TEXT, AUDIO]
    data = shape([wrapped(event) for event in frames])
    found = pq.read_table(replayed(tmp_path, data)).to_pylist()
    assert [row["type"] for row in found] == [json.loads(event)["type"] for event in frames]
    for row, event in zip(found, frames, strict=True):
        assert data.count(b"\n", 0, row["offset"]) == row["line"] - 1
        assert row["offset"] == 0 or data[row["offset"] - 1] == ord("\n")
        assert event in data[row["offset"] :].partition(b"\n")[0]


def test_offsets_count_in_the_text_of_a_compressed_recording(tmp_path: Path) -> None:
    data = lines(TEXT, AUDIO, AUDIO)
    packed = replayed(tmp_path, gzip.compress(data), "rec.jsonl.gz")
    plain = replayed(tmp_path, data)
    assert packed.read_bytes() == plain.read_bytes()


def test_in_a_har_a_line_is_a_message(tmp_path: Path) -> None:
    pytest.importorskip("ijson", reason="HAR files need the har extra")
    sides = ["receive", "send", "receive", "receive"]
    frames = [AUDIO, APPEND, b"nonsense", AUDIO]
    messages = [
        {"type": side, "time": 1.5, "opcode": 1, "data": event.decode()}
        for side, event in zip(sides, frames, strict=True)
    ]
    messages.insert(2, {"type": "receive", "time": 1.5, "opcode": 9, "data": ""})
    data = json.dumps({"log": {"entries": [{"_webSocketMessages": messages}]}}).encode()
    found = pq.read_table(replayed(tmp_path, data, "session.har")).to_pylist()
    assert [(row["line"], row["source"], row["type"]) for row in found] == [
        (1, "server", GA),
        (2, "client", "input_audio_buffer.append"),
        (4, "server", None),
        (5, "server", GA),
    ]
    for row in found:
        assert data[row["offset"] :].startswith(b'{"type": ')


def test_a_frame_that_is_kept_as_raw_has_a_row() -> None:
    assert column("type", raw(AUDIO), raw(b"\xff"), raw(b"\xff", "client")) == [GA, None, None]


def test_an_event_names_the_response_and_the_item_that_are_in_it() -> None:
    frames = [
        response("response.created", "r"),
        frame("response.output_item.added", response_id="r", item={"id": "i"}),
        frame("conversation.item.added", item={"id": "u"}),
        audio_done("r", "i", content_index=2),
        response("response.done", "r"),
        frame("no.such.type", response_id="r"),
        frame("response.created", response={"id": 5}),
    ]
    found = [
        (row["response_id"], row["item_id"], row["content_index"]) for row in rows(lines(*frames))
    ]
    assert found == [
        ("r", None, None), ("r", "i", None), (None, "u", None), ("r", "i", 2), ("r", None, None),
        (None, None, None), (None, None, None),
    ]  # fmt: skip


def test_only_audio_deltas_have_positions() -> None:
    frames = [TEXT, at(1, APPEND, "client"), frame("session.output_audio.delta", delta="AAAA")]
    for name in ("start", "stop", "dropped"):
        assert column(name, *frames, at(1, b"{}"), AUDIO) == [None] * 4 + [150 * (name == "stop")]


def test_ids_that_the_server_leaves_out_are_null() -> None:
    frames = [audio_frame(pcm(size), response_id="", item_id="") for size in (300, 600)]
    assert column("response_id", *frames) == [None, None]
    assert column("content_index", *frames) == [0, 0]


def test_what_did_not_fit_is_counted_in_a_run_and_out_of_it() -> None:
    frames = [AUDIO, AUDIO, AUDIO, TEXT, AUDIO]
    for runs in (True, False):
        assert column("dropped", *frames, runs=runs, seconds=200 / 24_000) == [
            0,
            100,
            150,
            None,
            150,
        ]


# --- runs and single frames ---------------------------------------------------------------------


def test_it_makes_no_difference_how_the_frames_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deltas = [
        audio_frame(pcm(300 + number), item_id="abba"[number % 4], type=(GA, BETA)[number % 3 == 0])
        for number in range(40)
    ]
    events = [session(), *deltas, TEXT, *deltas, frame("no.such.type"), *deltas]
    data = lines(*(at(number, event) for number, event in enumerate(events)), *events)
    in_runs = replayed(tmp_path, data).read_bytes()
    monkeypatch.setattr(Decoder, "scan", take_nothing)
    assert replayed(tmp_path, data).read_bytes() == in_runs


def test_it_makes_no_difference_where_a_run_is_cut() -> None:
    data = lines(*[AUDIO] * 100)
    with mock.patch.object(eventlog, "MAX_ROWS", 7):
        assert table(data) == table(data, runs=False)


FRAMES = st.one_of(
    st.builds(
        audio_frame,
        st.integers(0, 700).map(pcm),
        type=st.sampled_from([GA, BETA]),
        response_id=st.sampled_from(["r", "s", ""]),
        item_id=st.sampled_from(["i", "\u6f22"]),
        content_index=st.integers(0, 1),
    ),
    st.sampled_from(
        [TEXT, session(), session(output_audio_format="g711_ulaw"), audio_done("r", "i"),
         response("response.done", "r"), response("response.created", "s"), audio_frame("!" * 500)]
    ),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(FRAMES, max_size=30), st.integers(1, 9))
def test_positions_are_those_of_a_plain_decoder(frames: list[bytes], max_rows: int) -> None:
    decoder = Decoder(seconds=1_000 / 24_000, on_invalid="keep", fast_path=False)
    expected = []
    for event in map(decoder.decode, frames):
        where: tuple[Any, ...] = (None,) * 5
        if isinstance(event, AudioDelta):
            ids = event.response_id or None, event.item_id
            where = (*ids, event.start, event.stop, event.dropped)
        expected.append((None if isinstance(event, deltaring.InvalidEvent) else event.type, where))
    with mock.patch.object(eventlog, "MAX_ROWS", max_rows):
        found = rows(lines(*frames), seconds=1_000 / 24_000)
    audio = ("response_id", "item_id", "start", "stop", "dropped")
    assert [
        (row["type"], tuple(None if row["start"] is None else row[name] for name in audio))
        for row in found
    ] == expected


# --- hostile frames -----------------------------------------------------------------------------


def test_any_frame_makes_a_row() -> None:
    frames = [
        text.encode(errors="surrogatepass") if isinstance(text, str) else text
        for text in hostile().values()
    ]
    data = lines(*(raw(text, side) for text in frames for side in ("server", "client")))
    assert [row["line"] for row in rows(data)] == list(range(1, 2 * len(frames) + 1))


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_long_type_is_cut(side: str) -> None:
    types = ["\U0001f600" * size for size in (1_000, 1_001, 5_000)]
    assert column("type", *(at(1, frame(name), side) for name in types)) == [types[0]] * 3


@pytest.mark.parametrize("runs", [True, False])
def test_long_ids_are_cut(runs: bool) -> None:
    ids = ["x" * size for size in (1_000, 1_001)]
    frames = [audio_frame(pcm(300), response_id=text, item_id=text + "y") for text in ids]
    for name in ("response_id", "item_id"):
        assert column(name, *frames, runs=runs) == [ids[0]] * 2


def test_half_a_character_breaks_nothing() -> None:
    half = b'{"type":"a.\\ud83d"}'
    frames = [raw(half), raw(half, "client"), raw(b'{"type":"\xed\xa0\xbd"}')]
    assert column("type", *frames) == ["a.\ufffd", "a.\ufffd", None]


@pytest.mark.parametrize("type", [None, 5, ["a"], {}])
def test_a_client_without_a_type_has_null(type: object) -> None:
    line = at(1, json.dumps({"type": type}).encode(), "client")
    assert column("type", line) == [None]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (10**30, None),
        (-(2**63), -(2**63)),
        (-(10**30), None),
    ],
)
def test_an_index_that_no_column_can_hold_is_null(index: int, expected: int | None) -> None:
    assert column("content_index", audio_frame(pcm(300), content_index=index)) == [expected]


# --- files --------------------------------------------------------------------------------------


def test_a_recording_without_frames_has_a_table_without_rows(tmp_path: Path) -> None:
    path = replayed(tmp_path, b"")
    assert pq.read_table(path).num_rows == 0
    assert pq.read_schema(path) == event_schema()


def test_row_groups_have_one_size_whatever_the_runs() -> None:
    data = lines(*[AUDIO] * 50, TEXT, *[AUDIO] * 52)
    with mock.patch.object(eventlog, "MAX_ROWS", 20):
        written = pq.ParquetFile(io.BytesIO(table(data)))
    sizes = [written.metadata.row_group(n).num_rows for n in range(written.num_row_groups)]
    assert sizes == [20, 20, 20, 20, 20, 3]
    assert written.read()["line"].to_pylist() == list(range(1, 104))


def test_an_audio_delta_takes_a_few_bytes() -> None:
    data = lines(*(at(1_784_858_052 + number / 7, AUDIO) for number in range(2_000)))
    assert len(table(data)) < 12 * 2_000  # 33 each, were they not written as differences


def test_memory_does_not_grow_with_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "MAX_ROWS", 200)
    short = lines(*(frame(f"no.such.type.{number}", x="x" * 9) for number in range(1_000)))
    table(short)  # what is made once is made here

    def peak(count: int) -> int:
        file = io.BytesIO(short * count)
        recording, decoder = Recording(file), Decoder()
        with open("/dev/null", "wb") as null, EventLog(null, recording) as log:
            tracemalloc.start()
            for record in recording.views():
                log.take(decoder.decode(record.frame), record.time)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    # 24 are four times what the reader holds: all that is made once is made by then.
    assert peak(48) < peak(24) + 50_000


def test_two_runs_give_the_same_bytes(example: Path, tmp_path: Path) -> None:
    first, second = (
        replay(Recording(example), tmp_path / name, events=True)[1] / "events.parquet"
        for name in "ab"
    )
    assert first.read_bytes() == second.read_bytes()


def test_an_error_leaves_the_file_open_and_nothing_to_be_collected() -> None:
    file = io.BytesIO()
    log = EventLog(file, Recording("x"))
    log.take_client("x", None)
    with mock.patch.object(log, "_end_group", side_effect=KeyError), pytest.raises(KeyError), log:
        pass
    assert not file.closed
    assert not log._writer.is_open
