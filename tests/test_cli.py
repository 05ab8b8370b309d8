"""The command as a user runs it: a process, its output, its exit code."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import deltaring
from deltaring import kernel
from deltaring.recording import Recording
from tests.wire import audio_frame, frame, pcm

pytest.importorskip("typer", reason="the command line needs the cli extra")


def run(
    *args: object, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "deltaring", *map(str, args)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        check=False,
    )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(audio_frame(pcm(300)) + b"\nnonsense\n" + frame("error") + b"\n")
    return path


def test_replay_of_clean_recordings_exits_with_0(example: Path, tmp_path: Path) -> None:
    result = run("replay", example, "-o", tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    assert "0:05.385" in result.stdout
    (folder,) = (tmp_path / "out").iterdir()
    assert str(folder) in result.stdout


def test_bad_input_exits_with_3_and_is_named(bad: Path, example: Path, tmp_path: Path) -> None:
    result = run("replay", bad, tmp_path / "missing", example, "-o", tmp_path / "out")
    assert result.returncode == 3
    assert f"{bad}:2: byte 608: not valid JSON" in result.stderr
    assert f"{bad}:3: byte 617: error: Object missing required field `error`" in result.stderr
    assert f"{tmp_path / 'missing'}: No such file or directory" in result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    "args", [["replay"], ["replay", "x"], ["nonsense"], ["info", "--odd"], ["replay", "-o", "x"]]
)
def test_wrong_usage_exits_with_2(args: list[str], tmp_path: Path) -> None:
    assert run(*args, cwd=tmp_path).returncode == 2
    assert not os.listdir(tmp_path)


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
        "rec/a.jsonl", "rec/sub/b.jsonl", "c1.jsonl", "c2.jsonl", url,
    ]  # fmt: skip
    assert len({row["folder"] for row in rows}) == 5


def test_what_leads_to_nothing_is_named_and_exits_with_3(example: Path, tmp_path: Path) -> None:
    result = run("info", "none*.jsonl", tmp_path, "odd://x", "memory://x", example, cwd=tmp_path)
    assert result.returncode == 3
    assert "none*.jsonl: there are no recordings here" in result.stderr
    assert f"{tmp_path}: there are no recordings here" in result.stderr
    assert "odd://x: ValueError: Protocol not known: odd" in result.stderr
    assert "error memory://x: " in result.stderr
    assert "gpt-realtime" in result.stdout


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
    lines, same = (row["folder"] for row in json.loads(result.stdout)["recordings"])
    for path in Path(lines).glob("*.wav"):
        assert (Path(same) / path.name).read_bytes() == path.read_bytes()
    assert (Path(same) / "transcript.json").read_text() == (
        Path(lines) / "transcript.json"
    ).read_text()


def test_a_har_problem_names_the_message(tmp_path: Path) -> None:
    pytest.importorskip("ijson", reason="HAR files need the har extra")
    (tmp_path / "x.har").write_text(
        '{"log":{"entries":[{"_webSocketMessages":[{"type":"send"}]}]}}'
    )
    result = run("info", "x.har", cwd=tmp_path)
    assert result.returncode == 3
    assert (
        "x.har:1: byte 42: log.entries[0]._webSocketMessages[0]: no WebSocket message"
        in result.stderr
    )


def test_standard_input(example: Path, tmp_path: Path) -> None:
    result = run("replay", "-", "-o", tmp_path, stdin=example.read_bytes())
    assert result.returncode == 0
    assert len(list(tmp_path.glob("*/assistant.wav"))) == 1


def test_replay_json(bad: Path, tmp_path: Path) -> None:
    result = run("replay", bad, tmp_path / "missing", "-o", tmp_path / "out", "--json")
    document = json.loads(result.stdout)
    assert result.returncode == 3
    assert document["recordings"][0]["report"]["error_count"] == 2
    assert document["failures"] == [
        {"recording": str(tmp_path / "missing"), "reason": "No such file or directory"}
    ]


def test_info_prints_what_is_in_a_recording(example: Path) -> None:
    result = run("info", example)
    assert result.returncode == 0
    for text in ("gpt-realtime", "0:05.385 in 2 items", "response.output_audio.delta", "645"):
        assert text in result.stdout


def test_info_json(example: Path, bad: Path) -> None:
    result = run("info", example, bad, "--json")
    rows = json.loads(result.stdout)["recordings"]
    assert (result.returncode, len(rows)) == (3, 2)
    assert rows[0]["report"]["frames"]["client"] == 35


def test_info_without_recordings_prints_versions() -> None:
    versions = json.loads(run("info", "--json").stdout)
    assert (versions["deltaring"], versions["kernel"]) == (deltaring.__version__, kernel.NAME)
    assert versions["simd"] == (kernel.simd() or "none")
    assert "pybase64" in run("info").stdout


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
    assert rows[0]["recording"].endswith("bad\\udcff.jsonl")


def test_a_type_cannot_command_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    path.write_bytes(frame("\x1b]0;evil\x07:heart:"))
    result = run("info", path)
    assert "\x1b" not in result.stdout
    assert "\\x1b]0;evil\\x07:heart: (unknown)" in result.stdout


@pytest.mark.parametrize("name", ["x" * 5_000, "no/such/folder/x"])
def test_a_name_that_cannot_be_opened_costs_nothing_else(name: str, example: Path) -> None:
    result = run("info", name, example)
    assert result.returncode == 3
    assert "gpt-realtime" in result.stdout
    assert "Traceback" not in result.stderr


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


def test_closed_standard_input_is_an_error_and_no_crash(example: Path) -> None:
    result = subprocess.run(
        f"{sys.executable} -m deltaring info - {example} <&-",
        shell=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 3
    assert b"Traceback" not in result.stderr


def test_compression_is_seen_through_a_slow_pipe(example: Path) -> None:
    import gzip

    process = subprocess.Popen(
        [sys.executable, "-m", "deltaring", "info", "-", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    data = gzip.compress(example.read_bytes())
    for part in (data[:1], data[1:3], data[3:]):
        process.stdin.write(part)
        time.sleep(0.3)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["recordings"][0]["report"]["frames"]["client"] == 35


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


@pytest.mark.parametrize("command", ["replay", "info"])
def test_help_names_the_exit_codes_or_the_arguments(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert "standard input" in " ".join(result.stdout.split())


def test_without_its_extra_the_command_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['typer'] = None\n"
        "from deltaring.__main__ import main; main()"
    )  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "pip install 'deltaring[cli]'" in result.stderr
