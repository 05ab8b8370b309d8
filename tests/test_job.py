import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deltaring import job
from deltaring.errors import ReplayError
from deltaring.job import Summary, run
from deltaring.journal import JOURNAL, Done, Failed, Journal, Output, Row
from tests.command import environment_with
from tests.conftest import ROOT
from tests.jobs import tree, write_session, write_sessions
from tests.wire import audio_frame, pcm

pytest.importorskip("xxhash", reason="a job needs the bulk extra")

NO_AUDIO = Output(audio="none")


def rows(out: Path) -> dict[str, Row]:
    with Journal(out) as journal:
        return {Path(row.recording).name: row for row in journal.rows()}


def failures(out: Path) -> dict[str, str]:
    return {name: row.reason for name, row in rows(out).items() if isinstance(row, Failed)}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the recordings that are read, by `run` in this process."""
    names: list[str] = []
    replay_one = job.replay_one

    def spy(task: job.Task) -> Row:
        names.append(Path(task.recording).name)
        return replay_one(task)

    monkeypatch.setattr(job, "replay_one", spy)
    return names


# --- what a job does ------------------------------------------------------------------------------


def test_the_journal_tells_what_was_read_and_found(tmp_path: Path) -> None:
    import xxhash

    path = write_session(tmp_path / "a.jsonl")
    summary = run([str(path)], tmp_path / "out", Output())
    (row,) = rows(tmp_path / "out").values()
    assert isinstance(row, Done)
    assert row.recording == str(path)
    assert (row.size, row.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert row.xxh3 == xxhash.xxh3_128(path.read_bytes()).hexdigest()
    assert row.frames == len(path.read_bytes().splitlines())
    assert (tmp_path / "out" / row.folder / "session.json").is_file()
    assert summary == Summary(
        recordings=1, done=1, size=row.size, seconds=row.seconds + row.user_seconds
    )


def test_a_rerun_reads_nothing_that_is_done(tmp_path: Path, read: list[str]) -> None:
    names = write_sessions(tmp_path / "in", 3)
    run(names[:2], tmp_path / "out", NO_AUDIO)
    summary = run(names, tmp_path / "out", NO_AUDIO)
    assert read == ["000.jsonl", "001.jsonl", "002.jsonl"]
    assert (summary.done, summary.skipped, summary.left) == (1, 2, 0)


@pytest.mark.parametrize("cause", ["changed", "options", "version", "lost", "forgotten"])
def test_a_rerun_does_anew(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    (name,) = write_sessions(tmp_path / "in", 1)
    out = tmp_path / "out"
    run([name], out, NO_AUDIO)
    (row,) = rows(out).values()
    assert isinstance(row, Done)
    output = NO_AUDIO
    if cause == "changed":
        os.utime(name, ns=(0, row.mtime_ns + 1))
    elif cause == "options":
        output = Output()
    elif cause == "version":
        monkeypatch.setattr(job, "__version__", "another")
    elif cause == "lost":
        shutil.rmtree(out / row.folder)
    else:
        (out / JOURNAL).unlink()
    summary = run([name], out, output)
    assert (summary.done, summary.skipped) == (1, 0)
    assert len(read) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_was_begun_again_and_not_ended_is_not_done(tmp_path: Path, jobs: int) -> None:
    names = write_sessions(tmp_path / "in", 8)
    out = tmp_path / "out"
    run(names, out, Output())
    expected = tree(out)

    def stop(summary: Summary, row: Row) -> None:
        if summary.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(names, out, NO_AUDIO, jobs=jobs, progress=stop)
    run(names, out, Output())
    assert tree(out) == expected


def test_a_row_does_not_speak_of_outputs_that_were_replaced_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, out = write_sessions(tmp_path / "in", 1), tmp_path / "out"
    run(names, out, Output())
    expected, replay_one = tree(out), job.replay_one

    def replay_and_stop(task: job.Task) -> Row:
        replay_one(task)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "replay_one", replay_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(names, out, NO_AUDIO)
    assert run(names, out, Output()).done == 1
    assert tree(out) == expected


def test_who_is_ended_at_work_leaves_nothing_behind(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 8)
    (tmp_path / "in" / "000.jsonl").write_bytes(b"nonsense\n")
    summary = run(names, tmp_path / "out", Output(), jobs=2, max_bad_lines=0)
    assert summary.stopped
    assert not list((tmp_path / "out").rglob("*.deltaring-part"))


def test_verify_finds_what_changed_under_the_same_time(tmp_path: Path, read: list[str]) -> None:
    names = write_sessions(tmp_path / "in", 2)
    run(names, tmp_path / "out", NO_AUDIO)
    before = os.stat(names[1])
    data = Path(names[1]).read_bytes()
    Path(names[1]).write_bytes(data.replace(b"Hi there!", b"Hi where!"))
    os.utime(names[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(names, tmp_path / "out", NO_AUDIO).skipped == 2
    summary = run(names, tmp_path / "out", NO_AUDIO, verify=True)
    assert (summary.done, summary.skipped) == (1, 1)
    assert read == ["000.jsonl", "001.jsonl", "001.jsonl"]


def test_verify_does_anew_what_cannot_be_read(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 2)
    run(names, tmp_path / "out", NO_AUDIO)
    os.unlink(names[0])
    summary = run(names, tmp_path / "out", NO_AUDIO, verify=True)
    assert (summary.done, summary.failed, summary.skipped) == (0, 1, 1)
    assert failures(tmp_path / "out") == {"000.jsonl": "No such file or directory"}


def test_verify_does_anew_what_may_not_be_opened_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: job.HashedFile) -> None:
        raise PermissionError(13, "Permission denied")

    names = write_sessions(tmp_path / "in", 1)
    run(names, tmp_path / "out", NO_AUDIO)
    monkeypatch.setattr(job.HashedFile, "open", refuse)
    assert run(names, tmp_path / "out", NO_AUDIO, verify=True).failed == 1
    assert failures(tmp_path / "out") == {"000.jsonl": "Permission denied"}


def test_a_recording_that_is_gone_is_no_longer_done(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 1)
    run(names, tmp_path / "out", NO_AUDIO)
    os.unlink(names[0])
    assert run(names, tmp_path / "out", NO_AUDIO).failed == 1


def test_of_two_recordings_with_one_folder_the_first_name_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = write_sessions(tmp_path / "in", 2)
    monkeypatch.setattr(job, "folder_name", lambda name: "same-00000000")
    summary = run(names[::-1], tmp_path / "out", NO_AUDIO)
    assert (summary.recordings, summary.done, summary.failed) == (2, 1, 1)
    assert failures(tmp_path / "out") == {
        "001.jsonl": f"its folder is that of {names[0]}: replay it to another place"
    }


def test_a_failure_is_tried_again(tmp_path: Path) -> None:
    path, out = tmp_path / "a.jsonl", tmp_path / "out"
    assert run([str(path)], out, NO_AUDIO).failed == 1
    assert failures(out) == {"a.jsonl": "No such file or directory"}
    write_session(path)
    assert run([str(path)], out, NO_AUDIO).done == 1
    assert failures(out) == {}


def test_bad_files_are_named_and_the_rest_is_done(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 2)
    (tmp_path / "in" / "broken.jsonl").symlink_to(tmp_path / "nowhere")
    cut = tmp_path / "in" / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(Path(names[0]).read_bytes())[:-9])
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    summary = run([str(tmp_path / "in"), str(tmp_path / "empty")], out, Output())
    assert (summary.recordings, summary.done, summary.failed) == (5, 2, 3)
    assert failures(out) == {
        "broken.jsonl": "a broken link, or no regular file",
        "cut.jsonl.gz": "truncated gzip stream; with salvage, what can be read is kept",
        "empty": "there are no recordings here",
    }
    assert len(os.listdir(out)) == 3  # two folders, and the journal


def test_salvage_is_marked_in_the_journal(tmp_path: Path) -> None:
    (name,) = write_sessions(tmp_path / "in", 1)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(Path(name).read_bytes())[:-9])
    summary = run([str(cut)], tmp_path / "out", Output(salvage=True))
    assert (summary.done, summary.partial, summary.problems) == (1, 1, 1)


def test_an_error_that_nobody_foresaw_is_the_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = write_sessions(tmp_path / "in", 2)
    replay = job.replay

    def fail(recording: Any, *args: Any, **options: Any) -> Any:
        if recording.name == names[0]:
            raise ZeroDivisionError("a defect")
        return replay(recording, *args, **options)

    monkeypatch.setattr(job, "replay", fail)
    assert run(names, tmp_path / "out", NO_AUDIO).done == 1
    assert failures(tmp_path / "out") == {"000.jsonl": "ZeroDivisionError: a defect"}


def test_a_job_ends_at_too_many_bad_files(tmp_path: Path) -> None:
    names = [str(tmp_path / f"none-{number}") for number in range(5)]
    write_session(tmp_path / "z.jsonl")
    summary = run([*names, str(tmp_path / "z.jsonl")], tmp_path / "out", NO_AUDIO, max_bad_files=2)
    assert (summary.failed, summary.left) == (3, 3)
    assert summary.stopped == "more than 2 bad files"


def test_a_job_ends_at_too_many_bad_lines(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(b"nonsense\n" * 2)
    summary = run([str(tmp_path)], tmp_path / "out", NO_AUDIO, max_bad_lines=3)
    assert (summary.done, summary.problems, summary.left) == (2, 4, 1)
    assert summary.stopped == "more than 3 bad lines"


def test_a_limit_counts_what_is_not_there(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 1)
    summary = run([*names, "no*such"], tmp_path / "out", NO_AUDIO, max_bad_files=0)
    assert (summary.done, summary.failed, summary.left) == (0, 1, 1)


def test_a_bad_argument_that_is_given_twice_is_bad_once(tmp_path: Path) -> None:
    summary = run(["no*such", "no*such"], tmp_path / "out", NO_AUDIO)
    assert (summary.recordings, summary.failed) == (1, 1)


def test_progress_tells_of_every_recording_once(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 3)
    run(names[:1], tmp_path / "out", NO_AUDIO)
    told: list[tuple[str, int]] = []

    def tell(summary: Summary, row: Row) -> None:
        told.append((Path(row.recording).name, summary.left))

    run([*names, "none"], tmp_path / "out", NO_AUDIO, progress=tell)
    assert sorted(told) == [("000.jsonl", 3), ("001.jsonl", 2), ("002.jsonl", 1), ("none", 0)]


def test_a_pipe_is_read_by_this_process_and_never_counts_as_done(tmp_path: Path) -> None:
    (name,) = write_sessions(tmp_path / "in", 1)
    data = Path(name).read_bytes()
    for _ in range(2):
        reader, writer = os.pipe()
        os.write(writer, data[:60_000].rpartition(b"\n")[0])
        os.close(writer)
        summary = run([f"/dev/fd/{reader}"], tmp_path / "out", NO_AUDIO, jobs=2)
        os.close(reader)
        assert (summary.done, summary.skipped, summary.problems) == (1, 0, 0)


def test_tables_tell_of_all_that_is_done_in_the_folder(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="tables are Parquet files")
    names = write_sessions(tmp_path / "in", 3)
    out = tmp_path / "out"
    run(names[1:], out, NO_AUDIO, tables=True)
    run([names[0], "none"], out, NO_AUDIO, tables=True)
    found = parquet.read_table(out / "sessions.parquet")["recording"].to_pylist()
    assert found == names


def test_a_missing_package_is_named_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(ReplayError, match=r"deltaring\[bulk\]"):
        run([str(tmp_path)], tmp_path / "out", NO_AUDIO)
    assert not (tmp_path / "out").exists()


def test_what_a_job_wrote_is_no_recording_of_the_next_one(tmp_path: Path) -> None:
    write_sessions(tmp_path / "in", 2)
    for _ in range(2):
        summary = run([str(tmp_path / "in")], tmp_path / "in" / "out", NO_AUDIO)
    assert (summary.recordings, summary.skipped) == (2, 2)


def test_one_broken_line_of_a_million_is_named_and_the_rest_decoded(tmp_path: Path) -> None:
    import msgspec

    line = audio_frame(pcm(20), response_id="r", item_id="i") + b"\n"
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.writelines([line * 1_000] * 700)
        file.write(b"{" + line)
        file.writelines([line * 999, *[line * 1_000] * 299])
    summary = run([str(tmp_path / "a.jsonl")], tmp_path / "out", NO_AUDIO)
    assert (summary.done, summary.problems) == (1, 1)
    (path,) = (tmp_path / "out").glob("*/session.json")
    report = msgspec.json.decode(path.read_bytes())
    (error,) = report["errors"]
    assert (error["line"], error["offset"]) == (700_001, 700_000 * len(line))
    assert error["reason"].startswith("not valid JSON")
    assert (report["frames"]["audio"], report["items"][0]["samples"]) == (999_999, 10 * 999_999)


# --- wherever it works ----------------------------------------------------------------------------


def test_the_same_files_come_about_wherever_it_works(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 12)
    Path(names[3]).write_bytes(b"nonsense\n")
    shuffled = random.Random(1).sample(names, len(names))
    run([*names, "none"], tmp_path / "one", Output())
    run([*names, "none"], tmp_path / "two", Output(), jobs=2)
    run(["none", *shuffled], tmp_path / "shuffled", Output(), jobs=2)
    with ThreadPoolExecutor(2) as executor:
        run([*names, "none"], tmp_path / "threads", Output(), jobs=2, executor=executor)
    expected = tree(tmp_path / "one")
    assert len(expected) > 60
    for other in ("two", "shuffled", "threads"):
        assert tree(tmp_path / other) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is POSIX's")
def test_a_full_disk_leaves_nothing_partial(tmp_path: Path) -> None:
    names = write_sessions(tmp_path / "in", 2)
    big = audio_frame(pcm(120_000), response_id="r", item_id="i") + b"\n"
    Path(names[1]).write_bytes(big * 3)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from deltaring.job import run; from deltaring.journal import Output\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "run(sys.argv[2:], Path(sys.argv[1]), Output())"
    )
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-c", code, str(out), *names], check=True)
    assert failures(out) == {"001.jsonl": "File too large"}
    assert run(names, out, Output()).done == 1
    run(names, tmp_path / "reference", Output())
    assert tree(out) == tree(tmp_path / "reference")


# --- killed ---------------------------------------------------------------------------------------

LONG = bool(os.environ.get("DELTARING_LONG"))
WORKER_KILLS, PARENT_KILLS, SESSIONS = (20, 10, 1_000) if LONG else (3, 2, 80)

JOB = """
import sys
from pathlib import Path
from deltaring.job import run
from deltaring.journal import Output

