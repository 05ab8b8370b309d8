"""Which JSON is accepted where: the documents of tests/grammar.py, and JSONTestSuite's 318.

Rule: what must become of a document follows from its verdict and from its place, and there is no
exception but those named in `tests.jsonsuite.DECIDED`. In a field that nobody reads (an unknown one),
text that is no UTF-8 is not looked at; everywhere else it is refused. What is wrong in one way has
the error of that way; what is wrong in two may have either.
"""

import base64
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

import deltaring
from deltaring import InvalidAudio, InvalidJSON, SchemaError
from deltaring.recording import Recording
from tests import grammar, jsonsuite, opinion
from tests.grammar import ACCEPT, REFUSE, UNREAD, Document
from tests.kernels import WAYS, decoder_of
from tests.mutants import sample
from tests.opinion import same
from tests.wire import GA, KNOWN_LAYOUTS, OTHER_LAYOUTS, audio_frame, pcm

EITHER = (InvalidJSON, SchemaError)


@pytest.fixture(scope="module", params=["grammar", "suite"])
def documents(request: pytest.FixtureRequest) -> list[Document]:
    if request.param == "grammar":
        return grammar.documents()
    folder = jsonsuite.folder()
    if folder is None:
        pytest.skip(
            f"{jsonsuite.VARIABLE} names no folder: python -m tests.jsonsuite FOLDER makes one"
        )
    suite = jsonsuite.documents(folder)
    return suite + jsonsuite.values(suite)


def decoded(raw: bytes, decode: Any = deltaring.decode) -> Any:
    """Return the event, or the class of the error."""
    try:
        return decode(raw)
    except deltaring.FrameError as error:
        return type(error)


def value_of(document: Document) -> Any:
    """Return what the document says; only for those that are accepted."""
    return opinion.parse(document.text)


# --- the documents themselves -------------------------------------------------------------------


def test_the_suite_is_whole() -> None:
    folder = jsonsuite.folder()
    if folder is None:
        pytest.skip(f"{jsonsuite.VARIABLE} names no folder")
    suite = jsonsuite.documents(folder)
    assert len(suite) == jsonsuite.COUNT
    left_to_us = {document.name for document in suite if document.name.startswith("i_")}
    assert left_to_us == set(jsonsuite.VERDICTS)
    assert len(jsonsuite.values(suite)) > 100


def test_there_are_documents_of_every_verdict_and_no_two_of_one_name() -> None:
    documents = grammar.documents()
    assert len({document.name for document in documents}) == len(documents) > 500
    for verdict in (ACCEPT, REFUSE, UNREAD):
        assert sum(document.verdict == verdict for document in documents) > 30


def test_the_standard_library_takes_what_the_rules_accept_and_nothing_else() -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    for document in grammar.documents():
        try:
            json.loads(document.text.decode(), parse_constant=refuse, parse_int=len)
            accepted = True
        except (ValueError, RecursionError):
            accepted = False
        assert accepted == (document.verdict == ACCEPT), document.name


# --- alone and unread -----------------------------------------------------------------------------


def test_alone_no_document_is_an_event(documents: list[Document]) -> None:
    for document in documents:
        allowed = EITHER if document.verdict != ACCEPT else (SchemaError,)
        if document.verdict == ACCEPT and opinion.read(document.text).name:
            continue  # the object with a type, which is a frame
        assert decoded(document.text) in allowed, document.name


UNREAD_PLACES = [
    (b'{"x":%s,"type":"error","error":{"message":"m"}}', "first"),
    (b'{"type":"error","x":%s,"error":{"message":"m"}}', "between"),
    (b'{"type":"error","error":{"message":"m"},"x":%s}', "last"),
    (b'{"type":"error","error":{"message":"m","x":%s}}', "in a part"),
    (b'{"type":"error","x":[{"y":%s}],"error":{"message":"m"}}', "deeper"),
    (b'{"type":"error","error":{"message":"m"},"x":1,"x":%s,"x":2}', "one of three"),
    (b'{"type":"error","error":{"message":"m"},"x":"' + b"-" * 400 + b'","y":%s}', "after much"),
]


@pytest.mark.parametrize(("frame", "place"), UNREAD_PLACES, ids=[name for _, name in UNREAD_PLACES])
def test_an_unknown_field_is_passed_over_if_it_is_json(
    documents: list[Document], frame: bytes, place: str
) -> None:
    expected = deltaring.ErrorEvent(error=deltaring.RealtimeError(message="m"))
    for document in documents:
        result = decoded(frame.replace(b"%s", document.text))
        if document.verdict == REFUSE:
            assert result is InvalidJSON, document.name
        else:
            assert result == expected, document.name


