"""Microphone: the user's audio in a recording of both directions, from the client's frames.

Rule: what the client appended is decoded in order, in the input format that the server last stated,
and what is no strict base64 is an error, as on the other side.
"""

from binascii import Error as Base64Error
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from pybase64 import b64decode

from deltaring.audio import INT16, PCM16, UINT8, AudioFormat, find_format
from deltaring.errors import InvalidAudio
from deltaring.frame import decode_mended
from deltaring.pure import appended
from deltaring.ring import Samples
from deltaring.tape import Tape, Tapes

APPEND = "input_audio_buffer.append"


class ClientFrame(Struct):
    """What is read of a client's frame, whatever else is in it."""

    type: Any = None
    audio: Any = None
    """In one that appends audio: base64 text, or bytes where that is decoded already."""


_FRAME = msgspec.json.Decoder(ClientFrame)


def read_client(frame: bytes | memoryview) -> ClientFrame:
    """Read a client's frame; one without fields where it is no JSON object."""
    audio = appended(frame)
    if audio is not None:
        return ClientFrame(APPEND, audio)
    try:
        return decode_mended(_FRAME, frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ClientFrame()


class UserAudio(Struct):
    """What the client appended in one format, and the file it went to."""

    file: str
    """Empty where none was written: there are no samples, or no audio was asked for."""
    format: str
    sample_rate: int | None
    samples: int = 0
    """Bytes, where the format is not known."""
    pending: int = 0
    """Bytes (0 or 1) of a last sample whose other half never came."""

    @property
    def seconds(self) -> float:
        """Duration; 0 where it cannot be known."""
        return self.samples / self.sample_rate if self.sample_rate else 0.0


def _decoded(audio: object) -> bytes:
    if not isinstance(audio, str):
        raise InvalidAudio(f"{APPEND}: `audio` is {type(audio).__name__}, not a string")
    try:
        return b64decode(audio, None, True)
    except (Base64Error, ValueError) as error:
        raise InvalidAudio(f"{APPEND}: `audio` is not strict base64: {error}") from None


class Microphone:
    """Decodes what clients append, and writes it to a tape for each format if it is given tapes."""

    def __init__(self, tapes: Tapes | None = None) -> None:
        self._tapes = tapes
        self._format: AudioFormat = PCM16
        self._carry = b""
        self._stated: object = None  # format and session of the part at hand
        self.parts: list[UserAudio] = []
        """One for each format, in order; the same format begins another one after a change."""
        self.tapes: list[Tape] = []
        """Of the parts, where they are written."""

    def take(self, audio: object, stated: tuple[str, object] | None, epoch: int) -> int:
        """Take the audio of one append, and return how many samples it completes.

        audio: as in a ClientFrame. stated: the session's input format, as `Session.input_format`.
        epoch: as `Session.epoch`.

        Raises InvalidAudio if it is no strict base64.
        """
        data = audio if isinstance(audio, bytes) else _decoded(audio)
        if not self.parts or self._stated != (stated, epoch):
            self._adopt(stated, epoch)
        samples = self._samples(data)
        part = self.parts[-1]
        part.samples += len(samples)
        part.pending = len(self._carry)
        if self.tapes:
            self.tapes[-1].write(samples)
        return len(samples)

    def _adopt(self, stated: tuple[str, object] | None, epoch: int) -> None:
        """Begin a part, unless the format is the same; half a sample ends with its session."""
        format = PCM16 if stated is None else find_format(*stated)
        if epoch > 1:  # audio may be sent before the first session.created comes
            self._carry = b""
        self._stated = stated, epoch
        if self.parts and (format.name, format.sample_rate) == (
            self._format.name,
            self._format.sample_rate,
        ):
            return
        self._format, self._carry = format, b""
        self.parts.append(UserAudio("", format.name, format.sample_rate))
        if self._tapes is not None:
            number = len(self.parts)
            name = "user" if number == 1 else f"user-{number}"
            self.tapes.append(self._tapes.new(name, format.sample_rate))

    def _samples(self, data: bytes) -> Samples:
        """Turn bytes of the wire into whole samples; keep an odd byte for later."""
        if self._format.table is not None:
            return self._format.table[np.frombuffer(data, UINT8)]
        if self._format.bytes_per_sample == 1:
            return np.frombuffer(data, UINT8)
        data = self._carry + data
        whole = len(data) & ~1
        self._carry = data[whole:]
        return np.frombuffer(data, INT16, whole // 2)
