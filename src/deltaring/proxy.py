"""A WebSocket proxy that records the sessions that go through it.

Rule: a message leaves as it came, text as text and bytes as bytes, and both sides end with the same
code. Credentials are the client's: they are passed on, none is added, and nothing of a handshake is
written or logged.
"""

import asyncio
import ipaddress
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from deltaring.errors import RecordingError
from deltaring.frame import MAX_FRAME, Frame
from deltaring.recorder import Counts, Recorder
from deltaring.redact import check_kinds

_GRACE = 2.0  # seconds for both sides to answer that they are closing; one that hangs never will
_CLOSE_TIMEOUT = 120.0
"""Seconds for a side to take what was sent to it before the close: cut off earlier, it would lose
the last messages."""
_DIAL_TIMEOUT = 10  # seconds for the upstream's handshake; the client's then waits twice as long
# RFC 9110, section 7.6.1. The rest of a WebSocket handshake is each connection's own, too.
_HOP_BY_HOP = frozenset(
    (
        "connection", "content-length", "host", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip

log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.WARNING)  # at DEBUG, websockets logs headers and frames
_quiet.addFilter(lambda record: not record.exc_info)  # errors may quote what was in a handshake


class Proxy:
    """Passes sessions on to an upstream server and records each in a file of its own.

        proxy = Proxy("wss://api.openai.com/v1/realtime", "session.jsonl")
        async with proxy.listen("127.0.0.1", 8765):
            await asyncio.Event().wait()

    The first connection is recorded in `session.jsonl`, the next in `session-2.jsonl`, and so on;
    a file that is there already is left alone, and its number passed over. A disk that fails ends
    that recording, not the session: it is logged as an error and counted in `failures`.
    """

    def __init__(
        self,
        upstream: str,
        path: str | os.PathLike[str],
        *,
        redact: Collection[str] = (),
        keep_secrets: bool = False,
        allow_origin: Collection[str] = (),
    ) -> None:
        """Name the server and the file; neither is opened yet.

        upstream: a ws:// or wss:// URL. Where it has no path, the client's is asked for; where it
            has no query, the client's is passed on.
        redact, keep_secrets: as for `Recorder`.
        allow_origin: origins of the web pages that may connect; `*` is any.
        Raises ValueError for another URL, one that holds a user, or another `redact`.
        """
        self._upstream = _parsed(upstream)
        self._path = Path(path)
        self._number = 0  # of the last file
        self._redact, self._keep_secrets = check_kinds(redact), keep_secrets
        self._allowed = frozenset(allow_origin)
        self._dialled: dict[ServerConnection, ClientConnection] = {}
        self._upstreams: set[ClientConnection] = set()  # of the sessions that go on
        self._watchers: set[asyncio.Task[None]] = set()
        self.connections = 0
        """Sessions that were passed on."""
        self.refused = 0
        """Handshakes that were not, by the proxy or by the upstream."""
        self.failures = 0
        """Recordings that could not be made, or not to their end."""
        self.recordings: list[Path] = []
        """Files that were made, in the order of the connections."""
        self.counts = Counts()
        """Totals of the recordings that are finished."""

    @asynccontextmanager
    async def listen(
        self, host: str = "127.0.0.1", port: int = 8765, *, insecure: bool = False
    ) -> AsyncIterator[Server]:
        """Accept connections until the context is left; that closes all sessions with code 1001.

        host, port: where; port 0 takes a free one. insecure: lets `host` be other than loopback,
        where anyone may connect, and what they send goes over the network in the clear.
        Raises ValueError for such a host without it.
        """
        if not insecure and not _is_loopback(host):
            raise ValueError(
                f"{host or 'every interface'} is not loopback, so others could connect: "
                "that takes --insecure-listen (insecure=True)"
            )
        async with serve(
            self._bridge,
            host,
            port,
            process_request=self._dial,
            select_subprotocol=self._agreed_subprotocol,
            compression=None,
            max_size=MAX_FRAME,
            max_queue=1,
            open_timeout=2 * _DIAL_TIMEOUT,
            close_timeout=_CLOSE_TIMEOUT,
            ping_interval=None,  # a pong waits behind messages that the other side does not take
            server_header=None,
            logger=_quiet,
        ) as server:
            try:
                yield server
            finally:
                await self._stop(server)

    async def _stop(self, server: Server) -> None:
        """Close all sessions, and cut those that do not answer."""
        clients = list(server.connections)
        server.close()
        try:
            async with asyncio.timeout(_GRACE):
                await server.wait_closed()
        except TimeoutError:
            for connection in (*clients, *self._upstreams):
                connection.transport.abort()

    async def _dial(self, client: ServerConnection, request: Request) -> Response | None:
        """Connect to the upstream while the client waits; its refusal becomes the client's."""
        upgrades = request.headers.get_all("Upgrade")
        if len(upgrades) > 1:
            return client.respond(400, "There is more than one Upgrade header.\n")
        if not upgrades or upgrades[0].lower() != "websocket":
            return None  # no handshake; the library says so
        refusal = self._refusal(client, request)
        if refusal is None:
            try:
                upstream = await self._connect(request)
            except InvalidStatus as error:
                refusal = _passed_on(error.response)
            except (OSError, WebSocketException) as error:
                refusal = client.respond(502, f"The upstream cannot be reached: {_reason(error)}\n")
            except ValueError:  # a header or subprotocol that cannot be passed on, and may be a key
                refusal = client.respond(400, "A header of the request is malformed.\n")
        if refusal is not None:
            self.refused += 1
            log.warning("refused a connection: HTTP %d", refusal.status_code)
            return refusal
        self._dialled[client] = upstream
        watcher = asyncio.create_task(self._hang_up_unused(client))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return None

    def _refusal(self, client: ServerConnection, request: Request) -> Response | None:
        origins = request.headers.get_all("Origin")
        if origins and "*" not in self._allowed and not self._allowed.issuperset(origins):
            return client.respond(403, "Connections from web pages are refused.\n")
        if not request.path.startswith("/"):  # it would become part of the host
            return client.respond(400, "The request's path is not absolute.\n")
        return None

    async def _connect(self, request: Request) -> ClientConnection:
        offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
        subprotocols = [Subprotocol(name.strip()) for name in offered if name.strip()]
        return await _Dialler(
            self._target(request.path),
            additional_headers=_end_to_end(request.headers),
            user_agent_header=None,
            subprotocols=subprotocols or None,
            compression=None,
            max_size=MAX_FRAME,
            max_queue=1,  # messages may be large, and each is passed on as it comes
            open_timeout=_DIAL_TIMEOUT,
            close_timeout=_CLOSE_TIMEOUT,
            ping_interval=None,
            logger=_quiet,
        )

    def _target(self, requested: str) -> str:
        path, _, query = requested.partition("?")
        own = self._upstream
        path = path if own.path in ("", "/") else own.path
        return urlunsplit((own.scheme, own.netloc, path, own.query or query, ""))

    def _agreed_subprotocol(
        self, client: ServerConnection, offered: Collection[Subprotocol]
    ) -> Subprotocol | None:
        return self._dialled[client].subprotocol

    async def _hang_up_unused(self, client: ServerConnection) -> None:
        """Close an upstream whose client left before its own handshake was done."""
        await client.wait_closed()
        upstream = self._dialled.pop(client, None)
        if upstream is not None:
            await _hang_up(upstream)

    async def _bridge(self, client: ServerConnection) -> None:
        upstream = self._dialled.pop(client)
        try:
            recorder = self._new_recorder()
        except (OSError, RecordingError) as error:
            self.failures += 1
            log.error("a connection was closed, it cannot be recorded: %s", error)
            await _hang_up(upstream)
            await _hang_up(client, CloseCode.INTERNAL_ERROR, "the session cannot be recorded")
            return
        self.connections += 1
        self._upstreams.add(upstream)
        with recorder:
            tape = _Tape(recorder)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pass_on(upstream, client, tape.received))
                    both.create_task(_pass_on(client, upstream, tape.sent))
            finally:
                self._upstreams.discard(upstream)
                self.failures += tape.torn
                self.counts.add(recorder.counts)

    def _new_recorder(self) -> Recorder:
        path = self._new_file()
        self.recordings.append(path)
        log.info("recording %s", path)
        return Recorder(path, redact=self._redact, keep_secrets=self._keep_secrets)

    def _new_file(self) -> Path:
        """Make the file of the next number that is not there, so that no two sessions share one."""
        while True:
            self._number += 1
            path = self._path
            if self._number > 1:
                path = path.with_stem(f"{path.stem}-{self._number}")
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                continue
            return path


