"""What several test modules share."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.wire import audio_frame, frame, pcm

ROOT = Path(__file__).parent.parent
FRAMES = ROOT.parent / "shared" / "frames"

# A shell has what it runs in the background ignore Ctrl-C, and that is inherited: by the commands
# that tests start and interrupt, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure: timings are never asserted.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def real_recordings() -> list[Path]:
    """The recordings of real servers, which are not part of this project."""
    paths = sorted(FRAMES.glob("*/*.jsonl"))
    if not paths:
        pytest.skip("real frames are tested where ../shared/frames exists")
    return paths


@pytest.fixture(scope="session")
def example() -> Path:
    return ROOT / "examples" / "two-turns.jsonl"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(audio_frame(pcm(300)) + b"\nnonsense\n" + frame("error") + b"\n")
    return path
