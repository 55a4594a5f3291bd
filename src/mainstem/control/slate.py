"""From valued candidates to a slate: filters, then one pass that keeps caps, spacing, quotas, variety and exploration."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ControlError, did_you_mean
from mainstem.base.order import best_first
from mainstem.base.request import FIRST_RULE, KEPT, SCORED_TOO_LOW, Floats, Pool, Request, Rows, Selection, Unmet
from mainstem.control.filters import Filter
from mainstem.control.slate_kernel import draws, fill
from mainstem.control.slate_rules import CREATOR, Quota, SlateRules, cap_rule, spacing_rule
from mainstem.control.slate_task import BY_QUOTA, BY_SOFT_QUOTA, NO_VARIETY, Codes, Filled, SlateTask
from mainstem.control.variety import MODES, SUNK, variety

__all__ = ["Boost", "Quota", "SlateRules", "SurfaceControl"]

_NO_DRAWS: Final = np.empty((2, 0))
_NO_VECTORS: Final = np.zeros((1, 1), np.float32)
_MOVED_BY: Final = {BY_QUOTA: "quota", BY_SOFT_QUOTA: "soft_quota"}


class Boost(Protocol):
    """Adds to what candidates are ordered by, never to the value that is told."""

    @property
    def name(self) -> str:
        """How traces, prices and explanations call it."""
        ...

    def boost(self, request: Request, user: Any, pool: Pool, values: Floats) -> Floats:
        """What each candidate gets on top, in units of value. Shapes: [n]."""
        ...


@dataclass(frozen=True, slots=True)
class _Plan:
    """One surface's rules, resolved to arrays once. a attributes, q quotas."""

    rules: SlateRules
    attributes: tuple[str, ...]
    codes: tuple[Codes, ...]
    caps: NDArray[np.int64]
    gaps: NDArray[np.int64]
    quotas: tuple[Quota, ...]
    least: NDArray[np.int64]
    charges: NDArray[np.int16]
    """What ``Filled.charged`` stands for in ``removed_by``."""


