import msgspec

from deltaring.events import RealtimeUsage
from deltaring.usage import MAX_FIELDS, add_usage, stated_usage

USAGE = {
    "total_tokens": 146,
    "input_tokens": 40,
    "output_tokens": 106,
    "input_token_details": {
        "cached_tokens": 32, "text_tokens": 14, "audio_tokens": 26,
        "cached_tokens_details": {"text_tokens": 12, "audio_tokens": 20},
    },
    "output_token_details": {"text_tokens": 29, "audio_tokens": 77},
}  # fmt: skip


def test_what_is_not_stated_is_left_out() -> None:
    usage = RealtimeUsage(total_tokens=3)
    assert stated_usage(usage) == {"total_tokens": 3}
    assert stated_usage(RealtimeUsage()) == {}
    assert stated_usage(None) == stated_usage("x") == {}


def test_a_dict_is_taken_as_it_nests() -> None:
    assert stated_usage({"a": 1, "b": {"c": 2.5, "d": "x", "e": None}, "f": {}, "g": True}) == {
        "a": 1,
        "b": {"c": 2.5},
    }


def test_fields_are_summed_one_by_one() -> None:
    usage = stated_usage(msgspec.convert(USAGE, RealtimeUsage))
    assert usage == USAGE
    total: dict[str, object] = {}
    add_usage(total, usage)
    add_usage(total, usage)
    assert total["input_tokens"] == 80  # the 64 cached ones are among them
    assert total["input_token_details"]["cached_tokens"] == 64  # type: ignore[index]


def test_a_sum_is_no_part_of_what_was_summed() -> None:
    usage, total = stated_usage(USAGE), dict[str, object]()
    add_usage(total, usage)
    add_usage(total, usage)
    assert usage == USAGE


def test_fields_are_bounded_over_all_levels() -> None:
    usage = stated_usage({f"f{n}": {f"g{k}": k for k in range(9)} for n in range(1_000)})
    assert sum(map(len, usage.values())) == MAX_FIELDS
    total = {"x": 1}
    for n in range(100):
        add_usage(total, stated_usage({f"h{n}": {"a": 1}}))
    assert len(total) == MAX_FIELDS


def test_nesting_is_bounded() -> None:
    deep: object = {"n": 1}
    for _ in range(50):
        deep = {"d": deep, "n": 1}
    assert stated_usage(deep) == {"n": 1, "d": {"n": 1, "d": {"n": 1, "d": {"n": 1}}}}


def test_a_field_that_changes_its_kind_does_no_harm() -> None:
    total: dict[str, object] = {}
    for usage in ({"a": 1}, {"a": {"b": 1}}, {"c": {"d": 1}}, {"c": 5}):
        add_usage(total, usage)
    assert total == {"a": {"b": 1}, "c": {"d": 1}}


def test_figures_that_no_sum_could_hold_are_none() -> None:
    total: dict[str, object] = {}
    for figure in (10**400, float("inf"), float("nan"), 1.5, 2**63, 2):
        add_usage(total, stated_usage({"a": figure}))
    assert total == {"a": 3.5}


def test_keys_are_bounded() -> None:
    assert stated_usage({"k" * 101: 1, "k" * 100: 2, "n" * 101: {"a": 1}}) == {"k" * 100: 2}
