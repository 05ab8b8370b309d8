"""The command: `python -m tests.soak [RUN] [--hours H | --count N]`."""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from deltaring.kernel import NAME
from deltaring.pool import HISTORY
from tests.soak.bad import tasted
from tests.soak.life import DELTAS_PER_HOUR, Life
from tests.soak.memory import MIB, HeapWatch, Watch
from tests.soak.outcome import Outcome
from tests.soak.replies import WAYS

GROWTH = 4 * MIB
"""Of a life, once it is warm."""

BAD_GROWTH = 1 * MIB

_BAD_WARM = 100_000
"""Bad frames until all that is remembered of them is full: 1,000 problems, 1,024 items, ids."""

_WARM = 1.0
"""Hours of a life until it is warm, or a twenty-fourth of it, if that is longer: a session lasts an
hour at most. What is remembered of a life (1,024 turns, 2^20 characters) is full after some six
hours, so of a day that counts as growth."""


def life(hours: float, thread: bool = False) -> Outcome:
    """Live for hours of audio."""
    outcome, watch, start = Outcome(), Watch(), time.perf_counter()
    agent = Life(thread=thread)
    agent.warm_up()
    for tenth in range(1, round(hours * 10) + 1):
        agent.run(round(tenth * DELTAS_PER_HOUR / 10))
        watch.look()
        if tenth == round(10 * min(max(_WARM, hours / 24), hours / 2)):
            watch.warm_up()
    outcome.broken += agent.close()
    seconds = time.perf_counter() - start
    book = agent.book
    outcome.tell(
        hours_of_audio=f"{book.deltas / DELTAS_PER_HOUR:,.1f}",
        deltas=book.deltas,
        frames=agent.frames,
        turns=f"{agent.turns:,}, {agent.replies:,} replies, {agent.interruptions:,} interruptions",
        connections=agent.connections,
        callbacks=f"{agent.speaker.callbacks:,}, {agent.played['underruns']:,} underruns",
        samples_sent=book.sent,
        samples_heard=f"{book.heard:,}",
        samples_cut=f"{book.cut:,}, {book.late:,} late, {book.dropped:,} refused",
        samples_lost=book.sent - book.heard - book.cut - book.late - book.dropped,
        callbacks_that_were_wrong=book.wrong,
        forgotten=agent.session.forgotten,
        time=f"{seconds:.1f} s, {hours * 3_600 / seconds:,.0f} times faster than real time",
    )
    _tell_rings(outcome, agent)
    outcome.expect_memory("memory", watch, GROWTH)
    return outcome


def _tell_rings(outcome: Outcome, agent: Life) -> None:
    tracks = agent.decoder.tracks.values()
    rings = [track.ring.capacity * track.ring.dtype.itemsize for track in tracks]
    held = [size for size in rings if size]
    outcome.expect("tracks", len(rings), HISTORY + 16)
    outcome.tell(tracks=f"{len(rings)}, {len(held)} with a ring, of {sum(held) / MIB:.1f} MiB")


def thread(hours: float) -> Outcome:
    """The same, with the audio callbacks in a thread of their own."""
    return life(hours, thread=True)


def bad(count: float) -> Outcome:
    """Decode bad frames."""
    outcome, watch, heap, start = Outcome(), Watch(), HeapWatch(), time.perf_counter()

    def look(left: int) -> None:
        for each in (watch, heap):
            each.look()
            if not each.is_warm and count - left >= min(_BAD_WARM, count / 2):
                each.warm_up()

    taster, recording = tasted(round(count), 2_000, look)
    heap.close()
    stats = taster.session.decoder.stats
    outcome.tell(
        frames=stats.frames,
        invalid=stats.invalid,
        unknown=stats.unknown,
        lenient=stats.lenient,
        audio=stats.audio,
        problems_of_the_recording=f"{recording.problem_count:,}, {len(recording.problems):,} kept",
        forgotten=taster.session.forgotten,
        time=f"{time.perf_counter() - start:.1f} s",
    )
    if taster.raised != stats.invalid:
        outcome.broken.append(f"{taster.raised:,} raised, {stats.invalid:,} kept")
    outcome.expect_memory("allocated", heap, BAD_GROWTH)
    outcome.expect_memory("memory", watch, GROWTH)
    return outcome


