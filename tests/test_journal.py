import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaring.errors import ReplayError
from deltaring.journal import JOURNAL, Done, Failed, Journal, Output, Row, failed


def done(name: str, size: int = 1) -> Done:
    return Done(
        recording=name,
        folder="folder",
        size=size,
        mtime_ns=2,
        xxh3="00",
        version="0",
        output=Output(),
        frames=3,
        problems=0,
        partial=False,
        seconds=1.5,
        user_seconds=0.0,
    )


def lines(folder: Path) -> list[str]:
    return [json.loads(line)["recording"] for line in (folder / JOURNAL).read_bytes().splitlines()]


def test_what_was_entered_is_found_by_the_next_journal(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.add(done("b"))
        journal.add(Failed(recording="a", reason="damaged"))
    with Journal(tmp_path) as journal:
        assert journal.row("b") == done("b")
        assert journal.row("a") == Failed(recording="a", reason="damaged")
        assert journal.row("c") is None


def test_the_last_line_about_a_recording_counts(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.add(Failed(recording="a", reason="not there"))
        journal.add(done("a"))
        assert journal.row("a") == done("a")
    with Journal(tmp_path) as journal:
        assert list(journal.rows()) == [done("a")]


def test_sorted_lines_stand_in_the_order_of_names_once_each(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for name in ("c", "a", "b", "a"):
            journal.add(done(name))
        journal.sort()
        assert lines(tmp_path) == ["a", "b", "c"]
        assert journal.row("c") == done("c")
        journal.add(done("d", 7))
        assert journal.row("d") == done("d", 7)
    assert lines(tmp_path) == ["a", "b", "c", "d"]
    assert os.listdir(tmp_path) == [JOURNAL]


def test_what_is_forgotten_is_not_known(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.add(done("a"))
        journal.forget("a")
        assert journal.row("a") is None
        assert list(journal.rows()) == []


@given(st.integers(0, 400))
def test_wherever_a_line_is_cut_off_the_ones_before_count(tmp_path_factory, cut) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("job")
    with Journal(folder) as journal:
        for name in ("a", "b"):
            journal.add(done(name))
    whole = (folder / JOURNAL).read_bytes()
    (folder / JOURNAL).write_bytes(whole[:cut])
    with Journal(folder) as journal:
        names = [row.recording for row in journal.rows()]
        assert names == ["a", "b"][: whole[:cut].count(b"\n")]
        journal.add(done("c"))
    with Journal(folder) as journal:
        assert [row.recording for row in journal.rows()] == [*names, "c"]


@pytest.mark.parametrize("line", [b"nonsense", b"{}", b'{"state":"done"}', b"\xff"])
def test_a_line_of_something_else_is_named(tmp_path: Path, line: bytes) -> None:
    with Journal(tmp_path) as journal:
        journal.add(done("a"))
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(ReplayError, match=f"{JOURNAL}:2: no line of a job"):
        Journal(tmp_path)


def test_names_need_be_no_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.jsonl")
    with Journal(tmp_path) as journal:
        journal.add(done("\\udcff.jsonl"))
        assert journal.row(name) is not None


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [done("a")]
    with Journal(tmp_path) as journal:
        journal.add(rows[0])

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                journal.add(done("b"))
        journal.add(done("c"))
        assert journal.row("b") is None
    assert lines(tmp_path) == ["a", "c"]


def test_a_disk_that_takes_part_of_a_line_is_full(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.add(done("a"))
        whole, journal._appended = journal._appended, Half(journal._appended)  # type: ignore[assignment]
        with pytest.raises(OSError, match="the disk is full"):
            journal.add(done("b"))
        journal._appended = whole
        journal.add(done("c"))
    assert lines(tmp_path) == ["a", "c"]


class Half:
    """A file on a disk that has no room for the second half of what is written."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, line: bytes) -> Any:
        return self.file.write(line[: len(line) // 2])

    def truncate(self, size: int) -> None:
        self.file.truncate(size)


def test_a_disk_too_full_to_sort_on_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with Journal(tmp_path) as journal:
        for name in ("b", "a"):
            journal.add(done(name))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                journal.sort()
        journal.add(done("c"))
    assert lines(tmp_path) == ["b", "a", "c"]
    assert os.listdir(tmp_path) == [JOURNAL]


def test_a_reason_need_be_no_utf_8(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.add(failed("a", os.fsdecode(b"no such file: \xff")))
        assert journal.row("a") == Failed(recording="a", reason="no such file: \\udcff")


def test_a_file_system_without_locks_has_a_journal_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="there are no such locks on Windows")

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with Journal(tmp_path) as journal:
        journal.add(done("a"))
    assert lines(tmp_path) == ["a"]


def test_without_locks_as_on_windows_a_journal_works(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None; from pathlib import Path\n"
        "from deltaring.journal import Failed, Journal\n"
        "with Journal(Path(sys.argv[1])) as one, Journal(Path(sys.argv[1])):\n"
        "    one.add(Failed(recording='a', reason='damaged'))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert lines(tmp_path) == ["a"]


HOLD = """
import sys
from pathlib import Path
from deltaring.journal import Journal

with Journal(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_two_jobs_do_not_work_in_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="there are no such locks on Windows")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(ReplayError, match="another job is at work"):
            Journal(tmp_path)
        other.kill()
    Journal(tmp_path).close()


def test_processes_that_were_forked_meanwhile_hold_nothing_up(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="there are no such locks on Windows")
    code = (
        "import os, sys, time; from pathlib import Path; from deltaring.journal import Journal\n"
        "with Journal(Path(sys.argv[1])):\n"
        "    child = os.fork() or time.sleep(600)\n"
        "Journal(Path(sys.argv[1])).close(); os.kill(child, 9); print('open')"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).stdout == b"open\n"