if __name__ == "__main__":
    summary = run([sys.argv[1]], Path(sys.argv[2]), Output(), jobs=2)
    print(summary.done, summary.skipped, summary.failed)
"""


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("jobs")
    write_sessions(folder / "in", SESSIONS)
    run([str(folder / "in")], folder / "expected", Output(), jobs=2)
    (folder / "job.py").write_text(JOB)
    return folder


def start(folder: Path, out: Path) -> "subprocess.Popen[str]":
    arguments = [sys.executable, str(folder / "job.py"), str(folder / "in"), str(out)]
    environment = environment_with(ROOT)
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def children(pid: int) -> list[int]:
    """The processes that a process has started, workers and others."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []


def workers(pid: int) -> list[int]:
    return [child for child in children(pid) if b"spawn_main" in command(child)]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def at_work(process: "subprocess.Popen[str]", out: Path, more: int) -> bool:
    """Wait until so many more recordings are done; tell whether the job is still at work."""
    wanted = count_lines(out) + more
    deadline = time.monotonic() + 60
    while process.poll() is None and count_lines(out) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return process.poll() is None


def count_lines(out: Path) -> int:
    try:
        return (out / JOURNAL).read_bytes().count(b"\n")
    except OSError:
        return 0


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="workers are looked for in /proc"
)


