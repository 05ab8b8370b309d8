"""The tests on every Python that is supported, and with the oldest dependencies that are allowed.

    nox                                     # all of it: README's second command, four times
    nox -s oldest -- tests/test_ring.py     # what stands behind -- goes to pytest

Rule: what is tested is what `pyproject.toml` promises, read from there. An interpreter that the
machine does not have is skipped, and nox says so.
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nox
from packaging.requirements import Requirement

PROJECT = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]
PYTHONS = ["3.11", "3.12", "3.13"]

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False

if pyenv := os.environ.get("PYENV_ROOT"):  # its shims lead to the chosen version only
    bins = sorted(Path(pyenv, "versions").glob("*/bin"))
    os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, bins)])


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests with the newest dependencies."""
    session.install("--upgrade", "--upgrade-strategy=eager", ".[test]")
    run_tests(session)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The tests with the oldest dependencies that are allowed."""
    constraints = Path(session.create_tmp(), "oldest.txt")
    constraints.write_text("".join(f"{bound}\n" for bound in lower_bounds("test")))
    session.install("--constraint", str(constraints), ".[test]")
    run_tests(session)


def run_tests(session: nox.Session) -> None:
    session.run("python", "-m", "deltaring", "info")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


def lower_bounds(extra: str) -> list[str]:
    """Return `name==bound` for each dependency of the package and of one of its extras."""
    bounds = {}
    for requirement in [*map(Requirement, PROJECT["dependencies"]), *required_by(extra)]:
        (bound,) = requirement.specifier  # one lower bound, and nothing else
        assert bound.operator == ">=", requirement
        bounds[requirement.name] = bound.version
    return [f"{name}=={version}" for name, version in sorted(bounds.items())]


def required_by(extra: str) -> Iterator[Requirement]:
    """What an extra asks for, and what the extras that it is made of do."""
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == PROJECT["name"]:
            for other in sorted(requirement.extras):
                yield from required_by(other)
        else:
            yield requirement
