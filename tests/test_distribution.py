"""Pictures of metrics."""

from pathlib import Path

import numpy as np
import pytest

from deltaring.distribution import plot
from deltaring.errors import BenchError
from deltaring.metrics import SessionMetrics
from deltaring.recording import Recording
from deltaring.replay import measure


@pytest.fixture
def metrics(example: Path) -> SessionMetrics:
    return measure(Recording(example))


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_plot_is_drawn(metrics: SessionMetrics, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")
    path = tmp_path / f"plot{suffix}"
    plot([metrics, metrics], path)
    assert path.read_bytes().startswith(b"<?xml" if suffix == ".svg" else b"\x89PNG")


def test_a_plot_says_how_many_responses_each_curve_has(
    metrics: SessionMetrics, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")
    path = tmp_path / "plot.svg"
    plot([metrics, metrics], path)
    text = path.read_text()
    assert "responses: 6; recordings: 2" in text
    assert "from response.created (4)" in text
    assert "so as never to stall (4)" in text


def test_a_curve_is_the_share_of_responses_at_or_below_a_value(
    metrics: SessionMetrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    plot([metrics], tmp_path / "plot.svg")
    (curve,) = (line for line in figures[0].axes[0].lines if "created" in str(line.get_label()))
    assert np.asarray(curve.get_xdata()) == pytest.approx([314, 314, 326])
    assert np.asarray(curve.get_ydata()) == pytest.approx([0, 50, 100])


def test_metrics_without_times_make_empty_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")
    path = tmp_path / "plot.svg"
    plot([], path)
    assert "from response.created (0)" in path.read_text()


def test_another_kind_of_plot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"plot.pdf: a plot is an .svg or a .png file"):
        plot([], tmp_path / "plot.pdf")
