"""Defect: one way in which our own code could be wrong, and the tests that have to say so.

Rule: a defect is something that a user could see, written as an exact piece of the source and what
stands in its place. A piece that is not there exactly once is an error, so the list cannot rot.
"""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent

SEEDS = 5
"""Runs of a defect that is a race, each with another seed: all of them have to fail."""


class Defect(NamedTuple):
    """What is done to the code, and who has to notice."""

    name: str
    harm: str
    """What it would do to somebody, in a sentence."""
    file: str
    """Below `src`."""
    old: str
    new: str
    tests: str
    """Those of its module, which alone are run: paths below `tests` or names of tests in them."""
    kernel: str = ""
    """The form that it is looked for with: `pure`, `native` or `both`; else whichever runs."""
    race: bool = False
    needs: str = ""
    """A package that its tests cannot do without."""

    @property
    def kernels(self) -> tuple[str, ...]:
        """What DELTARING_KERNEL is set to, run by run."""
        return ("pure", "native") if self.kernel == "both" else (self.kernel,)

    @property
    def seeds(self) -> range:
        """What DELTARING_SEED is set to, run by run."""
        return range(1, SEEDS + 1) if self.race else range(1)

    @property
    def is_compiled(self) -> bool:
        """Whether the kernel has to be built anew."""
        return self.file.endswith(".c")

    def applied(self, text: str) -> str:
        """Return the source with the defect in it. Raises ValueError if its place is not there."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: what it replaces in {self.file} is not there once")
        return text.replace(self.old, self.new)
