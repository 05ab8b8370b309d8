"""Jobs: many recordings into one folder, on many processes, safe to stop and to repeat.

Rule: each recording is one task, which may be done again without harm, and whose outputs depend on
the recording and the options alone. So the same folder comes about whatever the number of workers,
the order, and however often any of them was killed.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from deltaring import __version__
from deltaring.errors import DeltaringError
from deltaring.hashed import HashedFile, check_hash
from deltaring.journal import Done, Failed, Journal, Output, Row, escaped, failed
from deltaring.outdir import folder_name, remove_parts
from deltaring.recording import Recording
from deltaring.replay import replay
from deltaring.sources import expand, is_stream, is_url
from deltaring.tables import check_tables, write_tables
from deltaring.workers import AHEAD, Outcome, in_this_process, on_executor, on_processes


class Task(Struct, frozen=True):
    """One recording of a job: all that a worker is told."""

    recording: str
    out: str
    output: Output


class Summary(Struct):
    """What became of a job, or what became of it so far."""

    recordings: int = 0
    """What was asked for; also what could not be found."""
    done: int = 0
    """This time."""
    skipped: int = 0
    """An earlier run had done them."""
    failed: int = 0
    problems: int = 0
    """Bad lines and frames in those that are done, also by an earlier run."""
    partial: int = 0
    """Recordings that are cut off, of which the readable part was kept."""
    size: int = 0
    """Bytes of those that were done this time, as they are stored."""
    seconds: float = 0.0
    """Of audio in them: the assistant's and the user's."""
    stopped: str = ""
    """Why the job ended before its end; mostly empty."""

    @property
    def left(self) -> int:
        """Recordings of which nothing is known yet."""
        return self.recordings - self.done - self.skipped - self.failed


Progress = Callable[[Summary, Row], object]


def run(
    recordings: Iterable[str],
    out: Path,
    output: Output,
    *,
    jobs: int = 1,
    executor: Executor | None = None,
    verify: bool = False,
    tables: bool = False,
    max_bad_files: int | None = None,
    max_bad_lines: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Replay recordings, each into a folder of its own in `out`; pass over those that are done.

    What became of each recording stands in the journal there (`deltaring.journal`); docs/replay.md
    says when one counts as done.

    recordings: files, folders, patterns and URLs, as `sources.expand` takes them.
    output: what is written for each.
    jobs: processes; with 1, all is done in this one.
    executor: where to work in their place, any `concurrent.futures.Executor`; `jobs` is then how
        many workers it has. Its workers need the same paths, and the same version of deltaring.
    verify: read what is done, too, and do those anew whose contents have changed. Without it, the
        size and time of change tell, and a URL counts as unchanged.
    tables: write Parquet tables over all that is done in `out`, by earlier runs included.
    max_bad_files, max_bad_lines: end when there are more of them.
    progress: called with the summary so far and what became of a recording, for each.

    Raises OSError if `out` cannot be written, and ReplayError if another job is at work there, its
    journal is damaged, tables cannot be written, or xxhash is missing.
    """
    check_hash()
    if tables:
        check_tables()
    out.mkdir(parents=True, exist_ok=True)
    names, missing = expand(recordings)
    with Journal(out) as journal:
        job = _Job(journal, out, output, progress)
        names = job.begin(names, dict(missing))
        if verify:
            job.forget_changed(_work(_hash_of, job.done(names), jobs, executor))
        streams = [name for name in names if is_stream(name)]
        files = sorted(set(names).difference(streams))
        limit = partial(_limit, job.summary, max_bad_files, max_bad_lines)
        try:
            with closing(in_this_process(replay_one, job.tasks(streams))) as outcomes:
                job.take_all(outcomes, limit)
            with closing(_work(replay_one, job.tasks(files), jobs, executor)) as outcomes:
                job.take_all(outcomes, limit)
        finally:
            job.tidy()
        journal.sort()
        if tables:
            write_tables(out, job.folders())
    return job.summary


def replay_one(task: Task) -> Row:
    """Replay a recording into its folder. May be called again, and in any process."""
    source = HashedFile(task.recording)
    recording = Recording(source, name=task.recording)
    output = task.output
    try:
        report, folder = replay(
            recording,
            Path(task.out),
            audio=output.audio,
            rate=output.rate,
            stereo=output.stereo,
            salvage=output.salvage,
            events=output.events,
        )
    except (OSError, DeltaringError) as error:
        return failed(task.recording, explain(error, task.recording))
    return Done(
        recording=escaped(task.recording),
        folder=folder.name,
        size=source.size,
        mtime_ns=source.mtime_ns,
        xxh3=source.xxh3,
        version=__version__,
        output=output,
        frames=report.frames["server"] + report.frames["client"],
        problems=report.error_count,
        partial=report.partial,
        seconds=report.seconds,
        user_seconds=report.user_seconds,
    )


def explain(error: BaseException, name: str) -> str:
    """Say what went wrong with a recording, and with which file where it is another one."""
    if not isinstance(error, (OSError, DeltaringError)):  # nobody foresaw it: its kind may tell
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    other = error.filename2 or error.filename
    return error.strerror if other in (None, name) else f"{error.strerror}: {other}"


