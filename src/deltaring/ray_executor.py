"""RayExecutor: a Ray cluster as a `concurrent.futures` executor.

Rule: a future is done no sooner than Ray is with its task, so who has waited finds nothing at work.
What the function raised arrives as itself, and a worker's death as one sentence.
"""

import logging
import os
import socket
from collections.abc import Callable
from concurrent import futures
from contextlib import chdir
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from deltaring.errors import ReplayError, WorkerLost
from deltaring.workers import STRIKES

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # lines that are not printed: it tells each lost worker
}
"""What Ray reads from the environment, as it is imported; the user's own settings come first."""

_STORE = 100 << 20
"""Bytes of shared memory for results: a row has less than 1 KB, and Ray takes no less than 75 MB
(where it is not told, a third of all memory)."""

_PATIENCE = 10.0
"""Seconds until an address counts as wrong. Ray itself tries for ten minutes and more."""


class RayExecutor(futures.Executor):
    """Calls functions on a Ray cluster, one at a time for each CPU.

        with RayExecutor("auto") as executor:
            run(recordings, out, Output(), executor=executor, jobs=executor.workers)

    All nodes need the same version of deltaring, and the same paths: a file system that they share,
    or URLs for what is read. A function is called in the folder in which this was made, and is
    pickled by its name, so its module must be installed there, too. Results should be small.

    A call whose worker or node is lost is made again. Its future raises WorkerLost if that was the
    third time, and else what the function raised.
    """

    def __init__(self, address: str, *, workers: int | None = None) -> None:
        """Join a cluster, or start one on this machine.

        A Ray that the program has initialised is used in its place, and outlives this.

        address: "local" for a new one here; else as `ray.init` takes it: "auto", "host:6379", or
            "ray://host:10001" from a machine that is not in the cluster.
        workers: CPUs of a new one, by default all that there are; of another cluster, how many this
            may count on, by default those that it has now.

        Raises ReplayError if there is no Ray at the address, or the package is missing.
        """
        self._ray = ray = _import_ray()
        self._connected = not ray.is_initialized()
        """By this object, which then has to disconnect."""
        if self._connected:
            _connect(ray, address, workers)
        self.workers: int = workers or int(ray.cluster_resources().get("CPU", 0)) or 1
        """How many calls are made at a time."""
        self._call = ray.remote(max_retries=STRIKES - 1)(_call)  # Ray does not count the first try
        self._folder = os.getcwd()
        self._futures: set[_Future] = set()
        self._closed = False

    def submit(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> futures.Future[Result]:
        """Have a function called by some worker; return the future of its result.

        What Ray has is never certain to be withdrawn: the future's `cancel` has Ray stop the call,
        and returns False. It is cancelled as soon as it was stopped.
        """
        if self._closed:
            raise RuntimeError("the executor has been shut down")
        ref = self._call.remote(self._folder, function, args, kwargs)
        future = _Future(self._ray, ref)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, wait for those that were made, and stop or leave the cluster.

        wait: False returns at once, and leaves the cluster connected until the program ends.
        cancel_futures: have Ray stop the calls.
        """
        self._closed = True
        if cancel_futures:
            for future in self._futures.copy():
                future.cancel()
        if not wait:
            return
        futures.wait(self._futures.copy())
        if self._connected:
            self._connected = False
            self._ray.shutdown()


class _Future(futures.Future[Any]):
    """The future of a Ray task."""

    def __init__(self, ray: Any, ref: Any) -> None:
        super().__init__()
        self._ray = ray
        self._ref = ref
        ref.future().add_done_callback(self._settle)

    def cancel(self) -> bool:
        if not self.done():
            self._ray.cancel(self._ref)
        return self.cancelled()

    def _settle(self, answer: "futures.Future[Any]") -> None:
        """Take over what Ray answered. Called on a thread of Ray's."""
        errors = self._ray.exceptions
        error = _plain(errors, answer.exception())
        if isinstance(error, errors.TaskCancelledError):
            super().cancel()
            self.set_running_or_notify_cancel()
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(answer.result())


def _plain(errors: Any, error: BaseException | None) -> BaseException | None:
    """Return what the function raised; a short sentence where its worker was lost."""
    if isinstance(error, errors.RayTaskError):
        error = error.cause
    if isinstance(error, errors.WorkerCrashedError):
        return WorkerLost(f"it lost its worker {STRIKES} times")
    if isinstance(error, errors.OutOfMemoryError):
        return WorkerLost("its worker ran out of memory")
    if isinstance(error, errors.NodeDiedError):
        return WorkerLost("its node was lost")
    return error


def _call(
    folder: str, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> object:
    """Call a function; runs on a worker."""
    with chdir(folder):  # a worker's own is where its node was started
        return function(*args, **kwargs)


def _connect(ray: Any, address: str, workers: int | None) -> None:
    options: dict[str, Any] = dict(log_to_driver=False, logging_level=logging.ERROR)
    if address == "local":
        options |= dict(
            num_cpus=workers, num_gpus=0, include_dashboard=False, object_store_memory=_STORE
        )
    try:
        _reach(address)
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())  # some of Ray's take several lines
        raise ReplayError(f"no Ray at {address!r}: {reason}") from error


def _reach(address: str) -> None:
    """Raise OSError where nothing listens at a host and port, ValueError where it is neither."""
    at = urlsplit(address if "//" in address else f"//{address}")
    if at.hostname is not None and at.port is not None:
        socket.create_connection((at.hostname, at.port), _PATIENCE).close()


def _import_ray() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ReplayError("a Ray cluster needs Ray: pip install 'deltaring[ray]'") from None
    return ray
