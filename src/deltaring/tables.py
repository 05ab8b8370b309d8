"""Tables: what a job found in all of its recordings, as Parquet files and a manifest for training.

Rule: they are made of the recordings' folders alone, in the order that is given, so a job that was
killed and resumed has the same bytes. One recording is in memory at a time, and one row group; of
its events, which may be many, no more than two row groups.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, Final, NamedTuple, Self, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct

from deltaring.audiofiles import AudioFile
from deltaring.errors import ReplayError
from deltaring.eventlog import EVENTS, as_int64, event_schema, event_writer, import_pyarrow
from deltaring.metrics import ResponseMetrics, SessionMetrics, Tokens
from deltaring.outdir import OutputFolder
from deltaring.report import Report, SessionRow
from deltaring.speech import SpokenItem
from deltaring.track import Key
from deltaring.transcript import Entry

MAX_ROWS = 1_000
"""Of a row group, while it waits as Python objects: a job of 10,000 recordings took 17 MB like
this, and 47 MB with groups of 10,000, for files of half the size."""

MAX_TEXT = 16 << 20
"""Characters after which a row group ends, whatever its rows: texts may be long."""

MAX_EVENTS = 16_384
"""Rows from which on a row group of events ends; short recordings share one. A group for each
recording would make the file of a large job mostly directory."""

MAX_PARTS = 250
"""Recordings that share a row group of events: until it is written each takes 18 kB or more."""

_OURS = re.compile(r"(sessions|responses|items|events)\.parquet|manifest\.jsonl")

_RAW = "raw"  # an AudioFile without a header, which no reader of manifests can open

_Json = TypeVar("_Json")


class RecordingRow(NamedTuple):
    """A row of `sessions`: one recording. Fields are columns, and those that may be None nullable;
    docs/replay.md says what each means, in which unit."""

    recording: str
    folder: str
    sessions: int
    session_id: str | None
    model: str | None
    input_format: str | None
    output_format: str | None
    first_time: float | None
    last_time: float | None
    seconds: float
    user_seconds: float
    responses: int
    responses_left_out: int
    interruptions: int
    headroom: float | None
    server_frames: int
    client_frames: int
    audio_frames: int
    unknown_frames: int
    invalid_frames: int
    problems: int
    server_errors: int
    partial: bool
    input_tokens: int | None
    input_text_tokens: int | None
    input_audio_tokens: int | None
    input_image_tokens: int | None
    input_cached_tokens: int | None
    output_tokens: int | None
    output_text_tokens: int | None
    output_audio_tokens: int | None
    output_reasoning_tokens: int | None


class ResponseRow(NamedTuple):
    """A row of `responses`."""

    recording: str
    number: int
    epoch: int
    response_id: str | None
    status: str | None
    created: float | None
    speech_stopped_to_audio: float | None
    created_to_audio: float | None
    duration: float | None
    deltas: int
    audio: float | None
    real_time_factor: float | None
    jitter_p50: float | None
    jitter_p95: float | None
    jitter_max: float | None
    needed_buffer: float | None
    stalls: int | None
    longest_stall: float | None
    interrupted: bool
    input_tokens: int | None
    input_text_tokens: int | None
    input_audio_tokens: int | None
    input_image_tokens: int | None
    input_cached_tokens: int | None
    output_tokens: int | None
    output_text_tokens: int | None
    output_audio_tokens: int | None
    output_reasoning_tokens: int | None


class ItemRow(NamedTuple):
    """A row of `items`: an entry of the transcript with its audio, or one of the two alone."""

    recording: str
    number: int
    response_id: str | None
    item_id: str | None
    content_index: int | None
    role: str
    kind: str
    time: float | None
    text: str | None
    final: bool | None
    name: str | None
    call_id: str | None
    format: str | None
    sample_rate: int | None
    samples: int | None
    pending: int | None
    seconds: float | None
    done: bool | None
    file: str | None


TABLES: Final[dict[str, type[NamedTuple]]] = {
    "sessions": RecordingRow,
    "responses": ResponseRow,
    "items": ItemRow,
}
"""The rows of each table, by its name."""


class ManifestLine(Struct):
    """A line of the manifest, in the keys of NeMo and of Lhotse's reader for NeMo's manifests."""

    audio_filepath: str
    duration: float
    text: str
    sampling_rate: int | None
    speaker: str
    session: str
    item_id: str
    final: bool


def check_tables() -> None:
    """Raise ReplayError if tables cannot be written, because pyarrow is missing."""
    import_pyarrow()


def write_tables(job: Path, recordings: Iterable[tuple[str, str]]) -> None:
    """Write `sessions.parquet`, `responses.parquet`, `items.parquet` and `manifest.jsonl`; and
    `events.parquet`, if one of the recordings' folders has such a file.

    job: the folder that holds the recordings' folders, and gets the tables. recordings: the name of
    each, and its folder's name in `job`, in the order in which they are to stand.

    All of them appear together, once they are whole. Raises OSError if something cannot be read or
    written, and ReplayError if a folder does not hold what this version of `replay` writes, or
    pyarrow is missing; earlier tables stay as they were.
    """
    check_tables()
    root = job.resolve()
    folder = OutputFolder(root.parent, root.name, _OURS)
    try:
        with ExitStack() as stack:
            tables = _Tables(stack, folder)
            for name, part in recordings:
                tables.add(_Replayed(root, name, part))
        folder.finish()
    except BaseException:
        folder.discard()
        raise


class _Complete(Report, kw_only=True):
    """What `session.json` holds when all is there."""

    metrics: SessionMetrics


class _Replayed:
    """What `replay` wrote of one recording."""

    def __init__(self, job: Path, name: str, folder: str) -> None:
        # A name that is no UTF-8 can stand neither in Parquet nor in JSON as it is.
        self.name = name.encode(errors="backslashreplace").decode()
        self.folder = folder
        self.events = job / folder / EVENTS
        self.report = _read(job / folder / "session.json", _Complete)
        self.entries = _read(job / folder / "transcript.json", list[Entry])


def _read(path: Path, type: type[_Json]) -> _Json:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _other_version(path, error) from None


def _other_version(path: Path, reason: object) -> ReplayError:
    return ReplayError(f"{path} is not of this version: {reason}")


class _Part(NamedTuple):
    """What was said in one part of an item, the audio of that, or both."""

    key: Key
    entry: Entry | None
    item: SpokenItem | None


def _parts(entries: list[Entry], items: list[SpokenItem]) -> Iterator[_Part]:
    """Yield what was said, each with its audio, and then the audio of which no text is known.

    Several may have the same ids, or none. They are joined in order then, if there are as many
    texts as there is audio; otherwise nobody can tell which belongs to which, and they are not.
    """
    audio: dict[Key, deque[SpokenItem]] = {}
    for item in items:
        audio.setdefault(_key(item), deque()).append(item)
    spoken = Counter(_key(entry) for entry in entries if _is_spoken(entry))
    joined = {key: same for key, same in audio.items() if len(same) == spoken[key]}
    for entry in entries:
        own = joined.get(_key(entry)) if _is_spoken(entry) else None
        yield _Part(_key(entry), entry, own.popleft() if own else None)
    for item in items:
        if _key(item) not in joined:
            yield _Part(_key(item), None, item)


def _is_spoken(entry: Entry) -> bool:
    return entry.role == "assistant" and entry.kind == "speech"


def _key(part: Entry | SpokenItem) -> Key:
    return part.response_id, part.item_id, part.content_index


class _Tables:
    """The tables and the manifest, while they are written."""

    def __init__(self, stack: ExitStack, folder: OutputFolder) -> None:
        self._stack, self._folder = stack, folder
        self._events: _Events | None = None  # until a recording has some
        self._manifest = stack.enter_context(folder.create("manifest.jsonl"))
        self._tables = {
            name: stack.enter_context(
                _Table(stack.enter_context(folder.create(f"{name}.parquet")), row)
            )
            for name, row in TABLES.items()
        }

    def add(self, replayed: _Replayed) -> None:
        """Add what is known of one recording."""
        self._tables["sessions"].add(_recording_row(replayed))
        for number, response in enumerate(replayed.report.metrics.responses, 1):
            self._tables["responses"].add(_response_row(replayed.name, number, response))
        written = {file.file: file for file in replayed.report.files}
        parts = _parts(replayed.entries, replayed.report.items)
        for number, part in enumerate(parts, 1):
            self._tables["items"].add(_item_row(replayed, number, part))
            if part.entry is not None and part.item is not None and part.item.file:
                self._list(replayed, part.entry, written[part.item.file])
        if replayed.events.exists():
            self._add_events(replayed)

    def _add_events(self, replayed: _Replayed) -> None:
        if self._events is None:
            file = self._stack.enter_context(self._folder.create(EVENTS))
            self._events = self._stack.enter_context(_Events(file))
        self._events.add(replayed)

    def _list(self, replayed: _Replayed, entry: Entry, file: AudioFile) -> None:
        """Add a line to the manifest, unless the file has no header or nothing is said in it."""
        if file.format == _RAW or not entry.text.strip():
            return
        line = ManifestLine(
            audio_filepath=f"{replayed.folder}/{file.file}",
            duration=round(file.seconds, 6),
            text=entry.text,
            sampling_rate=file.sample_rate,
            speaker=entry.role,
            session=replayed.name,
            item_id=entry.item_id,
            final=entry.final,
        )
        self._manifest.write(msgspec.json.encode(line) + b"\n")


class _Table:
    """A Parquet file while it is written, a row group at a time."""

    def __init__(self, file: BinaryIO, row: type[NamedTuple]) -> None:
        self._arrow = import_pyarrow()
        self._schema = schema(row)
        self._writer = self._arrow.parquet.ParquetWriter(file, self._schema)
        self._rows: list[tuple[Any, ...]] = []
        self._text = 0  # characters in them

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        self._text += sum(len(value) for value in row if isinstance(value, str))
        if len(self._rows) >= MAX_ROWS or self._text >= MAX_TEXT:
            self._end_group()

    def _end_group(self) -> None:
        columns = zip(*self._rows, strict=True)
        arrays = map(self._arrow.array, columns, self._schema.types)
        self._writer.write(self._arrow.record_batch(list(arrays), schema=self._schema))
        self._rows.clear()
        self._text = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, type: object, *error: object) -> None:
        try:
            if self._rows and type is None:
                self._end_group()
        finally:
            self._writer.close()


class _Events:
    """The events of all recordings, while they are joined."""

    def __init__(self, file: BinaryIO) -> None:
        self._arrow = import_pyarrow()
        self._schema = job_event_schema()
        self._writer = event_writer(file, self._schema)
        self._parts: list[Any] = []  # tables that wait to become a row group
        self._count = 0  # rows in them

    def add(self, replayed: _Replayed) -> None:
        """Add the rows of a recording, a row group of its own file at a time."""
        try:
            with self._arrow.parquet.ParquetFile(replayed.events) as file:
                if file.schema_arrow != event_schema():
                    raise _other_version(replayed.events, "its columns are others")
                for number in range(file.num_row_groups):
                    self._add(replayed.name, file.read_row_group(number, use_threads=False))
        except self._arrow.ArrowInvalid as error:
            raise _other_version(replayed.events, error) from None

    def _add(self, name: str, part: Any) -> None:
        names = self._arrow.repeat(name, len(part))
        columns = [names, *part.columns]
        self._parts.append(self._arrow.table(columns, schema=self._schema))
        self._count += len(part)
        if self._count >= MAX_EVENTS or len(self._parts) >= MAX_PARTS:
            self._end_group()

    def _end_group(self) -> None:
        # One dictionary for all parts: a column of several is written without any.
        group = self._arrow.concat_tables(self._parts).unify_dictionaries()
        self._writer.write_table(group, row_group_size=len(group))
        self._parts.clear()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, type: object, *error: object) -> None:
        try:
            if self._parts and type is None:
                self._end_group()
        finally:
            self._writer.close()


def job_event_schema() -> Any:
    """Return the pyarrow.Schema of a job's events. Raises ReplayError without pyarrow."""
    arrow = import_pyarrow()
    return event_schema().insert(0, arrow.field("recording", arrow.string(), nullable=False))


