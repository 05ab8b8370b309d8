"""Ask in writing, get the answers as speech: a WAV file, with its text and how long it took.

    pip install deltaring websockets
    OPENAI_API_KEY=... python examples/agent_websockets.py "Why is the sky blue?" "And at night?"

Without a key: `deltaring serve examples/two-turns.jsonl --ignore-client`, and its URL as `--url`.
"""

import argparse
import asyncio
import json
import os
import wave
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedOK

import deltaring
from deltaring import live

HEADERS = {"Authorization": f"Bearer {key}"} if (key := os.getenv("OPENAI_API_KEY")) else {}


async def ask(socket: ClientConnection, question: str) -> None:
    """Add the question to the conversation, and have it answered."""
    content = [{"type": "input_text", "text": question}]
    item = {"type": "message", "role": "user", "content": content}
    with suppress(ConnectionClosedOK):  # the events end, too
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await socket.send(json.dumps({"type": "response.create"}))


async def converse(url: str, questions: list[str], out: wave.Wave_write) -> None:
    """Ask the questions one after the other; end where the server does."""
    session = deltaring.Session(deltaring.Decoder(on_invalid="keep"))
    async with connect(url, additional_headers=HEADERS, max_size=None, compression=None) as socket:
        await ask(socket, questions.pop(0))
        async for event in live.websockets(socket, session):
            match event:
                case deltaring.AudioDelta(track=track):
                    out.writeframes(track.ring.read(track.ring.readable).tobytes())
                case deltaring.ResponseAudioTranscriptDelta(delta=text):
                    print(text, end="", flush=True)
                case deltaring.ResponseAudioTranscriptDone():
                    print()
                case deltaring.ResponseDone() if questions:
                    await ask(socket, questions.pop(0))
                case deltaring.ResponseDone():
                    await socket.close()
                case deltaring.ErrorEvent(error=error):
                    print("error:", error.message)
    for turn in session.latencies.turns:
        if turn.to_audible is not None:
            print(f"{turn.to_audible:.2f} s from the question to the first audible sample")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("questions", nargs="+")
    parser.add_argument("--url", default="wss://api.openai.com/v1/realtime?model=gpt-realtime")
    parser.add_argument("-o", "--out", default="answers.wav")
    given = parser.parse_args()
    with wave.open(given.out, "wb") as wav:
        wav.setparams((1, 2, 24_000, 0, "NONE", ""))  # what the server gives unless told otherwise
        asyncio.run(converse(given.url, given.questions, wav))
