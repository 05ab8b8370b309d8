"""The replay server, as clients of three libraries meet it. Nothing here leaves this machine."""

import asyncio
import gzip
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("websockets", reason="the replay server needs the serve extra")

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from deltaring import server
from deltaring.errors import RecordingError
from deltaring.recording import Recording, RecordingWriter
from deltaring.script import Send
from deltaring.server import serve
from tests.wire import audio_frame, frame, pcm

TIMEOUT = 30.0  # seconds, for what takes well under one
UPDATE, CREATE = frame("session.update"), frame("response.create")
FIRST, SECOND, THIRD = (frame("rate_limits.updated", number=number) for number in range(3))

Make = Callable[..., Path]


def run(test: Awaitable[None]) -> None:
    async def within() -> None:
        async with asyncio.timeout(TIMEOUT):
            await test

    asyncio.run(within())


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a recording of `(time, frame)` or frames; those of a client stand in a list."""

    def make(*records: Any, name: str = "session.jsonl") -> Path:
        path = tmp_path / name
        with RecordingWriter(path) as writer:
            for record in records:
                source = "client" if isinstance(record, list) else "server"
                data = record[0] if isinstance(record, list) else record
                at, data = data if isinstance(data, tuple) else (None, data)
                writer.write(data, source=source, time=at)
        return path

    return make


def recorded(path: Path) -> list[bytes]:
    return [record.frame for record in Recording(path) if record.source == "server"]  # type: ignore[misc]


def client(url: str, **options: Any) -> connect:
    return connect(url, **{"max_size": None, "compression": None, **options})


def as_bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


async def rest(socket: ClientConnection) -> list[bytes]:
    """All that comes until the server closes."""
    return [as_bytes(message) async for message in socket]


async def received(url: str, **options: Any) -> list[bytes]:
    async with client(url, **options) as socket:
        return await rest(socket)


async def error_after(socket: ClientConnection, message: str | bytes) -> dict[str, Any]:
    """Send something that the server answers with an error; return the error."""
    await socket.send(message)
    event = json.loads(await socket.recv())
    assert event["type"] == "error", event
    return event  # type: ignore[no-any-return]


# --- every frame, to every client ---------------------------------------------------------------


def test_every_frame_comes_as_it_was_recorded(example: Path) -> None:
    async def test() -> None:
        async with serve([example], speed=0, ignore_client=True) as url:
            assert await received(url + "?model=gpt-realtime") == recorded(example)

    run(test())


def test_real_frames_come_as_they_were_recorded(real_recordings: list[Path]) -> None:
    async def test() -> None:
        async with serve(real_recordings, speed=0) as url:
            for path in real_recordings:
                assert await received(url) == recorded(path)

    run(test())


def test_the_openai_sdk_gets_every_frame(example: Path) -> None:
    pytest.importorskip("openai", reason="the SDK comes with the live-test extra")
    from openai import AsyncOpenAI

    async def test() -> None:
        async with serve([example], speed=0, ignore_client=True) as url:
            base = url.removesuffix("/realtime")
            async with AsyncOpenAI(api_key="none", base_url="http://unused.invalid/v1",
                                   websocket_base_url=base) as sdk:  # fmt: skip
                async with sdk.realtime.connect(model="gpt-realtime") as connection:
                    frames = [await connection.recv_bytes() for _ in recorded(example)]
                    with pytest.raises(ConnectionClosed):
                        await connection.recv_bytes()
                async with sdk.realtime.connect(model="gpt-realtime") as connection:
                    types = [event.type async for event in connection]
        assert frames == recorded(example)
        assert types == [json.loads(data)["type"] for data in frames]

    run(test())


def test_aiohttp_gets_every_frame(example: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp comes with the test extra")

    async def test() -> None:
        async with (
            serve([example], speed=0, ignore_client=True) as url,
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=0) as socket,
        ):
            frames = [message.data.encode() async for message in socket]
            assert frames == recorded(example)
            assert socket.close_code == 1000

    run(test())


def test_fifty_clients_at_a_time_get_every_frame(make: Make) -> None:
    records = [
        (number / 20, audio_frame(pcm(4_800, number), event_id=f"event_{number}"))
        for number in range(40)
    ]
    path = make(*records)

    async def test() -> None:
        async with serve([path]) as url:
            everything = await asyncio.gather(*(received(url) for _ in range(50)))
        assert all(frames == recorded(path) for frames in everything)

    run(test())


def test_frames_are_text_but_for_what_is_no_utf_8(make: Make) -> None:
    accented = frame("error", text="\xe9\U0001f600")

    async def test() -> None:
        async with serve([make(accented, b"\xff")], speed=0) as url, client(url) as socket:
            assert [message async for message in socket] == [accented.decode(), b"\xff"]

    run(test())


def test_large_frames_go_both_ways(make: Make) -> None:
    large = frame("conversation.item.created", audio="A" * (20 << 20))
    path = make([frame("large")], large)

    async def test() -> None:
        async with serve([path], speed=0) as url, client(url) as socket:
            await socket.send(frame("large", audio="A" * (31 << 20)))
            assert await rest(socket) == [large]

    run(test())


def test_a_compressed_recording_is_served(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl.gz"
    path.write_bytes(gzip.compress(make(FIRST, SECOND).read_bytes()))

    async def test() -> None:
        async with serve([path], speed=0) as url:
            assert await received(url) == [FIRST, SECOND]

    run(test())


def test_clients_get_the_recordings_in_turn(make: Make) -> None:
    paths = [make(FIRST, name="1.jsonl"), make(SECOND, name="2.jsonl")]

    async def test() -> None:
        async with serve(paths, speed=0) as url:
            assert [await received(url) for _ in range(3)] == [[FIRST], [SECOND], [FIRST]]

    run(test())


def test_a_loop_starts_again_on_the_same_connection(make: Make) -> None:
    path = make([UPDATE], FIRST, SECOND)

    async def test() -> None:
        async with serve([path], speed=0, loop=True) as url, client(url) as socket:
            for _ in range(3):
                await socket.send(UPDATE)
                assert [as_bytes(await socket.recv()) for _ in range(2)] == [FIRST, SECOND]
            await error_after(socket, "nonsense")

    run(test())


# --- times --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "least"), [(1.0, 0.3), (0.5, 0.6), (2.0, 0.15)])
def test_frames_come_no_sooner_than_recorded(make: Make, speed: float, least: float) -> None:
    path = make((10.0, FIRST), (10.1, SECOND), (10.3, THIRD))

    async def test() -> None:
        async with serve([path], speed=speed) as url:
            start = time.monotonic()
            await received(url)
            assert time.monotonic() - start >= least

    run(test())


def test_flat_out_takes_no_time(make: Make) -> None:
    path = make((0.0, FIRST), (3_000.0, SECOND))

    async def test() -> None:
        async with serve([path], speed=0) as url:
            assert await received(url) == [FIRST, SECOND]

    run(test())


class SimulatedTime(asyncio.SelectorEventLoop):
    """A loop on which nobody ever waits: its clock jumps to whatever is next."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> Any:
            self._now += timeout or 0.0
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now


