"""What an outside stack may answer, as records that are checked (docs/reference/remote-protocol.md)."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from mainstem.base.errors import RemoteError

Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
T = TypeVar("T")


class Health(msgspec.Struct, frozen=True):
    """What the other side says it is."""

    stack: str
    ready: bool
    version: str = ""
    heads: list[str] = []
    surfaces: list[str] = []
    describes: list[str] = []
    events_seen: int = 0


class ShownItem(msgspec.Struct, frozen=True):
    """One item of an answered slate."""

    item_id: Id
    score: float
    propensity: float | None = None


class ConsideredItem(msgspec.Struct, frozen=True):
    """One candidate, with what the stack chooses to tell about it."""

    item_id: Id
    sources: list[str] = []
    heads: dict[str, float] = {}
    value: float | None = None
    removed_by: str | None = None


class FiredRule(msgspec.Struct, frozen=True):
    """One rule that did something to one item."""

    rule: str
    item_id: Id
    effect: str = "removed"


class RankAnswer(msgspec.Struct, frozen=True):
    """The answer of ``/v1/rank``."""

    request_id: int
    items: list[ShownItem]
    stack: str = ""
    candidates: list[ConsideredItem] = []
    rules: list[FiredRule] = []
    timings_ms: dict[str, float] = {}
    degraded: list[str] = []


class ScoreAnswer(msgspec.Struct, frozen=True):
    """The answer to one ``score`` line of ``/v1/replay``: one number an item, before any rule."""

    request_id: int
    scores: list[float]
    heads: dict[str, list[float]] = {}


class EventsAnswer(msgspec.Struct, frozen=True):
    """The answer of ``/v1/events``."""

    accepted: int
    duplicates: int = 0


class ResetAnswer(msgspec.Struct, frozen=True):
    """The answer of ``/v1/reset``."""

    ready: bool


class Failure(msgspec.Struct, frozen=True):
    """What stands in an error answer."""

    message: str = ""
    code: str = ""


class FailureAnswer(msgspec.Struct, frozen=True):
    """The body of any answer that is not 200."""

    error: Failure


def checked(body: bytes, answer: type[T], where: str) -> T:
    """The body as this record.

    Raises:
        RemoteError: It is not JSON, or not in the protocol (``remote-003``).
    """
    try:
        return msgspec.json.decode(body, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_in_protocol(f"{where} answered {_excerpt(body)}: {error}") from None


def not_in_protocol(what: str) -> RemoteError:
    """The refusal of an answer that breaks the protocol."""
    return RemoteError(
        what,
        code="remote-003",
        hint="docs/reference/remote-protocol.md has each answer; testing/remote_suite.py checks them",
    )


def failure_of(body: bytes) -> str:
    """What an error answer says, or its first characters when it does not follow the protocol."""
    try:
        said = msgspec.json.decode(body, type=FailureAnswer).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _excerpt(body)
    return f"{said.code}: {said.message}" if said.code else said.message


def _excerpt(body: bytes) -> str:
    return repr(body[:80].decode("utf-8", "replace"))


def encoded(value: Any) -> bytes:
    """One JSON value in the protocol's form."""
    return msgspec.json.encode(value)
