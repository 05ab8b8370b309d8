import gzip
import hashlib
import io
import json
import os
import pickle
import re
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from pybase64 import b64decode

import deltaring
from deltaring.errors import RecordingError
from deltaring.outdir import folder_name
from deltaring.recording import Recording
from deltaring.replay import inspect, measure, replay
from deltaring.transcript import Transcript
from tests.wire import audio_frame, frame, pcm, response, session


def tree(root: Path) -> dict[str, str]:
    """Every file below `root`, with a hash of its bytes."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def written(tmp_path: Path, *lines: bytes, name: str = "rec.jsonl") -> tuple[Path, Recording]:
    path = tmp_path / name
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    recording = Recording(path)
    return replay(recording, tmp_path / "out")[1], recording


def samples(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def test_the_samples_of_a_real_reply_equal_a_plain_decode(
    real_recordings: list[Path], tmp_path: Path
) -> None:
    path = next(path for path in real_recordings if "full-audio" in path.name)
    report, folder = replay(Recording(path), tmp_path)
    plain = [json.loads(line) for line in path.read_bytes().splitlines()]
    expected = b"".join(
        b64decode(event["delta"]) for event in plain if event["type"] == "response.audio.delta"
    )
    for name in ("item-0001.wav", "assistant.wav"):
        assert samples(folder / name) == expected
        with wave.open(str(folder / name)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
    assert report.error_count == 0


def test_the_example_is_replayed(example: Path, tmp_path: Path) -> None:
    report, folder = replay(Recording(example), tmp_path)
    assert report.error_count == 0
    assert (folder / "transcript.txt").read_text() == (
        "user: What is the weather like in London?\n"
        'assistant calls get_weather({"city": "London"})\n'
        'tool: {"sky": "fog", "celsius": 12}\n'
        "assistant: It is foggy in London, and twelve degrees.\n"
        "user: Do I need an umbrella?\n"
        "assistant: No rain is on its way, so leave it at home.\n"
    )
    assert sorted(os.listdir(folder)) == [
        "assistant.wav", "item-0001.wav", "item-0002.wav", "session.json",
        "transcript.json", "transcript.txt", "transcript.vtt", "user.wav",
    ]  # fmt: skip
    assert samples(folder / "assistant.wav") == (
        samples(folder / "item-0001.wav") + samples(folder / "item-0002.wav")
    )


def test_session_json_is_the_report(example: Path, tmp_path: Path) -> None:
    report, folder = replay(Recording(example), tmp_path)
    assert (folder / "session.json").read_bytes() == report.to_json()
    row = json.loads(report.to_json())
    assert row["sessions"][0]["model"] == "gpt-realtime"
    assert row["usage"]["total_tokens"] == 645
    assert row["items"][0]["file"] == "item-0001.wav"


def test_a_rerun_gives_the_same_bytes(example: Path, tmp_path: Path) -> None:
    replay(Recording(example), tmp_path)
    first = tree(tmp_path)
    replay(Recording(example), tmp_path)
    assert tree(tmp_path) == first


def test_outputs_hold_no_absolute_path(example: Path, tmp_path: Path) -> None:
    _, folder = replay(Recording(example.absolute()), tmp_path)
    for name in ("session.json", "transcript.json"):
        assert str(example.parent.absolute()).encode() not in (folder / name).read_bytes()


def test_measure_gives_the_metrics_of_the_report(example: Path) -> None:
    told: list[int] = []
    metrics = measure(Recording(example), told.append, buffer=0.1)
    assert metrics.responses
    assert metrics.responses[0].id == inspect(Recording(example)).metrics.responses[0].id
    assert told
    for buffer in (-1.0, float("inf")):
        with pytest.raises(ValueError, match="buffer"):
            measure(Recording(example), buffer=buffer)


def test_more_transcript_than_is_kept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaring.session.Transcript", lambda _: Transcript(20))
    ids = dict(response_id="r", output_index=0, content_index=0)
    frames = (
        frame("response.output_text.done", item_id=f"i{number}", text="x" * 15, **ids)
        for number in range(3)
    )
    report = inspect(Recording(io.BytesIO(b"\n".join(frames))))
    assert [error["reason"] for error in report.errors] == [
        "there is more transcript than is kept; the oldest was left out"
    ]


def test_inspect_reports_the_same_and_writes_nothing(example: Path, tmp_path: Path) -> None:
    report, _ = replay(Recording(example), tmp_path)
    inspected = inspect(Recording(example))
    for part in (*report.items, *report.user):
        part.file = ""
    report.files = []
    assert inspected == report


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compression_changes_nothing(ending: str, example: Path, tmp_path: Path) -> None:
    if ending == ".gz":
        data = gzip.compress(example.read_bytes())
    else:
        data = pytest.importorskip("backports.zstd").compress(example.read_bytes())
    path = tmp_path / ("two-turns.jsonl" + ending)
    path.write_bytes(data)
    _, plain = replay(Recording(example), tmp_path / "a")
    _, compressed = replay(Recording(path), tmp_path / "b")
    for name in ("assistant.wav", "transcript.txt"):
        assert (plain / name).read_bytes() == (compressed / name).read_bytes()


def test_one_bad_frame_costs_nothing_else(tmp_path: Path) -> None:
    folder, recording = written(
        tmp_path,
        audio_frame(pcm(300)),
        audio_frame("!" * 400),
        frame("error"),
        b"nonsense",
        audio_frame(pcm(300, 1)),
    )
    assert samples(folder / "item-0001.wav") == pcm(300) + pcm(300, 1)
    assert [problem.line for problem in recording.problems] == [2, 3, 4]


# --- hostile recordings -------------------------------------------------------------------------

HOSTILE_IDS = [
    "../../x",
    "/etc/passwd",
    "x" * 5_000,
    "",
    "a\0b",
    "Twin",
    "twin",
    "CON",
    "a/b\\c",
    "\n",
    "..",
    "~",
]


def test_no_id_is_part_of_a_path(tmp_path: Path) -> None:
    lines = [
        audio_frame(pcm(100, n), response_id=name, item_id=name)
        for n, name in enumerate(HOSTILE_IDS)
    ]
    lines += [frame(name or "x.y", event_id=name) for name in HOSTILE_IDS]
    lines += [session(id=name, model=name) for name in HOSTILE_IDS]
    before = set(tmp_path.parent.iterdir())
    folder, recording = written(tmp_path, *lines)
    assert not recording.problems
    names = [f"item-{number:04}.wav" for number in range(1, len(HOSTILE_IDS) + 1)]
    assert sorted(os.listdir(folder)) == sorted(
        [*names, "assistant.wav", "session.json", "transcript.json", "transcript.txt"]
    )
    for number, name in enumerate(names):
        assert samples(folder / name) == pcm(100, number)
    assert sorted(os.listdir(tmp_path)) == ["out", "rec.jsonl"]
    assert os.listdir(tmp_path / "out") == [folder.name]
    assert set(tmp_path.parent.iterdir()) == before


def test_two_recordings_of_one_stem_get_two_folders(tmp_path: Path) -> None:
    folders = set()
    for name in ("a", "b", "A"):
        (tmp_path / name).mkdir()
        folders.add(written(tmp_path, audio_frame(pcm(9)), name=f"{name}/rec.jsonl")[0])
    assert len(folders) == 3


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / folder_name(str(tmp_path / "rec.jsonl"))).symlink_to(outside)
    with pytest.raises(deltaring.ReplayError):
        written(tmp_path, audio_frame(pcm(9)))
    assert not os.listdir(outside)


def test_a_delta_larger_than_any_ring_is_written_whole(tmp_path: Path) -> None:
    # 17 minutes of G.711 in one frame: a default ring holds four.
    codes = pcm(8_000 * 60 * 17)
    folder, recording = written(
        tmp_path, session(output_audio_format="g711_ulaw"), audio_frame(codes)
    )
    assert not recording.problems
    assert samples(folder / "item-0001.wav") == deltaring.audio.MULAW[list(codes)].tobytes()


def test_hundreds_of_items_that_never_end_lose_nothing(tmp_path: Path) -> None:
    lines = [audio_frame(pcm(40, n), item_id=f"i{n % 300}") for n in range(900)]
    folder, recording = written(tmp_path, *lines)
    assert not recording.problems
    for n in range(300):
        expected = b"".join(pcm(40, m) for m in (n, n + 300, n + 600))
        assert samples(folder / f"item-{n + 1:04}.wav") == expected


def test_thousands_of_items_that_never_end_lose_nothing(tmp_path: Path) -> None:
    lines = [audio_frame(pcm(4, n), item_id=f"i{n}") for n in range(2_000)]
    folder, recording = written(tmp_path, *lines)
    assert not recording.problems
    assert samples(folder / "assistant.wav") == b"".join(pcm(4, n) for n in range(2_000))


def test_a_failed_rerun_leaves_the_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = written(tmp_path, audio_frame(pcm(300)))
    before = tree(folder)
    monkeypatch.setattr("deltaring.report.Report.to_json", lambda report: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        written(tmp_path, audio_frame(pcm(400, 1)))
    assert tree(folder) == before


def test_a_larger_limit_of_the_recording_is_kept_to(tmp_path: Path) -> None:
    data = pcm(300)
    path = tmp_path / "rec.jsonl"
    path.write_bytes(audio_frame(data) + b"\n" + audio_frame(b""))
    recording = Recording(path, max_frame=400)
    report, _ = replay(recording, tmp_path / "out")
    assert [problem.line for problem in recording.problems] == [1]
    assert report.frames["server"] == 1


def test_a_dropped_sample_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "deltaring.replay._SECONDS_PER_BYTE",
        100 / 24_000 / ((32 << 20) * 4 // 3 + 4_096 + (256 << 10)),
    )
    _, recording = written(tmp_path, audio_frame(pcm(300)))
    assert recording.problems[0].reason == "50 samples did not fit into the ring and are lost"


def test_a_dropped_sample_in_a_run_is_reported_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaring.replay._MAX_TRACKS", 1)
    text, audio = frame("response.text.delta", delta="x"), audio_frame(pcm(300))
    other = audio_frame(pcm(302), item_id="other")
    _, recording = written(tmp_path, text, audio, audio, other, audio)
    offset = len(text) + 2 * len(audio) + 3
    assert list(map(str, recording.problems)) == [
        f"{recording.name}:4: byte {offset}: 151 samples did not fit into the ring and are lost"
    ]


def test_a_run_of_two_tracks_is_counted_for_each(tmp_path: Path) -> None:
    folder, _ = written(
        tmp_path,
        *(audio_frame(pcm(300 + size), item_id=item) for size, item in enumerate("abba")),
        audio_frame(pcm(300), type="response.audio.delta", item_id="b"),
    )
    report = json.loads((folder / "session.json").read_bytes())
    assert [(item["item_id"], item["samples"]) for item in report["items"]] == [
        ("a", 301), ("b", 451),
    ]  # fmt: skip
    assert report["events"] == {"response.audio.delta": 1, "response.output_audio.delta": 4}
    assert samples(folder / "item-0001.wav") == pcm(300) + pcm(303)[:302]


def test_translated_speech_is_not_left_out_silently(tmp_path: Path) -> None:
    lines = [frame("session.output_audio.delta", delta="AAAA")] * 3
    _, recording = written(tmp_path, *lines)
    assert len(recording.problems) == 1
    assert "session.output_audio.delta" in recording.problems[0].reason


def test_a_missing_recording_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replay(Recording(tmp_path / "missing"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_error_while_writing_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path, audio_frame(pcm(300)))
    assert os.listdir(tmp_path / "out") == []


def test_late_deltas_and_epochs_lose_nothing(tmp_path: Path) -> None:
    done = response("response.done", "resp_E4ySzvKWmfZzGYRJLuvPM")
    folder, recording = written(
        tmp_path, audio_frame(pcm(100)), done, audio_frame(pcm(10), item_id="other"), audio_frame(pcm(100, 1)),
        session(), audio_frame(pcm(100, 2)),
    )  # fmt: skip
    assert not recording.problems
    assert samples(folder / "item-0001.wav") == pcm(100) + pcm(100, 1)
    assert samples(folder / "item-0003.wav") == pcm(100, 2)


# --- formats and the user's side ----------------------------------------------------------------


def client(time: str, audio: str) -> bytes:
    """The line of a client's append, whose text stays as it is."""
    event = frame("input_audio_buffer.append", audio=audio)
    return b'{"time":%s,"source":"client","event":%s}' % (time.encode(), event)


