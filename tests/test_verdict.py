"""A contender whose output is not right is caught, and told what was wrong."""

import base64
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from deltaring.contenders import Contender, contenders
from deltaring.verdict import PROBES, why_wrong
from deltaring.workload import built_in, read
from tests.wire import audio_frame, frame, pcm, session

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


class CallsZeroFalse(Right):
    def parse(self, frame: bytes) -> Any:
        event = super().parse(frame)
        return {**event, "content_index": False} if event.get("content_index") == 0 else event


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


class RemembersTheAnswer(Right):
    """Leaves the buffer as it is where it has seen a frame before."""

    def __init__(self, out: memoryview) -> None:
        super().__init__(out)
        self.seen: dict[bytes, Any] = {}

    def receive(self, frame: bytes) -> tuple[Any, int]:
        if frame not in self.seen:
            self.seen[frame] = super().receive(frame)
        return self.seen[frame]


class WorksWhenLookedAt(Right):
    """Decodes only if somebody asks for the audio."""

    text = ""

    @property
    def out(self) -> memoryview:  # type: ignore[override]
        return memoryview(base64.b64decode(self.text, validate=True))

    @out.setter
    def out(self, out: memoryview) -> None:
        pass

    def receive(self, frame: bytes) -> tuple[Any, int]:
        event = self.parse(frame)
        if not event["type"].endswith("audio.delta"):
            return event, 0
        self.text = event["delta"]
        return event, len(self.text) * 3 // 4 - self.text.count("=")


class LenientInLongText(Right):
    def decode(self, text: str) -> bytes:
        return base64.b64decode(text, validate=len(text) < 1_000)


class StripsWhiteSpace(Right):
    def decode(self, text: str) -> bytes:
        return super().decode(text.strip())


class KeepsHalves(Right):
    """Half a sample waits for its other half, as deltaring has it."""

    keys: tuple[str, ...] = ("response_id", "item_id", "content_index")

    def __init__(self, out: memoryview) -> None:
        super().__init__(out)
        self.halves: dict[Any, bytes] = {}

    def receive(self, frame: bytes) -> tuple[Any, int]:
        event, count = super().receive(frame)
        if not count:
            return event, count
        key = tuple(event[name] for name in self.keys)
        data = self.halves.get(key, b"") + bytes(self.out[:count])
        whole = len(data) & ~1
        self.halves[key] = data[whole:]
        self.out[:whole] = data[:whole]
        return event, whole


class KeepsHalvesByItemAlone(KeepsHalves):
    """Half a sample of one content part goes to another."""

    keys = ("item_id",)


class KeepsHalvesByIndexAlone(KeepsHalves):
    keys = ("output_index",)


class LosesNested(Right):
    def parse(self, frame: bytes) -> Any:
        event = json.loads(frame)
        return {**event, "session": {}} if "session" in event else event


class ReadsLatin1(Right):
    def parse(self, frame: bytes) -> Any:
        return json.loads(frame.decode("latin-1"))


class TakesWhatIsCutOff(Right):
    def parse(self, frame: bytes) -> Any:
        try:
            return json.loads(frame)
        except ValueError:
            return {"type": "error"}


class NeedsMore(Right):
    def __init__(self, out: memoryview, more: int) -> None:
        super().__init__(out)


class Exits(Right):
    def parse(self, frame: bytes) -> Any:
        raise SystemExit(0)


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
        (DropsOddBytes, "byte 0 of the audio is"),
        (PadsOddBytes, "1 bytes of audio too many"),
        (MixesUpTwoItems, "item_id is 'item_a', not 'item_b'"),
        (SwapsTheAudioOfTwoItems, "byte 0 of the audio is"),
        (AcceptsBadBase64, "accepts bad base64: ' ' at 0|accepts bad base64"),
        (AcceptsTheUrlAlphabet, "accepts bad base64: '-' at 0"),
        (AddsPadding, "accepts bad base64: 4 characters and 'A"),
        (SearchesForTheMarker, "raised|bytes of audio too|byte 0 of the audio"),
        (ReturnsTheLastEvent, "is .*, not .*"),
        (CallsZeroFalse, "content_index is False, not 0"),
        (ChangesOneBit, "byte 1000 of the audio is"),
        (LeavesTheBufferEmpty, "byte 0 of the audio is 0, not"),
        (RemembersTheAnswer, "byte 0 of the audio is"),
        (WorksWhenLookedAt, "`out` is worked out when it is asked for"),
        (LenientInLongText, "accepts bad base64: .* of 2048 characters"),
        (StripsWhiteSpace, r"accepts bad base64: 4 characters and '\\n'"),
        (KeepsHalvesByItemAlone, "probe 3 .* of audio too many"),
        (KeepsHalvesByIndexAlone, "probe 3 .* of audio too many"),
        (NeedsMore, "it could not be made: raised TypeError"),
        (Exits, "raised SystemExit"),
        (HearsAudioInText, "2 bytes of audio from an event that has none"),
        (
            Fails,
            r"probe 1 \(response.output_audio.delta\): raised RuntimeError: out of order; second line$",
        ),
    ],
)
def test_what_is_wrong_is_caught(kind: type, reason: str) -> None:
    why = verdict(kind)
    assert re.search(reason, why), why


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ReturnsTheLastEvent, "event_id is 'event_000', not 'event_001'"),
        (LosesNested, "session is {}, not {'type': 'realtime'"),
        (ReadsLatin1, "delta is 'Gr"),
        (TakesWhatIsCutOff, "accepts a frame that is cut off"),
        (Exits, "raised SystemExit"),
        (LosesTheText, "delta is '', not 'Grüße"),
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


def test_what_is_absent_is_told_as_it_is() -> None:
    assert (
        why_wrong(Contender("away", ("parse",), None, "no module"), "parse", [], 9) == "no module"
    )


@pytest.mark.parametrize("stated", [None, 5])
def test_a_session_that_says_nothing_has_halves_to_wait_for(stated: object) -> None:
    updated, odd = read(frame("session.updated", session=stated)), read(audio_frame(pcm(161)))
    contender = Contender("keeps", ("session",), KeepsHalves)
    assert why_wrong(contender, "session", [[updated, odd]], 4_096) == ""


class AsObjects(Right):
    def parse(self, frame: bytes) -> Any:
        return json.loads(frame, object_hook=lambda fields: SimpleNamespace(**fields))


class MixesUpResponses(AsObjects):
    def parse(self, frame: bytes) -> Any:
        event = super().parse(frame)
        if hasattr(event, "response"):
            event.response.id = "another"
        return event


def test_of_an_object_the_ids_of_its_parts_are_compared() -> None:
    assert verdict(AsObjects, "parse") == ""
    assert "response.id is 'another', not 'resp_" in verdict(MixesUpResponses, "parse")


def test_g711_has_no_halves_to_wait_for() -> None:
    created = read(session(output_audio_format="g711_ulaw"))
    odd = read(audio_frame(pcm(161)))

    contender = Contender("keeps", ("session",), KeepsHalves)
    assert why_wrong(contender, "session", [[odd]], 4_096) == ""
    why = why_wrong(contender, "session", [[created, odd]], 4_096)
    assert "frame 2 (response.output_audio.delta): 1 bytes of audio too few" in why


def test_probes_are_of_every_known_order() -> None:
    firsts = {next(iter(probe.event)) for probe in PROBES}
    lasts = {list(probe.event)[-1] for probe in PROBES}
    assert {"type", "content_index", "event_id"} <= firsts
    assert {"type", "delta", "ts"} <= lasts
