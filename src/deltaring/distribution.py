"""Distributions: a picture of the metrics of many sessions.

Rule: every response counts once, whatever session it is of, and what is None is left out.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from deltaring.chart import check_plot
from deltaring.metrics import SessionMetrics, values

_SIZE_INCHES = (9.0, 8.0)
_CURVES: Final = {
    "time to first audio": {
        "speech_stopped_to_audio": ("from speech_stopped", "#d1495b"),
        "created_to_audio": ("from response.created", "#30638e"),
    },
    "jitter buffer needed": {"needed_buffer": ("so as never to stall", "#d1495b")},
    "inter-delta jitter of each response": {
        "jitter_p95": ("p95", "#d1495b"),
        "jitter_p50": ("p50", "#30638e"),
    },
}
"""Of each panel: what is drawn, its name and its colour."""


def plot(sessions: Iterable[SessionMetrics], path: Path) -> None:
    """Draw how metrics are distributed over the responses of sessions, into an SVG or PNG file.

    A curve says how many percent of the responses stay at or below a value; its dots are p50 and
    p95. Raises BenchError for another kind of file or where matplotlib is missing, and OSError
    where the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    sessions = list(sessions)
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    panels = figure.subplots(len(_CURVES), 1, squeeze=False)
    for panel, (title, curves) in zip(panels[:, 0], _CURVES.items(), strict=True):
        panel.set_title(title, loc="left", fontsize=10, fontweight="bold")
        for name, (label, color) in curves.items():
            _draw(panel, values(sessions, name), label, color)
        _finish(panel)
    responses = sum(len(session.responses) for session in sessions)
    figure.suptitle(f"responses: {responses:,}; recordings: {len(sessions):,}", fontsize=9)
    figure.savefig(path, dpi=150)


def _draw(panel: Any, sample: list[float], label: str, color: str) -> None:
    """One curve: the empirical distribution function, with its median and 95th percentile."""
    milliseconds = np.sort(np.array(sample)) * 1e3
    label = f"{label} ({len(sample):,})"
    if not sample:
        panel.plot([], [], color=color, label=label)
        return
    share = np.arange(1, len(sample) + 1) / len(sample) * 100
    panel.step(
        np.append(milliseconds[0], milliseconds), np.append(0, share), where="post", color=color,
        label=label,
    )  # fmt: skip
    dots = np.quantile(milliseconds, [0.5, 0.95], method="inverted_cdf")
    for dot, percent in zip(dots, (50, 95), strict=True):
        panel.plot(dot, percent, "o", color=color, markersize=4)
        text = f"  {dot:,.0f}" if dot >= 100 else f"  {dot:.3g}"
        panel.text(dot, percent - 1, text, fontsize=7.5, color=color, va="top")


def _finish(panel: Any) -> None:
    panel.set_ylim(0, 103)
    panel.set_xlim(0, max(panel.get_xlim()[1], 1))
    panel.set_xlabel("milliseconds", fontsize=8)
    panel.set_ylabel("% of responses", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.legend(fontsize=8, loc="lower right", frameon=False)
    panel.grid(alpha=0.3)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
