"""Live adapters: each library's client, unmodified, against servers on this machine."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as listen

from deltaring import AudioDelta, Decoder, InvalidAudio, InvalidEvent, Session, live
from deltaring.frame import MAX_FRAME
from deltaring.recorder import Recorder
from deltaring.recording import Recording
from deltaring.server import serve
from tests import wire

PATIENCE = 30  # seconds, for what takes one

Events = AsyncIterator[live.Event]


# --- how each library connects -------------------------------------------------------------------


@asynccontextmanager
async def of_websockets(url: str, *args: Any, **options: Any) -> AsyncIterator[Events]:
    async with connect(url, max_size=MAX_FRAME, compression=None) as connection:
        yield live.websockets(connection, *args, **options)


@asynccontextmanager
async def of_aiohttp(
    url: str, *args: Any, decode_text: bool = False, **options: Any
) -> AsyncIterator[Events]:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url, max_msg_size=MAX_FRAME, decode_text=decode_text) as websocket,
    ):
        yield live.aiohttp(websocket, *args, **options)


@asynccontextmanager
async def of_openai(url: str, *args: Any, **options: Any) -> AsyncIterator[Events]:
    import openai

    base = url.removesuffix("/realtime")
    async with (
        openai.AsyncOpenAI(
            api_key="none", base_url=base.replace("ws:", "http:"), websocket_base_url=base
        ) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        yield live.openai(connection, *args, **options)


@asynccontextmanager
async def of_picows(url: str, *args: Any, **options: Any) -> AsyncIterator[Events]:
    import picows

    events = live.PicowsEvents(*args, **options)
    transport, _ = await picows.ws_connect(events.listener, url, max_frame_size=MAX_FRAME)
    try:
        yield aiter(events)
    finally:
        transport.disconnect(graceful=False)


ALL = {
    "websockets": of_websockets,
    "aiohttp": of_aiohttp,
    "openai": of_openai,
    "picows": of_picows,
}


@pytest.fixture(params=ALL)
def library(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return ALL[request.param]


# --- servers -------------------------------------------------------------------------------------

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    async with listen(handler, "127.0.0.1", 0, compression=None, ping_interval=None) as listening:
        yield url_of(listening)


def url_of(listening: Server | asyncio.Server) -> str:
    return f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/realtime"


def sends(*messages: Any) -> Handler:
    async def handler(connection: ServerConnection) -> None:
        for message in messages:
            await connection.send(message, text=True)

    return handler


def run(main: Awaitable[Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, PATIENCE))  # type: ignore[arg-type]


def events_of(library: Any, handler: Handler, *args: Any, **options: Any) -> list[live.Event]:
    async def main() -> list[live.Event]:
        async with server(handler) as url, library(url, *args, **options) as events:
            return [event async for event in events]

    return run(main())


def of_error(library: Any, handler: Handler, *args: Any) -> tuple[list[live.Event], Exception]:
    """The events before the error, and the error."""
    seen: list[live.Event] = []

    async def main() -> None:
        async with server(handler) as url, library(url, *args) as events:
            async for event in events:
                seen.append(event)

    with pytest.raises(Exception) as caught:
        run(main())
    return seen, caught.value


# --- the same as offline -------------------------------------------------------------------------


def ticks() -> Callable[[], float]:
    """A clock that shows how often it was read."""
    return itertools.count(1.0).__next__


def noted(event: live.Event) -> object:
    if isinstance(event, AudioDelta):
        return event.type, event.event_id, event.track.key, event.start, event.stop, event.dropped
    if isinstance(event, InvalidEvent):
        return event.type, event.event_id, event.raw, type(event.error), str(event.error)
    return event


def taken(event: live.Event) -> np.ndarray:
    """The samples that an event has brought, wherever a ring has none to spare."""
    return event.track.ring.read(event.track.ring.readable)


def outcome(session: Session, seen: list[live.Event]) -> dict[str, object]:
    """All that a session came to."""
    return {
        "events": [noted(event) for event in seen],
        "samples": {
            key: (track.format, track.ring.read(track.ring.readable).tobytes())
            for key, track in session.decoder.tracks.items()
        },
        "stats": session.decoder.stats,
        "items": session.items,
        "responses": session.responses,
        "usage": session.usage,
    }


def new_session() -> Session:
    return Session(Decoder(on_invalid="keep", seconds=600, max_tracks=64))


def offline(path: Path) -> dict[str, object]:
    session, clock = new_session(), ticks()
    frames = [record.frame for record in Recording(path) if record.source == "server"]
    return outcome(session, [session.receive(frame, clock()) for frame in frames])


async def online(library: Any, url: str, **options: Any) -> dict[str, object]:
    session = new_session()
    async with library(url, session, clock=ticks(), **options) as events:
        return outcome(session, [event async for event in events])


def check_replay(library: Any, paths: list[Path], **options: Any) -> None:
    async def main() -> None:
        async with serve(paths, speed=0, ignore_client=True) as url:
            for path in paths:
                assert await online(library, url, **options) == offline(path), path.name

    run(main())


def test_the_example_is_heard_as_offline(library: Any, example: Path) -> None:
    assert sum(len(samples) for _, samples in offline(example)["samples"].values()) == 2 * 129_233  # type: ignore[attr-defined]
    check_replay(library, [example])


def test_real_sessions_are_heard_as_offline(library: Any, real_recordings: list[Path]) -> None:
    served = [
        path for path in real_recordings if any(r.source == "server" for r in Recording(path))
    ]
    check_replay(library, served)


def test_aiohttp_may_decode_the_text_itself(example: Path) -> None:
    check_replay(of_aiohttp, [example], decode_text=True)


def test_pings_that_aiohttp_leaves_to_the_user_are_no_events() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.ping()
        await connection.send(wire.frame("error", error={}), text=True)

    async def main() -> list[str]:
        async with (
            server(handler) as url,
            aiohttp.ClientSession() as http,
            http.ws_connect(url, autoping=False) as websocket,
        ):
            return [event.type async for event in live.aiohttp(websocket)]

    assert run(main()) == ["error"]


def test_events_come_without_a_session_too(library: Any) -> None:
    (event,) = events_of(library, sends(wire.audio_frame(wire.pcm(2_000))))
    assert isinstance(event, AudioDelta)
    assert event.track.ring.read(1_000).tobytes() == wire.pcm(2_000)


def test_the_clock_is_read_once_for_each_frame(library: Any) -> None:
    session = Session()
    events_of(library, sends(*[wire.frame("error", error={})] * 3), session, clock=ticks())
    assert [error.at for error in session.errors] == [1.0, 2.0, 3.0]


def test_unix_time_is_the_default_clock(library: Any) -> None:
    session, start = Session(), time.time()
    events_of(library, sends(wire.frame("error", error={})), session)
    (at,) = (error.at for error in session.errors)
    assert at is not None
    assert start <= at <= time.time()


# --- messages as they may come -------------------------------------------------------------------


def test_binary_messages_are_frames_whatever_they_hold(library: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(wire.response("response.created", "r"))
        await connection.send(b"\xff")

    event, no_text = events_of(library, handler)
    assert event.type == "response.created"
    assert isinstance(no_text, InvalidEvent)
    assert no_text.raw == b"\xff"


def test_a_frame_of_several_megabytes_is_taken_whole(library: Any) -> None:
    data = wire.pcm(2_700_000)
    frame = wire.audio_frame(data)
    assert len(frame) > 3_500_000
    (event,) = events_of(library, sends(frame))
    assert isinstance(event, AudioDelta)
    assert taken(event).tobytes() == data


def test_fragments_are_joined_whatever_comes_between_them(library: Any) -> None:
    data = wire.pcm(2_700_000)
    frame = wire.audio_frame(data).decode()

    async def handler(connection: ServerConnection) -> None:
        async def fragments() -> AsyncIterator[str]:
            for start in range(0, len(frame), 1_000_000):
                yield frame[start : start + 1_000_000]
                await connection.ping()

        await connection.pong()  # unasked for
        await connection.send(fragments())
        await connection.send(wire.frame("error", error={}), text=True)

    audio, error = events_of(library, handler)
    assert isinstance(audio, AudioDelta)
    assert taken(audio).tobytes() == data
    assert error.type == "error"


def test_invalid_frames_are_kept_by_default(library: Any) -> None:
    broken = wire.audio_frame("AAA", event_id="e1")
    events = events_of(library, sends(broken, b"no JSON", wire.frame("error", error={})))
    assert [type(event).__name__ for event in events] == [
        "InvalidEvent",
        "InvalidEvent",
        "ErrorEvent",
    ]
    assert events[0].raw == broken
    assert isinstance(events[0].error, InvalidAudio)


def test_a_session_that_raises_ends_the_iteration(library: Any) -> None:
    session = Session(Decoder())
    good, bad = wire.frame("error", error={}), wire.audio_frame("AAA")
    seen, error = of_error(library, sends(good, bad, good, good), session)
    assert isinstance(error, InvalidAudio)
    assert [event.type for event in seen] == ["error"]
    assert session.error_count == 1  # what comes after the bad one is not looked at


# --- the recorder --------------------------------------------------------------------------------


def test_every_frame_is_recorded_as_it_came(library: Any, tmp_path: Path) -> None:
    frames = [frame for frame in wire.hostile().values() if is_text(frame)]
    with Recorder(tmp_path / "session.jsonl", keep_secrets=True) as recorder:
        events = events_of(library, sends(*frames), recorder=recorder)
    recorded = [record.frame for record in Recording(tmp_path / "session.jsonl")]
    assert recorded == [f.encode() if isinstance(f, str) else f for f in frames]
    assert len(events) == len(frames) > 200


def is_text(frame: bytes | str) -> bool:
    """Whether it can be sent in a text message, and is not beyond what a recording's line may be."""
    with contextlib.suppress(UnicodeError):
        return bool(frame.encode() if isinstance(frame, str) else frame.decode())
    return False


