import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deltaring.errors import WorkerLost
from deltaring.workers import (
    STRIKES,
    Outcome,
    _Try,
    _Worker,
    in_this_process,
    on_executor,
    on_processes,
)
from tests.command import environment_with
from tests.conftest import ROOT

# Workers are processes of their own: they import these functions from here.


def double(number: int) -> int:
    return 2 * number


def refuse_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def die_at(item: tuple[int, int]) -> int:
    number, deadly = item
    if number == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def note_and_die(notes: str) -> None:
    with Path(notes).open("a") as file:
        file.write("begun\n")
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker


def name_yourself(folder: str) -> int:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(0.05)
    return os.getpid()


def sleep_but_first(marker: str) -> int:
    if marker:
        Path(marker + ".part").write_text(str(os.getpid()))
        Path(marker + ".part").rename(marker)
        time.sleep(3_600)
    return os.getpid()


def results(outcomes: Iterator[Outcome]) -> dict[object, object]:
    found: dict[object, object] = {}
    for item, result, error in outcomes:
        assert item not in found
        found[item] = error if error is not None else result
    return found


def test_every_item_has_its_result() -> None:
    assert results(on_processes(double, range(50), 2)) == {n: 2 * n for n in range(50)}


def test_in_this_process_outcomes_come_in_order_errors_too() -> None:
    outcomes = list(in_this_process(refuse_odd, [2, 1, 0]))
    assert [(item, result, str(error)) for item, result, error in outcomes] == [
        (2, 2, "None"),
        (1, None, "1 is odd"),
        (0, 0, "None"),
    ]


def test_any_thread_may_have_workers() -> None:
    with ThreadPoolExecutor(1) as executor:
        found = executor.submit(lambda: results(on_processes(double, range(3), 1))).result()
    assert found == {0: 0, 1: 2, 2: 4}


def test_a_worker_that_was_lost_takes_no_more_and_says_so() -> None:
    with _Worker() as worker:
        os.kill(worker._pid.result(), signal.SIGKILL)
        while worker.submit(double, _Try(1, 0)).exception() is None:
            pass
        future = worker.submit(double, _Try(2, 0))
        assert isinstance(future.exception(), BrokenExecutor)
        assert worker.tries[future].item == 2
        assert worker.replace()
        assert worker.submit(double, _Try(3, 0)).result() == 6


def test_an_executor_that_breaks_down_is_no_outcome() -> None:
    class Broken(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            future: Future[object] = Future()
            future.set_exception(BrokenExecutor("no nodes are left"))
            return future

    with Broken(1) as executor, pytest.raises(BrokenExecutor, match="no nodes are left"):
        next(on_executor(executor, double, range(3), 2))


def test_no_items_have_no_outcome() -> None:
    assert results(on_processes(double, [], 2)) == {}


@pytest.mark.parametrize("way", [in_this_process, partial(on_processes, jobs=2)])
def test_what_a_function_raises_is_its_outcome(way: Callable[..., Iterator[Outcome]]) -> None:
    found = results(way(refuse_odd, range(4)))
    assert {n: str(found[n]) for n in (1, 3)} == {1: "1 is odd", 3: "3 is odd"}
    assert (found[0], found[2]) == (0, 2)


def test_no_more_processes_are_started_than_there_are_items(tmp_path: Path) -> None:
    list(on_processes(name_yourself, [str(tmp_path)], 50))
    assert len(multiprocessing.active_children()) == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(1_000):
            taken.append(number)
            yield number

    outcomes = on_executor(ThreadPoolExecutor(1), double, items(), 4)
    next(outcomes)
    assert len(taken) <= 8


def test_a_lost_worker_costs_a_second_try(tmp_path: Path) -> None:
    markers = [str(tmp_path / str(number)) for number in range(6)]
    assert results(on_processes(die_once, markers, 2)) == {marker: marker for marker in markers}


def test_an_item_that_kills_its_worker_is_given_up() -> None:
    items = [(number, 7) for number in range(15)]
    found = results(on_processes(die_at, items, 2))
    assert isinstance(found.pop((7, 7)), WorkerLost)
    assert found == {item: item[0] for item in items if item[0] != 7}
    assert STRIKES == 3


def test_an_item_that_kills_its_worker_is_tried_three_times(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    (outcome,) = on_processes(note_and_die, [str(notes)], 1)
    assert isinstance(outcome.error, WorkerLost)
    assert notes.read_text().split() == ["begun"] * STRIKES


def test_workers_that_are_killed_from_outside_lose_nothing(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(40)]
    for folder in folders:
        folder.mkdir()
    found: dict[object, object] = {}
    killed = 0
    for item, result, error in on_processes(name_yourself, map(str, folders), 2):
        assert error is None
        assert item not in found
        found[item] = result
        if len(found) % 8 == 0:
            running = [int(entry.name) for folder in folders for entry in folder.iterdir()]
            killed += kill_one_of(running)
    assert len(found) == 40
    assert killed >= 2


def test_a_worker_that_is_killed_at_the_end_holds_up_nothing(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        for count, _ in enumerate(on_processes(name_yourself, [str(folder)] * 6, 2), 1):
            if count == 6:
                kill_one_of([int(entry.name) for entry in folder.iterdir()])


def test_who_stops_early_waits_for_nothing(tmp_path: Path) -> None:
    marker = str(tmp_path / "pid")
    outcomes = on_processes(sleep_but_first, ["", marker], 2)
    first = next(outcomes).result
    while not Path(marker).exists():
        time.sleep(0.01)
    outcomes.close()  # it would take an hour
    pids = [first, int(Path(marker).read_text())]
    assert all(is_zombie(pid) for pid in pids)


def test_workers_that_cannot_start_are_not_the_items_fault(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PARENT.replace('if __name__ == "__main__":', "if True:"))
    command = [sys.executable, str(script), str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment_with(ROOT), check=False
    )
    assert result.returncode == 1
    assert "WorkerLost: new processes end before they work" in result.stderr
    assert result.stdout == ""


def kill_one_of(pids: list[int]) -> bool:
    for pid in reversed(pids):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        return True
    return False


PARENT = """
import sys
from deltaring.workers import on_processes
from tests.test_workers import name_yourself

if __name__ == "__main__":
    for outcome in on_processes(name_yourself, [sys.argv[1]] * 10_000, 2):
        print(outcome.result, flush=True)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked for in /proc")
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    folder = tmp_path / "pids"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdout=subprocess.PIPE,
        env=environment_with(ROOT),
    ) as parent:
        assert parent.stdout is not None
        while len(list(folder.iterdir())) < 2:
            assert parent.stdout.readline()
        parent.kill()
    workers = [int(entry.name) for entry in folder.iterdir()]
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_an_executor_of_the_users_own_will_do() -> None:
    with ThreadPoolExecutor(2) as executor:
        assert results(on_executor(executor, double, range(9), 4)) == {n: 2 * n for n in range(9)}
