"""The contract of the kernel, for both of its forms: what they take, and that they prove it."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from deltaring import kernel
from deltaring.kernel import FORMS
from deltaring.pool import TrackPool
from tests.kernels import needs_native
from tests.test_ring import spy_on
from tests.wire import (
    BETA,
    COMPACT,
    GA,
    KNOWN_LAYOUTS,
    OPENAI,
    OTHER_LAYOUTS,
    SPACED,
    VOICE_LIVE,
    XAI,
    audio_frame,
    hostile,
    pcm,
)


@pytest.fixture
def pool() -> TrackPool:
    return TrackPool(240.0, None, None, False, 16)


@pytest.fixture(params=FORMS)
def feed(request: pytest.FixtureRequest, pool: TrackPool) -> Any:
    return FORMS[request.param](pool)


@pytest.mark.parametrize("type", [GA, BETA])
@pytest.mark.parametrize("layout", KNOWN_LAYOUTS)
@pytest.mark.parametrize("separators", [COMPACT, SPACED])
@pytest.mark.parametrize("size", [300, 1_536, 12_000, 12_001])
def test_known_forms_are_taken(
    feed: Any, type: str, layout: str, separators: tuple[str, str], size: int
) -> None:
    for number in range(3):
        data = pcm(size, number)
        event = feed.feed(
            audio_frame(
                data, type=type, layout=layout, separators=separators, event_id=f"ev_{number}"
            )
        )
        assert event is not None
        assert (event.type, event.event_id) == (type, f"ev_{number}")
        assert (event.response_id, event.item_id) == (
            "resp_E4ySzvKWmfZzGYRJLuvPM",
            "item_E4ySzyEXmG1cqrBzxotNa",
        )
    assert feed.taken == 3


@needs_native
@pytest.mark.parametrize("layout", [*KNOWN_LAYOUTS, *OTHER_LAYOUTS])
@pytest.mark.parametrize("separators", [COMPACT, SPACED])
def test_the_compiled_form_takes_keys_in_any_order(
    pool: TrackPool, layout: str, separators: tuple[str, str]
) -> None:
    feed = FORMS["native"](pool)
    for number in range(3):
        raw = audio_frame(pcm(300), layout=layout, separators=separators, event_id=f"e_{number}")
        event = feed.feed(raw)
        assert event is not None
        assert event.event_id == (f"e_{number}" if "event_id" in layout else "")
        assert event.track.ring.read(150).tobytes() == pcm(300)


@pytest.mark.parametrize(
    "event_id",
    [
        "event_1",
        "5299a728-79ca-4b75-9359-8f19c4470b4e",
        "-",
        "",
        "a b",
        "_",
        "event_a_b",
        "event_" + "x" * 99,
    ],
)
def test_any_ascii_id_is_taken_once_and_again(feed: Any, event_id: str) -> None:
    for layout in (OPENAI, OPENAI, VOICE_LIVE, OPENAI):
        event = feed.feed(audio_frame(pcm(300), layout=layout, event_id=event_id))
        assert event is not None or (layout == VOICE_LIVE and len(event_id) > 90)
        assert event is None or event.event_id == event_id


def test_what_is_refused_changes_nothing(feed: Any, pool: TrackPool) -> None:
    good = audio_frame(pcm(300))
    assert feed.feed(good) is not None
    (track,) = pool.tracks.values()
    before = (track.ring.written, feed.taken, pool.totals())
    for name, frame in hostile().items():
        if isinstance(frame, bytes) and name.startswith(("base64", "truncations", "escapes")):
            event = feed.feed(frame)
            if event is None:
                assert (track.ring.written, feed.taken, pool.totals()) == before, name
            before = (track.ring.written, feed.taken, pool.totals())


def test_bad_base64_opens_no_track(feed: Any, pool: TrackPool) -> None:
    for item in ("item_1", "item_2"):
        assert feed.feed(audio_frame("AAA*" * 100, item_id=item)) is None
        assert not pool.tracks
    assert feed.feed(audio_frame(pcm(300))) is not None
    assert feed.feed(audio_frame("AAA*" * 100, item_id="item_3")) is None
    assert len(pool.tracks) == 1


@pytest.mark.parametrize("key", ["type", "delta"])
def test_without_its_type_or_delta_nothing_is_taken(feed: Any, key: str) -> None:
    keys = " ".join(name for name in OPENAI.split() if name != key)
    for item in ("item_1", "i" * 600):
        assert feed.feed(audio_frame(pcm(300), layout=keys, item_id=item)) is None


def test_a_closing_quote_is_not_the_opening_one(feed: Any) -> None:
    # With a long header, a frame without a payload is long enough for the fast path.
    for layout in (OPENAI, XAI):
        good = audio_frame(b"", layout=layout, item_id="i" * 600)
        assert feed.feed(good) is not None
        assert feed.feed(good.replace(b'"delta":""', b'"delta":"')) is None


def test_a_proven_header_is_remembered_until_something_changes(feed: Any, pool: TrackPool) -> None:
    feed.feed(audio_frame(pcm(300)))
    assert pool.route is not None
    pool.response_done("resp_E4ySzvKWmfZzGYRJLuvPM")
    assert pool.route is None


def test_a_ring_that_was_emptied_begins_anew_in_its_memory(feed: Any) -> None:
    for number in range(3):
        event = feed.feed(audio_frame(pcm(300, number)))
        assert event is not None
        assert event.track.ring._buffer[:300] == pcm(300, number)
        event.track.ring.clear()


def test_data_is_stored_before_it_is_published(pool: TrackPool) -> None:
    feed = FORMS["pure"](pool)  # the compiled one runs no Python between the two
    event = feed.feed(audio_frame(pcm(300)))
    assert event is not None
    ring = event.track.ring
    seen = spy_on(ring)
    feed.feed(audio_frame(pcm(300)))
    assert (seen, ring.written) == ([150], 300)


def test_interleaved_items_go_to_their_own_tracks(feed: Any) -> None:
    for number in range(6):
        event = feed.feed(audio_frame(pcm(300), item_id=f"item_{number % 2}"))
        assert event is not None
        assert event.item_id == f"item_{number % 2}"
        assert event.start == number // 2 * 150


def test_an_index_is_part_of_the_proof(feed: Any) -> None:
    for index in (0, 1, 0, 999_999_999):
        event = feed.feed(audio_frame(pcm(300), content_index=index, output_index=7))
        assert event is not None
        assert (event.content_index, event.output_index) == (index, 7)
    for text in (b"-1", b"01", b"1.0", b'"1"', b"1000000000"):
        frame = audio_frame(pcm(300)).replace(b'"content_index":0', b'"content_index":' + text)
        assert feed.feed(frame) is None


def test_a_long_number_costs_no_time(feed: Any) -> None:
    frame = audio_frame(pcm(300), layout=XAI).replace(b"642", b"9" * 3_000_000 + b"x")
    started = time.process_time()
    assert feed.feed(frame) is None
    assert time.process_time() - started < 0.5


def imported(*code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Import deltaring after those statements, in a process of its own; print the kernel's name."""
    lines = [*code, "import deltaring, deltaring.kernel", "print(deltaring.kernel.NAME)"]
    command = [sys.executable, "-c", "\n".join(lines)]
    env = {**os.environ, **env}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


