"""Workers: one function over many items, on processes, whatever becomes of them.

Rule: every item has exactly one outcome, its result or why there is none, and no process outlives
the one that started it. A worker that is lost costs the item it had at hand another try; one that
loses three of them is at fault itself.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, Self, TypeVar

from deltaring.errors import WorkerLost

Item = TypeVar("Item")

STRIKES = 3
"""How often an item may lose its worker before it is given up. A system that runs short of memory
kills the wrong process once, and hardly three times."""

AHEAD = 2
"""Items for each worker that are handed out: one at work, and one to go on with."""

_CANNOT_START = (
    "new processes end before they work; a script that runs a job needs "
    "`if __name__ == '__main__':` around it"
)


class Outcome(NamedTuple):
    """What became of an item."""

    item: Any
    result: Any
    """None where there is an error."""
    error: BaseException | None
    """What the function raised; WorkerLost where its workers died of the item."""


def in_this_process(
    function: Callable[[Item], object], items: Iterable[Item]
) -> Generator[Outcome, None, None]:
    """Yield the outcomes of `function` over `items`, in order."""
    for item in items:
        try:
            outcome = Outcome(item, function(item), None)
        except Exception as error:  # noqa: BLE001 - it is the item's outcome, as elsewhere
            outcome = Outcome(item, None, error)
        yield outcome


def on_processes(
    function: Callable[[Item], object], items: Iterable[Item], jobs: int
) -> Generator[Outcome, None, None]:
    """Yield the same from `jobs` new processes, or fewer where there is less to do, in any order.

    The function and its results are pickled, and it may be called again for an item whose worker
    was lost. Who stops early has the workers ended, whatever they are at.

    Raises WorkerLost if workers cannot start.
    """
    left, again = iter(items), deque[_Try]()
    running: dict[Future[object], _Worker] = {}
    false_starts, proven = 0, False
    with ExitStack() as stack:
        workers: list[_Worker] = []
        while True:
            while len(running) < AHEAD * jobs and (attempt := _next(left, again)) is not None:
                if len(workers) < jobs:
                    workers.append(stack.enter_context(_Worker()))
                worker = min(workers, key=lambda worker: len(worker.tries))
                running[worker.submit(function, attempt)] = worker
            if not running:
                return
            future = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
            worker = running.pop(future)
            if not isinstance(future.exception(), BrokenExecutor):
                proven = True
                yield _outcome(worker.tries.pop(future).item, future)
                continue
            tries = _lost(worker, running)
            began = worker.replace()
            false_starts += not (began or proven)
            if false_starts == STRIKES:
                raise WorkerLost(_CANNOT_START)
            again.extend(tries[1:])  # the first was at work
            if tries[0].strikes + began < STRIKES:
                again.append(_Try(tries[0].item, tries[0].strikes + began))
            else:
                reason = f"it killed its worker {STRIKES} times"
                yield Outcome(tries[0].item, None, WorkerLost(reason))


def on_executor(
    executor: Executor, function: Callable[[Item], object], items: Iterable[Item], ahead: int
) -> Generator[Outcome, None, None]:
    """Yield the same from an executor that replaces lost workers by itself, as clusters' do.

    ahead: items that are handed out at a time; AHEAD for each worker keep all of them busy.

    Raises BrokenExecutor if the executor itself breaks down: it takes no more items then.
    """
    left = iter(items)
    running: dict[Future[object], Item] = {}
    try:
        while True:
            for item in left:
                running[executor.submit(function, item)] = item
                if len(running) >= ahead:
                    break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                if isinstance(error := future.exception(), BrokenExecutor):
                    raise error
                yield _outcome(running.pop(future), future)
    finally:  # who stops early waits for the items at work, and no longer
        wait([future for future in running if not future.cancel()])


def _lost(worker: "_Worker", running: "dict[Future[object], _Worker]") -> "list[_Try]":
    """Take from a lost worker what it had at hand, and return it in order."""
    lost = [future for future in worker.tries if isinstance(future.exception(), BrokenExecutor)]
    for future in lost:
        running.pop(future, None)
    return [worker.tries.pop(future) for future in lost]


class _Try(NamedTuple):
    """An item that has lost so many workers."""

    item: Any
    strikes: int


def _next(left: Iterator[Any], again: "deque[_Try]") -> _Try | None:
    """Return what is to be tried next; None where nothing is left."""
    if again:
        return again.popleft()
    for item in left:
        return _Try(item, 0)
    return None


def _outcome(item: object, future: "Future[object]") -> Outcome:
    error = future.exception()
    return Outcome(item, None if error else future.result(), error)


class _Worker:
    """One process, and another one when that is lost.

    Each is a pool of its own: the workers of one pool share locks, and one that is killed while it
    holds them leaves the others, and the pool's shutdown, waiting for ever (CPython 3.11).
    """

    def __init__(self) -> None:
        self.tries: dict[Future[object], _Try] = {}
        """What it has at hand, in order: the first is at work."""
        self._start()

    def _start(self) -> None:
        # Spawned, not forked: a fork takes threads' locks along, held by nobody to release them.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_begin)
        with _interrupts_ignored():
            self._pid = self._pool.submit(os.getpid)  # the first call starts the process

    def submit(self, function: Callable[[Any], object], attempt: _Try) -> "Future[object]":
        future: Future[object]
        try:
            future = self._pool.submit(function, attempt.item)
        except BrokenExecutor as error:  # it was lost since the last look
            future = Future()
            future.set_exception(error)
        self.tries[future] = attempt
        return future

    def replace(self) -> bool:
        """Start another process for one that was lost; return whether that had begun to work."""
        with _interrupts_ignored():
            self._pool.shutdown()
        began = self._pid.exception() is None
        self._start()
        return began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process: nothing that it is at can come to harm."""
        with _interrupts_ignored():
            with suppress(BrokenExecutor, ProcessLookupError):
                self._pool.submit(os.getpid)  # refused if the process is lost, its number free
                if self._pid.done():
                    os.kill(self._pid.result(), signal.SIGTERM)
            self._pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore SIGINT for some milliseconds, in processes that are started meanwhile for good.

    Ctrl-C reaches all processes of a terminal; and a shutdown that it interrupts never ends (3.11).
    """
    if threading.current_thread() is not threading.main_thread():  # who may not set handlers
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _begin() -> None:
    """Let the parent alone decide when this process ends: also when it was killed itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_exit, args=(parent,), daemon=True).start()


def _wait_and_exit(parent: Any) -> None:
    parent.join()
    os._exit(1)
