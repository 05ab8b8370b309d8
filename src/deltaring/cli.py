"""The command line. Public names only: whatever it does can be done from Python.

Exit codes: 0 all was clean, 2 wrong usage, 3 some input was bad and the rest was done.
"""

import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy
import orjson
import pybase64
import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

import deltaring
from deltaring import chart, console, distribution, kernel
from deltaring.cli_bench import bench_command
from deltaring.cli_latency import print_metrics
from deltaring.cli_record import record_command
from deltaring.cli_replay import replay_command
from deltaring.cli_serve import serve_command
from deltaring.console import BAD_INPUT, SHOWN, Json, duration, open_recording, printable
from deltaring.errors import BenchError, DeltaringError
from deltaring.job import explain
from deltaring.metrics import SessionMetrics
from deltaring.recording import Recording
from deltaring.replay import inspect, measure
from deltaring.report import Report
from deltaring.sources import STDIN, expand

_WIDE = 100  # characters of a name in a table

app = typer.Typer(
    help="Decode recorded OpenAI Realtime sessions into audio, transcripts and figures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.command("replay")(replay_command)


def _plottable(path: Path | None) -> Path | None:
    """Refuse a plot that could not be drawn before anything is read."""
    try:
        if path:
            chart.check_plot(path)
    except BenchError as error:
        raise typer.BadParameter(str(error)) from None
    return path


@app.command()
def info(
    recordings: Annotated[
        list[str] | None,
        typer.Argument(metavar="REC", help="Recordings, as for replay; - reads standard input."),
    ] = None,
    json: Json = False,
    latency: Annotated[
        bool, typer.Option("--latency", help="Print metrics from the recorded times instead.")
    ] = False,
    buffer: Annotated[
        float,
        typer.Option(
            metavar="MS",
            min=0,
            max=60_000,
            help="Start delay of the player whose stalls are counted.",
        ),
    ] = 0.0,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=_plottable, help="Draw the metrics: .svg or .png."),
    ] = None,
) -> None:
    """Print what is in recordings; without any, print versions and the kernel that runs.

    With --latency: how long answers took, how evenly their audio came, the jitter buffer that
    playback would have needed, stalls with --buffer, interruptions, tokens and rate limits.
    """
    if latency:
        _print_latency(recordings or [], buffer / 1e3, plot, json)
        return
    if buffer or plot:
        raise typer.BadParameter("--buffer and --plot are for --latency")
    if not recordings:
        _print_versions(json)
        return
    rows: list[dict[str, Any]] = []

    def one(recording: Recording, progress: Callable[[int], object]) -> None:
        rows.append(
            {"recording": printable(recording.name), "report": inspect(recording, progress)}
        )

    done, failures = _each(recordings, one)
    if json:
        console.print_json({"recordings": rows, "failures": failures})
    else:
        for row in rows:
            _print_report(row["recording"], row["report"])
    _finish(done, failures)


def _print_latency(names: list[str], buffer: float, plot: Path | None, json: bool) -> None:
    if not names:
        raise typer.BadParameter("--latency needs recordings")
    rows: list[tuple[str, SessionMetrics]] = []

    def one(recording: Recording, progress: Callable[[int], object]) -> None:
        rows.append((printable(recording.name), measure(recording, progress, buffer=buffer)))

    done, failures = _each(names, one)
    try:
        if plot:
            distribution.plot([metrics for _, metrics in rows], plot)
    except OSError as error:
        failures.append({"recording": printable(str(plot)), "reason": explain(error, str(plot))})
    if json:
        documents = [{"recording": name, "metrics": metrics} for name, metrics in rows]
        console.print_json({"recordings": documents, "failures": failures})
    else:
        print_metrics(rows)
    _finish(done, failures)


app.command("bench")(bench_command)
app.command("record")(record_command)
app.command("serve")(serve_command)