class SlowClient:
    """Takes 3 ms for each frame, and sends what is waited for after 5 seconds."""

    def __init__(self) -> None:
        self.sent: list[float] = []

    async def send(self, data: bytes) -> None:
        self.sent.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.003)

    async def wait(self, *arguments: object) -> None:
        await asyncio.sleep(5.0)


def simulated(path: Path) -> list[float]:
    """When each frame is sent to a slow client."""
    client = SlowClient()
    stage = server._Stage([], 1.0, False, False)
    with asyncio.Runner(loop_factory=SimulatedTime) as runner:
        runner.run(stage._play_once(client, server._Source(path)))  # type: ignore[arg-type]
    return client.sent


def test_an_hour_ends_after_an_hour(make: Make) -> None:
    due = [number / 7 for number in range(7 * 3_600 + 1)]
    assert simulated(make(*((at, FIRST) for at in due))) == pytest.approx(due, abs=1e-3)


def test_after_a_wait_time_goes_on_from_its_end(make: Make) -> None:
    path = make((10.0, FIRST), [(12.0, UPDATE)], (12.3, SECOND), (12.5, THIRD))
    assert simulated(path) == pytest.approx([0.0, 5.303, 5.503])


# --- waiting for the client ---------------------------------------------------------------------


def test_what_follows_a_client_event_waits_for_it_and_no_longer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PAUSE", 1e6)  # looking once in a while would not do
    path = make(FIRST, [UPDATE], SECOND, [CREATE], THIRD)

    async def test() -> None:
        async with serve([path], speed=0) as url, client(url) as socket:
            assert as_bytes(await socket.recv()) == FIRST
            await error_after(socket, "nonsense")  # and nothing else came before it
            await socket.send(CREATE)
            await error_after(socket, "nonsense")
            await socket.send(UPDATE)
            assert await rest(socket) == [SECOND, THIRD]

    run(test())


