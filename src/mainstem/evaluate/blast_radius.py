"""Blast radius of a change: whose slates move, by how much, which creators gain or lose, and which rules fire otherwise.

Both sides answer the same requests. Nothing here knows what was changed: a weight, a rule, a source, a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import KEPT, Slate
from mainstem.evaluate.agreement import kendall_tau
from mainstem.evaluate.intervals import Interval, resample
from mainstem.evaluate.metrics import Ratio

MOST_CREATORS: Final = 20
"""Creators that are named, those that move most first."""
_FEW: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, and to which groups of viewers the request belongs.

    Args:
        groups: Such as ``{"surface": "feed", "activity": "heavy"}``; the same keys for every request.
    """

    user_id: int
    groups: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GroupMove:
    """What moves for one group of requests. Shares are of 0–1; intervals are over viewers.

    Args:
        changed: Share of requests whose slate is not the same, place by place.
        replaced: Share of places whose item the other slate does not hold at all.
        first: Share of requests whose first item is another.
        order: Kendall's tau of the items both slates hold; None when no two slates share two items.
    """

    group: str
    value: str
    requests: int
    changed: Interval | None
    replaced: Interval | None
    first: float
    order: float | None


@dataclass(frozen=True, slots=True)
class HeadMove:
    """How the predicted actions per shown item change: the mean before, and the paired difference."""

    head: str
    before: float
    change: Interval | None


@dataclass(frozen=True, slots=True)
class CreatorMove:
    """Places on all slates one creator had and has."""

    creator_id: int
    before: int
    after: int

    @property
    def change(self) -> int:
        """Places gained; below 0 lost."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class RuleMove:
    """How often a rule has an effect in a request, before and after."""

    rule: str
    effect: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What a change would have done to these requests.

    Args:
        places: Places on the slates before and after, all requests together.
        creators_shown: Creators on any slate before and after.
        creators: Those that move most, by places gained or lost.
        degraded: Requests in which a side had to use a fallback, before and after: their differences are not the change's.
    """

    before: str
    after: str
    requests: int
    users: int
    sentence: str
    groups: tuple[GroupMove, ...]
    heads: tuple[HeadMove, ...]
    creators: tuple[CreatorMove, ...]
    rules: tuple[RuleMove, ...]
    places: tuple[int, int]
    creators_shown: tuple[int, int]
    degraded: tuple[int, int]


def blast_radius(
    pairs: Sequence[tuple[Slate, Slate]],
    asked: Sequence[Asked],
    creators: Mapping[int, int],
    *,
    before: str = "before",
    after: str = "after",
    seed: int = 0,
) -> BlastRadius:
    """What the second of each pair changes against the first.

    Args:
        pairs: Both answers to each request, with their traces.
        asked: Who asked it, in the same order.
        creators: Creator of each item; items that are missing have none.
        before: What the first side is called.
        after: What the second side is called.
        seed: Of the resampled intervals.
    """
    moves = _Moves(pairs, asked, seed)
    whole = moves.of("all", "all", np.ones(len(pairs), bool))
    groups = [whole]
    for key in dict.fromkeys(key for one in asked for key in one.groups):
        values = np.array([one.groups.get(key, "") for one in asked])
        groups += [moves.of(key, value, values == value) for value in dict.fromkeys(sorted(values.tolist()))]
    sides = ([one for one, _ in pairs], [other for _, other in pairs])
    placed = tuple(Counter(_creators(side, creators)) for side in sides)
    return BlastRadius(
        before,
        after,
        len(pairs),
        len({one.user_id for one in asked}),
        _sentence(whole, groups, len(pairs)),
        tuple(groups),
        moves.heads(),
        _creator_moves(placed[0], placed[1]),
        _rule_moves(sides[0], sides[1]),
        (sum(len(one.item_ids) for one in sides[0]), sum(len(one.item_ids) for one in sides[1])),
        (len(placed[0]), len(placed[1])),
        (sum(bool(one.degraded) for one in sides[0]), sum(bool(one.degraded) for one in sides[1])),
    )


