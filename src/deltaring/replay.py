"""replay(): one recorded session into audio, transcripts and figures.

Rule: what can be read is written, whole, and what cannot is named with its line and byte offset. A
dropped sample is a failure, not a statistic.
"""

import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import msgspec

from deltaring.audio import MIN_RATE
from deltaring.decoder import Decoder
from deltaring.outdir import OutputFolder, folder_name
from deltaring.recording import Record, Recording
from deltaring.report import Report, Reporter
from deltaring.speech import Speech
from deltaring.track import AudioDelta
from deltaring.transcript import Entry, Transcript

# Room for the longest delta there can be: a frame's worth of base64, one byte a sample, at the
# lowest rate. Rings are drained after each frame, and an empty ring starts again at the beginning
# of its memory: pages beyond the largest delta are never touched.
_SECONDS_PER_BYTE = 3 / 4 / MIN_RATE
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
    records = recording.views()
    first = next(records, None)  # opens it: nothing is made in `out` for a file that isn't there
    folder = OutputFolder(out, folder_name(recording.name), _OURS)
    try:
        report = _write(recording, chain([first] if first else [], records), folder, progress)
    except BaseException:
        folder.discard()
        raise
    return report, folder.path


def inspect(recording: Recording, progress: Progress | None = None) -> Report:
    """Return the report of a recording without writing anything. Raises as `replay` does."""
    return _read(recording, recording.views(), Transcript(), None, progress)


def _write(
    recording: Recording, records: Iterator[Record], folder: OutputFolder, progress: Progress | None
) -> Report:
    transcript = Transcript()
    speech = Speech(folder)
    report = _read(recording, records, transcript, speech, progress)
    with folder.create("transcript.txt") as file:
        file.writelines(line.encode() for line in transcript.lines())
    with folder.create("transcript.json") as file:
        file.writelines(_json_rows(transcript.entries))
    with folder.create("session.json") as file:
        file.write(report.to_json())
    folder.finish()
    return report


def _json_rows(entries: list[Entry]) -> Iterator[bytes]:
    """Yield the pieces of a JSON array, an entry a line."""
    separator = b"[\n  "
    for entry in entries:
        yield separator + msgspec.json.encode(entry)
        separator = b",\n  "
    yield b"\n]\n" if entries else b"[]\n"


def _read(
    recording: Recording,
    records: Iterator[Record],
    transcript: Transcript,
    speech: Speech | None,
    progress: Progress | None,
) -> Report:
    decoder = Decoder(
        seconds=recording.max_frame * _SECONDS_PER_BYTE,
        max_tracks=_MAX_TRACKS,
        max_frame=recording.max_frame,
        on_invalid="keep",
    )
    reporter = Reporter(recording)
    for number, record in enumerate(records):
        if record.source == "client":
            reporter.take_client(record)
        else:
            event = decoder.decode(record.frame)
            if type(event) is AudioDelta:
                item = reporter.take_audio(event, record.time)
                if speech is not None:
                    speech.take(event, item)
                event.track.ring.clear()
            else:
                reporter.take(event, record.time)
                transcript.take(event, record.time)
        if progress is not None and not number % _PROGRESS:
            progress(recording.offset)
    if transcript.full:
        recording.report("there is more transcript than is kept; the rest was left out")
    for reason in speech.finish() if speech is not None else ():
        recording.report(reason)
    return reporter.finish(decoder.stats)
