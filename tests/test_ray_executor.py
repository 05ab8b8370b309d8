import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaring import job
from deltaring.errors import ReplayError, WorkerLost
from deltaring.job import run
from deltaring.journal import Failed, Journal, Output
from deltaring.ray_executor import RayExecutor
from deltaring.workers import STRIKES, on_executor
from tests.command import environment_with
from tests.conftest import ROOT
from tests.jobs import replay_or_die, tree, wait_to_be_killed, wait_until, write_sessions
from tests.test_workers import die_once, refuse_odd, results

ray = pytest.importorskip("ray", reason="this is about clusters of Ray")
pytest.importorskip("xxhash", reason="a job needs the bulk extra")


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    with RayExecutor("local", workers=2) as executor:
        yield executor


# Workers import these functions from here.


def die_each_time(marker: str) -> None:
    with Path(marker).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def work_on(marker: str) -> str:
    """Work for a minute, or not at all as "first". As long as it works, there is a file."""
    if marker.endswith("first"):
        return marker
    Path(marker).touch()
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            pass
    finally:
        Path(marker).unlink()
    Path(marker + "-done").touch()
    return marker


def fail(error: Exception) -> None:
    raise error


QUIET = {"RAY_USAGE_STATS_ENABLED", "RAY_DEDUP_LOGS_SKIP_REGEX"}  # set in this process by now


# --- jobs -----------------------------------------------------------------------------------------


