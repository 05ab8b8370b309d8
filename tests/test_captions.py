import re

import pytest

import deltaring
from deltaring.captions import captions
from deltaring.speech import SpokenItem
from deltaring.timeline import Timeline
from deltaring.transcript import Entry
from tests.wire import audio_frame, pcm


def said(role: str, text: str, time: float | None = 100.0, **fields: object) -> Entry:
    return Entry(role, str(fields.pop("kind", "text")), text, time=time, **fields)  # type: ignore[arg-type]


def vtt(*entries: Entry, timeline: Timeline | None = None, origin: float = 100.0) -> str:
    return "".join(captions(entries, timeline or Timeline(), origin))


def test_a_cue_has_its_speaker_and_its_times() -> None:
    timeline = Timeline()
    timeline.texts["r", "i", 0] = 103.75
    entry = said("assistant", "It is foggy.", 101.5, item_id="i", response_id="r")
    assert vtt(entry, timeline=timeline) == (
        "WEBVTT\n\n00:00:01.500 --> 00:00:03.750\n<v assistant>It is foggy.\n"
    )


def test_no_entries_make_a_file_without_cues() -> None:
    assert vtt() == "WEBVTT\n"


def test_the_users_speech_is_where_it_was_spoken_and_not_where_it_was_transcribed() -> None:
    timeline = Timeline()
    timeline.spoken["u"] = (101.0, 103.0)
    entry = said("user", "Hello?", 110.0, kind="speech", item_id="u")
    assert "00:00:01.000 --> 00:00:03.000" in vtt(entry, timeline=timeline)


def test_the_assistants_speech_is_where_it_was_heard_and_not_where_it_was_final() -> None:
    timeline, decoder = Timeline(), deltaring.Decoder()
    event = decoder.decode(audio_frame(pcm(96_000), response_id="r", item_id="i"))
    assert isinstance(event, deltaring.AudioDelta)
    item = SpokenItem("", "r", "i", 0, "pcm16", 24_000, samples=48_000)
    timeline.audio(event.track, item, 102.0)
    timeline.texts["r", "i", 0] = 102.5
    entry = said("assistant", "x", 101.5, kind="speech", item_id="i", response_id="r")
    assert "00:00:02.000 --> 00:00:04.000" in vtt(entry, timeline=timeline)


def test_cues_are_sorted_by_their_start() -> None:
    there = vtt(said("user", "b", 102.0), said("assistant", "a", 101.0), said("user", "c", 102.0))
    assert re.findall(">(.)\n", there) == ["a", "b", "c"]


def test_every_cue_takes_some_time() -> None:
    assert "00:00:02.000 --> 00:00:03.000" in vtt(said("user", "typed", 102.0))


def test_long_recordings_have_hours() -> None:
    assert "101:01:01.001 --> 101:01:02.001" in vtt(
        said("user", "x", 101 * 3600 + 61.001), origin=0.0
    )


def test_milliseconds_are_rounded_over_a_minute() -> None:
    assert "00:01:00.000 -->" in vtt(said("user", "x", 159.9996))


@pytest.mark.parametrize(
    ("text", "payload"),
    [("a < b & c > d", "a &lt; b &amp; c &gt; d"), ("</v><i>", "&lt;/v&gt;&lt;i&gt;"),
     ("a\n\n\nb", "a\nb"), ("a\r\nb\r", "a\nb"), ("x\n\n1:00 --> 2:00\n", "x\n1:00 --&gt; 2:00"),
     ("a\0b", "a\ufffdb")],
)  # fmt: skip
def test_no_text_leaves_its_cue(text: str, payload: str) -> None:
    cue = vtt(said("user", text)).partition("\n\n")[2]
    assert cue == f"00:00:00.000 --> 00:00:01.000\n<v user>{payload}\n"


def test_no_role_leaves_its_tag() -> None:
    assert "<v a b &lt;c&gt;>x" in vtt(said("a\n\nb <c>", "x"))


def test_what_was_not_said_is_in_no_cue() -> None:
    entries = [
        said("assistant", "{}", kind="function_call"),
        said("tool", "{}", kind="function_call_output"),
        said("user", " \n"),
        said("user", "when?", None),
    ]
    assert vtt(*entries) == "WEBVTT\n"
