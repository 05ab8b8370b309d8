"""python -m tests.defects [NAME ...] [--share K/N]: plant each defect, and see its tests fail.

Rule: a defect is killed only if a test fails that passes without it, with every form of the kernel
in which it shows, and where it is a race, with every seed.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import NamedTuple

from tests.defects.catalogue import DEFECTS
from tests.defects.defect import Defect
from tests.defects.trees import Run, copied, copy_tree, has_kernel, run_tests

_AT_A_TIME = 2
"""Runs: what they wait for is mostly a processor, and the smallest machine of a CI has two."""


class Verdict(NamedTuple):
    """What became of a defect."""

    killed: bool
    why: str
    seconds: float


def main() -> int:
    """Run the command; return its exit code: 1 where a defect lives."""
    options = _options()
    began, killed = time.monotonic(), 0
    with (
        tempfile.TemporaryDirectory(prefix="defects-") as place,
        ThreadPoolExecutor(_AT_A_TIME) as pool,
    ):
        clean = copy_tree(Path(place))
        chosen = list(_possible(_chosen(options.names, options.share), has_kernel(clean)))
        unclean = _unclean(clean, chosen, pool)
        verdicts = pool.map(lambda defect: _try(clean, defect, unclean), chosen)
        for defect, verdict in zip(chosen, verdicts, strict=True):
            _tell(defect, verdict)
            killed += verdict.killed
    print(f"{killed} of {len(chosen)} killed in {time.monotonic() - began:.0f} s")
    return int(killed < len(chosen))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.defects", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="defects; all unless given")
    parser.add_argument(
        "--share", metavar="K/N", default="1/1", help="every N-th of them, from the K-th on"
    )
    return parser.parse_args()


def _chosen(names: list[str], share: str) -> list[Defect]:
    known = {defect.name: defect for defect in DEFECTS}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no defect is called {', '.join(unknown)}")
    first, step = map(int, share.split("/"))
    return [known[name] for name in names or known][first - 1 :: step]


def _possible(chosen: list[Defect], compiled: bool) -> Iterator[Defect]:
    """Yield the defects that can show here, and say which cannot."""
    for defect in chosen:
        if defect.needs and find_spec(defect.needs) is None:
            print(f"left out  {defect.name}: {defect.needs} is not installed")
        elif defect.kernel == "native" and not compiled:
            print(f"left out  {defect.name}: there is no compiled kernel")
        else:
            runs = defect.kernel or "native"
            yield defect._replace(kernel=runs if compiled else "pure")


def _needed(defect: Defect) -> list[tuple[str, str]]:
    """The tests of a defect one by one, each with a form of the kernel."""
    return list(product(defect.tests.split(), defect.kernels))


def _unclean(clean: Path, chosen: list[Defect], pool: ThreadPoolExecutor) -> set[tuple[str, str]]:
    """Return the tests, each with a form of the kernel, that fail without any defect."""
    pairs = list(dict.fromkeys(pair for defect in chosen for pair in _needed(defect)))

    def run(pair: tuple[str, str]) -> Run:
        with copied(clean) as tree:
            return run_tests(tree, *pair, seed=0)

    unclean = set()
    for pair, found in zip(pairs, pool.map(run, pairs), strict=True):
        if found.code != 0:
            print(f"not clean {pair[0]} {pair[1]}: {found.failed}")
            unclean.add(pair)
    return unclean


def _try(clean: Path, defect: Defect, unclean: set[tuple[str, str]]) -> Verdict:
    """Plant a defect and run its tests, until a run does not kill it or all have."""
    if not unclean.isdisjoint(_needed(defect)):
        return Verdict(False, "its tests fail without it", 0.0)
    began, killers = time.monotonic(), Counter[str]()
    with copied(clean, defect) as tree:
        for kernel, seed in product(defect.kernels, defect.seeds):
            run = run_tests(tree, defect.tests, kernel, seed)
            if not run.is_kill:
                why = f"{run.failed}, kernel {kernel}, seed {seed}"
                return Verdict(False, why, time.monotonic() - began)
            killers[run.failed] += 1
    why = ", ".join(f"{count} x {test}" for test, count in killers.items())
    return Verdict(True, why, time.monotonic() - began)


def _tell(defect: Defect, verdict: Verdict) -> None:
    state = "killed" if verdict.killed else "SURVIVED"
    print(f"{state:<9} {defect.name} ({verdict.seconds:.1f} s): {verdict.why}", flush=True)
    if not verdict.killed:
        print(f"          {defect.harm}")


if __name__ == "__main__":
    sys.exit(main())
