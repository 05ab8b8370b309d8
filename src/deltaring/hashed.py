"""HashedFile: a recording's bytes, hashed while somebody reads them.

Rule: the hash is that of all bytes as they are stored, wherever the reader stopped; and a file that
changes meanwhile is an error, since nobody could say which one was read.
"""

import importlib
import io
import os
import stat
import sys
from typing import Any, BinaryIO, cast

from deltaring.errors import ReplayError
from deltaring.sources import STDIN, RemoteFile, is_url

_BLOCK = 1 << 20  # bytes at a time of what a reader left


class HashedFile:
    """A file, a URL or standard input. Each time that it is opened, it is hashed anew."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        """Bytes that were read; all of them, once it was closed."""
        self.mtime_ns = 0
        """When it was last changed, in Unix nanoseconds; 0 for what is no regular file."""
        self.xxh3 = ""
        """XXH3-128 in hex, once it was closed."""

    def open(self) -> BinaryIO:
        """Open it at its start. Raises OSError, and ImportError where `check_hash` would refuse."""
        return cast(BinaryIO, _Stream(self, _open(self.name)))


class _Stream(io.RawIOBase):
    """What `HashedFile.open` returns. Closing it reads the rest."""

    def __init__(self, file: HashedFile, raw: Any) -> None:
        self._file = file
        self._raw = raw
        self._hash = importlib.import_module("xxhash").xxh3_128()
        self._before = _stamp(raw)
        file.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._raw.readinto(buffer) or 0
        self._hash.update(memoryview(buffer)[:count])
        self._file.size += count
        return count

    def close(self) -> None:
        """Read the rest, and note the hash. Raises OSError if the file changed meanwhile."""
        if self.closed:
            return
        try:
            rest = bytearray(_BLOCK)
            while self.readinto(rest):
                pass
            after = _stamp(self._raw)
        finally:
            if self._file.name != STDIN:
                self._raw.close()
            super().close()
        if after != self._before:
            raise OSError("it was changed while it was read")
        self._file.xxh3 = self._hash.hexdigest()
        self._file.mtime_ns = after[1] if after else 0


def _open(name: str) -> Any:
    if name == STDIN:
        if sys.stdin is None:
            raise OSError("standard input is closed")
        return sys.stdin.buffer
    return RemoteFile(name).open() if is_url(name) else open(name, "rb", buffering=0)


def _stamp(raw: Any) -> tuple[int, int] | None:
    """Return size and time of change; None for what is no regular file."""
    try:
        status = os.fstat(raw.fileno())
    except OSError:  # a URL has no descriptor
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def check_hash() -> None:
    """Raise ReplayError if the package that hashes is missing."""
    try:
        import xxhash  # noqa: F401
    except ImportError:
        raise ReplayError("a job needs xxhash: pip install 'deltaring[bulk]'") from None
