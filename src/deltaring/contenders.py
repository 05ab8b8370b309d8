"""Contenders: the ways to decode a frame that `deltaring bench` compares.

Rule: each is written as its own documentation advises, its imports and its set-up stand outside the
timing, and one that is not installed is listed as absent. A contender is a class:

    class Mine:
        name = "mine"
        def __init__(self, out: memoryview) -> None: ...
        def parse(self, frame: bytes) -> object: ...
        def receive(self, frame: bytes) -> tuple[object, int]: ...

`parse` makes an event of a frame: a mapping, or an object with attributes, that is readable until
the next call. `receive` does so too, and puts the bytes of an audio delta into `self.out` (that is
`out`, or a buffer of its own), from its start; the number that it returns says how many, and is 0
for any other event. Bad base64 raises an error, whichever, and so does a frame that is cut off.
Either method may be left out. A new object is made for each session. Each answer is made anew: one
that is remembered from an earlier call measures nothing.
"""

import base64
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import MethodType, ModuleType, SimpleNamespace
from typing import Annotated, Any, TypeAlias, get_args

import msgspec
import numpy as np
import pybase64
from msgspec import Struct

import deltaring
from deltaring import kernel
from deltaring.audio import INT16, MIN_RATE
from deltaring.errors import BenchError
from deltaring.frame import decode_known
from deltaring.ring import AudioRing
from deltaring.track import AudioDelta
from deltaring.workload import AUDIO_TYPES

Received: TypeAlias = tuple[object, int]
Codec: TypeAlias = Callable[[Any, None, bool], bytes]
Parse: TypeAlias = Callable[[bytes], Any]
Decode: TypeAlias = Callable[[bytes], Any]

PARSE, AUDIO, SESSION = TASKS = "parse", "audio", "session"
RECEIVE = AUDIO, SESSION

# Both strictly: with their defaults they would skip what is no base64, and lose audio silently.
_CODECS: dict[str, Codec] = {"base64": base64.b64decode, "pybase64": pybase64.b64decode}


class Contender(Struct, frozen=True):
    """One row of each of its tasks."""

    name: str
    tasks: tuple[str, ...]
    make: Callable[[memoryview], Any] | None = None
    """Makes an object with `parse` or `receive`, or both; None: absent."""
    why: str = ""
    """Why it is absent."""
    floor: bool = False
    """Is given the base64 text alone: no contender, but what none can be faster than."""


