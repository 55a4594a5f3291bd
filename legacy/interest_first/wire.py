"""What a caller may send: every field of the protocol is checked here, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .folder import CLICK_DEPTH, TOUCHES

LONGEST_MS = 1 << 52
MOST_ITEMS = 20_000
MOST_PLACES = 1_000
HEADS = ("click", "hate", "long_view", *TOUCHES)


class RefusedError(Exception):
    """A call that is not answered as asked."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def body(self) -> bytes:
        return json.dumps({"error": {"code": self.code, "message": self.message}}).encode()


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, to rank or to score."""

    request_id: int
    user_id: int
    surface: str
    scenario: int
    now_ms: int
    item_ids: list[int] | None
    count: int = 10
    explain: bool = False
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Feedback:
    """One feedback record."""

    known_as: tuple
    user_id: int
    item_id: int
    surface: str
    scenario: int
    time_ms: int
    depth: float
    long_view: float
    joined: bool


def malformed(message: str) -> RefusedError:
    return RefusedError(400, "malformed", message)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def parse(text: bytes | str) -> Any:
    """JSON without NaN and infinities."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise malformed(f"not JSON: {error}") from None


def _record(body: Any) -> dict:
    if type(body) is not dict:
        raise malformed(f"expected an object, found {type(body).__name__}")
    return body


def _whole(body: dict, name: str, low: int = -(1 << 63), high: int = (1 << 63) - 1, default: int | None = None) -> int:
    value = body.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise malformed(f"{name} must be a whole number from {low} to {high}, found {str(value)[:60]!r}")
    return value


def _text(body: dict, name: str) -> str:
    value = body.get(name)
    if type(value) is not str:
        raise malformed(f"{name} must be text, found {str(value)[:60]!r}")
    return value


def _item_ids(body: dict) -> list[int] | None:
    value = body.get("item_ids")
    if value is None:
        return None
    if type(value) is not list or len(value) > MOST_ITEMS:
        raise malformed(f"item_ids must be a list of at most {MOST_ITEMS} item ids")
    for item in value:
        if type(item) is not int or not -(1 << 63) <= item < 1 << 63:
            raise malformed(f"item_ids holds {str(item)[:60]!r}; an item id is a 64-bit whole number")
    return value


def _asked(body: Any) -> tuple[dict, tuple[int, int, str, int, int, list[int] | None]]:
    body = _record(body)
    return body, (
        _whole(body, "request_id"),
        _whole(body, "user_id"),
        _text(body, "surface"),
        _whole(body, "scenario", default=-1),
        _whole(body, "now_ms", 0, LONGEST_MS),
        _item_ids(body),
    )


def score_ask(body: Any) -> Ask:
    """A score line."""
    _, six = _asked(body)
    if six[-1] is None:
        raise malformed("item_ids is missing: a score line names the items")
    return Ask(*six)


def rank_ask(body: Any) -> Ask:
    """A rank call or line."""
    body, six = _asked(body)
    failures = body.get("failures") or []
    if type(failures) is not list or not set(map(str, failures)) <= {"safety", "features"}:
        raise malformed("failures must be a list out of 'safety', 'features'")
    if type(body.get("explain", False)) is not bool:
        raise malformed("explain must be true or false")
    return Ask(*six, _whole(body, "count", 1, MOST_PLACES, 10), body.get("explain", False), tuple(failures))


def _flag(body: dict, name: str) -> bool:
    value = body.get(name)
    if value is None:
        return False
    if value not in (0, 1):
        raise malformed(f"{name} must be 0, 1 or left out, found {str(value)[:60]!r}")
    return bool(value)


def feedback(body: Any) -> Feedback:
    """A feedback record."""
    body = _record(body)
    event_id, request_id, item_id = body.get("event_id"), _whole(body, "request_id"), _whole(body, "item_id")
    if event_id is not None and type(event_id) is not str:
        raise malformed(f"event_id must be text, found {str(event_id)[:60]!r}")
    flags = {name: _flag(body, name) for name in HEADS}
    joined = any(flags[name] for name in TOUCHES)
    return Feedback(
        known_as=(request_id, item_id) if event_id is None else (event_id,),
        user_id=_whole(body, "user_id"),
        item_id=item_id,
        surface=_text(body, "surface"),
        scenario=_whole(body, "scenario", default=-1),
        time_ms=_whole(body, "time_ms", 0, LONGEST_MS),
        depth=1.0 if flags["long_view"] or joined else CLICK_DEPTH * flags["click"],
        long_view=float(flags["long_view"]),
        joined=joined,
    )


LINES: dict[str, Callable[[Any], Any]] = {"event": feedback, "score": score_ask, "rank": rank_ask}


def replay_lines(body: bytes) -> list[tuple[str, Any]]:
    """The lines of a replay, all checked before the first is applied."""
    out = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            ((kind, inner),) = _record(parse(line)).items()
            out.append((kind, LINES[kind](inner)))
        except RefusedError as error:
            raise RefusedError(error.status, error.code, f"line {number}: {error.message}") from None
        except (ValueError, KeyError):
            raise malformed(f"line {number}: expected one of event, score, rank") from None
    return out


def event_list(body: Any) -> list[Feedback]:
    """The records of an events call, all checked before the first is applied."""
    events = _record(body).get("events")
    if type(events) is not list:
        raise malformed("events must be a list of feedback records")
    return [feedback(one) for one in events]
