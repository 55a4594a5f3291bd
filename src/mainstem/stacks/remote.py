"""An outside stack behind HTTP, asked as if it were one of ours (docs/reference/remote-protocol.md)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import httpx2
import msgspec

from mainstem.base.errors import RemoteError
from mainstem.base.request import Request, Slate
from mainstem.stacks.remote_protocol import (
    EventsAnswer,
    Health,
    RankAnswer,
    ResetAnswer,
    ScoreAnswer,
    checked,
    encoded,
    failure_of,
    not_in_protocol,
)
from mainstem.stacks.remote_trace import slate_of

CHUNK_LINES: Final = 2_000
CHUNK_BYTES: Final = 8_000_000
ANSWER_BYTES: Final = 64_000_000
"""A longer answer is refused, so that a broken peer cannot fill our memory."""

Kind: TypeAlias = Literal["event", "score", "rank"]
Line: TypeAlias = tuple[Kind, Any]
"""One step of a replay: an event record, or what to score or rank. The second part is a mapping, or its JSON as bytes."""


class RemoteStack:
    """A stack that another team runs.

    Args:
        name: How it is called here, whatever it calls itself.
        url: Where it listens, such as ``http://127.0.0.1:8501``.
        budget_s: One call may take this long in all, a replay chunk ten times as long.
        transport: Stands in for the network in tests.
    """

    def __init__(
        self, name: str, url: str, budget_s: float = 1.0, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self.budget_s = budget_s
        self._client = httpx2.Client(base_url=self.url, transport=transport, trust_env=False)

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def __enter__(self) -> RemoteStack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def health(self) -> Health:
        """What it says it is, and whether it is ready."""
        return checked(self._call("GET", "/v1/health"), Health, f"{self.name} /v1/health")

    def rank(self, request: Request, explain: bool = True) -> Slate:
        """What it would show; the trace holds what it tells, and nothing else.

        Raises:
            RemoteError: No answer (``remote-001``), too late (``remote-002``), not in the protocol (``remote-003``), or an error
                answer (``remote-004``).
        """
        body = self._call("POST", "/v1/rank", encoded(rank_body(request, explain)))
        return slate_of(self.name, request, checked(body, RankAnswer, f"{self.name} /v1/rank"))

    def score(self, request: Request) -> ScoreAnswer:
        """Its own final score of each of the request's items before any rule. Changes no state there."""
        (answer,) = self.replay([("score", score_body(request))])
        if not isinstance(answer, ScoreAnswer):  # the kind of a line fixes the record of its answer
            raise not_in_protocol(f"{self.name} did not answer a score line with scores")
        return answer

    def replay(self, lines: Iterable[Line]) -> Iterator[ScoreAnswer | RankAnswer]:
        """The answers to the score and rank lines, in order, sent in chunks of bounded size.

        Raises:
            RemoteError: As in ``rank``; also when the answers are not the ones asked for (``remote-005``).
        """
        for body, asked in _chunks(lines):
            answer = self._call("POST", "/v1/replay", body, times=10)
            yield from self._replayed(answer, asked)

    def feedback(self, records: Sequence[Mapping[str, Any]]) -> EventsAnswer:
        """Sends what became of shown items (docs/reference/tables.md, feedback record)."""
        body = self._call("POST", "/v1/events", encoded({"events": list(records)}))
        answer = checked(body, EventsAnswer, f"{self.name} /v1/events")
        if answer.accepted + answer.duplicates != len(records):
            raise not_in_protocol(
                f"{self.name} accounts for {answer.accepted} + {answer.duplicates} of {len(records)} events"
            )
        return answer

    def reset(self) -> None:
        """Takes it back to the state right after training."""
        answer = checked(self._call("POST", "/v1/reset", b"{}", times=30), ResetAnswer, f"{self.name} /v1/reset")
        if not answer.ready:
            raise not_in_protocol(f"{self.name} is not ready after a reset")

    def _replayed(self, body: bytes, asked: list[tuple[Kind, int, int]]) -> Iterator[ScoreAnswer | RankAnswer]:
        lines = body.splitlines()
        if len(lines) != len(asked):
            raise RemoteError(
                f"{self.name} answered {len(lines)} replay lines, asked were {len(asked)}", code="remote-005"
            )
        for line, (kind, request_id, items) in zip(lines, asked, strict=True):
            answer = checked(line, ScoreAnswer if kind == "score" else RankAnswer, f"{self.name} /v1/replay")
            if answer.request_id != request_id:
                raise RemoteError(
                    f"{self.name} answered request {answer.request_id} where {request_id} was asked", code="remote-005"
                )
            if isinstance(answer, ScoreAnswer) and len(answer.scores) != items:
                raise RemoteError(
                    f"{self.name} answered {len(answer.scores)} scores for {items} items of request {request_id}",
                    code="remote-005",
                )
            yield answer

    def _call(self, method: str, path: str, body: bytes | None = None, times: int = 1) -> bytes:
        """One exchange within ``times`` budgets, however slowly the bytes drip."""
        budget_s = self.budget_s * times
        deadline = time.perf_counter() + budget_s
        where = f"{self.name} at {self.url}{path}"
        try:
            with self._client.stream(method, path, content=body, timeout=budget_s, headers=_JSON) as answer:
                content = self._read(answer, deadline, where)
        except httpx2.TimeoutException:
            raise _too_slow(where, budget_s) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise RemoteError(
                f"{where} does not answer: {type(error).__name__}: {error}",
                code="remote-001",
                hint="is it started, and is [remote] url right?",
            ) from None
        if answer.status_code != 200:
            raise RemoteError(f"{where} answered {answer.status_code}: {failure_of(content)}", code="remote-004")
        return content

    def _read(self, answer: httpx2.Response, deadline: float, where: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in answer.iter_bytes():
            size += len(part)
            if size > ANSWER_BYTES:
                raise not_in_protocol(f"{where} answered more than {ANSWER_BYTES} bytes")
            if time.perf_counter() > deadline:
                raise _too_slow(where, self.budget_s)
            parts.append(part)
        return b"".join(parts)


_JSON: Final = {"content-type": "application/json"}


def _too_slow(where: str, budget_s: float) -> RemoteError:
    return RemoteError(
        f"{where} did not answer within {budget_s:g} s",
        code="remote-002",
        status=504,
        hint="raise [serve] remote_budget_ms, or see what slows it down",
    )


def rank_body(request: Request, explain: bool = True) -> dict[str, Any]:
    """A request as ``/v1/rank`` takes it."""
    return score_body(request) | {
        "count": request.count,
        "explain": explain,
        "failures": sorted(request.failures),
    }


def score_body(request: Request) -> dict[str, Any]:
    """A request as a ``score`` line takes it."""
    return {
        "request_id": request.request_id,
        "user_id": request.user_id,
        "surface": request.surface,
        "scenario": request.scenario,
        "now_ms": request.now_ms,
        "item_ids": None if request.item_ids is None else request.item_ids.tolist(),
    }


def _chunks(lines: Iterable[Line]) -> Iterator[tuple[bytes, list[tuple[Kind, int, int]]]]:
    """Bodies of bounded size, each with what it asks: kind, request id and number of items of each answer line."""
    parts: list[bytes] = []
    asked: list[tuple[Kind, int, int]] = []
    size = 0
    for kind, content in lines:
        line = b'{"%s":%s}\n' % (kind.encode(), content if isinstance(content, bytes) else encoded(content))
        if parts and (len(parts) >= CHUNK_LINES or size + len(line) > CHUNK_BYTES):
            yield b"".join(parts), asked
            parts, asked, size = [], [], 0
        parts.append(line)
        size += len(line)
        if kind != "event":
            told = (
                msgspec.json.decode(content, type=_Asked)
                if isinstance(content, bytes)
                else _Asked(content["request_id"], content.get("item_ids"))
            )
            asked.append((kind, told.request_id, len(told.item_ids or ())))
    if parts:
        yield b"".join(parts), asked


class _Asked(msgspec.Struct):
    request_id: int
    item_ids: list[int] | None = None
