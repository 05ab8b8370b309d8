import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaring.audio import ALAW
from deltaring.errors import InvalidAudio
from deltaring.microphone import APPEND, Microphone, read_client
from deltaring.outdir import OutputFolder
from deltaring.tape import Tapes
from tests.wire import frame, pcm

GA_24K = "audio/pcm", 24_000


class Recorded:
    """A microphone with tapes, and what is on them."""

    def __init__(self, root: Path) -> None:
        self.tapes = Tapes(OutputFolder(root, "f", re.compile("x")))
        self.microphone = Microphone(self.tapes)

    def give(self, data: bytes, stated: tuple[str, object] | None = None, epoch: int = 1) -> int:
        return self.microphone.take(b64encode(data).decode(), stated, epoch)

    def read(self) -> list[bytes]:
        self.tapes.close()
        return [
            b"".join(block.tobytes() for block in tape.blocks()) for tape in self.microphone.tapes
        ]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded(tmp_path)
    yield recorded
    recorded.tapes.abandon()


def test_a_client_may_cut_a_character_in_half() -> None:
    assert read_client(memoryview(b'{"type":"a","x":"\\ud83d"}')).type == "a"


def test_appends_are_joined_in_order(recorded: Recorded) -> None:
    assert [recorded.give(pcm(100)), recorded.give(pcm(200, 1))] == [50, 100]
    assert recorded.read() == [pcm(100) + pcm(200, 1)]
    (part,) = recorded.microphone.parts
    assert (part.format, part.sample_rate, part.samples, part.seconds) == (
        "pcm16", 24_000, 150, 150 / 24_000,
    )  # fmt: skip


def test_half_a_sample_waits_for_the_next_append(recorded: Recorded) -> None:
    assert [recorded.give(pcm(100)[:33]), recorded.give(pcm(100)[33:99])] == [16, 33]
    assert recorded.read() == [pcm(100)[:98]]
    assert recorded.microphone.parts[0].pending == 1


def test_half_a_sample_ends_with_its_session(recorded: Recorded) -> None:
    recorded.give(b"a")
    recorded.give(pcm(100), epoch=2)
    assert recorded.read() == [pcm(100)]


def test_half_a_sample_outlives_the_beginning_of_the_first_session(recorded: Recorded) -> None:
    recorded.give(b"a", epoch=0)
    recorded.give(b"b", epoch=1)
    assert recorded.read() == [b"ab"]


def test_g711_is_decoded(recorded: Recorded) -> None:
    codes = pcm(80)
    assert recorded.give(codes, ("g711_alaw", None)) == 80
    assert recorded.read() == [ALAW[list(codes)].tobytes()]
    assert recorded.microphone.parts[0].sample_rate == 8_000


def test_a_change_of_format_begins_another_part(recorded: Recorded) -> None:
    recorded.give(pcm(100))
    recorded.give(pcm(10), ("g711_ulaw", None))
    recorded.give(pcm(20), GA_24K)
    assert [tape.name for tape in recorded.microphone.tapes] == ["user", "user-2", "user-3"]
    assert [part.samples for part in recorded.microphone.parts] == [50, 10, 10]


def test_another_word_for_the_same_format_does_not(recorded: Recorded) -> None:
    recorded.give(pcm(100), None)
    recorded.give(pcm(100), GA_24K)
    recorded.give(pcm(100), ("pcm16", None), epoch=2)
    assert [part.samples for part in recorded.microphone.parts] == [150]


def test_bytes_of_an_unknown_format_stay_as_they_are(recorded: Recorded) -> None:
    assert recorded.give(pcm(33), ("opus", None)) == 33
    assert recorded.read() == [pcm(33)]
    assert recorded.microphone.parts[0].sample_rate is None


def test_without_tapes_samples_are_counted() -> None:
    microphone = Microphone()
    assert microphone.take("AAAAAAAA", None, 1) == 3
    assert microphone.parts[0].samples == 3


@pytest.mark.parametrize("text", ["!!!!", "AAA", "AAAA\n", "AA-_", "äAAA"])
def test_what_is_no_strict_base64_is_an_error(text: str) -> None:
    with pytest.raises(InvalidAudio, match="`audio` is not strict base64"):
        Microphone().take(text, None, 1)


@pytest.mark.parametrize("value", [None, 5, ["AAAA"]])
def test_audio_that_is_no_text_is_an_error(value: object) -> None:
    with pytest.raises(InvalidAudio, match="not a string"):
        Microphone().take(value, None, 1)


def test_an_error_changes_nothing(recorded: Recorded) -> None:
    recorded.give(pcm(101))
    with pytest.raises(InvalidAudio):
        recorded.microphone.take("!", None, 1)
    recorded.give(b"b")
    assert recorded.read() == [pcm(101) + b"b"]


def test_client_frames_are_read_whatever_their_order() -> None:
    read = read_client(b'{"audio":"AA\\/=", "x":[{}],"type":"input_audio_buffer.append"}')
    assert (read.type, read.audio) == ("input_audio_buffer.append", "AA/=")
    assert read_client(frame("session.update", session={"audio": {}})).audio is None
    assert (
        read_client(memoryview(b'{"x":"\\ud83d","type":"response.create"}')).type
        == "response.create"
    )


def test_audio_that_is_read_with_its_frame_is_the_same_as_its_text(recorded: Recorded) -> None:
    text = b64encode(pcm(101)).decode()
    known = frame(APPEND, audio=text)
    other = known.replace(b'{"type"', b'{"x":5,"type"')
    assert (read_client(known).audio, read_client(other).audio) == (pcm(101), text)
    for raw in (known, other, memoryview(known)):
        read = read_client(raw)
        assert read.type == APPEND
        recorded.microphone.take(read.audio, None, 1)
    assert recorded.read() == [(pcm(101) * 3)[:302]]


@pytest.mark.parametrize("data", [b"nonsense", b"[]", b"\xff", b'"x"'])
def test_what_is_no_frame_has_no_fields(data: bytes) -> None:
    assert read_client(data).type is None
