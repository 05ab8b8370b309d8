"""EventLog: a row of `events.parquet` for each frame of a recording, while that is read.

Rule: a run of audio is copied as a whole: a delta costs no Python object. Memory holds one row
group, and groups end after the same number of rows however the frames came, one by one or in runs:
so the file depends on the recording alone.
"""

from typing import Any, BinaryIO, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deltaring.conversation import MAX_ID
from deltaring.errors import ReplayError
from deltaring.events import InvalidEvent, ServerEvent, field_of, text_of
from deltaring.recording import Recording
from deltaring.report import MAX_NAME
from deltaring.run import ROW, Run
from deltaring.track import AudioDelta

EVENTS = "events.parquet"

MAX_ROWS = 8_192
"""Of a row group: 0.5 MB of figures. Ids and types of a thousand characters in each row, which no
server sends, would make it some 100 MB."""

_SOURCES = ["server", "client"]
_SERVER, _CLIENT = range(2)

_TYPES = ["response.audio.delta", "response.output_audio.delta"]
"""Those that have a code in each row group: the one that `ga` is in a row of a run."""

_NONE = -1  # in place of a null: codes and positions are never negative

_NO_POSITIONS = _NONE, _NONE, _NONE

_GROWING = dict.fromkeys(("line", "offset", "start", "stop"), "DELTA_BINARY_PACKED")
"""Columns whose values differ from row to row, but little: as differences, 8,000 deltas take 60 kB
and not 270, in half the time."""

_PIECE: Final = np.dtype(
    [
        ("rows", np.int64),
        ("line", np.int64),
        ("offset", np.int64),
        ("source", np.int32),
        ("type", np.int32),
    ]
)
"""What came together, a run or one record: how many rows, and what holds for the first of them."""

_Part: TypeAlias = tuple[str, str, int | None]
"""The `key` of a track, or as much of one as an event names."""


def import_pyarrow() -> Any:
    """Return pyarrow. Raises ReplayError if it is not installed."""
    try:
        import pyarrow.parquet  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise ReplayError("tables need pyarrow: pip install 'deltaring[tables]'") from None
    return pyarrow


def event_schema() -> Any:
    """Return the pyarrow.Schema of a recording's events. Raises ReplayError without pyarrow."""
    arrow = import_pyarrow()
    text, name = arrow.string(), arrow.dictionary(arrow.int32(), arrow.string())
    columns = [
        ("line", arrow.int64(), False),
        ("offset", arrow.int64(), False),
        ("time", arrow.float64(), True),
        ("source", name, False),
        ("type", name, True),
        ("response_id", text, True),
        ("item_id", text, True),
        ("content_index", arrow.int64(), True),
        ("start", arrow.int64(), True),
        ("stop", arrow.int64(), True),
        ("dropped", arrow.int64(), True),
    ]
    return arrow.schema([arrow.field(name, type, null) for name, type, null in columns])


def event_writer(file: BinaryIO, schema: Any) -> Any:
    """Return a pyarrow.parquet.ParquetWriter for events; `file` stays open when it is closed."""
    return import_pyarrow().parquet.ParquetWriter(
        file,
        schema,
        use_dictionary=[name for name in schema.names if name not in _GROWING],
        column_encoding=_GROWING,
    )


