"""Time of a job over many recordings: doing it, finding that it is done, and its parts."""

import os
import tempfile
from pathlib import Path

from benchmarks.sessions import write_sessions
from deltaring.hashed import HashedFile
from deltaring.job import run
from deltaring.journal import Done, Journal, Output
from deltaring.tables import write_tables

SESSIONS = 20
ROWS = 10_000


class Job:
    """20 sessions of 20 seconds, both sides: seconds for all of them."""

    params = ["none", "wav", "flac"]
    param_names = ("audio",)

    def setup(self, audio: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        write_sessions(self.root / "in", SESSIONS, 2)
        self.run("done", audio)
        self.count = 0

    def teardown(self, audio: str) -> None:
        self.folder.cleanup()

    def run(self, out: str, audio: str, jobs: int = 1) -> None:
        summary = run([str(self.root / "in")], self.root / out, Output(audio=audio), jobs=jobs)
        if summary.done + summary.skipped != SESSIONS:
            raise RuntimeError(f"not done: {summary}")

    def new(self) -> str:
        self.count += 1
        return f"out{self.count}"

    def time_one_process(self, audio: str) -> None:
        self.run(self.new(), audio)

    def time_two_processes(self, audio: str) -> None:
        self.run(self.new(), audio, 2)

    def time_rerun(self, audio: str) -> None:
        self.run("done", audio)

    def time_tables(self, audio: str) -> None:
        folders = sorted(os.listdir(self.root / "done"))
        write_tables(self.root / "done", [(name, name) for name in folders if "session" in name])


class Rows:
    """A journal of 10,000 recordings."""

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        with Journal(self.path) as journal:
            for number in range(ROWS):
                journal.add(_row(number))

    def teardown(self) -> None:
        self.folder.cleanup()

    def time_open(self) -> None:
        Journal(self.path).close()

    def time_sort(self) -> None:
        with Journal(self.path) as journal:
            journal.sort()

    def peakmem_open(self) -> None:
        Journal(self.path).close()


def _row(number: int) -> Done:
    return Done(
        recording=f"calls/2026-11/session-{number:05}.jsonl",
        folder=f"session-{number:05}-0123abcd",
        size=2_370_000,
        mtime_ns=1_784_858_052_000_000_000,
        xxh3="0123456789abcdef0123456789abcdef",
        version="0",
        output=Output(),
        frames=361,
        problems=0,
        partial=False,
        seconds=20.0,
        user_seconds=16.0,
    )


class Hash:
    """Reading a page-cached file of 100 MB, with its hash taken."""

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "file"
        self.path.write_bytes(bytes(100_000_000))
        self.buffer = bytearray(256 << 10)

    def teardown(self) -> None:
        self.folder.cleanup()

    def time_read(self) -> None:
        with self.path.open("rb", buffering=0) as file:
            while file.readinto(self.buffer):
                pass

    def time_read_and_hash(self) -> None:
        with HashedFile(str(self.path)).open() as file:
            while file.readinto(self.buffer):  # type: ignore[attr-defined]
                pass