@needs_proc
def test_killed_workers_cost_nothing(sessions: Path, tmp_path: Path) -> None:
    out, draw, killed = tmp_path / "out", random.Random(3), 0
    with start(sessions, out) as process:
        while killed < WORKER_KILLS:
            assert at_work(process, out, draw.randint(1, SESSIONS // WORKER_KILLS // 2))
            if victims := workers(process.pid):
                os.kill(draw.choice(victims), signal.SIGKILL)
                killed += 1
        assert process.stdout is not None
        assert process.stdout.read() == f"{SESSIONS} 0 0\n"
    assert tree(out) == tree(sessions / "expected")


@needs_proc
def test_a_killed_job_goes_on_where_it_was(sessions: Path, tmp_path: Path) -> None:
    out, draw = tmp_path / "out", random.Random(4)
    orphans: list[int] = []
    for _ in range(PARENT_KILLS):
        with start(sessions, out) as process:
            assert at_work(process, out, draw.randint(1, SESSIONS // PARENT_KILLS // 2))
            orphans += children(process.pid)
            process.kill()
    before = count_lines(out)
    with start(sessions, out) as process:
        assert process.stdout is not None
        done, skipped, failed = map(int, process.stdout.read().split())
    assert (done + skipped, failed) == (SESSIONS, 0)
    assert skipped == before
    assert tree(out) == tree(sessions / "expected")
    deadline = time.monotonic() + 30
    while any(command(pid) for pid in orphans):  # a zombie has no command
        assert time.monotonic() < deadline
        time.sleep(0.01)
