"""Run: consecutive lines of audio that were taken from a buffer of lines in one call.

Rule: a run ends where anything but an audio delta stands, so that audio never overtakes the events
around it: formats that change, tracks that end.
"""

import re
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deltaring.track import Track

ROW: Final = np.dtype(
    [
        ("line", np.int64),
        ("length", np.int64),
        ("time", np.float64),
        ("track", np.int64),
        ("start", np.int64),
        ("stop", np.int64),
        ("dropped", np.int64),
        ("ga", np.int64),
    ],
    align=True,
)
"""One line of a run, 64 bytes:

line, length: where it starts in the buffer, and its bytes up to its LF.
time: Unix seconds, nan where the line has none.
track: its track's `serial`.
start, stop, dropped: as in AudioDelta, in samples.
ga: 1 for response.output_audio.delta, 0 for response.audio.delta.
"""

ENVELOPE = re.compile(
    rb'\{"time": ?(-?(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,20})?)'
    rb', ?"source": ?"(server|client)", ?"event": ?'
)
"""What stands before the frame in a line that a RecordingWriter wrote."""


class Run(NamedTuple):
    """What `Decoder.scan` took."""

    rows: NDArray[np.void]
    """One for each line taken, of dtype ROW: a view of the array that was given."""
    stop: int
    """Where the first line starts that was not taken."""
    tracks: list[Track]
    """Those that got audio, each once, in the order of their first line."""
