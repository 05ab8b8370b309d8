"""Transcript: who said what in a session, from its events.

Rule: entries stand in the order in which the conversation first names their items, not in the order
in which texts become final: the user's words may be transcribed long after the reply to them. What
was said stays said: a deleted item leaves the model's context, not the transcript.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from msgspec import Struct

from deltaring.events import (
    ConversationItemAdded,
    ConversationItemCreated,
    ConversationItemDone,
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionDelta,
    InputAudioBufferCommitted,
    ResponseAudioTranscriptDelta,
    ResponseAudioTranscriptDone,
    ResponseCreated,
    ResponseDone,
    ResponseFunctionCallArgumentsDelta,
    ResponseFunctionCallArgumentsDone,
    ResponseInfo,
    ResponseItem,
    ResponseMcpCallArgumentsDelta,
    ResponseMcpCallArgumentsDone,
    ResponseOutputAudioTranscriptDelta,
    ResponseOutputAudioTranscriptDone,
    ResponseOutputItemAdded,
    ResponseOutputItemDone,
    ResponseOutputTextDelta,
    ResponseOutputTextDone,
    ResponseTextDelta,
    ResponseTextDone,
    SessionCreated,
    SessionInputTranscriptDelta,
    SessionOutputTranscriptDelta,
)

MAX_TEXT = 16 << 20
"""Characters of texts and ids together, unless told otherwise. A spoken hour has some 60,000."""

_ENTRY = 100  # characters that an entry counts besides its text

_CALLS = ("function_call", "mcp_call")
_TRANSLATION = "translation"  # in place of a response: a translation session has one long turn
_FINAL_TEXTS = ("input_text", "text", "output_text")
_SPEECH = ("input_audio", "audio", "output_audio")

Slot: TypeAlias = tuple[str, int]


class Entry(Struct, omit_defaults=True):
    """One utterance, text or function call."""

    role: str
    """user, assistant, system or tool"""
    kind: str
    """speech, text, function_call, function_call_output or mcp_call"""
    text: str = ""
    """The words; the JSON arguments of a function call; the output of one."""
    name: str = ""
    """Of the function."""
    item_id: str = ""
    content_index: int = 0
    response_id: str = ""
    call_id: str = ""
    time: float | None = None
    """Record time (Unix seconds) of the first event about it."""
    final: bool = False


class Transcript:
    """Collects the texts of both sides, while they stream and when they are final."""

    def __init__(self, max_text: int = MAX_TEXT) -> None:
        """Begin without entries. max_text: characters of texts and ids that are kept."""
        self._finished: list[Entry] = []  # of earlier sessions
        self._slots: dict[str, dict[int, Entry]] = {}
        self._parts: dict[Slot, list[str]] = {}  # what has streamed of entries that are not final
        self._turns = {"user": 0, "assistant": 0}  # tell entries apart where items have no id
        self._room = max_text
        self._time: float | None = None
        self.left_out = 0
        """Characters that were not taken, because there were more than `max_text`."""

    @property
    def entries(self) -> list[Entry]:
        """The entries that have text, in the conversation's order."""
        return self._finished + self._session()

    def _session(self) -> list[Entry]:
        for (key, index), parts in self._parts.items():
            self._slots[key][index].text = "".join(parts)
        return [
            entry
            for slots in self._slots.values()
            for _, entry in sorted(slots.items())
            if entry.text or entry.kind in _CALLS
        ]

    def entry(self, item_id: str, content_index: int = 0) -> Entry | None:
        """Return the entry of one part of an item, with what has streamed so far, if there is one."""
        entry = self._slots.get(item_id, {}).get(content_index)
        parts = self._parts.get((item_id, content_index))
        if entry is not None and parts is not None:
            entry.text = "".join(parts)
        return entry

    def lines(self) -> Iterator[str]:
        """The transcript as plain text, an entry a line; further lines of one are indented."""
        for entry in self.entries:
            yield _line(entry).replace("\n", "\n    ") + "\n"

    def take(self, event: object, time: float | None = None) -> None:
        """Take an event of any kind."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            self._time = time
            handler(self, event)

    # --- what the events say ------------------------------------------------------------------

    def _session_created(self, event: SessionCreated) -> None:
        """A new epoch: ids may come again, and mean others."""
        self._finished += self._session()
        self._slots.clear()
        self._parts.clear()

    def _turn(self, event: object) -> None:
        self._turns["assistant"] += 1

    def _place(self, key: str) -> dict[int, Entry]:
        """Return the entries of an item, whose place in the conversation is then settled."""
        slots = self._slots.get(key)
        if slots is None:
            slots = {}
            if self._takes(len(key) + _ENTRY):
                self._slots[key] = slots
        return slots

    def _entry(self, slot: Slot, role: str, kind: str, response_id: str = "") -> Entry:
        """Return the entry of a slot. Where an item has no id, its turn stands for it."""
        item_id, index = slot
        slots = self._place(self._key(item_id, role, response_id))
        entry = slots.get(index)
        if entry is None:
            entry = Entry(role, kind, "", "", item_id, index, response_id, time=self._time)
            if self._takes(_ENTRY):
                slots[index] = entry
        return entry

    def _key(self, item_id: str, role: str, response_id: str) -> str:
        return item_id or f"\0{role} {response_id or self._turns.get(role, 0)}"

    def _append(self, entry: Entry, text: str) -> None:
        if not entry.final:
            key = self._key(entry.item_id, entry.role, entry.response_id)
            if entry is self._slots.get(key, {}).get(entry.content_index):
                self._parts.setdefault((key, entry.content_index), []).append(self._fitting(text))

    def _settle(self, entry: Entry, text: str) -> None:
        """The final text goes in place of what has streamed; an empty one does not."""
        key = self._key(entry.item_id, entry.role, entry.response_id)
        streamed = "".join(self._parts.pop((key, entry.content_index), [entry.text]))
        if text:
            self._room += len(streamed)
            streamed = self._fitting(text)
        entry.text = streamed
        entry.final = True
        if not entry.item_id and not entry.response_id:
            self._turns[entry.role] = self._turns.get(entry.role, 0) + 1

    def _takes(self, characters: int) -> bool:
        """Whether there is room for so many characters; they are counted."""
        if characters > self._room:
            self.left_out += characters
            return False
        self._room -= characters
        return True

    def _fitting(self, text: str) -> str:
        fitting = text[: self._room]
        self.left_out += len(text) - len(fitting)
        self._room -= len(fitting)
        return fitting

    def _user_delta(self, event: ConversationItemInputAudioTranscriptionDelta) -> None:
        entry = self._entry((event.item_id, event.content_index or 0), "user", "speech")
        self._append(entry, event.delta or "")

    def _user_completed(self, event: ConversationItemInputAudioTranscriptionCompleted) -> None:
        entry = self._entry((event.item_id, event.content_index), "user", "speech")
        self._settle(entry, event.transcript)

    def _spoken_delta(self, event: ResponseAudioTranscriptDelta) -> None:
        self._append(self._assistant(event, "speech"), event.delta)

    def _spoken_done(self, event: ResponseAudioTranscriptDone) -> None:
        self._settle(self._assistant(event, "speech"), event.transcript)

    def _text_delta(self, event: ResponseTextDelta) -> None:
        self._append(self._assistant(event, "text"), event.delta)

    def _text_done(self, event: ResponseTextDone) -> None:
        self._settle(self._assistant(event, "text"), event.text)

    def _assistant(self, event: Any, kind: str) -> Entry:
        slot = event.item_id, event.content_index
        return self._entry(slot, "assistant", kind, event.response_id)

    def _call(self, event: Any) -> Entry:
        entry = self._entry((event.item_id, 0), "assistant", "function_call", event.response_id)
        entry.call_id = event.call_id or entry.call_id
        return entry

    def _mcp_delta(self, event: ResponseMcpCallArgumentsDelta) -> None:
        slot = event.item_id, 0
        self._append(self._entry(slot, "assistant", "mcp_call", event.response_id), event.delta)

    def _mcp_done(self, event: ResponseMcpCallArgumentsDone) -> None:
        slot = event.item_id, 0
        entry = self._entry(slot, "assistant", "mcp_call", event.response_id)
        self._settle(entry, event.arguments)

    def _call_delta(self, event: ResponseFunctionCallArgumentsDelta) -> None:
        self._append(self._call(event), event.delta)

    def _call_done(self, event: ResponseFunctionCallArgumentsDone) -> None:
        entry = self._call(event)
        entry.name = event.name if isinstance(event.name, str) and event.name else entry.name
        self._settle(entry, event.arguments)

    def _heard(self, event: SessionInputTranscriptDelta) -> None:
        self._append(self._entry(("", 0), "user", "speech", _TRANSLATION), event.delta)

    def _translated(self, event: SessionOutputTranscriptDelta) -> None:
        self._append(self._entry(("", 0), "assistant", "speech", _TRANSLATION), event.delta)

    def _committed(self, event: InputAudioBufferCommitted) -> None:
        if event.item_id:
            self._place(event.item_id)

    def _response_done(self, event: ResponseDone) -> None:
        self._turn(event)
        response = event.response
        for item in (response.output or ()) if isinstance(response, ResponseInfo) else ():
            self._item(item, response.id or "")

    def _item_of(self, event: Any) -> None:
        if isinstance(event.item, ResponseItem):
            self._item(event.item, getattr(event, "response_id", ""))

    def _item(self, item: ResponseItem, response_id: str) -> None:
        """Take what a whole item says; of one in progress only its place."""
        if not item.id:
            return
        self._place(item.id)
        if item.type in _CALLS:
            entry = self._entry((item.id, 0), "assistant", item.type, response_id)
            entry.name, entry.call_id = item.name or entry.name, item.call_id or entry.call_id
            if item.arguments and not entry.final and item.status != "in_progress":
                self._settle(entry, item.arguments)
        elif item.type == "function_call_output" and isinstance(item.output, str):
            entry = self._entry((item.id, 0), "tool", "function_call_output")
            entry.call_id = item.call_id or ""
            self._settle(entry, item.output)
        elif item.status != "in_progress":
            self._message(item, response_id)

    def _message(self, item: ResponseItem, response_id: str) -> None:
        for index, part in enumerate(item.content or ()):
            text, kind = part.text, "text"
            if part.type in _SPEECH:
                text, kind = part.transcript, "speech"
            elif part.type not in _FINAL_TEXTS:
                continue
            if text:
                slot = item.id or "", index
                self._settle(self._entry(slot, item.role or "assistant", kind, response_id), text)


def _line(entry: Entry) -> str:
    if entry.kind in _CALLS:
        return f"{entry.role} calls {entry.name}({entry.text})"
    open_end = not entry.final and entry.response_id != _TRANSLATION
    return f"{entry.role}: {entry.text}" + (" [cut off]" if open_end else "")


_HANDLERS: Final[dict[type, Callable[[Transcript, Any], None]]] = {
    ConversationItemInputAudioTranscriptionDelta: Transcript._user_delta,
    ConversationItemInputAudioTranscriptionCompleted: Transcript._user_completed,
    ResponseAudioTranscriptDelta: Transcript._spoken_delta,
    ResponseOutputAudioTranscriptDelta: Transcript._spoken_delta,
    ResponseAudioTranscriptDone: Transcript._spoken_done,
    ResponseOutputAudioTranscriptDone: Transcript._spoken_done,
    ResponseTextDelta: Transcript._text_delta,
    ResponseOutputTextDelta: Transcript._text_delta,
    ResponseTextDone: Transcript._text_done,
    ResponseOutputTextDone: Transcript._text_done,
    ResponseFunctionCallArgumentsDelta: Transcript._call_delta,
    ResponseFunctionCallArgumentsDone: Transcript._call_done,
    ResponseMcpCallArgumentsDelta: Transcript._mcp_delta,
    ResponseMcpCallArgumentsDone: Transcript._mcp_done,
    InputAudioBufferCommitted: Transcript._committed,
    SessionCreated: Transcript._session_created,
    ResponseCreated: Transcript._turn,
    ResponseDone: Transcript._response_done,
    SessionInputTranscriptDelta: Transcript._heard,
    SessionOutputTranscriptDelta: Transcript._translated,
    ConversationItemCreated: Transcript._item_of,
    ConversationItemAdded: Transcript._item_of,
    ConversationItemDone: Transcript._item_of,
    ResponseOutputItemAdded: Transcript._item_of,
    ResponseOutputItemDone: Transcript._item_of,
}
