"""Charts and tables of a comparison: Markdown, and a picture by matplotlib."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deltaring.bench import Report, Row
from deltaring.contenders import TASKS
from deltaring.errors import BenchError

_OURS, _THEIRS, _FLOOR = "#d1495b", "#30638e", "#9aa5b1"
_BAR_INCHES = 0.24
_WIDTH_INCHES = 9.0

TITLES = {
    "parse": "parse: a frame to an event",
    "audio": "audio: an audio delta to samples in the caller's buffer",
    "session": "session: all frames of a session, samples included",
}


def markdown(report: Report) -> str:
    """Return the tables in Markdown, with what they were measured on."""
    lines = [f"{line}  " for line in header(report)]
    for task in TASKS:
        if any(row.task == task for row in report.rows):
            lines += ["", f"**{TITLES[task]}**", "", *table(report, task)]
    return "\n".join(lines) + "\n"


def header(report: Report) -> list[str]:
    """Return what has to stand above the figures: machine, versions, settings, frames."""
    machine, settings, workload = report.machine, report.settings, report.workload
    cpu = settings["pinned_cpu"]
    pinned = "not pinned to a CPU" if cpu is None else f"pinned to CPU {cpu}"
    rounds = ", ".join(f"{count} of {task}" for task, count in settings["rounds"].items() if count)
    place = ", ".join(str(machine[key]) for key in ("cpu", "system", "python"))
    size = f"{workload['frames']:,} frames, {workload['bytes']:,} bytes"
    audio = f"{workload['audio_deltas']:,} audio deltas, {workload['audio_seconds']:,.1f} s"
    return [
        f"{place}, {machine['cores']} cores; {report.date}{' (quick)' * settings['quick']}",
        ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        f"frames: {workload['name']}: {size}, {audio} of audio",
        f"rounds: {rounds}; garbage collector {settings['gc']}; {pinned}",
    ]


def table(report: Report, task: str) -> Iterator[str]:
    """Yield the lines of one task's table in Markdown."""
    rows = [row for row in report.rows if row.task == task]
    realtime = any(row.realtime for row in rows)
    baseline = report.settings["baseline"][task] or "(no baseline)"
    yield f"| | ns | 10 % to 90 % | p99 | times {baseline} | bytes |{' real time |' * realtime}"
    yield "|---|---:|---:|---:|---:|---:|" + "---:|" * realtime
    for row in rows:
        cells = [row.name.replace("|", "\\|") + " *(floor)*" * row.floor, *figures(row)]
        yield "| " + " | ".join(cells[: 6 + realtime]) + " |"


def figures(row: Row) -> list[str]:
    """Return a row's figures as text: median, spread, p99, ratio, allocated, real time."""
    if row.median_ns is None or row.low_ns is None or row.high_ns is None:
        return [row.status, row.why.replace("|", "\\|"), "", "", "", ""]
    return [
        f"{row.median_ns:,.0f}",
        f"{row.low_ns:,.0f} to {row.high_ns:,.0f}",
        f"{row.p99_ns:,.0f}",
        f"{row.ratio:.2f}" if row.ratio else "",
        f"{row.allocated_bytes:,}",
        f"{row.realtime:,.0f}" if row.realtime else "",
    ]


def check_plot(path: Path) -> None:
    """Raise BenchError for no .svg or .png file, and where matplotlib is not installed."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise BenchError(f"{path}: a plot is an .svg or a .png file")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BenchError(f"{path}: cannot be written")
    if find_spec("matplotlib") is None:
        raise BenchError("a plot needs matplotlib: pip install 'deltaring[bench]'")


def plot(report: Report, path: Path) -> None:
    """Draw the times of all tasks into an SVG or PNG file.

    Raises BenchError as `check_plot` does, and OSError where the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    groups = [
        rows
        for task in TASKS
        if (rows := [row for row in report.rows if row.task == task and row.status == "ok"])
    ]
    if not groups:
        raise BenchError("nothing was measured that could be drawn")
    heights = [len(rows) + 3 for rows in groups]
    figure = Figure(figsize=(_WIDTH_INCHES, _BAR_INCHES * sum(heights) + 1), layout="constrained")
    panels = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)
    for panel, rows in zip(panels[:, 0], groups, strict=True):
        _draw(panel, rows)
    figure.suptitle("\n".join([header(report)[0], header(report)[2]]), fontsize=8)
    figure.savefig(path, dpi=150)


def _draw(panel: Any, rows: list[Row]) -> None:
    """One task: a bar for each contender, the fastest on top, with its spread."""
    rows = rows[::-1]
    times = [(row.median_ns or 0) / 1e3 for row in rows]
    spread = [
        [(row.median_ns or 0) / 1e3 - (row.low_ns or 0) / 1e3 for row in rows],
        [(row.high_ns or 0) / 1e3 - (row.median_ns or 0) / 1e3 for row in rows],
    ]
    names = [row.name + " (floor)" * row.floor for row in rows]
    panel.barh(names, times, xerr=spread, color=list(map(_color, rows)), height=0.72,
               error_kw={"elinewidth": 1, "ecolor": "#222222", "capsize": 2})  # fmt: skip
    panel.set_xscale("log")
    panel.set_xlim(min(times) / 2, max(times) * 2.5)
    for number, (time, high) in enumerate(zip(times, spread[1], strict=True)):
        text = f"{time:.2f}" if time < 10 else f"{time:.1f}"
        panel.text((time + high) * 1.06, number, text, va="center", fontsize=7.5)
    panel.set_title(TITLES[rows[0].task], loc="left", fontsize=10, fontweight="bold")
    panel.set_xlabel("microseconds per frame (log scale); line: 10 % to 90 % of rounds", fontsize=8)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.tick_params(labelsize=8)
    panel.set_ylim(-0.7, len(rows) - 0.3)
    panel.grid(axis="x", alpha=0.3)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _color(row: Row) -> str:
    if row.floor:
        return _FLOOR
    return _OURS if row.name.startswith("deltaring") else _THEIRS