def test_beside_a_misfit_an_unknown_field_is_passed_over_just_so(documents: list[Document]) -> None:
    for document in documents:
        result = decoded(b'{"type":"error","error":{"code":[1]},"x":%s}' % document.text)
        if document.verdict == REFUSE:
            assert result is InvalidJSON, document.name
        else:
            assert result == deltaring.ErrorEvent(error={"code": [1]}), document.name


def test_an_unknown_event_is_kept_as_it_came(documents: list[Document]) -> None:
    for document in documents:
        for frame in (
            b'{"type":"a.b","event_id":"e","x":%s}',
            b'{"x":%s,"event_id":"e","type":"a.b"}',
        ):
            raw = frame % document.text
            if document.verdict == REFUSE:
                assert decoded(raw) is InvalidJSON, document.name
            else:
                assert decoded(raw) == deltaring.UnknownEvent("a.b", "e", raw), document.name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [30, 600])
def test_beside_audio_an_unknown_field_changes_nothing(
    documents: list[Document], way: str, size: int
) -> None:
    data = pcm(size)
    sources = [audio_frame(data, layout=layout) for layout in (*KNOWN_LAYOUTS, *OTHER_LAYOUTS)]
    for number, document in enumerate(documents):
        source = sources[number % len(sources)]
        first, last = b'{"x":%s,' % document.text, b',"x":%s}' % document.text
        between = b'"x":%s,"delta"' % document.text
        for raw in (first + source[1:], source[:-1] + last, source.replace(b'"delta"', between)):
            decoder = decoder_of(way, seconds=1.0)
            result = decoded(raw, decoder.decode)
            if document.verdict == REFUSE:
                assert (result, decoder.tracks) == (InvalidJSON, {}), (document.name, raw)
            else:
                assert result.track.ring.read(size).tobytes() == data, (document.name, raw)


# --- known fields ---------------------------------------------------------------------------------


