"""HAR files as Chrome and mitmproxy write them, whole, damaged and large."""

import base64
import gzip
import io
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import deltaring
from deltaring.har import EXPANSION, HarReader, Message, unpack
from deltaring.recording import Record, Recording
from deltaring.replay import inspect
from tests.wire import audio_frame, frame, hostile, pcm, session

pytest.importorskip("ijson", reason="HAR files need the har extra")

AUDIO = audio_frame(pcm(3_000)).decode()
TEXT = frame("response.text.delta", delta='hi "there" \\ \u6f22 \U0001f600').decode()
CREATED = session().decode()


def message(data: str, *, type: str = "receive", opcode: int = 1, time: object = 1.5) -> object:
    return {"type": type, "time": time, "opcode": opcode, "data": data}


def page(text: str = "<html>") -> dict[str, object]:
    """An entry of a page's other traffic."""
    headers = [{"name": "Accept", "value": '{"_webSocketMessages":[{"data":"no"}]}'}]
    return {
        "request": {"method": "GET", "url": "https://x/", "headers": headers},
        "response": {"status": 200, "content": {"size": len(text), "text": text}},
    }


def chrome(*sessions: list[object]) -> dict[str, object]:
    """A HAR with one WebSocket a session, and other traffic around; the messages stand first."""
    entries: list[object] = [page()]
    for messages in sessions:
        entries += [{"_resourceType": "websocket", "_webSocketMessages": messages, **page("")}]
        entries += [page()]
    return {"log": {"version": "1.2", "creator": {"name": "WebInspector"}, "entries": entries}}


def mitmproxy(*sessions: list[object]) -> dict[str, object]:
    """The same with the messages last in an entry."""
    log = chrome(*sessions)
    log["log"]["entries"] = [dict(reversed(entry.items())) for entry in log["log"]["entries"]]  # type: ignore[index]
    return log


WRITTEN = {
    "chrome": lambda har: json.dumps(har, indent=2, ensure_ascii=False).encode(),
    "mitmproxy": lambda har: json.dumps(har, indent=4).encode(),
    "compact": lambda har: json.dumps(har, separators=(",", ":")).encode(),
    "bom and crlf": lambda har: (
        b"\xef\xbb\xbf" + json.dumps(har, indent=1).replace("\n", "\r\n").encode()
    ),
}