def schema(row: type[NamedTuple]) -> Any:
    """Return the pyarrow.Schema of the rows of a table. Raises ReplayError without pyarrow."""
    arrow = import_pyarrow()
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    fields = []
    for name, hint in get_type_hints(row).items():
        kind, *none = get_args(hint) or (hint,)
        fields.append(arrow.field(name, types[kind], nullable=NoneType in none))
    return arrow.schema(fields)


# --- rows ---------------------------------------------------------------------------------------


def _recording_row(replayed: _Replayed) -> RecordingRow:
    report = replayed.report
    metrics, frames = report.metrics, report.frames
    stated = report.sessions[0] if report.sessions else SessionRow()
    return RecordingRow(
        recording=replayed.name,
        folder=replayed.folder,
        sessions=metrics.epochs,
        session_id=stated.id or None,
        model=stated.model or None,
        input_format=_format(stated.input_audio_format),
        output_format=_format(stated.output_audio_format),
        first_time=report.first_time,
        last_time=report.last_time,
        seconds=report.seconds,
        user_seconds=report.user_seconds,
        responses=len(metrics.responses),
        responses_left_out=metrics.left_out,
        interruptions=metrics.interruptions,
        headroom=min(metrics.headroom.values(), default=None),
        server_frames=frames["server"],
        client_frames=frames["client"],
        audio_frames=frames["audio"],
        unknown_frames=frames["unknown"],
        invalid_frames=frames["invalid"],
        problems=report.error_count,
        server_errors=report.server_error_count,
        partial=report.partial,
        **_tokens(metrics.tokens),
    )


