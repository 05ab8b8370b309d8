"""Conversation: the items of a session, in the order in which the model sees them.

Rule: it holds structure, not contents: no text and no audio of an item is kept here (texts are in
the Transcript, audio in the rings), so an item of 3 MB takes as much room as one of 300 bytes.
"""

from typing import Any

from msgspec import Struct

from deltaring.events import text_of

MAX_ID = 1_000
"""Characters of an id, a name or a status that is kept; real ones have some 30."""


class Item(Struct):
    """One item: a message, a function call, the output of one, or one of the MCP kinds."""

    id: str
    type: str = ""
    """Empty as long as only the id is known."""
    role: str = ""
    status: str = ""
    """in_progress, completed, incomplete"""
    name: str = ""
    """Of the function or tool."""
    call_id: str = ""
    response_id: str = ""
    """Of the response that made it; empty for the user's."""
    added: float | None = None
    """When it was first named."""
    done: float | None = None
    """When it was complete."""
    deleted: bool = False
    """It is out of the model's context."""
    audio_end_ms: int | None = None
    """Where it was truncated."""


class Conversation:
    """The items of one session, at most `most`; beyond that the oldest go."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: dict[str, Item] = {}
        self._last = ""  # id of the last one
        self._loose: set[str] = set()  # those whose predecessor was not told
        self.forgotten = 0
        """Items that had to go, and items whose ids were too long to be kept."""

    @property
    def items(self) -> list[Item]:
        """The items in order, deleted ones included: a new list of the items themselves."""
        return list(self._items.values())

    def item(self, item_id: str) -> Item | None:
        """Return the item of that id, if there is one."""
        return self._items.get(item_id)

    def clear(self) -> None:
        """A new session: ids may come again, and mean others."""
        self._items.clear()
        self._loose.clear()
        self._last = ""

    def place(self, item_id: str, previous_id: object, at: float | None) -> Item | None:
        """Return the item of that id, entered behind another one where it is new.

        previous_id: of the item before it; "root" for none, and whatever is not known for the end,
            as several servers never say. An item that was entered without is moved when it is told.

        None is returned for an id that cannot be kept.
        """
        if not item_id or len(item_id) > MAX_ID:
            self.forgotten += bool(item_id)
            return None
        told = previous_id == "root" or previous_id in self._items
        item = self._items.get(item_id)
        if item is None:
            item = Item(item_id, added=at)
            self._enter(item, previous_id, told)
        elif told and item_id in self._loose and previous_id != item_id:
            del self._items[item_id]
            self._insert(item, previous_id)
            self._loose.discard(item_id)
        return item

    def _enter(self, item: Item, previous_id: object, told: bool) -> None:
        if told and previous_id != self._last:
            self._insert(item, previous_id)
        else:
            self._items[item.id] = item
            self._last = item.id
        if not told:
            self._loose.add(item.id)
        if len(self._items) > self._most:
            oldest = next(iter(self._items))
            del self._items[oldest]
            self._loose.discard(oldest)
            self.forgotten += 1

    def _insert(self, item: Item, previous_id: object) -> None:
        """Rare: the end is where nearly all go, so a copy of the rest is no matter."""
        others = list(self._items.values())
        at = next((i for i, other in enumerate(others, 1) if other.id == previous_id), 0)
        others.insert(at, item)
        self._items = {other.id: other for other in others}
        self._last = others[-1].id

    def describe(self, item: Item, stated: Any, response_id: str) -> None:
        """Take what the server says of an item; what it does not say stays as it was."""
        for name in ("type", "role", "status", "name", "call_id"):
            value = text_of(stated, name)[:MAX_ID]
            if value:
                setattr(item, name, value)
        item.response_id = response_id[:MAX_ID] or item.response_id
