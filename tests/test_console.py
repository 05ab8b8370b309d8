"""What all commands print with."""

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


def test_json_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": [1]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'
