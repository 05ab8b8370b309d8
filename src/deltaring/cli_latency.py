"""What `deltaring info --latency` prints: the metrics of recordings, as tables."""

from collections.abc import Sequence

from rich.text import Text

from deltaring import console
from deltaring.metrics import ResponseMetrics, SessionMetrics, Spread, Tokens, spread, values

_NONE = "-"  # in place of what cannot be known
_COLUMNS = (
    "response\n\nin ms", "audio\nafter\nspeech", "audio\nafter\ncreated", "done\nafter\ncreated",
    "audio\n\ns", "RTF", "jitter\np50/p95/max", "buffer\nneeded", "stalls\n(most)",
)  # fmt: skip
"""It just fits into a terminal of 80 columns."""

_OVER_ALL = {
    "speech_stopped_to_audio": "speech_stopped to audio",
    "created_to_audio": "response.created to audio",
    "duration": "response duration",
    "jitter_p95": "jitter (p95 of each)",
    "needed_buffer": "buffer needed",
}
"""What is told of all responses together; in milliseconds."""


def print_metrics(rows: Sequence[tuple[str, SessionMetrics]]) -> None:
    """Print a table for each recording, and one for all of them.

    rows: pairs of a printable name and what was measured.
    """
    for name, metrics in rows:
        console.out.print(Text(name, "bold"))
        _print_responses(metrics)
        _print_facts(metrics)
    sessions = [metrics for _, metrics in rows]
    if sum(len(metrics.responses) for metrics in sessions) > 1:
        _print_over_all(sessions)


def _print_responses(metrics: SessionMetrics) -> None:
    if not metrics.responses:
        return
    table = console.table(*_COLUMNS)
    for number, response in enumerate(metrics.responses, 1):
        table.add_row(Text(f"{number} {_state(response)}"), *_figures(response))
    console.out.print(table)


def _state(response: ResponseMetrics) -> str:
    """How a response ended."""
    status = console.printable(response.status[:20]) or "unknown"
    return f"{status}, interrupted" if response.interrupted else status


def _figures(response: ResponseMetrics) -> list[str]:
    return [
        _ms(response.speech_stopped_to_audio),
        _ms(response.created_to_audio),
        _ms(response.duration),
        _NONE if response.audio is None else f"{response.audio:,.2f}",
        _NONE if response.real_time_factor is None else f"{response.real_time_factor:.2f}",
        "/".join(_spread(response.jitter, 0)) if response.jitter else _NONE,
        _ms(response.needed_buffer),
        _NONE if response.stalls is None else _stalls(response.stalls),
    ]


def _stalls(lengths: list[float]) -> str:
    """How many there were, and the longest."""
    return f"{len(lengths):,} ({_ms(max(lengths))})" if lengths else "0"


def _print_facts(metrics: SessionMetrics) -> None:
    facts = console.table("fact", "value", header=False)
    facts.add_row("sessions", f"{metrics.epochs:,}")
    facts.add_row("interruptions", f"{metrics.interruptions:,}")
    facts.add_row("stalls counted", f"for a buffer of {metrics.buffer * 1e3:g} ms")
    facts.add_row("input tokens", _tokens(metrics.tokens, "input"))
    facts.add_row("output tokens", _tokens(metrics.tokens, "output"))
    for name, share in metrics.headroom.items():
        limit = console.printable(name[:40])
        facts.add_row("headroom", Text(f"{limit}: {share:.1%} of the limit, at the least"))
    if metrics.left_out:
        facts.add_row("not measured", f"{metrics.left_out:,} events of further responses")
    console.out.print(facts, "")


def _print_over_all(sessions: Sequence[SessionMetrics]) -> None:
    console.out.print(Text("all responses, in ms", "bold"))
    table = console.table("metric", "count", "p50", "p95", "max")
    for name, label in _OVER_ALL.items():
        found = spread(values(sessions, name))
        count = "0" if found is None else f"{found.count:,}"
        table.add_row(label, count, *_spread(found))
    console.out.print(table)


def _tokens(tokens: Tokens, side: str) -> str:
    """The total of a side and its kinds, as far as the server says."""
    total = getattr(tokens, side)
    kinds = [
        f"{getattr(tokens, field):,} {field.removeprefix(f'{side}_')}"
        for field in tokens.__struct_fields__
        if field.startswith(f"{side}_") and getattr(tokens, field) is not None
    ]
    return f"{_NONE if total is None else f'{total:,}'}" + f" ({', '.join(kinds)})" * bool(kinds)


def _spread(found: Spread | None, digits: int = 1) -> list[str]:
    """Median, 95th percentile and maximum, in milliseconds."""
    if found is None:
        return [_NONE] * 3
    return [_ms(value, digits) for value in (found.p50, found.p95, found.max)]


def _ms(seconds: float | None, digits: int = 0) -> str:
    return _NONE if seconds is None else f"{seconds * 1e3:,.{digits}f}"
