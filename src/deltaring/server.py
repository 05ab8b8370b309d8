"""serve(): a WebSocket server that plays recordings as the Realtime endpoint would.

Rule: each client gets every server frame of its recording, byte for byte and in order, and what it
does or leaves undone delays nobody else. Nothing is queued: a frame is read when it is due, and the
next one only when the client has taken it.
"""

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncIterator, Collection, Generator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from deltaring.errors import FrameError, InvalidJSON, RecordingError
from deltaring.frame import MAX_FRAME
from deltaring.inbox import PAUSE, Inbox
from deltaring.recording import Recording
from deltaring.script import Step, Wait, read_client_event, steps

_SUBPROTOCOL = Subprotocol("realtime")
_CLOSE_TIMEOUT = 120.0
"""Seconds for a client to take what was sent to it before the close: cut off earlier, it would lose
the last frames."""
_GRACE = 2.0  # seconds for a client to answer that it is closing; one that hangs never will
_PATIENCE = 10.0  # seconds until somebody may wonder what is being waited for
_SHOWN = 10  # problems of a recording that are logged

_log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.WARNING)  # at DEBUG, websockets logs headers, keys included


@asynccontextmanager
async def serve(
    recordings: Sequence[str | os.PathLike[str]],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 1.0,
    ignore_client: bool = False,
    loop: bool = False,
    allow_origin: Collection[str] = (),
) -> AsyncIterator[str]:
    """Serve recordings within an `async with` block, whose value is the URL to connect to.

        async with serve(["session.jsonl"], speed=0) as url:
            ...  # ws://127.0.0.1:<port>/v1/realtime

    recordings: paths of files; each client gets the next one, in turn.
    port: 0 takes any that is free.
    speed: 2 plays twice as fast as recorded; 0 as fast as the client takes it.
    ignore_client: play by the times alone, and wait for nothing that the client sends.
    loop: start again at the end, on the same connection, instead of closing it.
    allow_origin: origins of the web pages that may connect; `*` is any.

    At the end of the block, clients are closed with 1001. Problems in a recording are logged
    (logger `deltaring.server`), and the rest is played.

    Raises OSError where a recording cannot be opened or the address is taken, RecordingError for
    a recording that is no file or has no server frame, and ValueError for a negative
    speed or no recordings at all.
    """
    if not speed >= 0:  # so is nan
        raise ValueError(f"speed is a factor from 0 on, not {speed}")
    if not recordings:
        raise ValueError("there is no recording to serve")
    sources = [_Source(path) for path in recordings]
    stage = _Stage(sources, 1 / speed if speed else 0.0, ignore_client, loop)
    server = await _listen(stage, host, port, frozenset(allow_origin))
    try:
        yield _url(host, server)
    finally:
        await _stop(server)


async def _listen(stage: "_Stage", host: str, port: int, allowed: frozenset[str]) -> Server:
    return await listen(
        stage.receive,
        host,
        port,
        process_request=lambda connection, request: _refuse(connection, request, allowed),
        select_subprotocol=_select,
        compression=None,  # inflating base64 costs more than sending it
        max_size=MAX_FRAME,
        max_queue=1,  # messages may be large, and each is read as it comes
        close_timeout=_CLOSE_TIMEOUT,
        ping_interval=None,  # a client that is stopped in a debugger is still there
        logger=_quiet,
    )


def _url(host: str, server: Server) -> str:
    port = next(iter(server.sockets)).getsockname()[1]
    return f"ws://{f'[{host}]' if ':' in host else host}:{port}/v1/realtime"


def _refuse(
    connection: ServerConnection, request: Request, allowed: frozenset[str]
) -> Response | None:
    """Refuse web pages, and what is not the Realtime endpoint; servers have it at various paths."""
    origins = request.headers.get_all("Origin")
    if origins and "*" not in allowed and not allowed.issuperset(origins):
        return connection.respond(403, "Connections from web pages are refused.\n")
    if not urlsplit(request.path).path.endswith("/realtime"):
        return connection.respond(404, "The endpoint is /v1/realtime.\n")
    return None


