import os
import re
from pathlib import Path

import pytest

import deltaring
from deltaring.outdir import OutputFolder, folder_name

OURS = re.compile(r"item-\d+\.wav")


@pytest.mark.parametrize(
    ("given", "stem"),
    [
        ("a/b/call.jsonl", "call"),
        ("call.jsonl.gz", "call"),
        ("call.JSONL.ZST", "call"),
        ("2026.01.02-call.jsonl", "2026_01_02-call"),
        ("a b\n\0c.jsonl", "a_b_c"),
        ("../../etc/passwd", "passwd"),
        ("..", "recording"),
        ("-", "recording"),
        ("-rf.jsonl", "rf"),
        (".hidden", "hidden"),
        ("é漢.jsonl", "recording"),
        ("x" * 200 + ".jsonl", "x" * 60),
    ],
)
def test_a_folder_is_named_after_the_stem_and_the_path(given: str, stem: str) -> None:
    name = folder_name(given)
    assert re.fullmatch(re.escape(stem) + "-[0-9a-f]{8}", name)


def test_two_paths_never_share_a_folder() -> None:
    given = ["a/x.jsonl", "b/x.jsonl", "a/X.jsonl", "a/x.jsonl.gz", "./a/x.jsonl"]
    assert len({folder_name(path).lower() for path in given}) == len(given)


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = OutputFolder(tmp_path, "out", OURS)
    path, synced = folder.path / "item-1.wav", []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append((os.fstat(descriptor).st_size, path.exists()))
    )
    with folder.create(path.name) as file:
        file.write(b"audio")
    folder.finish()
    assert synced[0] == (5, False)
    assert path.read_bytes() == b"audio"


def test_files_appear_whole_and_together(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, "f", OURS)
    for name in ("a.txt", "b.txt"):
        with folder.create(name) as file:
            file.write(name.encode())
        assert not (folder.path / name).exists()
    folder.finish()
    assert sorted(os.listdir(folder.path)) == ["a.txt", "b.txt"]
    assert (folder.path / "b.txt").read_bytes() == b"b.txt"


def test_a_temporary_file_can_be_read_and_written_on(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, "f", OURS)
    with folder.part("a.txt") as file:
        file.write(b"one")
    with folder.reopen("a.txt") as file:
        file.write(b"two")
        file.seek(0)
        assert file.read() == b"onetwo"


def test_what_is_not_kept_goes_when_it_is_finished(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, "f", OURS)
    folder.part("a.txt").close()
    folder.finish()
    assert os.listdir(folder.path) == []


def test_where_folders_cannot_be_synchronised_files_appear_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)  # Windows
    folder = OutputFolder(tmp_path, "f", OURS)
    with folder.create("a.txt") as file:
        file.write(b"a")
    folder.finish()
    assert os.listdir(folder.path) == ["a.txt"]


def test_an_error_leaves_the_files_of_the_run_before(tmp_path: Path) -> None:
    for text in (b"old", b"new"):
        folder = OutputFolder(tmp_path, "f", OURS)
        with folder.create("a.txt") as file:
            file.write(text)
        if text == b"old":
            folder.finish()
    with pytest.raises(ZeroDivisionError), folder.create("b.txt") as file:
        file.write(b"b" * (1 // 0))
    folder.discard()
    assert os.listdir(folder.path) == ["a.txt"]
    assert (folder.path / "a.txt").read_bytes() == b"old"


def test_what_an_earlier_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "item-9.wav").mkdir()
    for name in ("item-1.wav", "item-2.wav", "notes.txt", "mine.part", "item-3.deltaring-part"):
        (tmp_path / "f" / name).write_bytes(b"old")
    folder = OutputFolder(tmp_path, "f", OURS)
    with folder.create("item-1.wav") as file:
        file.write(b"new")
    folder.finish()
    (folder.path / "item-9.wav").rmdir()
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == {
        "item-1.wav": b"new",
        "notes.txt": b"old",
        "mine.part": b"old",
    }


@pytest.mark.parametrize("there", ["link", "broken link", "file"])
def test_something_else_in_its_place_is_refused(there: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    if there == "link":
        outside.mkdir()
    if there == "file":
        (tmp_path / "f").write_bytes(b"")
    else:
        (tmp_path / "f").symlink_to(outside)
    with pytest.raises(deltaring.ReplayError, match="in the way"):
        OutputFolder(tmp_path, "f", OURS)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.deltaring-part"])
def test_a_link_in_the_folder_is_replaced_and_not_followed(name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / name).symlink_to(outside)
    folder = OutputFolder(tmp_path, "f", OURS)
    with folder.create("a.txt") as file:
        file.write(b"new")
    folder.finish()
    assert outside.read_bytes() == b"mine"
    assert not (folder.path / "a.txt").is_symlink()
    assert (folder.path / "a.txt").read_bytes() == b"new"


def test_a_link_planted_while_it_runs_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", bytes)  # so that its name can be told before
    folder = OutputFolder(tmp_path, "f", OURS)
    (folder.path / "a.txt.00000000.deltaring-part").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError), folder.create("a.txt"):
        pass
    assert not (tmp_path / "outside").exists()


def test_one_who_was_given_up_puts_nothing_into_the_folder(tmp_path: Path) -> None:
    late, new = OutputFolder(tmp_path, "f", OURS), OutputFolder(tmp_path, "f", OURS)
    with late.create("a.txt") as old:
        old.write(b"half of")
        with new.create("a.txt") as file:
            file.write(b"whole")
        new.finish()
    with pytest.raises(FileNotFoundError):
        late.finish()
    assert (tmp_path / "f" / "a.txt").read_bytes() == b"whole"


def test_half_a_file_is_not_kept(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, "out", OURS)

    def write() -> None:
        with folder.create("item-1.wav") as file:
            file.write(b"half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write()
    folder.finish()
    assert os.listdir(folder.path) == []


def test_discard_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, "f", OURS)
    (folder.path / "mine").touch()
    folder.part("a.wav").close()
    folder.discard()
    assert os.listdir(folder.path) == ["mine"]


def test_discard_leaves_no_empty_folder(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, "f", OURS)
    folder.part("a.wav").close()
    folder.discard()
    assert os.listdir(tmp_path) == []
