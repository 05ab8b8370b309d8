"""What only the pure kernel has: it says where a frame ends within a recorded line."""

import json
from base64 import b64encode

import pytest

import deltaring
from deltaring.pure import appended, spans_audio_delta
from tests.kernels import decoder_of
from tests.wire import OTHER_LAYOUTS, audio_done, audio_frame, pcm


@pytest.mark.parametrize("layout", OTHER_LAYOUTS)
def test_other_layouts_are_left_to_the_slow_path(layout: str) -> None:
    decoder = decoder_of("pure")
    decoder.decode(audio_frame(pcm(300), layout=layout))
    assert decoder.stats.fast == 0


def test_what_is_unread_stays_where_it_is() -> None:
    decoder, first, second = decoder_of("pure"), pcm(300), pcm(300)[::-1]
    for data in (first, second):
        event = decoder.decode(audio_frame(data))
    assert event.track.ring.read(300).tobytes() == first + second  # type: ignore[union-attr]


def test_what_finds_no_memory_is_dropped_and_asks_for_some_each_time() -> None:
    decoder = decoder_of("pure", max_tracks=1)
    decoder.decode(audio_frame(pcm(300), response_id="resp_a"))  # unread: it keeps the memory
    frame = audio_frame(pcm(300), response_id="resp_b")
    assert [decoder.decode(frame).dropped for _ in "12"] == [150, 150]  # type: ignore[union-attr]
    decoder.decode(audio_done("resp_a", "item_E4ySyzEXmG1cqrBzxotNa"))
    assert decoder._pool.route is None
    assert decoder.stats.fast == 3


def test_spans_says_where_a_frame_ends() -> None:
    frame = audio_frame(pcm(300))
    line = b'{"event":' + frame + b"}"
    assert spans_audio_delta(frame, 0, len(frame))
    assert spans_audio_delta(line, 9, len(line) - 1)
    assert spans_audio_delta(bytearray(line), 9, len(line) - 1)
    assert not spans_audio_delta(line, 9, len(line))
    assert not spans_audio_delta(frame, 0, len(frame) - 1)


@pytest.mark.parametrize("tail", [b',"x":1}', b'}{"a":"b"}', b',"event":{"a":"b"}}', b"]}", b" }"])
def test_spans_refuses_what_goes_on(tail: bytes) -> None:
    frame = audio_frame(pcm(300))[:-1] + tail
    assert not spans_audio_delta(frame, 0, len(frame))


def test_spans_leaves_base64_to_the_decoder() -> None:
    frame = audio_frame("!" * 300)
    assert spans_audio_delta(frame, 0, len(frame))
    with pytest.raises(deltaring.InvalidAudio):
        deltaring.Decoder().decode(frame)


APPEND = {"type": "input_audio_buffer.append", "audio": b64encode(pcm(300)).decode()}
COMPACT = json.dumps(APPEND, separators=(",", ":")).encode()


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("ids", [{}, {"event_id": "evt_1"}])
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_audio_that_a_client_appends_is_decoded(
    kind: type, ids: dict[str, str], separators: tuple[str, str]
) -> None:
    frame = json.dumps({**ids, **APPEND}, separators=separators).encode()
    assert appended(kind(frame)) == pcm(300)


@pytest.mark.parametrize(
    "frame",
    [
        COMPACT + b" ",
        b" " + COMPACT,
        COMPACT + b"}",
        COMPACT[:-1],
        COMPACT[:-1] + b',"audio":"AAAA"}',
        COMPACT[:-2] + b'\\"}',
        COMPACT[:-2] + b'="}',
        COMPACT[:-2] + b'\xff"}',
        COMPACT.replace(b"append", b"clear"),
        COMPACT.replace(b"append", b"appen\\u0064"),
        COMPACT.replace(b'{"type"', b'{"event_id":"\\"","type"'),
        COMPACT.replace(b'{"type"', b'{"event_id":null,"type"'),
        COMPACT.replace(b'"audio"', b'"audio":"AAAA","audio"'),
        b'{"type":"input_audio_buffer.append","audio":""}',
        b'{"type":"input_audio_buffer.append","audio":"}',
        b'{"type":"input_audio_buffer.append","audio":5}',
        b"",
    ],
)
def test_what_is_not_proven_to_append_audio_is_left_to_the_parser(frame: bytes) -> None:
    assert appended(frame) is None
