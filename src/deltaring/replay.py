"""replay(): one recorded session into audio, transcripts and figures.

Rule: what can be read is written, whole, and what cannot is named with its line and byte offset. A
dropped sample is a failure, not a statistic.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np

from deltaring.audio import MIN_RATE
from deltaring.audiofiles import AudioFile, AudioFiles
from deltaring.captions import captions
from deltaring.decoder import Decoder
from deltaring.encoding import Encoding, choose_encoding
from deltaring.errors import InvalidAudio, RecordingError
from deltaring.eventlog import EVENTS, EventLog, import_pyarrow
from deltaring.lines import CHUNK
from deltaring.metrics import Meter, SessionMetrics
from deltaring.microphone import APPEND, Microphone
from deltaring.outdir import OutputFolder, folder_name
from deltaring.recording import Record, Recording
from deltaring.report import Report, Reporter
from deltaring.run import ROW, Run
from deltaring.session import Session
from deltaring.speech import Speech
from deltaring.stereo import Stereo
from deltaring.tape import Tapes
from deltaring.timeline import Timeline
from deltaring.track import AudioDelta, Track
from deltaring.transcript import MAX_TEXT, Entry

# Room for all that a reader has in memory at a time, were it base64 of one byte a sample, at the
# lowest rate. Rings are drained after each run, and an empty ring starts again at the beginning of
# its memory: pages beyond the longest run are never touched.
_SECONDS_PER_BYTE = 3 / 4 / MIN_RATE
_ROWS = 1_024  # of a run: more lines than a buffer of 256 KiB has, with the shortest of deltas
_MAX_TRACKS = 16_384  # tracks that the recording never ends hold their rings: address space

_PROGRESS = 256  # records between two calls of `progress`: some 4 MB

_OURS = re.compile(
    r"(item-\d{4,}|(assistant|user)(-\d+)?|stereo)\.(wav|flac|opus|raw)"
    r"|transcript\.(txt|json|vtt)|session\.json|events\.parquet"
)

Progress = Callable[[int], object]


def replay(
    recording: Recording,
    out: Path,
    progress: Progress | None = None,
    *,
    audio: str = "wav",
    rate: int | None = None,
    stereo: bool = False,
    events: bool = False,
    salvage: bool = False,
) -> tuple[Report, Path]:
    """Write audio, transcripts and `session.json` of a recording to a folder of its own in `out`.

    Returns the report and the folder, whose name is `folder_name` of the recording's. `progress` is
    called now and then with the byte offset reached in the recording. What is wrong with the
    recording is in its `problems` and in the report. docs/replay.md describes what is written.

    audio: "wav", "flac", "opus", or "none" to write no audio. rate: of all audio, in Hz; that of
        each recorded format unless given. stereo: write both sides to one file, too.
    events: write a table of all frames, too, for which pyarrow is needed.
    salvage: of a file that is cut off (compressed, and its end is not there or damaged), write what
        can be read; without it such a file is an error, since nobody could see what is missing.

    Raises OSError if the recording cannot be opened or the output not be written, RecordingError
    where Zstandard is missing, and ReplayError if something else has the folder's place, for
    options that cannot be met, and where a package is missing; no file is left half-written.
    """
    encoding = choose_encoding(audio, rate, stereo)
    if events:
        import_pyarrow()
    reading = _Reading(recording)
    records = recording.runs(reading.scan)
    first = next(records, None)  # opens it: nothing is made in `out` for a file that isn't there
    folder = OutputFolder(out, folder_name(recording.name), _OURS)
    tapes = Tapes(folder)
    try:
        with ExitStack() as files:
            if encoding is not None:
                reading.write_audio(_Audio(tapes, encoding, stereo))
            if events:
                file = files.enter_context(folder.create(EVENTS))
                reading.log = files.enter_context(EventLog(file, recording))
            report = reading.finish(chain([first] if first else [], records), progress)
            if recording.broken and not salvage:
                raise RecordingError(f"{recording.broken}; with salvage, what can be read is kept")
        _write(report, reading, folder)
    except BaseException:
        tapes.abandon()
        folder.discard()
        raise
    return report, folder.path


def inspect(recording: Recording, progress: Progress | None = None) -> Report:
    """Return the report of a recording without writing anything. Raises as `replay` does."""
    reading = _Reading(recording)
    return reading.finish(recording.runs(reading.scan), progress)


def measure(
    recording: Recording, progress: Progress | None = None, *, buffer: float = 0.0
) -> SessionMetrics:
    """Return the metrics of a recording (docs/metrics.md) without writing anything.

    buffer: seconds that the player waits after the first delta whose stalls are counted.
    Raises as `replay` does, and ValueError for a buffer that is negative or not finite.
    """
    reading = _Reading(recording, buffer)
    reading.finish(recording.runs(reading.scan), progress)
    return reading.meter.read()


class _Audio:
    """Where the audio of a recording goes: tapes while it is read, files when all is there."""

    def __init__(self, tapes: Tapes, encoding: Encoding, stereo: bool) -> None:
        self._tapes = tapes
        self._files = AudioFiles(tapes.folder, encoding)
        self._stereo = Stereo() if stereo else None
        self.speech = Speech(self._files, tapes)
        self.microphone = Microphone(tapes)

    def hear(self, count: int, time: float | None) -> None:
        """The user's tape has got so many samples."""
        if self._stereo is not None:
            self._stereo.hear(self.microphone.tapes[-1], count, time)

    def finish(self, timeline: Timeline, origin: float | None) -> AudioFiles:
        """Write the files."""
        self._tapes.close()
        self.speech.finish()
        for part, tape in zip(self.microphone.parts, self.microphone.tapes, strict=True):
            part.file = self._files.keep(tape, part.format)
        if self._stereo is not None:
            self._stereo.write(self._files, self.speech, timeline, origin)
        return self._files


