"""What a rule looks up about candidates: known, known to be empty, or failed; and what a rule does when its lookup fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ControlError, did_you_mean
from mainstem.base.request import Pool, Request
from mainstem.base.seeds import uniforms

LOG = logging.getLogger("mainstem.lookups")

KNOWN: Final = 1
EMPTY: Final = 0
FAILED: Final = -1
"""States of one answer: the lookup says something of the candidate, says that there is nothing, or could not be read."""

OPEN, CLOSED = "open", "closed"
ON_FAILURE: Final = {"blocked": CLOSED, "seen": OPEN, "day_caps": OPEN}
"""What each rule does when its lookup fails and the surface does not say; ``integrity`` has a setting of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a lookup says of each candidate.

    Shapes: ``states[n]``, ``forbids[n]``; ``covers[n]`` or None.

    Attributes:
        states: ``KNOWN``, ``EMPTY`` or ``FAILED``.
        forbids: Whether what is known forbids showing it; read where the state is ``KNOWN``.
        covers: Which candidates the rule is about at all; None when it is about every one. Others stay whatever fails.
    """

    states: NDArray[np.int8]
    forbids: NDArray[np.bool_]
    covers: NDArray[np.bool_] | None = None


class Lookup(Protocol):
    """Reads what one rule asks about candidates."""

    @property
    def name(self) -> str:
        """How ``Request.failures`` calls it."""
        ...

    def look(self, request: Request, user: Any, pool: Pool) -> Answer:
        """What is known of each candidate. May raise: that is a failure of every answer."""
        ...

    def covers(self, pool: Pool) -> NDArray[np.bool_] | None:
        """Which candidates the rule is about, told without reading anything that can fail; None for all."""
        ...


class LookedUp:
    """A filter that removes what its lookup forbids, with a declared answer for what could not be looked up.

    Args:
        name: The rule's name.
        lookup: What is read.
        closed: When an answer failed, True drops the candidate and False shows it.
        needs_answer: Whether a rule that fails closed drops a known-empty answer too: no verdict is not a pass.
        ranks: Whether the rule looks at the order, so that it must see only what earlier filters left.
    """

    def __init__(
        self, name: str, lookup: Lookup, *, closed: bool, needs_answer: bool = False, ranks: bool = False
    ) -> None:
        self.name, self.lookup, self.closed, self.ranks = name, lookup, closed, ranks
        self._needs_answer = needs_answer
        self.failed = 0
        """How often the whole lookup failed."""

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True where the candidate is forbidden, or unread by a rule that fails closed. Shapes: [n]."""
        answer = self._answer(request, user, pool)
        states = answer.states
        removed = (states == KNOWN) & answer.forbids
        if self.closed and self._needs_answer:
            removed |= states != KNOWN
        elif self.closed:
            removed |= states == FAILED
        return removed if answer.covers is None else removed & answer.covers

    def with_lookup(self, wrap: Callable[[Lookup], Lookup]) -> LookedUp:
        """The same rule over another lookup: for drills."""
        return LookedUp(
            self.name, wrap(self.lookup), closed=self.closed, needs_answer=self._needs_answer, ranks=self.ranks
        )

    def _answer(self, request: Request, user: Any, pool: Pool) -> Answer:
        if self.lookup.name not in request.failures:
            try:
                return self.lookup.look(request, user, pool)
            except Exception:
                if not self.failed:
                    LOG.exception("the lookup %s failed; the rule %s fails %s", self.lookup.name, self.name, self._way)
        self.failed += 1
        n = len(pool.rows)
        return Answer(np.full(n, FAILED, np.int8), np.zeros(n, np.bool_), self.lookup.covers(pool))

    @property
    def _way(self) -> str:
        return CLOSED if self.closed else OPEN


class Failing:
    """A lookup that fails at random, by request and by item: for drills and tests. The same seed fails in the same places.

    Args:
        lookup: What would be read.
        share: Chance that one item's answer fails; as often the whole lookup raises.
        seed: With the request and the item, decides.
    """

    def __init__(self, lookup: Lookup, share: float, seed: int = 0) -> None:
        self._lookup, self._share, self._seed = lookup, share, seed
        self.name = lookup.name

    def look(self, request: Request, user: Any, pool: Pool) -> Answer:
        """The lookup's answer with some of it lost.

        Raises:
            ConnectionError: The whole lookup is down for this request.
        """
        seeds = np.array([[self._seed], [self._seed + 1]])
        draws = uniforms(seeds, request.request_id, np.arange(1 + len(pool.rows)))
        if draws[0, 0] < self._share:
            raise ConnectionError(f"the lookup {self.name} was switched off by a drill")
        answer = self._lookup.look(request, user, pool)
        states = np.where(draws[1, 1:] < self._share, np.int8(FAILED), answer.states)
        return Answer(states, answer.forbids, answer.covers)

    def covers(self, pool: Pool) -> NDArray[np.bool_] | None:
        """As the lookup."""
        return self._lookup.covers(pool)


def fails_closed(rule: str, on_failure: Mapping[str, str], where: str) -> bool:
    """Whether a rule drops what it could not look up, as its surface declares it.

    Raises:
        ControlError: ``on_failure`` names a rule without a lookup, or another answer than open or closed (``control-030``).
    """
    for name, way in on_failure.items():
        if name not in ON_FAILURE:
            raise ControlError(
                f"{where}.rules.on_failure names {name!r}, which looks nothing up; expected {', '.join(ON_FAILURE)}",
                code="control-030",
                hint="the safety check has rules.integrity" if name == "integrity" else did_you_mean(name, ON_FAILURE),
            )
        if way not in (OPEN, CLOSED):
            raise ControlError(
                f"{where}.rules.on_failure.{name} is {way!r}, expected open or closed", code="control-030"
            )
    return on_failure.get(rule, ON_FAILURE[rule]) == CLOSED