def test_the_recorders_time_is_the_sessions(library: Any, tmp_path: Path) -> None:
    session = Session()
    with Recorder(tmp_path / "session.jsonl") as recorder:
        messages = sends(*[wire.frame("error", error={})] * 3)
        events_of(library, messages, session, clock=ticks(), recorder=recorder)
    assert [error.at for error in session.errors] == [
        r.time for r in Recording(tmp_path / "session.jsonl")
    ]


def test_a_frame_is_recorded_before_it_is_decoded(library: Any, tmp_path: Path) -> None:
    bad = wire.audio_frame("AAA")
    path = tmp_path / "session.jsonl"

    async def main() -> None:
        with Recorder(path) as recorder:
            session = Session(Decoder())
            async with (
                server(sends(bad)) as url,
                library(url, session, recorder=recorder) as events,
            ):
                async for _ in events:
                    pass

    with pytest.raises(InvalidAudio):
        run(main())
    assert [record.frame for record in Recording(path)] == [bad]


# --- how a connection ends -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, None])
def test_a_normal_close_ends_the_iteration(library: Any, code: int | None) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(wire.frame("error", error={}), text=True)
        if code:
            await connection.close(code)
        else:
            connection.transport.write(b"\x88\x00")  # a close without a code
            await connection.wait_closed()

    assert [event.type for event in events_of(library, handler)] == ["error"]


