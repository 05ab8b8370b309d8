import builtins
import hashlib
import json
import os
import re
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import pytest

from deltaring import eventlog, tables
from deltaring.errors import ReplayError
from deltaring.eventlog import event_schema
from deltaring.recording import Recording
from deltaring.replay import replay
from deltaring.tables import TABLES, check_tables, job_event_schema, schema, write_tables
from tests.conftest import ROOT
from tests.wire import audio_frame, frame, pcm, response, session

pytest.importorskip("pyarrow", reason="the tables are Parquet files")

import pyarrow.parquet as pq

OUTPUTS = {"sessions.parquet", "responses.parquet", "items.parquet", "manifest.jsonl"}
USAGE = {
    "input_tokens": 40,
    "output_tokens": 106,
    "input_token_details": {"text_tokens": 14, "audio_tokens": 26, "cached_tokens": 0},
}


def at(time: float, event: bytes) -> bytes:
    return b'{"time":%a,"source":"server","event":%s}' % (time, event)


def audio(samples: int, response_id: str = "r", item_id: str = "i") -> bytes:
    return audio_frame(pcm(2 * samples), response_id=response_id, item_id=item_id)


def said(text: str, response_id: str = "r", item_id: str = "i", **fields: object) -> bytes:
    ids = dict(response_id=response_id, item_id=item_id, output_index=0, content_index=0)
    return frame("response.output_audio_transcript.done", transcript=text, **ids, **fields)


def asked(text: str, item_id: str = "u") -> bytes:
    type = "conversation.item.input_audio_transcription.completed"
    return frame(type, item_id=item_id, content_index=0, transcript=text)


def add(out: Path, name: str, *lines: bytes, **options: Any) -> tuple[str, str]:
    """Replay lines as a recording of that name; return what stands for it in a list of them."""
    source = out.with_name("recording.jsonl")
    source.write_bytes(b"".join(line + b"\n" for line in lines))
    return name, replay(Recording(source, name=name), out, **options)[1].name


def tabled(tmp_path: Path, *lines: bytes, name: str = "rec.jsonl", **options: Any) -> Path:
    """Replay lines and write the tables of this one recording; return the folder."""
    out = tmp_path / "out"
    write_tables(out, [add(out, name, *lines, **options)])
    return out


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    return pq.read_table(out / f"{table}.parquet").to_pylist()


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_bytes().splitlines()]


def hashes(out: Path) -> dict[str, str]:
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in OUTPUTS}


# --- schema -------------------------------------------------------------------------------------


def documented(table: str) -> list[tuple[str, str, bool]]:
    """The columns of a table in the documentation: name, type, whether null has a meaning."""
    text = (ROOT / "docs" / "replay.md").read_text().split(f"\n### `{table}`\n")[1]
    found = re.findall(r"^\| `(\w+)` \| (\w+) \|(.*)\|(.*)\|(.*)\|$", text.split("\n###")[0], re.M)
    return [(name, type, bool(null.strip())) for name, type, _, _, null in found]


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented_as_it_is(table: str) -> None:
    fields = schema(TABLES[table])
    assert documented(table) == [(field.name, str(field.type), field.nullable) for field in fields]


def test_every_column_of_events_is_documented_as_it_is() -> None:
    names = {"string": "string", "dictionary<values=string, indices=int32, ordered=0>": "string"}
    assert documented("events") == [
        (field.name, names.get(str(field.type), str(field.type)), field.nullable)
        for field in job_event_schema()
    ]


@pytest.mark.parametrize("table", TABLES)
def test_a_file_has_the_schema_of_its_table(tmp_path: Path, table: str) -> None:
    out = tabled(tmp_path, session(), audio(10), said("Hi."))
    assert pq.read_schema(out / f"{table}.parquet") == schema(TABLES[table])


@pytest.mark.parametrize("table", TABLES)
def test_a_job_without_recordings_has_tables_without_rows(tmp_path: Path, table: str) -> None:
    write_tables(tmp_path, [])
    assert rows(tmp_path, table) == []
    assert pq.read_schema(tmp_path / f"{table}.parquet") == schema(TABLES[table])
    assert manifest(tmp_path) == []


# --- sessions -----------------------------------------------------------------------------------


