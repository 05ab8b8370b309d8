"""Journal: what became of each recording of a job, so that a rerun need not do it again.

Rule: a recording is entered as done only after all of its outputs stand under their final names,
and the line reaches the disk before the next one is begun. So whatever ends a job, what its journal
names is there, and what it does not name is done anew.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeAlias

import msgspec
from msgspec import Struct

from deltaring.errors import ReplayError
from deltaring.outdir import PART

try:
    import fcntl
except ImportError:  # Windows: two jobs in one folder are not told apart there
    fcntl = None  # type: ignore[assignment]

JOURNAL = "deltaring-job.jsonl"
"""Its name in the job's folder."""


class Output(Struct, frozen=True):
    """What is written for each recording: the arguments of `replay`."""

    audio: str = "wav"
    rate: int | None = None
    stereo: bool = False
    salvage: bool = False
    events: bool = False


class Done(Struct, frozen=True, kw_only=True, tag="done", tag_field="state"):
    """A recording whose outputs are whole."""

    recording: str
    """Its name, as it was given or found; what is no UTF-8 in it is escaped."""
    folder: str
    """Of its outputs, in that of the job."""
    size: int
    """Bytes of the file, as it is stored."""
    mtime_ns: int
    """When the file was last changed, in Unix nanoseconds; 0 for what is no regular file."""
    xxh3: str
    """XXH3-128 of the file's bytes, taken while they were read, in hex."""
    version: str
    """Of deltaring: another one may write something else."""
    output: Output
    """What was to be written."""
    frames: int
    problems: int
    """Lines and frames that were bad; `session.json` names them."""
    partial: bool
    """The file was cut off, and what could be read of it was kept."""
    seconds: float
    """Of the assistant's audio."""
    user_seconds: float


class Failed(Struct, frozen=True, kw_only=True, tag="failed", tag_field="state"):
    """A recording that could not be done. A rerun tries again."""

    recording: str
    reason: str


Row: TypeAlias = Done | Failed

_ROW: msgspec.json.Decoder[Row] = msgspec.json.Decoder(Done | Failed)


def escaped(name: str) -> str:
    """Return a recording's name as it stands in the journal: a path need be no UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def failed(name: str, reason: str) -> Failed:
    """Return the row of a recording that could not be done."""
    return Failed(recording=escaped(name), reason=escaped(reason))


class Journal:
    """The journal in a job's folder, as JSON lines. Of each, memory holds the name and the place.

    with Journal(folder) as journal:
        journal.add(row)
    """

    def __init__(self, folder: Path) -> None:
        """Open it, or begin one; no other process can while it is open.

        A last line that was cut off is removed. Raises OSError, and ReplayError if another job is
        at work in the folder, or a line is none of a journal.
        """
        self._path = folder / JOURNAL
        self._places: dict[str, int] = {}
        with ExitStack() as owned:
            _lock(folder, owned)
            self._open(owned)
            self._owned = owned.pop_all()

    def _open(self, owned: ExitStack) -> None:
        self._appended = owned.enter_context(self._path.open("ab", buffering=0))
        self._file = owned.enter_context(self._path.open("rb"))
        self._end = self._read()

    def _read(self) -> int:
        """Note the place of the last line for each name; return where the next line goes."""
        offset = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                self._appended.truncate(offset)
                break
            try:
                self._places[_ROW.decode(line).recording] = offset
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ReplayError(
                    f"{self._path}:{number}: no line of a job: {error}; without this file, the job "
                    "begins anew"
                ) from None
            offset += len(line)
        return offset

    def row(self, name: str) -> Row | None:
        """Return what became of a recording; None where nothing is known. Raises OSError."""
        place = self._places.get(escaped(name))
        return None if place is None else _ROW.decode(self._line(place))

    def rows(self) -> Iterator[Row]:
        """Yield what became of all recordings, in the order of their names. Raises OSError."""
        for name in sorted(self._places):
            yield _ROW.decode(self._line(self._places[name]))

    def _line(self, place: int) -> bytes:
        self._file.seek(place)
        return self._file.readline()

    def add(self, row: Row) -> None:
        """Enter what became of a recording; it is on the disk when this returns. Raises OSError."""
        line = msgspec.json.encode(row) + b"\n"
        try:
            if self._appended.write(line) != len(line):
                raise OSError(f"{self._path}: the disk is full")
            os.fsync(self._appended.fileno())
        except OSError:
            self._appended.truncate(self._end)  # what follows a torn line would be part of it
            raise
        self._places[row.recording] = self._end
        self._end += len(line)

    def forget(self, name: str) -> None:
        """Let nothing be known of a recording, for this process at least."""
        self._places.pop(escaped(name), None)

    def sort(self) -> None:
        """Put the lines in the order of their names, whoever did what when. Raises OSError."""
        part = self._path.with_name(JOURNAL + PART)
        try:
            with part.open("wb") as file:
                for name in sorted(self._places):
                    file.write(self._line(self._places[name]))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._open(self._owned)

    def close(self) -> None:
        """Close it."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _lock(folder: Path, owned: ExitStack) -> None:
    """Keep other jobs out of the folder; the system lets go when this process ends, however."""
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    owned.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ReplayError(f"another job is at work in {folder}") from None
    except OSError:  # a file system without locks
        return
    # Closing alone is not enough: processes that the program has forked hold the lock, too.
    owned.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
