import time

import msgspec

import deltaring
from deltaring import transcript as module
from deltaring.transcript import Transcript
from tests.wire import frame

TRANSCRIPTION = "conversation.item.input_audio_transcription."
WHERE = dict(response_id="r", item_id="a", output_index=0, content_index=0)
USER = dict(item_id="u", content_index=0)


def told(*frames: bytes, max_text: int = module.MAX_TEXT) -> Transcript:
    transcript = Transcript(max_text)
    for number, raw in enumerate(frames):
        transcript.take(deltaring.decode(raw), float(number))
    return transcript


def text(transcript: Transcript) -> str:
    return "".join(transcript.lines())


def item(type: str = "message", **fields: object) -> bytes:
    return frame("conversation.item.added", item={"type": type, **fields})


def test_the_final_text_replaces_what_streamed() -> None:
    transcript = told(
        frame("response.output_audio_transcript.delta", **WHERE, delta="Helo"),
        frame("response.output_audio_transcript.delta", **WHERE, delta=" ther"),
        frame("response.output_audio_transcript.done", **WHERE, transcript="Hello there."),
    )
    assert text(transcript) == "assistant: Hello there.\n"
    (entry,) = transcript.entries
    assert (entry.kind, entry.final, entry.time, entry.response_id) == ("speech", True, 0.0, "r")


def test_what_never_became_final_is_marked() -> None:
    transcript = told(frame("response.audio_transcript.delta", **WHERE, delta="I was about"))
    assert text(transcript) == "assistant: I was about [cut off]\n"


def test_the_users_words_stand_before_the_reply_however_late_they_come() -> None:
    transcript = told(
        frame("input_audio_buffer.committed", item_id="u"),
        frame("response.output_audio_transcript.done", **WHERE, transcript="Fine."),
        frame(TRANSCRIPTION + "delta", **USER, delta="How"),
        frame(TRANSCRIPTION + "completed", **USER, transcript="How are you?"),
    )
    assert text(transcript) == "user: How are you?\nassistant: Fine.\n"


def test_a_commit_without_an_item_holds_no_place() -> None:
    assert told(frame("input_audio_buffer.committed", item_id="")).entries == []


def test_the_words_of_a_whole_item_are_its_texts_and_what_was_said() -> None:
    content = [
        {"type": "input_image", "text": "not this"},
        {"type": "text", "text": "but this"},
        {"type": "output_audio", "transcript": "and this"},
        {"type": "output_audio"},
    ]
    transcript = told(item(id="a", role="assistant", status="completed", content=content))
    assert text(transcript) == "assistant: but this\nassistant: and this\n"
    assert [entry.kind for entry in transcript.entries] == ["text", "speech"]


def test_written_text_of_both_sides() -> None:
    transcript = told(
        item(id="u", role="user", content=[{"type": "input_text", "text": "Hi"}]),
        frame("response.output_text.delta", **WHERE, delta="He"),
        frame("response.text.done", **WHERE, text="Hello\nyou"),
    )
    assert text(transcript) == "user: Hi\nassistant: Hello\n    you\n"


def test_a_function_call_and_its_output() -> None:
    call = dict(response_id="r", item_id="f", output_index=0, call_id="c")
    transcript = told(
        frame("response.function_call_arguments.delta", **call, delta='{"ci'),
        frame(
            "response.function_call_arguments.done", **call, name="get", arguments='{"city":"x"}'
        ),
        item("function_call_output", id="o", call_id="c", output="42"),
    )
    assert text(transcript) == 'assistant calls get({"city":"x"})\ntool: 42\n'
    assert [entry.call_id for entry in transcript.entries] == ["c", "c"]


def test_the_name_of_a_call_comes_from_the_item_in_beta() -> None:
    done = frame(
        "response.output_item.done",
        item={"id": "f", "type": "function_call", "name": "get", "call_id": "c", "arguments": "{}"},
    )
    assert text(told(done)) == "assistant calls get({})\n"


def test_what_was_said_stays_said_when_its_item_is_deleted() -> None:
    transcript = told(
        item(id="u", role="user", content=[{"type": "input_text", "text": "Hi"}]),
        frame("conversation.item.deleted", item_id="u"),
    )
    assert text(transcript) == "user: Hi\n"


