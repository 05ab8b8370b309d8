"""A share of the soak (`python -m tests.soak`), and that it sees what it is there to see."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import deltaring
from deltaring import AudioDelta, InvalidEvent, Playback, UnknownEvent
from deltaring.pool import HISTORY
from deltaring.session import MAX_ITEMS, MAX_RESPONSES, MAX_TURNS
from tests.soak import __main__ as command
from tests.soak.bad import MAX_FRAME, BadFrames, tasted
from tests.soak.book import Book, Part, Reply
from tests.soak.life import DELTAS_PER_HOUR, Life
from tests.soak.memory import Watch
from tests.soak.outcome import Outcome
from tests.soak.replies import WAYS
from tests.soak.tape import MULAW, PCM16

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="memory is looked up in Linux's /proc"
)


@pytest.fixture(scope="module")
def hour() -> Life:
    """A life of an hour of audio, at its end."""
    agent = Life()
    agent.run(DELTAS_PER_HOUR)
    agent.close()
    return agent


# --- an hour ------------------------------------------------------------------------------------


def test_every_sample_of_an_hour_is_accounted_for(hour: Life) -> None:
    book = hour.book
    assert not hour.broken
    assert book.wrong == 0
    assert book.heard + book.cut + book.late + book.dropped == book.sent


def test_an_hour_has_all_that_agents_meet(hour: Life) -> None:
    book, stats = hour.book, hour.decoder.stats
    assert min(book.heard, book.cut, book.late, book.dropped) > 100_000
    assert min(hour.interruptions, hour.connections, hour.played["underruns"]) > 10
    assert min(stats.unknown, stats.invalid, stats.late, stats.audio - stats.fast) > 0
    assert hour.session.errors
    assert {"function_call", "function_call_output"} <= {
        entry.kind for entry in hour.session.transcript.entries
    }


def test_what_an_hour_leaves_is_bounded(hour: Life) -> None:
    session = hour.session
    assert len(hour.decoder.tracks) <= HISTORY + 16
    assert len(session.items) <= MAX_ITEMS
    assert len(session.responses) <= MAX_RESPONSES
    assert len(session.latencies.turns) <= MAX_TURNS


def test_a_life_can_be_lived_again() -> None:
    books = []
    for _ in range(2):
        agent = Life(seed=3)
        agent.run(1_000)
        assert agent.close() == []
        books.append((agent.frames, agent.book.heard, agent.book.cut, agent.book.late))
    assert books[0] == books[1]


def test_the_audio_callback_may_be_a_thread() -> None:
    agent = Life(thread=True)
    agent.run(2_000)
    assert agent.close() == []
    assert agent.book.heard > agent.book.cut > 0


# --- that it can fail ---------------------------------------------------------------------------


def flipped(out: np.ndarray, count: int) -> int:
    """A bit of a sample is another one."""
    out[count // 2] ^= 1
    return count


def swapped(out: np.ndarray, count: int) -> int:
    """Two samples change places."""
    out[[0, count // 2]] = out[[count // 2, 0]]
    return count


def lost(out: np.ndarray, count: int) -> int:
    """A sample is skipped."""
    out[: count - 1] = out[1:count].copy()
    return count


def short(out: np.ndarray, count: int) -> int:
    """The last sample is said to be silence."""
    return count - 1


@pytest.mark.parametrize("fault", [flipped, swapped, lost, short])
def test_one_sample_that_is_not_what_was_sent_is_seen(
    fault: Callable[[np.ndarray, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pull, calls = Playback.read_into, iter(range(1_000_000))

    def faulty(playback: Playback, out: np.ndarray) -> int:
        count = pull(playback, out)
        return fault(out, count) if count > 300 and next(calls) == 500 else count

    monkeypatch.setattr(Playback, "read_into", faulty)
    agent = Life()
    agent.run(500)
    assert agent.close()
    assert agent.book.wrong


def test_silence_that_is_none_is_seen() -> None:
    book = Book(60)
    book.hear(np.ones(480, np.int16), 0)
    assert book.wrong == 1


def test_audio_that_nobody_sent_is_seen() -> None:
    book = Book(60)
    book.hear(np.zeros(480, np.int16), 1)
    assert book.wrong == 1


@pytest.mark.parametrize(("tape", "style"), [(PCM16, 0), (PCM16, 1), (MULAW, 0)])
def test_a_part_sounds_as_its_tape(tape: object, style: int) -> None:
    """By way of a decoder, and of a book that takes it as heard."""
    from tests.wire import audio_frame

    part, book = Part(Reply("r"), "i", tape, 62, style), Book(60)  # type: ignore[arg-type]
    decoder = deltaring.Decoder(format="g711_ulaw" if tape is MULAW else None)
    for _ in range(6):
        payload, count = part.next_payload()
        book.send(part, count)
        event = decoder.decode(audio_frame(payload.decode()))
        assert isinstance(event, AudioDelta)
        samples = event.track.ring.read(1_000_000)
        book.hear(samples, len(samples))
    assert book.heard == book.sent > 0
    assert book.wrong == 0


# --- bad frames, replies, connections -----------------------------------------------------------


def test_bad_frames_leave_nothing_but_counts() -> None:
    taster, recording = tasted(3_000, 100, lambda left: None)
    stats = taster.session.decoder.stats
    assert stats.frames == 3_000 + 30  # and a new session for each hundred
    assert stats.invalid == taster.raised
    assert stats == taster.raising.stats
    assert recording.problem_count > len(recording.problems) == 1_000


@pytest.mark.parametrize("name", [
    "cut_off", "other_text", "no_object", "two_types", "bad_base64", "too_large", "too_deep",
])  # fmt: skip
def test_a_kind_of_bad_frame_is_bad(name: str) -> None:
    frames = BadFrames()
    decoder = deltaring.Decoder(max_frame=MAX_FRAME, on_invalid="keep")
    events = {type(decoder.decode(getattr(frames, name)())) for _ in range(50)}
    assert InvalidEvent in events
    assert not events & {AudioDelta, UnknownEvent}


@needs_proc
@pytest.mark.parametrize("name", WAYS)
def test_replies_are_bounded(name: str) -> None:
    make, treat = WAYS[name]
    state, outcome = make(), Outcome()
    for _ in range(400):
        treat(state)
    state.tell(outcome, name)
    assert not outcome.broken


@needs_proc
def test_connections_that_come_and_go_leave_no_files_and_tasks(tmp_path: Path) -> None:
    pytest.importorskip("websockets", reason="the extra `record`")
    pytest.importorskip("aiohttp", reason="the extra `test`")
    from tests.soak.sockets import visit

    warm, end, visits, proxy = asyncio.run(visit(tmp_path, 40, Watch()))
    assert (warm.files, warm.tasks) == (end.files, end.tasks)
    assert proxy.connections > 30
    assert visits.events > 600


# --- the command --------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["soak", *arguments])
    return command.main()


@needs_proc
def test_the_command_prints_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "GROWTH", 1 << 40)  # so short a life is not warm
    assert run(monkeypatch, "--hours", "0.2") == 0
    printed = capsys.readouterr().out
    assert "callbacks that were wrong  0\n" in printed
    assert "MiB at the start" in printed


@needs_proc
def test_a_broken_bound_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "GROWTH", -1)
    assert run(monkeypatch, "replies", "--count", "100") == 1
    assert "BROKEN: read: memory: grown by" in capsys.readouterr().out
