"""Streaming decoder for the server events of the OpenAI Realtime API.

    event = deltaring.decode(frame)          # one frame by itself
    decoder = deltaring.Decoder()            # one per connection: audio goes to rings
    event = decoder.decode(frame)

See `deltaring.events` for the events, `deltaring.recording` for recorded sessions.
"""

from deltaring import events
from deltaring.decoder import Decoder, Stats, decode
from deltaring.errors import (
    DeltaringError,
    FrameError,
    FrameTooLarge,
    InvalidAudio,
    InvalidJSON,
    PlaybackError,
    RecordingError,
    ReplayError,
    SchemaError,
)
from deltaring.events import *  # noqa: F403 - the 58 events, UnknownEvent and InvalidEvent
from deltaring.playback import Playback, Truncation
from deltaring.ring import AudioRing
from deltaring.run import ROW, Run
from deltaring.session import Session
from deltaring.track import AudioDelta, Track

__version__ = "0.1.0"

__all__ = [
    "ROW",
    "AudioDelta",
    "AudioRing",
    "Decoder",
    "DeltaringError",
    "FrameError",
    "FrameTooLarge",
    "InvalidAudio",
    "InvalidJSON",
    "Playback",
    "PlaybackError",
    "RecordingError",
    "ReplayError",
    "Run",
    "SchemaError",
    "Session",
    "Stats",
    "Track",
    "Truncation",
    "decode",
]
__all__ += events.__all__