def test_a_client_that_sends_its_audio_at_once_gets_everything(example: Path) -> None:
    async def test() -> None:
        async with serve([example], speed=0) as url, client(url) as socket:
            for record in Recording(example):
                if record.source == "client":
                    await socket.send(record.frame, text=True)
            assert await rest(socket) == recorded(example)

    run(test())


def test_less_audio_than_was_recorded_will_do(make: Make) -> None:
    def append(text: str) -> bytes:
        return frame("input_audio_buffer.append", audio=text)

    heard = frame("input_audio_buffer.speech_started")
    path = make([append("A" * 4_000)], heard)

    async def test() -> None:
        async with serve([path], speed=0) as url, client(url) as socket:
            await socket.send(append("AAAA").decode())
            await error_after(socket, "nonsense")
            assert await rest(socket) == [heard]

    run(test())


def test_an_ignored_client_is_not_waited_for(make: Make) -> None:
    path = make(FIRST, [UPDATE], SECOND)

    async def test() -> None:
        async with serve([path], speed=0, ignore_client=True) as url:
            assert await received(url) == [FIRST, SECOND]

    run(test())


def test_a_long_wait_is_explained(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "_PATIENCE", 0.0)
    caplog.set_level(logging.INFO, "deltaring.server")
    path = make([UPDATE], FIRST)

    async def test() -> None:
        async with serve([path], speed=0) as url, client(url) as socket:
            await error_after(socket, "nonsense")
            await socket.send(UPDATE)
            await rest(socket)

    run(test())
    assert caplog.messages == [f"{path}: a client is waited for: session.update"]


@pytest.mark.parametrize(
    ("message", "code"),
    [("nonsense", "invalid_json"), (b"\xff", "invalid_json"), ("{}", "invalid_event"),
     ("[" * 100_000, "invalid_json"), ('{"type":7}', "invalid_event")],
)  # fmt: skip
def test_what_cannot_be_read_is_answered_with_an_error(
    make: Make, message: str | bytes, code: str
) -> None:
    path = make([UPDATE], FIRST)

    async def test() -> None:
        async with serve([path]) as url, client(url) as socket:
            event = await error_after(socket, message)
            assert event["event_id"].startswith("event_")
            assert event["error"]["type"] == "invalid_request_error"
            assert event["error"]["code"] == code
            assert event["error"]["message"]
            await socket.send(UPDATE)
            assert await rest(socket) == [FIRST]

    run(test())


# --- slow and rude clients ----------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each client, how many frames were read for it."""
    counts: list[int] = []
    steps = server.steps

    def count(*arguments: Any, **options: Any) -> Iterator[Any]:
        counts.append(0)
        mine = len(counts) - 1
        for step in steps(*arguments, **options):
            counts[mine] += isinstance(step, Send)
            yield step

    monkeypatch.setattr(server, "steps", count)
    return counts


