"""Decoder.scan and the rows of a Run, for both forms of the kernel."""

import gzip
import io
import json
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltaring
from deltaring import ROW
from deltaring.recording import Recording
from deltaring.run import Run
from tests.kernels import both_forms, decoder_of, needs_native
from tests.test_decoder import mutants
from tests.wire import BETA, GA, KNOWN_LAYOUTS, OTHER_LAYOUTS, audio_frame, frame, hostile, pcm

AUDIO = audio_frame(pcm(300))
TEXT = frame("response.text.delta", delta="hi")


def envelope(raw: bytes, time: str = "1784858052.123456", source: str = "server") -> bytes:
    return b'{"time":%s,"source":"%s","event":%s}' % (time.encode(), source.encode(), raw)


def scan(form: str, data: bytes, start: int = 0, stop: int | None = None, **options: Any) -> Run:
    return decoder_of(form, **options).scan(data, np.empty(64, ROW), start, stop)


@pytest.fixture(params=["bare", "enveloped"])
def wrap(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return envelope if request.param == "enveloped" else bytes


# --- what is taken ------------------------------------------------------------------------------


@both_forms
@pytest.mark.parametrize("layout", KNOWN_LAYOUTS)
@pytest.mark.parametrize("type", [BETA, GA])
def test_a_line_is_taken_into_a_row(
    form: str, layout: str, type: str, wrap: Callable[[bytes], bytes]
) -> None:
    lines = [wrap(audio_frame(pcm(300 + number), type=type, layout=layout)) for number in range(3)]
    data = b"".join(line + b"\n" for line in lines)
    run = scan(form, data)
    assert run.stop == len(data)
    assert [data[row["line"] :][: row["length"]] for row in run.rows] == lines
    assert run.rows["track"].tolist() == [1, 1, 1]
    assert run.rows["start"].tolist() == [0, 150, 300]
    assert run.rows["stop"].tolist() == [150, 300, 451]
    assert run.rows["dropped"].tolist() == [0, 0, 0]
    assert run.rows["ga"].tolist() == [type == GA] * 3
    assert len(run.tracks) == 1
    assert run.tracks[0].ring.read(1_000).tobytes() == b"".join(map(pcm, (300, 301, 302)))[:902]


@both_forms
@pytest.mark.parametrize(
    "time",
    ["0", "-0.5", "1784858052", "1784858052.123456", "1784858052.1234567", "999999999999.9",
     "0.12345678901234567890", "179.30000000000001", "9007199254.740993"],
)  # fmt: skip
def test_a_time_is_what_python_makes_of_it(form: str, time: str) -> None:
    assert scan(form, envelope(AUDIO, time) + b"\n").rows["time"].tolist() == [float(time)]


@both_forms
def test_a_bare_frame_has_no_time(form: str) -> None:
    assert math.isnan(scan(form, AUDIO + b"\n").rows["time"][0])


@both_forms
def test_spaces_as_json_dumps_puts_them_are_no_matter(form: str) -> None:
    raw = json.loads(AUDIO)
    data = json.dumps({"time": 5.5, "source": "server", "event": raw}).encode() + b"\n"
    assert scan(form, data).rows["time"].tolist() == [5.5]


@both_forms
def test_a_carriage_return_belongs_to_the_line_end(
    form: str, wrap: Callable[[bytes], bytes]
) -> None:
    data = wrap(AUDIO) + b"\r\n"
    run = scan(form, data + data)
    assert run.rows["line"].tolist() == [0, len(data)]
    assert run.rows["length"].tolist() == [len(data) - 1] * 2


@both_forms
def test_each_track_is_named_once_in_the_order_of_its_first_line(form: str) -> None:
    lines = [audio_frame(pcm(300), item_id=item) for item in "abacba"]
    run = scan(form, b"\n".join(lines) + b"\n")
    assert [track.key[1] for track in run.tracks] == ["a", "b", "c"]
    assert run.rows["track"].tolist() == [1, 2, 1, 3, 2, 1]


@both_forms
def test_what_does_not_fit_is_counted(form: str) -> None:
    run = scan(form, (AUDIO + b"\n") * 3, seconds=200 / 24_000)
    assert run.rows["dropped"].tolist() == [0, 100, 150]
    assert run.rows["stop"].tolist() == [150, 300, 450]


# --- what ends a run ----------------------------------------------------------------------------


@both_forms
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        TEXT,
        envelope(TEXT),
        envelope(AUDIO, source="client"),
        envelope(AUDIO, "null"),
        envelope(AUDIO, "01"),
        envelope(AUDIO, "1."),
        envelope(AUDIO, "1e3"),
        envelope(AUDIO, "1234567890123"),
        envelope(AUDIO, "1.123456789012345678901"),
        envelope(AUDIO)[:-1],
        envelope(AUDIO)[:-1] + b"]",
        envelope(AUDIO) + b"}",
        envelope(AUDIO).replace(b'"source"', b'"sauce"'),
        AUDIO[:-1],
        AUDIO + b" ",
        b"\xef\xbb\xbf" + AUDIO,
        AUDIO.replace(b'"}', b'="}'),
        AUDIO.replace(b'"delta"', b'"de\\u006cta"'),
    ],
)
def test_another_line_ends_the_run(form: str, line: bytes) -> None:
    data = AUDIO + b"\n" + line + b"\n" + AUDIO + b"\n"
    run = scan(form, data)
    assert len(run.rows) == 1
    assert run.stop == len(AUDIO) + 1
    assert len(scan(form, data, run.stop).rows) == 0


