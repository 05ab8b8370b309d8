"""The replay server on a real socket, and what a client may do to it: a fuzz target.

Rule: whatever one client sends and however it goes, the server gives every other client all of its
frames, and nothing within it fails unhandled.
"""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from deltaring.recording import Recording
from deltaring.server import serve
from tests.mutator import client_frames, envelope, life
from tests.targets import PLACE

_TIMEOUT = 300.0  # seconds, for what takes a hundredth of one: machines stall
_UPDATE, _CREATE = client_frames()[0], client_frames()[-1]
_HANDSHAKE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: a close that is no goodbye


def attack(data: bytes) -> None:
    """One client does what `data` says while another one plays its session from end to end."""
    asyncio.run(_attack(data[:1] or b"\0", data[1:]))


async def _attack(choice: bytes, data: bytes) -> None:
    async with asyncio.timeout(_TIMEOUT), _serving() as url:
        attacks = (_talk, _send_garbage, _break_frames, _ask_wrongly)
        rude = bool(choice[0] & 4)
        first = attacks[choice[0] % 4](url, data, rude)
        await asyncio.gather(first, _play(url))
        await _play(url)


@asynccontextmanager
async def _serving() -> AsyncIterator[str]:
    """Serve a session with two waits in it; raise what went wrong in the server, if anything did."""
    path = PLACE / "served.jsonl"
    if not path.exists():
        frames = [raw for raw in life() if b'"error"' not in raw]
        records = [(frames[0], "server"), (_UPDATE, "client"), (frames[1], "server")]
        records += [(_CREATE, "client"), *((raw, "server") for raw in frames[2:])]
        path.write_bytes(b"".join(envelope(raw, "1", source) + b"\n" for raw, source in records))
    failures: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    watch = _Watch(failures)
    log = logging.getLogger("deltaring.server.websockets")
    log.addHandler(watch)
    try:
        async with serve([path], speed=0) as url:
            yield url
    finally:
        log.removeHandler(watch)
    assert not failures, failures


class _Watch(logging.Handler):
    """Notes what comes out of our own handler. websockets 15.0.1 logs failures of its own, too: an
    AssertionError in `send_eof` where a client goes in the middle of a handshake."""

    def __init__(self, failures: list[Any]) -> None:
        super().__init__(logging.ERROR)
        self._failures = failures

    def emit(self, record: logging.LogRecord) -> None:
        if "handler failed" in record.getMessage():
            self._failures.append((record.getMessage(), record.exc_info))


async def _play(url: str) -> None:
    """Be a client that behaves as the recorded one, and get all of its frames."""
    async with connect(url, compression=None, max_size=None) as client:
        await client.send(_UPDATE.decode())
        await client.send(_CREATE)
        assert [frame async for frame in _received(client)] == _recorded()


def _recorded() -> list[bytes]:
    return [
        record.frame  # type: ignore[misc]
        for record in Recording(PLACE / "served.jsonl")
        if record.source == "server"
    ]


async def _received(client: Any) -> AsyncIterator[bytes]:
    async for message in client:
        yield message.encode() if isinstance(message, str) else message


async def _talk(url: str, data: bytes, rude: bool) -> None:
    """Send lines as messages; be told of those that are no events, and get all frames besides."""
    async with connect(url, compression=None, max_size=None) as client:
        with suppress(ConnectionClosed):
            for number, line in enumerate([*data.split(b"\n"), _UPDATE, _CREATE]):
                await client.send(line if number % 2 else line.decode(errors="replace"))
                if not number % 5:
                    await client.ping()
        if rude:
            client.transport.abort()
            return
        frames = [frame async for frame in _received(client)]
        assert [frame for frame in frames if json.loads(frame)["type"] != "error"] == _recorded()


async def _send_garbage(url: str, data: bytes, rude: bool) -> None:
    await _send_raw(url, data, rude)


async def _break_frames(url: str, data: bytes, rude: bool) -> None:
    """Say hello as a WebSocket client, and then anything."""
    await _send_raw(url, _HANDSHAKE + data, rude)


async def _ask_wrongly(url: str, data: bytes, rude: bool) -> None:
    """Let the lines be the path and further headers of a request."""
    path, *headers = data.split(b"\n") or [b""]
    request = _HANDSHAKE.replace(b"/v1/realtime", b"/" + path.strip() + b"/realtime", 1)
    await _send_raw(url, request[:-2] + b"\r\n".join(headers) + b"\r\n\r\n", rude)


async def _send_raw(url: str, data: bytes, rude: bool) -> None:
    """Send bytes, and go: without a goodbye, or when the server has said all, or nothing."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    with suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
        if not rude:
            writer.write_eof()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):  # what comes is read; a wait is not waited for
                    await reader.read()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


def _masked(opcode: int, payload: bytes) -> bytes:
    """A client's WebSocket frame, with a mask of zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def seeds() -> list[bytes]:
    """For each way: clean talk, WebSocket frames of all kinds, broken ones, requests."""
    frames = b"".join(_masked(code, b'{"type":"a.b"}') for code in (1, 2, 9, 10, 0, 3, 8))
    huge = b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + bytes(4)
    talk = b"\n".join(client_frames())
    origin = (
        b"a?b=c\nOrigin: https://x\nSec-WebSocket-Protocol: realtime, openai-insecure-api-key.k"
    )
    return [
        b"\0" + talk,
        b"\0" + b"\n".join([*client_frames()[1:4], b"", b"nonsense", b"\xff", b"[1]"]),
        b"\1" + _HANDSHAKE,
        b"\1GET / HTTP/1.0\r\n\r\n",
        b"\2" + frames,
        b"\2" + huge,
        b"\2" + _masked(1, b"\xff\xfe"),
        b"\3" + origin,
        b"\4" + talk,
        b"\6" + frames[:9],
    ]