class Slow(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._data.readinto(memoryview(buffer)[: self._step])


def read(data: bytes, **options: int) -> tuple[list[Record], list[str]]:
    recording = Recording(io.BytesIO(data), name="rec", **options)  # type: ignore[arg-type]
    return list(recording), [str(problem) for problem in recording.problems]


def har(*messages: object) -> bytes:
    return json.dumps(chrome(list(messages))).encode()


# --- what is in one -----------------------------------------------------------------------------

SESSION = [message(CREATED), message(TEXT, type="send", time=2.25), message(AUDIO, time=3)]
RECORDS = [
    Record(1.5, "server", CREATED.encode()),
    Record(2.25, "client", TEXT.encode()),
    Record(3.0, "server", AUDIO.encode()),
]


@pytest.mark.parametrize("form", [chrome, mitmproxy])
@pytest.mark.parametrize("written", WRITTEN)
def test_frames_come_with_time_and_source(form: object, written: str) -> None:
    assert read(WRITTEN[written](form(SESSION))) == (RECORDS, [])  # type: ignore[operator]


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_a_stream_may_come_in_pieces_of_any_size(step: int) -> None:
    data = WRITTEN["mitmproxy"](mitmproxy(SESSION))
    recording = Recording(Slow(data, step), name="rec")  # type: ignore[arg-type]
    assert (list(recording), recording.problems) == (RECORDS, [])


def test_a_number_that_does_not_end_is_damage_and_is_not_held() -> None:
    class Digits(io.RawIOBase):
        """A HAR that begins, and then 8 MB of a number."""

        given = 0
        head = io.BytesIO(har(*SESSION)[:-2] + b',"x":')

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            count = self.head.readinto(buffer)
            if not count and self.given < 8_000_000:
                buffer[:] = b"7" * len(buffer)
                self.given += len(buffer)
                return len(buffer)
            return count

    digits = Digits()
    recording = Recording(digits, name="rec")  # type: ignore[arg-type]
    assert list(recording) == RECORDS
    assert recording.broken == "damaged HAR: a number of more than 262144 digits"
    assert digits.given < 4_000_000


def test_half_a_character_costs_nothing() -> None:
    log = chrome([message("\ud83d")])
    log["log"]["entries"].insert(0, page("<p>\ud83d \ude00"))  # type: ignore[index]
    log["log"]["\ud83d"] = '{\ude00"'  # type: ignore[index]
    assert read(json.dumps(log).encode()) == ([Record(1.5, "server", "\ufffd".encode())], [])


def test_a_har_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "rec.jsonl"
    path.write_bytes(gzip.compress(har(*SESSION)))
    assert list(Recording(path)) == RECORDS


@pytest.mark.parametrize("first", [b'{"logs":', b'{"lo', b'"log', b'{"type":"a","log":1', b"{"])
def test_what_is_no_har_is_read_as_lines(first: bytes) -> None:
    records, problems = read(first + b"\n" + TEXT.encode())
    assert [record.frame for record in records] == [TEXT.encode()]
    assert problems[0].startswith("rec:1: byte 0: not valid JSON")


def test_several_entries_are_sessions_one_after_the_other() -> None:
    records, problems = read(json.dumps(chrome(SESSION, [], SESSION)).encode())
    assert (records, problems) == (RECORDS * 2, [])


def test_each_session_begins_an_epoch() -> None:
    data = json.dumps(mitmproxy(SESSION, SESSION)).encode()
    report = inspect(Recording(io.BytesIO(data), name="rec"))
    assert (len(report.sessions), len(report.items), report.error_count) == (2, 2, 0)


def test_binary_messages_are_base64() -> None:
    data = har(message(base64.b64encode(AUDIO.encode()).decode(), opcode=2))
    assert read(data) == ([Record(1.5, "server", AUDIO.encode())], [])


@pytest.mark.parametrize(
    "name", [name for name, raw in hostile().items() if isinstance(raw, bytes)]
)
def test_any_bytes_are_passed_on_as_they_were(name: str) -> None:
    raw = hostile()[name]
    assert isinstance(raw, bytes)
    assert read(har(message(base64.b64encode(raw).decode(), opcode=2)))[0][0].frame == raw


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_text_is_passed_on_as_it_was(ensure_ascii: bool) -> None:
    texts = [TEXT, '{"a":"\\ud83d"}', "no frame \0 \x7f \u2028", "", "}{[\\\"'", "\\" * 9]
    data = json.dumps(chrome([message(text) for text in texts]), ensure_ascii=ensure_ascii)
    assert [record.frame for record in read(data.encode())[0]] == [text.encode() for text in texts]


@pytest.mark.parametrize("opcode", [-1, 0, 8, 9, 10])
def test_control_frames_and_the_errors_that_chrome_notes_are_no_frames(opcode: int) -> None:
    data = har(message("Connection closed", type="error", opcode=opcode), *SESSION)
    assert read(data) == (RECORDS, [])


@pytest.mark.parametrize(
    ("time", "seconds"), [(None, None), ("2026-01-01T00:00:00.250Z", 1767225600.25), (7, 7.0)]
)
def test_a_time_is_read_as_in_a_line(time: object, seconds: float | None) -> None:
    assert read(har(message(TEXT, time=time)))[0][0].time == seconds


def test_order_and_further_keys_of_a_message_do_not_matter() -> None:
    given = {"x": {"y": [{"z": "}"}]}, "data": TEXT, "type": "receive"}
    assert read(har(given)) == ([Record(None, "server", TEXT.encode())], [])


def test_only_messages_of_entries_count() -> None:
    decoys = {"_webSocketMessages": [message("a")], "x": {"_webSocketMessages": [message("b")]}}
    document = {"log": {**decoys, "pages": [decoys], "entries": [{"x": decoys}]}, **decoys}
    records, problems = read(json.dumps(document).encode())
    assert records == []
    assert "no entry of this HAR has `_webSocketMessages`" in problems[0]


def test_an_entry_without_messages_is_a_session_without_frames() -> None:
    assert read(har()) == ([], [])


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (message("AAA", opcode=2), "`data` is not strict base64"),
        (message("\u00e4\u00e4\u00e4\u00e4", opcode=2), "`data` is not strict base64"),
        (message("x", type="sent"), "`type` is 'sent', not 'send' or 'receive'"),
        (message("x", time=1784858052123), "`time` is no Unix time in seconds"),
        (message("x", time="soon"), "`time` is no ISO 8601 time"),
        ({"type": "receive", "data": None}, "no WebSocket message: Expected `str`"),
        ({"type": "receive"}, "missing required field `data`"),
        ({**SESSION[0], "x": json.loads("[" * 300 + "]" * 300)}, "deeper than 256 levels"),  # type: ignore[dict-item]
    ],
)
def test_a_broken_message_is_named_and_the_rest_is_read(wrong: object, reason: str) -> None:
    data = har(SESSION[0], wrong, SESSION[2])
    records, (problem,) = read(data)
    assert records == [RECORDS[0], RECORDS[2]]
    start = data.index(json.dumps(wrong).encode())
    place = f"rec:2: byte {start}: log.entries[1]._webSocketMessages[1]: "
    assert problem.startswith(place)
    assert reason in problem