def _select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Take `realtime`, and never the API key that browsers offer beside it."""
    return _SUBPROTOCOL if _SUBPROTOCOL in offered else None


async def _stop(server: Server) -> None:
    """Close all connections, and cut those that do not answer."""
    connections = list(server.connections)
    server.close()
    try:
        async with asyncio.timeout(_GRACE):
            await server.wait_closed()
    except TimeoutError:
        for connection in connections:
            connection.transport.abort()


class _Source:
    """A recording that is read anew for each client; its problems are logged once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Look for a server frame. Raises OSError or RecordingError."""
        self.name = os.fspath(path)
        self._logged = 0
        if Path(path).exists() and not Path(path).is_file():
            raise RecordingError(f"{self.name}: only a file can be read anew for each client")
        recording = Recording(path)
        if all(record.source != "server" for record in recording.views()):
            reason = "".join(f"; {problem}" for problem in recording.problems[:1])
            raise RecordingError(f"{self.name}: there is no server frame{reason}")

    def steps(self, ignore_client: bool) -> Generator[Step, None, None]:
        """Yield the steps of playing it, and log what is wrong with it."""
        recording = Recording(self.name)
        for step in steps(recording.views(), ignore_client=ignore_client):
            self._log(recording)
            yield step
        self._log(recording)
        if recording.problem_count > self._logged:
            _log.warning("%s: and %d more", self.name, recording.problem_count - self._logged)
            self._logged = recording.problem_count

    def _log(self, recording: Recording) -> None:
        for problem in recording.problems[self._logged : _SHOWN]:
            _log.warning("%s", problem)
            self._logged += 1


class _Client:
    """One connection: frames go out, and what comes in is counted."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self._inbox = Inbox()
        self._news = asyncio.Event()
        self._now = asyncio.get_running_loop().time

    async def listen(self) -> None:
        """Take what comes, for ever. Raises ConnectionClosed."""
        while True:
            message = await self.socket.recv(decode=False)
            try:
                self._inbox.take(read_client_event(message), self._now())
                self._news.set()
            except FrameError as error:
                await self.socket.send(_error(error))

    async def send(self, frame: bytes) -> None:
        """Send a frame as text, as the protocol has it; what is no UTF-8 can only go as binary."""
        try:
            await self.socket.send(frame.decode())
        except UnicodeDecodeError:
            await self.socket.send(frame)

    async def wait(self, wait: Wait, name: str) -> None:
        """Return when all has come that is waited for; say what it is if that takes long."""
        patience = self._now() + _PATIENCE
        while not self._inbox.satisfies(wait, self._now()):
            if self._now() >= patience:
                _log.info("%s: a client is waited for: %s", name, wait)
                patience = float("inf")
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._news.wait()
        self._inbox.use(wait)


def _error(error: FrameError) -> str:
    """The event that the Realtime endpoint sends where it cannot read one."""
    code = "invalid_json" if isinstance(error, InvalidJSON) else "invalid_event"
    detail = {"type": "invalid_request_error", "code": code, "message": str(error)}
    event = {
        "type": "error",
        "event_id": f"event_{uuid.uuid4().hex}",
        "error": {**detail, "param": None, "event_id": None},
    }
    return msgspec.json.encode(event).decode()


class _Stage:
    """Where recordings are played to clients."""

    def __init__(
        self, sources: list[_Source], pace: float, ignore_client: bool, loop: bool
    ) -> None:
        self._sources = cycle(sources)
        self._pace = pace
        """Seconds for each second of the recording."""
        self._ignore_client = ignore_client
        self._loop = loop

    async def receive(self, socket: ServerConnection) -> None:
        """Play the next recording to a client until it ends or the client goes."""
        client = _Client(socket)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(client.listen())
                both.create_task(self._play(client, next(self._sources)))
        except* ConnectionClosed:
            pass

    async def _play(self, client: _Client, source: _Source) -> None:
        try:
            await self._play_once(client, source)
            while self._loop:
                await self._play_once(client, source)
        except (OSError, RecordingError) as error:
            _log.error("%s", error)
            await client.socket.close(CloseCode.INTERNAL_ERROR, "the recording cannot be read")
        await client.socket.close()

    async def _play_once(self, client: _Client, source: _Source) -> None:
        """Raises OSError and RecordingError: the file may have changed since it was looked at."""
        now = asyncio.get_running_loop().time
        start, sent = now(), 0
        with closing(source.steps(self._ignore_client)) as script:
            for step in script:
                # Against the start, so that delays do not add up; and never without giving way.
                await asyncio.sleep(max(0.0, start + step.at * self._pace - now()))
                if isinstance(step, Wait):
                    await client.wait(step, source.name)
                    start = now()
                else:
                    await client.send(step.frame)
                    sent += 1
        if not sent:
            raise RecordingError(f"{source.name}: there is no server frame")
