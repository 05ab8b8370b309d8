import asyncio
import base64
import contextlib
import itertools
import json
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import deltaring
from deltaring.errors import RecordingError
from deltaring.recorder import Counts, Recorder
from deltaring.recording import Recording
from tests.wire import audio_frame, frame, pcm, response, session

SECRET = "sk-5eCr3t"
CREATED = session(client_secret={"value": SECRET})
APPEND = frame("input_audio_buffer.append", audio=base64.b64encode(pcm(300)).decode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.jsonl"


def records(path: Path) -> list[Any]:
    recording = Recording(path)
    found = list(recording)
    assert not recording.problems
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_frames_are_kept_in_their_order_with_their_source(path: Path) -> None:
    with Recorder(path) as recorder:
        recorder.sent(APPEND)
        recorder.received(audio_frame(pcm(600)))
        recorder.sent(APPEND)
    assert [(source, kept) for _, source, kept in records(path)] == [
        ("client", APPEND),
        ("server", audio_frame(pcm(600))),
        ("client", APPEND),
    ]


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, bytes.decode])
def test_a_frame_may_have_any_form(path: Path, form: Callable[[bytes], Any]) -> None:
    with Recorder(path) as recorder:
        recorder.received(form(APPEND))
    assert records(path)[0].frame == APPEND


def test_a_text_with_half_a_character_is_kept(path: Path) -> None:
    with Recorder(path) as recorder:
        recorder.received('{"type":"a","text":"\ud83d"}')
    assert records(path)[0].frame == b'{"type":"a","text":"\xed\xa0\xbd"}'


def test_the_clock_is_read_once_and_time_is_monotonic_from_then_on(path: Path) -> None:
    unix = iter([1784858052.25])
    monotonic = iter([1000.0, 1000.5, 1003.75])
    with Recorder(path, clock=unix.__next__, monotonic=monotonic.__next__) as recorder:
        stamps = [recorder.received(APPEND), recorder.sent(APPEND)]
    assert stamps == [1784858052.75, 1784858056.0]
    assert [record.time for record in records(path)] == stamps


def test_times_in_the_file_are_those_returned_to_1_us(path: Path) -> None:
    with Recorder(path) as recorder:
        stamps = [recorder.received(audio_frame(pcm(600))) for _ in range(500)]
    assert [record.time for record in records(path)] == pytest.approx(stamps, rel=0, abs=1e-6)


def test_times_are_those_of_the_clock_to_1_us(path: Path) -> None:
    times = [base + step / 7 for base in (1.0, 3e5) for step in range(100)]
    ticks = iter([0.5, *times])
    with Recorder(path, clock=lambda: 1784858052.123456, monotonic=ticks.__next__) as recorder:
        for tick in times:
            exact = 1784858052.123456 + (tick - 0.5)
            assert recorder.received(APPEND) == pytest.approx(exact, rel=0, abs=1e-6)


def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with Recorder(path):
            assert mode(path) == 0o600
    finally:
        os.umask(before)


def test_a_private_file_is_appended_to(path: Path) -> None:
    for _ in range(2):
        with Recorder(path) as recorder:
            recorder.received(APPEND)
    assert len(records(path)) == 2


@pytest.mark.parametrize("open_to", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused_and_left_alone(path: Path, open_to: int) -> None:
    path.touch()
    path.chmod(open_to)
    with pytest.raises(RecordingError, match=r"session\.jsonl: others may read .*chmod 600"):
        Recorder(path)
    assert mode(path) == open_to
    assert not path.read_bytes()


def test_a_file_that_is_refused_is_closed(path: Path) -> None:
    path.touch(0o644)
    path.chmod(0o644)
    before = os.listdir("/dev/fd")
    with pytest.raises(RecordingError):
        Recorder(path)
    assert len(os.listdir("/dev/fd")) == len(before)


def test_secrets_do_not_reach_the_file(path: Path) -> None:
    with Recorder(path) as recorder:
        recorder.received(CREATED)
        recorder.sent(frame("session.update", session={"tools": [{"authorization": SECRET}]}))
        recorder.sent(b"\0" + SECRET.encode())
    assert SECRET.encode() not in path.read_bytes()


def test_secrets_are_kept_on_demand(path: Path) -> None:
    with Recorder(path, keep_secrets=True) as recorder:
        recorder.received(CREATED)
        recorder.received(b"\0\1\2")
    assert [record.frame for record in records(path)] == [CREATED, b"\0\1\2"]


def test_speech_and_words_are_hidden_on_demand(path: Path) -> None:
    with Recorder(path, redact=["audio", "text"]) as recorder:
        recorder.sent(APPEND)
        recorder.received(frame("response.output_text.delta", delta="Hello"))
    sent, received = (json.loads(record.frame) for record in records(path))
    assert (sent["audio"], received["delta"]) == ("A" * 400, "")


def test_formats_are_followed_over_both_directions(path: Path) -> None:
    with Recorder(path, redact=["audio"]) as recorder:
        recorder.received(session(input_audio_format="g711_ulaw"))
        recorder.sent(APPEND)
    audio = json.loads(records(path)[1].frame)["audio"]
    assert base64.b64decode(audio) == b"\xff" * 300


def test_what_was_recorded_is_counted(path: Path) -> None:
    with Recorder(path) as recorder:
        recorder.received(CREATED)
        recorder.received("é")
        recorder.sent(APPEND)
    assert recorder.counts == Counts(2, 1, len(CREATED) + 2, len(APPEND), redacted=1, withheld=1)


def test_counts_add_up() -> None:
    total = Counts(1, 2, 3, 4, 5, 6)
    total.add(Counts(10, 20, 30, 40, 50, 60))
    assert total == Counts(11, 22, 33, 44, 55, 66)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is a Linux device")
def test_a_full_disk_is_said_to_the_caller(path: Path) -> None:
    with Recorder(path) as recorder:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, recorder._writer._file.fileno())
        os.close(full)
        with pytest.raises(OSError, match="No space"):
            recorder.received(APPEND)
    assert recorder.counts.received == 0


