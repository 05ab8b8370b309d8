import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deltaring.recording import Recording
from tests.wire import frame, session

pytest.importorskip("typer", reason="the extra `cli`")
pytest.importorskip("websockets", reason="the extra `record`")

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

SECRET = "sk-5eCr3t"
COMMAND = [sys.executable, "-m", "deltaring", "record"]
QUIETLY: Any = dict(capture_output=True, text=True, timeout=30)
Talk = Callable[[str], Awaitable[Any]]


def refused(*arguments: str) -> str:
    """Run the command, which is to refuse its arguments; return what it said."""
    done = subprocess.run([*COMMAND, *arguments], check=False, **QUIETLY)
    assert done.returncode == 2
    assert not done.stdout
    return done.stderr


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


def record(
    path: Path, *options: str, talk: Talk | None = None, stop: int = signal.SIGTERM
) -> tuple[int, str, str]:
    """Run the command before an echo server, talk through it, stop it; return what came of it."""

    async def main() -> tuple[int, str, str]:
        async with serve(echo, "127.0.0.1", 0, compression=None) as upstream:
            url = f"ws://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
            arguments = "--upstream", url, "--listen", "127.0.0.1:0", "-o", str(path), *options
            pipes = dict(stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
            process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, **pipes)
            assert process.stdout
            listening = (await process.stdout.readline()).decode().strip()
            if talk is not None:
                await talk(listening)
            process.send_signal(stop)
            out, err = await process.communicate()
            return process.returncode or 0, out.decode(), err.decode()

    async def limited() -> tuple[int, str, str]:
        return await asyncio.wait_for(main(), 30)

    return asyncio.run(limited())


async def say_hello(url: str) -> None:
    headers = {"Authorization": f"Bearer {SECRET}"}
    async with connect(f"{url}/v1?key={SECRET}", additional_headers=headers) as websocket:
        for message in (session(client_secret=SECRET), frame("response.text.delta", delta="Hello")):
            await websocket.send(message.decode())
            assert await websocket.recv() == message.decode()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary(tmp_path: Path, stop: int) -> None:
    code, out, _ = record(tmp_path / "a.jsonl", talk=say_hello, stop=stop)
    assert code == 0
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert [(name, value.strip()) for name, value in lines] == [
        ("connections", "1, and 0 refused"),
        ("frames", "2 server, 2 client"),
        ("bytes", "147 server, 147 client"),
        ("redacted", "2 frames"),
        ("withheld", "0 frames"),
    ]


def test_a_session_is_recorded_without_its_secrets(tmp_path: Path) -> None:
    _, out, err = record(tmp_path / "a.jsonl", talk=say_hello)
    recording = Recording(tmp_path / "a.jsonl")
    assert [source for _, source, _ in recording] == ["client", "server"] * 2
    assert not recording.problems
    assert SECRET not in (tmp_path / "a.jsonl").read_text() + out + err
    assert "recording" in err
    assert "a.jsonl" in err


def test_secrets_are_kept_on_demand(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", "--keep-secrets", talk=say_hello)
    assert SECRET in (tmp_path / "a.jsonl").read_text()


def test_words_are_blanked_on_demand(tmp_path: Path) -> None:
    record(tmp_path / "a.jsonl", "--redact", "text", "--redact", "audio", talk=say_hello)
    assert "Hello" not in (tmp_path / "a.jsonl").read_text()


def test_an_open_session_is_closed_by_the_signal(tmp_path: Path) -> None:
    ends = []

    async def stay(url: str) -> None:
        websocket = await connect(url)
        await websocket.send('{"type":"a"}')
        await websocket.recv()
        ends.append(asyncio.create_task(end_of(websocket)))

    async def end_of(websocket: Any) -> None:
        await websocket.wait_closed()
        ends.append(websocket.close_code)

    code, out, _ = record(tmp_path / "a.jsonl", talk=stay)
    assert code == 0
    assert "1 server, 1 client" in out
    assert ends[1:] == [1001]


def test_frames_that_are_no_json_are_mentioned(tmp_path: Path) -> None:
    async def talk(url: str) -> None:
        async with connect(url) as websocket:
            await websocket.send(b"\0\1")
            await websocket.recv()

    code, out, err = record(tmp_path / "a.jsonl", talk=talk)
    assert (code, "2 frames" in out, "may hold secrets" in err) == (0, True, True)


def test_a_session_that_cannot_be_recorded_shows_in_the_exit_code(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    async def talk(url: str) -> None:
        folder.rmdir()
        async with connect(url) as websocket:
            await websocket.wait_closed()

    code, _, err = record(folder / "a.jsonl", talk=talk)
    assert code == 3
    assert "error" in err
    assert "cannot be recorded" in err


@pytest.mark.parametrize(("option", "status"), [(None, 403), ("https://a.test", 101)])
def test_pages_connect_on_demand(tmp_path: Path, option: str | None, status: int) -> None:
    async def talk(url: str) -> None:
        try:
            async with connect(url, origin="https://a.test") as websocket:  # type: ignore[arg-type]
                got.append(websocket.response.status_code)
        except InvalidStatus as error:
            got.append(error.response.status_code)

    got: list[int] = []
    record(tmp_path / "a.jsonl", *(["--allow-origin", option] if option else []), talk=talk)
    assert got == [status]


OUT = "-o", "a.jsonl"
URL = "--upstream", "ws://127.0.0.1:1"


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1"])
def test_a_host_that_others_can_reach_is_refused(host: str) -> None:
    assert "--insecure-listen" in refused(*URL, *OUT, "--listen", f"{host}:0")


def test_a_host_that_others_can_reach_is_taken_on_demand(tmp_path: Path) -> None:
    options = "--listen", "0.0.0.0:0", "--insecure-listen"
    assert record(tmp_path / "a.jsonl", *options)[0] == 0


@pytest.mark.parametrize("listen", ["127.0.0.1", "8765", ":8765", "127.0.0.1:x", "127.0.0.1:65536"])
def test_a_misshapen_address_is_named(listen: str) -> None:
    assert repr(listen) in refused(*URL, *OUT, "--listen", listen)


def test_another_upstream_is_refused() -> None:
    assert "ws:// or wss://" in refused("--upstream", "https://a.test", *OUT)


def test_another_kind_of_redaction_is_refused() -> None:
    assert "'video'" in refused(*URL, *OUT, "--redact", "video")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "missing" in refused(*URL, "-o", str(tmp_path / "missing" / "a.jsonl"))


def test_a_port_in_use_is_named() -> None:
    async def main() -> subprocess.CompletedProcess[str]:
        async with serve(echo, "127.0.0.1", 0) as other:
            port = other.sockets[0].getsockname()[1]
            command = [*COMMAND, *URL, *OUT, "--listen", f"127.0.0.1:{port}"]
            run = subprocess.run
            return await asyncio.to_thread(run, command, check=False, **QUIETLY)

    done = asyncio.run(main())
    assert done.returncode == 3
    assert "cannot listen on 127.0.0.1:" in done.stderr


def test_without_websockets_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['websockets'] = None\n"
        "from deltaring.__main__ import main\n"
        f"sys.argv = ['deltaring', 'record', *{(*URL, *OUT)}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, **QUIETLY)
    assert done.returncode == 2
    assert "pip install 'deltaring[record]'" in done.stderr
