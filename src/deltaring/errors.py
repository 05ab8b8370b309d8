"""What deltaring raises.

Rule: `decode` and `Decoder.decode` return an event or raise a `FrameError`; for an argument that
is no frame at all they raise `TypeError`. Anything else that comes out of them is a bug.
"""


class DeltaringError(Exception):
    """Base of every error that deltaring raises on purpose."""


class FrameError(DeltaringError, ValueError):
    """A frame that cannot become an event. Nothing of it has been published."""


class FrameTooLarge(FrameError):
    """The frame is longer than `max_frame` bytes; it was not looked at."""


class InvalidJSON(FrameError):
    """The frame is not one JSON document in UTF-8, or it nests too deeply."""


class SchemaError(FrameError):
    """Valid JSON that is no event: no object, no `type` string, or fields that do not fit."""


class InvalidAudio(FrameError):
    """The `delta` of an audio delta is not strict base64 (RFC 4648, section 4)."""


class PlaybackError(DeltaringError):
    """A track that cannot be played: its format is unknown, or its rate another one."""


class RecordingError(DeltaringError):
    """A recording that cannot be opened or read on: its name and the reason are in the text."""


class ReplayError(DeltaringError):
    """A replay whose output cannot be written where, or as, it was asked to."""


class WorkerLost(DeltaringError):
    """A task whose process died of it, each time that it was tried."""


class BenchError(DeltaringError):
    """A comparison that cannot be made as it was asked for."""