def _each(
    names: list[str], one: Callable[[Recording, Callable[[int], object]], None]
) -> tuple[list[Recording], list[dict[str, str]]]:
    """Do `one` for each recording, with a progress bar; return those done, and the failures."""
    done: list[Recording] = []
    sources, missing = expand(names)
    failures = [{"recording": printable(name), "reason": reason} for name, reason in missing]
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    hidden = not sys.stderr.isatty()
    with Progress(*columns, console=console.err, disable=hidden, transient=True) as progress:
        for name in sources:
            task = progress.add_task(escape(printable(name)), total=None)
            try:
                progress.update(task, total=_size(name))
                recording = open_recording(name)
                one(recording, partial(_advance, progress, task))
                done.append(recording)
            except (OSError, DeltaringError) as error:
                failures.append({"recording": printable(name), "reason": explain(error, name)})
            progress.remove_task(task)
    return done, failures


def _advance(progress: Progress, task: TaskID, offset: int) -> None:
    progress.update(task, completed=offset)


def _size(name: str) -> int | None:
    """Bytes of a plain file; None where the progress cannot be known (a stream, compressed)."""
    path = Path(name)
    plain = name != STDIN and path.suffix not in (".gz", ".zst") and path.is_file()
    return path.stat().st_size if plain else None


def _finish(done: list[Recording], failures: list[dict[str, str]]) -> None:
    """Print what was wrong, and leave with the exit code that says so."""
    for failure in failures:
        console.complain("error", "red", f"{failure['recording']}: {failure['reason']}")
    for recording in done:
        for problem in recording.problems[:SHOWN]:
            console.complain("bad", "yellow", str(problem))
        if recording.problem_count > SHOWN:
            more = recording.problem_count - SHOWN
            console.complain("", "", f"{recording.name}: and {more} more")
    if failures or any(recording.problem_count for recording in done):
        raise typer.Exit(BAD_INPUT)


def _print_report(name: str, report: Report) -> None:
    console.out.print(Text(name, "bold"))
    facts = console.table("fact", "value", header=False)
    for label, value in _facts(report):
        facts.add_row(label, Text(printable(value)))
    console.out.print(facts)
    events = console.table("event", "count")
    kinds = (report.events, ""), (report.unknown, " (unknown)"), (report.client, " (client)")
    for counts, suffix in kinds:
        for event, count in counts.items():
            events.add_row(Text(printable(event)[:_WIDE] + suffix), f"{count:,}")
    console.out.print(events, "")


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = []
    for session in report.sessions:
        facts.append(("session", " ".join(filter(None, (session.id, session.model)))))
        facts.append(("output format", _format(session.output_audio_format)))
    facts.append(
        ("frames", f"{report.frames['server']:,} server, {report.frames['client']:,} client")
    )
    if report.first_time is not None and report.last_time is not None:
        facts.append(("duration", duration(report.last_time - report.first_time)))
    facts.append(("responses", f"{report.events.get('response.done', 0):,}"))
    facts.append(("assistant audio", f"{duration(report.seconds)} in {len(report.items)} items"))
    if report.usage:
        facts.append(("tokens", f"{report.usage.get('total_tokens', 0):,}"))
    facts.append(("server errors", str(report.server_error_count)))
    facts.append(("bad lines and frames", str(report.error_count)))
    return facts


def _format(stated: Any) -> str:
    """A stated format in words; it is a string in beta and an object in GA."""
    if isinstance(stated, dict):
        rate = stated.get("rate")
        return f"{stated.get('type')}" + (f" at {rate} Hz" if rate else "")
    return stated or "not stated: pcm16 at 24000 Hz"


def _print_versions(json: bool) -> None:
    versions = {
        "deltaring": deltaring.__version__,
        "kernel": kernel.NAME,
        "simd": kernel.simd() or "none",
        "python": platform.python_version(),
        "msgspec": msgspec.__version__,
        "numpy": numpy.__version__,
        "orjson": orjson.__version__,
        "pybase64": pybase64.get_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if json:
        console.print_json(versions)
        return
    for name, value in versions.items():
        console.out.print(f"{name:<10} {value}", highlight=False)
