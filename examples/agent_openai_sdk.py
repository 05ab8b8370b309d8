"""Ask an agent that has a tool, with WAV files: the OpenAI SDK sends, deltaring receives.

    pip install deltaring "openai[realtime]" && python examples/agent_openai_sdk.py question.wav

For `deltaring serve examples/two-turns.jsonl`: its URL as `--url`, any key, and two questions.
"""

import argparse
import asyncio
import base64
import wave

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

import deltaring
from deltaring import live


async def ask(connection: AsyncRealtimeConnection, question: str) -> None:
    """Say what is in the file (mono, 16 bits, 24 kHz), and have it answered."""
    with wave.open(question) as wav:
        pcm = wav.readframes(wav.getnframes())
    await connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())
    await connection.input_audio_buffer.commit()
    await connection.response.create()


async def converse(url: str, questions: list[str], out: wave.Wave_write) -> None:
    """Ask the questions one after the other; end where the server does."""
    session = deltaring.Session(deltaring.Decoder(on_invalid="keep"))
    client = AsyncOpenAI(websocket_base_url=url.removesuffix("/realtime"))
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"turn_detection": None}},
                "tools": [{"type": "function", "name": "get_weather"}],
            }
        )
        await ask(connection, questions.pop(0))
        async for event in live.openai(connection, session):
            if isinstance(event, deltaring.AudioDelta):
                out.writeframes(event.track.ring.read(event.track.ring.readable).tobytes())
            elif isinstance(event, deltaring.ResponseDone):
                output = event.response.output or ()
                calls = [item.call_id or "" for item in output if item.type == "function_call"]
                for call in calls:
                    await connection.conversation.item.create(
                        item={"type": "function_call_output", "call_id": call, "output": "fog"}
                    )
                if calls:
                    await connection.response.create()
                else:
                    await (ask(connection, questions.pop(0)) if questions else connection.close())
            elif isinstance(event, deltaring.ErrorEvent):
                print("error:", event.error.message)
    print(*session.transcript.lines(), sep="", end="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("questions", nargs="+")
    parser.add_argument("--url", default="wss://api.openai.com/v1/realtime")
    given = parser.parse_args()
    with wave.open("answers.wav", "wb") as wav:
        wav.setparams((1, 2, 24_000, 0, "NONE", ""))
        asyncio.run(converse(given.url, given.questions, wav))
