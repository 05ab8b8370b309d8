"""Server: the frames of a voice agent's life, each made fresh, as servers send them.

Rule: making a frame must cost less than decoding it, or a soak would test this file: audio is a
header and a payload that was encoded before, and the rest is encoded by msgspec.
"""

import random
from collections import Counter
from typing import Any

import msgspec

from tests.soak.book import Part, Reply
from tests.soak.tape import MULAW, PCM16, PIECES, Tape

WORDS = [" the", " quick", " Füchsin", " jumps", " über", " a", " lazy", " 犬", " 🦊", " and"]

_HEADERS = {
    "openai": b'{"type":"%b","event_id":"event_%021d","response_id":"%b","item_id":"%b",'
    b'"output_index":0,"content_index":0,"delta":"%b"}',
    "spaced": b'{"type": "%b", "event_id": "event_%021d", "response_id": "%b", "item_id": "%b", '
    b'"output_index": 0, "content_index": 0, "delta": "%b"}',
    "voice live": b'{"event_id":"event_%021d","type":"%b","response_id":"%b","item_id":"%b",'
    b'"output_index":0,"content_index":0,"delta":"%b"}',
    "unusual": b'{"content_index":0,"output_index":0,"response_id":"%b","item_id":"%b",'
    b'"event_id":"event_%021d","delta":"%b","type":"%b","more":[0]}',
}
_ORDER = {
    "openai": "type event response item delta",
    "spaced": "type event response item delta",
    "voice live": "event type response item delta",
    "unusual": "response item event delta type",
}

_encode = msgspec.json.Encoder().encode


class Server:
    """The other side of one life: it makes ids and frames, and knows which dialect it speaks."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._events = 0
        self._ids = Counter[str]()  # by prefix
        self.tape: Tape = PCM16
        self._layout = "openai"
        self._prefix = "output_"  # of audio and its transcript, in the GA dialect
        self._style = 0

    # --- what it is like ---------------------------------------------------------------------

    def connect(self) -> list[bytes]:
        """Become another server, with another format and dialect; return what it greets with.

        The first is not a telephone. Every third counts its ids from the start: they come again
        and mean others.
        """
        chance = self.random
        self.tape = MULAW if chance.random() < 0.15 and self._events else PCM16
        self._layout = chance.choices(list(_HEADERS), [6, 2, 2, 1])[0]
        self._prefix = chance.choice(["", "output_"])
        self._style = chance.randrange(self.tape.width)
        if chance.random() < 0.33:
            self._ids.clear()
        name = "g711_ulaw" if self.tape is MULAW else "pcm16"
        stated: dict[str, Any] = {"output_audio_format": name}
        if self._prefix:
            kind = "audio/pcmu" if self.tape is MULAW else "audio/pcm"
            stated = {"audio": {"output": {"format": {"type": kind, "rate": self.tape.rate}}}}
        session = {"id": self.new_id("sess"), "model": "gpt-realtime", "voice": "marin", **stated}
        created = self.event("session.created", session=session)
        return [created, self.event("session.updated", session=session)]

    @property
    def event_id(self) -> int:
        self._events += 1
        return self._events

    def new_id(self, prefix: str) -> str:
        self._ids[prefix] += 1
        return f"{prefix}_{self._ids[prefix]:021d}"

    # --- frames -------------------------------------------------------------------------------

    def event(self, type: str, **fields: Any) -> bytes:
        return _encode({"type": type, "event_id": f"event_{self.event_id:021d}", **fields})

    def new_part(self, reply: Reply) -> Part:
        # An odd style begins with its longer piece, so that samples stay whole at the start.
        start = self.random.randrange(0, PIECES, 2)
        return Part(reply, self.new_id("item"), self.tape, start, self._style)

    def audio(self, part: Part) -> tuple[bytes, int]:
        """Return the next delta of a part, and the bytes of its audio."""
        payload, count = part.next_payload()
        fields: dict[str, bytes | int] = {
            "type": b"response.%baudio.delta" % self._prefix.encode(),
            "event": self.event_id,
            "response": part.reply.id.encode(),
            "item": part.item_id.encode(),
            "delta": payload,
        }
        order = _ORDER[self._layout].split()
        return _HEADERS[self._layout] % tuple([fields[name] for name in order]), count

    def of_part(self, kind: str, part: Part, **fields: Any) -> bytes:
        """An event about a part: `audio.done`, `audio_transcript.delta`."""
        return self.event(
            f"response.{self._prefix}{kind}",
            response_id=part.reply.id,
            item_id=part.item_id,
            output_index=0,
            content_index=0,
            **fields,
        )

    def item(self, item_id: str, previous: str | None, **item: Any) -> bytes:
        """A whole item of the conversation, as the dialect tells it."""
        kind = "added" if self._prefix else "created"
        item = {"id": item_id, "type": "message", "status": "completed", **item}
        return self.event(f"conversation.item.{kind}", previous_item_id=previous, item=item)

    def output_item(self, kind: str, reply: Reply, item_id: str, **item: Any) -> bytes:
        """`response.output_item.added` and `.done`."""
        item = {"id": item_id, "type": "message", "role": "assistant", **item}
        kind = f"response.output_item.{kind}"
        return self.event(kind, response_id=reply.id, output_index=0, item=item)

    def response(self, kind: str, reply: Reply, **fields: Any) -> bytes:
        """`response.created` and `.done`."""
        response = {"id": reply.id, "object": "realtime.response", **fields}
        return self.event(f"response.{kind}", response=response)

    def words(self, count: int) -> list[str]:
        return self.random.choices(WORDS, k=count)