class _Moves:
    """Per-request measures, once, and their summary over any group of requests."""

    def __init__(self, pairs: Sequence[tuple[Slate, Slate]], asked: Sequence[Asked], seed: int) -> None:
        self._pairs, self._seed = pairs, seed
        self._users, self._of = np.unique([one.user_id for one in asked], return_inverse=True)
        ids = [(one.item_ids, other.item_ids) for one, other in pairs]
        self._changed = np.array([not np.array_equal(a, b) for a, b in ids], np.float64)
        self._places = np.array([max(len(a), len(b)) for a, b in ids], np.float64)
        self._kept = np.array([len(np.intersect1d(a, b)) for a, b in ids], np.float64)
        self._first = np.array([not np.array_equal(a[:1], b[:1]) for a, b in ids], np.float64)
        self._tau = np.array([_tau(a, b) for a, b in ids])

    def of(self, group: str, value: str, rows: NDArray[np.bool_]) -> GroupMove:
        """The move of the requests that are marked."""
        changed, replaced = self._intervals(
            [(self._changed * rows, rows.astype(np.float64)), ((self._places - self._kept) * rows, self._places * rows)]
        )
        tau = self._tau[rows & ~np.isnan(self._tau)]
        first = float(self._first[rows].mean())
        return GroupMove(
            group, value, int(rows.sum()), changed, replaced, first, float(tau.mean()) if len(tau) else None
        )

    def heads(self) -> tuple[HeadMove, ...]:
        """Predicted actions per shown item, for the heads both sides predict."""
        names = [_heads_of(side) for pair in self._pairs for side in pair]
        shared = [name for name in names[0] if all(name in one for one in names)] if names else []
        found = []
        for head in shared:
            sums = np.array([[_sum_of(side, head) for side in pair] for pair in self._pairs])
            counts = np.array([[len(side.item_ids) for side in pair] for pair in self._pairs], np.float64)
            drawn = resample([self._ratio(sums[:, at], counts[:, at]) for at in (1, 0)], self._users, seed=self._seed)
            found.append(HeadMove(head, float(drawn.measured[1]), drawn.interval([1, -1])))
        return tuple(found)

    def _intervals(self, measures: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> list[Interval | None]:
        drawn = resample([self._ratio(over, under) for over, under in measures], self._users, seed=self._seed)
        return [drawn.interval(row) for row in np.eye(len(measures))]

    def _ratio(self, over: NDArray[np.float64], under: NDArray[np.float64]) -> Ratio:
        users = len(self._users)
        over, under = (np.bincount(self._of, one, users).astype(np.float64) for one in (over, under))
        return Ratio(over, under)


def _tau(before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """Kendall's tau of the items both slates hold; NaN when they share fewer than two."""
    both, one, other = np.intersect1d(before, after, return_indices=True)
    return kendall_tau(-one.astype(np.float64), -other.astype(np.float64)) if len(both) > 1 else float("nan")


def _heads_of(slate: Slate) -> tuple[str, ...]:
    trace = slate.trace
    return trace.heads if trace is not None and trace.predictions is not None else ()


def _sum_of(slate: Slate, head: str) -> float:
    """Sum of one head's predictions over the items shown."""
    trace = slate.trace
    assert trace is not None
    assert trace.predictions is not None
    shown = np.flatnonzero(trace.removed_by[: len(trace.predictions)] == KEPT)
    return float(trace.predictions[shown, trace.heads.index(head)].sum())


def _creators(slates: Sequence[Slate], creators: Mapping[int, int]) -> list[int]:
    items = [item for slate in slates for item in slate.item_ids.tolist()]
    return [creators[item] for item in items if item in creators]


def _creator_moves(before: Counter[int], after: Counter[int]) -> tuple[CreatorMove, ...]:
    moves = [CreatorMove(one, before[one], after[one]) for one in before.keys() | after.keys()]
    moved = [one for one in moves if one.change]
    return tuple(sorted(moved, key=lambda one: (-abs(one.change), one.creator_id))[:MOST_CREATORS])


def _rule_moves(before: Sequence[Slate], after: Sequence[Slate]) -> tuple[RuleMove, ...]:
    """Every (rule, effect) that fired on any side, in the order in which rules are applied."""
    fired = [Counter(_fired(side)) for side in (before, after)]
    order = {rule: at for at, rule in enumerate(dict.fromkeys(r for s in (*before, *after) for r in _rules(s)))}
    keys = sorted(fired[0].keys() | fired[1].keys(), key=lambda key: (order.get(key[0], len(order)), key[1]))
    n = max(1, len(before))
    return tuple(
        RuleMove(rule, effect, fired[0][rule, effect] / n, fired[1][rule, effect] / n) for rule, effect in keys
    )


def _fired(slates: Sequence[Slate]) -> list[tuple[str, str]]:
    return [(rule, effect) for one in slates if one.trace for rule, _, effect in one.trace.fired]


def _rules(slate: Slate) -> tuple[str, ...]:
    return slate.trace.rules if slate.trace else ()


def _sentence(whole: GroupMove, groups: Sequence[GroupMove], requests: int) -> str:
    """The answer in one line: how much moves, and where most."""
    if whole.changed is None or whole.replaced is None:
        return f"{requests} requests are too few to say what moves"
    if whole.changed.mid < _FEW:
        return f"no slate of {requests} requests moves"
    parts = [one for one in groups if one.group == "surface" and one.replaced is not None]
    still = [one.value for one in parts if one.changed is not None and one.changed.mid < _FEW]
    most = max(parts, key=lambda one: one.replaced.mid if one.replaced else 0.0, default=None)
    text = (
        f"{whole.changed.mid:.0%} of {requests} slates move, {whole.replaced.mid:.1%} of their places hold another item"
    )
    if most is not None and most.replaced is not None and len(parts) > 1:
        text += f"; most on {most.value} ({most.replaced.mid:.1%})"
    return text + (f"; {', '.join(still)} stay as they are" if still else "")


def as_tables(radius: BlastRadius) -> dict[str, list[dict[str, Any]]]:
    """The rows a person reads, by table: groups, heads, creators, rules."""
    return {
        "groups": [
            {
                "group": one.group,
                "value": one.value,
                "requests": one.requests,
                "slates changed": _share(one.changed),
                "places replaced": _share(one.replaced),
                "other first item": f"{one.first:.1%}",
                "order kept (tau)": "–" if one.order is None else f"{one.order:.3f}",
            }
            for one in radius.groups
        ],
        "heads": [
            {"head": one.head, "per shown item before": f"{one.before:.5f}", "change": _signed(one.change)}
            for one in radius.heads
        ],
        "creators": [
            {"creator": one.creator_id, "places before": one.before, "after": one.after, "change": f"{one.change:+d}"}
            for one in radius.creators
        ],
        "rules": [
            {
                "rule": one.rule,
                "effect": one.effect,
                "a request before": f"{one.before:.3f}",
                "after": f"{one.after:.3f}",
                "change": f"{one.after - one.before:+.3f}",
            }
            for one in radius.rules
        ],
    }


def _share(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.mid:.1%} ({interval.low:.1%}–{interval.high:.1%})"


def _signed(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.mid:+.5f} ({interval.low:+.5f}…{interval.high:+.5f})"
