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
from tests.command import run
from tests.wire import frame, session

pytest.importorskip("typer", reason="the command line needs the cli extra")


@pytest.mark.parametrize(
    "args", [["replay"], ["replay", "x"], ["nonsense"], ["info", "--odd"], ["replay", "-o", "x"]]
)
def test_wrong_usage_exits_with_2(args: list[str], tmp_path: Path) -> None:
    assert run(*args, cwd=tmp_path).returncode == 2
    assert not os.listdir(tmp_path)


def test_what_leads_to_nothing_is_named_and_exits_with_3(example: Path, tmp_path: Path) -> None:
    result = run("info", "none*.jsonl", tmp_path, "odd://x", "memory://x", example, cwd=tmp_path)
    assert result.returncode == 3
    assert "none*.jsonl: there are no recordings here" in result.stderr
    assert f"{tmp_path}: there are no recordings here" in result.stderr
    assert "odd://x: ValueError: Protocol not known: odd" in result.stderr
    assert "error memory://x: " in result.stderr
    assert "gpt-realtime" in result.stdout


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


@pytest.mark.parametrize("command", ["replay", "info"])
def test_help_names_the_exit_codes_or_the_arguments(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert "standard input" in " ".join(result.stdout.split())


def test_of_many_problems_the_first_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    path.write_bytes(b"nonsense\n" * 25)
    result = run("info", path)
    assert result.returncode == 3
    assert result.stderr.count("bad ") == 10
    assert result.stderr.endswith(f"{path}: and 15 more\n")


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ({"output_audio_format": "g711_ulaw"}, "g711_ulaw"),
        ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "audio/pcmu"),
        (
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
            "audio/pcm at 16000 Hz",
        ),
        ({}, "not stated: pcm16 at 24000 Hz"),
    ],
)
def test_the_output_format_is_shown_in_words(
    stated: dict[str, object], shown: str, tmp_path: Path
) -> None:
    path = tmp_path / "rec.jsonl"
    path.write_bytes(session(**stated))
    (line,) = (it for it in run("info", path).stdout.splitlines() if "output format" in it)
    assert line.split(maxsplit=2)[2].strip() == shown


def test_a_missing_module_of_its_own_is_no_missing_extra() -> None:
    code = (
        "import sys; sys.modules['deltaring.chart'] = None\n"
        "from deltaring.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in result.stderr
    assert "pip install" not in result.stderr


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
