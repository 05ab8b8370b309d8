"""The harness of `deltaring bench`: every contender over the same frames, checked, then timed.

Rule: what is compared is measured in the same seconds. A round times each contender once, in an
order that is shuffled anew, and a ratio is the median of the rounds' ratios, which holds even where
the machine's speed drifts. A contender is timed only if its output is right, and is checked again
afterwards. The garbage collector is off while timing, as in timeit.
"""

import gc
import os
import platform
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct, field

from deltaring import kernel
from deltaring.contenders import PARSE, SESSION, TASKS, Contender, caller_buffer
from deltaring.decoder import Decoder
from deltaring.errors import BenchError
from deltaring.track import AudioDelta
from deltaring.verdict import payload, why_wrong, why_wrong_now
from deltaring.workload import Frame, Workload

BASELINE = "json + base64"
"""What Python has on board."""

_HOT = 512 * 1024
"""Bytes of frames that *parse* and *audio* go round: with the memory of the contender they fit into
a second-level cache, as a frame does that a socket has just delivered. *session* takes all."""

_BLOCK_NS = 2_000_000  # of one contender in one round: a thousand times the clock's resolution
_MIN_ROUNDS = 5
_SECONDS = {True: 7.0, False: 45.0}  # per task; a quick run has to end in a minute, imports and all
_CALLS = 256  # at least so many calls are timed one by one in a round, for p99
_TRACED = 1_000  # frames of a session whose allocations are traced: that is slow

Call: TypeAlias = Callable[[bytes], Any]


class Row(Struct):
    """One contender at one task. Times are nanoseconds per frame; None where it was not timed."""

    task: str
    """parse, audio or session"""
    name: str
    status: str
    """ok, wrong or absent"""
    why: str = ""
    """What was wrong, or why it is absent."""
    floor: bool = False
    """Was given the base64 text alone."""
    median_ns: float | None = None
    """Median of the rounds."""
    low_ns: float | None = None
    """10th percentile of the rounds."""
    high_ns: float | None = None
    """90th percentile of the rounds."""
    p99_ns: float | None = None
    """99th percentile of single calls, the clock's own 0.05 to 0.1 us included."""
    ratio: float | None = None
    """How many times as fast as the baseline: the median of the rounds' ratios."""
    allocated_bytes: int | None = None
    """Memory of Python's at the peak of one call, what it returns included: the mean over frames.
    What C++ and Rust libraries allocate for themselves is not seen."""
    realtime: float | None = None
    """Seconds of audio in a second (session only)."""


class Report(Struct):
    """A whole comparison, with all that is needed to read it, and to repeat it."""

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    workload: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    """Task by task; in a task the fastest first, then what was wrong, then what is absent."""
    version: int = 1
    """Of this document's shape."""


def bench(
    workload: Workload,
    contenders: Sequence[Contender],
    *,
    quick: bool = False,
    baseline: str = BASELINE,
    progress: Callable[[str, float], object] = lambda text, done: None,
) -> Report:
    """Check and time `contenders` on `workload`.

    quick: 7 seconds a task in place of 45.
    baseline: the name of the contender that ratios refer to, see `baseline_of`.
    progress: called with what is being done, and how much of all is done (0 to 1).

    Raises BenchError where there are no frames, or no such baseline, or two of one name.
    """
    _refuse(workload, contenders, baseline)
    with _pinned() as cpu:
        tasks = [
            _Task(name, workload, contenders, part / len(TASKS), progress)
            for part, name in enumerate(TASKS)
        ]
        for task in tasks:
            task.run(_SECONDS[quick], baseline)
    settings = {
        "quick": quick,
        "baseline": {task.name: baseline_of(task.name, baseline, task.runs) for task in tasks},
        "gc": "off while timing",
        "pinned_cpu": cpu,
        "rounds": {task.name: task.rounds for task in tasks},
    }
    return Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions=versions(),
        settings=settings,
        workload=_facts(workload),
        rows=[row for task in tasks for row in task.rows()],
    )


def _refuse(workload: Workload, contenders: Sequence[Contender], baseline: str) -> None:
    if not workload.sessions:
        raise BenchError(f"{workload.name}: no frames of a server to measure on")
    for task in TASKS:
        names = [contender.name for contender in contenders if task in contender.tasks]
        for name in names:
            if names.count(name) > 1:
                raise BenchError(f"two contenders have the same name: {name}")
        if names and not baseline_of(task, baseline, names):
            raise BenchError(f"no contender at {task} is called {baseline!r}: {', '.join(names)}")


