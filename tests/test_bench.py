"""The harness: what is right is timed, what is wrong is not, and all of it is in the report."""

import gc
import json
import os
import platform
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deltaring import bench as module
from deltaring.bench import Report, Row, bench
from deltaring.contenders import TASKS, Contender, contenders
from deltaring.errors import BenchError
from deltaring.workload import Workload, built_in, read
from tests.test_verdict import DropsTheLastByte, Right
from tests.wire import frame


@pytest.fixture(autouse=True)
def fewest_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", {True: 1e-9, False: 1e-9})
    monkeypatch.setattr(module, "_BLOCK_NS", 1)


class Hungry(Right):
    def parse(self, frame: bytes) -> Any:
        self.food = bytearray(100_000)
        return super().parse(frame)


class Slow(Right):
    def parse(self, frame: bytes) -> Any:
        sum(range(20_000))
        return super().parse(frame)


class FailsLater(Right):
    """Right as long as it is looked at."""

    calls = 0

    def parse(self, frame: bytes) -> Any:
        FailsLater.calls += 1
        if FailsLater.calls > 1_000:
            raise RuntimeError("worn out")
        return super().parse(frame)


class LiesLater(Right):
    """Each object by itself: only the one that was timed has lied."""

    def parse(self, frame: bytes) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return {"type": "x"} if self.calls > 1_000 else super().parse(frame)


def entry(kind: type, *tasks: str) -> Contender:
    return Contender(kind.__name__, tasks or TASKS, kind)


def run(*kinds: type, frames: str = "960", **options: Any) -> Report:
    ways = [entry(kind) for kind in kinds]
    return bench(built_in(frames), ways, quick=True, **{"baseline": kinds[0].__name__, **options})


def row(report: Report, name: str, task: str = "audio") -> Row:
    (found,) = (it for it in report.rows if (it.name, it.task) == (name, task))
    return found


@pytest.mark.parametrize("task", TASKS)
def test_what_is_right_has_all_its_figures(task: str) -> None:
    figures = row(run(Right), "Right", task)
    assert (figures.status, figures.why) == ("ok", "")
    assert figures.low_ns <= figures.median_ns <= figures.high_ns  # type: ignore[operator]
    assert figures.p99_ns
    assert figures.ratio == 1.0
    assert figures.allocated_bytes
    assert bool(figures.realtime) == (task == "session")


@pytest.mark.parametrize("task", ["audio", "session"])
def test_what_is_wrong_is_not_timed(task: str) -> None:
    figures = row(run(Right, DropsTheLastByte), "DropsTheLastByte", task)
    assert figures.status == "wrong"
    assert "bytes of audio too few" in figures.why
    assert (figures.median_ns, figures.p99_ns, figures.ratio) == (None, None, None)


def test_what_is_absent_is_listed() -> None:
    ways = [entry(Right), Contender("away", TASKS, None, "not installed")]
    report = bench(built_in("960"), ways, baseline="Right")
    assert [row(report, "away", task).status for task in TASKS] == ["absent"] * 3
    assert row(report, "away").why == "not installed"


@pytest.mark.parametrize(("kind", "why"), [(FailsLater, "worn out"), (LiesLater, "type is 'x'")])
def test_what_goes_wrong_while_it_is_timed_is_wrong(kind: Any, why: str) -> None:
    FailsLater.calls = 0
    ways = [entry(Right, "parse"), entry(kind, "parse")]
    figures = row(bench(built_in("openai"), ways, baseline="Right"), kind.__name__, "parse")
    assert (figures.status, figures.median_ns) == ("wrong", None)
    assert why in figures.why


def test_a_ratio_says_how_many_times_as_fast() -> None:
    report = run(Slow, Right, frames="160")
    assert row(report, "Right", "parse").ratio > 2  # type: ignore[operator]
    assert report.rows[0].name == "Right"  # the fastest first


def test_memory_of_a_call_is_seen() -> None:
    assert 100_000 < row(run(Hungry), "Hungry").allocated_bytes < 120_000  # type: ignore[operator]


