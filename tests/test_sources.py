"""What arguments stand for: files, folders, patterns, URLs."""

import gzip
import io
import os
import sys
from pathlib import Path

import pytest

from deltaring.errors import RecordingError
from deltaring.recording import Recording
from deltaring.sources import Failure, RemoteFile, expand, is_stream
from tests.wire import frame

TEXT = frame("response.text.delta", delta="hi")
NAMES = ["a.jsonl", "b.ndjson.gz", "c.json.zst", "d.log", "e.txt.GZ", "f.har", "g.HAR.zst"]
OTHERS = [
    "x.wav",
    "y.md",
    "z.gz",
    ".hidden.jsonl",
    "q.jsonl.deltaring-part",
    "jsonl",
    "k.jsonl.bz2",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder `rec` with recordings in it and in `rec/sub`, and files of all other kinds."""
    for place in ("rec", "rec/sub", "rec/.hidden"):
        (tmp_path / place).mkdir()
        for name in NAMES + OTHERS:
            (tmp_path / place / name).write_bytes(TEXT)
    return tmp_path / "rec"


@pytest.fixture
def memory() -> str:
    """A folder of fsspec's file system in memory; its URL without the last slash."""
    fsspec = pytest.importorskip("fsspec", reason="URLs need the remote extra")
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name in (*NAMES, "x.wav", ".h/a.jsonl", "sub/.hidden.jsonl", "sub/a.jsonl"):
        system.pipe(f"/rec/{name}", TEXT)
    return "memory://rec"


def found(*arguments: object) -> list[str]:
    names, failures = expand(map(str, arguments))
    assert not failures
    return names


# --- files and folders --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["-", "no/such.jsonl", "x.wav", "./x.jsonl", "two words.jsonl", ""]
)
def test_a_name_stands_for_itself(name: str) -> None:
    assert found(name) == [name]


def test_a_folder_stands_for_the_recordings_in_it_and_below(folder: Path) -> None:
    assert found(folder) == [
        *(f"{folder}/{name}" for name in NAMES),
        *(f"{folder}/sub/{name}" for name in NAMES),
    ]


def test_names_are_found_as_the_folder_was_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert found("sub")[0] == "sub/a.jsonl"
    assert found("./sub/")[0] == "./sub/a.jsonl"


def test_a_hidden_folder_that_is_named_is_searched(folder: Path) -> None:
    assert len(found(folder / ".hidden")) == len(NAMES)


def test_what_a_replay_wrote_is_no_recording(folder: Path) -> None:
    for name in ("session.json", "transcript.json", "transcript.txt"):
        (folder / "sub" / name).write_bytes(b"{}")
    assert found(folder) == [f"{folder}/{name}" for name in NAMES]
    (folder / "sub" / "transcript.json").unlink()
    assert f"{folder}/sub/session.json" in found(folder)


def test_a_folder_without_recordings_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    assert expand([str(tmp_path)]) == (
        [],
        [Failure(str(tmp_path), "there are no recordings here")],
    )


def test_broken_links_and_pipes_in_a_folder_are_failures(folder: Path) -> None:
    (folder / "broken.jsonl").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.jsonl")
    names, failures = expand([str(folder)])
    assert len(names) == 2 * len(NAMES)
    assert failures == [
        Failure(f"{folder}/{name}.jsonl", "a broken link, or no regular file")
        for name in ("broken", "pipe")
    ]


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    assert len(found(folder)) == 2 * len(NAMES)


