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
from deltaring import console, kernel
from deltaring.cli_bench import bench_command
from deltaring.console import BAD_INPUT, SHOWN, Json, open_recording, printable
from deltaring.errors import DeltaringError, ReplayError
from deltaring.outdir import folder_name
from deltaring.recording import Recording
from deltaring.replay import inspect, replay
from deltaring.report import Report

_WIDE = 100  # characters of a name in a table

app = typer.Typer(
    help="Decode recorded OpenAI Realtime sessions into audio, transcripts and figures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Recordings = Annotated[
    list[str],
    typer.Argument(metavar="REC", help="Recordings (.jsonl, .gz, .zst); - reads standard input."),
]


@app.command("replay")
def replay_command(
    recordings: Recordings,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the output; made if need be.")
    ],
    json: Json = False,
) -> None:
    """Write each recording's audio (WAV), transcripts (text, JSON) and session.json.

    Each recording gets a folder of its own in the output folder, named after the recording and its
    path. Exit code 0: all was clean; 3: some input was bad, and the rest is there.
    """
    rows: list[dict[str, Any]] = []
    folders: dict[str, str] = {}

    def one(recording: Recording, progress: Callable[[int], object]) -> None:
        other = folders.setdefault(folder_name(recording.name), recording.name)
        if other != recording.name:
            raise ReplayError(f"its folder is that of {other}: replay it to another place")
        report, folder = replay(recording, out, progress)
        rows.append(
            {
                "recording": printable(recording.name),
                "folder": printable(str(folder)),
                "report": report,
            }
        )

    failures = _each(recordings, one)
    if json:
        console.print_json({"recordings": rows, "failures": failures})
    else:
        _print_replayed(rows)
    _finish(rows, failures)


@app.command()
def info(
    recordings: Annotated[
        list[str] | None,
        typer.Argument(metavar="REC", help="Recordings; - reads standard input."),
    ] = None,
    json: Json = False,
) -> None:
    """Print what is in recordings; without any, print versions and the kernel that runs."""
    if not recordings:
        _print_versions(json)
        return
    rows: list[dict[str, Any]] = []

    def one(recording: Recording, progress: Callable[[int], object]) -> None:
        rows.append(
            {"recording": printable(recording.name), "report": inspect(recording, progress)}
        )

    failures = _each(recordings, one)
    if json:
        console.print_json({"recordings": rows, "failures": failures})
    else:
        for row in rows:
            _print_report(row["recording"], row["report"])
    _finish(rows, failures)


app.command("bench")(bench_command)


def _each(
    names: list[str], one: Callable[[Recording, Callable[[int], object]], None]
) -> list[dict[str, str]]:
    """Do `one` for each recording, with a progress bar; return those that could not be done."""
    failures = []
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    hidden = not sys.stderr.isatty()
    with Progress(*columns, console=console.err, disable=hidden, transient=True) as progress:
        for name in dict.fromkeys(names):
            task = progress.add_task(escape(printable(name)), total=None)
            try:
                progress.update(task, total=_size(name))
                one(open_recording(name), partial(_advance, progress, task))
            except (OSError, DeltaringError) as error:
                failures.append({"recording": printable(name), "reason": _reason(name, error)})
            progress.remove_task(task)
    return failures


def _advance(progress: Progress, task: TaskID, offset: int) -> None:
    progress.update(task, completed=offset)


def _size(name: str) -> int | None:
    """Bytes of a plain file; None where the progress cannot be known (a stream, compressed)."""
    path = Path(name)
    plain = name != "-" and path.suffix not in (".gz", ".zst") and path.is_file()
    return path.stat().st_size if plain else None


def _reason(name: str, error: Exception) -> str:
    """What went wrong, and with which file where it is not the recording."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    other = error.filename2 or error.filename
    return error.strerror if other in (None, name) else f"{error.strerror}: {printable(str(other))}"


def _finish(rows: list[dict[str, Any]], failures: list[dict[str, str]]) -> None:
    """Print what was wrong, and leave with the exit code that says so."""
    for failure in failures:
        console.complain("error", "red", f"{failure['recording']}: {failure['reason']}")
    for row in rows:
        name, report = row["recording"], row["report"]
        for error in report.errors[:SHOWN]:
            where = f"{name}:{error['line']}: byte {error['offset']}"
            console.complain("bad", "yellow", f"{where}: {error['reason']}")
        if report.error_count > SHOWN:
            console.complain("", "", f"{name}: and {report.error_count - SHOWN} more")
    if failures or any(row["report"].error_count for row in rows):
        raise typer.Exit(BAD_INPUT)


def _print_replayed(rows: list[dict[str, Any]]) -> None:
    table = console.table("recording", "frames", "audio", "items", "unknown", "bad", "folder")
    for row in rows:
        report: Report = row["report"]
        table.add_row(
            Text(row["recording"]),
            f"{report.frames['server'] + report.frames['client']:,}",
            _duration(report.seconds),
            str(len(report.items)),
            str(report.frames["unknown"]),
            str(report.error_count),
            Text(row["folder"]),
        )
    if rows:
        console.out.print(table)


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
        facts.append(("duration", _duration(report.last_time - report.first_time)))
    facts.append(("responses", f"{report.events.get('response.done', 0):,}"))
    facts.append(("assistant audio", f"{_duration(report.seconds)} in {len(report.items)} items"))
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


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:06.3f}"


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
