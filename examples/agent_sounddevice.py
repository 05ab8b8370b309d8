"""A voice agent at the microphone and the loudspeaker that can be interrupted. Use headphones.

    pip install "deltaring[play]" websockets && python examples/agent_sounddevice.py

Without OPENAI_API_KEY: `deltaring serve examples/two-turns.jsonl --ignore-client`, and its `--url`.
"""

import argparse
import asyncio
import base64
import json
import os
from contextlib import suppress
from typing import Any

import sounddevice  # type: ignore[import-untyped, unused-ignore]
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

import deltaring
from deltaring import live

RATE = 24_000  # what the server takes and gives unless told otherwise
VAD = {"type": "server_vad", "interrupt_response": False}  # only here it is known what was heard
SESSION = {"type": "realtime", "audio": {"input": {"turn_detection": VAD}}}
HEADERS = {"Authorization": f"Bearer {key}"} if (key := os.getenv("OPENAI_API_KEY")) else {}


async def listen(socket: ClientConnection, microphone: deltaring.AudioRing) -> None:
    """Send what the microphone hears, until the connection closes."""
    with suppress(ConnectionClosed):  # the events say why
        while True:
            await asyncio.sleep(0.05)
            audio = base64.b64encode(microphone.read(RATE).tobytes()).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))


async def converse(url: str) -> None:
    """Talk until the server closes the connection."""
    session = deltaring.Session(deltaring.Decoder(on_invalid="keep"))
    playback = deltaring.Playback(session.decoder, RATE, prebuffer_ms=40)
    microphone = deltaring.AudioRing(RATE)  # a second: who is further behind will not catch up

    def callback(indata: Any, outdata: Any, *_: object) -> None:
        microphone.write(indata[:, 0])
        playback.read_into(outdata[:, 0])

    async with connect(url, additional_headers=HEADERS, max_size=None, compression=None) as socket:
        await socket.send(json.dumps({"type": "session.update", "session": SESSION}))
        listening = asyncio.create_task(listen(socket, microphone))
        with sounddevice.Stream(RATE, channels=1, dtype="int16", callback=callback) as stream:
            async for event in live.websockets(socket, session):
                if isinstance(event, deltaring.InputAudioBufferSpeechStarted):
                    if any(response.status == "in_progress" for response in session.responses):
                        await socket.send('{"type":"response.cancel"}')
                    for truncation in playback.interrupt(stream.latency[1]):
                        await socket.send(truncation.to_frame(), text=True)
                elif isinstance(event, deltaring.ErrorEvent):
                    print("error:", event.error.message)
            await listening
            while any(track.ring.readable for track in session.decoder.tracks.values()):
                await asyncio.sleep(0.1)  # the last words


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="wss://api.openai.com/v1/realtime?model=gpt-realtime")
    with suppress(ConnectionClosedOK):  # the server closed while something was sent
        asyncio.run(converse(parser.parse_args().url))
