"""Copies of the tree, clean or with a defect, and runs of tests in them.

Rule: nothing else was run in a copy, so no cache of bytecode or of hypothesis's examples knows more
than its source; and no process of a run outlives it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.defects.defect import ROOT, Defect

_PARTS = (
    "src", "tests", "examples", "docs", "benchmarks", "pyproject.toml", "setup.py", "README.md",
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in",
)  # fmt: skip
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.egg-info", "*.so", "*.pyd")
_BUILD = "setup.py", "-q", "build_ext", "--inplace", "--force"
_PATIENCE = 300.0  # seconds for one run: a hundred times what it mostly takes


class Run(NamedTuple):
    """One run of some tests."""

    code: int | None
    """Of pytest: 0 where all passed, 1 where one failed. None: it hung."""
    failed: str
    """The test that failed first."""

    @property
    def is_kill(self) -> bool:
        """Whether a test failed, or its process died or hung. Tests that cannot be collected, or
        are not there, prove nothing."""
        return self.code is None or self.code == 1 or self.code < 0


def copy_tree(place: Path) -> Path:
    """Copy the tree as it stands into `place`, and build what can be built; return its folder."""
    tree = place / "clean"
    tree.mkdir()
    for name in _PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=_LEFT_OUT)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, tree / name)
    _python(tree, *_BUILD)
    _python(tree, "-m", "compileall", "-q", "src", "tests")
    return tree


def has_kernel(tree: Path) -> bool:
    """Whether the compiled kernel could be built there."""
    return any((tree / "src" / "deltaring").glob("_kernel.*"))


@contextmanager
def copied(clean: Path, defect: Defect | None = None) -> Iterator[Path]:
    """A copy of a copy, for one use: with a defect, if there is one."""
    with tempfile.TemporaryDirectory(dir=clean.parent, ignore_cleanup_errors=True) as place:
        tree = Path(place) / "tree"
        shutil.copytree(clean, tree)
        if defect is not None:
            _plant(defect, tree)
        yield tree


def _plant(defect: Defect, tree: Path) -> None:
    path = tree / "src" / defect.file
    path.write_text(defect.applied(path.read_text()))
    # Bytecode is told by time and size of its source, and the time may be the same.
    for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        stale.unlink()
    if defect.is_compiled:
        _python(tree, *_BUILD)


def _python(tree: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=tree, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr.decode()}")


def run_tests(tree: Path, tests: str, kernel: str, seed: int) -> Run:
    """Run tests in a tree, up to the first that fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += [f"--hypothesis-seed={seed}", *(f"tests/{test}" for test in tests.split())]
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=_environment(tree, kernel, seed),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        text = process.communicate(timeout=_PATIENCE)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        return Run(None, "it hangs")
    finally:
        _end(process)
    found = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", text, re.M)
    return Run(process.returncode, found[1] if found else f"exit code {process.returncode}")


def _environment(tree: Path, kernel: str, seed: int) -> dict[str, str]:
    ours = {
        "PYTHONPATH": str(tree / "src"),
        "DELTARING_KERNEL": kernel,
        "DELTARING_SEED": str(seed),
        "DELTARING_LONG": "0",
    }
    return {**os.environ, **ours}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a run with all the processes that its tests have started."""
    with suppress(ProcessLookupError, AttributeError):  # nobody is left; Windows has no groups
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