class _Job:
    """A job at work: what is to be done, and what became of it."""

    def __init__(
        self, journal: Journal, out: Path, output: Output, progress: Progress | None
    ) -> None:
        self._journal = journal
        self._out = out
        self._output = output
        self._progress = progress
        self._at_work: set[str] = set()
        self.summary = Summary()

    def begin(self, names: list[str], missing: dict[str, str]) -> list[str]:
        """Enter what cannot be done; return what can, sorted.

        missing: reasons, by name.
        """
        owners = {row.folder: row.recording for row in self._journal.rows() if type(row) is Done}
        free = []
        for name in sorted(names):
            owner = owners.setdefault(folder_name(name), escaped(name))
            if owner == escaped(name):
                free.append(name)
            else:
                missing[name] = f"its folder is that of {owner}: replay it to another place"
        self.summary.recordings = len(free) + len(missing)
        for name, reason in sorted(missing.items()):
            self.take(failed(name, reason))
        return free

    def done(self, names: Iterable[str]) -> Iterator[str]:
        """Yield those of the recordings that an earlier run has done."""
        return (name for name in names if self._done(name) is not None)

    def forget_changed(self, outcomes: Iterable[Outcome]) -> None:
        """Take recordings out of the journal whose contents are not what they were."""
        for name, found, _ in outcomes:
            row = self._journal.row(name)
            if not isinstance(row, Done) or row.xxh3 != found:
                self._journal.forget(name)

    def tasks(self, names: Iterable[str]) -> Iterator[Task]:
        """Yield what is to be done, and count what is done already."""
        for name in names:
            row = self._done(name)
            if row is not None:
                self.summary.skipped += 1
                self._count(row)
                self._tell(row)
                continue
            if isinstance(self._journal.row(name), Done):  # its outputs are what it says no longer
                self._journal.add(failed(name, "it was begun again, and not ended"))
            self._at_work.add(name)
            yield Task(name, str(self._out), self._output)

    def take_all(self, outcomes: Iterable[Outcome], limit: Callable[[], str]) -> None:
        """Take outcomes as they come, until a limit is reached."""
        self.summary.stopped = limit()
        if self.summary.stopped:
            return
        for item, row, error in outcomes:
            self._at_work.discard(item.recording)
            self.take(row if error is None else self._given_up(item.recording, error))
            self.summary.stopped = limit()
            if self.summary.stopped:
                return

    def _given_up(self, name: str, error: BaseException) -> Failed:
        self._remove_parts(name)  # who was killed could not
        return failed(name, explain(error, name))

    def tidy(self) -> None:
        """Remove what those left that were ended at their work."""
        for name in self._at_work:
            self._remove_parts(name)

    def _remove_parts(self, name: str) -> None:
        folder = self._out / folder_name(name)
        if folder.is_dir() and not folder.is_symlink():
            remove_parts(folder)

    def take(self, row: Row) -> None:
        """Enter and count what became of a recording."""
        summary = self.summary
        self._journal.add(row)
        if isinstance(row, Done):
            summary.done += 1
            summary.size += row.size
            summary.seconds += row.seconds + row.user_seconds
            self._count(row)
        else:
            summary.failed += 1
        self._tell(row)

    def folders(self) -> Iterator[tuple[str, str]]:
        """Yield name and folder of all that is done and still there."""
        for row in self._journal.rows():
            if isinstance(row, Done) and self._is_there(row):
                yield row.recording, row.folder

    def _tell(self, row: Row) -> None:
        if self._progress is not None:
            self._progress(self.summary, row)

    def _count(self, row: Done) -> None:
        self.summary.problems += row.problems
        self.summary.partial += row.partial

    def _done(self, name: str) -> Done | None:
        """Return the row of a recording that was done just so, and is still the same file."""
        row = self._journal.row(name)
        if not isinstance(row, Done) or is_stream(name):
            return None
        wanted = (folder_name(name), __version__, self._output)
        if (row.folder, row.version, row.output) != wanted or not self._is_there(row):
            return None
        return row if is_url(name) or _stamp(name) == (row.size, row.mtime_ns) else None

    def _is_there(self, row: Done) -> bool:
        folder = self._out / row.folder
        return (folder / "session.json").is_file() and (folder / "transcript.json").is_file()


def _work(
    function: Callable[[Any], object], items: Iterable[Any], jobs: int, executor: Executor | None
) -> Generator[Outcome, None, None]:
    if executor is not None:
        return on_executor(executor, function, items, AHEAD * jobs)
    return in_this_process(function, items) if jobs == 1 else on_processes(function, items, jobs)


def _stamp(name: str) -> tuple[int, int] | None:
    """Return size and time of change; None if the file is not there."""
    try:
        status = os.stat(name)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _hash_of(name: str) -> str:
    """Return the hash of a recording's bytes; "" if it cannot be read."""
    source = HashedFile(name)
    try:
        source.open().close()
    except (OSError, DeltaringError):
        return ""
    return source.xxh3


def _limit(summary: Summary, max_bad_files: int | None, max_bad_lines: int | None) -> str:
    if max_bad_files is not None and summary.failed > max_bad_files:
        return f"more than {max_bad_files} bad files"
    if max_bad_lines is not None and summary.problems > max_bad_lines:
        return f"more than {max_bad_lines} bad lines"
    return ""
