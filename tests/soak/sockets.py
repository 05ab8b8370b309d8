"""Sockets: hours of audio through real connections, and a thousand connections in one process.

Rule: server and proxy are the commands, as users start them, in processes of their own; the client
is this process. Each frame that comes is one that was sent, in its order, and none is missing.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from zlib import crc32

import aiohttp
from websockets.asyncio.client import connect

from deltaring import AudioDelta, Decoder, Session, live
from deltaring.events import SessionCreated
from deltaring.frame import MAX_FRAME
from deltaring.proxy import Proxy
from deltaring.recording import Recording, RecordingWriter
from deltaring.server import serve
from tests.soak.book import Reply
from tests.soak.memory import Watch, open_files
from tests.soak.server import Server

_PATIENCE = 60  # seconds, for what takes a hundredth of one

_REPLY = 16
"""Deltas of a reply: four seconds."""


def record(path: Path, replies: int) -> None:
    """Write a session of so many replies to a file, to be served again and again."""
    server = Server(1)
    with RecordingWriter(path) as writer:
        for frame in (*server.connect(), *_replies(server, replies)):
            writer.write(frame, time=0.0)


def _replies(server: Server, count: int) -> Iterator[bytes]:
    for _ in range(count):
        reply = Reply(server.new_id("resp"))
        part = server.new_part(reply)
        yield server.response("created", reply, status="in_progress")
        yield server.output_item("added", reply, part.item_id)
        for word in server.words(_REPLY):
            yield server.of_part("audio_transcript.delta", part, delta=word)
            yield server.audio(part)[0]
        yield server.of_part("audio.done", part)
        yield server.response("done", reply, status="completed", usage={"total_tokens": 1})


class Listener:
    """A client that checks what it hears: each round of the recording must sound like the first."""

    def __init__(self) -> None:
        self.session = Session(Decoder(on_invalid="keep"))
        self.rounds = self.wrong = 0
        self._sound = 0
        self._first: int | None = None

    def take(self, event: live.Event) -> None:
        """Take an event; read its samples."""
        if isinstance(event, AudioDelta):
            ring = event.track.ring
            self._sound = crc32(ring.read(ring.readable).tobytes(), self._sound)
        elif isinstance(event, SessionCreated):
            self._close_round()

    def _close_round(self) -> None:
        if self._sound:
            self.rounds += 1
            self._first = self._first or self._sound
            self.wrong += self._sound != self._first
        self._sound = 0


@contextmanager
def command(*arguments: object) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Start a command that prints a URL; stop it as a user does."""
    line = [sys.executable, "-m", "deltaring", *map(str, arguments)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip(), process
        finally:
            process.send_signal(signal.SIGINT)


@contextmanager
def passage(served: Path, made: Path) -> Iterator[tuple[str, dict[str, int | str]]]:
    """Start a server and a recording proxy; the URL to connect to, and all processes by name."""
    record(served, 60)
    with command("serve", served, "--port", 0, "--speed", 0, "--loop") as (upstream, server):
        to = ["--upstream", upstream, "--listen", "127.0.0.1:0", "-o", made]
        with command("record", *to) as (url, proxy):
            yield url, {"client": "self", "server": server.pid, "proxy": proxy.pid}


async def listen(url: str, deltas: int, look: Callable[[int], None]) -> Listener:
    """Take so many audio deltas; `look(deltas)` is called after each hundred."""
    listener = Listener()
    async with connect(url, max_size=MAX_FRAME, compression=None) as connection:
        came = 0
        async for event in live.websockets(connection, listener.session):
            listener.take(event)
            if isinstance(event, AudioDelta):
                came += 1
                if came % 100 == 0:
                    look(came)
                if came >= deltas:
                    connection.transport.abort()  # a close would wait behind what is on its way
                    break
    return listener


def recorded(path: Path) -> tuple[int, int]:
    """Return the audio deltas and the problems of a recording."""
    recording = Recording(path)
    count = sum(b"audio.delta" in bytes(frame[:120]) for _, _, frame in recording.views())
    return count, recording.problem_count


# --- connections that come and go -----------------------------------------------------------------


class Visits:
    """Connections to a server through a proxy, all in this process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.session = Session(Decoder(on_invalid="keep"))
        """Of those that connect again; the others have their own."""
        self.ways: list[Callable[[Session], Awaitable[None]]] = [
            self.stay, self.leave, self.abort, self.cancel, self.of_aiohttp,
        ]  # fmt: skip
        self.events = 0

    async def visit(self, number: int) -> None:
        """Connect, and leave in one of several ways."""
        way = self.ways[number % len(self.ways)]
        session = self.session if number % 2 else Session(Decoder(on_invalid="keep"))
        await way(session)

    def _connection(self) -> connect:
        return connect(self._url, max_size=MAX_FRAME, compression=None, open_timeout=_PATIENCE)

    async def _take(self, events: AsyncIterator[live.Event], count: int) -> None:
        async for event in events:
            self.events += 1
            if isinstance(event, AudioDelta):
                event.track.ring.clear()
            count -= 1
            if not count:
                return

    async def stay(self, session: Session) -> None:
        """Until the server closes."""
        async with self._connection() as connection:
            await self._take(live.websockets(connection, session), -1)

    async def leave(self, session: Session) -> None:
        async with self._connection() as connection:
            await self._take(live.websockets(connection, session), 20)

    async def abort(self, session: Session) -> None:
        """The network is gone."""
        async with self._connection() as connection:
            await self._take(live.websockets(connection, session), 20)
            connection.transport.abort()

    async def cancel(self, session: Session) -> None:
        """The agent is cancelled while it waits for an event, or while it takes one."""
        task = asyncio.create_task(self.stay(session))
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def of_aiohttp(self, session: Session) -> None:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(self._url, max_msg_size=MAX_FRAME, decode_text=False) as websocket,
        ):
            await self._take(live.aiohttp(websocket, session), 20)


class Held:
    """What a process holds of its connections: files and tasks."""

    def __init__(self) -> None:
        self.files = open_files()
        self.tasks = len(asyncio.all_tasks())

    def __str__(self) -> str:
        return f"{self.files} files, {self.tasks} tasks"


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[tuple[Visits, Proxy]]:
    """A server, a proxy before it, and visits to that."""
    record(folder / "session.jsonl", 2)
    async with serve([folder / "session.jsonl"], speed=0) as url:
        proxy = Proxy(url, folder / "made.jsonl")
        async with proxy.listen(port=0) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            yield Visits(f"ws://127.0.0.1:{port}"), proxy


async def visit(folder: Path, count: int, watch: Watch) -> tuple[Held, Held, Visits, Proxy]:
    """Connect so many times; return what was held after a tenth of them, and what at the end."""
    async with house(folder) as (visits, proxy):
        warm = Held()
        for number in range(count):
            await visits.visit(number)
            for path in proxy.recordings:
                path.unlink(missing_ok=True)  # or the disk would fill
            if number == count // 10:
                await _quiet(proxy)
                warm = Held()
                watch.warm_up()
            watch.look()
        await _quiet(proxy)
        return warm, Held(), visits, proxy


async def _quiet(proxy: Proxy) -> None:
    """Wait until all connections are over on every side."""
    async with asyncio.timeout(_PATIENCE):
        while proxy._upstreams or proxy._dialled or proxy._watchers:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
