"""Modules import one way only: each from those above it in this list (docs/design.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import deltaring

ORDER = [
    "errors", "events", "audio", "ring", "track", "run", "pool", "pure", "kernel", "frame", "decoder", "playback",
    "usage", "transcript", "conversation", "turns", "session", "arrivals", "metrics",
    "lines", "har", "recording", "redact", "recorder", "live", "proxy", "outdir", "tape", "resample", "ogg", "encoding", "audiofiles", "speech", "microphone", "timeline", "stereo", "captions", "report", "eventlog", "replay", "tables",
    "script", "inbox", "server",
    "workload", "contenders", "verdict", "bench", "chart", "distribution", "journal", "sources", "hashed", "workers", "ray_executor", "job", "console", "cli_bench", "cli_latency", "cli_listen", "cli_record", "cli_replay", "cli_serve", "cli",
]  # fmt: skip
PACKAGE = Path(deltaring.__file__).parent


def imported(path: Path) -> set[str]:
    """The modules of this package that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deltaring."):
            names.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "deltaring":
            names |= {alias.name for alias in node.names} & set(ORDER)
    return names


def test_every_module_has_its_place() -> None:
    found = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert found == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_from_above(module: str) -> None:
    above = set(ORDER[: ORDER.index(module)])
    assert imported(PACKAGE / f"{module}.py") <= above


def test_the_decode_path_needs_no_orjson() -> None:
    # orjson has no wheel for free-threaded Python.
    code = "import sys; sys.modules['orjson'] = None; import deltaring"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_no_extra() -> None:
    code = (
        "import sys, deltaring, deltaring.replay, deltaring.tables, deltaring.chart\n"
        "extras = {'soundfile', 'soxr', 'typer', 'rich', 'backports.zstd', 'matplotlib', 'openai', 'pydantic', 'jiter', 'pyarrow'}\n"
        "assert not extras & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
