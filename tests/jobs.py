"""Recordings for jobs, what a job made of them, and workers that die."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from deltaring import job
from deltaring.job import Task
from deltaring.journal import Row
from deltaring.recording import RecordingWriter
from tests.wire import audio_frame, frame, pcm, response, session


def write_session(path: Path, seed: int = 0) -> Path:
    """Write a session of both directions, another one for each seed."""
    draw = random.Random(seed)
    time = 1_784_858_052.0
    with RecordingWriter(path) as recording:
        recording.write(session(id=f"sess_{seed}"), time=time)
        for turn in range(draw.randint(1, 3)):
            append = frame("input_audio_buffer.append", audio="AAAA" * draw.randint(1, 99))
            recording.write(append, source="client", time=time + turn)
            for event in _answer(draw, f"resp_{seed}_{turn}", f"item_{seed}_{turn}"):
                time += 0.01
                recording.write(event, time=time + turn)
    return path


def _answer(draw: random.Random, response_id: str, item_id: str) -> Iterator[bytes]:
    ids = dict(response_id=response_id, item_id=item_id, output_index=0, content_index=0)
    yield response("response.created", response_id)
    for _ in range(draw.randint(1, 9)):
        data = pcm(2 * draw.randint(1, 6_000), draw.randint(0, 9))
        yield audio_frame(data, response_id=response_id, item_id=item_id)
    yield frame("response.output_audio_transcript.done", transcript="Hi there!", **ids)
    yield response("response.done", response_id)


def write_sessions(folder: Path, count: int) -> list[str]:
    """Write so many of them; return their paths."""
    folder.mkdir()
    return [str(write_session(folder / f"{seed:03}.jsonl", seed)) for seed in range(count)]


def tree(out: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder and below, by their path in it."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Workers import these functions from here.


def wait_to_be_killed(marker: str) -> str:
    """Return at the second try."""
    if not Path(marker).exists():
        Path(marker + ".part").write_text(str(os.getpid()))
        Path(marker + ".part").rename(marker)
        time.sleep(60)
        return "nobody came"
    return marker


def replay_or_die(task: Task) -> Row:
    if task.recording.endswith("007.jsonl"):
        os.kill(os.getpid(), signal.SIGKILL)
    return job.replay_one(task)