def test_a_recording_is_a_row_of_sessions(tmp_path: Path) -> None:
    append = b'{"type":"input_audio_buffer.append","audio":"AAAAAA=="}'
    out = tabled(
        tmp_path,
        at(10.0, session(model="m", input_audio_format="g711_ulaw", output_audio_format="pcm16")),
        b'{"time":10.5,"source":"client","event":%s}' % append,
        at(11.0, response("response.created", "r")),
        at(11.5, audio(24_000)),
        at(11.75, frame("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)),
        at(12.0, response("response.done", "r", status="cancelled", usage=USAGE)),
        at(12.5, frame("no.such.type")),
        at(13.0, frame("error", error={"message": "no"})),
        b"nonsense",
    )
    [row] = rows(out, "sessions")
    assert row == {
        "recording": "rec.jsonl", "folder": next(p.name for p in out.iterdir() if p.is_dir()),
        "sessions": 1, "session_id": "sess_x", "model": "m",
        "input_format": "g711_ulaw", "output_format": "pcm16",
        "first_time": 10.0, "last_time": 13.0, "seconds": 1.0, "user_seconds": 4 / 8_000,
        "responses": 1, "responses_left_out": 0, "interruptions": 1, "headroom": None,
        "server_frames": 7, "client_frames": 1, "audio_frames": 1, "unknown_frames": 1,
        "invalid_frames": 0, "problems": 1, "server_errors": 1, "partial": False,
        "input_tokens": 40, "input_text_tokens": 14, "input_audio_tokens": 26,
        "input_image_tokens": None, "input_cached_tokens": 0, "output_tokens": 106,
        "output_text_tokens": None, "output_audio_tokens": None, "output_reasoning_tokens": None,
    }  # fmt: skip


def test_an_empty_recording_has_a_row_of_nulls(tmp_path: Path) -> None:
    [row] = rows(tabled(tmp_path), "sessions")
    assert {name for name, value in row.items() if value is None} == {
        field.name for field in schema(TABLES["sessions"]) if field.nullable
    }
    assert (row["sessions"], row["seconds"], row["server_frames"]) == (0, 0.0, 0)


def test_a_format_that_is_an_object_becomes_its_type_and_rate(tmp_path: Path) -> None:
    sides = {
        "input": {"format": {"type": "audio/pcm", "rate": 24000}},
        "output": {"format": {"type": "audio/pcmu"}},
    }
    [row] = rows(tabled(tmp_path, session(audio=sides)), "sessions")
    assert (row["input_format"], row["output_format"]) == ("audio/pcm;rate=24000", "audio/pcmu")


def test_headroom_is_that_of_the_scarcest_limit(tmp_path: Path) -> None:
    limits = [
        {"name": "requests", "limit": 100, "remaining": 99, "reset_seconds": 1},
        {"name": "tokens", "limit": 100, "remaining": 25, "reset_seconds": 1},
    ]
    out = tabled(tmp_path, frame("rate_limits.updated", rate_limits=limits))
    assert rows(out, "sessions")[0]["headroom"] == 0.25


def test_of_two_sessions_the_first_is_named(tmp_path: Path) -> None:
    later = frame("session.created", session={"id": "sess_y", "model": "n"})
    [row] = rows(tabled(tmp_path, session(model="m"), later), "sessions")
    assert (row["sessions"], row["session_id"], row["model"]) == (2, "sess_x", "m")


def test_a_recording_that_was_cut_off_is_partial(tmp_path: Path) -> None:
    import gzip

    source, out = tmp_path / "cut.jsonl.gz", tmp_path / "out"
    source.write_bytes(gzip.compress(session() + b"\n")[:-4])
    folder = replay(Recording(source), out, salvage=True)[1]
    write_tables(out, [("cut.jsonl.gz", folder.name)])
    assert rows(out, "sessions")[0]["partial"] is True


# --- responses ----------------------------------------------------------------------------------


def test_a_response_has_its_metrics(tmp_path: Path) -> None:
    out = tabled(
        tmp_path,
        at(1.0, session()),
        at(1.5, frame("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0)),
        at(2.0, frame("input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=0)),
        at(2.25, response("response.created", "r", status="in_progress")),
        at(3.0, audio(2_400)),
        at(3.5, audio(2_400)),
        at(3.625, audio(2_400)),
        at(4.25, response("response.done", "r", status="completed", usage=USAGE)),
    )
    [row] = rows(out, "responses")
    assert row == {
        "recording": "rec.jsonl", "number": 1, "epoch": 1, "response_id": "r",
        "status": "completed", "created": 2.25, "speech_stopped_to_audio": 1.0,
        "created_to_audio": 0.75, "duration": 2.0, "deltas": 3, "audio": 0.3,
        "real_time_factor": pytest.approx(1.375 / 0.3, abs=1e-6),
        "jitter_p50": 0.1875, "jitter_p95": 0.1875, "jitter_max": 0.1875,
        "needed_buffer": 0.425, "stalls": 2, "longest_stall": 0.4, "interrupted": False,
        "input_tokens": 40, "input_text_tokens": 14, "input_audio_tokens": 26,
        "input_image_tokens": None, "input_cached_tokens": 0, "output_tokens": 106,
        "output_text_tokens": None, "output_audio_tokens": None, "output_reasoning_tokens": None,
    }  # fmt: skip


def test_a_response_without_times_has_nulls_for_what_needs_them(tmp_path: Path) -> None:
    lines = [response("response.created", "r"), *[audio(2_400)] * 3, response("response.done", "r")]
    [row] = rows(tabled(tmp_path, *lines), "responses")
    assert {name for name, value in row.items() if value is None and "tokens" not in name} == {
        "created", "speech_stopped_to_audio", "created_to_audio", "duration", "real_time_factor",
        "jitter_p50", "jitter_p95", "jitter_max", "needed_buffer", "stalls", "longest_stall",
        "status",
    }  # fmt: skip
    assert (row["deltas"], row["audio"]) == (3, 0.3)


def test_one_delta_without_a_time_makes_null_and_no_nan(tmp_path: Path) -> None:
    lines = [at(1.0, audio(2_400)), audio(2_400), at(2.0, audio(2_400))]
    [row] = rows(tabled(tmp_path, *lines), "responses")
    assert row["needed_buffer"] is row["jitter_max"] is row["stalls"] is None


def test_a_smooth_response_has_no_stalls_and_not_null(tmp_path: Path) -> None:
    out = tabled(tmp_path, at(1.0, audio(2_400)), at(1.05, audio(2_400)))
    [row] = rows(out, "responses")
    assert (row["stalls"], row["longest_stall"], row["needed_buffer"]) == (0, 0.0, 0.0)
    assert row["jitter_p50"] is None  # two deltas have none


def test_responses_are_numbered_and_know_their_session(tmp_path: Path) -> None:
    lines = [session(), response("response.done", "a"), response("response.done", "b")]
    out = tabled(tmp_path, *lines, session(), response("response.done", "a"))
    found = [(row["number"], row["epoch"], row["response_id"]) for row in rows(out, "responses")]
    assert found == [(1, 1, "a"), (2, 1, "b"), (3, 2, "a")]


# --- items --------------------------------------------------------------------------------------


def test_an_item_has_its_text_and_its_audio(tmp_path: Path) -> None:
    lines = [at(5.0, audio(24_000)), at(6.0, said("Hi there!"))]
    out = tabled(tmp_path, *lines)
    [row] = rows(out, "items")
    assert row == {
        "recording": "rec.jsonl", "number": 1, "response_id": "r", "item_id": "i",
        "content_index": 0, "role": "assistant", "kind": "speech", "time": 6.0,
        "text": "Hi there!", "final": True, "name": None, "call_id": None, "format": "pcm16",
        "sample_rate": 24_000, "samples": 24_000, "pending": 0, "seconds": 1.0, "done": False,
        "file": row["file"],
    }  # fmt: skip
    with wave.open(str(out / row["file"])) as file:
        assert file.getnframes() == 24_000


def test_the_users_words_have_no_audio(tmp_path: Path) -> None:
    [row] = rows(tabled(tmp_path, asked("What?")), "items")
    assert (row["role"], row["kind"], row["text"], row["response_id"]) == (
        "user", "speech", "What?", None,
    )  # fmt: skip
    audio_columns = ("format", "sample_rate", "samples", "pending", "seconds", "done", "file")
    assert [row[name] for name in audio_columns] == [None] * 7


def test_audio_without_text_comes_after_the_texts(tmp_path: Path) -> None:
    out = tabled(tmp_path, audio(10, item_id="mute"), said("Hi."), audio(10))
    found = [(row["number"], row["item_id"], row["text"]) for row in rows(out, "items")]
    assert found == [(1, "i", "Hi."), (2, "mute", None)]
    assert rows(out, "items")[1]["final"] is None


def test_a_call_has_its_name_and_its_arguments(tmp_path: Path) -> None:
    ids = dict(response_id="r", item_id="i", output_index=0, call_id="c")
    call = frame("response.function_call_arguments.done", name="f", arguments='{"a":1}', **ids)
    [row] = rows(tabled(tmp_path, call), "items")
    assert (row["kind"], row["name"], row["call_id"], row["text"]) == (
        "function_call", "f", "c", '{"a":1}',
    )  # fmt: skip


def test_an_index_that_no_column_can_hold_is_null(tmp_path: Path) -> None:
    [row] = rows(tabled(tmp_path, audio_frame(pcm(20), content_index=2**63)), "items")
    assert (row["content_index"], row["samples"]) == (None, 10)


def test_audio_of_an_unknown_format_has_no_length(tmp_path: Path) -> None:
    lines = [session(output_audio_format="opus"), audio(10), said("Hi.")]
    [row] = rows(tabled(tmp_path, *lines), "items")
    assert (row["format"], row["samples"], row["sample_rate"], row["seconds"]) == (
        "opus", 20, None, None,
    )  # fmt: skip
    assert row["file"].endswith(".raw")


def test_without_audio_files_an_item_has_its_samples_and_no_file(tmp_path: Path) -> None:
    out = tabled(tmp_path, audio(10), said("Hi."), audio="none")
    [row] = rows(out, "items")
    assert (row["samples"], row["file"]) == (10, None)
    assert manifest(out) == []


def test_parts_of_one_id_are_joined_in_order_if_they_are_as_many(tmp_path: Path) -> None:
    lines = [session(), audio(10), said("one"), session(), audio(20), said("two")]
    found = [(row["text"], row["samples"]) for row in rows(tabled(tmp_path, *lines), "items")]
    assert found == [("one", 10), ("two", 20)]


def test_parts_of_one_id_are_left_apart_if_they_are_not(tmp_path: Path) -> None:
    lines = [session(), audio(10), session(), audio(20), said("two")]
    out = tabled(tmp_path, *lines)
    found = [(row["text"], row["samples"]) for row in rows(out, "items")]
    assert found == [("two", None), (None, 10), (None, 20)]
    assert manifest(out) == []


def test_without_ids_the_users_words_are_not_taken_for_the_assistants(tmp_path: Path) -> None:
    out = tabled(tmp_path, asked("What?", item_id=""), audio(10, response_id="", item_id=""))
    assert [(row["text"], row["samples"]) for row in rows(out, "items")] == [
        ("What?", None),
        (None, 10),
    ]


# --- manifest -----------------------------------------------------------------------------------


def test_a_line_of_the_manifest_is_a_file_and_its_text(tmp_path: Path) -> None:
    out = tabled(tmp_path, asked("What?"), audio(16_001), said("Hi."))
    [line] = manifest(out)
    [file] = out.glob("*/item-0001.wav")
    assert line == {
        "audio_filepath": str(file.relative_to(out)), "duration": 0.666708, "text": "Hi.",
        "sampling_rate": 24_000, "speaker": "assistant", "session": "rec.jsonl", "item_id": "i",
        "final": True,
    }  # fmt: skip
    assert round(line["duration"] * line["sampling_rate"]) == 16_001  # as Lhotse counts


def test_the_manifest_tells_of_files_as_they_were_written(tmp_path: Path) -> None:
    pytest.importorskip("soxr", reason="another rate needs it")
    [line] = manifest(tabled(tmp_path, audio(24_000), said("Hi."), rate=16_000))
    assert (line["sampling_rate"], line["duration"]) == (16_000, 1.0)


@pytest.mark.parametrize("text", ["", " \n"])
def test_audio_without_words_is_not_in_the_manifest(tmp_path: Path, text: str) -> None:
    out = tabled(tmp_path, audio(10), said(text))
    assert rows(out, "items")[0]["file"]
    assert manifest(out) == []


def test_a_file_without_a_header_is_not_in_the_manifest(tmp_path: Path) -> None:
    out = tabled(tmp_path, session(output_audio_format="opus"), audio(10), said("Hi."))
    assert manifest(out) == []


def test_a_text_that_was_cut_off_says_so(tmp_path: Path) -> None:
    ids = dict(response_id="r", item_id="i", output_index=0, content_index=0)
    delta = frame("response.output_audio_transcript.delta", delta="Hi th", **ids)
    [line] = manifest(tabled(tmp_path, audio(10), delta))
    assert (line["text"], line["final"]) == ("Hi th", False)


# --- events -------------------------------------------------------------------------------------


def joined(out: Path, given: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The events of the recordings' own files, as the table of the job should have them."""
    return [
        {"recording": name, **row}
        for name, folder in given
        for row in pq.read_table(out / folder / "events.parquet").to_pylist()
    ]


def test_the_events_of_a_job_are_those_of_its_recordings(tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = [at(1.0, session()), at(2.0, audio(10)), at(3.0, said("Hi."))]
    given = [add(out, name, *lines, frame(f"type.{name}"), events=True) for name in "cab"]
    write_tables(out, given)
    assert rows(out, "events") == joined(out, given)
    assert pq.read_schema(out / "events.parquet") == job_event_schema()


def test_a_recording_without_an_events_file_has_no_rows_in_events(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = [add(out, name, session(), events=name == "b") for name in "abc"]
    write_tables(out, given)
    assert [row["recording"] for row in rows(out, "events")] == ["b"]
    assert [row["recording"] for row in rows(out, "sessions")] == ["a", "b", "c"]


def test_there_is_no_table_of_events_if_no_recording_has_one(tmp_path: Path) -> None:
    out = tabled(tmp_path, session(), events=True)
    assert (out / "events.parquet").exists()
    tabled(tmp_path, session())
    assert {path.name for path in out.iterdir() if path.is_file()} == OUTPUTS


def test_recordings_without_frames_make_a_table_of_events_without_rows(tmp_path: Path) -> None:
    assert rows(tabled(tmp_path, events=True), "events") == []


def test_the_same_events_give_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for names in ("abc", "cba"):
        out = tmp_path / names / "out"
        out.parent.mkdir()
        given = [add(out, name, session(), audio(10), events=True) for name in names]
        write_tables(out, sorted(given))
        files.append((out / "events.parquet").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(("limit", "groups"), [("MAX_EVENTS", [6, 6, 2]), ("MAX_PARTS", [10, 4])])
def test_short_recordings_share_a_row_group_of_events(
    limit: str, groups: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    given = [add(out, name, session(), frame("t." + name), events=True) for name in "abcdefg"]
    monkeypatch.setattr(tables, limit, 5)
    write_tables(out, given)
    file = pq.ParquetFile(out / "events.parquet")
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert sizes == groups
    assert rows(out, "events") == joined(out, given)


def test_the_types_of_several_recordings_are_one_dictionary(tmp_path: Path) -> None:
    out, names = tmp_path / "out", ("a.long.type", "another.long.type")
    write_tables(out, [add(out, name, *[frame(name)] * 500, events=True) for name in names])
    group = pq.ParquetFile(out / "events.parquet").metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    [size] = [it.total_uncompressed_size for it in columns if it.path_in_schema == "type"]
    assert size < 1_000  # each in full would be 18,000


@pytest.mark.parametrize(
    ("other", "reason"),
    [(b"nonsense", "Parquet magic bytes"), (b"", "Parquet file size is 0"), (None, "its columns")],
)
def test_events_of_another_version_are_named(
    tmp_path: Path, other: bytes | None, reason: str
) -> None:
    out = tmp_path / "out"
    name, folder = add(out, "a", audio(10), events=True)
    if other is None:
        pq.write_table(
            event_schema().empty_table().drop_columns("line"), out / folder / "events.parquet"
        )
    else:
        (out / folder / "events.parquet").write_bytes(other)
    path = re.escape(f"{folder}/events.parquet")
    with pytest.raises(ReplayError, match=f"{path} is not of this version: .*{reason}"):
        write_tables(out, [(name, folder)])
    assert [path.name for path in out.iterdir()] == [folder]


def test_memory_does_not_grow_with_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow

    monkeypatch.setattr(tables, "MAX_EVENTS", 100)
    monkeypatch.setattr(eventlog, "MAX_ROWS", 100)
    out, largest = tmp_path / "out", 0
    write = tables._Events._add

    def watched(*arguments: Any) -> None:
        nonlocal largest
        largest = max(largest, pyarrow.total_allocated_bytes())
        write(*arguments)

    monkeypatch.setattr(tables._Events, "_add", watched)
    before, peaks = pyarrow.total_allocated_bytes(), []
    for count in (1_000, 10_000):
        largest = 0
        write_tables(out, [add(out, "a", *[frame("t.u")] * count, events=True)])
        peaks.append(largest - before)
    assert peaks[1] < 1.5 * peaks[0]


# --- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["one\ntwo\r\n", '"\\', "\u6f22\U0001f600", "a\u2028b\x85c", "a\0b"]
)
def test_any_text_comes_through(tmp_path: Path, text: str) -> None:
    escaped = json.dumps(text).encode()  # with surrogate pairs
    line = said("TEXT").replace(b'"TEXT"', escaped)
    out = tabled(tmp_path, audio(10), line)
    assert rows(out, "items")[0]["text"] == text
    assert manifest(out)[0]["text"] == text


def test_a_name_that_is_no_utf_8_is_escaped(tmp_path: Path) -> None:
    out = tabled(tmp_path, audio(10), said("Hi."), name="caf\udce9\n.jsonl")
    escaped = "caf\\udce9\n.jsonl"
    assert {rows(out, table)[0]["recording"] for table in TABLES} == {escaped}
    assert manifest(out)[0]["session"] == escaped


# --- files --------------------------------------------------------------------------------------


def test_the_rows_are_in_the_order_of_the_recordings(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = [add(out, name, audio(10), said(name)) for name in ("b", "c", "a")]
    write_tables(out, sorted(given))
    for table in TABLES:
        assert [row["recording"] for row in rows(out, table)] == ["a", "b", "c"]
    assert [line["session"] for line in manifest(out)] == ["a", "b", "c"]


def test_the_same_folders_give_the_same_bytes(tmp_path: Path) -> None:
    lines = [at(1.0, session()), at(2.0, audio(10)), at(3.0, said("Hi."))]
    for job in ("one", "two"):
        out = tmp_path / job / "out"
        out.parent.mkdir()
        names = "abc" if job == "one" else "cba"
        write_tables(out, sorted(add(out, name, *lines) for name in names))
    assert hashes(tmp_path / "one" / "out") == hashes(tmp_path / "two" / "out")


def test_row_groups_change_nothing_but_the_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    given = [add(out, name, audio(10), said(name)) for name in "abcdefg"]
    write_tables(out, given)
    whole = {table: rows(out, table) for table in TABLES}
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    write_tables(out, given)
    assert {table: rows(out, table) for table in TABLES} == whole
    assert pq.ParquetFile(out / "items.parquet").num_row_groups == 3


def test_long_texts_end_a_row_group_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    given = [add(out, name, said("x" * 1_000)) for name in "abcd"]
    monkeypatch.setattr(tables, "MAX_TEXT", 2_000)
    write_tables(out, given)
    assert pq.ParquetFile(out / "items.parquet").num_row_groups == 2


def test_earlier_tables_stay_where_a_folder_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = add(out, "a", audio(10), said("Hi."))
    write_tables(out, [given])
    before = hashes(out)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_tables(out, [given, ("b", "nowhere")])
    assert hashes(out) == before
    assert {path.name for path in out.iterdir() if path.is_file()} == OUTPUTS


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("session.json", b'{"recording":"a"}', "required field `metrics`"),
        ("session.json", b"{", "truncated"),
        ("session.json", b'{"recording":"\xff"}', "utf-8"),
        ("transcript.json", b"{}", "Expected `array`"),
    ],
)
def test_a_folder_of_another_version_is_named(
    tmp_path: Path, file: str, text: bytes, reason: str
) -> None:
    out = tmp_path / "out"
    name, folder = add(out, "a", audio(10))
    (out / folder / file).write_bytes(text)
    with pytest.raises(ReplayError, match=f"{folder}/{file} is not of this version: .*{reason}"):
        write_tables(out, [(name, folder)])
    assert not OUTPUTS & set(os.listdir(out))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file sizes are POSIX's")
    out = tmp_path / "out"
    given = add(out, "a", *[said(os.urandom(2_000).hex(), item_id=str(i)) for i in range(20)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # Python ignores the signal
    try:
        with pytest.raises(OSError):
            write_tables(out, [given])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in out.iterdir()] == [given[1]]


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ReplayError, match=re.escape("pip install 'deltaring[tables]'")):
        write_tables(tmp_path, [])
    with pytest.raises(ReplayError, match=re.escape("pip install 'deltaring[tables]'")):
        check_tables()
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 100)
    out = tmp_path / "out"
    _, folder = add(out, "rec", session(), audio(10), said("Hi."), response("response.done", "r"))
    names = [(f"{number:05}", folder) for number in range(2_000)]
    write_tables(out, names[:200])  # what is made once is made here

    def peak(count: int) -> int:
        tracemalloc.start()
        write_tables(out, names[:count])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(200)
    assert peak(2_000) < few + 100_000
    assert len(rows(out, "items")) == 2_000
