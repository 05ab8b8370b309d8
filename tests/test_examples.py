"""The example agents, run as they stand there against the replay server."""

import asyncio
import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen

import deltaring
from deltaring.recording import Recording
from tests import wire
from tests.conftest import ROOT

AGENTS = sorted((ROOT / "examples").glob("agent_*.py"))
TIMEOUT = 60  # seconds, for what takes a few
KEY = "a-secret-key"
NULL_DEVICE = "pcm.!default { type null }\nctl.!default { type null }\n"

Agent = Callable[..., str]


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """Run an example to its end, in a folder of its own; return what it printed."""

    def agent(name: str, url: str, *arguments: str) -> str:
        done = subprocess.run(
            command(name, url, *arguments),
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert KEY not in done.stdout
        return done.stdout

    return agent


def command(name: str, url: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / name), "--url", url, *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Sound goes to ALSA's null device, and comes from there: no sound card is needed."""
    (folder / "asound.conf").write_text(NULL_DEVICE)
    return {
        **os.environ,
        "OPENAI_API_KEY": KEY,
        "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
    }


@contextmanager
def replay_server(*arguments: str) -> Iterator[str]:
    """`deltaring serve`, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deltaring", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture
def _sound() -> None:
    """Skip where there is no PortAudio, or no ALSA whose null device could be played to."""
    if sys.platform != "linux":
        pytest.skip("the null device is ALSA's: Linux only")
    found = subprocess.run(
        [sys.executable, "-c", "import sounddevice"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip(f"no sound: {found.stderr.splitlines()[-1]}")


def spoken(recording: Path) -> bytes:
    """All audio of a recording, in order."""
    decoder = deltaring.Decoder()
    for _, source, frame in Recording(recording):
        if source == "server":
            decoder.decode(frame)
    return b"".join(
        track.ring.read(track.ring.readable).tobytes() for track in decoder.tracks.values()
    )


def heard(path: Path) -> bytes:
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, 24_000)
        return wav.readframes(wav.getnframes())


# --- each by itself ------------------------------------------------------------------------------


def test_there_are_three_agents() -> None:
    assert [path.stem for path in AGENTS] == [
        "agent_openai_sdk",
        "agent_sounddevice",
        "agent_websockets",
    ]


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: path.stem)
def test_an_agent_has_less_than_70_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 70


def test_the_agents_are_type_correct() -> None:
    for module in ("mypy", "openai"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *map(str, AGENTS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_an_agent_writes_down_what_was_answered(
    agent: Agent, example: Path, tmp_path: Path
) -> None:
    with replay_server(str(example), "--ignore-client", "--speed", "4") as url:
        printed = agent("agent_websockets.py", url, "Weather?", "Thanks.", "Umbrella?")
    assert "It is foggy in London, and twelve degrees.\nNo rain is on its way" in printed
    assert len(re.findall(r"^\d+\.\d\d s from the question", printed, re.M)) == 2
    assert heard(tmp_path / "answers.wav") == spoken(example)


def test_an_agent_ends_where_the_server_does(agent: Agent, example: Path, tmp_path: Path) -> None:
    questions = map(str, range(10))  # more than are answered
    with replay_server(str(example), "--ignore-client", "--speed", "4") as url:
        agent("agent_websockets.py", url, *questions)
    assert heard(tmp_path / "answers.wav") == spoken(example)


def test_an_agent_on_the_sdk_asks_and_calls(agent: Agent, example: Path, tmp_path: Path) -> None:
    # The server waits for its questions, and for the result of the call.
    pytest.importorskip("openai", reason="the OpenAI SDK is not installed")
    question = str(tmp_path / "question.wav")
    with wave.open(question, "wb") as wav:
        wav.setparams((1, 2, 24_000, 0, "NONE", ""))
        wav.writeframes(wire.pcm(2 * 24_000 * 3))
    with replay_server(str(example), "--speed", "0") as url:
        printed = agent("agent_openai_sdk.py", url, question, question)
    assert "assistant: No rain is on its way, so leave it at home." in printed
    assert heard(tmp_path / "answers.wav") == spoken(example)


# --- at the loudspeaker --------------------------------------------------------------------------


@pytest.mark.usefixtures("_sound")
def test_an_agent_with_a_microphone_runs_to_the_servers_end(agent: Agent, example: Path) -> None:
    with replay_server(str(example), "--ignore-client", "--speed", "4") as url:
        assert not agent("agent_sounddevice.py", url)


@pytest.mark.usefixtures("_sound")
def test_an_agent_with_a_microphone_can_be_interrupted(tmp_path: Path) -> None:
    """The null device takes all that there is at once; what counts is what the server is told."""
    sent = asyncio.run(asyncio.wait_for(interrupted(tmp_path), TIMEOUT))
    types = [event["type"] for event in sent]
    assert types[0] == "session.update"
    assert "input_audio_buffer.append" in types
    rest = [event for event in sent[1:] if event["type"] != "input_audio_buffer.append"]
    assert [event["type"] for event in rest] == ["response.cancel", "conversation.item.truncate"]
    assert rest[1]["item_id"] == "item_1"
    assert 0 < rest[1]["audio_end_ms"] <= 2_000


async def interrupted(folder: Path) -> list[dict[str, object]]:
    """What the agent sends while a reply of at least two seconds is cut off by speech."""
    sent: list[dict[str, object]] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.headers["Authorization"] == f"Bearer {KEY}"
        ids = {"response_id": "resp_1", "item_id": "item_1"}
        await connection.send(wire.response("response.created", "resp_1", status="in_progress"))
        await connection.send(wire.audio_frame(wire.pcm(2 * 48_000), **ids))
        async for message in connection:
            event = json.loads(message)
            sent.append(event)
            if event["type"] == "input_audio_buffer.append" and len(sent) == 20:
                speech = {"audio_start_ms": 100, "item_id": "item_2", "event_id": "event_1"}
                await connection.send(wire.frame("input_audio_buffer.speech_started", **speech))
            elif event["type"] == "conversation.item.truncate":
                break

    async with listen(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *command("agent_sounddevice.py", f"ws://127.0.0.1:{port}"), env=environment(folder)
        )
        assert await process.wait() == 0
    return sent