def hang(url: str) -> socket.socket:
    """Shake hands, and then neither read nor write."""
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    made = socket.create_connection((address.hostname, address.port))
    made.sendall(
        b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    return made


def test_a_client_that_does_not_read_is_not_read_ahead_for(make: Make, counted: list[int]) -> None:
    path = make(*[audio_frame(pcm(48_000))] * 800)  # 50 MB: sockets buffer a tenth of it

    async def test() -> None:
        async with serve([path], speed=0) as url:
            with hang(url):
                assert await received(url) == recorded(path)
                slow, fast = counted
                assert fast == 800
                assert slow < 400

    run(test())


def test_a_slow_client_gets_everything_in_the_end(make: Make) -> None:
    path = make(*(audio_frame(pcm(48_000, number)) for number in range(300)))

    async def test() -> None:
        async with serve([path], speed=0) as url, client(url) as slow:
            assert len(await received(url)) == 300  # while the other does not read
            assert await rest(slow) == recorded(path)

    run(test())


def test_a_flood_of_nonsense_is_answered(make: Make) -> None:
    path = make([UPDATE], FIRST)

    async def test() -> None:
        async with serve([path]) as url, client(url) as socket:
            answers = asyncio.gather(*(socket.send("nonsense") for _ in range(1_000)))
            for _ in range(1_000):
                assert json.loads(await socket.recv())["type"] == "error"
            await answers
            await socket.send(UPDATE)
            assert await rest(socket) == [FIRST]

    run(test())


def test_a_client_that_leaves_disturbs_nobody(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    path = make(*[audio_frame(pcm(48_000))] * 100)

    async def test() -> None:
        async with serve([path], speed=0) as url:
            async with client(url) as polite:
                await polite.recv()
            async with client(url) as rude:
                await rude.recv()
                rude.transport.abort()
            assert await received(url) == recorded(path)

    run(test())
    assert not caplog.messages


# --- who may connect ----------------------------------------------------------------------------


async def refusal(url: str, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await received(url, **options)
    return refused.value.response.status_code


def test_it_listens_on_loopback(make: Make) -> None:
    async def test() -> None:
        async with serve([make(FIRST)]) as url:
            assert urlsplit(url).hostname == "127.0.0.1"

    run(test())


def test_a_web_page_is_refused(make: Make) -> None:
    async def test() -> None:
        async with serve([make(FIRST)]) as url:
            assert await refusal(url, origin="https://example.org") == 403

    run(test())


@pytest.mark.parametrize("allowed", ["https://example.org", "*"])
def test_a_web_page_may_be_allowed(make: Make, allowed: str) -> None:
    async def test() -> None:
        async with serve([make(FIRST)], allow_origin=[allowed]) as url:
            assert await received(url, origin="https://example.org") == [FIRST]

    run(test())


def test_another_page_than_the_allowed_one_is_refused(make: Make) -> None:
    async def test() -> None:
        async with serve([make(FIRST)], allow_origin=["https://example.org"]) as url:
            assert await refusal(url, origin="https://example.org.evil.example") == 403

    run(test())


def test_any_realtime_path_will_do_and_no_other(make: Make) -> None:
    async def test() -> None:
        async with serve([make(FIRST)]) as url:
            root = url.removesuffix("/v1/realtime")
            assert await received(root + "/openai/realtime?deployment=a&api-version=b") == [FIRST]
            assert await refusal(root + "/") == 404
            assert await refusal(root + "/v1/chat?x=/realtime") == 404

    run(test())


def test_the_realtime_subprotocol_is_taken_and_no_key(make: Make) -> None:
    async def test() -> None:
        async with serve([make(FIRST)]) as url:
            offered = ["openai-insecure-api-key.secret", "realtime"]
            async with client(url, subprotocols=offered) as socket:
                assert socket.subprotocol == "realtime"
                assert "secret" not in str(socket.response)
            async with client(url, subprotocols=offered[:1]) as socket:
                assert socket.subprotocol is None

    run(test())


def test_compression_is_off(make: Make) -> None:
    async def test() -> None:
        async with serve([make(FIRST)]) as url, client(url, compression="deflate") as socket:
            assert socket.response
            assert "Sec-WebSocket-Extensions" not in socket.response.headers

    run(test())


def test_no_key_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def test() -> None:
        async with serve([make(FIRST)]) as url:
            headers = {"Authorization": "Bearer secret"}
            await received(url, additional_headers=headers, logger=logging.getLogger("quiet"))

    logging.getLogger("quiet").setLevel(logging.CRITICAL)
    run(test())
    assert "secret" not in caplog.text


# --- the end ------------------------------------------------------------------------------------


def test_after_the_last_frame_the_connection_is_closed(make: Make) -> None:
    async def test() -> None:
        async with serve([make(FIRST)]) as url, client(url) as socket:
            await rest(socket)
            assert socket.protocol.close_code == 1000

    run(test())


def test_a_server_that_stops_closes_its_connections(make: Make) -> None:
    path = make((0.0, FIRST), (3_000.0, SECOND))

    async def test() -> None:
        async with serve([path]) as url:
            socket = await client(url)
            await socket.recv()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.protocol.close_code == 1001

    run(test())


def test_a_client_that_hangs_does_not_keep_a_server_from_stopping(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_GRACE", 0.1)
    path = make(*[audio_frame(pcm(48_000))] * 400)

    async def test() -> None:
        async with serve([path], speed=0) as url:
            hanging = hang(url)
            await received(url)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)
        hanging.close()

    run(test())


# --- recordings with something wrong ------------------------------------------------------------


def test_problems_are_logged_once_and_the_rest_is_played(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    path = make(FIRST)
    with path.open("ab") as file:
        file.write(b"nonsense\n" * 12 + SECOND + b"\n")

    async def test() -> None:
        async with serve([path], speed=0) as url:
            for _ in range(2):
                assert await received(url) == [FIRST, SECOND]

    run(test())
    assert len(caplog.messages) == 11
    assert caplog.messages[0].startswith(f"{path}:2: byte ")
    assert caplog.messages[-1] == f"{path}: and 2 more"


def test_a_recording_that_vanishes_is_reported(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    path = make(FIRST)

    async def test() -> None:
        async with serve([path], speed=0) as url:
            path.unlink()
            async with client(url) as socket:
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.protocol.close_code == 1011

    run(test())
    assert str(path) in caplog.text


async def _serve_nothing(*paths: Path, **options: Any) -> None:
    async with serve(paths, **options):
        pytest.fail("it was served")


def test_a_recording_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.jsonl"):
        run(_serve_nothing(tmp_path / "none.jsonl"))


def test_a_recording_without_server_frames_is_refused(make: Make) -> None:
    with pytest.raises(RecordingError, match="session.jsonl: there is no server frame"):
        run(_serve_nothing(make([UPDATE])))


def test_what_is_no_recording_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    with pytest.raises(RecordingError, match="no server frame; .*a.wav:1: byte 0: .*not valid"):
        run(_serve_nothing(path))


def test_what_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="only a file"):
        run(_serve_nothing(tmp_path))


@pytest.mark.parametrize("speed", [-1.0, float("nan")])
def test_a_speed_that_is_none_is_refused(make: Make, speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        run(_serve_nothing(make(FIRST), speed=speed))


def test_there_must_be_a_recording() -> None:
    with pytest.raises(ValueError, match="no recording"):
        run(_serve_nothing())


def test_a_recording_that_got_empty_stops_a_loop(make: Make) -> None:
    path = make(FIRST)

    async def test() -> None:
        async with serve([path], loop=True) as url, client(url) as socket:
            await socket.recv()
            path.write_bytes(b"")
            with pytest.raises(ConnectionClosed):
                await rest(socket)
            assert socket.close_code == 1011

    run(test())


def test_a_client_that_talks_while_it_reads_slowly_gets_the_last_frames(make: Make) -> None:
    assert server._CLOSE_TIMEOUT >= 60  # of websockets' own 10 s a slow client needs more
    path = make(*[audio_frame(pcm(12_000, number)) for number in range(40)])

    async def test() -> None:
        async with serve([path], speed=0) as url, client(url) as socket:
            append = frame("input_audio_buffer.append", audio="A" * 6_400).decode()
            for _ in range(20):
                await socket.send(append)
            assert len(await rest(socket)) == 40
            assert socket.close_code == 1000

    run(test())
