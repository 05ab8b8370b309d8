"""Usage: what was billed, and sums of it: tokens, mostly.

Rule: figures are summed field by field, as the server nests them, and nothing is added across
fields: cached tokens are part of the input, and stay there. Whatever a server sends, an object has
at most MAX_FIELDS figures.
"""

import math
from typing import Any

import msgspec

MAX_FIELDS = 64
"""Figures of one object; servers send up to a dozen. What is beyond is left out."""

_MAX_DEPTH = 4  # servers nest three deep
_MAX_KEY = 100  # characters
_MAX_FIGURE = 2**63  # beyond it a figure is none: no sum of them is too large for a float


def stated_usage(usage: object) -> dict[str, Any]:
    """Return a usage object without what it leaves unstated; empty where it states nothing."""
    plain = msgspec.to_builtins(usage) if isinstance(usage, msgspec.Struct) else usage
    stated: dict[str, Any] = {}
    if isinstance(plain, dict):
        _add(stated, plain, MAX_FIELDS, _MAX_DEPTH)
    return stated


def add_usage(total: dict[str, Any], usage: dict[str, Any]) -> None:
    """Add what `stated_usage` returned to a sum."""
    _add(total, usage, MAX_FIELDS - _count(total), _MAX_DEPTH)


def _add(total: dict[str, Any], part: dict[str, Any], room: int, depth: int) -> int:
    """Add the figures of a part to a sum that has room for so many new ones; return the rest."""
    for key, value in part.items():
        if is_number(value):
            if is_number(total.get(key)):
                total[key] += value
            elif key not in total and room and len(key) <= _MAX_KEY:
                total[key] = value
                room -= 1
        elif isinstance(value, dict) and depth > 1 and len(key) <= _MAX_KEY:
            inner = total.get(key)
            inner = inner if isinstance(inner, dict) else {}
            room = _add(inner, value, room, depth - 1)
            if inner:
                total[key] = inner  # in place of a figure, too: splits tell more
    return room


def _count(part: dict[str, Any]) -> int:
    return sum(_count(value) if isinstance(value, dict) else 1 for value in part.values())


def is_number(value: object) -> bool:
    """Whether it is a number that can be added up."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < _MAX_FIGURE if isinstance(value, int) else math.isfinite(value)