class EventLog:
    """The events of a recording, as a Parquet file that is written while the recording is read.

    Each record and each run is told once, while it is the one at hand of the recording.
    """

    def __init__(self, file: BinaryIO, recording: Recording) -> None:
        """Begin a table in `file`, which stays open. Raises ReplayError without pyarrow."""
        self._arrow = import_pyarrow()
        self._schema = event_schema()
        self._writer = event_writer(file, self._schema)
        self._recording = recording
        self._rows = np.empty(MAX_ROWS, ROW)  # `track` is the code of a part here
        self._begin_group()

    def _begin_group(self) -> None:
        self._count = 0  # rows so far
        self._pieces: list[tuple[int, int, int, int, int]] = []
        self._types = {name: code for code, name in enumerate(_TYPES)}
        self._parts: dict[_Part, int] = {}

    def take(self, event: ServerEvent | AudioDelta, time: float | None) -> None:
        """Add the row of an event of the server's."""
        if isinstance(event, InvalidEvent):
            self._add(time, _SERVER, None)
        elif isinstance(event, AudioDelta):
            positions = event.start, event.stop, event.dropped
            self._add(time, _SERVER, event.type, event.track.key, positions)
        else:
            self._add(time, _SERVER, event.type, _named(event))

    def take_client(self, type: object, time: float | None) -> None:
        """Add the row of a frame of the client's, of which the type was read."""
        self._add(time, _CLIENT, type if isinstance(type, str) else None)

    def take_run(self, run: Run) -> None:
        """Add the rows of a run of audio deltas, as `take` does for each."""
        line, offset = self._recording.line, self._recording.offset
        offset -= int(run.rows["line"][0])
        left = run.rows
        while len(left):
            room = self._room(len(left))
            taken, left = left[: len(room)], left[len(room) :]
            # As plain words, which takes 0.7 us; field by field, as numpy would, it takes 1.5.
            room.view(np.int64)[:] = taken.view(np.int64)
            if len(run.tracks) == 1:
                room["track"] = self._code(run.tracks[0].key)
            else:
                for track in run.tracks:
                    room["track"][taken["track"] == track.serial] = self._code(track.key)
            self._pieces.append((len(room), line, offset, _SERVER, 0))
            line += len(room)

    def _add(
        self,
        time: float | None,
        source: int,
        type: str | None,
        part: _Part = ("", "", None),
        positions: tuple[int, int, int] = _NO_POSITIONS,
    ) -> None:
        room = self._room(1)
        room[0] = (0, 0, np.nan if time is None else time, self._code(part), *positions, 0)
        code = _NONE
        if type is not None:
            code = self._types.setdefault(type[:MAX_NAME], len(self._types))
        self._pieces.append((1, self._recording.line, self._recording.offset, source, code))

    def _code(self, part: _Part) -> int:
        """Return the code of a part in this row group."""
        response_id, item_id, index = part
        key = response_id[:MAX_ID], item_id[:MAX_ID], index
        return self._parts.setdefault(key, len(self._parts))

    def _room(self, count: int) -> NDArray[np.void]:
        """Return the next rows, to be filled: `count`, or as many as this group still takes."""
        if self._count == MAX_ROWS:
            self._end_group()
        start = self._count
        self._count = min(start + count, MAX_ROWS)
        return self._rows[start : self._count]

    def _end_group(self) -> None:
        arrow, rows = self._arrow, self._rows[: self._count]
        pieces = np.array(self._pieces, _PIECE)
        counts = pieces["rows"]
        each, first = np.repeat(pieces, counts), np.repeat(counts.cumsum() - counts, counts)
        columns = [
            arrow.array(each["line"] + np.arange(len(rows)) - first),
            arrow.array(each["offset"] + rows["line"]),
            arrow.array(rows["time"], from_pandas=True),  # takes nan for null
            self._words(each["source"], _SOURCES),
            self._words(each["type"] + rows["ga"].astype(np.int32), list(self._types)),
            *self._part_columns(rows["track"]),
            *(self._nullable(rows[name]) for name in ("start", "stop", "dropped")),
        ]
        self._writer.write(arrow.record_batch(columns, schema=self._schema))
        self._begin_group()

    def _nullable(self, values: NDArray[Any]) -> Any:
        return self._arrow.array(values, mask=values == _NONE)

    def _words(self, codes: NDArray[np.int32], words: list[str]) -> Any:
        return self._arrow.DictionaryArray.from_arrays(self._nullable(codes), words)

    def _part_columns(self, codes: NDArray[np.int64]) -> list[Any]:
        arrow = self._arrow
        response_ids, item_ids, indices = zip(*self._parts, strict=True)
        return [
            arrow.array([text or None for text in response_ids], arrow.string()).take(codes),
            arrow.array([text or None for text in item_ids], arrow.string()).take(codes),
            arrow.array(map(as_int64, indices), arrow.int64()).take(codes),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, type: object, *error: object) -> None:
        try:
            if self._count and type is None:
                self._end_group()
        finally:
            self._writer.close()


def as_int64(number: int | None) -> int | None:
    """Return a number as it is; None if it is one that no column of integers can hold."""
    return number if number is not None and -(1 << 63) <= number < 1 << 63 else None


def _named(event: ServerEvent) -> _Part:
    """Return the ids in an event: its own, or those of the response or item that is in it."""
    response_id = text_of(event, "response_id") or text_of(field_of(event, "response"), "id")
    item_id = text_of(event, "item_id") or text_of(field_of(event, "item"), "id")
    return response_id, item_id, field_of(event, "content_index")
