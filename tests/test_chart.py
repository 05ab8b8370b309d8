"""Tables and pictures of a comparison."""

from pathlib import Path

import msgspec
import pytest

from deltaring.bench import Report, Row
from deltaring.chart import check_plot, header, markdown, plot
from deltaring.errors import BenchError

ROWS = [
    Row("parse", "deltaring", "ok", "", False, 300.0, 290.0, 320.0, 900.0, 8.0, 343),
    Row("parse", "json", "ok", "", False, 2_400.0, 2_300.0, 2_600.0, 5_000.0, 1.0, 2_588),
    Row("audio", "the floor", "ok", "", True, 500.4, 480.0, 520.0, 700.0, 90.0, 28),
    Row("audio", "a|b", "wrong", "frame 1: 'x' | 'y'"),
    Row("session", "json + base64", "ok", "", False, 1e4, 9e3, 1.1e4, 2e4, 1.0, 99, 1_234.5),
    Row("session", "away", "absent", "No module named 'away'"),
]


@pytest.fixture
def report() -> Report:
    return Report(
        date="2026-01-01T00:00:00+00:00",
        machine={"cpu": "A CPU", "cores": 2, "system": "Linux", "python": "CPython 3.11"},
        versions={"deltaring": "0.1.0"},
        settings={
            "quick": True,
            "baseline": {"parse": "json", "audio": "json + base64", "session": "json + base64"},
            "gc": "off while timing",
            "pinned_cpu": 1,
            "rounds": {"parse": 5, "audio": 0, "session": 7},
        },
        workload={
            "name": "openai",
            "frames": 561,
            "bytes": 2_074_927,
            "audio_deltas": 128,
            "audio_seconds": 30.26,
        },
        rows=ROWS,
    )


def test_markdown_has_every_row(report: Report) -> None:
    text = markdown(report)
    assert "| deltaring | 300 | 290 to 320 | 900 | 8.00 | 343 |" in text
    assert "| the floor *(floor)* | 500 | 480 to 520 | 700 | 90.00 | 28 |" in text
    assert "| a\\|b | wrong | frame 1: 'x' \\| 'y' |  |  |  |" in text
    assert "| json + base64 | 10,000 | 9,000 to 11,000 | 20,000 | 1.00 | 99 | 1,234 |" in text
    assert "| away | absent | No module named 'away' |" in text


def test_a_task_without_rows_has_no_table(report: Report) -> None:
    only = msgspec.structs.replace(report, rows=[row for row in ROWS if row.task == "parse"])
    assert markdown(only).count("**") == 2 < markdown(report).count("**")


def test_every_line_of_a_markdown_table_has_as_many_cells(report: Report) -> None:
    cells: set[int] = set()
    for line in markdown(report).replace("\\|", "").splitlines():
        if line.startswith("|"):
            cells.add(line.count("|"))
        elif not line:
            assert len(cells) <= 1
            cells.clear()


def test_the_header_names_machine_versions_frames_and_settings(report: Report) -> None:
    text = "\n".join(header(report))
    for fact in ("A CPU", "CPython 3.11", "(quick)", "deltaring 0.1.0", "561 frames", "30.3 s"):
        assert fact in text
    assert "rounds: 5 of parse, 7 of session; garbage collector off while timing" in text
    assert "pinned to CPU 1" in text


@pytest.mark.parametrize("suffix", [".svg", ".png", ".PNG"])
def test_a_plot_is_drawn(report: Report, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")
    path = tmp_path / f"plot{suffix}"
    plot(report, path)
    data = path.read_bytes()
    assert data.startswith(b"<?xml" if suffix == ".svg" else b"\x89PNG")
    if suffix == ".svg":
        assert b"the floor (floor)" in data
        assert b"away" not in data


def test_another_kind_of_plot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"plot.pdf: a plot is an .svg or a .png file"):
        check_plot(tmp_path / "plot.pdf")


def test_a_plot_that_could_not_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    (tmp_path / "folder.svg").mkdir()
    for path in (tmp_path / "folder.svg", tmp_path / "missing" / "plot.svg"):
        with pytest.raises(BenchError, match=f"{path}: cannot be written"):
            check_plot(path)


def test_nothing_that_was_measured_is_nothing_to_draw(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")
    absent = msgspec.structs.replace(report, rows=[row for row in ROWS if row.status != "ok"])
    with pytest.raises(BenchError, match="nothing was measured that could be drawn"):
        plot(absent, tmp_path / "plot.svg")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_a_plot_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("deltaring.chart.find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"pip install 'deltaring\[bench\]'"):
        check_plot(tmp_path / "plot.svg")