class _Reading:
    """One pass over a recording: where its runs of audio and its other records go."""

    def __init__(self, recording: Recording, buffer: float = 0.0) -> None:
        self._recording = recording
        decoder = Decoder(
            seconds=(recording.longest_line + CHUNK) * _SECONDS_PER_BYTE,
            max_tracks=_MAX_TRACKS,
            max_frame=recording.max_frame,
            on_invalid="keep",
        )
        self._rows = np.empty(_ROWS, ROW)
        self._reporter = Reporter(recording)
        self._microphone = Microphone()
        self._audio: _Audio | None = None
        self.log: EventLog | None = None
        """Where all frames go, if they go anywhere."""
        self.session = Session(decoder, max_text=MAX_TEXT)
        self.timeline = Timeline()
        self.meter = Meter(self.session, buffer)

    def scan(self, buffer: bytearray, start: int, stop: int) -> Run:
        return self.session.decoder.scan(buffer, self._rows, start, stop)

    def write_audio(self, audio: _Audio) -> None:
        """Let the audio of both sides be written."""
        self._audio, self._microphone = audio, audio.microphone

    def finish(self, records: Iterable[Record | Run], progress: Progress | None) -> Report:
        """Take all records, and return the report."""
        recording = self._recording
        for number, record in enumerate(records):
            if isinstance(record, Run):
                self._take_run(record)
            elif record.source == "client":
                self._take_client(record)
            else:
                self._take(record)
            if progress is not None and not number % _PROGRESS:
                progress(recording.offset)
        if self.session.transcript.left_out:
            recording.report("there is more transcript than is kept; the oldest was left out")
        files = self._write_audio()
        report = self._reporter.finish(self.session.decoder.stats, self._microphone.parts, files)
        report.metrics = self.meter.read()
        return report

    def _write_audio(self) -> list[AudioFile]:
        if self._audio is None:
            return []
        files = self._audio.finish(self.timeline, self._reporter.first_time)
        for reason in files.refused:
            self._recording.report(reason)
        return files.written

    def _take_run(self, run: Run) -> None:
        self._reporter.take_run(run)
        self.session.apply_run(run)
        self.timeline.run(run, self._reporter.item)
        self.meter.take_run(run)
        if self.log is not None:
            self.log.take_run(run)
        for track in run.tracks:
            self._drain(track)

    def _take(self, record: Record) -> None:
        event = self.session.receive(record.frame, record.time)
        self.meter.take(event, record.time)
        if self.log is not None:
            self.log.take(event, record.time)
        if type(event) is AudioDelta:
            item = self._reporter.take_audio(event, record.time)
            self.timeline.audio(event.track, item, record.time)
            self._drain(event.track)
        else:
            self._reporter.take(event, record.time)
            self.timeline.take(event, record.time)

    def _take_client(self, record: Record) -> None:
        frame = self._reporter.take_client(record)
        if self.log is not None:
            self.log.take_client(frame.type, record.time)
        if frame.type != APPEND:
            return
        self.timeline.appended(record.time)
        session = self.session
        try:
            count = self._microphone.take(frame.audio, session.input_format, session.epoch)
        except InvalidAudio as error:
            self._recording.report(str(error))
            return
        if self._audio is not None:
            self._audio.hear(count, record.time)

    def _drain(self, track: Track) -> None:
        if self._audio is not None:
            self._audio.speech.take(track, self._reporter.item(track))
        track.ring.clear()


def _write(report: Report, reading: _Reading, folder: OutputFolder) -> None:
    transcript = reading.session.transcript
    with folder.create("transcript.txt") as file:
        file.writelines(line.encode() for line in transcript.lines())
    with folder.create("transcript.json") as file:
        file.writelines(_json_rows(transcript.entries))
    if report.first_time is not None:
        cues = captions(transcript.entries, reading.timeline, report.first_time)
        with folder.create("transcript.vtt") as file:
            file.writelines(cue.encode() for cue in cues)
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
