"""How a user's code looks to a type checker: `mypy --strict tests/typed_use.py` must find nothing."""

import numpy as np

import deltaring
from deltaring import AudioDelta, Decoder, ErrorEvent, ResponseAudioTranscriptDelta, UnknownEvent
from deltaring.recording import Recording, RecordingWriter


def describe(decoder: Decoder, frame: bytes | str) -> str:
    match decoder.decode(frame):
        case AudioDelta(track=track, start=start, stop=stop):
            count: int = track.ring.read_into(np.zeros(stop - start, np.int16))
            return f"{count} samples of {track.format} at {track.sample_rate}"
        case ResponseAudioTranscriptDelta(delta=text):
            return text
        case ErrorEvent(error=error):
            return error.message or ""
        case UnknownEvent(raw=raw):
            return raw.decode()
        case deltaring.SessionCreated(session=session):
            return session.model or ""
        case event:
            return event.type + event.event_id


def copy(source: str, target: str) -> None:
    with RecordingWriter(target) as writer:
        for time, origin, frame in Recording(source):
            writer.write(frame, source=origin, time=time)