def fields_of(type: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each field of an event, with its declaration in the opinion, if any."""
    specs = {re.sub(r"\W", "", spec): spec for spec in opinion.EVENTS[type]}
    for name in deltaring.EVENT_CLASSES[type].__struct_fields__:
        yield name, specs.get(name, "")


def with_field(type: str, name: str, text: bytes) -> bytes:
    """Return a frame of that type in which a field has that text for its value."""
    members = json.loads(sample(type))
    members.pop(name, None)
    return json.dumps(members).encode()[:-1] + b',"%s":%s}' % (name.encode(), text)


def test_a_known_field_takes_what_fits(documents: list[Document]) -> None:
    for type in opinion.EVENTS:
        for name, spec in fields_of(type):
            before, after = with_field(type, name, b"\0").split(b"\0")
            for document in documents:
                result = decoded(before + document.text + after)
                check_field(result, name, spec or name + "*", document)


def check_field(result: Any, name: str, spec: str, document: Document) -> None:
    """Check what became of a frame in which a field, declared as `spec`, has a document's value."""
    where = result, name, document.name
    if document.verdict == REFUSE:
        assert result in EITHER, where
    elif document.verdict == UNREAD:
        # An id that is no string is wrong in two ways, and a part may have unknown fields.
        assert result in EITHER or is_unread(result, name, document), where
    elif opinion.fits({name: value_of(document)}, spec):
        assert same(getattr(result, name), value_of(document)), where
    else:
        assert result is SchemaError, where


def is_unread(event: Any, name: str, document: Document) -> bool:
    """Whether what is no UTF-8 is in an unknown field of a part, so that nothing of it is left."""
    part = getattr(event, name)
    return document.text.startswith(b"{") and part == type(part)()


def test_what_is_no_utf_8_is_found_where_it_is_read() -> None:
    for document in grammar.documents():
        if document.verdict == UNREAD and document.text.startswith(b'"'):
            for name in ("event_id", "delta", "item_id"):
                raw = with_field("response.text.delta", name, document.text)
                assert decoded(raw) is InvalidJSON, (name, document.name)
            for name in ("audio_start_ms",):  # open, and no string
                raw = with_field("input_audio_buffer.speech_started", name, document.text)
                assert decoded(raw) is InvalidJSON, (name, document.name)


def test_a_type_takes_a_string(documents: list[Document]) -> None:
    for document in documents:
        raw = b'{"type":%s}' % document.text
        result = decoded(raw)
        if document.verdict != ACCEPT:
            assert result in EITHER, document.name
        elif isinstance(value_of(document), str):
            assert result == deltaring.UnknownEvent(value_of(document), "", raw), document.name
        else:
            assert result is SchemaError, document.name


@pytest.mark.parametrize("way", WAYS)
def test_a_field_of_an_audio_delta_takes_what_fits(documents: list[Document], way: str) -> None:
    data = pcm(600)
    for name in ("event_id", "response_id", "item_id", "output_index", "content_index", "delta"):
        before, after = with_field(GA, name, b"\0").split(b"\0")
        if name != "delta":
            before = before.replace(b"AAAAAQEB", base64.b64encode(data))
        for document in documents:
            decoder = decoder_of(way, seconds=1.0)
            result = decoded(before + document.text + after, decoder.decode)
            where = name, document.name
            value = value_of(document) if document.verdict == ACCEPT else None
            if document.verdict != ACCEPT:
                assert result in EITHER, where
            elif not opinion.fits({name: value}, name):
                assert result is SchemaError, where
            elif name == "delta":
                assert outcome_of_audio(result) == audio_of(value), where
            else:
                assert getattr(result, name) == value, where
                assert result.track.ring.read(600).tobytes() == data, where
            assert bool(decoder.tracks) == isinstance(result, deltaring.AudioDelta), where


def outcome_of_audio(result: Any) -> Any:
    return (
        result.track.ring.read(1_000).tobytes()
        if isinstance(result, deltaring.AudioDelta)
        else result
    )


def audio_of(text: str) -> Any:
    try:
        data = opinion.strict_base64(text)
    except ValueError:
        return InvalidAudio
    return data[: len(data) // 2 * 2]


# --- recordings -----------------------------------------------------------------------------------

GOOD = b'{"type":"session.closed"}\n'


def read_lines(line: bytes) -> tuple[list[Any], int]:
    """Read a recording with that line between two good ones; return its records and problems."""
    recording = Recording(io.BytesIO(GOOD + line + b"\n" + GOOD))
    records = [(time, source, frame) for time, source, frame in recording]
    assert records[0] == records[-1] == (None, "server", GOOD[:-1])
    assert all(problem.line == 2 for problem in recording.problems)
    return records[1:-1], recording.problem_count


def of_one_line(documents: list[Document]) -> list[Document]:
    return [document for document in documents if b"\n" not in document.text]


@pytest.mark.parametrize(
    ("time", "line"),
    [
        (None, b'{"type":"a.b","x":%s}'),
        (None, b'{"x":%s,"type":"error","error":{}}'),
        (1.5, b'{"time":1.5,"source":"server","event":{"type":"a.b","x":%s}}'),
        (1.5, b'{"time":1.5,"event":{"type":"a.b"},"x":%s,"source":"server"}'),
    ],
    ids=["bare, last", "bare, first", "in an envelope", "beside the frame"],
)
def test_a_line_is_read_if_it_is_json(documents: list[Document], time: Any, line: bytes) -> None:
    for document in of_one_line(documents):
        text = line.replace(b"%s", document.text)
        records, problems = read_lines(text)
        if document.verdict == REFUSE:
            assert (records, problems) == ([], 1), document.name
        else:
            ((found, source, frame),) = records
            assert (found, source, problems) == (time, "server", 0), document.name
            assert frame in text, document.name


def as_object(document: Document) -> dict[str, Any]:
    value = value_of(document)
    return value if isinstance(value, dict) else {}


def test_a_document_alone_is_no_line(documents: list[Document]) -> None:
    for document in of_one_line(documents):
        if document.text.strip() == b"":
            assert read_lines(document.text) == ([], 0), document.name  # nobody's line
        elif document.verdict == ACCEPT and "type" in as_object(document):
            assert read_lines(document.text)[1] == 0, document.name
        else:
            assert read_lines(document.text) == ([], 1), document.name


def test_the_frame_in_an_envelope_is_an_object(documents: list[Document]) -> None:
    for document in of_one_line(documents):
        records, problems = read_lines(b'{"time":1,"source":"server","event":%s}' % document.text)
        is_object = document.verdict != REFUSE and document.text.strip().startswith(b"{")
        expected = [(1.0, "server", document.text.strip())] if is_object else []
        assert (records, problems) == (expected, int(not is_object)), document.name


def test_a_time_is_a_number_or_a_moment(documents: list[Document]) -> None:
    for document in of_one_line(documents):
        records, problems = read_lines(b'{"time":%s,"event":{"type":"a.b"}}' % document.text)
        value = value_of(document) if document.verdict == ACCEPT else [document.verdict]
        if value is None or (type(value) in (int, float) and abs(value) <= 1e12):
            assert (records, problems) == ([(value, "server", b'{"type":"a.b"}')], 0), document.name
        else:
            assert not is_moment(value), document.name
            assert (records, problems) == ([], 1), document.name


def is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def test_a_raw_frame_is_strict_base64(documents: list[Document]) -> None:
    for document in of_one_line(documents):
        records, problems = read_lines(b'{"time":1,"raw":%s}' % document.text)
        value = value_of(document) if document.verdict == ACCEPT else None
        try:
            expected = [(1.0, "server", opinion.strict_base64(value))]
        except (TypeError, ValueError):
            expected = []
        assert (records, problems) == (expected, int(not expected)), document.name
