"""Outcome: what a run found, and which of its bounds were broken."""

from tests.soak.memory import MIB, Watch


class Outcome:
    """Figures with names, in the order in which they are to be read."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.broken: list[str] = []

    def tell(self, **facts: object) -> None:
        """Note figures; numbers get commas, names spaces."""
        for name, value in facts.items():
            text = f"{value:,}" if isinstance(value, int) else str(value)
            self.facts[name.replace("_", " ")] = text

    def expect(self, what: str, found: int, most: int) -> None:
        """Check a figure that has a bound."""
        if found > most:
            self.broken.append(f"{what}: {found:,}, more than {most:,}")

    def expect_memory(self, what: str, watch: Watch, most: int) -> None:
        """Note the growth of a process, which has a bound in bytes."""
        self.facts[what] = f"{watch} MiB (at most {most / MIB:g})"
        if not watch.is_warm:
            self.broken.append(f"{what}: it ended before it was warm")
        elif watch.grown > most:
            self.broken.append(f"{what}: grown by {watch.grown / MIB:.2f} MiB")

    def print(self) -> None:
        """Print the figures, and what is broken."""
        width = max(map(len, self.facts))
        for name, value in self.facts.items():
            print(f"{name:{width}}  {value}")
        for broken in self.broken:
            print(f"BROKEN: {broken}")
