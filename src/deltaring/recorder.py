"""Recording a live session: the frames of both directions, as they go by.

Rule: nothing is written before it went through a `Redaction`, and only into a file that its owner
alone can read. The clock is read once; from then on time is monotonic.
"""

import os
import stat
import time
from collections.abc import Callable, Collection
from threading import Lock
from typing import Self

from msgspec import Struct

from deltaring.errors import RecordingError
from deltaring.frame import Frame
from deltaring.recording import RecordingWriter
from deltaring.redact import Redaction, check_kinds


class Counts(Struct):
    """What was recorded."""

    received: int = 0
    """Frames from the server."""
    sent: int = 0
    """Frames from the client."""
    received_bytes: int = 0
    """As they went over the wire, before redaction."""
    sent_bytes: int = 0
    redacted: int = 0
    """Frames of which something was hidden."""
    withheld: int = 0
    """Frames that were not written, since they are no JSON and could not be checked for secrets."""

    def add(self, other: "Counts") -> None:
        """Add what another recorder counted."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Recorder:
    """Writes the frames of one live session to a recording, each with the time it went by.

    Call `received` and `sent` beside the calls that receive and send. With websockets:

        with Recorder("session.jsonl") as recorder:
            async for frame in websocket:
                recorder.received(frame)

    With aiohttp a frame is `message.data`, with picows `frame.get_payload_as_bytes()` (of a message
    in one frame), with the OpenAI SDK what `connection.recv_bytes()` returns; `parse_event(frame)`
    makes the SDK's event of it. What is sent is recorded as the text that goes out:

        recorder.sent(frame)
        await websocket.send(frame)

    Headers, URLs and subprotocols are never seen here. Of the frames, `Redaction` says what is
    hidden. Threads may share a recorder. A full disk raises OSError here, and says nothing about
    the session: whether that goes on is the caller's decision.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        redact: Collection[str] = (),
        keep_secrets: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open `path` for appending; a new file gets mode 0600.

        redact: "audio" and "text", as `Redaction` explains them.
        keep_secrets: writes credentials, too; and, with nothing to redact, frames that are no JSON.
        clock, monotonic: seconds; the first is Unix time and is read once.
        Raises RecordingError where others may read a file that is there, OSError as files do, and
        ValueError for another `redact`.
        """
        kinds = check_kinds(redact)
        self._redaction = Redaction(
            secrets=not keep_secrets, audio="audio" in kinds, text="text" in kinds
        )
        self._writer = RecordingWriter(path, opener=_open_private)
        self._lock = Lock()
        self._monotonic = monotonic
        self._epoch = clock() - monotonic()
        self.counts = Counts()

    def received(self, frame: Frame) -> float:
        """Record a frame from the server; return its time in Unix seconds, as it is in the file."""
        with self._lock:
            stamp, size = self._write(frame, "server")
            self.counts.received += 1
            self.counts.received_bytes += size
            return stamp

    def sent(self, frame: Frame) -> float:
        """Record a frame from the client; return its time in Unix seconds, as it is in the file."""
        with self._lock:
            stamp, size = self._write(frame, "client")
            self.counts.sent += 1
            self.counts.sent_bytes += size
            return stamp

    def _write(self, frame: Frame, source: str) -> tuple[float, int]:
        stamp = self._epoch + self._monotonic()
        data = frame.encode(errors="surrogatepass") if isinstance(frame, str) else bytes(frame)
        self._writer.write(self._redaction.apply(data, source), source=source, time=stamp)
        self.counts.redacted = self._redaction.redacted
        self.counts.withheld = self._redaction.withheld
        return stamp, len(data)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _open_private(path: str, flags: int) -> int:
    """Open a file that its owner alone may read, or raise RecordingError."""
    descriptor = os.open(path, flags, 0o600)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if os.name == "posix" and mode & 0o077:
        os.close(descriptor)
        raise RecordingError(f"{path}: others may read this file (mode {mode:04o}); chmod 600 it")
    return descriptor
