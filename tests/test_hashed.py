import gzip
import io
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaring.errors import ReplayError
from deltaring.hashed import HashedFile, check_hash
from deltaring.recording import Recording
from tests.wire import audio_frame, pcm

xxhash = pytest.importorskip("xxhash", reason="hashes need the bulk extra")


def hash_of(data: bytes) -> str:
    digest: str = xxhash.xxh3_128(data).hexdigest()
    return digest


@given(data=st.binary(max_size=300), read=st.integers(0, 400))
def test_the_hash_is_of_all_bytes_wherever_the_reader_stops(tmp_path_factory, data, read) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("hashed") / "file"
    path.write_bytes(data)
    source = HashedFile(str(path))
    stream = source.open()
    assert stream.read(read) == data[:read]
    stream.close()
    assert source.xxh3 == hash_of(data)
    assert source.size == len(data)
    assert source.mtime_ns == path.stat().st_mtime_ns


def test_a_compressed_recording_is_hashed_as_it_is_stored(tmp_path: Path) -> None:
    line = audio_frame(pcm(2_000)) + b"\n"
    path = tmp_path / "session.jsonl.gz"
    path.write_bytes(gzip.compress(line * 3) + gzip.compress(line) + b"what is no gzip")
    source = HashedFile(str(path))
    recording = Recording(source, name="x")
    assert len(list(recording)) == 4
    assert recording.broken
    assert source.xxh3 == hash_of(path.read_bytes())


def test_a_file_can_be_buffered_and_closed_twice(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    source = HashedFile(str(path))
    stream = source.open()
    with io.BufferedReader(stream) as file:  # type: ignore[type-var]
        assert file.read(1) == b"a"
    stream.close()
    assert (source.xxh3, source.size) == (hash_of(b"abc"), 3)


def test_each_opening_hashes_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    source = HashedFile(str(path))
    for data in (b"one", b"another"):
        path.write_bytes(data)
        source.open().close()
        assert (source.xxh3, source.size) == (hash_of(data), len(data))


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    stream = HashedFile(str(path)).open()
    with path.open("ab") as file:
        file.write(b", and after")
    with pytest.raises(OSError, match="changed while it was read"):
        stream.close()
    assert stream.closed


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        HashedFile(str(tmp_path / "none")).open()


def test_a_url_has_no_time_of_change(tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="URLs need the remote extra")
    (tmp_path / "file").write_bytes(b"data")
    source = HashedFile(f"file://{tmp_path}/file")
    source.open().close()
    assert (source.xxh3, source.size, source.mtime_ns) == (hash_of(b"data"), 4, 0)


def test_a_pipe_may_be_written_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"data",))
    writer.start()
    source = HashedFile(str(path))
    source.open().close()
    writer.join()
    assert (source.xxh3, source.size, source.mtime_ns) == (hash_of(b"data"), 4, 0)


def test_standard_input_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.BytesIO(b"data")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin))
    source = HashedFile("-")
    source.open().close()
    assert source.xxh3 == hash_of(b"data")
    assert not stdin.closed


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OSError, match="standard input is closed"):
        HashedFile("-").open()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_hash()
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(ReplayError, match=r"deltaring\[bulk\]"):
        check_hash()
