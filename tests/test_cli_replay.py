import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deltaring.recording import Recording
from tests.command import run
from tests.jobs import tree, write_sessions
from tests.wire import frame

pytest.importorskip("typer", reason="the command line needs the cli extra")

import typer
from typer.testing import CliRunner

from deltaring import cli_replay
from deltaring.cli import app
from deltaring.errors import ReplayError
from deltaring.journal import Done, Output


def test_replay_of_clean_recordings_exits_with_0(example: Path, tmp_path: Path) -> None:
    result = run("replay", example, "-o", tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    assert "0:05.385" in result.stdout
    assert "1 recording: 1 done" in result.stdout
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert str(folder) in result.stdout


def test_bad_input_exits_with_3_and_is_named(bad: Path, example: Path, tmp_path: Path) -> None:
    result = run("replay", bad, tmp_path / "missing", example, "-o", tmp_path / "out")
    assert result.returncode == 3
    assert f"{bad}:2: byte 608: not valid JSON" in result.stderr
    assert f"{bad}:3: byte 617: error: Object missing required field `error`" in result.stderr
    assert f"{tmp_path / 'missing'}: No such file or directory" in result.stderr
    assert "3 recordings: 2 done, 1 failed, 2 bad lines and frames" in result.stdout
    assert len(list((tmp_path / "out").glob("*/session.json"))) == 2


def test_folders_patterns_and_urls_are_expanded(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="URLs need the remote extra")
    for name in ("rec/a.jsonl", "rec/sub/b.jsonl", "c1.jsonl", "c2.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(example.read_bytes())
    url = f"file://{tmp_path}/rec/a.jsonl"
    result = run("replay", "rec", "c*.jsonl", url, "rec/*", "-o", "out", "--json", cwd=tmp_path)
    rows = json.loads(result.stdout)["recordings"]
    assert result.returncode == 0
    assert [row["recording"] for row in rows] == [
        "c1.jsonl", "c2.jsonl", url, "rec/a.jsonl", "rec/sub/b.jsonl",
    ]  # fmt: skip
    assert len({row["folder"] for row in rows}) == 5


def test_a_har_is_replayed_as_the_same_lines_are(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("ijson", reason="HAR files need the har extra")
    messages = [
        {
            "type": "send" if record.source == "client" else "receive",
            "time": record.time,
            "opcode": 1,
            "data": record.frame.decode(),  # type: ignore[union-attr]
        }
        for record in Recording(example)
    ]
    har = tmp_path / "rec.har"
    har.write_text(json.dumps({"log": {"entries": [{"_webSocketMessages": messages}]}}))
    result = run("replay", example, har, "-o", tmp_path / "out", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    folders = {row["recording"]: row["folder"] for row in json.loads(result.stdout)["recordings"]}
    lines, same = folders[str(example)], folders[str(har)]
    for path in Path(lines).glob("*.wav"):
        assert (Path(same) / path.name).read_bytes() == path.read_bytes()
    assert (Path(same) / "transcript.json").read_text() == (
        Path(lines) / "transcript.json"
    ).read_text()


def test_standard_input(example: Path, tmp_path: Path) -> None:
    result = run("replay", "-", "-o", tmp_path, stdin=example.read_bytes())
    assert result.returncode == 0
    assert len(list(tmp_path.glob("*/assistant.wav"))) == 1


def test_json_tells_of_each_recording_and_of_the_job(bad: Path, tmp_path: Path) -> None:
    result = run("replay", bad, tmp_path / "missing", "-o", tmp_path / "out", "--json")
    document = json.loads(result.stdout)
    assert result.returncode == 3
    (row,) = document["recordings"]
    assert (row["problems"], row["partial"], row["output"]["audio"]) == (2, False, "wav")
    assert (Path(row["folder"]) / "session.json").is_file()
    (failure,) = document["failures"]
    assert failure["recording"] == str(tmp_path / "missing")
    assert failure["reason"] == "No such file or directory"
    assert document["summary"]["done"] == document["summary"]["failed"] == 1


def test_the_same_recording_twice_is_done_once(example: Path, tmp_path: Path) -> None:
    result = run("replay", example, example, "-o", tmp_path, "--json")
    assert len(json.loads(result.stdout)["recordings"]) == 1


def test_markup_in_a_name_is_printed_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "[red]x[-].jsonl"
    path.write_bytes(b"nonsense\n")
    result = run("replay", path, "-o", tmp_path / "out")
    assert str(path) in result.stderr
    assert path.name in result.stdout


def test_a_file_name_that_is_no_utf8_is_done_like_any_other(tmp_path: Path, example: Path) -> None:
    path = os.fsencode(tmp_path) + b"/bad\xff.jsonl"
    with open(path, "wb") as file:
        file.write(frame("a.b"))
    result = run("replay", os.fsdecode(path), example, "-o", tmp_path / "out", "--json")
    rows = json.loads(result.stdout)["recordings"]
    assert (result.returncode, len(rows)) == (0, 2)
    assert any(row["recording"].endswith("bad\\udcff.jsonl") for row in rows)


def test_a_folder_that_cannot_be_made_is_named(example: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    result = run("replay", example, "-o", tmp_path / "out")
    assert result.returncode == 3
    assert str(tmp_path / "out") in result.stderr


def test_two_paths_with_one_folder_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    names = ["c/34174/s.jsonl", "c/54843/s.jsonl"]  # found by search: the same 8 hex digits
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(frame("a.b"))
    result = run("replay", *names, "-o", "out", cwd=tmp_path)
    assert result.returncode == 3
    assert "its folder is that of c/34174/s.jsonl" in result.stderr


def test_replay_writes_the_format_and_the_rate_that_it_is_told(
    example: Path, tmp_path: Path
) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the audio extra")
    pytest.importorskip("soxr", reason="the audio extra")
    options = "--audio", "opus", "--rate", "16000", "--stereo"
    assert run("replay", example, "-o", tmp_path, *options).returncode == 0
    (path,) = tmp_path.glob("*/stereo.opus")
    facts = soundfile.info(path)
    assert (facts.subtype, facts.samplerate, facts.channels) == ("OPUS", 16_000, 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [("--audio mp3", "'mp3' is not one of"), ("--audio none --stereo", "no stereo file"),
     ("--rate 1", "a rate is 4000 to 768000 Hz")],
)  # fmt: skip
def test_audio_that_cannot_be_written_is_wrong_usage(
    options: str, reason: str, example: Path, tmp_path: Path
) -> None:
    result = run("replay", example, "-o", tmp_path / "out", *options.split())
    assert (result.returncode, reason in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "out").exists()


def test_a_rerun_does_nothing_and_says_what_it_found_before(
    bad: Path, example: Path, tmp_path: Path
) -> None:
    first, second = (run("replay", bad, example, "-o", tmp_path / "out") for _ in range(2))
    assert (first.returncode, second.returncode) == (3, 3)
    assert "2 recordings: 0 done, 2 done before, 2 bad lines and frames" in second.stdout
    assert second.stderr == first.stderr


def test_two_processes_write_what_one_does(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_sessions(folder, 5)
    for jobs in (1, 2):
        result = run("replay", folder, "-o", tmp_path / f"out{jobs}", "-j", jobs)
        assert (result.returncode, result.stderr) == (0, "")
        assert "5 recordings: 5 done" in result.stdout
    assert tree(tmp_path / "out1") == tree(tmp_path / "out2")


def test_many_recordings_are_summed_up_and_not_listed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_sessions(folder, 21)
    result = run("replay", folder, "-o", tmp_path / "out", "--audio", "none")
    assert result.stdout.startswith("21 recordings: 21 done\n")


def test_of_many_bad_lines_the_first_are_printed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x\n" * 1_100)
    result = run("replay", "a.jsonl", "-o", "out", cwd=tmp_path)
    lines = result.stderr.splitlines()
    assert len(lines) == 11
    assert lines[9].startswith("bad   a.jsonl:10: byte 18: not valid JSON")
    assert lines[10].startswith("bad   a.jsonl: and 1,090 more; see out/a-")


def test_of_many_bad_recordings_all_are_named(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.jsonl").write_bytes(b"x\n")
    result = run("replay", tmp_path, "-o", tmp_path / "out", "--audio", "none")
    assert result.stderr.count("byte 0: not valid JSON") == 10
    assert "11.jsonl: 1 bad line or frame; see" in result.stderr


@pytest.mark.parametrize("option", ["--max-bad-files", "--max-bad-lines"])
def test_a_limit_ends_the_job(option: str, bad: Path, tmp_path: Path) -> None:
    names = sorted([str(bad), str(bad.with_name("a-missing")), str(bad.with_name("z-missing"))])
    result = run("replay", *names, "-o", tmp_path / "out", option, 0)
    assert result.returncode == 3
    assert f"stop  more than 0 {option[6:].replace('-', ' ')}; " in result.stderr
    assert "z-missing" not in result.stderr


def test_tables_are_written_where_they_can_be(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables are Parquet files")
    for option, wanted in ("--tables", True), ("--no-tables", False):
        out = tmp_path / option
        assert run("replay", example, "-o", out, option).returncode == 0
        assert (out / "sessions.parquet").exists() is wanted


@pytest.mark.parametrize("option", ["--tables", "--events"])
def test_tables_that_cannot_be_written_are_wrong_usage(
    option: str, example: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None; from deltaring.__main__ import main\n"
        f"sys.argv[1:] = ['replay', {str(example)!r}, '-o', {str(tmp_path / 'out')!r}, {option!r}]\n"
        "main()"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "deltaring[tables]" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_journal_that_is_none_is_named(example: Path, tmp_path: Path) -> None:
    (tmp_path / "deltaring-job.jsonl").write_bytes(b"x\n")
    result = run("replay", example, "-o", tmp_path)
    assert result.returncode == 3
    assert "deltaring-job.jsonl:1: no line of a job" in result.stderr


def test_without_a_terminal_a_long_job_tells_how_far_it_is(
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli_replay, "_LOGGED", 0)
    result = CliRunner().invoke(app, ["replay", str(example), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert "1 of 1" in result.stderr + capsys.readouterr().err


def test_without_pyarrow_a_job_writes_no_tables_unless_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise ReplayError("tables need pyarrow")

    monkeypatch.setattr(cli_replay, "check_tables", refuse)
    assert cli_replay._checked(Output(), None) is False
    with pytest.raises(typer.BadParameter, match="pyarrow"):
        cli_replay._checked(Output(), True)


def test_a_report_that_was_damaged_since_has_no_problems_to_show(tmp_path: Path) -> None:
    row = Done(
        recording="a", folder="f", size=1, mtime_ns=1, xxh3="", version="", output=Output(),
        frames=1, problems=1, partial=False, seconds=0.0, user_seconds=0.0,
    )  # fmt: skip
    assert cli_replay._problems(tmp_path, row) == []
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "session.json").write_bytes(b'{"errors":5}')
    assert cli_replay._problems(tmp_path, row) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the signal is POSIX's")
def test_ctrl_c_ends_the_job_and_the_next_one_goes_on(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 200)
    command = [sys.executable, "-m", "deltaring", "replay", *names, "-o", "out", "-j", "2"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        journal = tmp_path / "out" / "deltaring-job.jsonl"
        while process.poll() is None and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read() == "stop  the same command again goes on from here\n"
    assert process.returncode == 130
    result = run("replay", *names, "-o", "out", cwd=tmp_path)
    assert result.returncode == 0
    assert "done before" in result.stdout
