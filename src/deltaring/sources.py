"""What the arguments of a command stand for: files, folders, patterns, URLs, standard input.

Rule: each argument leads to sources or to a failure that names it. A source keeps the name under
which it was given or found, and one that is found twice is kept once.
"""

import glob
import io
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

from deltaring.errors import RecordingError
from deltaring.journal import JOURNAL
from deltaring.outdir import PART

STDIN = "-"

_RECORDING = re.compile(
    r"(?!\.).*\.(?:jsonl|ndjson|json|log|txt|har)(?:\.(?:gz|zst))?", re.I | re.S
)
"""File names that are taken for recordings in a folder. Hidden files are none."""

_REPLAYED = {"session.json", "transcript.json"}  # a folder with both is what `replay` wrote
_JOB = {JOURNAL, "manifest.jsonl"}  # beside the first of them, both are what a job wrote
_JOB_FOLDER = re.compile(r".*-[0-9a-f]{8}", re.S)  # and so is all in such folders beside it


class Failure(NamedTuple):
    """What an argument does not lead to, and why."""

    name: str
    reason: str


def expand(arguments: Iterable[str]) -> tuple[list[str], list[Failure]]:
    """Return the names of the sources that arguments stand for, and what could not be found.

    A folder stands for the recordings in it and below, by their names; a pattern with `*`, `?`,
    `[...]` or `**` for what it matches, folders included; a URL for itself, but one that ends in /
    is a folder and one with `*` a pattern. Names within an argument are sorted. Whether a file or
    URL that is named as such can be opened is not looked at.
    """
    found: dict[str, str] = {}
    failures: list[Failure] = []
    for argument in arguments:
        before = len(failures)
        try:
            names = list(_names(argument, failures))
        except (OSError, ValueError, RecordingError) as error:  # a name may hold a NUL
            names = []
            failures.append(Failure(argument, _reason(error)))
        for name in names:
            identity = _identity(name)
            found[identity] = min(name, found.get(identity, name))  # in whatever order they come
        if not names and len(failures) == before:
            failures.append(Failure(argument, "there are no recordings here"))
    return list(found.values()), failures


def is_url(name: str) -> bool:
    return "://" in name


def is_stream(name: str) -> bool:
    """Whether a source can be read once, and by this process: standard input, a pipe."""
    return name == STDIN or (os.path.exists(name) and not os.path.isfile(name))


class RemoteFile:
    """What a URL names."""

    def __init__(self, url: str) -> None:
        self.name = url

    def open(self) -> BinaryIO:
        """Open it for reading from its start.

        Raises OSError, and RecordingError where fsspec or what it needs for this kind of URL is
        missing, or its client library refuses.
        """
        with _faults():
            return cast(BinaryIO, _RemoteStream(_fsspec().open(self.name, "rb").open()))


def _names(argument: str, failures: list[Failure]) -> Iterator[str]:
    if argument == STDIN:
        yield argument
    elif is_url(argument):
        yield from _remote(argument)
    elif os.path.isdir(argument):
        yield from _folder(argument, failures)
    elif glob.has_magic(argument) and not os.path.lexists(argument):
        yield from _matches(argument, failures)
    else:
        yield argument


def _folder(top: str, failures: list[Failure]) -> Iterator[str]:
    """Yield the recordings in a folder and below; links to folders are not followed."""

    def unreadable(error: OSError) -> None:
        failures.append(Failure(str(error.filename), _reason(error)))

    for folder, inner, files in os.walk(top, onerror=unreadable):
        inner[:] = sorted(name for name in inner if not _passed_over(name, files))
        for name in _recordings(files):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                yield path
            else:
                failures.append(Failure(path, "a broken link, or no regular file"))


def _passed_over(folder: str, beside: list[str]) -> bool:
    """Whether a folder is hidden, or a job wrote it."""
    return folder.startswith(".") or (
        JOURNAL in beside and _JOB_FOLDER.fullmatch(folder) is not None
    )


def _matches(pattern: str, failures: list[Failure]) -> Iterator[str]:
    """Yield the files that match, and the recordings in folders that do."""
    everything = os.path.basename(pattern) == "**"  # then names are looked at, as in a folder
    for name in sorted(glob.glob(pattern, recursive=True)):
        if _is_written(name, os.path.exists) or _is_written(f"{name}/file", os.path.exists):
            continue
        if os.path.isdir(name):
            yield from _folder(name, failures)
        elif _recordings([os.path.basename(name)]) or not (everything or name.endswith(PART)):
            yield name


def _recordings(paths: Iterable[str]) -> list[str]:
    """Return those that look like recordings and are no output of a replay, sorted."""
    known = set(paths)
    return sorted(
        path
        for path in known
        if _RECORDING.fullmatch(posixpath.basename(path))
        and not _is_written(path, known.__contains__)
    )


def _is_written(path: str, exists: Callable[[str], bool]) -> bool:
    """Whether a replay wrote this file, by what else is there."""
    folder, name = posixpath.split(path)
    top, own = posixpath.split(folder)
    return (
        all(exists(posixpath.join(folder, other)) for other in _REPLAYED)
        or (name in _JOB and exists(posixpath.join(folder, JOURNAL)))
        or (_JOB_FOLDER.fullmatch(own) is not None and exists(posixpath.join(top, JOURNAL)))
    )


def _identity(name: str) -> str:
    return name if name == STDIN or is_url(name) else os.path.realpath(name)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _remote(url: str) -> Iterator[str]:
    """Yield what a URL stands for. Its query may have a `?`, so that is no wildcard here."""
    if not url.endswith("/") and "*" not in url:
        yield url
        return
    with _faults():
        system, path = _fsspec().core.url_to_fs(url)
        if url.endswith("/"):
            paths = _below(path, system.find(path))
        else:
            paths = _matching(path, system.glob(path, detail=True))
        # What stands before the path (scheme, user, host) is in nothing that a file system returns.
        given, path = url.rstrip("/"), path.rstrip("/")
        base = given.removesuffix(path)
        for name in paths:
            yield base + name if path and base != given else system.unstrip_protocol(name)


def _below(folder: str, paths: Iterable[str]) -> list[str]:
    """Return those of the files in a folder and below that are recordings."""
    return [path for path in _recordings(paths) if not _hidden(path, folder)]


def _matching(pattern: str, about: dict[str, dict[str, Any]]) -> list[str]:
    """Return those of the matches of a pattern that are files, without hidden ones."""
    before, _, _ = pattern.partition("*")
    return sorted(
        path for path in about if about[path]["type"] != "directory" and not _hidden(path, before)
    )


def _hidden(path: str, folder: str) -> bool:
    return "/." in "/" + path.removeprefix(folder)


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what a file system of fsspec raises into RecordingErrors, but for OSErrors with reason.

    Each raises what its client library does: there is no narrower class. That of HTTP hides the
    reason behind a FileNotFoundError.
    """
    try:
        yield
    except RecordingError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise
        raise RecordingError(f"{type(error).__name__}: {error.__cause__ or error}") from error


class _RemoteStream(io.RawIOBase):
    """An open file of fsspec, whose faults are all OSErrors: readers know what to do with those."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            with _faults():
                data = self._file.read(len(buffer))
        except RecordingError as error:
            raise OSError(str(error)) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _fsspec() -> Any:
    try:
        import fsspec  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise RecordingError("a URL needs fsspec: pip install 'deltaring[remote]'") from None
    return fsspec
