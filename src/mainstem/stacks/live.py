"""A running platform in one process: it ranks, takes in what happened, and can say why.

One thread owns a ``Live``: requests, feedback and explanations run on it one after the other (``api/lane.py``), so no part of a
stack needs a lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mainstem.base.clock import Clock, FollowingClock
from mainstem.base.errors import ControlError, RequestError, did_you_mean
from mainstem.base.request import Ids, Pool, Request, Rows, Slate
from mainstem.base.settings import Settings
from mainstem.data.records import IdTable
from mainstem.features.unified_state import FeatureState
from mainstem.stacks.blocking import Blocking
from mainstem.stacks.follow import Follower
from mainstem.stacks.impression import impression_of
from mainstem.stacks.remote import RemoteStack
from mainstem.stacks.run import guarded, run
from mainstem.stacks.stage import Stack
from mainstem.stacks.viewer import LiveFeatures
from mainstem.stacks.why import Why, why
from mainstem.stacks.withdrawals import Withdrawals
from mainstem.store.event_log import EventLog

LOG = logging.getLogger("mainstem.live")
FUTURE_MS = 300_000
"""Clocks of clients may be ahead by this much; what is later is refused."""
_HOLD_FOR_ALL = frozenset({"withdrawn", "blocked"})
"""Rules that every slate of this server obeys, also another stack's."""
PLAYED_MS = 86_400_000
"""The same where days are played through, so that a quiet hour is none too long: time moves on with the requests."""
COUNT_LIMIT = 500
"""Most items one request may ask for."""


class OffsetClock:
    """A clock that is a fixed time ahead or behind another: a past log is served as of its own time.

    Args:
        clock: What it runs with.
        starts_ms: What it shows now.
    """

    def __init__(self, clock: Clock, starts_ms: int) -> None:
        self._clock = clock
        self._ahead_ms = starts_ms - clock.now_ms()

    def now_ms(self) -> int:
        """The other clock's time, moved."""
        return self._clock.now_ms() + self._ahead_ms