def baseline_of(task: str, baseline: str, names: Collection[str]) -> str:
    """Return which of `names` the ratios of a task refer to; nothing if there is none.

    A parser stands for itself with a base64 codec, and the other way round: "json" at *parse* is
    "json + base64" at the others.
    """
    parser = "deltaring" if baseline.startswith("deltaring") else baseline.partition(" + ")[0]
    forms = (baseline, parser) if task == PARSE else (baseline, f"{parser} + base64", _OURS)
    known = [form for form in forms if form in names and (form != _OURS or parser == "deltaring")]
    return known[0] if known else ""


_OURS = f"deltaring {kernel.NAME}"


class _Task:
    """One task: its contenders, their verdicts and their times."""

    def __init__(
        self,
        name: str,
        workload: Workload,
        contenders: Sequence[Contender],
        done: float,
        progress: Callable[[str, float], object],
    ) -> None:
        self.name = name
        self.sessions = _frames(name, workload)
        self.size = max((len(frame.data) for frame in workload.frames), default=0)
        self.done, self.progress = done, progress
        self.contenders = [it for it in contenders if name in it.tasks and self.sessions]
        self.why: dict[str, str] = {}
        self.runs: dict[str, _Run] = {}
        self.ratios: dict[str, float] = {}
        self.rounds = 0
        self.seconds = _audio_seconds(self.sessions)

    def run(self, seconds: float, baseline: str) -> None:
        if not self.contenders:
            return
        self._check()
        for contender in self.contenders:
            if not self.why[contender.name]:
                with self._blame(contender.name):
                    self.runs[contender.name] = _Run(contender, self)
        self._measure(seconds)
        self._check_again()
        self._compare(baseline)

    @contextmanager
    def _blame(self, name: str) -> Iterator[None]:
        """What a contender raises while it is timed is what was wrong with it."""
        try:
            yield
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it ends up in the row
            self.why[name] = f"raised {type(error).__name__} while it was timed: {error}"
            self.runs.pop(name, None)

    def _check(self) -> None:
        for contender in self.contenders:
            self._say(f"{contender.name} is checked", 0)
            why = why_wrong(contender, self.name, self.sessions, self.size)
            self.why[contender.name] = why

    def _check_again(self) -> None:
        """Look at what was timed: it may have worn out, or learnt to give short answers."""
        for contender in self.contenders:
            if contender.name in self.runs:
                self._say(f"{contender.name} is checked again", 1)
                made = self.runs[contender.name].made
                why = why_wrong_now(made, contender, self.name, self.sessions)
                self.why[contender.name] = why

    def _measure(self, seconds: float) -> None:
        rng = random.Random(0)
        start = time.perf_counter()
        while self.runs and (self.rounds < _MIN_ROUNDS or time.perf_counter() < start + seconds):
            gc.collect()
            for name in rng.sample(list(self.runs), len(self.runs)):
                with self._blame(name), _no_gc():
                    self.runs[name].round()
            self.rounds += 1
            self._say(f"round {self.rounds}", (time.perf_counter() - start) / seconds)

    def _compare(self, baseline: str) -> None:
        base = self.runs.get(baseline_of(self.name, baseline, self.runs))
        if base is not None:
            for name, run in self.runs.items():
                pairs = zip(base.times, run.times, strict=True)
                self.ratios[name] = statistics.median(theirs / ours for theirs, ours in pairs)

    def _say(self, text: str, done: float) -> None:
        self.progress(f"{self.name}: {text}", self.done + min(done, 1) / len(TASKS))

    def rows(self) -> list[Row]:
        rows = [self._row(contender) for contender in self.contenders]
        return sorted(rows, key=lambda row: (_STATUS.index(row.status), row.median_ns or 0))

    def _row(self, contender: Contender) -> Row:
        name, why = contender.name, self.why[contender.name]
        row = Row(self.name, name, "ok", why, contender.floor)
        if why:
            row.status = "wrong" if contender.make else "absent"
            return row
        run = self.runs[name]
        row.median_ns = statistics.median(run.times)
        row.low_ns, row.high_ns = map(float, np.percentile(run.times, [10, 90]))
        row.p99_ns = float(np.percentile(run.calls, 99))
        row.ratio = self.ratios.get(name)
        row.allocated_bytes = run.allocated
        if self.name == SESSION and self.seconds:
            frames = sum(len(session) for session in self.sessions)
            row.realtime = self.seconds / (row.median_ns * frames / 1e9)
        return row


_STATUS = ["ok", "wrong", "absent"]


