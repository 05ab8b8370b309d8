"""The ways that are compared: those that are there are right, those that are not are listed."""

import sys
from pathlib import Path

import msgspec
import pytest

from deltaring.contenders import TASKS, Contender, contenders, from_file
from deltaring.errors import BenchError
from deltaring.verdict import why_wrong
from deltaring.workload import SETS, built_in
from tests.wire import frame

TEN_LINES = """
import base64, json
class Mine:
    name = "mine"
    def __init__(self, out): self.out = out
    def parse(self, frame): return json.loads(frame)
    def receive(self, frame):
        event = json.loads(frame)
        if not event["type"].endswith("audio.delta"): return event, 0
        data = base64.b64decode(event["delta"], validate=True)
        self.out[:len(data)] = data
        return event, len(data)
"""
OPTIONAL = ["jiter", "pysimdjson", "ujson", "python-rapidjson", "ssrjson", "pydantic", "openai SDK"]
MODULES = ["jiter", "simdjson", "ujson", "rapidjson", "ssrjson", "pydantic", "hashcodecs",
           "openai.resources.realtime.realtime"]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(TEN_LINES)
    return path


def present() -> list[tuple[str, Contender]]:
    return [(task, it) for it in contenders() if it.make for task in it.tasks]


@pytest.mark.parametrize("frames", [*SETS, "961"])
@pytest.mark.parametrize(
    ("task", "contender"), present(), ids=[f"{task}-{it.name}" for task, it in present()]
)
def test_a_contender_that_is_there_is_right(task: str, contender: Contender, frames: str) -> None:
    assert why_wrong(contender, task, built_in(frames).sessions, 200_000) == ""


def test_every_parser_is_there_with_both_codecs_or_listed_as_absent() -> None:
    names = {it.name for it in contenders()}
    for parser in ["msgspec typed", "msgspec untyped", "orjson", "json", *OPTIONAL]:
        assert {parser, f"{parser} + base64", f"{parser} + pybase64"} <= names


def test_the_typed_parser_takes_unknown_types_and_refuses_what_does_not_fit() -> None:
    (typed,) = (it for it in contenders() if it.name == "msgspec typed")
    assert typed.make is not None
    contender = typed.make(bytearray(9))
    assert contender.parse(frame("a.b", x=1)).x == 1
    with pytest.raises(msgspec.ValidationError, match="missing required field `error`"):
        contender.parse(frame("error"))


def test_without_the_extra_all_of_it_is_absent_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in MODULES:
        monkeypatch.setitem(sys.modules, module, None)
    absent = {it.name: it.why for it in contenders() if it.make is None}
    assert {name.partition(" + ")[0] for name in absent} == {
        *OPTIONAL, "hashcodecs b64decode_into",
    }  # fmt: skip
    assert all("import" in why for why in absent.values()), absent


def test_a_file_adds_a_contender_in_ten_lines(file: Path) -> None:
    (mine,) = from_file(file)
    assert (mine.name, mine.tasks) == ("mine", TASKS)
    for task in TASKS:
        assert why_wrong(mine, task, built_in("openai").sessions, 200_000) == ""


def test_a_file_may_do_one_task_only(file: Path) -> None:
    file.write_text("class A:\n    name = 'a'\n    def parse(self, frame): pass\n")
    assert from_file(file)[0].tasks == ("parse",)


def test_a_file_whose_module_is_not_installed_is_absent(file: Path) -> None:
    file.write_text("import no_such_module\n")
    (mine,) = from_file(file)
    assert (mine.name, mine.make) == ("mine (file)", None)
    assert "no_such_module" in mine.why


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no class with a `name`"),
        ("class A: pass", "no class with a `name`"),
        ("class A:\n    name = 'a'", "has neither"),
        ("class A", "invalid syntax|expected ':'"),
        ("from pathlib import Path", "no class"),
        ("class A:\n    name = 5", "its name is no line of text: 5"),
        ("class A:\n    name = 'a\\n'", "its name is no line of text"),
        ("import sys\nsys.exit(0)", r"SystemExit: 0 \(line 2\)"),
        ("x = 1\n1 / 0", r"ZeroDivisionError: division by zero \(line 2\)"),
    ],
)
def test_a_file_that_is_no_contender_is_named(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(BenchError, match=reason) as error:
        from_file(file)
    assert "mine.py" in str(error.value) or "a:" in str(error.value)


def test_a_file_may_import_what_lies_beside_it(file: Path) -> None:
    (file.parent / "beside_it.py").write_text("NAME = 'helped'")
    file.write_text(
        "from beside_it import NAME\n"
        + TEN_LINES.replace("'mine'", "NAME").replace('"mine"', "NAME")
    )
    assert from_file(file)[0].name == "helped"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("missing.py", "no_suffix"):
        with pytest.raises(BenchError, match=name):
            from_file(tmp_path / name)