@pytest.mark.parametrize("audio", ["wav", "flac", "opus"])
def test_each_format_holds_the_samples(audio: str, example: Path, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the audio extra")
    pytest.importorskip("soxr", reason="the audio extra")
    plain = replay(Recording(example), tmp_path / "plain", stereo=True)[1]
    report, folder = replay(Recording(example), tmp_path / "out", audio=audio, stereo=True)
    names = [
        f"{stem}.{audio}" for stem in ("item-0001", "item-0002", "assistant", "user", "stereo")
    ]
    assert [file.file for file in report.files] == names
    assert {path.name for path in folder.iterdir()} == {
        *names, "session.json", "transcript.json", "transcript.txt", "transcript.vtt",
    }  # fmt: skip
    for file in report.files:
        there, rate = soundfile.read(folder / file.file, dtype="int16")
        expected, _ = soundfile.read((plain / file.file).with_suffix(".wav"), dtype="int16")
        assert (len(there), rate) == (file.samples, file.sample_rate)
        assert (there == expected).all() or audio == "opus"
        assert np.corrcoef(there.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("options", [{}, {"audio": "flac"}, {"audio": "opus", "rate": 16_000}])
def test_two_runs_give_the_same_bytes(
    options: dict[str, object], example: Path, tmp_path: Path
) -> None:
    pytest.importorskip("soundfile", reason="the audio extra")
    pytest.importorskip("soxr", reason="the audio extra")
    for name in ("a", "b"):
        replay(Recording(example), tmp_path / name, stereo=True, **options)  # type: ignore[arg-type]
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_another_format_takes_the_place_of_the_one_before(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="the audio extra")
    pytest.importorskip("soxr", reason="the audio extra")
    for audio in ("opus", "flac", "wav"):
        _, folder = replay(Recording(example), tmp_path, audio=audio, stereo=True)
        suffixes = {path.suffix for path in folder.iterdir()}
        assert suffixes == {f".{audio}", ".json", ".txt", ".vtt"}


def test_captions_of_a_run_before_do_not_stay(tmp_path: Path) -> None:
    assert "transcript.vtt" in os.listdir(written(tmp_path, client("1", "AAAA"))[0])
    assert "transcript.vtt" not in os.listdir(written(tmp_path, audio_frame(pcm(300)))[0])


def test_what_it_returns_goes_from_process_to_process(example: Path, tmp_path: Path) -> None:
    returned = replay(Recording(example), tmp_path)
    assert pickle.loads(pickle.dumps(returned)) == returned


def test_without_audio_no_sample_gets_to_the_disk(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("deltaring.tape.Tapes.new")
    report, folder = replay(Recording(example), tmp_path, audio="none")
    assert sorted(os.listdir(folder)) == [
        "session.json", "transcript.json", "transcript.txt", "transcript.vtt",
    ]  # fmt: skip
    assert (report.files, [item.file for item in report.items]) == ([], ["", ""])
    assert report == inspect(Recording(example))


def test_a_rate_joins_what_came_at_several(tmp_path: Path) -> None:
    pytest.importorskip("soxr", reason="the audio extra")
    path = tmp_path / "rec.jsonl"
    lines = [
        audio_frame(pcm(4_800), item_id="a"),
        session("session.updated", output_audio_format="g711_ulaw"),
        audio_frame(pcm(800), item_id="b"),
    ]
    path.write_bytes(b"\n".join(lines))
    _, folder = replay(Recording(path), tmp_path / "out", rate=48_000)
    with wave.open(str(folder / "assistant.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (48_000, 4_800 + 4_800)


def test_options_that_cannot_be_met_make_no_folder(example: Path, tmp_path: Path) -> None:
    with pytest.raises(deltaring.ReplayError):
        replay(Recording(example), tmp_path / "out", audio="mp3")
    assert not (tmp_path / "out").exists()


def test_the_users_audio_equals_a_plain_decode(example: Path, tmp_path: Path) -> None:
    report, folder = replay(Recording(example), tmp_path)
    events = [json.loads(line)["event"] for line in example.read_bytes().splitlines()]
    expected = b"".join(
        b64decode(event["audio"])
        for event in events
        if event["type"] == "input_audio_buffer.append"
    )
    assert samples(folder / "user.wav") == expected
    assert report.user_seconds == len(expected) / 48_000


def test_broken_base64_of_the_user_is_named_and_costs_nothing_else(tmp_path: Path) -> None:
    good = client("1.5", "AAAAAAAA")
    folder, recording = written(tmp_path, good, client("2", "AAA"), b"", good)
    (problem,) = recording.problems
    assert (problem.line, problem.offset) == (2, len(good) + 1)
    assert "input_audio_buffer.append: `audio` is not strict base64" in problem.reason
    assert samples(folder / "user.wav") == bytes(12)


def test_the_users_format_is_the_one_that_the_server_stated(tmp_path: Path) -> None:
    codes = "/38A"
    folder, recording = written(
        tmp_path, session(input_audio_format="g711_alaw"), client("1", codes), client("2", codes)
    )
    assert not recording.problems
    decoded = deltaring.audio.ALAW[list(b64decode(codes))].tobytes()
    assert samples(folder / "user.wav") == 2 * decoded


def test_an_unknown_format_of_the_users_is_kept_by_name(tmp_path: Path) -> None:
    folder, recording = written(tmp_path, session(input_audio_format="opus"), client("1", "AAAA"))
    assert (folder / "user.raw").read_bytes() == bytes(3)
    assert recording.problems[0].reason.startswith("user.raw: the audio format 'opus'")


def test_without_times_there_are_no_captions(tmp_path: Path) -> None:
    folder, _ = written(tmp_path, session(), audio_frame(pcm(300)))
    assert not (folder / "transcript.vtt").exists()
    assert json.loads((folder / "session.json").read_bytes())["first_time"] is None


def test_captions_have_both_speakers_in_the_order_of_their_speech(
    example: Path, tmp_path: Path
) -> None:
    _, folder = replay(Recording(example), tmp_path)
    there = (folder / "transcript.vtt").read_text()
    assert there.startswith(
        "WEBVTT\n\n00:00:01.156 --> 00:00:03.158\n<v user>What is the weather like in London?\n"
    )
    assert "00:00:04.269 --> 00:00:06.933\n<v assistant>It is foggy" in there
    assert re.findall("<v (.*?)>", there) == ["user", "assistant", "user", "assistant"]


@pytest.mark.parametrize("audio", ["wav", "flac", "opus"])
def test_a_full_disk_leaves_the_run_before(audio: str, example: Path, tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="the audio extra")
    resource = pytest.importorskip("resource", reason="limits of a process")
    folder = replay(Recording(example), tmp_path)[1]
    before = tree(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores the signal
    try:
        with pytest.raises(OSError, match="File too large"):
            replay(Recording(example), tmp_path, audio=audio)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tree(folder) == before


def test_progress_is_told(example: Path, tmp_path: Path) -> None:
    offsets: list[int] = []
    replay(Recording(example), tmp_path, offsets.append)
    assert offsets
    assert offsets == sorted(offsets)


def test_a_stream_is_replayed(example: Path, tmp_path: Path) -> None:
    _, folder = replay(Recording(io.BytesIO(example.read_bytes()), name="-"), tmp_path)
    assert folder.name == folder_name("-")
    assert (folder / "assistant.wav").exists()


def test_a_file_that_is_cut_off_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl.gz"
    path.write_bytes(gzip.compress(audio_frame(pcm(3_000)) + b"\n")[:-8])
    with pytest.raises(RecordingError, match="truncated gzip stream; with salvage"):
        replay(Recording(path), tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_of_a_file_that_is_cut_off_what_can_be_read_is_kept_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl.gz"
    path.write_bytes(gzip.compress(audio_frame(pcm(3_000)) + b"\n")[:-8])
    report, folder = replay(Recording(path), tmp_path / "out", salvage=True)
    assert report.partial
    assert samples(folder / "item-0001.wav") == pcm(3_000)
    assert report.errors[0]["reason"] == "truncated gzip stream"


# --- events -------------------------------------------------------------------------------------


def test_events_are_written_if_asked_for_and_change_nothing_else(
    example: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="events are a Parquet file")
    plain, folder = (
        replay(Recording(example), tmp_path / str(events), events=events)[1]
        for events in (False, True)
    )
    without, found = tree(plain), tree(folder)
    del found["events.parquet"]
    assert found == without


def test_events_of_a_run_before_do_not_stay(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="events are a Parquet file")
    for events in (True, False):
        _, folder = replay(Recording(example), tmp_path, events=events)
        assert (folder / "events.parquet").exists() is events


def test_a_disk_that_is_full_of_events_leaves_the_run_before(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="events are a Parquet file")
    resource = pytest.importorskip("resource", reason="limits of a process")
    folder = replay(Recording(example), tmp_path, audio="none", events=True)[1]
    before = tree(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # Python ignores the signal
    try:
        with pytest.raises(OSError, match="File too large"):
            replay(Recording(example), tmp_path, audio="none", events=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tree(folder) == before


def test_events_of_a_file_that_is_cut_off_are_kept_only_if_asked_for(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="events are a Parquet file")
    path = tmp_path / "rec.jsonl.gz"
    path.write_bytes(gzip.compress(audio_frame(pcm(3_000)) + b"\n")[:-8])
    with pytest.raises(RecordingError):
        replay(Recording(path), tmp_path / "out", events=True)
    assert tree(tmp_path / "out") == {}
    _, folder = replay(Recording(path), tmp_path / "out", events=True, salvage=True)
    assert parquet.read_table(folder / "events.parquet").num_rows == 1


def test_without_pyarrow_events_are_refused_before_anything_is_made(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(deltaring.ReplayError, match=re.escape("pip install 'deltaring[tables]'")):
        replay(Recording(example), tmp_path / "out", events=True)
    assert not (tmp_path / "out").exists()
    replay(Recording(example), tmp_path / "out")
