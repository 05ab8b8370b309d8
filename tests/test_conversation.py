import random

from hypothesis import given
from hypothesis import strategies as st

from deltaring.conversation import MAX_ID, Conversation
from deltaring.events import ResponseItem


def placed(*pairs: tuple[str, object], most: int = 100) -> Conversation:
    conversation = Conversation(most)
    for number, (item_id, previous_id) in enumerate(pairs):
        conversation.place(item_id, previous_id, float(number))
    return conversation


def ids(conversation: Conversation) -> list[str]:
    return [item.id for item in conversation.items]


def test_items_come_after_the_one_they_name() -> None:
    assert ids(placed(("a", None), ("b", "a"), ("c", "a"), ("d", "b"))) == ["a", "c", "b", "d"]


def test_an_item_whose_predecessor_is_not_known_goes_to_the_end() -> None:
    assert ids(placed(("a", None), ("b", None), ("c", "x"), ("d", 5))) == ["a", "b", "c", "d"]


def test_root_is_the_beginning() -> None:
    assert ids(placed(("a", None), ("b", "root"))) == ["b", "a"]


def test_an_item_keeps_its_place() -> None:
    conversation = placed(("a", None), ("b", "a"), ("c", "b"), ("c", "a"))
    assert ids(conversation) == ["a", "b", "c"]
    assert conversation.item("c").added == 2.0  # type: ignore[union-attr]


def test_an_item_that_was_named_before_its_place_was_told_is_moved_there() -> None:
    assert ids(placed(("reply", None), ("user", None), ("reply", "user"))) == ["user", "reply"]


def test_the_oldest_go_beyond_the_bound() -> None:
    conversation = placed(*((f"i{n}", None) for n in range(10)), most=3)
    assert ids(conversation) == ["i7", "i8", "i9"]
    assert conversation.forgotten == 7


def test_ids_that_are_too_long_are_not_kept() -> None:
    conversation = placed(("x" * (MAX_ID + 1), None))
    assert (conversation.items, conversation.forgotten) == ([], 1)


def test_an_empty_id_is_no_item() -> None:
    conversation = placed(("", None))
    assert (conversation.items, conversation.forgotten) == ([], 0)


def test_after_a_clear_ids_are_new() -> None:
    conversation = placed(("a", None), ("b", None))
    conversation.clear()
    assert conversation.item("a") is None
    conversation.place("b", None, None)
    conversation.place("a", "b", None)
    assert ids(conversation) == ["b", "a"]


def test_what_is_not_said_stays_as_it_was() -> None:
    conversation = placed(("a", None))
    item = conversation.item("a")
    assert item is not None
    conversation.describe(item, ResponseItem(type="message", role="user", status="in_progress"), "")
    conversation.describe(item, ResponseItem(type=None, status="completed"), "r")
    assert (item.type, item.role, item.status, item.response_id) == (
        "message", "user", "completed", "r",
    )  # fmt: skip


@given(st.integers(0, 1 << 32), st.integers(1, 8))
def test_the_order_is_that_of_a_list(seed: int, most: int) -> None:
    chance = random.Random(seed)
    conversation = Conversation(most)
    expected: list[str] = []
    loose: set[str] = set()
    for _ in range(40):
        item_id = f"i{chance.randrange(20)}"
        previous = chance.choice([None, "root", f"i{chance.randrange(20)}"])
        conversation.place(item_id, previous, None)
        told = previous == "root" or previous in expected
        if item_id in loose and told and previous != item_id:
            expected.remove(item_id)
        if item_id not in expected:
            at = 0 if previous == "root" else len(expected)
            if previous in expected:
                at = expected.index(previous) + 1
            expected.insert(at, item_id)
            loose = (loose - {item_id}) | ({item_id} if not told else set())
            del expected[: max(0, len(expected) - most)]
            loose &= set(expected)
        assert ids(conversation) == expected
