"""Life: a voice agent that goes on for as long as one likes, with one decoder and one session.

Rule: every turn is drawn from one seeded generator, so a life can be lived again; and the checks
cost less than what they check, so that a thousand hours take minutes.

It is what agents meet: turns of speech, replies of one to forty deltas of 250 ms and now and then of
a minute, one that no ring can hold, several items in a response, one after the other or interleaved;
samples that are cut in two, networks that stall, function calls, interruptions while a reply streams
and while the rest of it is played, deltas that come too late; errors, unknown events, frames that
are no JSON; and now and then a new connection, which may speak the other dialect, G.711, or begin in
the middle of a reply.
"""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from deltaring import AudioDelta, Decoder, Playback, Session
from tests.soak.book import Book, Part, Reply
from tests.soak.server import Server
from tests.soak.speaker import BLOCKS, Speaker, SpeakerThread

SECONDS = 60.0
"""Of each ring: the longest reply."""

DELTAS_PER_HOUR = 4 * 3_600

_TURNS = 50  # of a connection, on the mean
_LONGEST = int(4 * SECONDS)  # deltas
_AT_ONCE = 4  # tracks that hold memory at a time: three of a reply, and a late one
_TOKENS = {"total_tokens": 7, "input_tokens": 4, "output_tokens": 3}


