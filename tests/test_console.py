"""What all commands print with."""

from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the command line needs the cli extra")

from deltaring import console


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äö 你好", "plain äö 你好"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines", "two\\nlines"),
        ("half \udc80", "half \\udc80"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_printed(text: str, shown: str) -> None:
    assert console.printable(text) == shown


def test_complaints_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    console.complain("bad", "yellow", "[red]x[/red]\x1b")
    assert capsys.readouterr() == ("", "bad   [red]x[/red]\\x1b\n")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00.000"), (59.9994, "0:59.999"), (61.5, "1:01.500")]
)
def test_a_duration_is_in_minutes_and_seconds(seconds: float, shown: str) -> None:
    assert console.duration(seconds) == shown


def test_a_table_has_text_to_the_left_and_numbers_to_the_right() -> None:
    made = console.table("file", "frames", "folder")
    assert [column.justify for column in made.columns] == ["left", "right", "left"]


def test_closed_standard_input_is_an_error_of_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(OSError, match="standard input is closed"):
        console.open_recording("-")


def test_a_dash_is_standard_input_and_anything_else_a_file_or_a_url(
    example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with example.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        frames = [record.frame for record in console.open_recording("-")]
    assert [record.frame for record in console.open_recording(str(example))] == frames != []
    pytest.importorskip("fsspec", reason="URLs need the remote extra")
    assert [record.frame for record in console.open_recording(example.as_uri())] == frames


def test_json_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": [1]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'