@pytest.mark.parametrize("closed", ["", "/sub"])
def test_a_folder_that_cannot_be_read_is_a_failure(
    folder: Path, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def guarded(path: str) -> object:
        if path == f"{folder}{closed}":  # a test may run as root, whom no mode keeps out
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    names, failures = expand([str(folder)])
    assert len(names) == (len(NAMES) if closed else 0)
    assert failures == [Failure(f"{folder}{closed}", "Permission denied")]


# --- patterns -----------------------------------------------------------------------------------


def test_a_pattern_stands_for_what_it_matches(folder: Path) -> None:
    assert found(folder / "*.wav") == [f"{folder}/x.wav"]
    assert found(folder / "[ab].*") == [f"{folder}/a.jsonl", f"{folder}/b.ndjson.gz"]
    assert found(folder / "**" / "a.jsonl") == [f"{folder}/a.jsonl", f"{folder}/sub/a.jsonl"]


def test_a_folder_that_a_pattern_matches_is_searched(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert found(folder / "[es]*b") == found(folder / "sub")


def test_two_stars_at_the_end_are_a_search_of_folders(folder: Path) -> None:
    assert sorted(found(folder / "**")) == sorted(found(folder))


def test_unfinished_files_match_no_pattern(folder: Path) -> None:
    assert found(folder / "[aq]*") == [f"{folder}/a.jsonl"]


def test_a_pattern_that_matches_nothing_is_a_failure(folder: Path) -> None:
    pattern = str(folder / "*.nothing")
    assert expand([pattern]) == ([], [Failure(pattern, "there are no recordings here")])


def test_a_file_whose_name_is_a_pattern_stands_for_itself(folder: Path) -> None:
    (folder / "[a].jsonl").write_bytes(TEXT)
    assert found(folder / "[a].jsonl") == [f"{folder}/[a].jsonl"]


# --- once ---------------------------------------------------------------------------------------


def test_a_line_break_in_a_name_hides_no_recording(tmp_path: Path) -> None:
    (tmp_path / "a\nb.jsonl").touch()
    assert expand([str(tmp_path)]) == ([str(tmp_path / "a\nb.jsonl")], [])


@pytest.mark.parametrize("argument", ["", "/**", "/*/*/*", "/out/*"])
def test_what_a_job_wrote_is_no_recording(tmp_path: Path, argument: str) -> None:
    for name in ("out/deltaring-job.jsonl", "out/manifest.jsonl", "out/a-0123abcd/transcript.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert expand([str(tmp_path) + argument])[0] == []


def test_what_is_found_twice_is_kept_once_under_the_name_that_sorts_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "z.jsonl").symlink_to("a.jsonl")
    given = ["sub/../a.jsonl", "-", "z.jsonl", "./a.jsonl", folder, "*", "-", "sub"]
    names = found(*given)
    assert names[:3] == ["./a.jsonl", "-", f"{folder}/b.ndjson.gz"]
    assert len({os.path.realpath(name) for name in names}) == len(names)
    assert (
        len(names) == 2 + 2 * len(NAMES) - 1 + len(OTHERS) - 2
    )  # `*` matches what is visible and finished


def test_a_failure_costs_no_other_argument(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # where nothing begins with "no"
    names, failures = expand(["no*", str(folder / "a.jsonl"), "none*"])
    assert names == [str(folder / "a.jsonl")]
    assert [failure.name for failure in failures] == ["no*", "none*"]


# --- URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://x/a.jsonl?sig=[1]", "s3://bucket/a", "odd://x"])
def test_a_url_stands_for_itself_and_is_not_asked_for(url: str) -> None:
    assert found(url, url) == [url]


def test_a_url_that_ends_in_a_slash_is_a_folder(memory: str) -> None:
    assert found(f"{memory}/") == [
        *(f"{memory}/{name}" for name in NAMES),
        f"{memory}/sub/a.jsonl",
    ]


def test_a_url_with_a_star_is_a_pattern(memory: str) -> None:
    assert found(f"{memory}/*.jsonl") == [f"{memory}/a.jsonl"]
    assert found(f"{memory}/**/a.jsonl") == [f"{memory}/a.jsonl", f"{memory}/sub/a.jsonl"]
    assert f"{memory}/sub" not in found(f"{memory}/*")


def test_files_may_be_named_by_url(folder: Path) -> None:
    pytest.importorskip("fsspec", reason="URLs need the remote extra")
    assert found(f"file://{folder}/sub/") == [f"file://{folder}/sub/{name}" for name in NAMES]
    assert found(f"file://{folder}/*.wav") == [f"file://{folder}/x.wav"]


@pytest.mark.parametrize("url", ["memory://nothing/", "memory://rec/*.nothing"])
def test_a_url_that_leads_to_nothing_is_a_failure(url: str, memory: str) -> None:
    assert expand([url]) == ([], [Failure(url, "there are no recordings here")])


def test_an_unknown_kind_of_url_is_a_failure(memory: str) -> None:
    names, (failure,) = expand(["odd://x/*"])
    assert (names, failure.name) == ([], "odd://x/*")
    assert "Protocol not known: odd" in failure.reason


def test_without_the_extra_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert "pip install 'deltaring[remote]'" in expand(["s3://x/*"])[1][0].reason
    with pytest.raises(RecordingError, match=r"pip install 'deltaring\[remote\]'"):
        RemoteFile("s3://x").open()


# --- remote files -------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", ["plain", "gzip"])
def test_a_remote_recording_is_read_as_often_as_asked(memory: str, pack: str) -> None:
    import fsspec

    data = TEXT + b"\n" + TEXT
    fsspec.filesystem("memory").pipe("/rec/a", gzip.compress(data) if pack == "gzip" else data)
    recording = Recording(RemoteFile(f"{memory}/a"))
    for _ in range(2):
        assert [record.frame for record in recording] == [TEXT, TEXT]
    assert (recording.name, recording.problems) == (f"{memory}/a", [])


def test_a_remote_file_that_is_missing_is_named_with_the_reason(memory: str) -> None:
    with pytest.raises(RecordingError, match="FileNotFoundError: /rec/missing"):
        list(Recording(RemoteFile(f"{memory}/missing")))
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        list(Recording(RemoteFile("file:///no/such/file")))


def test_the_reason_behind_a_client_librarys_error_is_shown(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def refuse(self: object, path: str, **options: object) -> None:
        raise FileNotFoundError(path) from ValueError("404, message='Not Found'")

    monkeypatch.setattr(MemoryFileSystem, "_open", refuse)
    with pytest.raises(RecordingError, match="FileNotFoundError: 404, message='Not Found'"):
        list(Recording(RemoteFile(f"{memory}/a.jsonl")))


def test_an_opened_url_can_be_buffered(memory: str) -> None:
    with io.BufferedReader(RemoteFile(f"{memory}/a.jsonl").open()) as file:  # type: ignore[type-var]
        assert file.read() == TEXT


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_standard_input_and_pipes_can_be_read_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    names = ["-", str(folder / "pipe"), str(folder / "a.jsonl"), "missing", "memory://a"]
    assert [is_stream(name) for name in names] == [True, True, False, False, False]


def test_an_unknown_kind_of_url_is_a_recording_error(memory: str) -> None:
    with pytest.raises(RecordingError, match="ValueError: Protocol not known: odd"):
        list(Recording(RemoteFile("odd://x")))


class Failing(io.BytesIO):
    """What a client library may do in the middle of a file."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(len(TEXT) + 1)
        if not data:
            raise RuntimeError("connection reset")
        return data


def test_a_fault_in_the_middle_is_a_problem_and_the_file_is_closed(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    file = Failing(TEXT + b"\n" + TEXT + b"\n")
    monkeypatch.setattr(MemoryFileSystem, "_open", lambda self, path, **options: file)
    recording = Recording(RemoteFile(f"{memory}/a.jsonl"))
    assert [record.frame for record in recording] == [TEXT, TEXT]
    assert [problem.reason for problem in recording.problems] == ["RuntimeError: connection reset"]
    assert file.closed