def replies(count: float) -> Outcome:
    """Take replies in one session, in each way there is to treat them."""
    outcome, start = Outcome(), time.perf_counter()
    for name, (make, treat) in WAYS.items():
        state, watch = make(), Watch()
        for number in range(1, round(count) + 1):
            treat(state)
            if number == count // 2:
                watch.warm_up()
            elif number % 100 == 0:
                watch.look()
        state.tell(outcome, name)
        outcome.expect_memory(f"{name}: memory", watch, GROWTH)
    outcome.tell(time=f"{time.perf_counter() - start:.1f} s")
    return outcome


def sockets(hours: float) -> Outcome:
    """Serve, pass on, record and take hours of audio, flat out."""
    from tests.soak.sockets import listen, passage, recorded

    outcome, start, deltas = Outcome(), time.perf_counter(), round(hours * DELTAS_PER_HOUR)
    with TemporaryDirectory() as folder:
        made = Path(folder, "made.jsonl")
        with passage(Path(folder, "served.jsonl"), made) as (url, processes):
            watches = {name: Watch(process) for name, process in processes.items()}

            def look(came: int) -> None:
                for watch in watches.values():
                    watch.look()
                    if not watch.is_warm and came >= deltas // 10:
                        watch.warm_up()

            listener = asyncio.run(listen(url, deltas, look))
        kept, problems = recorded(made)
        size = made.stat().st_size / MIB
    stats = listener.session.decoder.stats
    outcome.tell(
        hours_of_audio=f"{stats.audio / DELTAS_PER_HOUR:,.2f}",
        frames=stats.frames,
        rounds_that_were_heard=f"{listener.rounds:,}, {listener.wrong} wrong",
        audio_deltas=f"{stats.audio:,} received, {kept:,} recorded ({size:,.0f} MiB)",
        time=f"{time.perf_counter() - start:.1f} s",
    )
    outcome.expect("rounds that sound wrong", listener.wrong, 0)
    outcome.expect("problems of the recording", problems, 0)
    outcome.expect("audio deltas that were not recorded", max(0, stats.audio - kept), 0)
    for name, watch in watches.items():
        outcome.expect_memory(f"{name}: memory", watch, GROWTH)
    return outcome


def visits(count: float) -> Outcome:
    """Open connections and drop them."""
    from tests.soak.sockets import visit

    outcome, watch, start = Outcome(), Watch(), time.perf_counter()
    logging.disable(logging.ERROR)  # lost connections are what is wanted
    with TemporaryDirectory() as folder:
        warm, end, made, proxy = asyncio.run(visit(Path(folder), round(count), watch))
    outcome.tell(
        connections=f"{proxy.connections:,}, {proxy.refused} refused, {proxy.failures} failed",
        events=made.events,
        held_when_warm=warm,
        held_at_the_end=end,
        time=f"{time.perf_counter() - start:.1f} s",
    )
    outcome.expect("open files", end.files, warm.files)
    outcome.expect("tasks", end.tasks, warm.tasks)
    outcome.expect("recordings that failed", proxy.failures, 0)
    outcome.expect_memory("memory", watch, GROWTH)
    return outcome


RUNS: dict[str, tuple[Callable[[float], Outcome], float]] = {
    "life": (life, 24),
    "thread": (thread, 24),
    "bad": (bad, 1_000_000),
    "replies": (replies, 10_000),
    "sockets": (sockets, 1),
    "visits": (visits, 1_000),
}
"""By name: the run, and how much of it there is unless told otherwise."""


def main() -> int:
    """Run one, and print what it found."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("run", nargs="?", choices=list(RUNS), default="life")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--hours", type=float, dest="amount", help="of audio: life, thread, sockets"
    )
    amount.add_argument(
        "--count",
        type=float,
        dest="amount",
        help="of frames, replies or connections: bad, replies, visits",
    )
    options = parser.parse_args()
    run, usual = RUNS[options.run]
    outcome = run(usual if options.amount is None else options.amount)
    print(f"soak: {options.run}, {NAME} kernel")
    outcome.print()
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
