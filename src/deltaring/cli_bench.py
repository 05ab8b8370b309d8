"""The command `deltaring bench`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from deltaring import chart, console
from deltaring.bench import BASELINE, Report, bench
from deltaring.console import BAD_INPUT, SHOWN, WRONG_USAGE, Json, open_recording
from deltaring.contenders import TASKS, contenders, from_file
from deltaring.errors import BenchError, DeltaringError
from deltaring.workload import MAX_DELTA, SETS, Workload, built_in, from_recordings

_QUICK_BYTES = 4 << 20  # frames of recordings in a quick run: two spoken minutes


def bench_command(  # noqa: PLR0917 - the command's options
    recordings: Annotated[
        list[str] | None, typer.Argument(metavar="REC", help="Recordings to take frames from.")
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="NAME",
            help=f"Frames in place of REC: {', '.join(SETS)}; or bytes of audio per delta.",
            show_default="openai",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Half a minute in place of three.")
    ] = False,
    baseline: Annotated[str, typer.Option(help="The contender that ratios refer to.")] = BASELINE,
    files: Annotated[
        list[Path] | None,
        typer.Option("--contender", metavar="FILE.py", help="Contenders of yours; repeatable."),
    ] = None,
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the times: .svg or .png.")
    ] = None,
) -> None:
    """Compare decoders on the same frames: each is checked for right output, then timed.

    Tasks: parse (a frame to an event), audio (an audio delta to samples in the caller's buffer),
    session (all frames, in order). Times are per frame. A contender whose output is not right is
    shown as wrong and not timed; one that is not installed as absent (the extra `bench` installs
    them all). Exit code 3: frames were left out since they are not valid.
    """
    try:
        if json and markdown:
            raise BenchError("--json and --markdown exclude each other")
        if plot:
            chart.check_plot(plot)
        with redirect_stdout(sys.stderr):
            added = [way for file in files or () for way in from_file(file)]
        contestants = [*contenders(), *added]
        work = _workload(recordings or [], frames, quick)
        # What a contender prints is not the document.
        with _progress_of_bench() as progress, redirect_stdout(sys.stderr):
            report = bench(work, contestants, quick=quick, baseline=baseline, progress=progress)
        _print_comparison(report, json, markdown)
        if plot:
            chart.plot(report, plot)
    except BenchError as error:
        console.complain("error", "red", str(error))
        raise typer.Exit(WRONG_USAGE) from None
    except (OSError, DeltaringError) as error:
        console.complain("error", "red", str(error))
        raise typer.Exit(BAD_INPUT) from None
    _finish_bench(work, report)


def _workload(names: list[str], built_in_name: str | None, quick: bool) -> Workload:
    if names and built_in_name:
        raise BenchError("--set is for frames in place of recordings")
    if names:
        recordings = map(open_recording, dict.fromkeys(names))
        return from_recordings(recordings, _QUICK_BYTES if quick else None)
    name = built_in_name or "openai"
    if name not in SETS and not (name.isdecimal() and int(name) <= MAX_DELTA):
        known = ", ".join(SETS)
        raise BenchError(f"no set is called {name!r}; there are {known}, and up to {MAX_DELTA:,}")
    return built_in(name)


@contextmanager
def _progress_of_bench() -> Iterator[Callable[[str, float], object]]:
    """A bar that is drawn between rounds only: a thread that draws would be measured, too."""
    columns = BarColumn(), TextColumn("{task.description}", markup=False)
    hidden = not sys.stderr.isatty()
    with Progress(
        *columns, console=console.err, disable=hidden, transient=True, auto_refresh=False
    ) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda text, done: progress.update(
            task, description=text, completed=done, refresh=True
        )


def _print_comparison(report: Report, json: bool, markdown: bool) -> None:
    if json:
        console.print_json(report)
    elif markdown:
        sys.stdout.write(chart.markdown(report))
    else:
        for line in chart.header(report):
            console.out.print(Text(console.printable(line), "dim"))
        for task in TASKS:
            _print_task(task, report)


def _print_task(task: str, report: Report) -> None:
    rows = [row for row in report.rows if row.task == task]
    if not rows:
        return
    baseline = report.settings["baseline"][task] or "(no baseline)"
    console.out.print(Text(f"\n{chart.TITLES[task]}", "bold"))
    table = console.table("name", "ns", "10 % to 90 %", "p99", f"x {baseline}", "bytes")
    if any(row.realtime for row in rows):
        table.add_column("x real time", justify="right")
    for row in rows:
        if row.status == "ok":
            style = "green" if row.name.startswith("deltaring") else ""
            name = Text(row.name + " (floor)" * row.floor, style)
            table.add_row(name, *chart.figures(row)[: len(table.columns) - 1])
    console.out.print(table)
    for row in rows:
        if row.status != "ok":
            text = f"{row.status:<7}{row.name}: {console.printable(row.why)}"
            console.out.print(Text(text, "red" if row.status == "wrong" else "dim"))


def _finish_bench(work: Workload, report: Report) -> None:
    if work.cut:
        console.complain("note", "", f"{work.cut}: the frames from here on are not used")
    for task, name in report.settings["baseline"].items():
        if not name and report.settings["rounds"][task]:
            console.complain("note", "", f"{task}: the baseline was not measured: no ratios")
    for reason in work.left_out[:SHOWN]:
        console.complain("bad", "yellow", reason)
    if len(work.left_out) > SHOWN:
        console.complain("", "", f"and {len(work.left_out) - SHOWN} more")
    if work.left_out:
        raise typer.Exit(BAD_INPUT)
