"""Transcript: who said what in a session, from its events.

Rule: entries stand in the order in which the conversation first names their items, not in the order
in which texts become final: the user's words may be transcribed long after the reply to them.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from msgspec import Struct

from deltaring.events import (
    ConversationItemAdded,
    ConversationItemCreated,
    ConversationItemDeleted,
    ConversationItemDone,
    ConversationItemInputAudioTranscriptionCompleted,
    ConversationItemInputAudioTranscriptionDelta,
    InputAudioBufferCommitted,
    ResponseAudioTranscriptDelta,
    ResponseAudioTranscriptDone,
    ResponseFunctionCallArgumentsDelta,
    ResponseFunctionCallArgumentsDone,
    ResponseItem,
    ResponseOutputAudioTranscriptDelta,
    ResponseOutputAudioTranscriptDone,
    ResponseOutputItemAdded,
    ResponseOutputItemDone,
    ResponseOutputTextDelta,
    ResponseOutputTextDone,
    ResponseTextDelta,
    ResponseTextDone,
)

MAX_TEXT = 64 << 20
"""Characters of all texts together. A spoken hour has some 60,000; more is no transcript."""

_FINAL_TEXTS = ("input_text", "text", "output_text")
_SPEECH = ("input_audio", "audio", "output_audio")

Slot: TypeAlias = tuple[str, int]


class Entry(Struct, omit_defaults=True):
    """One utterance, text or function call."""

    role: str
    """user, assistant, system or tool"""
    kind: str
    """speech, text, function_call or function_call_output"""
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

    def __init__(self) -> None:
        self._slots: dict[str, dict[int, Entry | None]] = {}
        self._room = MAX_TEXT
        self._time: float | None = None
        self.full = False
        """Text had to be left out, because there was more than MAX_TEXT."""

    @property
    def entries(self) -> list[Entry]:
        """The entries that have text, in the conversation's order."""
        return [
            entry
            for slots in self._slots.values()
            for _, entry in sorted(slots.items())
            if entry is not None and (entry.text or entry.kind == "function_call")
        ]

    def text(self) -> str:
        """The transcript as plain text, an entry a line; further lines of an entry are indented."""
        return "".join(_line(entry).replace("\n", "\n    ") + "\n" for entry in self.entries)

    def take(self, event: object, time: float | None = None) -> None:
        """Take an event of any kind."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            self._time = time
            handler(self, event)

    # --- what the events say ------------------------------------------------------------------

    def _entry(self, slot: Slot, role: str, kind: str, response_id: str = "") -> Entry:
        slots = self._slots.setdefault(slot[0], {})
        entry = slots.get(slot[1])
        if entry is None:
            entry = slots[slot[1]] = Entry(
                role,
                kind,
                item_id=slot[0],
                content_index=slot[1],
                response_id=response_id,
                time=self._time,
            )
        return entry

    def _append(self, entry: Entry, text: str) -> None:
        if not entry.final:
            entry.text += self._fitting(text)

    def _settle(self, entry: Entry, text: str) -> None:
        """The final text goes in place of what has streamed; an empty one does not."""
        if text:
            self._room += len(entry.text)
            entry.text = self._fitting(text)
        entry.final = True

    def _fitting(self, text: str) -> str:
        if len(text) > self._room:
            self.full = True
            text = text[: self._room]
        self._room -= len(text)
        return text

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
        # Without an item id, the response tells replies apart.
        key = event.item_id or event.response_id
        entry = self._entry((key, event.content_index), "assistant", kind, event.response_id)
        entry.item_id = event.item_id
        return entry

    def _call(self, event: Any) -> Entry:
        entry = self._entry((event.item_id, 0), "assistant", "function_call", event.response_id)
        entry.call_id = event.call_id or entry.call_id
        return entry

    def _call_delta(self, event: ResponseFunctionCallArgumentsDelta) -> None:
        self._append(self._call(event), event.delta)

    def _call_done(self, event: ResponseFunctionCallArgumentsDone) -> None:
        entry = self._call(event)
        entry.name = event.name or entry.name
        self._settle(entry, event.arguments)

    def _committed(self, event: InputAudioBufferCommitted) -> None:
        self._slots.setdefault(event.item_id, {})

    def _deleted(self, event: ConversationItemDeleted) -> None:
        for entry in self._slots.pop(event.item_id, {}).values():
            self._room += len(entry.text) if entry else 0

    def _item_of(self, event: Any) -> None:
        item = event.item
        if not isinstance(item, ResponseItem) or not item.id:
            return
        self._slots.setdefault(item.id, {})
        if item.type == "function_call":
            entry = self._entry((item.id, 0), "assistant", "function_call")
            entry.name, entry.call_id = item.name or entry.name, item.call_id or entry.call_id
            if item.arguments and not entry.final:
                self._settle(entry, item.arguments)
        elif item.type == "function_call_output" and isinstance(item.output, str):
            entry = self._entry((item.id, 0), "tool", "function_call_output")
            entry.call_id = item.call_id or ""
            self._settle(entry, item.output)
        else:
            self._message(item)

    def _message(self, item: ResponseItem) -> None:
        for index, part in enumerate(item.content or ()):
            text, kind = part.text, "text"
            if part.type in _SPEECH:
                text, kind = part.transcript, "speech"
            elif part.type not in _FINAL_TEXTS:
                continue
            if text:
                entry = self._entry((item.id or "", index), item.role or "assistant", kind)
                self._settle(entry, text)


def _line(entry: Entry) -> str:
    if entry.kind == "function_call":
        return f"{entry.role} calls {entry.name}({entry.text})"
    return f"{entry.role}: {entry.text}" + ("" if entry.final else " [cut off]")


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
    InputAudioBufferCommitted: Transcript._committed,
    ConversationItemDeleted: Transcript._deleted,
    ConversationItemCreated: Transcript._item_of,
    ConversationItemAdded: Transcript._item_of,
    ConversationItemDone: Transcript._item_of,
    ResponseOutputItemAdded: Transcript._item_of,
    ResponseOutputItemDone: Transcript._item_of,
}