CLOSED = {
    of_websockets: websockets.exceptions.ConnectionClosedError,
    of_openai: websockets.exceptions.ConnectionClosedError,
    of_aiohttp: aiohttp.WebSocketError,
}


def closed_error(library: Any) -> type[Exception]:
    if library is of_picows:
        return pytest.importorskip("picows").WSProtocolError
    return CLOSED[library]


@pytest.mark.parametrize("code", [1011, 4000])
def test_an_abnormal_close_raises_the_librarys_error(library: Any, code: int) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(wire.frame("error", error={}), text=True)
        await connection.close(code, "why")

    seen, error = of_error(library, handler)
    assert [event.type for event in seen] == ["error"]
    assert type(error) is closed_error(library)
    assert str(code) in str(error)


def test_a_lost_connection_raises_the_librarys_error(library: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(wire.frame("error", error={}), text=True)
        connection.transport.close()

    seen, error = of_error(library, handler)
    assert [event.type for event in seen] == ["error"]
    expected = aiohttp.ClientError if library is of_aiohttp else closed_error(library)
    assert isinstance(error, expected)


def test_a_breach_of_the_protocol_raises_the_librarys_error(library: Any) -> None:
    async def handler(connection: ServerConnection) -> None:
        connection.transport.write(b"\xff\x00")  # no such opcode, and reserved bits
        await connection.wait_closed()

    _, error = of_error(library, handler)
    assert type(error) is closed_error(library)


def test_closing_on_this_side_ends_the_iteration() -> None:
    async def websockets_client(url: str) -> None:
        async with connect(url) as connection:
            async for _ in live.websockets(connection):
                await connection.close()

    async def aiohttp_client(url: str) -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as websocket:
            async for _ in live.aiohttp(websocket):
                await websocket.close()

    async def main() -> None:
        async with server(sends(wire.frame("error", error={}))) as url:
            await websockets_client(url)
            await aiohttp_client(url)

    run(main())


def test_closing_picows_on_this_side_ends_the_iteration() -> None:
    picows = pytest.importorskip("picows", reason="picows is not installed")

    async def handler(connection: ServerConnection) -> None:
        await connection.send(wire.frame("error", error={}), text=True)
        await connection.wait_closed()

    async def main() -> int:
        events = live.PicowsEvents()
        async with server(handler) as url:
            transport, _ = await picows.ws_connect(events.listener, url)
            async for _ in events:
                transport.send_close(picows.WSCloseCode.OK)
                transport.disconnect()
            return len([event async for event in events])

    assert run(main()) == 0  # and it ends again


# --- picows' own frames --------------------------------------------------------------------------


def picows_error(*frames: tuple[str, bytes, bool]) -> Exception:
    """What comes of frames that no sound server sends, as (type, payload, fin)."""
    picows = pytest.importorskip("picows", reason="picows is not installed")

    class Sender(picows.WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            for kind, payload, fin in frames:
                transport.send(picows.WSMsgType[kind], payload, fin)

    async def main() -> None:
        listening = await picows.ws_create_server(lambda _: Sender(), "127.0.0.1", 0)
        async with listening, of_picows(url_of(listening)) as events:
            async for _ in events:
                pass

    with pytest.raises(picows.WSProtocolError) as caught:
        run(main())
    return caught.value


def test_a_continuation_of_nothing_is_refused() -> None:
    assert picows_error(("CONTINUATION", b"{}", True)).code == 1002  # type: ignore[attr-defined]


def test_a_message_within_another_is_refused() -> None:
    assert picows_error(("TEXT", b"{", False), ("TEXT", b"{}", True)).code == 1002  # type: ignore[attr-defined]


def test_fragments_without_end_are_refused() -> None:
    part = bytes(MAX_FRAME // 4)
    rest = [("CONTINUATION", part, False)] * 4
    assert picows_error(("TEXT", part, False), *rest).code == 1009  # type: ignore[attr-defined]


# --- backpressure --------------------------------------------------------------------------------

FLOOD = 256 << 20  # bytes: what would be buffered if nothing were held back
HELD = (
    32 << 20
)  # bytes that may be under way: the kernel's buffers of both sides, and the library's


class Flood:
    """A server that sends numbered frames as fast as it can, until FLOOD bytes are sent."""

    def __init__(self) -> None:
        self.sent = 0
        self.stuck = asyncio.Event()

    async def __call__(self, connection: ServerConnection) -> None:
        frames = flood_frames()
        while self.sent < FLOOD:
            frame = next(frames)
            sending = asyncio.ensure_future(connection.send(frame, text=True))
            while not (await asyncio.wait([sending], timeout=0.5))[0]:
                self.stuck.set()
            await sending
            self.sent += len(frame)
        self.stuck.set()


def flood_frames() -> Iterator[bytes]:
    data = wire.pcm(48_000)
    for number in itertools.count():
        yield wire.audio_frame(data, event_id=f"event_{number}")


def test_a_consumer_that_stops_holds_the_server_back(library: Any) -> None:
    async def main() -> tuple[int, int, list[str]]:
        flood = Flood()
        async with server(flood) as url, library(url, Session(Decoder(seconds=10))) as events:
            first = await anext(events)
            await flood.stuck.wait()
            sent = flood.sent
            ids = [first.event_id, *[(await anext(events)).event_id for _ in range(600)]]
            flood.sent = FLOOD
            return sent, ids

    sent, ids = run(main())
    assert sent < HELD
    assert ids == [f"event_{number}" for number in range(601)]  # and then nothing is missing
