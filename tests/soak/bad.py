"""Bad frames: every kind there is, each made fresh, and what is left of them.

Rule: a frame that comes to nothing leaves nothing. Each goes through a decoder that raises, one that
keeps, with a session and a player behind it, and as a line through the reader of recordings.
"""

import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from deltaring import Decoder, FrameError, Playback, Session
from deltaring.recording import Recording
from tests.wire import audio_frame, frame, pcm, session

MAX_FRAME = 1 << 16
"""So that frames that are too large cost little."""

_SMALL = {"max_items": 64, "max_responses": 64, "max_text": 1 << 16}
"""What a session remembers of those frames that are none the worse for their huge ids: little, so
that it is full before growth is measured."""

_AUDIO = audio_frame(pcm(960))
_KNOWN = [
    "session.created", "session.updated", "conversation.item.created", "conversation.item.added",
    "conversation.item.deleted", "conversation.item.truncated", "input_audio_buffer.committed",
    "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "rate_limits.updated",
    "conversation.item.input_audio_transcription.delta", "response.created", "response.done",
    "conversation.item.input_audio_transcription.completed", "response.output_item.added",
    "response.audio_transcript.delta", "response.output_audio_transcript.done", "response.text.delta",
    "response.function_call_arguments.delta", "response.function_call_arguments.done", "error",
]  # fmt: skip
_FIELDS = ["item_id", "response_id", "event_id", "item", "response", "session", "error", "delta",
           "transcript", "content_index", "output_index", "rate_limits", "call_id", "usage"]  # fmt: skip


class BadFrames:
    """An endless supply."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._number = 0
        self.kinds: list[Callable[[], bytes]] = [
            self.cut_off, self.noise, self.other_text, self.no_object, self.wrong_values,
            self.wrong_values, self.two_types, self.bad_base64, self.bad_base64, self.too_large,
            self.too_deep, self.unknown, self.unknown, self.bad_ids, self.huge_ids, self.huge_ids,
        ]  # fmt: skip

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self._number += 1
            yield self._chance.choice(self.kinds)()

    def _id(self, prefix: str = "item") -> str:
        return f"{prefix}_{self._number:021d}"

    def _fresh(self) -> bytes:
        """An audio delta like any other."""
        return _AUDIO.replace(b"E4ySyqtszaCwtKJ3TNavm", b"%021d" % self._number)

    def cut_off(self) -> bytes:
        whole = self._fresh()
        return whole[: self._chance.randrange(len(whole))]

    def noise(self) -> bytes:
        return self._chance.randbytes(self._chance.randrange(600))

    def other_text(self) -> bytes:
        """JSON in UTF-16, or with a byte that is no UTF-8."""
        text = frame("error", event_id=self._id(), error={"message": "Füchsin"})
        if self._chance.random() < 0.5:
            return text.decode().encode("utf-16")
        return text.replace("ü".encode(), b"\xff")

    def no_object(self) -> bytes:
        value = self._chance.choice([b"%d", b"[%d]", b'"%d"', b"null%d", b"-%d.", b"{%d}"])
        return value % self._number

    def wrong_values(self) -> bytes:
        values: list[Any] = [None, 1e300, True, [], {}, [self._id()], {"id": 7}, self._number]
        fields = {name: self._chance.choice(values) for name in self._chance.sample(_FIELDS, 4)}
        return frame(self._chance.choice(_KNOWN), **fields)

    def two_types(self) -> bytes:
        return self._fresh()[:-1] + b',"type":"%b"}' % self._chance.choice(_KNOWN).encode()

    def bad_base64(self) -> bytes:
        whole = bytearray(self._fresh())
        whole[self._chance.randrange(250, len(whole) - 4)] = self._chance.choice(b"!-_= \x7f")
        return bytes(whole)

    def too_large(self) -> bytes:
        return b'{"type":"error","event_id":"%d","x":"' % self._number + b"x" * MAX_FRAME + b'"}'

    def too_deep(self) -> bytes:
        depth = self._chance.randrange(1_001, 3_000)
        nest = b"[" * depth + b"]" * depth
        return b'{"type":"error","event_id":"%d","error":%b}' % (self._number, nest)

    def unknown(self) -> bytes:
        kind = f"response.new_{self._number}.{self._chance.randrange(9)}"
        return frame(kind, event_id=self._id("event"), x=self._chance.choice([1, None, "y" * 900]))

    def bad_ids(self) -> bytes:
        """Audio whose ids are absent, null, numbers; empty ones are none of a bad frame's."""
        values: list[Any] = [None, 7, 1.5, True, [], {}, "", self._id()]
        names = ("event_id", "response_id", "item_id", "output_index", "content_index")
        ids = {name: self._chance.choice(values) for name in names}
        return audio_frame(b"\1\2" * 5, **ids)

    def huge_ids(self) -> bytes:
        """Ids of up to 9,000 characters, in audio that is fine, or in any other event.

        All take one byte: what is remembered of them is bounded in characters.
        """
        ids = [
            self._id(prefix) + self._chance.choice("xé") * self._chance.randrange(9_000)
            for prefix in ("resp", "item", "event")
        ]
        if self._chance.random() < 0.5:
            return audio_frame(b"\1\2" * 5, response_id=ids[0], item_id=ids[1], event_id=ids[2])
        about = {"response_id": ids[0], "item_id": ids[1], "event_id": ids[2], "call_id": ids[0]}
        nested = {"response": {"id": ids[0]}, "item": {"id": ids[1]}, "session": {"id": ids[2]}}
        return frame(self._chance.choice(_KNOWN), delta=ids[1], content_index=0, **about, **nested)


class Taster(io.RawIOBase):
    """Gives each frame to decoders, and then to whoever reads this as the lines of a recording."""

    def __init__(self, frames: Iterator[bytes], count: int) -> None:
        self._frames = frames
        self.left = count
        self._line = b""
        self.raising = Decoder(max_frame=MAX_FRAME)
        self.session = Session(Decoder(max_frame=MAX_FRAME, on_invalid="keep"), **_SMALL)
        self.playback = Playback(self.session.decoder, 24_000)
        self._out = np.empty(480, np.int16)
        self.raised = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._line and self.left:
            self.left -= 1
            self._line = next(self._frames)
            self._taste(self._line)
            self._line += b"\n"
        count = min(len(buffer), len(self._line))
        buffer[:count] = self._line[:count]
        self._line = self._line[count:]
        return count

    def reconnect(self) -> None:
        """Begin another session: tracks that nothing ended are over, and their long ids can go."""
        self._taste(session())

    def _taste(self, raw: bytes) -> None:
        try:
            event = self.raising.decode(raw)
        except FrameError:
            self.raised += 1
        else:
            if hasattr(event, "track"):
                event.track.ring.clear()
        self.session.receive(raw, float(self.left))
        self.playback.read_into(self._out)


def tasted(count: int, every: int, look: Callable[[int], None]) -> tuple[Taster, Recording]:
    """Taste so many bad frames; after about each `every` of them `look(left)` is called.

    A new session begins before that: what is remembered of tracks that have not ended is bounded,
    but comes and goes by a MiB.
    """
    taster = Taster(iter(BadFrames()), count)
    recording = Recording(io.BufferedReader(taster), name="bad", max_frame=MAX_FRAME)
    due = count - every
    for _ in recording.views():
        if taster.left <= due:
            taster.reconnect()
            look(taster.left)
            due -= every
    return taster, recording
