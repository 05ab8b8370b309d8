"""A contender whose output is not right is caught, and told what was wrong."""

import base64
import json
import re
from typing import Any

import pytest

from deltaring.contenders import Contender, contenders
from deltaring.verdict import PROBES, why_wrong
from deltaring.workload import built_in, read
from tests.wire import audio_frame, pcm

SESSIONS = built_in("openai").sessions


class Right:
    """What all others are broken from."""

    name = "right"

    def __init__(self, out: memoryview) -> None:
        self.out = out

    def parse(self, frame: bytes) -> Any:
        return json.loads(frame)

    def decode(self, text: str) -> bytes:
        return base64.b64decode(text, validate=True)

    def receive(self, frame: bytes) -> tuple[Any, int]:
        event = self.parse(frame)
        if not event["type"].endswith("audio.delta"):
            return event, 0
        data = self.decode(event["delta"])
        self.out[: len(data)] = data
        return event, len(data)


class DropsTheLastByte(Right):
    def decode(self, text: str) -> bytes:
        return super().decode(text)[:-1]


class DropsOddBytes(Right):
    def decode(self, text: str) -> bytes:
        data = super().decode(text)
        return data[: len(data) & ~1]


class PadsOddBytes(Right):
    def decode(self, text: str) -> bytes:
        data = super().decode(text)
        return data + b"\0" * (len(data) & 1)


class MixesUpTwoItems(Right):
    """Keeps a "current item"."""

    current = None

    def receive(self, frame: bytes) -> tuple[Any, int]:
        event, count = super().receive(frame)
        if count:
            self.current = event["item_id"] = self.current or event["item_id"]
        return event, count


class SwapsTheAudioOfTwoItems(Right):
    held = b""

    def receive(self, frame: bytes) -> tuple[Any, int]:
        event, count = super().receive(frame)
        if count and len(self.held) == count:
            self.held, self.out[:count] = bytes(self.out[:count]), self.held
        elif count:
            self.held = bytes(self.out[:count])
        return event, count


class AcceptsBadBase64(Right):
    def decode(self, text: str) -> bytes:
        return base64.b64decode(text)


class AcceptsTheUrlAlphabet(Right):
    def decode(self, text: str) -> bytes:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)


class AddsPadding(Right):
    def decode(self, text: str) -> bytes:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


class SearchesForTheMarker(Right):
    """The short cut that turns other text into audio."""

    def receive(self, frame: bytes) -> tuple[Any, int]:
        at = frame.find(b'"delta":"')
        if at < 0 or b"audio.delta" not in frame:
            return self.parse(frame), 0
        data = self.decode(frame[at + 9 : frame.index(b'"', at + 9)].decode())
        self.out[: len(data)] = data
        return self.parse(frame), len(data)


class ReturnsTheLastEvent(Right):
    last: Any = None

    def parse(self, frame: bytes) -> Any:
        event, self.last = self.last, json.loads(frame)
        return event or self.last


class LosesTheText(Right):
    def parse(self, frame: bytes) -> Any:
        event = json.loads(frame)
        return {**event, "delta": ""} if "transcript" in event["type"] else event


class ChangesOneBit(Right):
    def decode(self, text: str) -> bytes:
        data = bytearray(super().decode(text))
        if len(data) > 1_000:
            data[1_000] ^= 1
        return bytes(data)


class LeavesTheBufferEmpty(Right):
    def receive(self, frame: bytes) -> tuple[Any, int]:
        event, count = super().receive(frame)
        self.out[:count] = bytes(count)
        return event, count


class HearsAudioInText(Right):
    def receive(self, frame: bytes) -> tuple[Any, int]:
        event, count = super().receive(frame)
        return event, count or 2


class Fails(Right):
    def parse(self, frame: bytes) -> Any:
        raise RuntimeError("out of order\nsecond line")


def verdict(kind: type, task: str = "audio") -> str:
    return why_wrong(Contender(kind.__name__, (task,), kind), task, SESSIONS, 100_000)


@pytest.mark.parametrize("task", ["parse", "audio", "session"])
def test_what_is_right_is_right(task: str) -> None:
    assert verdict(Right, task) == ""


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (DropsTheLastByte, "bytes of audio too few"),
        (DropsOddBytes, "probe 3 .*byte 0 of the audio is"),
        (PadsOddBytes, "1 bytes of audio too many"),
        (MixesUpTwoItems, "item_id is 'item_a', not 'item_b'"),
        (SwapsTheAudioOfTwoItems, "byte 0 of the audio is"),
        (AcceptsBadBase64, "accepts bad base64: a character outside the alphabet"),
        (AcceptsTheUrlAlphabet, "accepts bad base64: the URL alphabet"),
        (AddsPadding, "accepts bad base64: too little padding"),
        (SearchesForTheMarker, "raised|bytes of audio too|byte 0 of the audio"),
        (ReturnsTheLastEvent, "event_id is 'event_0', not 'event_1'"),
        (ChangesOneBit, "byte 1000 of the audio is"),
        (LeavesTheBufferEmpty, "byte 0 of the audio is 0, not"),
        (HearsAudioInText, "2 bytes of audio from an event that has none"),
        (Fails, r"probe 1 \(response.output_audio.delta\): raised RuntimeError: out of order$"),
    ],
)
def test_what_is_wrong_is_caught(kind: type, reason: str) -> None:
    why = verdict(kind)
    assert re.search(reason, why), why


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ReturnsTheLastEvent, "event_id is 'event_0', not 'event_1'"),
        (LosesTheText, "delta is '', not ' What'"),
        (Fails, "raised RuntimeError"),
    ],
)
def test_a_wrong_parser_is_caught(kind: type, reason: str) -> None:
    assert reason in verdict(kind, "parse")


def test_a_floor_is_given_the_text_alone() -> None:
    class Floor(Right):
        def receive(self, frame: bytes) -> tuple[Any, int]:
            data = self.decode(frame.decode())
            self.out[: len(data)] = data
            return None, len(data)

    class Lenient(Floor):
        def decode(self, text: str) -> bytes:
            return base64.b64decode(text)

    for kind, why in (Floor, ""), (Lenient, "accepts bad base64"):
        contender = Contender("floor", ("audio",), kind, floor=True)
        assert why_wrong(contender, "audio", SESSIONS, 100_000).startswith(why)
        assert bool(why_wrong(contender, "audio", SESSIONS, 100_000)) == bool(why)


def test_a_server_without_ids_begins_anew_with_each_reply() -> None:
    # Half a sample that waits at the end of a reply is not the next one's.
    delta = read(audio_frame(pcm(961), response_id="", item_id=""))
    done = read(b'{"type":"response.audio.done","event_id":"e"}')
    again = read(audio_frame(pcm(962), response_id="", item_id=""))
    ours = next(it for it in contenders() if it.name.startswith("deltaring "))
    assert why_wrong(ours, "session", [[delta, done, again]], 4_096) == ""


def test_probes_are_of_every_known_order() -> None:
    firsts = {next(iter(probe.event)) for probe in PROBES}
    lasts = {list(probe.event)[-1] for probe in PROBES}
    assert {"type", "content_index", "event_id"} <= firsts
    assert {"type", "delta", "ts"} <= lasts
