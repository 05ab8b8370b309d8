"""The command as a user runs it: a process, its output, its exit code."""

import os
import subprocess
import sys
from pathlib import Path


def run(
    *args: object, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "deltaring", *map(str, args)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        check=False,
    )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


def able_to_import(folder: Path) -> dict[str, str]:
    """The environment of a process that can import what lies in a folder, besides what we can."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