def test_the_baseline_of_parse_is_its_parser() -> None:
    report = bench(built_in("960"), contenders(), quick=True)
    assert row(report, "json", "parse").ratio == 1.0
    assert row(report, "json + base64", "audio").ratio == 1.0


def test_without_its_baseline_there_are_no_ratios() -> None:
    report = run(DropsTheLastByte, Right)
    assert (row(report, "Right").status, row(report, "Right").ratio) == ("ok", None)


@pytest.mark.parametrize(
    ("kinds", "options", "reason"),
    [
        ([Right], {"baseline": "nobody"}, "no contender at parse is called 'nobody': Right"),
        ([Right, Right], {}, "two contenders have the same name"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    kinds: list[type], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BenchError, match=reason):
        run(*kinds, **options)


def test_no_frames_are_refused() -> None:
    with pytest.raises(BenchError, match="nothing: no frames"):
        bench(Workload("nothing", []), [entry(Right)], baseline="Right")


def test_frames_without_audio_have_no_audio_task() -> None:
    tasks = {it.task for it in run(Right, frames="text").rows}
    assert tasks == {"parse", "session"}


def test_every_session_begins_with_a_fresh_contender() -> None:
    made = []

    class Counted(Right):
        def __init__(self, out: memoryview) -> None:
            super().__init__(out)
            made.append(self)

        def receive(self, frame: bytes) -> tuple[Any, int]:
            return super().receive(frame)

    sessions = [built_in("160").frames] * 3
    bench(Workload("three", sessions), [entry(Counted, "session")], baseline="Counted")
    assert len(made) > 3 * module._MIN_ROUNDS


def test_the_report_says_what_was_measured_on_what() -> None:
    report = run(Right)
    assert report.workload["audio_seconds"] == 64 * 0.02
    assert report.workload["measured"] == {"parse": 64, "audio": 64, "session": 64}
    assert report.settings["rounds"] == dict.fromkeys(TASKS, module._MIN_ROUNDS)
    assert {"deltaring", "msgspec", "numpy", "orjson", "pybase64"} <= report.versions.keys()
    assert report.machine["cpu"]
    document = json.loads(msgspec.json.encode(report))
    keys = {"task", "name", "status", "median_ns", "p99_ns", "why"}
    assert keys <= document["rows"][0].keys()


def test_hot_tasks_go_round_no_more_than_fits_a_cache() -> None:
    workload = Workload("large", [[read(frame("a.b", text="x" * 10_000))] * 200])
    report = bench(workload, [entry(Right)], baseline="Right")
    assert report.workload["measured"]["parse"] == 50  # of 2 MB
    assert report.workload["measured"]["session"] == 200


def test_the_process_is_left_as_it_was() -> None:
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    run(Right, FailsLater)
    assert gc.isenabled()
    if before is not None:
        assert os.sched_getaffinity(0) == before


def refuse(*args: object) -> None:
    raise OSError(1, "Operation not permitted")


def test_where_the_process_cannot_be_pinned_the_report_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert run(Right).settings["pinned_cpu"] is None  # in a sandbox
    monkeypatch.delattr(os, "sched_setaffinity")
    assert run(Right).settings["pinned_cpu"] is None  # on macOS


CPUINFO = "model\t\t: 85\nmodel name\t: A CPU\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [(CPUINFO, "A CPU, model 85"), (CPUINFO[12:], "A CPU"), ("", platform.machine())],
)
def test_the_processor_is_named_as_far_as_it_is_known(
    monkeypatch: pytest.MonkeyPatch, text: str, name: str
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: text)
    assert module.machine()["cpu"] == name
    monkeypatch.setattr(Path, "read_text", refuse)
    assert module.machine()["cpu"] in (platform.processor(), platform.machine())


def test_versions_are_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGES", ("numpy", "deltaring-is-not-this"))
    assert module.versions().keys() == {"numpy"}


def test_progress_is_told_and_ends_at_all() -> None:
    told: list[tuple[str, float]] = []
    run(Right, progress=lambda text, done: told.append((text, done)))
    assert told[0] == ("parse: Right is checked", 0)
    assert told[-1] == ("session: Right is checked again", 1)
    assert all(0 <= done <= 1 for _, done in told)
