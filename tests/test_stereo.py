"""Both sides on one clock, from whole recordings."""

import json
import wave
from base64 import b64encode
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deltaring.recording import Recording
from deltaring.replay import replay
from deltaring.ring import Samples
from tests.wire import audio_frame, frame, session

pytest.importorskip("soxr", reason="the audio extra")

RATE = 24_000
START = 1_784_858_052.0


def line(time: float | None, data: bytes, source: str = "server") -> bytes:
    stamp = "null" if time is None else repr(START + time)
    return b'{"time":%s,"source":"%s","event":%s}\n' % (stamp.encode(), source.encode(), data)


def appended(time: float | None, samples: Samples) -> bytes:
    data = frame("input_audio_buffer.append", audio=b64encode(samples.tobytes()).decode())
    return line(time, data, "client")


def spoken(time: float | None, samples: Samples, item: str = "a", response: str = "r") -> bytes:
    return line(time, audio_frame(samples.tobytes(), item_id=item, response_id=response))


def constant(value: int, seconds: float) -> Samples:
    return np.full(round(seconds * RATE), value, "<i2")


def written(tmp_path: Path, *lines: bytes, **options: object) -> tuple[Path, Recording]:
    path = tmp_path / "rec.jsonl"
    path.write_bytes(line(0.0, session()) + b"".join(lines))
    recording = Recording(path)
    return replay(recording, tmp_path / "out", stereo=True, **options)[1], recording  # type: ignore[arg-type]


def sides(tmp_path: Path, *lines: bytes) -> tuple[Samples, Samples]:
    folder, recording = written(tmp_path, *lines)
    assert not recording.problems
    with wave.open(str(folder / "stereo.wav")) as file:
        assert file.getparams()[:3] == (2, 2, RATE)
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return frames[:, 0], frames[:, 1]


def stretches(side: Samples) -> list[tuple[int, int, int]]:
    """Where a side is not silent: `(start, stop, value)` in samples."""
    edges = np.flatnonzero(np.diff(side, prepend=0, append=0))
    return [
        (int(start), int(stop), int(side[start])) for start, stop in pairwise(edges) if side[start]
    ]


def test_the_user_is_left_and_the_assistant_right_each_at_its_time(tmp_path: Path) -> None:
    left, right = sides(tmp_path, appended(0.5, constant(7, 0.25)), spoken(1.5, constant(9, 0.5)))
    assert stretches(left) == [(12_000, 18_000, 7)]
    assert stretches(right) == [(36_000, 48_000, 9)]
    assert len(left) == 48_000


def test_what_is_no_samples_is_no_part_of_the_mix(tmp_path: Path) -> None:
    state = line(0.1, session("session.updated", output_audio_format="opus"))
    bytes_of = line(0.2, audio_frame(b"Ogg", item_id="o", response_id="o"))
    back = line(0.3, session("session.updated", output_audio_format="pcm16"))
    folder, _ = written(tmp_path, state, bytes_of, back, spoken(1.0, constant(9, 0.5)))
    with wave.open(str(folder / "stereo.wav")) as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert stretches(frames[:, 1])[-1][2] == 9
    assert set(frames[:, 1].tolist()) == {0, 9}


def test_chunks_that_come_early_queue_up(tmp_path: Path) -> None:
    left, _ = sides(
        tmp_path, appended(1.0, constant(1, 0.5)), appended(1.01, constant(2, 0.5)), appended(1.02, constant(3, 0.5))
    )  # fmt: skip
    assert stretches(left) == [(24_000, 36_000, 1), (36_000, 48_000, 2), (48_000, 60_000, 3)]


def test_a_gap_is_silence(tmp_path: Path) -> None:
    left, _ = sides(tmp_path, appended(1.0, constant(1, 0.5)), appended(2.0, constant(2, 0.5)))
    assert stretches(left) == [(24_000, 36_000, 1), (48_000, 60_000, 2)]


def test_the_jitter_of_a_network_is_no_gap(tmp_path: Path) -> None:
    left, _ = sides(
        tmp_path, appended(1.0, constant(1, 0.1)), appended(1.199, constant(2, 0.1)), appended(1.301, constant(3, 0.1))
    )  # fmt: skip
    assert stretches(left) == [(24_000, 26_400, 1), (26_400, 28_800, 2), (31_224, 33_624, 3)]


def test_the_assistant_is_heard_without_gaps_and_not_as_it_came(tmp_path: Path) -> None:
    _, right = sides(
        tmp_path, spoken(1.0, constant(1, 0.5)), spoken(1.1, constant(2, 0.5)), spoken(3.0, constant(3, 0.5))
    )  # fmt: skip
    assert stretches(right) == [(24_000, 36_000, 1), (36_000, 48_000, 2), (48_000, 60_000, 3)]


def test_an_item_that_comes_early_waits(tmp_path: Path) -> None:
    _, right = sides(
        tmp_path, spoken(1.0, constant(1, 1.0)), spoken(1.1, constant(2, 0.5), "b"), spoken(1.2, constant(3, 0.5))
    )  # fmt: skip
    assert stretches(right) == [(24_000, 48_000, 1), (48_000, 60_000, 3), (60_000, 72_000, 2)]


