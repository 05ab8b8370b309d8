"""`deltaring serve` as a user runs it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the command line needs the cli extra")
pytest.importorskip("websockets", reason="the replay server needs the serve extra")

from typer.testing import CliRunner, Result
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from deltaring.cli import app
from deltaring.recording import Recording
from tests.wire import frame

TIMEOUT = 30


@contextmanager
def serving(*arguments: object) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run the command until it listens; yield it and its URL."""
    command = [sys.executable, "-m", "deltaring", "serve", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def stop(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> tuple[int, str]:
    """Stop it; return its exit code and all that it complained about."""
    process.send_signal(number)
    _, complaints = process.communicate(timeout=TIMEOUT)
    return process.returncode, complaints


async def received(url: str) -> list[bytes]:
    async with connect(url, max_size=None) as client:
        return [message.encode() async for message in client]  # type: ignore[union-attr]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


@pytest.mark.skipif(os.name != "posix", reason="other systems have no signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_comes(example: Path, number: int) -> None:
    with serving(example, "--ignore-client", "--speed", 0) as (process, url):
        assert url.startswith("ws://127.0.0.1:")
        frames = [record.frame for record in Recording(example) if record.source == "server"]
        assert asyncio.run(received(url)) == frames
        assert stop(process, number) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="other systems have no signals")
def test_a_signal_closes_connections(example: Path) -> None:
    async def test(process: "subprocess.Popen[str]", url: str) -> None:
        async with connect(url) as client:
            await client.recv()
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.protocol.close_code == 1001

    with serving(example) as (process, url):
        asyncio.run(test(process, url))
        assert process.wait(TIMEOUT) == 0


def test_options_reach_the_server(example: Path) -> None:
    async def test(url: str) -> None:
        async with connect(url, origin="https://example.org", max_size=None) as client:
            frames = [await client.recv() for _ in range(110)]
            client.transport.abort()  # it would have to read all that is under way
        assert frames[102:] == frames[:8]

    options = "--loop", "--ignore-client", "--speed", 0, "--allow-origin", "https://example.org"
    with serving(example, *options) as (_, url):
        asyncio.run(asyncio.wait_for(test(url), TIMEOUT))


def test_problems_of_a_recording_are_printed_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(frame("error") + b"\nnonsense\n")
    with serving(path) as (process, url):
        assert asyncio.run(received(url)) == [frame("error")]
        code, complaints = stop(process)
    assert code == 0
    assert complaints.startswith(f"bad   {path}:2: byte 17: not valid JSON")


def test_a_bad_recording_is_refused_by_name(tmp_path: Path) -> None:
    result = run(tmp_path / "none.jsonl")
    assert result.exit_code == 3
    assert "none.jsonl" in result.stderr


def test_an_address_that_is_taken_is_refused(example: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(example, "--port", taken.getsockname()[1])
    assert result.exit_code == 3
    assert "address already in use" in result.stderr.lower()


def test_a_speed_that_is_none_is_wrong_usage(example: Path) -> None:
    assert run(example, "--speed", "nan").exit_code == 2
    assert run(example, "--speed", "-1").exit_code == 2


def without(module: str, recording: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command where a module is missing."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv[1:] = ['serve', sys.argv[1]]\n"
        "from deltaring.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, str(recording)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_its_extra_it_says_what_to_install(example: Path) -> None:
    result = without("websockets", example)
    assert result.returncode == 2
    assert "pip install 'deltaring[serve]'" in result.stderr


def test_what_else_is_missing_is_no_missing_extra(example: Path) -> None:
    result = without("deltaring.script", example)
    assert "ModuleNotFoundError" in result.stderr
    assert "pip install" not in result.stderr
