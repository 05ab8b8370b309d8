"""The command `deltaring replay`.

Rule: each recording that is bad is named on standard error as soon as that is known, and memory
holds a screenful of recordings, or what is to be printed as JSON.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from deltaring import console
from deltaring.console import BAD_INPUT, SHOWN, Json, Recordings, duration, printable
from deltaring.encoding import choose_encoding
from deltaring.errors import DeltaringError, ReplayError
from deltaring.job import Summary, explain, run
from deltaring.journal import Done, Failed, Output, Row
from deltaring.ray_executor import RayExecutor
from deltaring.tables import check_tables

_LISTED = 20  # recordings that are listed in a table; of more, the summary alone is read
_LOGGED = 30.0  # seconds between two lines of progress where there is no terminal
_INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def replay_command(  # noqa: PLR0917 - the command's options
    recordings: Recordings,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the output; made if need be.")
    ],
    jobs: Annotated[
        int | None,
        typer.Option("-j", "--jobs", metavar="N", min=1, help="Processes that share the work."),
    ] = None,
    audio: Annotated[
        Literal["wav", "flac", "opus", "none"], typer.Option(help="Format of the audio files.")
    ] = "wav",
    rate: Annotated[
        int | None, typer.Option(metavar="HZ", help="Resample all audio to that rate.")
    ] = None,
    stereo: Annotated[
        bool,
        typer.Option("--stereo", help="Write both sides to one file, too: user left, model right."),
    ] = False,
    salvage: Annotated[
        bool,
        typer.Option("--salvage", help="Of a file that is cut off, write what can be read."),
    ] = False,
    events: Annotated[
        bool, typer.Option("--events", help="Write events.parquet, with a row for each frame.")
    ] = False,
    tables: Annotated[
        bool | None,
        typer.Option(
            "--tables/--no-tables",
            help="Write Parquet tables over all recordings. [default: if pyarrow is installed]",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read what is done, too, and redo it where it has changed."),
    ] = False,
    max_bad_files: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Stop after more bad recordings.")
    ] = None,
    max_bad_lines: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Stop after more bad lines and frames.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Work on a Ray cluster; `local` starts one here."),
    ] = None,
    json: Json = False,
) -> None:
    """Write each recording's audio, transcripts (text, JSON, WebVTT) and session.json.

    Each recording gets a folder of its own in the output folder, named after the recording and its
    path. The same command again goes on where this one was stopped, and does again what has
    changed. FLAC, Opus, --rate and --stereo need the extra `audio`, tables and --events the extra
    `tables`. Exit code 0: all was clean; 3: some input was bad, and the rest is there.
    """
    output = Output(audio, rate, stereo, salvage, events)
    tables = _checked(output, tables)
    log = _Log(out, json)
    try:
        with log.bar, _engine(ray, jobs) as (executor, workers):
            summary = run(
                recordings,
                out,
                output,
                jobs=workers,
                executor=executor,
                verify=verify,
                tables=tables,
                max_bad_files=max_bad_files,
                max_bad_lines=max_bad_lines,
                progress=log.take,
            )
    except (OSError, BrokenExecutor, DeltaringError) as error:
        console.complain("error", "red", explain(error, ""))
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt:
        console.complain("stop", "yellow", "the same command again goes on from here")
        raise typer.Exit(_INTERRUPTED) from None
    log.finish(summary)
    if summary.failed or summary.problems or summary.stopped:
        raise typer.Exit(BAD_INPUT)


def _checked(output: Output, tables: bool | None) -> bool:
    """Refuse what cannot be met before anything is read; return whether there will be tables."""
    try:
        choose_encoding(output.audio, output.rate, output.stereo)
        if tables or output.events:
            check_tables()
    except ReplayError as error:
        raise typer.BadParameter(str(error)) from None
    if tables is not None:
        return tables
    with suppress(ReplayError):
        check_tables()
        return True
    return False


@contextmanager
def _engine(ray: str | None, jobs: int | None) -> Iterator[tuple[Executor | None, int]]:
    """Where the job is done, and by how many workers."""
    if ray is None:
        yield None, jobs or 1
    else:
        with RayExecutor(ray, workers=jobs) as executor:
            yield executor, executor.workers


class _Log:
    """What is printed of a job while it is at work, and at its end."""

    def __init__(self, out: Path, json: bool) -> None:
        self._out = out
        self._json = json
        self._rows: list[Row] = []  # the first ones; all of them where JSON is asked for
        self._detailed = 0  # recordings whose problems were printed one by one
        self._began = self._logged = time.monotonic()
        columns = SpinnerColumn(), BarColumn(), TextColumn("{task.description}")
        hidden = not sys.stderr.isatty()
        self.bar = Progress(*columns, console=console.err, disable=hidden, transient=True)
        self._task = self.bar.add_task("")

    def take(self, summary: Summary, row: Row) -> None:
        """Print what is wrong with a recording, and now and then how far the job has come."""
        if self._json or len(self._rows) <= _LISTED:
            self._rows.append(row)
        if isinstance(row, Failed):
            console.complain("error", "red", f"{row.recording}: {row.reason}")
        elif row.problems:
            self._complain(row)
        self._advance(summary)

    def _complain(self, row: Done) -> None:
        """Print the first problems of a recording; of many recordings, their number alone."""
        self._detailed += 1
        shown = _problems(self._out, row)[:SHOWN] if self._detailed <= SHOWN else []
        for problem in shown:
            place = f"{row.recording}:{problem.line}: byte {problem.offset}"
            console.complain("bad", "yellow", f"{place}: {problem.reason}")
        if row.problems > len(shown):
            rest = f"and {row.problems - len(shown):,} more" if shown else _bad(row.problems)
            where = self._out / row.folder / "session.json"
            console.complain("bad", "yellow", f"{row.recording}: {rest}; see {where}")

    def _advance(self, summary: Summary) -> None:
        known = summary.recordings - summary.left
        now = time.monotonic()
        text = _so_far(summary, self._elapsed())
        self.bar.update(self._task, description=text, completed=known, total=summary.recordings)
        if self.bar.disable and now - self._logged >= _LOGGED:
            self._logged = now
            console.complain("", "", text)

    def _elapsed(self) -> float:
        """Seconds, at least one tick of a coarse clock."""
        return max(time.monotonic() - self._began, 0.001)

    def finish(self, summary: Summary) -> None:
        """Print what became of the job."""
        elapsed = self._elapsed()
        self._rows.sort(key=lambda row: row.recording)
        done = [row for row in self._rows if isinstance(row, Done)]
        if self._json:
            failed = [row for row in self._rows if isinstance(row, Failed)]
            recordings = [_document(row, self._out) for row in done]
            console.print_json({"recordings": recordings, "failures": failed, "summary": summary})
            return
        if done and len(self._rows) <= _LISTED:
            _print_rows(done, self._out)
        console.out.print(_whole(summary, elapsed), highlight=False)
        if summary.stopped:
            console.complain("stop", "yellow", f"{summary.stopped}; {summary.left:,} are left")


class _Problem(msgspec.Struct):
    line: int
    offset: int
    reason: str


class _Report(msgspec.Struct):
    """What is read of a `session.json`."""

    errors: list[_Problem]


def _problems(out: Path, row: Done) -> list[_Problem]:
    try:
        report = (out / row.folder / "session.json").read_bytes()
        return msgspec.json.decode(report, type=_Report).errors
    except (OSError, msgspec.DecodeError):  # damaged since; the journal knows their number
        return []


def _document(row: Done, out: Path) -> dict[str, Any]:
    fields = msgspec.to_builtins(row)
    return {**fields, "folder": printable(str(out / row.folder))}


def _print_rows(rows: list[Done], out: Path) -> None:
    table = console.table("recording", "frames", "assistant", "user", "bad", "folder")
    for row in rows:
        table.add_row(
            Text(printable(row.recording)),
            f"{row.frames:,}",
            duration(row.seconds),
            duration(row.user_seconds),
            f"{row.problems:,}",
            Text(printable(str(out / row.folder))),
        )
    console.out.print(table)


def _so_far(summary: Summary, elapsed: float) -> str:
    """How far a job has come, how fast, and how long it will take."""
    worked = summary.done + summary.failed
    left = _clock(elapsed / worked * summary.left) if worked else "?"
    known = summary.recordings - summary.left
    return (
        f"{known:,} of {summary.recordings:,} recordings, {_speed(summary, elapsed)}, "
        f"{summary.size / elapsed / 1e6:,.0f} MB/s, {left} left"
    )


def _whole(summary: Summary, elapsed: float) -> str:
    """What became of a job, in two lines."""
    counts = {
        "done": summary.done,
        "done before": summary.skipped,
        "failed": summary.failed,
        "partial": summary.partial,
    }
    parts = [f"{count:,} {what}" for what, count in counts.items() if count or what == "done"]
    if summary.problems:
        parts.append(_bad(summary.problems))
    noun = "recording" if summary.recordings == 1 else "recordings"
    speed = f"{_speed(summary, elapsed)}, " if summary.done else ""
    return f"{summary.recordings:,} {noun}: {', '.join(parts)}\n{speed}in {elapsed:,.1f} s"


def _speed(summary: Summary, elapsed: float) -> str:
    return f"{_clock(summary.seconds)} of audio, {summary.seconds / elapsed:,.0f} times real time"


def _bad(count: int) -> str:
    return f"{count:,} bad {'line or frame' if count == 1 else 'lines and frames'}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