class _Dialler(connect):
    """A redirect is passed on as any other refusal: followed, it would take credentials along."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class _Tape:
    """A recorder whose disk may fail: then the recording ends, so that it has no holes."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.torn = False

    def received(self, frame: Frame) -> None:
        self._take(self._recorder.received, frame)

    def sent(self, frame: Frame) -> None:
        self._take(self._recorder.sent, frame)

    def _take(self, record: Callable[[Frame], float], frame: Frame) -> None:
        if self.torn:
            return
        try:
            record(frame)
        except OSError as error:
            self.torn = True
            log.error("a recording ended early, its session goes on: %s", error)


async def _pass_on(source: Connection, target: Connection, keep: Callable[[Frame], None]) -> None:
    """Pass messages on one by one until either side closes, and then its close.

    Each is sent before the next is taken, so a slow reader slows the sender down.
    """
    while True:
        try:
            message = await source.recv()
        except ConnectionClosed as closed:
            await _close_alike(target, closed)
            return
        keep(message)
        try:
            await target.send(message)
        except ConnectionClosed:  # the other direction passes this on
            await _discard(source)
            return


async def _discard(source: Connection) -> None:
    """Take what a side still has on its way, for nobody: its answer to the close is behind that."""
    with suppress(ConnectionClosed):
        while True:
            await source.recv()


