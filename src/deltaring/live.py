"""The events of a live connection: one thin adapter for each WebSocket library.

Rule: each message is decoded once, in the order of arrival, and no event is held back or dropped.
Where the consumer is slow, the library stops reading from its socket; so nothing here grows. No
library is imported before its adapter is used.

All adapters take the same arguments:

session: what the messages are decoded with; unless given, a new one whose decoder keeps what it
    cannot decode as InvalidEvent. One for each connection.
clock: read once for each message, and given to the session as its time, in seconds.
recorder: gets each message as it came, before it is decoded; its time is then the session's, too,
    so that a replay of the recording sees what the session saw.

A normal close (1000, 1001, or without a code) ends the iteration; any other end raises the
library's own exception. What the session raises (FrameError, where its decoder does) or the
recorder (OSError) ends the iteration, too.

Connect without compression, since inflating base64 costs more than decoding it, and for frames of
at least 4 MB: an echoed item with audio was 3.4 MB long.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from deltaring.decoder import Decoder
from deltaring.events import ServerEvent
from deltaring.frame import MAX_FRAME, Frame
from deltaring.recorder import Recorder
from deltaring.session import Session
from deltaring.track import AudioDelta

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse
    from openai.resources.realtime.realtime import AsyncRealtimeConnection
    from picows import WSFrame, WSListener, WSTransport
    from websockets.asyncio.connection import Connection

Event: TypeAlias = ServerEvent | AudioDelta

MAX_WAITING = 16
"""Events that wait for the consumer before `PicowsEvents` stops reading, which happens at the end
of what was read already: the number of frames that websockets lets wait."""

_NORMAL = (1000, 1001, 0)
"""Codes of RFC 6455, section 7.4.1; with aiohttp and picows, a close without one has 0."""


def websockets(
    connection: "Connection",
    session: Session | None = None,
    *,
    clock: Callable[[], float] = time.time,
    recorder: Recorder | None = None,
) -> AsyncGenerator[Event, None]:
    """Yield the events of a connection of websockets 14 or newer.

        async with connect(url, max_size=32 << 20, compression=None) as connection:
            async for event in live.websockets(connection, session):
                ...

    Raises ConnectionClosedError for a close that is not normal.
    """
    receive = _receiver(session, clock, recorder)
    return _until_closed(partial(connection.recv, decode=False), receive)


def openai(
    connection: "AsyncRealtimeConnection",
    session: Session | None = None,
    *,
    clock: Callable[[], float] = time.time,
    recorder: Recorder | None = None,
) -> AsyncGenerator[Event, None]:
    """Yield the events of a connection of the official OpenAI SDK (its extra `realtime`).

        async with AsyncOpenAI().realtime.connect(model="gpt-realtime") as connection:
            async for event in live.openai(connection, session):
                ...

    The SDK connects without compression or a limit. It reconnects only where it iterates itself:
    here, a lost connection raises ConnectionClosedError of websockets, which the SDK uses.
    """
    return _until_closed(connection.recv_bytes, _receiver(session, clock, recorder))


async def _until_closed(
    next_frame: Callable[[], Awaitable[Frame]], receive: Callable[[Frame], Event]
) -> AsyncGenerator[Event, None]:
    from websockets.exceptions import ConnectionClosedOK

    while True:
        try:
            frame = await next_frame()
        except ConnectionClosedOK:
            return
        yield receive(frame)


async def aiohttp(
    websocket: "ClientWebSocketResponse[bool]",
    session: Session | None = None,
    *,
    clock: Callable[[], float] = time.time,
    recorder: Recorder | None = None,
) -> AsyncGenerator[Event, None]:
    """Yield the events of a client WebSocket of aiohttp 3.14 or newer.

        async with http.ws_connect(url, max_msg_size=32 << 20, decode_text=False) as websocket:
            async for event in live.aiohttp(websocket, session):
                ...

    Raises WebSocketError for a close that is not normal, and what aiohttp says of a lost connection
    (a ClientError). With `decode_text=False` frames come as bytes, which saves decoding them twice.
    """
    from aiohttp import WebSocketError, WSMsgType

    receive = _receiver(session, clock, recorder)
    async for message in websocket:
        if message.type is WSMsgType.ERROR:
            raise message.data
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            yield receive(message.data)
    if error := websocket.exception():
        raise error
    if websocket.close_code and websocket.close_code not in _NORMAL:
        raise WebSocketError(websocket.close_code, _closed(websocket.close_code))


class PicowsEvents:
    """The events of one connection of picows 2 or newer, to be iterated over once.

        events = live.PicowsEvents(session)
        transport, _ = await ws_connect(events.listener, url, max_frame_size=32 << 20)
        async for event in events:
            ...

    Its memory dies with the callback, so frames are decoded there: the session may be ahead of the
    event at hand, by the events that wait. To close, call `transport.send_close(WSCloseCode.OK)`
    and `transport.disconnect()`: a close without a code goes out as 0, which servers refuse.

    Raises WSProtocolError, whose `code` says what kind, for a close that is not normal, a lost
    connection (1006), and a breach of the protocol. What the session or the recorder raises comes
    after the events before it; picows then closes with code 1011, which needs its
    `disconnect_on_exception`, the default.
    """

    def __init__(
        self,
        session: Session | None = None,
        *,
        clock: Callable[[], float] = time.time,
        recorder: Recorder | None = None,
    ) -> None:
        """Make them, before there is a connection."""
        self._receive = _receiver(session, clock, recorder)
        self._waiting: asyncio.Queue[Event | None] = asyncio.Queue()  # None at the end
        self._transport: WSTransport  # once there is a connection
        self._paused = False
        self._begun: bytearray | None = None
        """The frames so far of a message that comes in several."""

    def listener(self) -> "WSListener":
        """Return the listener of the connection: give this method to `ws_connect`."""
        from picows import WSListener, WSMsgType

        events = self

        class Listener(WSListener):
            def on_ws_connected(self, transport: "WSTransport") -> None:
                events._transport = transport

            def on_ws_frame(self, transport: "WSTransport", frame: "WSFrame") -> None:
                if frame.msg_type == WSMsgType.CLOSE:
                    _answer_close(transport)
                elif frame.msg_type not in (WSMsgType.PING, WSMsgType.PONG):
                    events._take(frame, frame.msg_type == WSMsgType.CONTINUATION)

            def on_ws_disconnected(self, transport: "WSTransport") -> None:
                events._waiting.put_nowait(None)

        return Listener()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the events until the connection closes."""
        while (event := await self._waiting.get()) is not None:
            if self._paused and self._waiting.qsize() <= MAX_WAITING // 2:
                self._transport.underlying_transport.resume_reading()
                self._paused = False
            yield event
        self._waiting.put_nowait(None)  # so that it ends a second time, too
        await self._transport.wait_disconnected()  # raises what ended it on this side
        _check_close(self._transport)

    def _take(self, frame: "WSFrame", continued: bool) -> None:
        if self._transport.is_close_frame_sent:  # an error was raised here before
            return
        message = self._joined(frame, continued)
        if message is None:
            return
        self._waiting.put_nowait(self._receive(message))
        if self._waiting.qsize() >= MAX_WAITING and not self._paused:
            self._transport.underlying_transport.pause_reading()
            self._paused = True

    def _joined(self, frame: "WSFrame", continued: bool) -> Frame | None:
        """Return the message that ends with this frame, if one does."""
        if continued != (self._begun is not None):
            _refuse(1002, "a message was not continued, or never begun")
        payload = frame.get_payload_as_memoryview()
        if frame.fin and self._begun is None:
            return payload
        begun = bytearray() if self._begun is None else self._begun
        if len(begun) + len(payload) > MAX_FRAME:
            _refuse(1009, f"a message in several frames is longer than {MAX_FRAME} bytes")
        begun += payload
        self._begun = None if frame.fin else begun
        return begun if frame.fin else None


