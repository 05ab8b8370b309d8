"""Transcript: who said what in a session, from its events.

Rule: entries stand in the order in which the conversation first names their items, not in the order
in which texts become final: the user's words may be transcribed long after the reply to them. What
was said stays said: a deleted item leaves the model's context, not the transcript.
"""

from collections import deque
from collections.abc import Callable, Iterator
from io import StringIO
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
    TranscriptionSessionCreated,
    field_of,
    text_of,
)

MAX_TEXT = 16 << 20
"""Characters of texts and ids together, unless told otherwise. A spoken hour has some 60,000."""

_ENTRY = 100  # characters that an entry counts besides its text

CALLS = ("function_call", "mcp_call")
"""Types of items that call something; for an mcp_call, the server does."""

MAX_ID = 1_000  # characters of an id or a name; real ones have some 30
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


class _Utterance:
    """An entry, and what has streamed of it as long as it is not final."""

    __slots__ = ("entry", "key", "streamed")

    def __init__(self, key: str, entry: Entry) -> None:
        self.key = key
        self.entry = entry
        self.streamed: StringIO | None = None

    def settled(self) -> Entry:
        """The entry, with all its text so far."""
        if self.streamed is not None:
            self.entry.text = self.streamed.getvalue()
        return self.entry


class Transcript:
    """Collects the texts of both sides, while they stream and when they are final.

    It keeps `max_text` characters; beyond that the oldest entries go.
    """

    def __init__(self, max_text: int = MAX_TEXT) -> None:
        """Begin without entries. max_text: characters of texts and ids that are kept."""
        self._finished: deque[Entry] = deque()  # of earlier sessions
        self._items: dict[str, dict[int, _Utterance]] = {}
        self._turns = {"user": 0, "assistant": 0}  # tell entries apart where items have no id
        self._room = max_text
        self._time: float | None = None
        self.left_out = 0
        """Characters that had to go, with their ids."""

    @property
    def entries(self) -> list[Entry]:
        """The entries that have text, in the conversation's order."""
        return [*self._finished, *self._session()]

    def _session(self) -> list[Entry]:
        return [
            entry
            for item in self._items.values()
            for _, utterance in sorted(item.items())
            if (entry := utterance.settled()).text or entry.kind in CALLS
        ]

    def entry(self, item_id: str, content_index: int = 0) -> Entry | None:
        """Return the entry of one part of an item, with what has streamed so far, or None."""
        utterance = self._items.get(item_id, {}).get(content_index)
        return None if utterance is None else utterance.settled()

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

    # --- room ---------------------------------------------------------------------------------

    def _take_room(self, count: int, key: str) -> int:
        """Take room for so many characters, but at most for what there is without other items.

        key: of the item that must not go for it.
        """
        self._make_room(count, key)
        taken = min(count, self._room)
        self._room -= taken
        self.left_out += count - taken
        return taken

    def _reserve(self, count: int, key: str) -> bool:
        """Take room for all of it, or for nothing; the same otherwise."""
        self._make_room(count, key)
        fits = count <= self._room
        self._room -= count if fits else 0
        self.left_out += 0 if fits else count
        return fits

    def _make_room(self, count: int, key: str) -> None:
        while count > self._room and self._drop_oldest(key):
            pass

    def _drop_oldest(self, key: str) -> bool:
        """Let the oldest entry go, or the oldest item; return whether there was one."""
        if self._finished:
            size = _ENTRY + len(self._finished.popleft().text)
        else:
            oldest = next((other for other in self._items if other != key), None)
            if oldest is None:
                return False
            item = self._items.pop(oldest).values()
            size = len(oldest) + _ENTRY
            size += sum(_ENTRY + len(utterance.settled().text) for utterance in item)
        self._room += size
        self.left_out += size
        return True

    # --- what the events say ------------------------------------------------------------------

    def _session_created(self, event: object) -> None:
        """A new epoch: ids may come again, and mean others."""
        entries = self._session()
        self._finished += entries
        places = sum(len(key) + _ENTRY * (1 + len(item)) for key, item in self._items.items())
        self._room += places - _ENTRY * len(entries)
        self._items.clear()

    def _turn(self, event: object) -> None:
        self._turns["assistant"] += 1

    def _place(self, key: str) -> dict[int, _Utterance]:
        """Return the parts of an item, whose place in the conversation is then settled."""
        item = self._items.get(key)
        if item is None:
            item = {}
            if len(key) <= 2 * MAX_ID and self._reserve(len(key) + _ENTRY, key):
                self._items[key] = item
        return item

    def _utterance(
        self, slot: Slot, role: str, kind: str, response_id: str = "", call: str = ""
    ) -> _Utterance:
        """Return what an event is about. For an item without an id its turn and kind stand."""
        item_id, index = slot
        turn = response_id or self._turns.get(role, 0)
        key = item_id or f"\0{role} {kind} {call} {turn}"
        item = self._place(key)
        utterance = item.get(index)
        if utterance is None:
            entry = Entry(role, kind, "", "", item_id, index, response_id, time=self._time)
            utterance = _Utterance(key, entry)
            if self._items.get(key) is item and self._reserve(_ENTRY, key):
                item[index] = utterance
        return utterance

    def _is_kept(self, utterance: _Utterance) -> bool:
        item = self._items.get(utterance.key, {})
        return item.get(utterance.entry.content_index) is utterance

    def _append(self, utterance: _Utterance, text: str) -> None:
        if text and not utterance.entry.final and self._is_kept(utterance):
            if utterance.streamed is None:
                utterance.streamed = StringIO()
            utterance.streamed.write(text[: self._take_room(len(text), utterance.key)])

    def _settle(self, utterance: _Utterance, text: str) -> None:
        """The final text goes in place of what has streamed; an empty one does not."""
        entry = utterance.settled()
        utterance.streamed = None
        if text and self._is_kept(utterance):
            self._room += len(entry.text)
            entry.text = text[: self._take_room(len(text), utterance.key)]
        entry.final = True
        if not entry.item_id and not entry.response_id:
            self._turns[entry.role] = self._turns.get(entry.role, 0) + 1

    def _user_delta(self, event: ConversationItemInputAudioTranscriptionDelta) -> None:
        utterance = self._utterance((event.item_id, event.content_index or 0), "user", "speech")
        self._append(utterance, event.delta or "")

    def _user_completed(self, event: ConversationItemInputAudioTranscriptionCompleted) -> None:
        utterance = self._utterance((event.item_id, event.content_index), "user", "speech")
        self._settle(utterance, event.transcript)

    def _spoken_delta(self, event: ResponseAudioTranscriptDelta) -> None:
        self._append(self._assistant(event, "speech"), event.delta)

    def _spoken_done(self, event: ResponseAudioTranscriptDone) -> None:
        self._settle(self._assistant(event, "speech"), event.transcript)

    def _text_delta(self, event: ResponseTextDelta) -> None:
        self._append(self._assistant(event, "text"), event.delta)

    def _text_done(self, event: ResponseTextDone) -> None:
        self._settle(self._assistant(event, "text"), event.text)

    def _assistant(self, event: Any, kind: str) -> _Utterance:
        slot = event.item_id, event.content_index
        call = str(event.output_index)  # tells items without ids apart
        return self._utterance(slot, "assistant", kind, event.response_id, call)

    def _call(self, event: Any) -> _Utterance:
        slot, call_id = (event.item_id, 0), event.call_id or ""
        call = call_id or str(event.output_index)
        utterance = self._utterance(slot, "assistant", CALLS[0], event.response_id, call)
        utterance.entry.call_id = call_id[:MAX_ID] or utterance.entry.call_id
        return utterance

    def _call_delta(self, event: ResponseFunctionCallArgumentsDelta) -> None:
        self._append(self._call(event), event.delta)

    def _call_done(self, event: ResponseFunctionCallArgumentsDone) -> None:
        utterance = self._call(event)
        name = event.name if isinstance(event.name, str) else ""
        utterance.entry.name = name[:MAX_ID] or utterance.entry.name
        self._settle(utterance, event.arguments)

    def _mcp_call(self, event: Any) -> _Utterance:
        slot, call = (event.item_id, 0), str(event.output_index)
        return self._utterance(slot, "assistant", CALLS[1], event.response_id, call)

    def _mcp_delta(self, event: ResponseMcpCallArgumentsDelta) -> None:
        self._append(self._mcp_call(event), event.delta)

    def _mcp_done(self, event: ResponseMcpCallArgumentsDone) -> None:
        self._settle(self._mcp_call(event), event.arguments)

    def _heard(self, event: SessionInputTranscriptDelta) -> None:
        self._append(self._utterance(("", 0), "user", "speech", _TRANSLATION), event.delta)

    def _translated(self, event: SessionOutputTranscriptDelta) -> None:
        self._append(self._utterance(("", 0), "assistant", "speech", _TRANSLATION), event.delta)

    def _committed(self, event: InputAudioBufferCommitted) -> None:
        if event.item_id:
            self._place(event.item_id)

    def _response_done(self, event: ResponseDone) -> None:
        self._turn(event)
        output = field_of(event.response, "output")
        for item in output if isinstance(output, list) else ():
            self._item(item, text_of(event.response, "id"))

    def _item_of(self, event: Any) -> None:
        self._item(event.item, getattr(event, "response_id", ""))

    def _item(self, item: Any, response_id: str) -> None:
        """Take what a whole item says; of one in progress only its place."""
        item_id, type, output = text_of(item, "id"), text_of(item, "type"), field_of(item, "output")
        if not item_id:
            return
        self._place(item_id)
        is_final = text_of(item, "status") != "in_progress"
        if type in CALLS:
            utterance = self._utterance((item_id, 0), "assistant", type, response_id)
            self._name(utterance.entry, item)
            if is_final and not utterance.entry.final and text_of(item, "arguments"):
                self._settle(utterance, text_of(item, "arguments"))
        elif type == "function_call_output" and isinstance(output, str):
            utterance = self._utterance((item_id, 0), "tool", type)
            self._name(utterance.entry, item)
            self._settle(utterance, output)
        elif is_final:
            self._message(item, response_id)

    def _name(self, entry: Entry, item: Any) -> None:
        entry.name = text_of(item, "name")[:MAX_ID] or entry.name
        entry.call_id = text_of(item, "call_id")[:MAX_ID] or entry.call_id

    def _message(self, item: Any, response_id: str) -> None:
        content = field_of(item, "content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            type, kind, text = text_of(part, "type"), "text", text_of(part, "text")
            if type in _SPEECH:
                kind, text = "speech", text_of(part, "transcript")
            elif type not in _FINAL_TEXTS:
                continue
            if text:
                slot, role = (text_of(item, "id"), index), text_of(item, "role") or "assistant"
                self._settle(self._utterance(slot, role, kind, response_id), text)


def _line(entry: Entry) -> str:
    if entry.kind in CALLS:
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
    TranscriptionSessionCreated: Transcript._session_created,
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
