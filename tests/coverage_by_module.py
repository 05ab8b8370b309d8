"""How much of each module its own test file reaches: lines and branches, child processes included.

    python -m tests.coverage_by_module                  # all modules (needs the extras of all tests)
    python -m tests.coverage_by_module ring track       # these

Rule: `tests/test_X.py` alone answers for `X.py`; what other tests happen to run counts for nothing.
What stays out is in `GAPS`, function by function, with its reason; anything beyond that is a failure.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import deltaring

ROOT = Path(__file__).parent.parent
PACKAGE = Path(deltaring.__file__).parent

TESTED_IN = {
    "__init__": "imports",
    "__main__": "cli",
    "audiofiles": "speech",
    "cli": "cli cli_latency",
    "cli_listen": "cli_serve",
    "errors": "frame",
    "pure": "pure kernel run",
}
"""The modules whose tests are in a file of another name."""

IN_BOTH_FORMS = {"decoder", "kernel", "ring"}
"""What the compiled kernel stands in front of: these run once more without it."""

GAPS: dict[str, tuple[int, str]] = {}
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
    failure: str

    def beyond(self) -> Iterator[str]:
        """Say what is missing and is no stated gap."""
        for name, places in self.missing.items():
            allowed, _ = GAPS.get(name, (0, ""))
            if len(places) > allowed:
                yield f"{name}: {' '.join(places)}"


def measure(module: str) -> Covered:
    """Run the tests of a module in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "coveragerc")
        config.write_text(CONFIG.format(module=PACKAGE / f"{module}.py", folder=folder))
        failures = [run_tests(module, kernel, config) for kernel in forms(module)]
        _coverage("combine", config)
        report = json.loads(_coverage("json", config, "-q", "-o", "-").stdout)
    (file,) = report["files"].values()
    total = file["summary"]
    return Covered(
        module,
        total["num_statements"],
        total["num_branches"],
        total["percent_covered"],
        dict(_missing(module, file["functions"])),
        "".join(failures),
    )


def forms(module: str) -> list[str]:
    return ["", "pure"] if module in IN_BOTH_FORMS else [""]


def run_tests(module: str, kernel: str, config: Path) -> str:
    """Return what pytest says, if it fails."""
    tests = [f"tests/test_{name}.py" for name in TESTED_IN.get(module, module).split()]
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov", *tests]
    ran = _coverage("run", config, *pytest, DELTARING_KERNEL=kernel)
    return "" if ran.returncode == 0 else ran.stdout


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


def _missing(module: str, functions: dict[str, dict[str, list[object]]]) -> Iterator[tuple[str, list[str]]]:
    for name, function in functions.items():
        lines = function["missing_lines"]
        places = [str(line) for line in lines]
        places += [f"{a}->{b}" for a, b in function["missing_branches"] if a not in lines]
        if places:
            yield f"{module}.{name}".rstrip("."), places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*")
    parser.add_argument("-j", type=int, default=2, metavar="N")
    args = parser.parse_args()
    modules = args.modules or sorted(path.stem for path in PACKAGE.glob("*.py"))
    with ThreadPoolExecutor(args.j) as pool:
        table = list(pool.map(measure, modules))
    for row in table:
        missing = "; ".join(f"{name}: {' '.join(p)}" for name, p in row.missing.items())
        print(f"{row.module:14} {row.lines:5} {row.branches:5} {row.percent:6.1f}  {missing}")
        if row.failure:
            print(row.failure)
    sys.exit(any(row.failure or list(row.beyond()) for row in table))


if __name__ == "__main__":
    main()