def _refuse(code: int, reason: str) -> NoReturn:
    """Have picows close the connection with that code."""
    from picows import WSCloseCode, WSProtocolError

    raise WSProtocolError(WSCloseCode(code), reason)


def _answer_close(transport: "WSTransport") -> None:
    from picows import WSCloseCode

    transport.send_close(WSCloseCode.OK)
    transport.disconnect()


def _check_close(transport: "WSTransport") -> None:
    """Raise WSProtocolError unless either side closed the connection normally."""
    from picows import WSProtocolError

    handshake = transport.close_handshake
    close = handshake and (handshake.recv or handshake.sent)
    if not close:
        raise WSProtocolError(1006, "the connection was lost")
    code: int = close.code.value
    if code not in _NORMAL:
        raise WSProtocolError(code, _closed(code))


def _closed(code: int) -> str:
    return f"the server closed the connection with code {code}"


def _receiver(
    session: Session | None, clock: Callable[[], float], recorder: Recorder | None
) -> Callable[[Frame], Event]:
    """Return what makes an event of each message."""
    reducer = Session(Decoder(on_invalid="keep")) if session is None else session

    def receive(frame: Frame) -> Event:
        at = clock() if recorder is None else recorder.received(frame)
        return reducer.receive(frame, at)

    return receive
