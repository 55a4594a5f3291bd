"""A standing as it was kept in JSON, which has no infinity: a bound that nothing can reach comes back as one."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from mainstem.launch.standing import Standing


def standing_of_plain(found: Any) -> Standing:
    """The standing out of plain values, such as ``evidence/launch-NAME.json``.

    A bound is infinite where nothing is left to spend, and JSON tells it as null.

    Args:
        found: Decoded JSON.

    Raises:
        msgspec.ValidationError: It is none.
    """
    return msgspec.convert(_unbounded(found), Standing)


def _unbounded(found: Any) -> Any:
    match found:
        case {"statistic": _, "bound": None}:
            return {**found, "bound": math.inf}
        case dict():
            return {name: _unbounded(one) for name, one in found.items()}
        case list():
            return [_unbounded(one) for one in found]
    return found
