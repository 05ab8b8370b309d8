"""The fuzz targets without the fuzzer: over what they start from, all that was ever found, and a
share of mutants. `python -m tests.fuzz` has the fuzzer."""

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("ijson", reason="targets read HAR files, too: the har extra")

from benchmarks.linear import INPUTS, Way, ways
from deltaring.errors import FrameError
from tests import targets
from tests.fuzz import CRASHES
from tests.mutator import MAX_SIZE, VALUES, audio_frames, mutate
from tests.targets import TARGETS

ROOT = CRASHES.parent.parent
LONG = os.environ.get("DELTARING_LONG") == "1"
HANG_SIZE = (4 << 20) if LONG else (64 << 10)
MUTANTS = 10_000 if LONG else 150  # of each target
FOUND = sorted(path for path in CRASHES.iterdir() if "-" in path.name)

each_target = pytest.mark.parametrize("name", TARGETS)


@each_target
def test_promises_hold_for_what_the_fuzzer_starts_from(name: str) -> None:
    target, seeds = TARGETS[name]
    for data in (b"", *seeds()):
        target(data)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_the_fuzzer_found_is_mended(path: Path) -> None:
    target, _ = TARGETS[path.name.partition("-")[0]]
    target(path.read_bytes())


@each_target
def test_promises_hold_for_mutants(name: str) -> None:
    target, seeds = TARGETS[name]
    chance = random.Random(name)
    pool = seeds()
    for _ in range(MUTANTS):
        data = chance.choice(pool)
        for _ in range(chance.choice((1, 1, 2, 4))):
            data = mutate(data, chance.getrandbits(32))
        try:
            target(data)
        except BaseException:
            (CRASHES / f"{name}-mutant").write_bytes(data)
            raise


@each_target
@given(data=st.binary(max_size=200))
@example(data=b"\0" + "\ud83d".encode(errors="surrogatepass"))
def test_promises_hold_for_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name][0](data)


_JSON = st.recursive(
    st.sampled_from(VALUES) | st.text().map(json.dumps),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
    max_leaves=5,
)


@given(
    st.sampled_from(audio_frames()),
    st.sampled_from(("type", "event_id", "response_id", "item_id", "output_index", "content_index", "delta", "x")),
    _JSON,
    st.booleans(),
)  # fmt: skip
def test_a_second_value_anywhere_comes_out_the_same_by_all_ways(
    frame: bytes, key: str, value: str, first: bool
) -> None:
    field = f'"{key}":{value}'.encode(errors="surrogatepass")
    raw = b"{" + field + b"," + frame[1:] if first else frame[:-1] + b"," + field + b"}"
    targets.decode(raw)
    targets.decoder(b"\0" + raw.replace(b"\n", b" ") + b"\n" + frame)


# --- size ---------------------------------------------------------------------------------------


def calls(way: Way, data: bytes) -> int:
    """How many calls, of Python and of C, the way makes for the data."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        with suppress(FrameError):
            way(data)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", INPUTS)
def test_work_grows_no_faster_than_size(name: str) -> None:
    """Counted in calls; 600 is more than the depth check makes before it is sure to need numpy."""
    small, large = INPUTS[name](4_000), INPUTS[name](16_000)
    for label, way in ways():
        way_once = calls(way, small)
        assert calls(way, large) <= 4 * way_once + 600, label


def test_no_way_in_hangs() -> None:
    code = f"import benchmarks.linear as l; l.ROUNDS = 1; l.SIZES = [{HANG_SIZE} // 2, {HANG_SIZE}]; l.main()"
    limit = 600  # seconds, of which it takes two; what is quadratic in C would take them all
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=limit, check=False)  # fmt: skip
    assert result.stdout.rstrip().endswith(b"marked"), result.stderr


# --- the mutator --------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_mutant() -> None:
    data = b"\n".join(audio_frames()[:4])
    assert [mutate(data, seed) for seed in range(50)] == [mutate(data, seed) for seed in range(50)]


def test_mutants_are_never_longer_than_asked_for() -> None:
    assert all(len(mutate(audio_frames()[1], seed, 500)) <= 500 for seed in range(500))
    assert len(mutate(b"x" * 2 * MAX_SIZE, 1)) <= MAX_SIZE


def test_half_of_the_mutants_of_a_frame_are_documents() -> None:
    valid = sum(targets._document(mutate(audio_frames()[1], seed)) is not None for seed in range(400))  # fmt: skip
    assert 160 < valid < 360


# --- the fuzzer ---------------------------------------------------------------------------------


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_fuzzer_is_led_by_coverage() -> None:
    pytest.importorskip("atheris", reason="the fuzz extra; atheris has wheels for few Pythons")
    result = fuzz("decode", "--runs", "2000", "--seed", "1")
    assert result.returncode == 0, result.stderr
    name, runs, _, edges, *_ = result.stdout.split()
    assert (name, int(runs) >= 2000, int(edges) > 50) == ("decode", True, True)


def test_a_target_that_is_not_there_is_wrong_usage() -> None:
    assert fuzz("decoed").returncode == 2
