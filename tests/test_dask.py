"""Dask's own executor takes jobs: there is no code for it in the package."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from deltaring import job
from deltaring.job import run
from deltaring.journal import Failed, Journal, Output
from deltaring.workers import on_executor
from tests.jobs import replay_or_die, tree, wait_to_be_killed, wait_until, write_sessions
from tests.test_workers import refuse_odd, results

distributed = pytest.importorskip("distributed", reason="this is about clusters of Dask")
pytest.importorskip("xxhash", reason="a job needs the bulk extra")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def executor(client: Any) -> Executor:
    # Pure calls are made once: the same task again would get its old result.
    executor: Executor = client.get_executor(pure=False)
    return executor


# Workers import these functions from here.


def test_a_job_writes_the_same_as_one_process(executor: Executor, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables need the tables extra")
    names = write_sessions(tmp_path / "in", 40)
    output = Output(events=True)
    run(names, tmp_path / "expected", output, tables=True)
    summary = run(names, tmp_path / "out", output, tables=True, executor=executor, jobs=2)
    assert summary.done == 40
    assert tree(tmp_path / "out") == tree(tmp_path / "expected")


def test_a_recording_that_kills_its_worker_is_given_up_by_name(
    client: Any, executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, out = write_sessions(tmp_path / "in", 10), tmp_path / "out"
    others = [name for name in names if not name.endswith("007.jsonl")]
    run(others, tmp_path / "expected", Output())
    monkeypatch.setattr(job, "replay_one", replay_or_die)
    run(names, out, Output(), executor=executor, jobs=2)
    with Journal(out) as journal:
        failed = {row.recording: row.reason for row in journal.rows() if isinstance(row, Failed)}
    assert names[7] in failed
    for reason in failed.values():
        assert reason.startswith("KilledWorker: ")
        assert "\n" not in reason
    # Dask holds a worker's death against what waited there, too, so others may have failed.
    run(others, out, Output(), executor=executor, jobs=2)
    # It also repeats calls whose results it lost, though they were told by then.
    wait_until(lambda: not any(client.processing().values()))
    with Journal(out) as journal:
        journal.forget(names[7])
        journal.sort()
    assert tree(out) == tree(tmp_path / "expected")


def test_a_worker_that_is_killed_at_work_loses_nothing(executor: Executor, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    future = executor.submit(wait_to_be_killed, str(marker))
    wait_until(marker.exists)
    os.kill(int(marker.read_text()), signal.SIGKILL)
    assert future.result() == str(marker)


def test_what_a_function_raises_arrives_as_itself(executor: Executor) -> None:
    found = results(on_executor(executor, refuse_odd, range(4), 4))
    assert type(found[3]) is ValueError
    assert str(found[3]) == "3 is odd"
    assert found[2] == 2
