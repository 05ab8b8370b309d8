"""The command line. Public names only: whatever it does can be done from Python.

Exit codes: 0 all was clean, 2 wrong usage, 3 some input was bad and the rest was done.
"""

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy
import orjson
import pybase64
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

import deltaring
from deltaring import kernel
from deltaring.errors import DeltaringError
from deltaring.recording import Recording
from deltaring.replay import inspect, replay
from deltaring.report import Report

BAD_INPUT = 3

_SHOWN = 10  # problems per recording that are printed; all are in session.json

app = typer.Typer(
    help="Decode recorded OpenAI Realtime sessions into audio, transcripts and figures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_err = Console(stderr=True)
# In a pipe there is no terminal to fit into: lines stay whole.
_out = Console(width=None if sys.stdout.isatty() else 10_000)

Recordings = Annotated[
    list[str],
    typer.Argument(metavar="REC", help="Recordings (.jsonl, .gz, .zst); - reads standard input."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document in place of tables.")]


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

    def one(recording: Recording, progress: Callable[[int], None]) -> None:
        report, folder = replay(recording, out, progress)
        rows.append({"recording": recording.name, "folder": str(folder), "report": report})

    failures = _each(recordings, one)
    if json:
        _print_json({"recordings": rows, "failures": failures})
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

    def one(recording: Recording, progress: Callable[[int], None]) -> None:
        rows.append({"recording": recording.name, "report": inspect(recording, progress)})

    failures = _each(recordings, one)
    if json:
        _print_json({"recordings": rows, "failures": failures})
    else:
        for row in rows:
            _print_report(row["recording"], row["report"])
    _finish(rows, failures)


def _each(
    names: list[str], one: Callable[[Recording, Callable[[int], None]], None]
) -> list[dict[str, str]]:
    """Do `one` for each recording, with a progress bar; return those that could not be done."""
    failures = []
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=_err,
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as progress:
        for name in dict.fromkeys(names):
            task = progress.add_task(escape(name), total=_size(name))

            def show(offset: int, task: Any = task) -> None:
                progress.update(task, completed=offset)

            try:
                one(_recording(name), show)
            except (OSError, DeltaringError) as error:
                failures.append({"recording": name, "reason": _reason(error)})
            progress.remove_task(task)
    return failures


def _recording(name: str) -> Recording:
    return Recording(sys.stdin.buffer, name="-") if name == "-" else Recording(name)


def _size(name: str) -> int | None:
    """Bytes of a plain file; None where the progress cannot be known (a stream, compressed)."""
    path = Path(name)
    plain = name != "-" and path.suffix not in (".gz", ".zst") and path.is_file()
    return path.stat().st_size if plain else None


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _finish(rows: list[dict[str, Any]], failures: list[dict[str, str]]) -> None:
    """Print what was wrong, and leave with the exit code that says so."""
    for failure in failures:
        _err.print(
            f"[red]error[/] {escape(failure['recording'])}: {escape(failure['reason'])}",
            soft_wrap=True,
        )
    for row in rows:
        name, report = escape(row["recording"]), row["report"]
        for error in report.errors[:_SHOWN]:
            text = f"{error['line']}: byte {error['offset']}: {escape(error['reason'])}"
            _err.print(f"[yellow]bad[/]   {name}:{text}", soft_wrap=True)
        if report.error_count > _SHOWN:
            _err.print(f"      {name}: and {report.error_count - _SHOWN} more", soft_wrap=True)
    if failures or any(row["report"].error_count for row in rows):
        raise typer.Exit(BAD_INPUT)


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def _print_replayed(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recording", overflow="fold")
    for name in ("frames", "audio", "items", "unknown", "bad"):
        table.add_column(name, justify="right")
    table.add_column("folder", overflow="fold")
    for row in rows:
        report: Report = row["report"]
        table.add_row(
            escape(row["recording"]),
            f"{report.frames['server'] + report.frames['client']:,}",
            _duration(report.seconds),
            str(len(report.items)),
            str(report.frames["unknown"]),
            str(report.error_count),
            escape(row["folder"]),
        )
    if rows:
        _out.print(table)


def _print_report(name: str, report: Report) -> None:
    _out.print(f"[bold]{escape(name)}[/]")
    table = Table(box=None, pad_edge=False, show_header=False)
    for label, value in _facts(report):
        table.add_row(label, escape(value))
    _out.print(table)
    events = Table(box=None, pad_edge=False, header_style="bold")
    events.add_column("event", overflow="fold")
    events.add_column("count", justify="right")
    for kind, suffix in (
        (report.events, ""),
        (report.unknown, " (unknown)"),
        (report.client, " (client)"),
    ):
        for event, count in kind.items():
            events.add_row(escape(event + suffix), f"{count:,}")
    _out.print(events, "")


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = []
    for session in report.sessions:
        facts.append(("session", " ".join(filter(None, (session.id, session.model)))))
        facts.append(
            ("output format", str(session.output_audio_format or "pcm16 at 24 kHz, not stated"))
        )
    facts.append(
        ("frames", f"{report.frames['server']:,} server, {report.frames['client']:,} client")
    )
    if report.first_time is not None and report.last_time is not None:
        facts.append(("duration", _duration(report.last_time - report.first_time)))
    facts.append(("responses", f"{sum(report.events.get(t, 0) for t in ('response.done',)):,}"))
    facts.append(("assistant audio", f"{_duration(report.seconds)} in {len(report.items)} items"))
    if report.usage:
        facts.append(("tokens", f"{report.usage.get('total_tokens', 0):,}"))
    facts.append(("server errors", str(report.server_error_count)))
    facts.append(("bad lines and frames", str(report.error_count)))
    return facts


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:06.3f}"


def _print_versions(json: bool) -> None:
    versions = {
        "deltaring": deltaring.__version__,
        "kernel": kernel.NAME,
        "python": platform.python_version(),
        "msgspec": msgspec.__version__,
        "numpy": numpy.__version__,
        "orjson": orjson.__version__,
        "pybase64": pybase64.get_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if json:
        _print_json(versions)
        return
    for name, value in versions.items():
        _out.print(f"{name:<10} {value}", highlight=False)