async def _hang_up(
    side: Connection, code: CloseCode = CloseCode.NORMAL_CLOSURE, reason: str = ""
) -> None:
    """Close a side from which nobody reads."""
    async with asyncio.TaskGroup() as both:
        both.create_task(_discard(side))
        both.create_task(side.close(code, reason))


async def _close_alike(target: Connection, closed: ConnectionClosed) -> None:
    close = closed.rcvd or closed.sent
    if close is None:  # the connection was lost: so is this one, once what was sent is through
        target.transport.close()
    elif close.code == CloseCode.NO_STATUS_RCVD:
        await target.close()
    else:
        await target.close(close.code, close.reason)


def _parsed(upstream: str) -> SplitResult:
    url = urlsplit(upstream)
    if url.scheme not in ("ws", "wss") or not url.hostname:
        raise ValueError(f"the upstream is a ws:// or wss:// URL, not one of {url.scheme!r}")
    if "@" in url.netloc:
        raise ValueError("the upstream's URL holds a user: credentials are left to the client")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _end_to_end(headers: Headers) -> list[tuple[str, str]]:
    """Return the headers that are meant for the other end."""
    named = ",".join(headers.get_all("Connection")).lower().split(",")
    dropped = _HOP_BY_HOP.union(name.strip() for name in named)
    return [
        (name, value)
        for name, value in headers.raw_items()
        if name.lower() not in dropped and not name.lower().startswith("sec-websocket-")
    ]


def _passed_on(response: Response) -> Response:
    """Return the upstream's refusal as the client gets it."""
    body = response.body or b""
    headers = Headers(_end_to_end(response.headers))
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    return Response(response.status_code, response.reason_phrase, headers, body)


def _reason(error: Exception) -> str:
    """What went wrong, without the URL that some of websockets' errors quote."""
    return str(error) if isinstance(error, OSError) else type(error).__name__
