"""`deltaring info --latency` as a user runs it."""

import io
import json
from pathlib import Path

import pytest

from deltaring.metrics import ResponseMetrics, SessionMetrics, Tokens
from deltaring.recording import Recording
from deltaring.replay import measure
from tests.conftest import ROOT
from tests.wire import audio_frame, frame, pcm, response

pytest.importorskip("typer", reason="the command line needs the cli extra")

from typer.testing import CliRunner

from deltaring import console
from deltaring.cli import app
from deltaring.cli_latency import print_metrics
from tests.command import run


def shown(metrics: SessionMetrics, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is printed of one recording."""
    out = io.StringIO()
    monkeypatch.setattr(console, "out", console.Console(file=out, width=10_000))
    print_metrics([("rec", metrics)])
    return out.getvalue()


def cells(text: str, first: str) -> list[str]:
    """The words of the line that begins so."""
    (line,) = (line for line in text.splitlines() if line.startswith(first))
    return line.split()


# --- the command ----------------------------------------------------------------------------------


def test_the_metrics_of_recordings_are_printed(example: Path) -> None:
    result = run("info", "--latency", example)
    assert (result.returncode, result.stderr) == (0, "")
    assert cells(result.stdout, "2 completed") == (
        "2 completed 1,111 314 1,016 2.66 0.35 1/5/5 0 0".split()
    )
    assert cells(result.stdout, "response.created to audio")[-4:] == [
        "2",
        "314.0",
        "326.0",
        "326.0",
    ]
    assert "tokens: 97.5% of the limit" in result.stdout


def test_json_has_every_metric(example: Path) -> None:
    result = run("info", "--latency", "--json", "--buffer", "60", example)
    document = json.loads(result.stdout)
    assert document["failures"] == []
    (row,) = document["recordings"]
    assert row["recording"] == str(example)
    assert row["metrics"]["buffer"] == 0.06
    assert row["metrics"]["responses"][1]["created_to_audio"] == 0.314
    assert row["metrics"]["tokens"]["output_audio"] == 107


def test_bad_input_is_named_and_the_rest_is_measured(example: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(audio_frame(pcm(300)) + b"\nnonsense\n")
    result = run("info", "--latency", "--json", bad, tmp_path / "missing", example)
    assert result.returncode == 3
    assert f"{bad}:2: byte 608: not valid JSON" in result.stderr
    assert f"{tmp_path / 'missing'}: No such file or directory" in result.stderr
    document = json.loads(result.stdout)
    assert [len(row["metrics"]["responses"]) for row in document["recordings"]] == [1, 3]
    assert [row["recording"] for row in document["failures"]] == [str(tmp_path / "missing")]


def test_standard_input_is_measured(example: Path) -> None:
    result = run("info", "--latency", "--json", "-", stdin=example.read_bytes())
    assert json.loads(result.stdout)["recordings"][0]["metrics"]["epochs"] == 1


@pytest.mark.parametrize(
    "args",
    [
        ["--latency"],
        ["--latency", "--buffer", "-1", "x"],
        ["--latency", "--plot", "x.pdf", "x"],
        ["--plot", "x.svg", "x"],
        ["--buffer", "5", "x"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(args: list[str], tmp_path: Path) -> None:
    result = run("info", *args, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr
    assert not result.stdout


def test_a_plot_is_drawn_over_all_recordings(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(example.read_bytes())
    result = run("info", "--latency", example, copy, "--plot", tmp_path / "plot.svg")
    assert (result.returncode, result.stderr) == (0, "")
    assert "responses: 6; recordings: 2" in (tmp_path / "plot.svg").read_text()


def test_a_plot_that_cannot_be_written_is_named_and_the_rest_printed(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")

    def full(sessions: object, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deltaring.distribution.plot", full)
    plot = str(tmp_path / "plot.svg")
    result = CliRunner().invoke(app, ["info", "--latency", str(example), "--json", "--plot", plot])
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["failures"] == [{"recording": plot, "reason": "No space left on device"}]
    assert len(document["recordings"]) == 1


# --- the tables -----------------------------------------------------------------------------------


def test_what_is_not_known_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [response("response.created", "r"), audio_frame(pcm(4_800), response_id="r")]
    text = shown(measure(Recording(io.BytesIO(b"\n".join(lines)))), monkeypatch)
    assert cells(text, "1 unknown") == "1 unknown - - - 0.10 - - - -".split()


def test_what_no_response_has_is_a_dash_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [response("response.created", name) for name in ("r", "s")]
    text = shown(measure(Recording(io.BytesIO(b"\n".join(lines)))), monkeypatch)
    assert cells(text, "response.created to audio")[-4:] == ["0", "-", "-", "-"]


def test_stalls_are_printed_with_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = audio_frame(pcm(4_800)).decode()  # 100 ms
    lines = [f'{{"time":{at},"event":{audio}}}' for at in (10, 10.25, 10.5, 10.55)]
    metrics = measure(Recording(io.BytesIO("\n".join(lines).encode())), buffer=0.1)
    # The second is due at 10.2, and the third, after that stall of 50 ms, at 10.35.
    assert cells(shown(metrics, monkeypatch), "1 unknown")[-3:] == ["300", "2", "(150)"]


def test_an_interrupted_response_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    done = response("response.done", "r", status="cancelled")
    text = shown(measure(Recording(io.BytesIO(done))), monkeypatch)
    assert "1 cancelled, interrupted" in text
    assert cells(text, "interruptions") == ["interruptions", "1"]


def test_what_a_server_says_does_not_command_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        response("response.done", "r", status="\x1b[2Jx[red]y"),
        frame("rate_limits.updated",
              rate_limits=[{"name": "\x1b[0m[b]", "limit": 2, "remaining": 1}]),
    ]  # fmt: skip
    text = shown(measure(Recording(io.BytesIO(b"\n".join(lines)))), monkeypatch)
    assert "\x1b" not in text
    assert "1 \\x1b[2Jx[red]y" in text
    assert "\\x1b[0m[b]: 50.0% of the limit" in text


def test_responses_that_were_not_measured_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = SessionMetrics(0.0, 1, [], 7, 0, Tokens(), {})
    assert "not measured    7 events of further responses" in shown(metrics, monkeypatch)


# --- the document ---------------------------------------------------------------------------------


def test_the_figures_in_the_document_are_those_of_its_command() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    (command,) = (line for line in page.splitlines() if line.startswith("    deltaring info"))
    lines = run(*command.split()[1:], cwd=ROOT).stdout.splitlines()
    printed = "\n".join(f"    {line}".rstrip() for line in lines[: lines.index("")])
    assert printed in "\n".join(line.rstrip() for line in page.splitlines())


def test_the_document_defines_every_field() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    names = {*ResponseMetrics.__struct_fields__, *SessionMetrics.__struct_fields__}
    names |= {*Tokens.__struct_fields__}
    for name in names - {"id", "created", "status"}:
        assert f"`{name}`" in page, name
