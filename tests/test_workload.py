"""The frames that decoders are measured on."""

import json
from pathlib import Path

import pytest

import deltaring
from deltaring.recording import Recording
from deltaring.workload import SETS, Workload, built_in, from_recordings, read
from tests.wire import audio_frame, frame, pcm


def share(workload: Workload) -> tuple[float, float]:
    """How much of the frames, and of the bytes, audio deltas are."""
    audio = [it for it in workload.frames if it.audio is not None]
    size = sum(len(it.data) for it in workload.frames)
    return len(audio) / len(workload.frames), sum(len(it.data) for it in audio) / size


@pytest.mark.parametrize("name", [*SETS, "960"])
def test_a_set_is_the_same_each_time(name: str) -> None:
    assert built_in(name) == built_in(name)


@pytest.mark.parametrize("name", [*SETS, "960"])
def test_every_frame_of_a_set_is_a_known_event(name: str) -> None:
    decoder = deltaring.Decoder(max_tracks=64)
    for it in built_in(name).frames:
        event = decoder.decode(it.data)
        assert event.type == it.event["type"]
        assert isinstance(event, deltaring.AudioDelta) == (it.audio is not None)
        if isinstance(event, deltaring.AudioDelta):
            event.track.ring.clear()
    assert (decoder.stats.unknown, decoder.stats.lenient) == (0, 0)


def test_a_spoken_session_has_the_shares_that_were_recorded() -> None:
    # "In a spoken session base64 is 93 % of the bytes but a quarter of the frames."
    frames, size = share(built_in("openai"))
    assert 0.2 < frames < 0.3
    assert 0.91 < size < 0.96


def test_frames_have_the_sizes_that_were_recorded() -> None:
    sizes: dict[str, list[int]] = {}
    for it in built_in("openai").frames:
        sizes.setdefault(it.event["type"], []).append(len(it.data))
    assert set(sizes["response.output_audio_transcript.delta"]) == {251}
    assert 1_200 < sizes["session.created"][0] < 1_300
    assert 12_000 < sorted(sizes["response.output_audio.delta"])[64] < 18_000


def test_each_set_has_the_chunks_of_its_server() -> None:
    chunks = {
        name: sorted(len(it.audio) for it in built_in(name).frames if it.audio) for name in SETS
    }
    assert set(chunks["telephony"]) == {160}
    assert set(chunks["huggingface"]) == {32 * 48}
    assert chunks["text"] == []
    assert chunks["xai"][0] >= 31 * 48
    assert chunks["xai"][-1] <= 1_223 * 48


def test_a_number_makes_deltas_of_one_size() -> None:
    assert {len(it.audio or b"") for it in built_in("960").frames} == {960}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"nonsense", "Expecting value"),
        (b"[]", "no object with a type"),
        (b'{"type":1}', "no object with a type"),
        (audio_frame(b"").replace(b'"delta":""', b'"delta":null'), "whose delta is NoneType"),
        (audio_frame(b"").replace(b'"delta":""', b'"x":""'), "without `delta`"),
        (audio_frame(b"").replace(b'"delta":""', b'"delta":"AAAAA"'), "not strict base64"),
        (audio_frame(b"").replace(b'"delta":""', b'"delta":"AAA*"'), "not strict base64: [^p]"),
        (b'{"type":"a.b","text":"\\ud83d"}', "surrogates not allowed"),
        (audio_frame(b"").replace(b'"delta":""', b'"delta":"AAAA===="'), "padding"),
        (b'{"type":"a.b","x":1e400}', "a number beyond all floats"),
        (b'{"type":"a.b","x":[9223372036854775808]}', "an integer of more than 64 bits"),
        (b'{"type":"a.b","x":{"y":1,"y":2}}', "a key that comes twice"),
        (b'\xef\xbb\xbf{"type":"a.b"}', "BOM"),
        ('{"type":"a.b"}'.encode("utf-16"), "codec can't decode"),
    ],
)
def test_a_frame_without_a_plain_reading_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(data)


def test_recordings_give_the_frames_of_the_server(example: Path) -> None:
    workload = from_recordings([Recording(example), Recording(example)])
    server = [record.frame for record in Recording(example) if record.source == "server"]
    assert [[it.data for it in session] for session in workload.sessions] == [server, server]
    assert not workload.left_out


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    bad = json.dumps({"type": "response.audio.delta", "delta": "A"}).encode()
    path.write_bytes(b"\n".join([audio_frame(pcm(300)), b"nonsense", bad, frame("a.b")]) + b"\n")
    workload = from_recordings([Recording(path)])
    assert len(workload.frames) == 2
    first, second = workload.left_out
    assert first.startswith(f"{path}:2: ")
    assert second.startswith(f"{path}:3: ")


def test_a_limit_cuts_the_frames_and_says_where(example: Path) -> None:
    workload = from_recordings([Recording(example), Recording(example)], 100_000)
    assert sum(len(it.data) for it in workload.frames) <= 100_000
    assert len(workload.sessions) == 1
    assert workload.cut.startswith(f"{example}:")
    assert not workload.left_out
