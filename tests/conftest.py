"""What several test modules share."""

from pathlib import Path

import pytest

from tests.wire import audio_frame, frame, pcm

ROOT = Path(__file__).parent.parent
FRAMES = ROOT.parent / "shared" / "frames"


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
