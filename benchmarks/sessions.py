"""Generated recordings of both directions, as many and as long as wanted, always the same.

python -m benchmarks.sessions FOLDER --count 1000 --turns 4
"""

import argparse
import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TURN = 10.0  # seconds of a turn: the user speaks for 4, the assistant for 5
_APPEND = 4_800  # bytes of 100 ms: what clients of a microphone send
_DELTA = 12_000  # bytes of 250 ms: what OpenAI sends
_EPOCH = 1_784_858_052.0


class _Session:
    """The lines of one session."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)
        self._number = number

    def lines(self, turns: int) -> Iterator[bytes]:
        begin = _EPOCH + self._number
        session = {"id": f"sess_{self._number}", "type": "realtime", "model": "gpt-realtime"}
        yield self._server(begin, "session.created", session=session)
        for turn in range(turns):
            yield from self._spoken(begin + turn * TURN, turn)
            yield from self._answer(begin + turn * TURN + 4.5, turn)

    def _spoken(self, at: float, turn: int) -> Iterator[bytes]:
        item = f"item_u{self._number}_{turn}"
        yield self._server(at, "input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        for step in range(40):
            audio = self._audio(_APPEND)
            yield self._line(at + step / 10, "client", "input_audio_buffer.append", audio=audio)
        at += 4
        yield self._server(at, "input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=9)
        yield self._server(at, "input_audio_buffer.committed", item_id=item)
        kind = "conversation.item.input_audio_transcription.completed"
        yield self._server(at, kind, item_id=item, content_index=0, transcript="How is that?")

    def _answer(self, at: float, turn: int) -> Iterator[bytes]:
        response = {"id": f"resp_{self._number}_{turn}", "object": "realtime.response"}
        part = {
            "response_id": response["id"],
            "item_id": f"item_a{self._number}_{turn}",
            "output_index": 0,
            "content_index": 0,
        }
        item = {"id": part["item_id"], "type": "message", "role": "assistant", "content": []}
        yield self._server(at, "response.created", response={**response, "status": "in_progress"})
        yield self._server(at, "response.output_item.added", item=item, **_of_response(part))
        for step in range(20):
            now = at + 0.3 + step / 8
            kind = "response.output_audio_transcript.delta"
            yield self._server(now, kind, delta=" word", obfuscation="5YY5imXvSx", **part)
            kind = "response.output_audio.delta"
            yield self._server(now, kind, **part, delta=self._audio(_DELTA))
        at += 3
        yield self._server(at, "response.output_audio.done", **part)
        text = " word" * 20
        yield self._server(at, "response.output_audio_transcript.done", transcript=text, **part)
        yield self._server(at, "response.output_item.done", item=item, **_of_response(part))
        usage = {"total_tokens": 30, "input_tokens": 10, "output_tokens": 20}
        done = {**response, "status": "completed", "output": [item], "usage": usage}
        yield self._server(at, "response.done", response=done)

    def _audio(self, size: int) -> str:
        return base64.b64encode(self._random.randbytes(size)).decode()

    def _server(self, at: float, kind: str, **fields: Any) -> bytes:
        return self._line(at, "server", kind, event_id="event_E4ySzfnOcWHFSZXcbUmTo", **fields)

    def _line(self, at: float, source: str, kind: str, **fields: Any) -> bytes:
        event = json.dumps({"type": kind, **fields}, separators=(",", ":")).encode()
        return b'{"time":%.6f,"source":"%s","event":%s}\n' % (at, source.encode(), event)


def _of_response(part: dict[str, Any]) -> dict[str, Any]:
    return {name: part[name] for name in ("response_id", "output_index")}


def write_sessions(folder: Path, count: int, turns: int) -> list[Path]:
    """Write recordings of so many turns of 10 seconds each; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"session-{number:05}.jsonl" for number in range(count)]
    for number, path in enumerate(paths):
        with path.open("wb") as file:
            file.writelines(_Session(number).lines(turns))
    return paths


def main() -> None:
    """Write a folder of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--turns", type=int, default=4)
    options = parser.parse_args()
    paths = write_sessions(options.folder, options.count, options.turns)
    print(f"{len(paths)} recordings, {sum(path.stat().st_size for path in paths) / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
