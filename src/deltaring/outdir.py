"""OutputFolder: a folder whose files appear whole or not at all.

Rule: a file is written under a temporary name and synced; when all of them are whole, they are
renamed. Nothing partial ever stands under a final name, and no new file beside an old one. Names
are the caller's own: nothing from inside a recording is part of a path, nothing is written outside
the folder, and no link is followed into another place.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from deltaring.errors import ReplayError

PART = ".deltaring-part"
"""What the names of files end with that are not whole yet."""

_MAX_STEM = 60
_SUFFIXES = r"(\.(jsonl|ndjson|json|log|txt|har))?(\.(gz|zst))?\Z"
# Not every system has every flag; where O_NOFOLLOW is missing, O_EXCL still refuses a link.
_FLAGS = (
    os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


def folder_name(given: str) -> str:
    """Return the folder name for a recording, from its path as it was given.

    The path's stem, sanitised and at most 60 characters long, and 8 hex digits of the path's
    SHA-256: two paths of one stem share a folder in one of 4,000 million cases.
    """
    stem = re.sub(_SUFFIXES, "", Path(given).name, flags=re.IGNORECASE)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[:_MAX_STEM] or "recording"
    return f"{stem}-{hashlib.sha256(os.fsencode(given)).hexdigest()[:8]}"


class OutputFolder:
    """A folder of output files. Files of an earlier run that are not written anew are removed."""

    def __init__(self, root: Path, name: str, stale: re.Pattern[str]) -> None:
        """Make `root/name`. `stale` matches the names of files that an earlier run may have left.

        Raises ReplayError if there is something else, or a link, in its place; OSError as usual.
        """
        self.path = root / name
        self._staged: dict[str, str] = {}  # final names, and the temporary ones that they have yet
        self._stale = stale
        # Another process may still be at the same recording, cut off from whoever gave it up.
        self._part = f".{os.urandom(4).hex()}{PART}"
        root.mkdir(parents=True, exist_ok=True)
        try:
            self.path.mkdir()
        except FileExistsError:
            if not stat.S_ISDIR(self.path.lstat().st_mode):
                raise ReplayError(f"{self.path} is in the way: not a folder, or a link") from None
        remove_parts(self.path)

    def part(self, name: str) -> BinaryIO:
        """Open a new file for reading and writing, under the temporary name of `name`."""
        return os.fdopen(os.open(self.path / (name + self._part), _FLAGS, 0o644), "w+b")

    def reopen(self, name: str) -> BinaryIO:
        """Open the temporary file of `name` once more, to read it or to write on at its end."""
        file = (self.path / (name + self._part)).open("r+b")
        file.seek(0, os.SEEK_END)
        return file

    def keep(self, name: str, file: BinaryIO, *, final: str | None = None) -> None:
        """Sync and close `file`, opened by `part` as `name`; `finish` gives it its final name."""
        with file:
            file.flush()
            os.fsync(file.fileno())
        self._staged[final or name] = name + self._part

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file of that name; it is kept when the block ends without an error."""
        file = self.part(name)
        try:
            yield file
        except BaseException:
            file.close()
            raise
        self.keep(name, file)

    def finish(self) -> None:
        """Give the files that are kept their names, remove what else this run and an earlier one
        left, and make it durable."""
        for name, part in self._staged.items():
            os.replace(self.path / part, self.path / name)
        remove_parts(self.path)
        for entry in os.listdir(self.path):
            if self._stale.fullmatch(entry) and entry not in self._staged:
                _remove(self.path / entry)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Remove the temporary files; the folder too, where it is empty then."""
        remove_parts(self.path)
        if not os.listdir(self.path):
            self.path.rmdir()


def remove_parts(folder: Path) -> None:
    """Remove the temporary files in a folder, as a process that was killed leaves them."""
    for entry in os.listdir(folder):
        if entry.endswith(PART):
            _remove(folder / entry)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