def test_a_message_that_is_no_json_costs_only_itself() -> None:
    data = har(message("x"), message(TEXT)).replace(b'"x"', b"x")
    records, (problem,) = read(data)
    assert [record.frame for record in records] == [TEXT.encode()]
    assert "_webSocketMessages[0]: not valid JSON" in problem


def test_a_frame_that_the_decoder_refuses_is_named_by_its_message() -> None:
    data = json.dumps(chrome(SESSION, [*SESSION, message("nonsense")])).encode()
    report = inspect(Recording(io.BytesIO(data), name="rec"))
    (error,) = report.errors
    assert (error["line"], error["offset"]) == (
        7,
        data.index(b'{"type": "receive", "time": 1.5, "opcode": 1, "data": "nonsense"'),
    )
    assert error["reason"].startswith("log.entries[3]._webSocketMessages[3]: not valid JSON")


WHOLE = WRITTEN["chrome"](chrome(SESSION, SESSION))


@pytest.mark.parametrize("keep", range(1, 100, 7))
def test_a_truncated_har_is_read_up_to_there(keep: int) -> None:
    size = len(WHOLE) * keep // 100
    records, problems = read(WHOLE[:size])
    ends = [end for end in _ends(WHOLE) if end <= size]
    assert records == (RECORDS * 2)[: len(ends)]
    assert problems == [f"rec:{len(ends) + 1}: byte {size}: truncated HAR"]


def _ends(data: bytes) -> Iterator[int]:
    """Where its messages end."""
    at = 0
    while (at := data.find(b'"opcode"', at + 1)) >= 0:
        yield data.index(b"\n          }", at) + 12


def test_a_truncated_gzip_of_a_har_is_one_problem() -> None:
    packed = gzip.compress(WHOLE)
    _, problems = read(packed[: len(packed) - 20])
    assert [problem.split(": ")[-1] for problem in problems] == ["truncated gzip stream"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"_resourceType":', b'"_resourceType"', ""),
        (b'"version"', b'"version\xff"', ""),
        (b'"entries": [', b'"entries": [[', ""),
        (b'"_webSocketMessages": [', b'"_webSocketMessages": [5, ', "is no object"),
        (b'"size": 0', b'"size": ' + b"1" * 5_000, "digit"),
        (b'"entries"', b'"deep": ' + b"[" * 300 + b"]" * 300 + b', "entries"', "nests deeper"),
    ],
)
def test_damage_ends_the_reading_and_is_named(old: bytes, new: bytes, reason: str) -> None:
    good, bad = WHOLE, WHOLE.replace(old, new, 1)
    assert bad != good
    records, problems = read(bad)
    assert records == RECORDS[: len(records)]
    assert len(problems) == 1
    assert "damaged HAR: " in problems[0]
    assert reason in problems[0]


def test_damage_is_named_with_the_byte_after_the_last_brace_before_it() -> None:
    at = WHOLE.rindex(b'"status"')
    damaged = WHOLE[:at] + b"!" + WHOLE[at:]
    records, (problem,) = read(damaged)
    assert records == RECORDS * 2
    assert problem.startswith(f"rec:7: byte {damaged.rindex(b'{', 0, at) + 1}: damaged HAR: ")


def test_what_follows_the_document_is_damage() -> None:
    records, (problem,) = read(WHOLE + b"\n{}")
    assert records == RECORDS * 2
    assert "damaged HAR: " in problem


def test_without_the_extra_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ijson", None)
    with pytest.raises(deltaring.RecordingError, match=r"pip install 'deltaring\[har\]'"):
        read(WHOLE)


