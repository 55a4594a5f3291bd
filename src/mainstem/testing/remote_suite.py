"""Does an outside stack speak the remote protocol: tests that its team runs against its own server.

Example:
    A file ``test_ours.py`` beside the stack::

        from mainstem.testing.remote_suite import RemoteSuite

        class TestOurs(RemoteSuite):
            url = "http://127.0.0.1:8501"
            user_id, surface, now_ms = 7, "feed", 1650812741436
            item_ids = (99, 55, 12)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import httpx2
import msgspec
import numpy as np

from mainstem.base.request import Request
from mainstem.stacks.remote import Line, RemoteStack, rank_body, score_body
from mainstem.stacks.remote_protocol import FailureAnswer, Health, RankAnswer, ScoreAnswer, checked


class RemoteSuite:
    """One test for each promise of the protocol. Subclass it and say where the stack listens and whom it knows."""

    url: ClassVar[str]
    user_id: ClassVar[int]
    surface: ClassVar[str]
    now_ms: ClassVar[int]
    item_ids: ClassVar[Sequence[int]]
    """At least three items the stack knows."""
    budget_s: ClassVar[float] = 10.0

    def remote(self) -> RemoteStack:
        """A client of the stack."""
        return RemoteStack("remote", self.url, self.budget_s)

    def ask(self, request_id: int = 41, **changes: Any) -> Request:
        """A request the stack must answer."""
        known = {"user_id": self.user_id, "surface": self.surface, "now_ms": self.now_ms, "count": 3}
        return Request(request_id=request_id, **(known | changes))

    def outcome(self, request_id: int = 41, **changes: Any) -> dict[str, Any]:
        """What became of one shown item."""
        known = {
            "event_id": f"suite-{request_id}",
            "request_id": 2**40 + request_id,  # no request of the stack's own log
            "user_id": self.user_id,
            "item_id": int(self.item_ids[0]),
            "surface": self.surface,
            "scenario": 1,
            "time_ms": self.now_ms - 1_000,
            "position": 0,
            "viewed": 1,
            "click": 1,
            "like": 1,
            "long_view": 1,
            "watch_ms": 60_000,
            "duration_ms": 50_000,
        }
        return known | changes

    def test_health_says_what_it_is(self) -> None:
        """It names itself, is ready, and serves the surface."""
        with self.remote() as remote:
            health = remote.health()
        assert health.ready, "GET /v1/health must say ready once the server answers"
        assert health.stack, "GET /v1/health must name the stack"
        assert self.surface in health.surfaces, f"{self.surface} must be among the surfaces {health.surfaces}"

    def test_a_slate_is_ordered_bounded_and_explained_as_far_as_it_says(self) -> None:
        """Items once each, best first, at most ``count``; candidates, heads and rules where ``describes`` lists them."""
        with self.remote() as remote:
            describes = remote.health().describes
            slate = remote.rank(self.ask())
        assert len(slate.item_ids) <= 3, "more items than asked"
        assert len(set(slate.item_ids.tolist())) == len(slate.item_ids), "an item twice"
        assert slate.trace is not None
        if "candidates" in describes:
            assert set(slate.item_ids.tolist()) <= set(slate.trace.item_ids.tolist()), "shown, but not a candidate"
        if "heads" in describes and len(slate.trace.item_ids):
            assert slate.trace.predictions is not None, "describes heads, tells none"
        if "timings" in describes:
            assert slate.trace.timings_ms, "describes timings, tells none"

    def test_named_items_are_ranked_and_nothing_else(self) -> None:
        """With ``item_ids`` only those may be shown."""
        with self.remote() as remote:
            slate = remote.rank(self.ask(item_ids=np.array(self.item_ids, np.int64)))
        assert set(slate.item_ids.tolist()) <= set(self.item_ids), "an item that was not named"

    def test_no_items_and_unknown_ids_are_no_errors(self) -> None:
        """An unknown viewer or item, and an empty list, get an answer."""
        with self.remote() as remote:
            assert len(remote.rank(self.ask(item_ids=np.empty(0, np.int64))).item_ids) == 0
            remote.rank(self.ask(user_id=2**62 + 1))
            remote.rank(self.ask(item_ids=np.array([2**62 + 1], np.int64)))
            remote.score(self.ask(user_id=2**62 + 1, item_ids=np.array([2**62 + 1], np.int64)))

    def test_without_explain_the_slate_is_the_same(self) -> None:
        """``explain`` changes what is told, not what is shown."""
        with self.remote() as remote:
            told, silent = (self._from_the_start(remote, self.ask(), explain) for explain in (True, False))
        assert told == silent

    def test_the_same_replay_after_a_reset_gives_the_same_answers(self) -> None:
        """State depends on the calls alone, and time on ``now_ms`` alone."""
        with self.remote() as remote:
            first, second = (self._replayed(remote) for _ in range(2))
        assert first == second, "a replay after a reset differs"

    def test_answers_stand_in_the_order_of_their_lines(self) -> None:
        """One answer a score or rank line, none for an event."""
        with self.remote() as remote:
            answers = self._replayed(remote)
        assert [answer.request_id for answer in answers] == [1, 2, 4, 5]
        kinds = [ScoreAnswer, RankAnswer, ScoreAnswer, RankAnswer]
        assert [type(answer) for answer in answers] == kinds

    def test_scores_are_one_a_named_item(self) -> None:
        """A score answer has as many numbers as items, for every head too, and they can be ordered."""
        with self.remote() as remote:
            answer = remote.score(self.ask(item_ids=np.array(self.item_ids, np.int64)))
        assert len(answer.scores) == len(self.item_ids)
        assert all(len(column) == len(self.item_ids) for column in answer.heads.values())
        assert np.isfinite(answer.scores).all(), "a score that cannot be ordered"

    def test_scoring_changes_nothing(self) -> None:
        """The same score twice, with another in between."""
        ask = self.ask(item_ids=np.array(self.item_ids, np.int64))
        with self.remote() as remote:
            remote.reset()
            first = remote.score(ask)
            remote.score(self.ask(42, item_ids=np.array(self.item_ids[:1], np.int64)))
            assert remote.score(ask) == first

    def test_an_event_seen_before_changes_nothing(self) -> None:
        """By its ``event_id``, and without one by request and item."""
        without = {key: value for key, value in self.outcome(43).items() if key != "event_id"}
        with self.remote() as remote:
            remote.reset()
            for record in (self.outcome(), without):
                first, second = remote.feedback([record]), remote.feedback([record])
                assert (first.accepted, first.duplicates) == (1, 0)
                assert (second.accepted, second.duplicates) == (0, 1)
            remote.reset()

    def test_an_event_is_visible_to_the_next_call(self) -> None:
        """``events_seen`` counts it."""
        with self.remote() as remote:
            remote.reset()
            before = remote.health().events_seen
            remote.feedback([self.outcome(44)])
            assert remote.health().events_seen > before
            remote.reset()
            assert remote.health().events_seen == before, "a reset must undo what was learned since training"

    def test_failing_lookups_are_survived(self) -> None:
        """The drills of the protocol are answered, not refused."""
        with self.remote() as remote:
            for failure in ("safety", "features"):
                remote.rank(self.ask(failures=frozenset({failure})))

    def test_malformed_bodies_are_400(self) -> None:
        """Not JSON, a missing field, a field of another type; the body says why."""
        good = rank_body(self.ask())
        wrong: list[Any] = [
            b"{",
            {key: value for key, value in good.items() if key != "user_id"},
            good | {"user_id": "x"},
        ]
        for body in wrong:
            assert self._refusal("/v1/rank", body) == 400, f"{body!r} must be refused with 400"
        assert self._refusal("/v1/events", {"events": 3}) == 400

    def test_an_unknown_surface_is_404(self) -> None:
        """The surface is part of the address of a ranking, so it can be missing."""
        assert self._refusal("/v1/rank", rank_body(self.ask()) | {"surface": "no-such-surface"}) == 404

    def test_a_body_over_32_mb_is_413(self) -> None:
        """Nothing is taken of it."""
        assert self._refusal("/v1/events", b'{"events": [' + b" " * 36_000_000 + b"]}") == 413

    def _from_the_start(self, remote: RemoteStack, request: Request, explain: bool) -> list[int]:
        remote.reset()
        return remote.rank(request, explain).item_ids.tolist()

    def _replayed(self, remote: RemoteStack) -> list[Any]:
        named = np.array(self.item_ids, np.int64)
        lines: list[Line] = [
            ("score", score_body(self.ask(1, item_ids=named))),
            ("rank", rank_body(self.ask(2))),
            ("event", self.outcome(3)),
            ("score", score_body(self.ask(4, item_ids=named))),
            ("rank", rank_body(self.ask(5))),
        ]
        remote.reset()
        answers = list(remote.replay(lines))
        remote.reset()
        return [self._without_times(answer) for answer in answers]

    def _without_times(self, answer: Any) -> Any:
        return msgspec.structs.replace(answer, timings_ms={}) if isinstance(answer, RankAnswer) else answer

    def _refusal(self, path: str, body: Any) -> int:
        """The status of a refusal whose body is in the protocol."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        with httpx2.Client(base_url=self.url, timeout=self.budget_s, trust_env=False) as client:
            try:
                answer = client.post(path, content=content, headers={"content-type": "application/json"})
            except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError):
                # A server may close the connection on a body it will not read; whether it still lives is what counts.
                assert len(content) > 32_000_000, "the server closed the connection"
                checked(client.get("/v1/health").content, Health, "/v1/health")
                return 413
        assert msgspec.json.decode(answer.content, type=FailureAnswer).error.message
        return answer.status_code
