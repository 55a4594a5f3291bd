"""What may come in over the wire: every field checked once, here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from content_first.flags import OUTCOMES

LARGEST_ID = 2**63 - 1
MOST_ITEMS = 100_000
MOST_PLACES = 1_000
DRILLS = ("safety", "features")


class WireError(ValueError):
    """The message is malformed."""

    status, code = 400, "malformed"


class UnknownSurfaceError(WireError):
    """The surface is not one of this stack's."""

    status, code = 404, "unknown_surface"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to rank or to score."""

    request_id: int
    user_id: int
    surface: int
    now_ms: int
    item_ids: list[int] | None
    count: int
    explain: bool
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """One feedback record."""

    key: Any
    user_id: int
    item_id: int
    time_ms: int
    viewed: bool
    did: int
    watch_ms: float


def parse(body: bytes) -> dict[str, Any]:
    """A JSON object, or a refusal."""
    try:
        found = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as wrong:
        raise WireError(f"not JSON: {wrong}") from None
    if type(found) is not dict:
        raise WireError("expected a JSON object")
    return found


def _no_constant(name: str) -> float:
    raise WireError(f"{name} is not a number this stack takes")


def ask_from(body: Any, surfaces: dict[str, int], ranking: bool) -> Ask:
    """Reads a rank or score request."""
    if type(body) is not dict:
        raise WireError("a request is a JSON object")
    surface = body.get("surface")
    if type(surface) is not str:
        raise WireError("surface: expected a text")
    if surface not in surfaces:
        raise UnknownSurfaceError(f"surface {surface!r} is not one of {', '.join(surfaces)}")
    _whole(body, "scenario", -1)
    items, failures = body.get("item_ids"), body.get("failures", ())
    if items is None and not ranking:
        raise WireError("item_ids: expected a list of whole numbers")
    if items is not None:
        items = _whole_list(items)
    if type(failures) not in (list, tuple) or any(f not in DRILLS for f in failures):
        raise WireError(f"failures: expected some of {', '.join(DRILLS)}")
    return Ask(
        _whole(body, "request_id"), _whole(body, "user_id"), surfaces[surface],
        _whole(body, "now_ms", low=0), items, _whole(body, "count", 10, low=0, high=MOST_PLACES),
        body.get("explain", False) is True, tuple(failures),
    )  # fmt: skip


def told_from(body: Any) -> Told:
    """Reads a feedback record."""
    if type(body) is not dict:
        raise WireError("an event is a JSON object")
    event_id = body.get("event_id")
    if event_id is not None and type(event_id) is not str:
        raise WireError("event_id: expected a text")
    item_id, did = _whole(body, "item_id"), 0
    for bit, name in enumerate(OUTCOMES):
        value = body.get(name)
        if value is None:
            continue
        if value not in (0, 1):
            raise WireError(f"{name}: expected 0 or 1, found {value!r}")
        did |= int(value) << bit
    key = event_id if event_id is not None else (_whole(body, "request_id"), item_id)
    watch = body.get("watch_ms")
    if watch is not None and (type(watch) not in (int, float) or not 0 <= watch <= LARGEST_ID):
        raise WireError(f"watch_ms: expected a number from 0, found {watch!r}")
    viewed = body.get("viewed", 0)
    if viewed not in (0, 1):
        raise WireError(f"viewed: expected 0 or 1, found {viewed!r}")
    watch_ms = float("nan") if watch is None else float(watch)
    return Told(key, _whole(body, "user_id"), item_id, _whole(body, "time_ms", low=0), bool(viewed), did, watch_ms)


def _whole(
    body: dict[str, Any], name: str, default: int | None = None, low: int = -LARGEST_ID, high: int = LARGEST_ID
) -> int:
    value = body.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise WireError(f"{name}: expected a whole number from {low} to {high}, found {str(value)[:40]!r}")
    return value


def _whole_list(values: Any) -> list[int]:
    if type(values) is not list or len(values) > MOST_ITEMS:
        raise WireError(f"item_ids: expected a list of at most {MOST_ITEMS} whole numbers")
    for value in values:
        if type(value) is not int or not -LARGEST_ID <= value <= LARGEST_ID:
            raise WireError(f"item_ids: {str(value)[:40]!r} is not a whole number below 2^63")
    return values