def test_unpack_reads_one_message() -> None:
    text = b'{"type":"send","time":1.5,"opcode":1,"data":"{}"}'
    assert unpack(text) == (1.5, "client", b"{}")


# --- size ---------------------------------------------------------------------------------------


def test_a_large_message_is_read_whole() -> None:
    large = frame("response.done", response={"x": 'y"\\' * 1_200_000}).decode()
    assert read(har(message(large), message(TEXT))) == (
        [Record(1.5, "server", large.encode()), Record(1.5, "server", TEXT.encode())],
        [],
    )


def test_a_frame_over_the_limit_is_reported_and_skipped() -> None:
    size = len(AUDIO)
    data = har(message(AUDIO), message(TEXT))
    assert len(read(data, max_frame=size)[0]) == 2
    records, problems = read(data, max_frame=size - 1)
    assert [record.frame for record in records] == [TEXT.encode()]
    assert problems[0].endswith(f"the frame has {size} bytes, the limit is {size - 1}")


@pytest.mark.parametrize("character", ["\u00e9", "\u6f22", "\U0001f600", '"', "\n"])
def test_a_frame_of_the_limit_fits_however_it_is_escaped(character: str) -> None:
    text = character * 20_000
    data = har(message(text))
    assert len(data) <= EXPANSION * len(text.encode()) + 4_096
    assert len(read(data, max_frame=len(text.encode()))[0]) == 1


@pytest.mark.parametrize("inside", ["x", "{", '"', "\\", "\u6f22"])
def test_a_message_that_is_too_long_is_passed_over(inside: str) -> None:
    data = har(message(TEXT), message(inside * 900_000), message(TEXT, time=9))
    records, problems = read(data, max_frame=2_000)
    assert [record.time for record in records] == [1.5, 9.0]
    assert len(problems) == 1
    assert (
        "._webSocketMessages[1]: the message is too long for a frame of 2000 bytes" in problems[0]
    )


def test_the_messages_of_a_reader_say_where_they_stand() -> None:
    data = json.dumps(chrome([message("a")], [message("b"), message("c")])).encode()
    found = list(HarReader(io.BytesIO(data), 1_000))
    assert [(at.entry, at.number) for at in found] == [(1, 0), (3, 0), (3, 1)]
    for at in found:
        assert at == Message(
            at.entry, at.number, at.offset, data[at.offset :][: len(at.text or b"")]
        )


def generated(megabytes: int) -> Iterator[bytes]:
    """A HAR of about that size: half of it audio, half of it two bodies of other entries."""
    body = b"QUJD" * (1 << 16)
    sound = json.dumps(message(audio_frame(pcm(12_000)).decode())).encode()
    yield b'{"log":{"version":"1.2","entries":[{"response":{"content":{"text":"'
    yield from [body] * megabytes
    yield b'"}}},{"_webSocketMessages":[' + sound
    yield from [b"," + sound] * (megabytes * (1 << 19) // len(sound))
    yield b']},{"response":{"content":{"text":"'
    yield from [body] * megabytes
    yield b'"}}}]}}'


def peak_while_reading(path: Path) -> tuple[int, int]:
    """Frames in a recording, and by how much the memory of a process that reads it grew."""
    code = r"""
        import io, re, sys
        from deltaring.recording import Recording
        # Not ru_maxrss: that of a process that was forked begins with its parent's.
        peak = lambda: int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])
        list(Recording(io.BytesIO(b'{"log":{}}'), name="warm"))
        before = peak()
        recording = Recording(sys.argv[1])
        print(sum(1 for _ in recording), (peak() - before) << 10, recording.problems)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, check=True
    )
    count, grown, problems = result.stdout.decode().split(maxsplit=2)
    assert problems.strip() == "[]"
    return int(count), int(grown)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
@pytest.mark.parametrize(
    "megabytes",
    [
        30,
        pytest.param(
            200,
            marks=pytest.mark.skipif(
                not os.environ.get("DELTARING_LONG"), reason="set DELTARING_LONG=1"
            ),
        ),
    ],
)
def test_memory_stays_flat(megabytes: int, tmp_path: Path) -> None:
    path = tmp_path / "rec.har"
    with path.open("wb") as file:
        file.writelines(generated(megabytes))
    frames, grown = peak_while_reading(path)
    assert frames > megabytes * 20
    assert grown < 8 << 20
