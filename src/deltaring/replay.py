"""replay(): one recorded session into audio, transcripts and figures.

Rule: what can be read is written, whole, and what cannot is named with its line and byte offset. A
dropped sample is a failure, not a statistic.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np

from deltaring.audio import MIN_RATE
from deltaring.decoder import Decoder
from deltaring.lines import CHUNK
from deltaring.outdir import OutputFolder, folder_name
from deltaring.recording import Record, Recording
from deltaring.report import Report, Reporter
from deltaring.run import ROW, Run
from deltaring.session import Session
from deltaring.speech import Speech
from deltaring.track import AudioDelta, Track
from deltaring.transcript import MAX_TEXT, Entry, Transcript

# Room for all that a reader has in memory at a time, were it base64 of one byte a sample, at the
# lowest rate. Rings are drained after each run, and an empty ring starts again at the beginning of
# its memory: pages beyond the longest run are never touched.
_SECONDS_PER_BYTE = 3 / 4 / MIN_RATE
_ROWS = 1_024  # of a run: more lines than a buffer of 256 KiB has, with the shortest of deltas
_MAX_TRACKS = 16_384  # tracks that the recording never ends hold their rings: address space

_PROGRESS = 256  # records between two calls of `progress`: some 4 MB

_OURS = re.compile(
    r"item-\d{4,}\.(wav|raw)|assistant(-\d+)?\.wav|transcript\.(txt|json)|session\.json"
)

Progress = Callable[[int], object]


def replay(
    recording: Recording, out: Path, progress: Progress | None = None
) -> tuple[Report, Path]:
    """Write audio, transcripts and `session.json` of a recording to a folder of its own in `out`.

    Returns the report and the folder, whose name is `folder_name` of the recording's. `progress` is
    called now and then with the byte offset reached in the recording. What is wrong with the
    recording is in its `problems` and in the report.

    Raises OSError if the recording cannot be opened or the output not be written, RecordingError
    where Zstandard is missing, and ReplayError if something else has the folder's place; no file is
    left half-written.
    """
    reading = _Reading(recording)
    records = recording.runs(reading.scan)
    first = next(records, None)  # opens it: nothing is made in `out` for a file that isn't there
    folder = OutputFolder(out, folder_name(recording.name), _OURS)
    try:
        reading.speech = Speech(folder)
        report = reading.finish(chain([first] if first else [], records), progress)
        _write(report, reading.transcript, folder)
    except BaseException:
        folder.discard()
        raise
    return report, folder.path


def inspect(recording: Recording, progress: Progress | None = None) -> Report:
    """Return the report of a recording without writing anything. Raises as `replay` does."""
    reading = _Reading(recording)
    return reading.finish(recording.runs(reading.scan), progress)


class _Reading:
    """One pass over a recording: where its runs of audio and its other records go."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        decoder = Decoder(
            seconds=(recording.longest_line + CHUNK) * _SECONDS_PER_BYTE,
            max_tracks=_MAX_TRACKS,
            max_frame=recording.max_frame,
            on_invalid="keep",
        )
        self._rows = np.empty(_ROWS, ROW)
        self._reporter = Reporter(recording)
        self._session = Session(decoder, max_text=MAX_TEXT)
        self.speech: Speech | None = None

    @property
    def transcript(self) -> Transcript:
        return self._session.transcript

    def scan(self, buffer: bytearray, start: int, stop: int) -> Run:
        return self._session.decoder.scan(buffer, self._rows, start, stop)

    def finish(self, records: Iterable[Record | Run], progress: Progress | None) -> Report:
        """Take all records, and return the report."""
        recording = self._recording
        for number, record in enumerate(records):
            if isinstance(record, Run):
                self._take_run(record)
            elif record.source == "client":
                self._reporter.take_client(record)
            else:
                self._take(record)
            if progress is not None and not number % _PROGRESS:
                progress(recording.offset)
        if self._session.transcript.left_out:
            recording.report("there is more transcript than is kept; the rest was left out")
        for reason in self.speech.finish() if self.speech is not None else ():
            recording.report(reason)
        return self._reporter.finish(self._session.decoder.stats)

    def _take_run(self, run: Run) -> None:
        self._reporter.take_run(run)
        self._session.apply_run(run)
        for track in run.tracks:
            self._drain(track)

    def _take(self, record: Record) -> None:
        event = self._session.receive(record.frame, record.time)
        if type(event) is AudioDelta:
            self._reporter.take_audio(event, record.time)
            self._drain(event.track)
        else:
            self._reporter.take(event, record.time)

    def _drain(self, track: Track) -> None:
        if self.speech is not None:
            self.speech.take(track, self._reporter.item(track))
        track.ring.clear()


def _write(report: Report, transcript: Transcript, folder: OutputFolder) -> None:
    with folder.create("transcript.txt") as file:
        file.writelines(line.encode() for line in transcript.lines())
    with folder.create("transcript.json") as file:
        file.writelines(_json_rows(transcript.entries))
    with folder.create("session.json") as file:
        file.write(report.to_json())
    folder.finish()


def _json_rows(entries: list[Entry]) -> Iterator[bytes]:
    """Yield the pieces of a JSON array, an entry a line."""
    separator = b"[\n  "
    for entry in entries:
        yield separator + msgspec.json.encode(entry)
        separator = b",\n  "
    yield b"\n]\n" if entries else b"[]\n"
