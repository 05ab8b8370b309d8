"""Time to read a recording of 1,000 deltas of 250 ms, and to replay one file."""

import gzip
import importlib
import tempfile
from pathlib import Path

from benchmarks.frames import TRANSCRIPT_DELTA, audio_delta
from deltaring.recording import Recording
from deltaring.replay import inspect, replay

DELTAS = 1_000


def recording(shape: str) -> bytes:
    """Return 1,000 audio deltas and as many transcript deltas, as lines of that shape."""
    frames = [audio_delta(12_000), TRANSCRIPT_DELTA] * DELTAS
    if shape == "bare":
        return b"".join(frame + b"\n" for frame in frames)
    head = b'{"time":1784858052.123456,"source":"server","event":'
    return b"".join(head + frame + b"}\n" for frame in frames)


class _File:
    def setup(self, shape: str) -> None:
        data = recording(shape)
        if shape == "gz":
            data = gzip.compress(data, 6)
        elif shape == "zst":
            try:
                zstd = importlib.import_module("backports.zstd")
            except ImportError:
                zstd = importlib.import_module("compression.zstd")
            data = zstd.compress(data)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "recording"
        self.path.write_bytes(data)
        self.path.read_bytes()  # into the page cache

    def teardown(self, shape: str) -> None:
        self.folder.cleanup()


class Reader(_File):
    """All records of a file, seconds for 2,000 lines."""

    params = ["bare", "envelope", "gz", "zst"]
    param_names = ("shape",)

    def time_views(self, shape: str) -> None:
        for _ in Recording(self.path).views():
            pass

    def time_iterate(self, shape: str) -> None:
        for _ in Recording(self.path):
            pass


class Replay(_File):
    """A whole file, seconds for 2,000 lines: decoded only, and written out."""

    params = ["bare", "envelope"]
    param_names = ("shape",)

    def time_inspect(self, shape: str) -> None:
        inspect(Recording(self.path))

    def time_replay(self, shape: str) -> None:
        replay(Recording(self.path), Path(self.folder.name) / "out")

    def peakmem_replay(self, shape: str) -> None:
        replay(Recording(self.path), Path(self.folder.name) / "out")


def timeraw_import() -> str:
    """Import of the package, in a process of its own."""
    return "import deltaring"
