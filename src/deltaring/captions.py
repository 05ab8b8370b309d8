"""captions(): a transcript as WebVTT, what was said at the time at which it was said.

Rule: cues stand in the order of their starts, and none is without a duration; what has no time is
in no cue. The text is escaped: nothing in it becomes markup, ends its cue or begins another one.
"""

import re
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from deltaring.speech import SpokenItem
from deltaring.timeline import Span, Timeline
from deltaring.track import Key
from deltaring.transcript import Entry

_SPOKEN = ("speech", "text")

_MIN_SECONDS = 1.0
"""WebVTT shows nothing that takes no time; this is enough to read a word."""

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"})
_BREAKS = re.compile(r"[\r\n]+")  # an empty line would end the cue


class _Cue(NamedTuple):
    start: float
    stop: float
    speaker: str
    text: str


def captions(entries: Iterable[Entry], timeline: Timeline, origin: float) -> Iterator[str]:
    """Yield the parts of a WebVTT file (W3C, 2019).

    origin: the record time, in Unix seconds, that is 0 in the file.
    """
    yield "WEBVTT\n"
    heard = {_key(item): (start, stop) for _, item, start, stop in timeline.heard()}
    cues = (_cue(entry, timeline, heard, origin) for entry in entries if entry.kind in _SPOKEN)
    for cue in sorted(filter(None, cues), key=attrgetter("start")):
        text = _BREAKS.sub("\n", cue.text.strip()).translate(_ESCAPES)
        yield f"\n{_clock(cue.start)} --> {_clock(cue.stop)}\n<v {cue.speaker}>{text}\n"


def _cue(entry: Entry, timeline: Timeline, heard: dict[Key, Span], origin: float) -> _Cue | None:
    span = _span(entry, timeline, heard)
    if span is None or not entry.text.strip():
        return None
    start = max(span[0] - origin, 0.0)
    stop = max(span[1] - origin, start + _MIN_SECONDS)
    speaker = " ".join(entry.role.split()).translate(_ESCAPES)  # some servers' own words
    return _Cue(start, stop, speaker, entry.text)


def _span(entry: Entry, timeline: Timeline, heard: dict[Key, Span]) -> Span | None:
    """Return when an entry was said: when it was heard, else when its events came."""
    key = entry.response_id, entry.item_id, entry.content_index
    if entry.role == "user" and entry.kind == "speech" and entry.item_id in timeline.spoken:
        return timeline.spoken[entry.item_id]
    if key in heard:
        return heard[key]
    return None if entry.time is None else (entry.time, timeline.texts.get(key, entry.time))


def _key(item: SpokenItem) -> Key:
    return item.response_id, item.item_id, item.content_index


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1e3)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
