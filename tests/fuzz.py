"""The fuzzer: runs targets (tests/targets.py) under atheris, led by the coverage of deltaring.

Rule: an input that breaks a promise is kept as tests/crashes/<target>-<kind>-<hash>, and
tests/test_fuzz.py runs all that is there from then on.

    python -m tests.fuzz decode recording --seconds 60

Without names all targets run, one after the other, for so long each. Each runs in a process of its
own, since libFuzzer ends the one that it runs in.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CRASHES = Path(__file__).parent / "crashes"
_HANG = 300
"""Seconds for one input, of which the slowest takes a tenth of one: machines stall."""
_STATUS = re.compile(r"#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/")


def main(arguments: list[str] | None = None) -> int:
    """Run targets and print a line for each; 1 if one of them broke a promise."""
    options = _parser().parse_args(arguments)
    if options.child:
        _fuzz(options)
    from tests.targets import TARGETS

    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        _parser().error(f"there is no target {', '.join(sorted(unknown))}: {' '.join(TARGETS)}")
    return max(_run(name, options) for name in options.targets or TARGETS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--runs", type=int, default=-1, help="end after so many, if that is sooner")
    parser.add_argument("--seed", type=int, default=0, help="0 is another one each time")
    parser.add_argument("--corpus", type=Path, help="a folder where inputs are kept between runs")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


def _run(name: str, options: argparse.Namespace) -> int:
    """Fuzz one target in another process, and print what it says of itself at its end."""
    with tempfile.TemporaryDirectory() as place:
        corpus = (options.corpus or Path(place)) / name
        command = [sys.executable, "-m", "tests.fuzz", name, "--child", f"--corpus={corpus}"]
        command += [f"--{key}={getattr(options, key)}" for key in ("seconds", "runs", "seed")]
        child = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)  # fmt: skip
    said = _STATUS.findall(child.stderr)
    if child.returncode or not said:
        print(child.stderr[-8_000:], file=sys.stderr)
    runs, edges, features, inputs = said[-1] if said else "0000"
    print(
        f"{name:10} {runs:>9} runs  {edges:>5} edges  {features:>6} features  "
        f"{inputs:>5} inputs  {'a promise is broken' if child.returncode else 'ok'}",
        flush=True,
    )
    return 1 if child.returncode else 0


def _fuzz(options: argparse.Namespace) -> None:
    """Fuzz in this process, which does not come back."""
    import atheris  # type: ignore[import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["deltaring"]):
        from tests.targets import TARGETS
    from tests.mutator import MAX_SIZE

    (name,) = options.targets
    target, seeds = TARGETS[name]
    options.corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds()):
        (options.corpus / f"seed-{number:04}").write_bytes(data)
    flags: dict[str, Any] = {
        "max_total_time": options.seconds,
        "runs": options.runs,
        "seed": options.seed,
        "max_len": MAX_SIZE,
        "timeout": _HANG,
        "report_slow_units": _HANG,
        "rss_limit_mb": 2_048,
        "artifact_prefix": f"{CRASHES}/{name}-",
    }
    arguments = [sys.argv[0], *(f"-{key}={value}" for key, value in flags.items())]
    atheris.Setup([*arguments, str(options.corpus)], target, custom_mutator=_mutator(atheris))
    atheris.Fuzz()


def _mutator(atheris: Any) -> Any:
    from tests.mutator import mutate

    def mutant(data: bytes, max_size: int, seed: int) -> bytes:
        """Three times in four by what is known of frames, else as libFuzzer would."""
        if seed % 4:
            return mutate(bytes(data), seed, max_size)
        return bytes(atheris.Mutate(data, max_size))

    return mutant


if __name__ == "__main__":
    sys.exit(main())
