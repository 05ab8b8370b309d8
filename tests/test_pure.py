"""What only the pure kernel has: it says where a frame ends within a recorded line."""

import pytest

import deltaring
from deltaring.pure import spans_audio_delta
from tests.kernels import decoder_of
from tests.wire import OTHER_LAYOUTS, audio_frame, pcm


@pytest.mark.parametrize("layout", OTHER_LAYOUTS)
def test_other_layouts_are_left_to_the_slow_path(layout: str) -> None:
    decoder = decoder_of("pure")
    decoder.decode(audio_frame(pcm(300), layout=layout))
    assert decoder.stats.fast == 0


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
