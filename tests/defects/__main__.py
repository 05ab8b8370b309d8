"""python -m tests.defects [NAME ...] [--share K/N]: plant each defect, and see its tests fail.

Rule: a defect is dead only if a test failed: tests that cannot be collected, or that do not pass
without it, prove nothing. Each one is planted in a copy of the tree that nothing else was run in,
so no cache of bytecode or of examples knows more than the source.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tests.defects.catalogue import DEFECTS
from tests.defects.defect import ROOT, Defect

_TREE = ("src", "tests", "examples", "docs", "benchmarks", "pyproject.toml", "setup.py", "README.md",
         "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in")  # fmt: skip
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.egg-info", "*.so", "*.pyd")
_BUILD = ("-m", "compileall", "-q", "src", "tests"), ("setup.py", "-q", "build_ext", "--inplace")
_PATIENCE = 300.0  # seconds for one run of tests: what takes longer hangs
_FAILED = 1  # pytest's exit code where tests failed, and nothing worse happened
_AT_A_TIME = 2


class Verdict(NamedTuple):
    """What became of a defect, or of the tests without any."""

    dead: bool
    word: str
    seconds: float


class Run(NamedTuple):
    """One run of some tests."""

    code: int | None
    """None for one that did not end."""
    failed: str
    """The first test that failed."""


def main() -> int:
    """Run the command; return its exit code."""
    options = _options()
    chosen = _chosen(options.names, options.share)
    absent = [defect for defect in chosen if defect.needs and find_spec(defect.needs) is None]
    chosen = [defect for defect in chosen if defect not in absent]
    for defect in absent:
        print(f"left out  {defect.name}: needs {defect.needs}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="defects-") as place, ThreadPoolExecutor(_AT_A_TIME) as pool:
        clean = _clean_copy(Path(place))
        if not (native := any((clean / "src/deltaring").glob("_kernel.*"))):
            chosen = list(_without_compiler(chosen))
        soiled = set() if options.trust else _soiled(pool, clean, chosen, native)
        verdicts = pool.map(lambda defect: _tried(clean, defect, native, soiled), chosen)
        dead = sum([_told(defect, verdict) for defect, verdict in zip(chosen, verdicts, strict=True)])
    print(f"{dead} of {len(chosen)} killed in {time.monotonic() - began:.0f} s")
    return int(dead < len(chosen))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.defects", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="defects to plant; all by default")
    parser.add_argument("--share", metavar="K/N", default="1/1", help="every N-th, from the K-th on")
    parser.add_argument("--trust", action="store_true",
                        help="take for granted that the tests pass without a defect")  # fmt: skip
    return parser.parse_args()


def _chosen(names: list[str], share: str) -> list[Defect]:
    known = {defect.name: defect for defect in DEFECTS}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no defect is called {', '.join(unknown)}")
    first, step = map(int, share.split("/"))
    return [known[name] for name in names or known][first - 1 :: step]


def _without_compiler(chosen: list[Defect]) -> Iterator[Defect]:
    for defect in chosen:
        if defect.kernel == "native":
            print(f"left out  {defect.name}: there is no compiled kernel")
        else:
            yield defect._replace(kernel="pure" if defect.kernel == "both" else defect.kernel)


def _told(defect: Defect, verdict: Verdict) -> bool:
    state = "killed" if verdict.dead else "SURVIVED"
    print(f"{state:<9} {defect.name:<48} {verdict.seconds:5.1f} s  {verdict.word}", flush=True)
    if not verdict.dead:
        print(f"          {defect.harm}")
    return verdict.dead


# --- copies of the tree ---------------------------------------------------------------------------


def _clean_copy(place: Path) -> Path:
    """Copy the tree as it is, and build what can be built; return where it is."""
    clean = place / "clean"
    clean.mkdir()
    for name in _TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, clean / name, ignore=_LEFT_OUT)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, clean / name)
    for command in _BUILD:
        _python(clean, *command)
    return clean


def _python(tree: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=tree, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr.decode()}")


@contextmanager
def _planted(clean: Path, defect: Defect) -> Iterator[Path]:
    """A copy of the clean copy, with the defect in it."""
    with tempfile.TemporaryDirectory(dir=clean.parent, ignore_cleanup_errors=True) as place:
        tree = Path(place) / "tree"
        shutil.copytree(clean, tree)
        path = tree / "src" / defect.file
        path.write_text(defect.applied(path.read_text()))
        # Bytecode is matched by time and size, and a second is a long time here.
        for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            stale.unlink()
        if defect.is_compiled:
            _python(tree, *_BUILD[1], "--force")
        yield tree


# --- runs of tests --------------------------------------------------------------------------------


def _soiled(pool: ThreadPoolExecutor, clean: Path, chosen: Iterable[Defect], native: bool) -> set[tuple[str, str]]:
    """Return the tests, with the form of the kernel, that do not pass without a defect."""
    wanted = dict.fromkeys((defect.tests, kernel) for defect in chosen for kernel in defect.kernels)
    # The form that runs by itself need not be looked at twice.
    wanted = dict.fromkeys((tests, kernel or ("native" if native else "pure")) for tests, kernel in wanted)
    runs = pool.map(lambda pair: _clean_run(clean, *pair), wanted)
    soiled = set()
    for pair, run in zip(wanted, runs, strict=True):
        if run.code:
            print(f"not clean {pair[0]}: {run.failed or run.code} fails without a defect", flush=True)
            soiled |= {pair, (pair[0], "")}
    return soiled


def _clean_run(clean: Path, tests: str, kernel: str) -> Run:
    with tempfile.TemporaryDirectory(dir=clean.parent, ignore_cleanup_errors=True) as place:
        shutil.copytree(clean, Path(place) / "tree")
        return _run(Path(place) / "tree", tests, kernel, 0)


def _tried(clean: Path, defect: Defect, native: bool, soiled: set[tuple[str, str]]) -> Verdict:
    """Plant a defect, and run its tests with each kernel and seed until one run does not fail."""
    began, killers = time.monotonic(), dict[str, int]()
    if any((defect.tests, kernel) in soiled for kernel in defect.kernels):
        return Verdict(False, "its tests fail without it", 0.0)
    with _planted(clean, defect) as tree:
        for kernel in defect.kernels:
            for seed in defect.seeds:
                run = _run(tree, defect.tests, kernel, seed)
                if not _is_kill(run):
                    return Verdict(False, f"pytest: {run.code}, kernel: {kernel or 'any'}, seed {seed}", time.monotonic() - began)
                killers[run.failed] = killers.get(run.failed, 0) + 1
    words = [f"{count} x {test}" if count > 1 else test for test, count in killers.items()]
    return Verdict(True, ", ".join(words), time.monotonic() - began)


def _is_kill(run: Run) -> bool:
    """Whether a test failed, or the process died of it or hung: what a user would see, too."""
    return run.code is None or run.code == _FAILED or run.code < 0


def _run(tree: Path, tests: str, kernel: str, seed: int) -> Run:
    """Run tests, as a process that leaves nobody behind."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += [f"--hypothesis-seed={seed}", *(f"tests/{test}" for test in tests.split())]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "DELTARING_SEED": str(seed), "DELTARING_LONG": "0"}
    environment.pop("DELTARING_KERNEL", None)
    if kernel:
        environment["DELTARING_KERNEL"] = kernel
    process = subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        text = process.communicate(timeout=_PATIENCE)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        return Run(None, "(it hangs)")
    finally:
        if os.name == "posix":
            _end_group(process)
        process.kill()
    found = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", text, re.M)
    return Run(process.returncode, found[1] if found else "(the process died)" if process.returncode < 0 else "")


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # nobody is left
        pass


if __name__ == "__main__":
    sys.exit(main())