class SurfaceControl:
    """The control layer of the unified stack, one set of rules a surface.

    The order is explicit: filters remove; boosts and then variety decide who comes first; hard caps hold for every place, whoever
    gives it; spacing yields only before a place would stay empty; hard quotas take the lowest places that no quota needs; soft
    quotas do while a place costs little; exploration gives places to chance where no cap, spacing or quota is harmed.

    Args:
        filters: By surface, in the order in which they are applied.
        slate_rules: By surface.
        creators: Creator code of each catalog row, with a last row for items the catalog does not hold; 0 and below is
            unknown, and no cap holds for it.
        categories: The same for categories; variety leaves unknown ones alone.
        seed: With the request id, fixes all exploration.
        attributes: The same for every further attribute that a cap or a spacing names.
        vectors: Unit vectors by catalog row, for variety by likeness. Shapes: [rows, d].
        boosts: By surface, added up.
        passes: Fills one slate; the compiled pass, or ``fill_plainly``.
    """

    def __init__(
        self,
        filters: Mapping[str, tuple[Filter, ...]],
        slate_rules: Mapping[str, SlateRules],
        creators: Rows,
        categories: Rows,
        seed: int,
        attributes: Mapping[str, Rows] | None = None,
        vectors: NDArray[np.float32] | None = None,
        boosts: Mapping[str, Sequence[Boost]] | None = None,
        passes: Callable[[SlateTask], Filled] = fill,
    ) -> None:
        self._filters = dict(filters)
        self._boosts = {name: tuple((boosts or {}).get(name, ())) for name in slate_rules}
        known = {CREATOR: creators, "category": categories} | dict(attributes or {})
        self._codes = {name: _codes(codes) for name, codes in known.items()}
        self._vectors = _NO_VECTORS if vectors is None else vectors
        self._seed = seed
        self._fill = passes
        self.rules = _rule_names(self._filters, self._boosts, slate_rules)
        """Every rule, in the order in which they are applied."""
        self._code = {name: FIRST_RULE + position for position, name in enumerate(self.rules)}
        self._plans = {name: self._plan(rules) for name, rules in slate_rules.items()}

    def select(self, request: Request, user: Any, pool: Pool, values: Floats) -> Selection:
        """Which candidates are shown, in what order, and why the others are not."""
        plan = self._plans[request.surface]
        removed_by = np.full(len(pool.rows), SCORED_TOO_LOW, np.int16)
        fired: list[tuple[str, int, str]] = []
        score, order = self._ordered(request, user, pool, values, fired)
        alive = self._filtered(request, user, pool, order, removed_by)
        task = self._task(plan, request, pool, score, alive)
        filled = self._fill(task)
        slate = alive[filled.slate]
        removed_by[alive] = plan.charges[filled.charged]
        removed_by[slate] = KEPT
        fired += [("variety", position, "promoted") for position in alive[filled.lifted].tolist()]
        for why, entered, left in filled.moves.tolist():
            rule = _MOVED_BY.get(why, "exploration")
            fired += [(rule, int(alive[entered]), "promoted"), (rule, int(alive[left]), "demoted")]
        removed = np.flatnonzero(removed_by >= FIRST_RULE)
        names = [self.rules[code] for code in (removed_by[removed] - FIRST_RULE).tolist()]
        fired += zip(names, removed.tolist(), repeat("removed"))
        return Selection(slate, removed_by, filled.propensities, tuple(fired), _unmet(plan, task, filled))

    def without(self, rule: str) -> SurfaceControl:
        """The same layer with one rule switched off on every surface; ``quota:NAME`` is one quota of several.

        Raises:
            ControlError: No surface has a rule of that name (``control-001``).
        """
        if rule not in self.rules and rule.partition(":")[0] not in self.rules:
            raise ControlError(
                f"found the rule {rule!r}, which no surface has",
                code="control-001",
                hint=did_you_mean(rule, self.rules),
            )
        layer = copy.copy(self)
        layer._filters = {
            name: tuple(one for one in chain if one.name != rule) for name, chain in self._filters.items()
        }
        layer._boosts = {name: tuple(one for one in chain if one.name != rule) for name, chain in self._boosts.items()}
        layer._plans = {name: self._plan(plan.rules.without(rule)) for name, plan in self._plans.items()}
        return layer

    def parts(self, surface: str) -> tuple[str, ...]:
        """What can be switched off on a surface, each quota by itself."""
        plan = self._plans[surface]
        quotas = {"quota": plan.rules.quotas, "soft_quota": plan.rules.soft_quotas}
        names: list[str] = []
        for rule in self.rules:
            each = plan.quotas[: len(plan.rules.quotas)] if rule == "quota" else plan.rules.soft_quotas
            names += [f"{rule}:{one.name}" for one in each] if len(quotas.get(rule, ())) > 1 else [rule]
        return tuple(names)

    def _plan(self, rules: SlateRules) -> _Plan:
        caps, gaps = rules.cap_of(), rules.gap_of()
        attributes = tuple(dict.fromkeys((*caps, *gaps)))
        quotas = rules.all_quotas()
        by_cap = [self._code.get(cap_rule(name), SCORED_TOO_LOW) for name in attributes]
        by_gap = [self._code.get(spacing_rule(name), SCORED_TOO_LOW) for name in attributes]
        return _Plan(
            rules,
            attributes,
            tuple(self._codes[name] for name in attributes),
            np.array([caps.get(name, 0) for name in attributes], np.int64),
            np.array([gaps.get(name, 0) for name in attributes], np.int64),
            quotas,
            np.array([one.least for one in quotas], np.int64),
            np.array([SCORED_TOO_LOW, *by_cap, *by_gap], np.int16),
        )

    def _ordered(
        self, request: Request, user: Any, pool: Pool, values: Floats, fired: list[tuple[str, int, str]]
    ) -> tuple[Floats, NDArray[np.int64]]:
        """What candidates are ordered by, and their order, best first; equals by the smaller row."""
        score = values
        for one in self._boosts[request.surface]:
            boosted = score + one.boost(request, user, pool, values)
            fired += _lifts(one.name, score, boosted, pool.rows, request.count)
            score = boosted
        real = np.isfinite(score)
        if not real.all():
            score = np.where(real, score, SUNK)
        return score, best_first(score, pool.rows)

    def _filtered(
        self, request: Request, user: Any, pool: Pool, order: NDArray[np.int64], removed_by: NDArray[np.int16]
    ) -> NDArray[np.int64]:
        """Positions that pass every filter, best first. A candidate is charged to the first filter that removes it."""
        ordered = _at(pool, order)
        alive = np.ones(len(order), bool)
        for one in self._filters[request.surface]:
            if getattr(one, "ranks", False):  # it compares candidates, so those already removed must not count
                left = np.flatnonzero(alive)
                removed = np.zeros(len(order), bool)
                removed[left] = one.removes(request, user, _at(ordered, left))
            else:
                removed = one.removes(request, user, ordered) & alive
            if removed.any():
                removed_by[order[removed]] = self._code[one.name]
                alive &= ~removed
        return order[alive]

    def _task(self, plan: _Plan, request: Request, pool: Pool, score: Floats, alive: NDArray[np.int64]) -> SlateTask:
        """Everything the pass reads of this request."""
        rules, count, rows = plan.rules, request.count, pool.rows[alive]
        ordered = score[alive].astype(np.float64)
        mode = MODES[rules.variety_by] if rules.variety < 1 else NO_VARIETY
        varied = variety(mode, rules.variety, ordered, rows, count, self._codes["category"], self._vectors)
        codes = np.empty((len(plan.codes), len(alive)), np.int32)
        for at, by_row in enumerate(plan.codes):
            codes[at] = by_row[rows]
        members = np.empty((len(plan.quotas), len(alive)), np.bool_)
        for at, quota in enumerate(plan.quotas):
            members[at] = quota.members(pool, alive, request.now_ms)
        explores = rules.exploration_share > 0
        by_chance = draws(self._seed, request.request_id, count) if explores else _NO_DRAWS
        return SlateTask(
            count, ordered, varied.mode, varied.trade_off, varied.gain, varied.kept, varied.category, varied.gram, codes,
            plan.caps, plan.gaps, members, plan.least, len(rules.quotas), float(rules.soft_price),
            float(rules.exploration_share), by_chance,
        )  # fmt: skip