def _response_row(recording: str, number: int, response: ResponseMetrics) -> ResponseRow:
    jitter, stalls = response.jitter, response.stalls
    return ResponseRow(
        recording=recording,
        number=number,
        epoch=response.epoch,
        response_id=response.id or None,
        status=response.status or None,
        created=response.created,
        speech_stopped_to_audio=response.speech_stopped_to_audio,
        created_to_audio=response.created_to_audio,
        duration=response.duration,
        deltas=response.deltas,
        audio=response.audio,
        real_time_factor=response.real_time_factor,
        jitter_p50=None if jitter is None else jitter.p50,
        jitter_p95=None if jitter is None else jitter.p95,
        jitter_max=None if jitter is None else jitter.max,
        needed_buffer=response.needed_buffer,
        stalls=None if stalls is None else len(stalls),
        longest_stall=None if stalls is None else max(stalls, default=0.0),
        interrupted=response.interrupted,
        **_tokens(response.tokens),
    )


def _item_row(replayed: _Replayed, number: int, part: _Part) -> ItemRow:
    entry = part.entry
    response_id, item_id, content_index = part.key
    return ItemRow(
        recording=replayed.name,
        number=number,
        response_id=response_id or None,
        item_id=item_id or None,
        content_index=as_int64(content_index),
        role="assistant" if entry is None else entry.role,
        kind="speech" if entry is None else entry.kind,
        time=None if entry is None else entry.time,
        text=None if entry is None else entry.text,
        final=None if entry is None else entry.final,
        name=(entry and entry.name) or None,
        call_id=(entry and entry.call_id) or None,
        **_audio(part.item, replayed.folder),
    )


def _audio(item: SpokenItem | None, folder: str) -> dict[str, Any]:
    """The columns that tell of audio."""
    if item is None:
        names = ("format", "sample_rate", "samples", "pending", "seconds", "done", "file")
        return dict.fromkeys(names)
    return dict(
        format=item.format,
        sample_rate=item.sample_rate,
        samples=item.samples,
        pending=item.pending,
        seconds=item.seconds if item.sample_rate else None,
        done=item.done,
        file=f"{folder}/{item.file}" if item.file else None,
    )


def _tokens(tokens: Tokens) -> dict[str, Any]:
    """The columns that tell of tokens: `input_tokens`, `input_text_tokens`, ..."""
    return {f"{kind}_tokens": number for kind, number in msgspec.structs.asdict(tokens).items()}


def _format(stated: Any) -> str | None:
    """A format as the session stated it; the type of one that is an object, with its rate."""
    if isinstance(stated, dict):
        rate = stated.get("rate")
        return str(stated.get("type")) + ("" if rate is None else f";rate={rate}")
    return stated if isinstance(stated, str) else None