class _Run:
    """One contender at one task, and its times."""

    def __init__(self, contender: Contender, task: _Task) -> None:
        self.make: Any = contender.make
        self.method = "parse" if task.name == PARSE else "receive"
        self.out = caller_buffer(task.size)
        self.sessions = [
            [payload(frame) if contender.floor else frame.data for frame in session]
            for session in task.sessions
        ]
        self.frames = sum(map(len, self.sessions))
        self.fresh = task.name == SESSION  # else one object serves all passes
        self.call = self._begin()
        self.times: list[float] = []
        """Nanoseconds per frame, round by round."""
        self.calls: list[int] = []
        """Nanoseconds of single calls."""
        self._pass()  # warms up: caches, routes, strings that are interned
        self.passes = max(1, round(_BLOCK_NS / self._pass()))
        self.allocated = self._allocated()

    def round(self) -> None:
        total = sum(self._pass() for _ in range(self.passes))
        self.times.append(total / self.passes / self.frames)
        enough = len(self.calls) + _CALLS
        while len(self.calls) < enough:
            self._pass_singly()

    def _begin(self) -> Call:
        self.made = self.make(self.out)
        call: Call = getattr(self.made, self.method)
        return call

    def _pass(self) -> int:
        """Nanoseconds of all frames."""
        started = time.perf_counter_ns()
        for session in self.sessions:
            call = self._begin() if self.fresh else self.call
            for frame in session:
                call(frame)
        return time.perf_counter_ns() - started

    def _pass_singly(self) -> None:
        clock, times = time.perf_counter_ns, self.calls
        for session in self.sessions:
            call = self._begin() if self.fresh else self.call
            for frame in session:
                started = clock()
                call(frame)
                times.append(clock() - started)

    def _allocated(self) -> int:
        """Bytes at the peak of one call, the mean over the frames."""
        # The object that is timed, so that it is also the one that is checked afterwards.
        call, peaks = self._begin() if self.fresh else self.call, []
        frames = self.sessions[0][:_TRACED]
        for frame in frames:
            call(frame)
        call = self._begin() if self.fresh else call
        tracemalloc.start()
        try:
            for frame in frames:
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                call(frame)
                peaks.append(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()
        return int(statistics.mean(peaks))


@contextmanager
def _no_gc() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _frames(task: str, workload: Workload) -> list[list[Frame]]:
    """The sessions of a task; for *parse* and *audio* one of some _HOT bytes.

    It is drawn evenly over all sizes, so it has the same share of each, and stays in order.
    """
    if task == SESSION:
        return workload.sessions
    frames = [it for it in workload.frames if task == PARSE or it.audio is not None]
    step = -(-sum(len(frame.data) for frame in frames) // _HOT)
    by_size = sorted(range(len(frames)), key=lambda number: len(frames[number].data))
    drawn = sorted(by_size[step // 2 :: step] or by_size[:1]) if frames else []
    return [[frames[number] for number in drawn]] if drawn else []


def _audio_seconds(sessions: list[list[Frame]]) -> float:
    """How long the audio plays; what has no sample rate counts nothing."""
    total = 0.0
    for session in sessions:
        decoder = Decoder(on_invalid="keep", max_tracks=1_024)
        for frame in session:
            event = decoder.decode(frame.data)
            if isinstance(event, AudioDelta):
                event.track.ring.clear()
                total += (event.stop - event.start) / (event.track.sample_rate or float("inf"))
    return total


def _facts(workload: Workload) -> dict[str, Any]:
    frames = workload.frames
    audio = [frame for frame in frames if frame.audio is not None]
    return {
        "name": workload.name,
        "sessions": len(workload.sessions),
        "frames": len(frames),
        "bytes": sum(len(frame.data) for frame in frames),
        "audio_deltas": len(audio),
        "audio_seconds": round(_audio_seconds(workload.sessions), 3),
        "left_out": len(workload.left_out),
        "cut": workload.cut,
        "measured": {
            task: sum(len(session) for session in _frames(task, workload)) for task in TASKS
        },
    }


@contextmanager
def _pinned() -> Iterator[int | None]:
    """Stay on one CPU, the last that is allowed, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(allowed)})
    except OSError:  # a sandbox may forbid it
        yield None
        return
    try:
        yield max(allowed)
    finally:
        os.sched_setaffinity(0, allowed)


def machine() -> dict[str, Any]:
    """What this runs on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _cpu() -> str:
    """The processor's name, and on Linux its family and model: virtual ones share a name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (it.partition(":") for it in lines)}
    name = facts.get("model name", platform.machine())
    return f"{name}, model {facts['model']}" if "model" in facts else name


_PACKAGES = (
    "deltaring", "msgspec", "numpy", "orjson", "pybase64", "jiter", "pysimdjson", "ujson",
    "python-rapidjson", "ssrjson", "pydantic", "openai", "hashcodecs",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of the packages that take part, as far as they are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
