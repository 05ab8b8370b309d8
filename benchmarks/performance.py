"""Measure what docs/performance.md shows: print its tables, and draw its plot.

    pip install ".[bench]" && python benchmarks/performance.py docs/performance.svg

Five minutes: one full run over OpenAI's frames, and quick ones over the other sets.
"""

import sys
from pathlib import Path

from deltaring import chart
from deltaring.bench import Report, bench
from deltaring.contenders import contenders
from deltaring.workload import SETS, built_in

SETS_SHOWN = {
    "openai": "12,000 bytes",
    "telephony": "160 bytes",
    "huggingface": "1,536 bytes, other key order",
    "xai": "23,000 bytes, other key order",
    "12000": "12,000 bytes, one size",
    "960": "960 bytes, one size",
    "160": "160 bytes, one size",
}


def audio(reports: dict[str, Report]) -> None:
    """Print one line per set: deltaring's time of an audio delta, and that of the others."""
    print("| frames | native | native, in its ring | pure | fastest other | typed | json | SDK |")
    print("|---|---:|---:|---:|---|---:|---:|---:|")
    for name, what in SETS_SHOWN.items():
        rows = [row for row in reports[name].rows if row.task == "audio" and row.median_ns]
        ns = {row.name: f"{row.median_ns:,.0f}" for row in rows}
        other = next(it for it in rows if not (it.floor or it.name.startswith("deltaring")))
        cells = [
            f"`{name}`: {what}",
            ns["deltaring native"],
            ns["deltaring native, left in its ring"],
            ns["deltaring pure"],
            f"{ns[other.name]} ({other.name})",
            ns["msgspec typed + pybase64"],
            ns["json + base64"],
            ns["openai SDK + base64"],
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    reports = {
        name: bench(built_in(name), contenders(), quick=name != "openai")
        for name in (*SETS, "12000", "960", "160")
    }
    print(chart.markdown(reports["openai"]))
    print("**text: a frame to an event**, quick\n")
    print("\n".join(chart.table(reports["text"], "parse")), "\n")
    audio(reports)
    chart.plot(reports["openai"], Path(sys.argv[1]))