def test_an_epoch_keeps_what_was_said_before_though_ids_come_again() -> None:
    once = frame("response.audio_transcript.done", **WHERE, transcript="first")
    again = frame("response.audio_transcript.done", **WHERE, transcript="second")
    transcript = told(once, frame("session.created", session={}), again)
    assert text(transcript) == "assistant: first\nassistant: second\n"


def test_without_any_id_turns_are_told_apart() -> None:
    frames = []
    for turn in ("one", "two"):
        frames += [
            frame(TRANSCRIPTION + "completed", transcript=f"ask {turn}"),
            frame("response.created", response={}),
            frame("response.audio_transcript.delta", delta="re"),
            frame("response.audio_transcript.done", transcript=f"reply {turn}"),
            frame("response.done", response={}),
        ]
    assert text(told(*frames)) == (
        "user: ask one\nassistant: reply one\nuser: ask two\nassistant: reply two\n"
    )


def test_a_text_that_only_the_finished_response_has() -> None:
    output = [
        {
            "id": "a",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "x"}],
        }
    ]
    transcript = told(frame("response.done", response={"id": "r", "output": output}))
    assert text(transcript) == "assistant: x\n"


def test_an_item_in_progress_is_not_final() -> None:
    content = [{"type": "audio", "transcript": "Hel"}]
    transcript = told(
        item(id="a", role="assistant", status="in_progress", content=content),
        frame("response.audio_transcript.delta", **WHERE, delta="Hello"),
    )
    assert text(transcript) == "assistant: Hello [cut off]\n"


def test_a_translation_is_one_turn_of_each_side() -> None:
    transcript = told(
        *(frame("session.input_transcript.delta", delta=word) for word in (" I", " hear")),
        *(frame("session.output_transcript.delta", delta=word) for word in (" Yo", " oigo")),
    )
    assert text(transcript) == "user:  I hear\nassistant:  Yo oigo\n"


def test_replies_without_item_ids_are_told_apart_by_their_response() -> None:
    frames = (
        frame("response.audio_transcript.done", response_id=name, transcript=name) for name in "ab"
    )
    assert text(told(*frames)) == "assistant: a\nassistant: b\n"


def test_odd_items_are_passed_over() -> None:
    transcript = told(
        item(id="x", content=5),
        item(id=None),
        item(id="y", content=[{"type": "input_image", "image_url": "z"}]),
        item("function_call_output", id="z", output=[1]),
        frame("a.b"),
    )
    assert transcript.entries == []


def test_text_is_bounded() -> None:
    transcript = told(
        frame("response.text.delta", **WHERE, delta="123456"),
        frame("response.text.delta", **WHERE, delta="7890ABC"),
        max_text=2 * module._ENTRY + 11,
    )
    assert transcript.left_out == 3
    assert transcript.entries[0].text == "1234567890"


def test_places_are_bounded_too() -> None:
    transcript = told(
        *(frame("input_audio_buffer.committed", item_id=f"i{n}" * 50) for n in range(1_000)),
        max_text=10_000,
    )
    assert transcript.left_out
    assert len(transcript._items) < 100


def test_time_is_linear_in_the_number_of_deltas() -> None:
    transcript, delta = (
        Transcript(),
        deltaring.decode(frame("response.text.delta", **WHERE, delta="word ")),
    )
    started = time.process_time()
    for _ in range(100_000):
        transcript.take(delta)
    assert len(transcript.entries[0].text) == 500_000
    assert time.process_time() - started < 5


def test_entries_become_json_without_what_is_unset() -> None:
    entry = told(frame("response.text.done", **WHERE, text="x")).entries[0]
    assert msgspec.to_builtins(entry) == {
        "role": "assistant", "kind": "text", "text": "x", "item_id": "a", "response_id": "r",
        "time": 0.0, "final": True,
    }  # fmt: skip


