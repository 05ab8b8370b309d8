"""Replies: thousands in one session, whatever becomes of their audio.

Rule: what a decoder and a session remember is bounded by constants, not by what came; a server that
ends nothing, or a player that reads nothing, changes what is dropped and not what is held.
"""

from collections.abc import Callable

import numpy as np

from deltaring import Decoder, Playback, Session
from deltaring.pool import HISTORY, STARVED
from deltaring.session import MAX_ITEMS, MAX_RESPONSES, MAX_TURNS
from tests.soak.book import Part, Reply
from tests.soak.outcome import Outcome
from tests.soak.server import Server

MAX_TRACKS = 16
"""The decoder's own default."""

_SECONDS = 30.0
_DELTAS = 4
_SAMPLES = 6_000  # of a delta


class Replies:
    """One session, and one way to treat its replies."""

    def __init__(self, ids: bool = True, ends: bool = True) -> None:
        """ids: the server tells them. ends: it tells that a reply is over."""
        self.decoder = Decoder(seconds=_SECONDS, max_tracks=MAX_TRACKS, on_invalid="keep")
        self.session = Session(self.decoder)
        self.playback: Playback | None = None
        self.count = self.read = 0
        self._ids, self._ends = ids, ends
        self._server = Server(1)

    def receive(self) -> Part:
        """Take one more reply of a second."""
        self.count += 1
        server = self._server
        reply = Reply(server.new_id("resp") if self._ids else "")
        part = server.new_part(reply)
        part.item_id = part.item_id if self._ids else ""
        item = {"id": part.item_id, "type": "message", "role": "assistant"}
        self._give(server.response("created", reply, status="in_progress"))
        self._give(server.output_item("added", reply, part.item_id))
        for word in server.words(_DELTAS):
            self._give(server.audio(part)[0])
            self._give(server.of_part("audio_transcript.delta", part, delta=word))
        if self._ends:
            usage = {"total_tokens": 1}
            self._give(server.of_part("audio.done", part))
            self._give(
                server.response("done", reply, status="completed", output=[item], usage=usage)
            )
        return part

    def _give(self, frame: bytes) -> None:
        self.session.receive(frame, float(self.count))

    def take(self, count: int) -> None:
        """Read so many samples of the newest track, and leave the rest."""
        *_, track = self.decoder.tracks.values()
        self.read += len(track.ring.read(count))

    def tell(self, outcome: Outcome, name: str) -> None:
        """Check that each sample was read, dropped, or is still there, and all bounds."""
        stats, session = self.decoder.stats, self.session
        sent = self.count * _DELTAS * _SAMPLES
        unread = sum(track.ring.readable for track in self.decoder._pool._holders.values())
        lost = sent - self.read - unread - stats.dropped_samples
        outcome.facts[name] = (
            f"{len(self.decoder.tracks):,} tracks, {len(session.items):,} items; samples: {sent:,} sent, "
            f"{self.read:,} read, {stats.dropped_samples:,} refused, {unread:,} unread"
        )
        most_tracks = HISTORY + MAX_TRACKS + (0 if self._ends else STARVED)
        outcome.expect(f"{name}: samples lost", abs(lost), 0)
        outcome.expect(f"{name}: tracks", len(self.decoder.tracks), most_tracks)
        outcome.expect(f"{name}: items", len(session.items), MAX_ITEMS)
        outcome.expect(f"{name}: responses", len(session.responses), MAX_RESPONSES)
        outcome.expect(f"{name}: turns", len(session.latencies.turns), MAX_TURNS)


def _read(replies: Replies) -> None:
    replies.receive()
    replies.take(_DELTAS * _SAMPLES)


def _read_partly(replies: Replies) -> None:
    replies.receive()
    replies.take(_SAMPLES)


def _leave(replies: Replies) -> None:
    replies.receive()


def _cut(replies: Replies) -> None:
    """All but the first 20 ms is cut, and counts as read: it is gone as it should be."""
    if replies.playback is None:
        replies.playback = Playback(replies.decoder, 24_000)
    out = np.empty(480, np.int16)
    replies.receive()
    heard = replies.playback.read_into(out)
    before = replies.playback.cut_samples
    replies.playback.interrupt()
    replies.read += heard + replies.playback.cut_samples - before


WAYS: dict[str, tuple[Callable[[], Replies], Callable[[Replies], None]]] = {
    "read": (Replies, _read),
    "read partly": (Replies, _read_partly),
    "unread": (Replies, _leave),
    "cut": (Replies, _cut),
    "without ids": (lambda: Replies(ids=False), _read),
    "without ids, unread": (lambda: Replies(ids=False), _leave),
    "never ended": (lambda: Replies(ends=False), _read),
    "never ended, unread": (lambda: Replies(ends=False), _leave),
    "without ids or ends": (lambda: Replies(ids=False, ends=False), _read),
}
"""By name: what makes the session, and what is done with each reply."""