def test_an_interruption_cuts_to_the_sample(tmp_path: Path) -> None:
    started = frame("input_audio_buffer.speech_started", event_id="e", item_id="u")
    _, right = sides(
        tmp_path, spoken(1.0, constant(1, 2.0)), line(1.75, started), spoken(1.8, constant(2, 1.0)), spoken(2.5, constant(3, 0.5), "b", "next")
    )  # fmt: skip
    assert stretches(right) == [(24_000, 42_000, 1), (60_000, 72_000, 3)]


def test_a_truncation_cuts_where_the_client_says(tmp_path: Path) -> None:
    truncated = frame("conversation.item.truncated", event_id="e", item_id="a", content_index=0, audio_end_ms=625)  # fmt: skip
    _, right = sides(tmp_path, spoken(1.0, constant(1, 2.0)), line(1.75, truncated))
    assert stretches(right) == [(24_000, 39_000, 1)]


def test_a_side_of_another_rate_is_resampled(tmp_path: Path) -> None:
    codes = np.full(8_000, 0x00, "u1")  # the loudest of mu-law: -32,124
    left, right = sides(
        tmp_path,
        line(0.1, session("session.updated", input_audio_format="g711_ulaw")),
        appended(1.0, codes),
        spoken(1.5, constant(9, 1.0)),
    )
    assert stretches(right) == [(36_000, 60_000, 9)]
    assert (left[:24_000] == 0).all()
    assert (np.abs(left[24_100:47_900].astype(int) + 32_124) < 100).all()
    assert (left[48_000:] == 0).all()


def test_a_change_of_format_is_followed(tmp_path: Path) -> None:
    left, _ = sides(
        tmp_path,
        appended(1.0, constant(5, 0.5)),
        line(1.1, session("session.updated", input_audio_format="g711_ulaw")),
        appended(1.55, np.full(4_000, 0x00, "u1")),  # jitter, and no gap
    )
    assert len(left) == 48_000
    assert (left[24_000:36_000] == 5).all()
    assert (np.abs(left[36_100:47_900].astype(int) + 32_124) < 100).all()


def test_one_side_alone_has_silence_beside_it(tmp_path: Path) -> None:
    left, right = sides(tmp_path, appended(1.0, constant(1, 0.5)))
    assert (stretches(left), stretches(right)) == ([(24_000, 36_000, 1)], [])


def test_a_long_file_is_the_same_in_every_block(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-9, 9, 300_000).astype("<i2")
    left, right = sides(tmp_path, appended(0.0, noise), spoken(3.0, noise[::-1].copy()))
    assert (left[:300_000] == noise).all()
    assert (right[72_000:] == noise[::-1]).all()


def test_no_audio_makes_no_file(tmp_path: Path) -> None:
    folder, recording = written(tmp_path)
    assert not recording.problems
    assert not (folder / "stereo.wav").exists()


@pytest.mark.parametrize(
    "lines",
    [(appended(None, constant(1, 0.1)),), (spoken(None, constant(1, 0.1)), appended(1.0, constant(1, 0.1)))],
)  # fmt: skip
def test_without_times_it_is_refused_and_the_rest_is_there(
    tmp_path: Path, lines: tuple[bytes, ...]
) -> None:
    folder, recording = written(tmp_path, *lines)
    (problem,) = recording.problems
    assert problem.reason == (
        "stereo.wav: there is audio without a record time, so there is no common clock"
    )
    assert not (folder / "stereo.wav").exists()
    assert (folder / "user.wav").exists()


def test_a_clock_that_was_set_does_not_fill_the_disk(tmp_path: Path) -> None:
    folder, recording = written(
        tmp_path, appended(0.0, constant(1, 0.1)), appended(50_000.0, constant(1, 0.1))
    )
    assert recording.problems[0].reason == "stereo.wav: the record times span more than 12 hours"
    assert not (folder / "stereo.wav").exists()


def test_too_many_gaps_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaring.stereo._MAX_STRETCHES", 2)
    lines = [appended(float(time), constant(1, 0.1)) for time in range(3)]
    _, recording = written(tmp_path, *lines)
    assert recording.problems[0].reason == "stereo.wav: the user's audio has more than 2 gaps"


def test_what_no_wav_can_hold_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltaring.encoding.MAX_WAV", 100_000)
    _, recording = written(tmp_path, appended(0.6, constant(1, 0.5)))
    assert recording.problems[0].reason == "stereo.wav: a WAV holds no more than 4 GiB"


def test_it_is_listed_with_its_channels(tmp_path: Path) -> None:
    pytest.importorskip("soundfile", reason="the audio extra")
    folder, _ = written(tmp_path, appended(0.5, constant(1, 0.5)), audio="opus", rate=16_000)
    listed = json.loads((folder / "session.json").read_bytes())["files"][-1]
    assert listed == {
        "file": "stereo.opus", "format": "opus", "sample_rate": 16_000, "channels": 2,
        "samples": 16_000, "seconds": 1.0,
    }  # fmt: skip
