"""Make `two-turns.jsonl`, the example recording, from synthetic speech.

    apt-get install espeak-ng sox
    python examples/make_recording.py examples/two-turns.jsonl

A user asks two questions and an assistant answers them, once after a function call: GA frames of
both directions, in the key order of the wire, with times. Everything in it is made here; run twice,
it gives the same bytes (with the same espeak-ng).
"""

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from deltaring.recording import RecordingWriter

RATE = 24_000  # hertz
BYTES_PER_SECOND = 2 * RATE
START = 1_767_225_600.0  # 2026-01-01 00:00:00 UTC
USER, ASSISTANT = "en-us+f3", "en-gb"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def speak(text: str, voice: str) -> bytes:
    """Say `text`: mono 16-bit PCM at 24 kHz."""
    wav = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", "175", "--stdout", text], check=True, capture_output=True
    ).stdout
    # espeak-ng speaks at 22,050 Hz.
    command = ["sox", "-D", "-t", "wav", "--ignore-length", "-"]
    command += ["-t", "raw", "-r", str(RATE), "-e", "signed", "-b", "16", "-c", "1", "-"]
    return subprocess.run(command, input=wav, check=True, capture_output=True).stdout


class Script:
    """The session as it is written: a clock, ids, and the frames."""

    def __init__(self, recording: RecordingWriter) -> None:
        self.recording = recording
        self.now = START
        self.ids = 0
        self.previous: str | None = None
        self.conversation = self.id("conv")

    def id(self, prefix: str, length: int = 21) -> str:
        """An id such as the server makes, the same in every run."""
        self.ids += 1
        digest = hashlib.sha512(f"{prefix}{self.ids}".encode()).digest()
        return f"{prefix}_" + "".join(ALPHABET[byte % 62] for byte in digest[:length])

    def wait(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 6)

    def server(self, type: str, **fields: Any) -> None:
        self.send("server", {"type": type, "event_id": self.id("event"), **fields})

    def client(self, type: str, **fields: Any) -> None:
        self.send("client", {"type": type, **fields})

    def send(self, source: str, event: dict[str, Any]) -> None:
        frame = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        self.recording.write(frame, source=source, time=self.now)
        self.wait(0.002)

    # --- the conversation -------------------------------------------------------------------

    def open(self) -> None:
        pcm = {"type": "audio/pcm", "rate": RATE}
        session = {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.id("sess"),
            "model": "gpt-realtime",
            "output_modalities": ["audio"],
            "instructions": "Answer in one sentence.",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "expires_at": int(START) + 3600,
            "audio": {
                "input": {"format": pcm, "transcription": None, "turn_detection": None},
                "output": {"format": pcm, "voice": "marin", "speed": 1.0},
            },
        }
        self.server("session.created", session=session)
        weather = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
        self.client("session.update", session={"type": "realtime", "tools": [weather]})
        self.wait(0.05)
        session["tools"] = [weather]
        session["audio"]["input"]["transcription"] = {"model": "whisper-1"}  # type: ignore[index]
        session["audio"]["input"]["turn_detection"] = {"type": "server_vad"}  # type: ignore[index]
        self.server("session.updated", session=session)

    def added(self, item: dict[str, Any]) -> None:
        self.server("conversation.item.added", previous_item_id=self.previous, item=item)

    def done(self, item: dict[str, Any]) -> None:
        self.server("conversation.item.done", previous_item_id=self.previous, item=item)
        self.previous = item["id"]

    def item(self, item: dict[str, Any]) -> None:
        """An item that is complete as it comes."""
        self.added(item)
        self.done(item)

    def ask(self, text: str) -> None:
        """The user speaks, in real time, and the server's VAD hears it."""
        pcm, item_id = speak(text, USER), self.id("item")
        began = self.now
        step = BYTES_PER_SECOND // 10
        for start in range(0, len(pcm), step):
            audio = base64.b64encode(pcm[start : start + step]).decode()
            self.client("input_audio_buffer.append", audio=audio)
            self.wait(0.098)
            if not start:
                heard = int((began - START) * 1000)
                self.server(
                    "input_audio_buffer.speech_started", audio_start_ms=heard, item_id=item_id
                )
        self.wait(0.2)
        heard = int((self.now - START) * 1000)
        self.server("input_audio_buffer.speech_stopped", audio_end_ms=heard, item_id=item_id)
        self.server("input_audio_buffer.committed", previous_item_id=self.previous, item_id=item_id)
        content = [{"type": "input_audio", "transcript": None}]
        self.item(message(item_id, "user", "completed", content))
        self.heard = (item_id, text)

    def transcribe(self) -> None:
        """The user's words, which come while the assistant answers."""
        item_id, text = self.heard
        place = {"item_id": item_id, "content_index": 0}
        for word in text.split(" "):
            self.server(
                "conversation.item.input_audio_transcription.delta",
                **place,
                delta=word + " ",
                obfuscation=self.id("x", 10)[2:],
            )
        usage = {"type": "duration", "seconds": 3}
        self.server(
            "conversation.item.input_audio_transcription.completed",
            **place,
            transcript=text,
            usage=usage,
        )

    def response(self, status: str, output: list[Any], usage: Any = None) -> dict[str, Any]:
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": status,
            "status_details": None,
            "output": output,
            "conversation_id": self.conversation,
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "audio": {"output": {"format": {"type": "audio/pcm", "rate": RATE}, "voice": "marin"}},
            "usage": usage,
            "metadata": None,
        }

    def begin(self) -> None:
        self.response_id = self.id("resp")
        self.wait(0.1)
        self.server("response.created", response=self.response("in_progress", []))
        self.wait(0.3)

    def end(self, item: dict[str, Any], tokens: tuple[int, int, int]) -> None:
        self.server(
            "response.output_item.done", response_id=self.response_id, output_index=0, item=item
        )
        taken, text, audio = tokens
        usage = {
            "total_tokens": taken + text + audio,
            "input_tokens": taken,
            "output_tokens": text + audio,
            "input_token_details": {
                "text_tokens": taken - 30,
                "audio_tokens": 30,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": text, "audio_tokens": audio},
        }
        self.server("response.done", response=self.response("completed", [item], usage))
        limit = {"name": "tokens", "limit": 40000, "remaining": 39000, "reset_seconds": 1.5}
        self.wait(0.043)
        self.server("rate_limits.updated", rate_limits=[limit])

    def call(self, name: str, arguments: dict[str, Any], result: dict[str, Any]) -> None:
        """The assistant calls a function, and the client answers."""
        self.begin()
        item_id, call_id, text = self.id("item"), self.id("call", 16), json.dumps(arguments)
        item = {
            "id": item_id,
            "type": "function_call",
            "status": "in_progress",
            "name": name,
            "call_id": call_id,
            "arguments": "",
        }
        place = {"response_id": self.response_id, "item_id": item_id, "output_index": 0}
        self.server(
            "response.output_item.added", response_id=self.response_id, output_index=0, item=item
        )
        self.added(item)
        for start in range(0, len(text), 6):
            self.server(
                "response.function_call_arguments.delta",
                **place,
                call_id=call_id,
                delta=text[start : start + 6],
                obfuscation=self.id("x", 10)[2:],
            )
        self.server(
            "response.function_call_arguments.done",
            **place,
            call_id=call_id,
            name=name,
            arguments=text,
        )
        item = {**item, "status": "completed", "arguments": text}
        self.done(item)
        self.transcribe()
        self.end(item, (140, 18, 0))
        answer = {
            "id": self.id("item"),
            "type": "function_call_output",
            "call_id": call_id,
            "output": json.dumps(result),
        }
        self.wait(0.2)
        self.client("conversation.item.create", item=answer)
        self.item(answer)
        self.client("response.create")

    def answer(self, text: str, *, transcribe: bool = False) -> None:
        """The assistant speaks: four times as fast as it will be played."""
        pcm = speak(text, ASSISTANT)
        self.begin()
        item_id = self.id("item")
        item = message(item_id, "assistant", "in_progress", [])
        self.server(
            "response.output_item.added", response_id=self.response_id, output_index=0, item=item
        )
        self.added(item)
        place = {
            "response_id": self.response_id,
            "item_id": item_id,
            "output_index": 0,
            "content_index": 0,
        }
        part = {"type": "audio", "transcript": ""}
        self.server("response.content_part.added", **place, part=part)
        if transcribe:
            self.transcribe()
        step = BYTES_PER_SECOND // 4
        words, chunks = text.split(" "), range(0, len(pcm), step)
        for start in chunks:
            for word in words[:3]:
                self.server(
                    "response.output_audio_transcript.delta",
                    **place,
                    delta=word if word == text.split(" ", maxsplit=1)[0] else " " + word,
                    obfuscation=self.id("x", 10)[2:],
                )
            words = words[3:]
            delta = base64.b64encode(pcm[start : start + step]).decode()
            self.server("response.output_audio.delta", **place, delta=delta)
            self.wait(0.06)
        self.server("response.output_audio.done", **place)
        self.server("response.output_audio_transcript.done", **place, transcript=text)
        self.server("response.content_part.done", **place, part={**part, "transcript": text})
        content = [{"type": "output_audio", "transcript": text}]
        item = message(item_id, "assistant", "completed", content)
        self.done(item)
        self.end(item, (170, 20, len(pcm) // 2400))
        self.wait(len(pcm) / BYTES_PER_SECOND)


def message(item_id: str, role: str, status: str, content: list[Any]) -> dict[str, Any]:
    """A message item, keys in the order of the wire."""
    return {"id": item_id, "type": "message", "status": status, "role": role, "content": content}


def main(path: str) -> None:
    """Write the recording anew."""
    Path(path).unlink(missing_ok=True)
    with RecordingWriter(path) as recording:
        script = Script(recording)
        script.open()
        script.wait(1.0)
        script.ask("What is the weather like in London?")
        script.call("get_weather", {"city": "London"}, {"sky": "fog", "celsius": 12})
        script.answer("It is foggy in London, and twelve degrees.")
        script.wait(0.8)
        script.ask("Do I need an umbrella?")
        script.answer("No rain is on its way, so leave it at home.", transcribe=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