@both_forms
def test_a_line_without_its_end_is_not_taken(form: str) -> None:
    assert len(scan(form, AUDIO).rows) == 0
    assert len(scan(form, AUDIO + b"\n" + AUDIO).rows) == 1
    assert len(scan(form, AUDIO + b"\n", stop=len(AUDIO)).rows) == 0


@both_forms
def test_the_end_of_rows_ends_the_run(form: str) -> None:
    decoder, rows = decoder_of(form), np.empty(2, ROW)
    data = (AUDIO + b"\n") * 5
    starts = [0]
    for _ in range(3):
        starts.append(decoder.scan(data, rows, starts[-1]).stop)
    assert starts == [0, 2 * len(AUDIO) + 2, 4 * len(AUDIO) + 4, len(data)]
    assert decoder.stats.fast == 5


@both_forms
def test_a_frame_that_is_too_long_is_not_taken(form: str, wrap: Callable[[bytes], bytes]) -> None:
    assert len(scan(form, wrap(AUDIO) + b"\n", max_frame=len(AUDIO)).rows) == 1
    assert len(scan(form, wrap(AUDIO) + b"\n", max_frame=len(AUDIO) - 1).rows) == 0


@both_forms
def test_nothing_of_a_line_that_is_not_taken_is_kept(form: str) -> None:
    decoder = decoder_of(form)
    decoder.scan(AUDIO[:-3] + b'!"}\n', np.empty(4, ROW))
    assert decoder.stats.frames == 0
    assert not decoder.tracks


def test_a_decoder_without_a_fast_path_takes_nothing() -> None:
    run = deltaring.Decoder(fast_path=False).scan(AUDIO + b"\n", np.empty(4, ROW))
    assert (len(run.rows), run.stop, run.tracks) == (0, 0, [])


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows", [np.empty(4), np.empty((2, 2), ROW), np.empty(8, ROW)[::2], np.empty(8, ROW[["line"]])]
)
def test_rows_must_be_of_their_kind(rows: Any) -> None:
    with pytest.raises(TypeError, match="rows must be"):
        deltaring.Decoder().scan(AUDIO + b"\n", rows)


def test_the_buffer_must_be_bytes() -> None:
    with pytest.raises(TypeError, match="buffer must be bytes or bytearray, not str"):
        deltaring.Decoder().scan("x", np.empty(4, ROW))  # type: ignore[arg-type]


@both_forms
def test_read_only_rows_are_refused(form: str) -> None:
    rows = np.empty(4, ROW)
    rows.flags.writeable = False
    decoder = decoder_of(form)
    with pytest.raises(TypeError, match="rows must be"):
        decoder.scan(AUDIO + b"\n", rows)
    assert decoder.stats.frames == 0


@both_forms
def test_start_and_stop_are_those_of_a_slice(form: str) -> None:
    data = AUDIO + b"\n"
    assert len(scan(form, data, -len(data)).rows) == 1
    assert len(scan(form, data, 0, 10**9).rows) == 1
    assert scan(form, data, 10**9).stop == len(data)
    assert scan(form, data, 5, 2).stop == 5


@needs_native
def test_bounds_outside_the_buffer_are_refused_by_the_kernel_too() -> None:
    kernel = decoder_of("native")._kernel
    for start, stop in ((-1, 5), (0, 99_999), (5, 2)):
        with pytest.raises(ValueError, match="must lie in the buffer"):
            kernel.scan(b"abcdefgh\n", start, stop, np.empty(1, ROW), 99)


# --- the same as line by line ---------------------------------------------------------------------


def story(way: str, data: bytes, rows: int = 7) -> tuple[list[Any], list[str], dict[Any, bytes]]:
    """What a recording says line by line, its problems, and its samples by track."""
    decoder = decoder_of(way, on_invalid="keep")
    recording = Recording(io.BytesIO(data), name="rec")
    space = np.empty(rows, ROW)
    said: list[Any] = []
    for record in recording.runs(lambda *lines: decoder.scan(lines[0], space, *lines[1:])):
        if isinstance(record, Run):
            said += _rows_said(recording, decoder, record)
            continue
        event: Any = record.source if record.source == "client" else decoder.decode(record.frame)
        if isinstance(event, deltaring.AudioDelta):
            position = event.track.serial, event.start, event.stop, event.dropped
            event = *position, event.type == GA
        elif isinstance(event, deltaring.InvalidEvent):
            event = event.type, event.raw, type(event.error)
        said.append((recording.line, recording.offset, record.time, event))
    samples = {
        track.key: track.ring.read(1 << 20).tobytes() + track._carry
        for track in decoder.tracks.values()
    }
    return said, list(map(str, recording.problems)), samples


