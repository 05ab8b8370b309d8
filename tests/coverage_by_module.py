"""How much of each module its own test file reaches: lines and branches, child processes included.

    python -m tests.coverage_by_module                # all modules; needs what all tests need
    python -m tests.coverage_by_module ring track     # these
    DELTARING_LONG=1 python -m tests.coverage_by_module    # with the tests that count by millions

Rule: `tests/test_X.py` alone answers for `X.py`; what other tests happen to run counts for nothing.
What stays out stands in `GAPS`, by function and with its reason; anything beyond it is a failure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import deltaring

ROOT = Path(__file__).parent.parent
PACKAGE = Path(deltaring.__file__).parent

TESTED_IN = {
    "__init__": "imports",
    "__main__": "cli",
    "audiofiles": "speech",
    "cli": "cli cli_latency",
    "cli_listen": "cli_serve cli_record",
    "decoder": "decoder frame pool run",
    "errors": "frame",
    "pure": "pure kernel run",
    "recording": "recording har",
    "verdict": "verdict bench",
}
"""The modules whose tests are in a file of another name, or in more than one."""

IN_BOTH_FORMS = {"decoder", "ring"}
"""Where the compiled kernel stands in front of Python: these run once more without it."""

COUNTS = "not mutants and not lives_of_tracks and not random_sessions and not two_threads"
"""Tests that repeat the same thing 100,000 times reach nothing new, and take minutes here."""

EXACT = "not memory_at_the_peak"
"""What measures to the byte would find what coverage allocates."""

GAPS: dict[str, tuple[int, str]] = {
    "frame._parse_loosely": (2, "only at the recursion limit: msgspec read the same text before"),
    "ray_executor._Future._settle": (8, "called by a thread of Ray's own, which is not traced"),
    "ray_executor._plain": (9, "called by a thread of Ray's own, which is not traced"),
    "ray_executor._call": (2, "runs on a worker of the cluster"),
    "verdict._Check.spoil": (1, "a contender whose buffer became read-only is wrong elsewhere"),
    "verdict._Check.frame": (1, "there is a subclass for each task"),
    "workers._begin": (1, "a worker always has a parent; the type alone allows for none"),
    "cli_serve.serve_command": (1, "a speed of nan; newer releases of typer refuse it themselves"),
    "cli_replay._engine": (3, "Ray: tests/test_ray_executor.py has the clusters"),
}
"""What stays out: `module.function`, how many lines and branches of it at most, and why."""

CONFIG = """\
[run]
branch = true
parallel = true
patch = subprocess, _exit
concurrency = thread, multiprocessing
include = {module}
data_file = {folder}/data
disable_warnings = no-data-collected, module-not-measured
"""


class Covered(NamedTuple):
    """What the tests of one module reached of it."""

    module: str
    lines: int
    branches: int
    percent: float
    missing: dict[str, list[str]]
    """By function: lines, and branches as `from->to`."""
    failures: str
    """What pytest says, where a test failed."""
    seconds: float

    def beyond(self) -> Iterator[str]:
        """Say what is missing and is no stated gap."""
        for name, places in self.missing.items():
            allowed, _ = GAPS.get(name, (0, ""))
            if len(places) > allowed:
                yield f"{name}: {' '.join(places)}"


def measure(module: str) -> Covered:
    """Run the tests of a module in processes of their own."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "coveragerc")
        config.write_text(CONFIG.format(module=PACKAGE / f"{module}.py", folder=folder))
        kernels = ["", "pure"] if module in IN_BOTH_FORMS else [""]
        failures = "".join(_run_tests(module, kernel, config) for kernel in kernels)
        _coverage("combine", config)
        report = json.loads(_coverage("json", config, "-q", "-o", "-").stdout)
    ((_, file),) = report["files"].items()
    total, missing = file["summary"], dict(_missing(module, file["functions"]))
    figures = total["num_statements"], total["num_branches"], total["percent_covered"]
    return Covered(module, *figures, missing, failures, time.monotonic() - start)


def _run_tests(module: str, kernel: str, config: Path) -> str:
    """Return what pytest says, if a test fails."""
    names = TESTED_IN.get(module, module).split()
    chosen = EXACT if os.environ.get("DELTARING_LONG") == "1" else f"{EXACT} and {COUNTS}"
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen]
    pytest.append("--hypothesis-seed=0")  # what is reached must not be left to chance
    pytest += [f"tests/test_{name}.py" for name in names]
    ran = _coverage("run", config, *pytest, DELTARING_KERNEL=kernel)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def _coverage(
    command: str, config: Path, *args: str, **env: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "coverage", command, f"--rcfile={config}", *args],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def _missing(module: str, functions: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the functions that were not reached whole; what is in none is in the module's name."""
    for name, function in functions.items():
        lines, branches = function["missing_lines"], function["missing_branches"]
        places = [str(line) for line in lines]
        # A branch that leaves the function has no target line; one from a missing line is told.
        places += [f"{a}->{max(b, 0) or 'exit'}" for a, b in branches if a not in lines]
        if places:
            yield f"{module}.{name}".rstrip("."), places


def print_row(row: Covered) -> None:
    """Print a line of the table, and what failed below it."""
    missing = "; ".join(f"{name}: {' '.join(places)}" for name, places in row.missing.items())
    figures = f"{row.lines:6,} {row.branches:8,} {row.percent:8.1f} {row.seconds:7.0f} s"
    print(f"{row.module:14} {figures}  {missing}".rstrip(), flush=True)
    if row.failures:
        print(row.failures, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="all of them by default")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="at a time (2)")
    parser.add_argument("--but", nargs="*", default=(), metavar="MODULE", help="all but these")
    args = parser.parse_args()
    modules = args.modules or sorted(path.stem for path in PACKAGE.glob("*.py"))
    print(f"{'module':14} {'lines':>6} {'branches':>8} {'percent':>8} {'took':>9}  missing")
    rows = []
    with ThreadPoolExecutor(args.j) as pool:
        for job in [pool.submit(measure, name) for name in modules if name not in args.but]:
            rows.append(job.result())
            print_row(rows[-1])
    for name in sorted({name for row in rows for name in row.missing} & GAPS.keys()):
        print(f"stays out: {name}: {GAPS[name][1]}")
    beyond = [text for row in rows for text in row.beyond()]
    for text in beyond:
        print(f"not reached: {text}")
    sys.exit(1 if beyond or any(row.failures for row in rows) else 0)


if __name__ == "__main__":
    main()
