"""Usage: what was billed, and sums of it: tokens, mostly.

Rule: figures are summed field by field, as the server nests them, and nothing is added across
fields: cached tokens are part of the input, and stay there.
"""

from typing import Any

import msgspec

MAX_FIELDS = 64
"""Of one object; servers send up to six. What is beyond is left out."""

_MAX_DEPTH = 4  # servers nest three deep


def stated_usage(usage: object) -> dict[str, Any]:
    """Return a usage object without what it leaves unstated; empty where it states nothing."""
    plain = msgspec.to_builtins(usage) if isinstance(usage, msgspec.Struct) else usage
    return _stated(plain, _MAX_DEPTH) if isinstance(plain, dict) else {}


def _stated(part: dict[str, Any], depth: int) -> dict[str, Any]:
    """The numbers of a usage object, nested as they come."""
    stated: dict[str, Any] = {}
    for key, value in part.items():
        if len(stated) == MAX_FIELDS:
            break
        if is_number(value):
            stated[key] = value
        elif isinstance(value, dict) and depth > 1 and (nested := _stated(value, depth - 1)):
            stated[key] = nested
    return stated


def add_usage(total: dict[str, Any], usage: dict[str, Any]) -> None:
    """Add what `stated_usage` returned to a sum."""
    for key, value in usage.items():
        if key not in total and len(total) == MAX_FIELDS:
            continue
        if isinstance(value, dict):
            part = total.setdefault(key, {})
            if isinstance(part, dict):
                add_usage(part, value)
        elif is_number(total.get(key, 0)):
            total[key] = total.get(key, 0) + value


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