class Life:
    """An agent, its server, and the book of what was sent and heard."""

    def __init__(self, *, thread: bool = False, seed: int = 1) -> None:
        """thread: the speaker calls back in a thread of its own; then no reply overruns its ring."""
        self.server = Server(seed)
        self.book = Book(SECONDS)
        self.decoder = Decoder(seconds=SECONDS, on_invalid="keep")
        self.session = Session(self.decoder)
        self.speaker = SpeakerThread(self.book) if thread else Speaker(self.book)
        self._overruns = not thread
        self.now = 0.0
        """Virtual seconds since the beginning."""
        self.frames = self.turns = self.replies = self.interruptions = self.connections = 0
        self.broken: list[str] = []
        """What was not as it must be: the first ten of it."""
        self._previous: str | None = None
        self._billed = 0
        self._kept = {"cut": 0, "late": 0, "underruns": 0}  # of playbacks that are over
        self._connect()

    def warm_up(self) -> None:
        """Touch all memory that the rings of this life will ever have: replies that fill it."""
        reply = self._begin()
        parts = [self.server.new_part(reply) for _ in range(_AT_ONCE)]
        self._stream(parts * _LONGEST, len(parts) * _LONGEST, 1_000_000)
        self._end(reply, "completed")
        self._drain()

    def run(self, deltas: int) -> None:
        """Live on until so many deltas have come since the beginning."""
        while self.book.deltas < deltas:
            self.turn()

    def _chance(self, share: float) -> bool:
        return self.server.random.random() < share

    def _expect(self, fact: bool, what: str) -> None:
        if not fact and len(self.broken) < 10:
            self.broken.append(f"turn {self.turns}: {what}")

    # --- the connection -----------------------------------------------------------------------

    def _connect(self) -> None:
        """Begin a session; its audio has its own rate, and the device follows."""
        for frame in self.server.connect():
            self._receive(frame)
        self.connections += 1
        self._previous = None
        if self.connections > 1:
            self._drain()
        if self.connections == 1 or self.speaker.playback.sample_rate != self.server.tape.rate:
            self._change_device()

    def _change_device(self) -> None:
        if self.connections > 1:
            for name, count in self._counters(self.speaker.playback).items():
                self._kept[name] += count
        playback = Playback(self.decoder, self.server.tape.rate, prebuffer_ms=60)
        self.speaker.change(playback, self.server.random.choice(BLOCKS))

    @staticmethod
    def _counters(playback: Playback) -> dict[str, int]:
        return {
            "cut": playback.cut_samples,
            "late": playback.late_samples,
            "underruns": playback.underruns,
        }

    @property
    def played(self) -> dict[str, int]:
        """The counters of all playbacks, together."""
        now = self._counters(self.speaker.playback)
        return {name: count + now[name] for name, count in self._kept.items()}

    def _receive(self, frame: bytes) -> Any:
        self.frames += 1
        return self.session.receive(frame, self.now)

    def _tell(self, type: str, **fields: Any) -> None:
        self._receive(self.server.event(type, **fields))

    def _play(self, seconds: float) -> None:
        self.now += seconds
        self.speaker.play(seconds)

    def _drain(self) -> None:
        """Play all that is there, and a little silence."""
        for _ in range(int(SECONDS) * 6):
            if not self.book.unread:
                break
            self._play(1.0)
            self.speaker.settle()
        self._expect(not self.book.unread, f"{self.book.unread} samples are never heard")
        self._play(0.25)
        self.speaker.settle()

    # --- a turn -------------------------------------------------------------------------------

    def turn(self) -> None:
        """The user speaks, and the agent answers."""
        self.turns += 1
        if self._chance(1 / _TURNS):
            self._connect()
        self._speak()
        if self._chance(1 / 8):
            self._call()
        if self._chance(1 / 10):
            self._oddity()
        self._answer()

    def _speak(self) -> None:
        server, item_id, previous = self.server, self.server.new_id("item"), self._previous
        speech, content = {"item_id": item_id}, [{"type": "input_audio"}]
        self._tell("input_audio_buffer.speech_started", audio_start_ms=1, **speech)
        self._play(server.random.choice([0.0, 0.5, 2.0]))
        self._tell("input_audio_buffer.speech_stopped", audio_end_ms=2, **speech)
        self._tell("input_audio_buffer.committed", previous_item_id=previous, **speech)
        self._receive(server.item(item_id, previous, role="user", content=content))
        transcription, part = "conversation.item.input_audio_transcription", {"content_index": 0}
        words = server.words(5)
        for word in words:
            self._tell(f"{transcription}.delta", delta=word, **speech, **part)
        self._tell(f"{transcription}.completed", transcript="".join(words), **speech, **part)
        self._previous = item_id

    def _call(self) -> None:
        """A response that only calls a function, and the function's answer."""
        server, reply, item_id = self.server, self._begin(), self.server.new_id("item")
        call = {"type": "function_call", "name": "weather", "call_id": server.new_id("call")}
        self._receive(server.output_item("added", reply, item_id, status="in_progress", **call))
        arguments = "response.function_call_arguments."
        about = {"response_id": reply.id, "item_id": item_id, "call_id": call["call_id"]}
        for piece in ('{"city"', ":", '"Köln"}'):
            self._tell(arguments + "delta", output_index=0, delta=piece, **about)
        self._tell(arguments + "done", output_index=0, arguments='{"city":"Köln"}', **about)
        done = {**call, "arguments": '{"city":"Köln"}', "id": item_id}
        self._receive(server.output_item("done", reply, item_id, status="completed", **call))
        self._end(reply, "completed", output=[done])
        answer = server.new_id("item")
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
        self._receive(server.item(answer, item_id, **output))
        self._previous = answer

    def _oddity(self) -> None:
        """What happens to any agent: an error, an event that nobody knows, a broken frame."""
        server = self.server
        error = {"type": "invalid_request_error", "code": "x", "message": "Cancellation failed"}
        frames: list[Callable[[], bytes]] = [
            lambda: server.event("error", error=error),
            lambda: server.event(f"response.new_thing.{server.event_id}", thing={"a": [1, 2]}),
            lambda: server.event("response.done", response=None),
            lambda: server.event("error", error=error)[:-9],
            lambda: server.event("response.audio.delta", response_id="r", item_id="i", delta="no!"),
        ]
        self._receive(server.random.choice(frames)())

    # --- an answer ----------------------------------------------------------------------------

    def _begin(self) -> Reply:
        self.replies += 1
        reply = Reply(self.server.new_id("resp"))
        self._receive(self.server.response("created", reply, status="in_progress", output=[]))
        return reply

    def _end(self, reply: Reply, status: str, **fields: Any) -> None:
        self._billed += _TOKENS["total_tokens"]
        self._receive(self.server.response("done", reply, status=status, usage=_TOKENS, **fields))
        limits = [{"name": "tokens", "limit": 9_000, "remaining": 8_000, "reset_seconds": 0.5}]
        self._tell("rate_limits.updated", rate_limits=limits)

    def _answer(self) -> None:
        """One reply; it may be cut while it streams, while it plays, or by a lost connection."""
        self.speaker.settle()  # time that went by before does not count against what comes
        chance = self.server.random
        reply = self._begin()
        order = self._planned(reply)
        overruns = self._overruns and self.turns % 211 == 42
        end = chance.choices(["", "streaming", "playing", "lost"], [75, 14, 10, 1])[0]
        if overruns:  # all of it comes at once, and more than a ring holds
            order, end = [order[0]] * (_LONGEST + 40), ""
        stop = chance.randrange(1, len(order) + 1) if end in ("streaming", "lost") else len(order)
        self._stream(order, stop, 1_000_000 if overruns else self._pace(order))
        if end == "lost":
            for part in order:
                part.done = True
            self._connect()
            return
        if end == "streaming":
            self._interrupt()
            self._late(order[stop : stop + chance.randrange(4)])
            self._end(reply, "cancelled", status_details={"reason": "turn_detected"})
        elif end == "playing":
            self._end(reply, "completed")
            self._play(chance.uniform(0, len(order) / 4))
            self._interrupt()
        else:
            self._end(reply, "completed")
        self._drain()
        if end or self._chance(1 / 40):
            self._late(order[: chance.randrange(3)])

    def _pace(self, order: list[Part]) -> int:
        """Deltas in 250 ms: as fast as they play, or faster; interleaved ones play one by one."""
        return self.server.random.randint(1 if len(set(order)) == 1 else 2, 8)

    def _planned(self, reply: Reply) -> list[Part]:
        """Return the parts of a reply, each as often as it has deltas, in the order of these."""
        chance = self.server.random
        if self.turns % 97 == 1:
            return [self.server.new_part(reply)] * _LONGEST
        count = chance.choices([1, 2, 3], [90, 8, 2])[0]
        runs = [[self.server.new_part(reply)] * chance.randint(1, 40) for _ in range(count)]
        if self._chance(0.3):
            return [part for row in zip_longest(*runs) for part in row if part is not None]
        return [part for run in runs for part in run]

    def _stream(self, order: list[Part], stop: int, pace: int) -> None:
        """Send the deltas before `stop`; time goes by for each `pace` of them, faster than it plays."""
        last = {part: number for number, part in enumerate(order)}
        texts: dict[Part, list[str]] = {}
        for number, part in enumerate(order[:stop], 1):
            if part not in texts:
                self._open(part)
            words = self.server.words(1)
            texts.setdefault(part, []).extend(words)
            self._receive(self.server.of_part("audio_transcript.delta", part, delta=words[0]))
            self._audio(part)
            if last[part] == number - 1:
                self._close(part, "".join(texts[part]))
            if number % pace == 0:
                self._play(0.25)
            if len(last) == 1 and self._chance(1 / 400):  # the network stalls
                self._play(1.5)

    def _open(self, part: Part) -> None:
        server = self.server
        self._receive(server.output_item("added", part.reply, part.item_id, status="in_progress"))
        in_progress = {"role": "assistant", "status": "in_progress", "content": []}
        self._receive(server.item(part.item_id, self._previous, **in_progress))
        self._previous = part.item_id

    def _audio(self, part: Part) -> None:
        frame, count = self.server.audio(part)
        refused = self.book.send(part, count)
        event = self._receive(frame)
        fits = isinstance(event, AudioDelta) and event.dropped == refused
        self._expect(fits, f"{refused} samples should have been refused of {event!r}")

    def _close(self, part: Part, text: str) -> None:
        server = self.server
        entry = self.session.transcript.entry(part.item_id)
        self._expect(entry is not None and entry.text == text, f"{text!r} was said, not {entry!r}")
        part.done = True
        self._receive(server.of_part("audio.done", part))
        self._receive(server.of_part("audio_transcript.done", part, transcript=text))
        said = {"status": "completed", "content": [{"type": "audio", "transcript": text}]}
        self._receive(server.output_item("done", part.reply, part.item_id, **said))

    def _interrupt(self) -> None:
        """The user begins to speak, and hears no more."""
        self.interruptions += 1
        before = self.speaker.playback.cut_samples
        truncations = self.speaker.playback.interrupt(self.server.random.choice([0.0, 0.05]))
        self.speaker.settle()  # what it had pulled is in the book
        lost = self.book.cut_off()
        cut = self.speaker.playback.cut_samples - before
        self._expect(cut == lost, f"{lost} samples were to be cut, not {cut}")
        for truncation in truncations:
            told = {"item_id": truncation.item_id, "audio_end_ms": truncation.audio_end_ms}
            self._tell("conversation.item.truncated", content_index=0, **told)

    def _late(self, parts: list[Part]) -> None:
        """Deltas of what is over already, be it that its item has not begun yet."""
        for part in parts:
            self._audio(part)
        self._play(0.25)
        self.speaker.settle()

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> list[str]:
        """End it; return what was not as it must be."""
        self._drain()
        self.speaker.close()
        book, stats, played = self.book, self.decoder.stats, self.played
        for name, told, counted in (
            ("wrong callbacks", book.wrong, 0),
            ("frames", stats.frames, self.frames),
            ("audio deltas", stats.audio, book.deltas),
            ("bytes of audio", stats.audio_bytes, book.bytes),
            ("samples refused", stats.dropped_samples, book.dropped),
            ("samples cut", played["cut"], book.cut),
            ("samples late", played["late"], book.late),
            ("samples sent", book.heard + book.cut + book.late + book.dropped, book.sent),
            ("sessions", self.session.epoch, self.connections),
            ("tokens", self.session.usage["total_tokens"], self._billed),
        ):
            self._expect(told == counted, f"{name}: {told:,}, not {counted:,}")
        return self.broken