def caller_buffer(size: int) -> memoryview:
    """The `out` of a contender: zeroed, at least `size` bytes, a whole number of cache lines."""
    return memoryview(bytearray(-(-size // 64) * 64))


def contenders() -> list[Contender]:
    """Return all built-in contenders, absent ones included."""
    return [*_deltaring(), *_parsers(), *_floors()]


def from_file(path: Path) -> list[Contender]:
    """Return the contenders that a Python file defines: its classes that have a `name`.

    Raises BenchError for a file that fails or defines none. Where it needs a module that is not
    installed, the file itself is listed as absent.
    """
    try:
        module = _module(path)
    except ModuleNotFoundError as error:
        return [Contender(f"{path.stem} (file)", TASKS, None, str(error))]
    except BenchError:
        raise
    except (Exception, SystemExit) as error:  # it is somebody's program: whatever it does is told
        raise BenchError(f"{path}: {type(error).__name__}: {error}{_line(error, path)}") from error
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    found = [_from_class(value, path) for value in classes if "name" in vars(value)]
    if not found:
        raise BenchError(f"{path}: no class with a `name`, and `parse` or `receive`")
    return found


def _line(error: BaseException, path: Path) -> str:
    """Where in that file the error arose."""
    lines = [
        it.lineno for it in traceback.extract_tb(error.__traceback__) if it.filename == str(path)
    ]
    return f" (line {lines[-1]})" if lines else ""


def _module(path: Path) -> ModuleType:
    name = f"contender_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"{path}: no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as for a program: its helpers lie beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _from_class(made: Any, path: Path) -> Contender:
    where = f"{path}: class {made.__name__}"
    if not isinstance(made.name, str) or not made.name.isprintable() or not made.name:
        raise BenchError(f"{where}: its name is no line of text: {made.name!r}")
    tasks = (PARSE,) * hasattr(made, "parse") + RECEIVE * hasattr(made, "receive")
    if not tasks:
        raise BenchError(f"{where}: has neither `parse` nor `receive`")
    return Contender(made.name, tasks, made)


# --- deltaring ------------------------------------------------------------------------------


def _decode(out: memoryview, form: str = kernel.NAME, *, fast_path: bool = True) -> Decode:
    """Return `Decoder.decode` of a decoder with that form of the kernel."""
    # G.711 stays bytes here, as it does with all others. Frames without their "done" events leave
    # more tracks open than a live connection does, so there may be many, and each ring is only as
    # long as the longest delta: it is emptied after each.
    seconds = len(out) / MIN_RATE
    decoder = deltaring.Decoder(
        seconds=seconds, keep_g711=True, max_tracks=16_384, fast_path=fast_path
    )
    if form == kernel.NAME:
        return decoder.decode
    decoder._kernel = kernel.FORMS[form](decoder._pool)
    decoder._feed = decoder._kernel.feed
    # Without what the compiled kernel puts before it.
    return MethodType(deltaring.Decoder.decode.__wrapped__, decoder)  # type: ignore[attr-defined]


class _Deltaring:
    """`Decoder.decode` into the ring, and from there into an array: all that a listener does."""

    def __init__(self, out: memoryview, **kernel: Any) -> None:
        self.out = out
        self.int16, self.uint8 = np.frombuffer(out, INT16), np.frombuffer(out, np.uint8)
        self.decode = _decode(out, **kernel)

    def receive(self, frame: bytes) -> Received:
        event = self.decode(frame)
        if type(event) is not AudioDelta:
            return event, 0
        ring = event.track.ring
        if ring.dtype is INT16:
            return event, 2 * ring.read_into(self.int16)
        return event, ring.read_into(self.uint8)


class _Reduced(_Deltaring):
    """The same, each event applied to a `Session` on its way."""

    def __init__(self, out: memoryview) -> None:
        super().__init__(out)
        apply, decode = deltaring.Session().apply, self.decode
        self.decode = lambda frame: apply(decode(frame), 0.0)


class _LeftInRing:
    """`Decoder.decode` alone: the samples wait in the ring, where a callback reads them."""

    def __init__(self, out: memoryview, **kernel: Any) -> None:
        self.decode = _decode(out, **kernel)
        self.ring = AudioRing(0)
        self.out = self.ring._buffer

    def receive(self, frame: bytes) -> Received:
        self.ring.clear()  # in place of the callback
        event = self.decode(frame)
        if type(event) is not AudioDelta:
            return event, 0
        ring = event.track.ring
        if ring is not self.ring:
            self.ring = ring
            self.out = ring._buffer  # an empty ring starts at the beginning of its memory
        count = event.stop - event.start
        return event, 2 * count if ring.dtype is INT16 else count


def _deltaring() -> Iterator[Contender]:
    yield Contender("deltaring", (PARSE,), _parsing(deltaring.decode))
    for form in kernel.FORMS:
        name = f"deltaring {form}"
        yield Contender(name, RECEIVE, partial(_Deltaring, form=form))
        yield Contender(f"{name}, left in its ring", RECEIVE, partial(_LeftInRing, form=form))
    yield Contender("deltaring, with its Session", RECEIVE, _Reduced)
    yield Contender("deltaring, fast path off", RECEIVE, partial(_Deltaring, fast_path=False))


# --- other parsers, each with both base64 codecs ----------------------------------------------


def _parsers() -> Iterator[Contender]:
    for name, load in _PARSERS.items():
        try:
            parse, receiver = load()
        except Exception as error:  # noqa: BLE001 - not there, or of a shape that is not known here
            why = str(error) if isinstance(error, ImportError) else repr(error)
            yield Contender(name, (PARSE,), None, why)
            for codec in _CODECS:
                yield Contender(f"{name} + {codec}", RECEIVE, None, why)
            continue
        yield Contender(name, (PARSE,), _parsing(parse))
        for codec, decode in _CODECS.items():
            yield Contender(f"{name} + {codec}", RECEIVE, receiver(decode))


def _parsing(function: Parse) -> type:
    class Parser:
        parse = staticmethod(function)

        def __init__(self, out: memoryview) -> None:
            pass

    return Parser


def _mapping(parse: Parse) -> Callable[[Codec], type]:
    """Receive by a parser whose events are mappings."""

    def with_codec(decode: Codec) -> type:
        class Mapping:
            def __init__(self, out: memoryview) -> None:
                self.out = out

            def receive(self, frame: bytes) -> Received:
                event = parse(frame)
                if event["type"] not in AUDIO_TYPES:
                    return event, 0
                data = decode(event["delta"], None, True)
                self.out[: len(data)] = data
                return event, len(data)

        return Mapping

    return with_codec


def _typed(parse: Parse) -> Callable[[Codec], type]:
    """Receive by a parser whose events are objects."""

    def with_codec(decode: Codec) -> type:
        class Typed:
            def __init__(self, out: memoryview) -> None:
                self.out = out

            def receive(self, frame: bytes) -> Received:
                event = parse(frame)
                if event.type not in AUDIO_TYPES:
                    return event, 0
                data = decode(event.delta, None, True)
                self.out[: len(data)] = data
                return event, len(data)

        return Typed

    return with_codec


Load: TypeAlias = Callable[[], tuple[Parse, Callable[[Codec], type]]]


def _loads(module: str, function: str = "loads") -> Load:
    def load() -> tuple[Parse, Callable[[Codec], type]]:
        parse = getattr(importlib.import_module(module), function)
        return parse, _mapping(parse)

    return load


def _msgspec_untyped() -> tuple[Parse, Callable[[Codec], type]]:
    parse = msgspec.json.Decoder().decode
    return parse, _mapping(parse)


def _msgspec_typed() -> tuple[Parse, Callable[[Codec], type]]:
    """deltaring's own union of Structs, with what a user needs for types that are not in it."""
    untyped = msgspec.json.Decoder().decode

    def parse(frame: bytes) -> Any:
        try:
            return decode_known(frame)
        except msgspec.ValidationError:
            event = SimpleNamespace(**untyped(frame))
            if event.type in deltaring.EVENT_CLASSES:
                raise
            return event

    return parse, _typed(parse)


def _simdjson() -> tuple[Parse, Callable[[Codec], type]]:
    """One parser for all frames. `receive` builds no dict: it looks fields up in the text."""
    parse = importlib.import_module("simdjson").Parser().parse
    return lambda frame: parse(frame, True), _mapping(parse)


def _pydantic() -> tuple[Parse, Callable[[Codec], type]]:
    """OpenAI's models in a tagged union, with what a user needs for types that are not in it."""
    pydantic = importlib.import_module("pydantic")
    models: Any = importlib.import_module("openai.types.realtime")
    untyped = importlib.import_module("pydantic_core").from_json
    union: Any = get_args(models.RealtimeServerEvent)[0]
    adapter = pydantic.TypeAdapter(Annotated[union, pydantic.Field(discriminator="type")])

    def parse(frame: bytes) -> Any:
        try:
            return adapter.validate_json(frame)
        except pydantic.ValidationError as error:
            if error.errors()[0]["type"] != "union_tag_invalid":
                raise
            return SimpleNamespace(**untyped(frame))

    return parse, _typed(parse)


class _Socket:
    """In place of the WebSocket under the SDK: what it received last."""

    frame = b""

    def recv(self, *, decode: bool = False) -> bytes:
        return self.frame


def _openai() -> tuple[Parse, Callable[[Codec], type]]:
    """`connection.recv()` of the SDK, the socket under it left out."""
    realtime: Any = importlib.import_module("openai.resources.realtime.realtime")
    importlib.import_module("websockets.sync.client")  # the SDK does so at its first recv()
    socket = _Socket()
    receive = realtime.RealtimeConnection(socket).recv

    def parse(frame: bytes) -> Any:
        socket.frame = frame
        return receive()

    return parse, _typed(parse)


_PARSERS: dict[str, Load] = {
    "msgspec typed": _msgspec_typed,
    "msgspec untyped": _msgspec_untyped,
    "orjson": _loads("orjson"),
    "json": _loads("json"),
    "jiter": _loads("jiter", "from_json"),
    "pysimdjson": _simdjson,
    "ujson": _loads("ujson"),
    "python-rapidjson": _loads("rapidjson"),
    "ssrjson": _loads("ssrjson"),
    "pydantic": _pydantic,
    "openai SDK": _openai,
}


# --- the floor: base64 alone ------------------------------------------------------------------


class _Pybase64:
    """Strict decode, and the copy into the caller's buffer."""

    def __init__(self, out: memoryview) -> None:
        self.out = out

    def receive(self, text: bytes) -> Received:
        data = pybase64.b64decode(text, None, True)
        self.out[: len(data)] = data
        return None, len(data)


def _floors() -> Iterator[Contender]:
    yield Contender("pybase64 + copy", (AUDIO,), _Pybase64, floor=True)
    name = "hashcodecs b64decode_into"
    try:
        decode_into = importlib.import_module("hashcodecs").b64decode_into
    except (ImportError, AttributeError) as error:
        yield Contender(name, (AUDIO,), None, str(error), floor=True)
        return

    class Hashcodecs:
        def __init__(self, out: memoryview) -> None:
            self.out = out
            self.buffer = out.obj

        def receive(self, text: bytes) -> Received:
            return None, decode_into(text, self.buffer, None, True)

    yield Contender(name, (AUDIO,), Hashcodecs, floor=True)