def _at(pool: Pool, places: NDArray[np.int64]) -> Pool:
    return Pool(pool.rows[places], pool.source_mask[places], pool.fused[places])


def _codes(codes: Rows) -> Codes:
    """Codes that fit 32 bits; equal ones stay equal, unknown ones are 0."""
    if not len(codes) or int(codes.max()) <= np.iinfo(np.int32).max:
        return codes.astype(np.int32, copy=False)
    dense = np.unique(codes, return_inverse=True)[1].astype(np.int32) + 1
    dense[codes <= 0] = 0
    return dense


def _rule_names(
    filters: Mapping[str, tuple[Filter, ...]],
    boosts: Mapping[str, tuple[Boost, ...]],
    slate_rules: Mapping[str, SlateRules],
) -> tuple[str, ...]:
    """Every rule of every surface, in the order in which they are applied."""
    named = [one.name for chain in (*filters.values(), *boosts.values()) for one in chain]
    slates = [rules.names() for rules in slate_rules.values()]
    for kind in (
        lambda name: name == "variety",
        lambda name: name.endswith("_cap"),
        lambda name: name.endswith("_spacing"),
    ):
        named += [name for names in slates for name in names if kind(name)]
    soft = ["soft_quota"] if any(rules.soft_quotas for rules in slate_rules.values()) else []
    return tuple(map(sys.intern, dict.fromkeys((*named, "quota", *soft, "exploration"))))


def _lifts(name: str, before: Floats, after: Floats, rows: Rows, count: int) -> list[tuple[str, int, str]]:
    """Who enters and who leaves the first places by a boost alone."""
    if np.array_equal(before, after):
        return []
    old, new = best_first(before, rows)[:count], best_first(after, rows)[:count]
    entered, left = np.setdiff1d(new, old).tolist(), np.setdiff1d(old, new).tolist()
    return [(name, at, "promoted") for at in entered] + [(name, at, "demoted") for at in left]


def _unmet(plan: _Plan, task: SlateTask, filled: Filled) -> tuple[Unmet, ...]:
    """What the slate could keep only as far as possible, and why."""
    k, found = len(filled.slate), []
    if k < task.count:
        why = "there are no more candidates" if k == len(task.score) else "caps leave no other candidate"
        found.append(Unmet("count", "slate", task.count, k, why))
    for at, crowded in enumerate(filled.crowded.tolist()):
        if crowded:
            name = plan.attributes[at]
            why = f"{crowded} of the places could not be filled otherwise"
            found.append(Unmet(spacing_rule(name), name, k, k - crowded, why))
    for at, quota in enumerate(plan.quotas):
        met = int(task.members[at][filled.slate].sum())
        if met < quota.least:
            soft = at >= task.hard
            found.append(
                Unmet("soft_quota" if soft else "quota", quota.name, quota.least, met, _why(task, at, met, k, soft))
            )
    return tuple(found)


def _why(task: SlateTask, at: int, met: int, k: int, soft: bool) -> str:
    candidates = int(task.members[at].sum())
    if met >= candidates:
        return f"only {candidates} candidates belong to it"
    if met >= k:
        return f"the slate has only {k} places"
    if soft:
        return "one more place costs more than soft_price, or breaks a cap, a spacing or another quota"
    return "one more place breaks a cap or a quota before it"