@pytest.mark.parametrize("kinds", [["video"], "audio"])
def test_another_kind_is_refused_before_the_file_is_made(path: Path, kinds: Any) -> None:
    with pytest.raises(ValueError, match="audio and text"):
        Recorder(path, redact=kinds)
    assert not path.exists()


def test_threads_may_share_a_recorder(path: Path) -> None:
    ticks = itertools.count()

    def clock() -> float:
        tick = next(ticks)
        time.sleep(0.002 * (tick % 2))  # time for another thread to come between
        return float(tick)

    with Recorder(path, monotonic=clock) as recorder:
        threads = [
            threading.Thread(target=lambda: [recorder.sent(APPEND) for _ in range(20)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    times = [record.time for record in records(path)]
    assert recorder.counts.sent == len(times) == 80
    assert times == sorted(times)


def test_a_closed_recorder_takes_no_more(path: Path) -> None:
    recorder = Recorder(path)
    recorder.close()
    with pytest.raises(ValueError, match="closed"):
        recorder.received(APPEND)


# --- the transports that the docstring names ------------------------------------------------------

REPLY = [
    session(),
    audio_frame(pcm(601)),
    audio_frame(pcm(9_000)),
    response("response.done", "resp_x"),
]


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[str]:
    """A server that sends REPLY to each frame, and closes."""
    serve = pytest.importorskip("websockets.asyncio.server", reason="websockets is an extra").serve

    async def reply(websocket: Any) -> None:
        await websocket.recv()
        for data in REPLY:
            await websocket.send(data.decode())

    async with serve(reply, "127.0.0.1", 0, compression=None) as listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def record(path: Path, talk: Callable[[str, Recorder], Awaitable[None]]) -> list[Any]:
    async def main() -> None:
        async with server() as address:
            with Recorder(path) as recorder:
                await asyncio.wait_for(talk(address, recorder), 20)

    asyncio.run(main())
    return [(source, kept) for _, source, kept in records(path)]


EXPECTED = [("client", APPEND), *(("server", data) for data in REPLY)]


def test_websockets_can_be_recorded(path: Path) -> None:
    client = pytest.importorskip("websockets.asyncio.client", reason="websockets is an extra")

    async def talk(address: str, recorder: Recorder) -> None:
        async with client.connect(f"ws://{address}", compression=None) as websocket:
            recorder.sent(APPEND)
            await websocket.send(APPEND, text=True)
            async for data in websocket:
                recorder.received(data)

    assert record(path, talk) == EXPECTED


def test_aiohttp_can_be_recorded(path: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is a transport of others")

    async def talk(address: str, recorder: Recorder) -> None:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"http://{address}") as websocket,
        ):
            recorder.sent(APPEND)
            await websocket.send_str(APPEND.decode())
            async for message in websocket:
                recorder.received(message.data)

    assert record(path, talk) == EXPECTED


def test_picows_can_be_recorded(path: Path) -> None:
    picows = pytest.importorskip("picows", reason="picows is a transport of others")

    async def talk(address: str, recorder: Recorder) -> None:
        class Listener(picows.WSListener):  # type: ignore[misc]
            def on_ws_connected(self, transport: Any) -> None:
                recorder.sent(APPEND)
                transport.send(picows.WSMsgType.TEXT, APPEND)

            def on_ws_frame(self, transport: Any, message: Any) -> None:
                if message.msg_type == picows.WSMsgType.TEXT:
                    recorder.received(message.get_payload_as_bytes())
                elif message.msg_type == picows.WSMsgType.CLOSE:
                    transport.disconnect()

        transport, _ = await picows.ws_connect(Listener, f"ws://{address}/")
        await transport.wait_disconnected()

    assert record(path, talk) == EXPECTED


def test_the_openai_sdk_can_be_recorded(path: Path) -> None:
    openai = pytest.importorskip("openai", reason="the SDK is a transport of others")
    pytest.importorskip("websockets", reason="the SDK's realtime extra")

    async def talk(address: str, recorder: Recorder) -> None:
        async with (
            openai.AsyncOpenAI(api_key=SECRET, websocket_base_url=f"ws://{address}/v1") as sdk,
            sdk.realtime.connect(model="gpt-realtime") as connection,
        ):
            recorder.sent(APPEND)
            await connection.send_raw(APPEND.decode())
            for _ in REPLY:
                data = await connection.recv_bytes()
                recorder.received(data)
                assert connection.parse_event(data).type == deltaring.decode(data).type

    assert record(path, talk) == EXPECTED
    assert SECRET.encode() not in path.read_bytes()