def test_an_mcp_call_has_its_arguments() -> None:
    transcript = told(
        frame("response.output_item.added", response_id="r", output_index=0,
              item={"id": "m", "type": "mcp_call", "name": "look_up", "status": "in_progress"}),
        frame("response.mcp_call_arguments.delta", response_id="r", item_id="m", delta='{"a"'),
        frame("response.mcp_call_arguments.delta", response_id="r", item_id="m", delta=":1}"),
    )  # fmt: skip
    entry = transcript.entry("m")
    assert entry is not None
    assert (entry.kind, entry.name, entry.text, entry.final) == (
        "mcp_call", "look_up", '{"a":1}', False,
    )  # fmt: skip
    transcript.take(
        deltaring.decode(
            frame("response.mcp_call_arguments.done", response_id="r", item_id="m", arguments="{}")
        )
    )
    assert (entry.text, entry.final) == ("{}", True)


def test_an_entry_that_streams_can_be_asked_for() -> None:
    transcript = told(
        frame("response.text.delta", **WHERE, delta="Hel"),
        frame("response.text.delta", **WHERE, delta="lo"),
    )
    entry = transcript.entry("a")
    assert entry is not None
    assert (entry.text, entry.final) == ("Hello", False)
    assert transcript.entry("b") is None
    assert transcript.entry("a", 1) is None


def test_parts_without_item_ids_are_told_apart() -> None:
    where = dict(response_id="r", item_id="")
    transcript = told(
        frame("response.output_audio_transcript.done", **where, output_index=0, content_index=0,
              transcript="said"),
        frame("response.function_call_arguments.done", **where, output_index=1, call_id="c1", arguments="{}"),
        frame("response.function_call_arguments.done", **where, output_index=2, call_id="c2", arguments="[]"),
    )  # fmt: skip
    assert [(entry.kind, entry.text) for entry in transcript.entries] == [
        ("speech", "said"), ("function_call", "{}"), ("function_call", "[]"),
    ]  # fmt: skip


def test_the_oldest_goes_where_there_is_no_room() -> None:
    transcript = told(
        *(
            frame("response.text.done", **{**WHERE, "item_id": f"i{n}"}, text="x" * 50)
            for n in range(20)
        ),
        max_text=1_000,
    )
    assert [entry.item_id for entry in transcript.entries] == ["i17", "i18", "i19"]
    assert transcript.left_out


def test_a_text_without_a_place_takes_no_room() -> None:
    transcript = told(
        frame("response.text.done", **{**WHERE, "item_id": "i" * 5_000}, text="x" * 900),
        frame("response.text.done", **WHERE, text="hello"),
        max_text=1_000,
    )
    assert [entry.text for entry in transcript.entries] == ["hello"]


def test_room_is_given_back_with_what_goes() -> None:
    transcript = told(max_text=5_000)
    for number in range(2_000):
        where = {**WHERE, "item_id": f"i{number}"}
        transcript.take(deltaring.decode(frame("response.text.delta", **where, delta="ab" * 30)))
        transcript.take(
            deltaring.decode(frame("response.text.done", **where, text="c" * (number % 99)))
        )
        if number % 50 == 0:
            transcript.take(deltaring.decode(frame("session.created", session={})))
    entries = transcript.entries
    used = sum(len(entry.text) + 2 * module._ENTRY + len(entry.item_id) for entry in entries)
    assert len(entries) > 10
    assert used <= 5_000 + len(entries) * (module._ENTRY + 8)


def test_empty_deltas_take_no_memory() -> None:
    transcript = told(*[frame("response.text.delta", **WHERE, delta="")] * 10)
    assert all(u.streamed is None for item in transcript._items.values() for u in item.values())


def test_an_odd_part_costs_no_other() -> None:
    content = [{"type": "text", "text": "kept", "id": 7}, 5, {"type": "text", "text": ["x"]}]
    item = {"id": "m", "type": "message", "role": "user", "status": "completed", "content": content}
    transcript = told(frame("conversation.item.created", item=item))
    assert [entry.text for entry in transcript.entries] == ["kept"]


def test_a_transcription_session_is_an_epoch() -> None:
    frames = []
    for text in ("one", "two"):
        frames += [
            frame("transcription_session.created", session={}),
            frame(TRANSCRIPTION + "completed", **USER, transcript=text),
        ]
    assert [entry.text for entry in told(*frames).entries] == ["one", "two"]