def _rows_said(recording: Recording, decoder: deltaring.Decoder, run: Run) -> list[Any]:
    said = []
    for number, row in enumerate(run.rows.tolist()):
        line, _, time, *position, ga = row
        offset = recording.offset + line - int(run.rows["line"][0])
        moment = None if math.isnan(time) else time
        said.append((recording.line + number, offset, moment, (*position, bool(ga))))
    return said


def session_of(chance: random.Random, lines: int) -> bytes:
    """A recording of audio of several tracks and forms, with much else between."""
    odd = [*hostile().values(), b"", b"[1]", b"\xff", TEXT, frame("ping")]
    odd += [frame("response.done", response={"id": "r0"}), frame("session.created", session={})]
    data = bytearray()
    for _ in range(lines):
        raw: Any = audio_frame(
            pcm(chance.choice((0, 1, 2, 300, 301)), chance.randrange(99)),
            type=chance.choice((BETA, GA)),
            layout=chance.choice(KNOWN_LAYOUTS * 3 + OTHER_LAYOUTS),
            response_id=f"r{chance.randrange(2)}",
            item_id=f"i{chance.randrange(2)}",
        )
        if chance.random() < 0.2:
            raw = chance.choice(odd)
            raw = raw.encode(errors="surrogatepass") if isinstance(raw, str) else raw
        if len(raw) > 20_000:
            continue
        if chance.random() < 0.5:
            time = chance.choice(("17", "17.25", "1784858052.123457", "null", '"x"', "1e5"))
            raw = envelope(raw, time, chance.choice(("server",) * 6 + ("client", "x")))
        data += raw + chance.choice((b"\n", b"\n", b"\r\n"))
    return bytes(data[: len(data) - chance.choice((0, 0, 1, 5))])


@both_forms
@given(seed=st.integers(0, 1 << 32), rows=st.integers(1, 9))
def test_runs_tell_the_same_as_line_by_line(form: str, seed: int, rows: int) -> None:
    data = session_of(random.Random(seed), 40)
    assert story(form, data, rows) == story("slow", data)


@both_forms
def test_mutants_of_lines_tell_the_same(form: str) -> None:
    chance = random.Random(7)
    for seed in range(60):
        lines = [
            raw if chance.random() < 0.5 else envelope(raw)
            for raw in mutants(seed, 50)
            if len(raw) < 20_000
        ]
        data = bytearray(b"\n".join(lines) + b"\n")
        for _ in range(20):  # and of what is around the frames
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(2)] = chance.choice(
                (b"", b"\n", b'"', b"}", b",", b" ")
            )
        assert story(form, bytes(data)) == story("slow", bytes(data))


@needs_native
@given(st.integers(0, 1 << 32))
def test_both_forms_take_the_same_of_known_forms(seed: int) -> None:
    chance = random.Random(seed)
    # Of empty deltas one form may leave to `decode` what the other takes; what they tell is the same.
    data = b"".join(
        (raw if chance.random() < 0.5 else envelope(raw)) + b"\n"
        for raw in (
            audio_frame(
                pcm(chance.randrange(1, 900)),
                layout=chance.choice(KNOWN_LAYOUTS),
                item_id=f"i{chance.randrange(3)}",
            )
            for _ in range(20)
        )
    )
    runs = [scan(form, data) for form in ("pure", "native")]
    assert runs[0].rows.tobytes() == runs[1].rows.tobytes()
    assert runs[0].stop == runs[1].stop


def test_a_stream_that_breaks_after_a_run_is_named_with_its_last_line() -> None:
    data = gzip.compress(b"".join(audio_frame(pcm(600, n)) + b"\n" for n in range(100)))[:-8]
    problems, rows = [], np.empty(1_000, ROW)
    for scan_ in (deltaring.Decoder().scan, deltaring.Decoder(fast_path=False).scan):
        recording = Recording(io.BytesIO(data), name="rec")
        for _ in recording.runs(lambda *at, scan_=scan_: scan_(at[0], rows, *at[1:])):  # type: ignore[misc]
            pass
        problems.append(list(map(str, recording.problems)))
    assert problems[0] == problems[1]
    assert problems[0][0].startswith("rec:100: byte ")


def test_rows_at_an_odd_address_are_refused() -> None:
    rows = np.frombuffer(bytearray(64 * 4 + 1), np.uint8)[1:].view(ROW)
    with pytest.raises(TypeError, match="rows must be"):
        deltaring.Decoder().scan(AUDIO + b"\n", rows)