class Live:
    """The unified stack, its memory of what happened, and the stacks beside it.

    Args:
        stack: What answers.
        settings: Surfaces and budgets.
        clock: What "now" is when a request does not say.
        log: The durable event log.
        follower: Keeps the stack's memories up with the log.
        fallback: Catalog rows, best first, that may be shown to anybody when nothing else works: checked items only.
        ids: Numbers of text ids; None when the log's ids are numbers.
        remotes: Outside stacks by name.
        arm: The experiment arm written beside every impression.
        model: The version of the model that the stack ranks with, written beside every impression it ranked.
        renewed: Makes a feature state by the definitions as they stand now, from everything before the first live record;
            None where they cannot change while it runs.
        withdrawals: Takes items out of the stack and puts them back; None where that is not possible.
    """

    def __init__(
        self,
        stack: Stack,
        settings: Settings,
        clock: Clock,
        log: EventLog,
        follower: Follower,
        fallback: Rows,
        *,
        ids: IdTable | None = None,
        remotes: Mapping[str, RemoteStack] | None = None,
        arm: str = "",
        model: str = "",
        renewed: Callable[[], FeatureState] | None = None,
        withdrawals: Withdrawals | None = None,
    ) -> None:
        self.stack = stack
        self.settings = settings
        self.surfaces = settings.served()
        self.clock = clock
        self.log = log
        self.follower = follower
        self.ids = ids
        self.remotes = dict(remotes or {})
        self.arm = arm
        self.model = model
        self._renewed = renewed
        self._withdrawals = withdrawals
        self._fallback = fallback
        self._source_budget_s = settings.serve.source_budget_ms / 1e3
        self._dry = replace(stack, memories=(), claims=None)

    def request(
        self,
        request_id: int,
        user_id: int,
        surface: str,
        *,
        count: int = 0,
        now_ms: int | None = None,
        scenario: int = -1,
        item_ids: Ids | None = None,
        failures: frozenset[str] = frozenset(),
    ) -> Request:
        """What is asked, with the surface's defaults filled in.

        Raises:
            RequestError: Unknown surface (``request-001``), count out of bounds (``request-002``) or a time in the future
                (``request-004``).
        """
        known = self.surfaces.get(surface)
        if known is None:
            raise RequestError(
                f"surface {surface!r} is not configured",
                code="request-001",
                status=404,
                hint=did_you_mean(surface, self.surfaces),
            )
        count = count or known.count
        if not 0 < count <= COUNT_LIMIT:
            raise RequestError(f"count is {count}, must be 1 to {COUNT_LIMIT}", code="request-002")
        present_ms = self.clock.now_ms()
        ahead_ms = PLAYED_MS if isinstance(self.clock, FollowingClock) else FUTURE_MS
        if now_ms is not None and now_ms > present_ms + ahead_ms:
            raise RequestError(f"now_ms {now_ms} is in the future; here it is {present_ms}", code="request-004")
        at_ms = present_ms if now_ms is None else now_ms
        if isinstance(self.clock, FollowingClock):
            self.clock.hear(at_ms)
        return Request(request_id, user_id, surface, at_ms, count, scenario, item_ids, failures)

    def rank(self, request: Request, explain: bool = False) -> Slate:
        """What this viewer is shown.

        When a part without a fallback of its own fails, the request is tried once more with every user feature at its default; when
        that fails too, the answer is the declared fallback list.

        Raises:
            RequestError: The request itself is wrong.
        """
        try:
            return self._run(request, explain)
        except RequestError:
            raise
        except Exception as error:
            LOG.exception("request %d is tried again without user features", request.request_id)
            return self._without_features(request, explain, f"features: {type(error).__name__}: {error}"[:200])

    def _run(self, request: Request, explain: bool) -> Slate:
        return run(self.stack, request, explain=explain, source_budget_s=self._source_budget_s)

    def _without_features(self, request: Request, explain: bool, reason: str) -> Slate:
        try:
            slate = self._run(replace(request, failures=request.failures | {"features"}), explain)
        except Exception as error:
            LOG.exception("request %d fell back", request.request_id)
            return self.fallback(request, f"stack: {type(error).__name__}: {error}"[:200])
        return replace(slate, degraded=(reason, *slate.degraded))

    def fallback(self, request: Request, reason: str) -> Slate:
        """A slate made of the declared fallback list alone: any thread may ask for it at any time.

        A request that names its items gets those of them that are on the list: what is not known to be fine is not shown. The
        surface's guards hold here too: withdrawn, integrity, blocked, day caps, and every other rule that fails closed.
        """
        rows = self._fallback
        if self.stack.withdrawn is not None:
            rows = rows[~self.stack.withdrawn.mask[rows]]
        if request.item_ids is not None:
            rows = rows[np.isin(self.stack.catalog.items.ids[rows], request.item_ids)]
        ids = self.stack.catalog.items.ids[guarded(self.stack, request, rows)]
        return Slate(
            request_id=request.request_id,
            stack="fallback",
            surface=request.surface,
            item_ids=ids,
            scores=np.zeros(len(ids)),
            propensities=np.ones(len(ids)),
            trace=None,
            degraded=(reason,),
        )

    def remember(
        self, request: Request, slate: Slate, arm: str | None = None, timings_ms: Mapping[str, float] | None = None
    ) -> bool:
        """Writes down what was served. Never waits; False when the log had no room, which the log counts.

        Args:
            request: What was asked.
            slate: What was answered, whoever ranked it.
            arm: In place of the platform's own; empty is none.
            timings_ms: Added to those of the slate.
        """
        # A slate of the fallback list was ranked by no model.
        model = self.model if slate.stack == self.stack.name else ""
        return self.log.offer(impression_of(request, slate, self.arm if arm is None else arm, model, timings_ms))

    def allowed(self, request: Request, slate: Slate) -> Slate:
        """Another stack's slate without what was withdrawn here or blocked by the viewer: both hold whoever ranks. Any thread."""
        rows = self.stack.catalog.item_rows(slate.item_ids)
        known = np.flatnonzero(rows >= 0)
        pool = Pool(rows[known], np.zeros(len(known), np.uint32), np.zeros(len(known)))
        gone = np.zeros(len(rows), np.bool_)
        for guard in self.stack.guards.get(request.surface, ()):
            if guard.name in _HOLD_FOR_ALL:
                gone[known] |= guard.removes(request, None, pool)
        if not gone.any():
            return slate
        kept = ~gone
        return replace(
            slate, item_ids=slate.item_ids[kept], scores=slate.scores[kept], propensities=slate.propensities[kept]
        )

    def heard(self, request: Request, slate: Slate) -> None:
        """Lets the stack's memories take in what another stack has shown. Belongs to the thread that ranks.

        Raises:
            StoreError: It could not be written down; what is in memory has it all the same.
        """
        rows = self.stack.catalog.item_rows(slate.item_ids)
        rows = rows[rows >= 0]
        for memory in self.stack.memories:
            memory.served(request, rows)
        if self.stack.claims is not None:
            with self.stack.claims.alone():
                self.stack.claims.claim(request, rows)

    def dry_rank(self, request: Request, explain: bool = True) -> Slate:
        """What this viewer would be shown; nothing remembers that it was asked."""
        return run(self._dry, request, explain=explain, source_budget_s=self._source_budget_s)

    def features(self, request: Request, names: Sequence[str]) -> list[dict[str, Any]]:
        """What is known now of the viewer and of each item the request names: value, unit, and what kind of value it is.

        Raises:
            FeatureError: There is no such feature, or it has no value of its own (``feature-017``).
            RequestError: The stack's features are not declared ones (``request-015``).
        """
        return self._reader().read(request, names)

    def rebuilt(self) -> tuple[FeatureState, int]:
        """A feature state by the definitions as they stand now, and the record it has seen. Touches nothing that serves.

        For any thread: it takes as long as a start, and serving goes on meanwhile.

        Raises:
            RequestError: This platform's definitions cannot change while it runs (``request-015``).
        """
        if self._renewed is None:
            raise _not_declared(self.stack.name)
        state, seen = self._renewed(), 0
        for seen, batch in self.follower.batches(0):  # noqa: B007  (the last offset is the answer)
            state.apply(batch)
        return state, seen

    def adopt(self, state: FeatureState, seen: int) -> int:
        """Serves from another feature state, from the next request on; answers the log offset it stands at.

        Belongs to the thread that ranks: what came since it was built is applied first.
        """
        for _, batch in self.follower.batches(seen):
            state.apply(batch)
        self._reader().state = state
        return state.live.applied + 1

    @property
    def withdrawals(self) -> Withdrawals:
        """Takes items out and puts them back, for any thread.

        Raises:
            RequestError: Nothing can be withdrawn here (``request-018``).
        """
        if self._withdrawals is None:
            raise RequestError(
                f"no item can be withdrawn from {self.stack.name!r} here",
                code="request-018",
                status=409,
                hint="ask a server that `mainstem serve` started on a workspace",
            )
        return self._withdrawals

    def follow_withdrawals(self) -> None:
        """Takes in what other processes withdrew and put back, and what viewers blocked there. For any thread."""
        if self._withdrawals is not None:
            self._withdrawals.follow()
        if self.stack.blocking is not None:
            self.stack.blocking.follow()

    @property
    def blocking(self) -> Blocking:
        """What viewers blocked, for any thread.

        Raises:
            ControlError: Nothing can be blocked here (``control-034``).
        """
        if self.stack.blocking is None:
            raise ControlError(
                f"no viewer can block anything on {self.stack.name!r} here",
                code="control-034",
                status=409,
                hint="ask a server that `mainstem serve` started on a workspace",
            )
        return self.stack.blocking

    def _reader(self) -> LiveFeatures:
        if not isinstance(self.stack.features, LiveFeatures):
            raise _not_declared(self.stack.name)
        return self.stack.features

    def explain(self, request: Request, item_id: int) -> Why:
        """Why the viewer is, or is not, shown this item. Changes no state."""
        return replace(why(self._dry, self.dry_rank(request), request, item_id), arm=self.arm)


def _not_declared(stack: str) -> RequestError:
    return RequestError(
        f"the features of {stack!r} cannot be read or changed here",
        code="request-015",
        status=409,
        hint="ask a server that `mainstem serve` started on a workspace",
    )


def popular_rows(times_shown: np.ndarray, checked: np.ndarray, most: int = 500) -> Rows:
    """A fallback list: the most shown items among those whose safety check is done, ties by row."""
    order = np.lexsort((np.arange(len(times_shown)), -times_shown))
    return order[checked[order]][:most].astype(np.int64)


__all__ = ["FUTURE_MS", "Live", "OffsetClock", "popular_rows"]