ABSENT = "import sys; sys.modules['deltaring._kernel'] = None"


def test_the_environment_chooses_the_kernel() -> None:
    assert imported(DELTARING_KERNEL="pure").stdout == "pure\n"
    for name in FORMS:
        assert imported(DELTARING_KERNEL=name).stdout == f"{name}\n"


def test_without_the_compiled_form_the_pure_one_runs_unless_it_was_asked_for() -> None:
    assert imported(ABSENT, DELTARING_KERNEL="").stdout == "pure\n"
    refused = imported(ABSENT, DELTARING_KERNEL="native")
    assert refused.returncode == 1
    assert "_kernel" in refused.stderr


def test_another_name_of_a_kernel_is_refused() -> None:
    refused = imported(DELTARING_KERNEL="fast")
    assert "ImportError: DELTARING_KERNEL is 'fast', not 'pure' or 'native'" in refused.stderr


def test_the_kernel_has_a_name() -> None:
    assert kernel.NAME in FORMS
    assert (kernel.simd() is None) == (kernel.NAME == "pure")


@pytest.mark.parametrize(
    ("wanted", "outcome"), [("native", "ImportError"), ("", "pure"), ("fast", "ImportError")]
)
def test_a_kernel_that_was_asked_for_and_is_not_there_is_an_error(
    wanted: str, outcome: str
) -> None:
    code = (
        "import sys; sys.modules['deltaring._kernel'] = None\n"
        "try:\n    from deltaring.kernel import NAME\n    print(NAME)\n"
        "except ImportError:\n    print('ImportError')"
    )
    environment = {**os.environ, "DELTARING_KERNEL": wanted}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert told.stdout.decode().strip() == outcome
