"""How much of the compiled kernel its tests reach: lines and branches of each C file, by gcov.

    python -m tests.coverage_of_kernel      # needs gcc and gcov

Rule: a report, without a figure that must be reached: half of the branches that are left are
allocations that would have to fail, and instructions that this machine does not have.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import deltaring

ROOT = Path(__file__).parent.parent
TESTS = ["kernel", "native", "ring", "run", "decoder"]
SLOW = "not mutants and not lives"
"""Counts of hundreds of thousands reach nothing new, and take minutes without optimisation."""


def main() -> None:
    if not (shutil.which("gcc") and shutil.which("gcov")):
        print("no coverage of the kernel: there is no gcc with gcov")
        return
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "deltaring")
        shutil.copytree(Path(deltaring.__file__).parent, package)
        build(package)
        run_tests(Path(folder))
        print(f"{'file':16} {'lines':>6} {'branches':>9} {'percent':>8}  missing lines")
        for source in sorted((ROOT / "src" / "kernel").glob("*.c")):
            print(row(source, package))


def build(package: Path) -> None:
    """Compile each file by itself, so that its figures get its name."""
    for old in package.glob("_kernel*"):
        old.unlink()
    sources = sorted((ROOT / "src" / "kernel").glob("*.c"))
    include = f"-I{sysconfig.get_path('include')}"
    gcc = ["gcc", "-std=c11", "-O0", "-g", "-fPIC", "--coverage", include]
    for source in sources:
        subprocess.run([*gcc, "-c", source, "-o", f"{source.stem}.o"], cwd=package, check=True)
    objects = [f"{source.stem}.o" for source in sources]
    kernel = f"_kernel{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(
        ["gcc", "-shared", "--coverage", *objects, "-o", kernel], cwd=package, check=True
    )


def run_tests(folder: Path) -> None:
    tests = [f"tests/test_{name}.py" for name in TESTS]
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", SLOW, *tests]
    env = {**os.environ, "PYTHONPATH": str(folder), "DELTARING_KERNEL": "native"}
    subprocess.run(pytest, cwd=ROOT, env=env, check=True)


def row(source: Path, package: Path) -> str:
    """What was reached of one file, as a line of the table."""
    gcov = ["gcov", "--json-format", "--stdout", "--branch-probabilities", f"{source.stem}.o"]
    ran = subprocess.run(gcov, cwd=package, check=True, capture_output=True)
    lines = [
        line
        for file in json.loads(ran.stdout)["files"]
        if Path(file["file"]) == source
        for line in file["lines"]
    ]
    branches = [branch["count"] for line in lines for branch in line["branches"]]
    counts = [line["count"] for line in lines] + branches
    if not counts:
        return f"{source.name:16} {0:6} {0:9} {'-':>8}  for other processors"
    percent = 100 * sum(map(bool, counts)) / len(counts)
    return f"{source.name:16} {len(lines):6} {len(branches):9} {percent:8.1f}  {missing(lines)}"


def missing(lines: list[dict[str, Any]]) -> str:
    """Return the lines never run, as ranges."""
    runs = groupby(lines, key=lambda line: line["count"] > 0)
    blocks = [[line["line_number"] for line in block] for reached, block in runs if not reached]
    return " ".join(f"{b[0]}-{b[-1]}" if len(b) > 1 else str(b[0]) for b in blocks)


if __name__ == "__main__":
    main()