def test_a_job_writes_the_same_as_one_process(executor: RayExecutor, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables need the tables extra")
    names = write_sessions(tmp_path / "in", 40)
    output = Output(events=True)
    run(names, tmp_path / "expected", output, tables=True)
    out = tmp_path / "out"
    summary = run(names, out, output, tables=True, executor=executor, jobs=executor.workers)
    assert summary.done == 40
    assert tree(out) == tree(tmp_path / "expected")


def test_a_recording_that_kills_its_worker_is_given_up_by_name(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = write_sessions(tmp_path / "in", 10)
    others = [name for name in names if not name.endswith("007.jsonl")]
    run(others, tmp_path / "expected", Output())
    monkeypatch.setattr(job, "replay_one", replay_or_die)
    run(names, tmp_path / "out", Output(), executor=executor, jobs=executor.workers)
    with Journal(tmp_path / "out") as journal:
        assert journal.row(names[7]) == Failed(
            recording=names[7], reason=f"it lost its worker {STRIKES} times"
        )
        journal.forget(names[7])
        journal.sort()
    assert tree(tmp_path / "out") == tree(tmp_path / "expected")


JOIN = """
import sys
from pathlib import Path
from deltaring.job import run
from deltaring.journal import Output
from deltaring.ray_executor import RayExecutor

with RayExecutor(sys.argv[1]) as executor:
    run(["in"], Path("out"), Output(), executor=executor, jobs=executor.workers)
    print(executor.workers)
"""


def test_a_cluster_may_be_joined_from_another_folder(executor: RayExecutor, tmp_path: Path) -> None:
    write_sessions(tmp_path / "in", 4)
    address = ray.get_runtime_context().gcs_address
    assert output_of(JOIN, address, folder=tmp_path) == "2\n"
    assert len(list((tmp_path / "out").rglob("session.json"))) == 4
    assert executor.submit(abs, -1).result() == 1


def output_of(script: str, *arguments: str, folder: Path, mark: str = "") -> str:
    """Return what a script prints; it may print nothing to standard error.

    mark: stands in the environment of the script, and of what it starts.
    """
    own = {name: value for name, value in environment_with(ROOT).items() if name not in QUIET}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        cwd=folder,
        env={**own, "MARK": mark},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- workers --------------------------------------------------------------------------------------


def test_what_a_function_raises_arrives_as_itself(executor: RayExecutor) -> None:
    error = executor.submit(refuse_odd, 3).exception()
    assert type(error) is ValueError
    assert str(error) == "3 is odd"


def test_lost_workers_cost_a_second_try(executor: RayExecutor, tmp_path: Path) -> None:
    markers = [str(tmp_path / str(number)) for number in range(4)]
    found = results(on_executor(executor, die_once, markers, 4))
    assert found == {marker: marker for marker in markers}


def test_a_worker_that_is_killed_at_work_loses_nothing(
    executor: RayExecutor, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    future = executor.submit(wait_to_be_killed, str(marker))
    wait_until(marker.exists)
    os.kill(int(marker.read_text()), signal.SIGKILL)
    assert future.result() == str(marker)


def test_who_has_lost_its_worker_three_times_is_given_up(
    executor: RayExecutor, tmp_path: Path
) -> None:
    error = executor.submit(die_each_time, str(tmp_path / "tries")).exception()
    assert isinstance(error, WorkerLost)
    assert (tmp_path / "tries").read_text() == "x" * STRIKES


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("OutOfMemoryError", "its worker ran out of memory"), ("NodeDiedError", "its node was lost")],
)
def test_what_else_was_lost_is_told_in_a_sentence(
    executor: RayExecutor, kind: str, sentence: str
) -> None:
    error = executor.submit(fail, getattr(ray.exceptions, kind)("more\nthan a line")).exception()
    assert isinstance(error, WorkerLost)
    assert str(error) == sentence


# --- the end --------------------------------------------------------------------------------------


def test_who_stops_early_leaves_nothing_at_work(executor: RayExecutor, tmp_path: Path) -> None:
    markers = [str(tmp_path / name) for name in ("first", "second", "third", "fourth")]
    outcomes = on_executor(executor, work_on, markers, 4)
    assert next(outcomes).item == markers[0]
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    outcomes.close()
    assert list(tmp_path.iterdir()) == []


def test_shutdown_cancels_what_was_submitted(executor: RayExecutor, tmp_path: Path) -> None:
    guest = RayExecutor("local")
    futures = [guest.submit(work_on, str(tmp_path / str(number))) for number in range(4)]
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    guest.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    assert list(tmp_path.iterdir()) == []


def test_shutdown_waits_for_what_was_submitted(executor: RayExecutor) -> None:
    with RayExecutor("local") as guest:
        futures = [guest.submit(abs, -number) for number in range(9)]
    assert [future.result(timeout=0) for future in futures] == list(range(9))


def test_a_shutdown_may_leave_what_was_submitted_at_work(executor: RayExecutor) -> None:
    guest = RayExecutor("local")
    future = guest.submit(abs, -1)
    guest.shutdown(wait=False)
    assert future.result(timeout=60) == 1
    assert not future.cancel()  # it is done


def test_nothing_is_taken_after_the_shutdown(executor: RayExecutor) -> None:
    guest = RayExecutor("local")
    guest.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        guest.submit(abs, -1)


def test_a_ray_that_was_initialised_already_outlives_the_executor(executor: RayExecutor) -> None:
    with RayExecutor("local", workers=7) as guest:
        assert guest.workers == 7
    assert ray.is_initialized()
    assert executor.submit(abs, -1).result() == 1


LOCAL = """
import os
from deltaring.errors import WorkerLost
from deltaring.ray_executor import RayExecutor
from tests.test_workers import die_at

with RayExecutor("local", workers=2) as executor:
    assert type(executor.submit(die_at, (1, 1)).exception()) is WorkerLost
    print(executor.submit(os.getenv, "MARK").result())

import ray  # as late as the executor does: what is not to be printed is read at the import
print(ray.is_initialized())
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked for in /proc")
def test_a_local_cluster_prints_nothing_and_leaves_no_process(tmp_path: Path) -> None:
    mark = str(uuid.uuid4())
    assert output_of(LOCAL, folder=tmp_path, mark=mark) == f"{mark}\nFalse\n"
    wait_until(lambda: not any(has(path, mark) for path in Path("/proc").glob("[0-9]*/environ")))


def has(path: Path, mark: str) -> bool:
    try:
        return mark.encode() in path.read_bytes()
    except OSError:  # it has ended meanwhile, or is another user's
        return False


# --- addresses ------------------------------------------------------------------------------------

MISSING = """
import sys
from deltaring.errors import ReplayError
from deltaring.ray_executor import RayExecutor

for address in sys.argv[1:]:
    try:
        RayExecutor(address)
    except ReplayError as error:
        print(error)
"""


def test_an_address_without_ray_is_named(tmp_path: Path) -> None:
    addresses = ["127.0.0.1:1", "ray://127.0.0.1:1", "localhost:port", "nonsense"]
    lines = output_of(MISSING, *addresses, folder=tmp_path).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        f"no Ray at {address!r}" for address in addresses
    ]


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ReplayError, match=r"needs Ray: pip install 'deltaring\[ray\]'"):
        RayExecutor("local")
