"""`deltaring bench` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import able_to_import
from tests.test_contenders import MODULES, TEN_LINES
from tests.wire import audio_frame, pcm

typer = pytest.importorskip("typer", reason="the command line needs the cli extra")

from typer.testing import CliRunner, Result  # noqa: E402

from deltaring import bench as module  # noqa: E402
from deltaring import kernel  # noqa: E402
from deltaring.cli import app  # noqa: E402

WRONG = """
from mine import Mine

class DropsTheLastByte(Mine):
    name = "drops the last byte"
    def receive(self, frame):
        event, count = super().receive(frame)
        return event, max(count - 1, 0)

class MixesUpTwoItems(Mine):
    name = "mixes up two items"
    first = None
    def receive(self, frame):
        event, count = super().receive(frame)
        if count:
            self.first = event["item_id"] = self.first or event["item_id"]
        return event, count

class AcceptsBadBase64(Mine):
    name = "accepts bad base64"
    def receive(self, frame):
        import base64
        event = self.parse(frame)
        data = base64.b64decode(event["delta"]) if "audio.delta" in event["type"] else b""
        self.out[:len(data)] = data
        return event, len(data)
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(TEN_LINES)
    return path


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", {True: 1e-9, False: 1e-9})
    monkeypatch.setattr(module, "_BLOCK_NS", 1)


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, args)])


def test_a_quick_run_measures_at_least_twelve_and_catches_what_is_wrong(
    mine: Path, tmp_path: Path
) -> None:
    for name in MODULES:
        pytest.importorskip(name, reason="the other decoders come with the bench extra")
    (tmp_path / "wrong.py").write_text(WRONG)
    plot = tmp_path / "times.png"
    command = [sys.executable, "-m", "deltaring", "bench", "--quick", "--json", "--plot", plot,
               "--contender", mine, "--contender", tmp_path / "wrong.py"]  # fmt: skip
    place = able_to_import(tmp_path)
    result = subprocess.run(command, capture_output=True, check=True, env=place, timeout=120)
    rows: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
    for task in ("parse", "audio", "session"):
        measured = [row for row in rows if (row["task"], row["status"]) == (task, "ok")]
        assert len(measured) >= 12
        assert "mine" in {row["name"] for row in measured}
        for row in measured:
            assert row["low_ns"] <= row["median_ns"] <= row["high_ns"]
            assert row["p99_ns"] > 0
            assert row["ratio"] > 0
    wrong = {(row["task"], row["name"]): row["why"] for row in rows if row["status"] == "wrong"}
    for task in ("audio", "session"):
        assert "bytes of audio too few" in wrong.pop((task, "drops the last byte"))
        assert "item_id is 'item_a', not 'item_b'" in wrong.pop((task, "mixes up two items"))
        assert "accepts bad base64" in wrong.pop((task, "accepts bad base64"))
    assert not wrong
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("soon")
def test_tables_show_every_contender(mine: Path) -> None:
    result = run("--set", "960", "--contender", mine)
    assert result.exit_code == 0
    for text in (
        "CPython",
        f"deltaring {kernel.NAME}",
        "mine",
        "pybase64 + copy (floor)",
        "x real time",
    ):
        assert text in result.output


@pytest.mark.usefixtures("soon")
def test_markdown(mine: Path) -> None:
    result = run("--set", "telephony", "--markdown", "--baseline", "mine", "--contender", mine)
    assert result.exit_code == 0
    assert "**audio: " in result.stdout
    assert "| times mine |" in result.stdout


@pytest.mark.usefixtures("soon")
def test_recordings_are_measured(example: Path) -> None:
    result = run(example, "--quick", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["workload"]["name"] == str(example)
    assert round(document["workload"]["audio_seconds"], 1) == 5.4


@pytest.mark.usefixtures("soon")
def test_frames_that_are_left_out_are_named_and_exit_with_3(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes((audio_frame(pcm(300)) + b"\n") * 3 + b"nonsense\n" * 12)
    result = run(path, "--json")
    assert result.exit_code == 3
    assert f"{path}:4: byte 1824: not valid JSON" in result.stderr
    assert "and 2 more" in result.stderr
    assert json.loads(result.stdout)["workload"]["left_out"] == 12


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (["--json", "--markdown"], 2, "--json and --markdown exclude each other"),
        (["--set", "nonsense"], 2, "no set is called 'nonsense'; there are openai"),
        (["--baseline", "nobody"], 2, "no contender at parse is called 'nobody'"),
        (["--contender", "missing.py"], 2, "missing.py: FileNotFoundError"),
        (["--plot", "times.pdf"], 2, "times.pdf: a plot is an .svg or a .png file"),
        (["--plot", "no/such/folder/times.svg"], 2, "times.svg: cannot be written"),
        (["--set", "99999999999"], 2, "no set is called '99999999999'"),
        (["--set", "text", "x.jsonl"], 2, "--set is for frames in place of recordings"),
        (["missing.jsonl"], 3, "missing.jsonl"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(args: list[str], code: int, reason: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert reason in result.stderr


@pytest.mark.usefixtures("soon")
def test_what_a_contender_prints_is_no_part_of_the_document(mine: Path) -> None:
    mine.write_text(TEN_LINES.replace("event = json", "print('hello'); event = json"))
    result = run("--set", "160", "--json", "--contender", mine)
    assert json.loads(result.stdout)["rows"]
    assert "hello" in result.stderr


@pytest.mark.usefixtures("soon")
def test_a_baseline_that_was_not_measured_is_told(mine: Path) -> None:
    mine.write_text(TEN_LINES.replace("return event, len(data)", "return event, 0"))
    result = run("--set", "160", "--baseline", "mine", "--contender", mine)
    assert result.exit_code == 0
    assert "audio: the baseline was not measured: no ratios" in result.stderr


@pytest.mark.usefixtures("soon")
def test_the_same_name_twice_is_refused(mine: Path) -> None:
    result = run("--contender", mine, "--contender", mine)
    assert result.exit_code == 2
    assert "two contenders have the same name: mine" in result.stderr
