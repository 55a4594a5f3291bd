"""What did the old ranker show? The policies that a made log can be written under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ConfigError, did_you_mean
from mainstem.data.world.catalogue import LEAVES, Catalogue
from mainstem.data.world.nature import passing_leaf, strengths
from mainstem.data.world.people import People
from mainstem.data.world.settings import DAY_MS, HOUR_MS
from mainstem.data.world.traffic import MOST_ITEMS, Requests

POLICIES: Final = ("standard", "popularity", "random")
"""``standard``: noisy popularity and affinity; ``popularity``: what is liked by all; ``random``: any item that exists."""

_FROM_INTERESTS, _FROM_ALL = 26, 34
_WEIGHT_POPULAR, _WEIGHT_NEAR, _NOISE = 0.5, 3.2, 1.0
_RANKED = 2 * MOST_ITEMS  # ranked further than is shown, to fill the places of what a user has seen
_EXPLORED_SHARE = 0.04
_FANCY_SHARE = 0.5  # of the draws for a user with a passing fancy: the old ranker follows the session it is in


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown, one array entry an impression, by request and position.

    Shapes:
        every array is [impressions]; ``requests`` are rows of ``Requests``, ``rows`` rows of ``Catalogue``.
    """

    requests: NDArray[np.int64]
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    propensity: NDArray[np.float32] | None


def show(policy: str, people: People, items: Catalogue, asked: Requests, rng: np.random.Generator) -> Shown:
    """Which items does this policy show in these requests?

    Raises:
        ConfigError: config-903, no such policy.
    """
    if policy not in POLICIES:
        raise ConfigError(
            f"logging policy {policy!r} is unknown", code="config-903", hint=did_you_mean(policy, POLICIES)
        )
    order = np.argsort(items.leaf, kind="stable")
    day = asked.time_ms // DAY_MS
    picked = np.full((len(day), _RANKED), -1, dtype=np.int64)
    for one in np.unique(day):
        mine = np.flatnonzero(day == one)
        picked[mine] = _pick(policy, people, items, order, asked, mine, rng)
    return _flatten(picked, asked, items, policy)


def _pick(
    policy: str,
    people: People,
    items: Catalogue,
    order: NDArray[np.int64],
    asked: Requests,
    mine: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The best items of one day's requests; candidates that do not exist yet or come twice are never chosen.

    Shapes:
        -> [requests of the day, 20] rows of items, best first; -1 where there is none.
    """
    users, time_ms = asked.users[mine], asked.time_ms[mine]
    weight = _weights(policy, items, int(time_ms[0] // DAY_MS * DAY_MS + DAY_MS // 2))
    candidates = _candidates(policy, people, items, order, weight, users, time_ms, rng)
    score = _WEIGHT_POPULAR * np.log(weight[candidates] + 1e-12)
    if policy == "standard":
        score = score + _WEIGHT_NEAR * _guess(people, items, users, time_ms, candidates)
    # rng.gumbel takes logarithms of zero now and then; -log(-log u) of a clipped u is the same draw.
    luck = np.clip(rng.random(candidates.shape), 1e-12, 1 - 1e-12)
    score = score - _NOISE * np.log(-np.log(luck))
    if policy == "standard":
        # A few places go to any item at all, as real rankers do; they are not marked, so no propensity is known.
        candidates[:, 0] = rng.integers(0, len(order), len(users))
        score[:, 0] = np.where(rng.random(len(users)) < _EXPLORED_SHARE * MOST_ITEMS / 2, np.inf, -np.inf)
    score[items.created_ms[candidates] > time_ms[:, None]] = -np.inf
    score[_repeats(items.canonical[candidates])] = -np.inf
    best = np.argsort(-score, axis=1, kind="stable")[:, :_RANKED]
    rows = np.take_along_axis(candidates, best, axis=1)
    return np.where(np.take_along_axis(score, best, axis=1) > -np.inf, rows, -1)


def _weights(policy: str, items: Catalogue, noon_ms: int) -> NDArray[np.float64]:
    """How much each item is on offer this day: appeal, rising over the first day and fading over weeks."""
    age_h = (noon_ms - items.created_ms) / HOUR_MS
    exists = age_h > -12
    if policy == "random":
        return exists.astype(np.float64)
    age_h = np.maximum(age_h, 1.0)
    rise, fade = -np.expm1(-age_h / 18.0), np.exp(-age_h / (24.0 * 15.0)) + 0.05
    return np.where(exists, items.appeal * rise * fade, 0.0)


def _candidates(
    policy: str,
    people: People,
    items: Catalogue,
    order: NDArray[np.int64],
    weight: NDArray[np.float64],
    users: NDArray[np.int64],
    time_ms: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draws from all items and, under the standard policy, from the user's interests, each by weight.

    Shapes:
        -> [requests, 40] rows of items.
    """
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    from_all = _FROM_ALL if policy == "standard" else _FROM_ALL + _FROM_INTERESTS
    anywhere = rng.random((len(users), from_all)) * total[-1]
    if policy != "standard":
        return _at(order, total, anywhere)
    share = np.cumsum(strengths(people, users, time_ms), axis=1)
    draw = rng.random((len(users), _FROM_INTERESTS)) * share[:, -1:]
    slot = (draw[:, :, None] >= share[:, None, :]).sum(axis=2)
    leaf = np.take_along_axis(people.interests[users].astype(np.int64), np.minimum(slot, share.shape[1] - 1), axis=1)
    fancy = passing_leaf(people, users, time_ms)[:, None]
    leaf = np.where((fancy >= 0) & (rng.random(leaf.shape) < _FANCY_SHARE), fancy, leaf)
    starts = np.searchsorted(items.leaf[order], np.arange(LEAVES + 1))
    low, high = total[starts[leaf]], total[starts[leaf + 1]]
    inside = low + rng.random(leaf.shape) * (high - low)
    # A leaf without items today gives low == high: the draw then lands on its neighbour, a harmless stray.
    return _at(order, total, np.concatenate([anywhere, inside], axis=1))


def _at(order: NDArray[np.int64], total: NDArray[np.float64], draw: NDArray[np.float64]) -> NDArray[np.int64]:
    found = np.searchsorted(total, draw.ravel(), side="right") - 1
    return order[np.clip(found, 0, len(order) - 1)].reshape(draw.shape)


def _guess(
    people: People,
    items: Catalogue,
    users: NDArray[np.int64],
    time_ms: NDArray[np.int64],
    candidates: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The old ranker's idea of affinity: interests without their turns, the session's fancy, and nothing hidden."""
    known = np.column_stack([people.interests[users].astype(np.int64), passing_leaf(people, users, time_ms)])
    leaves = known[:, None, :]
    near = items.closeness[candidates[:, :, None], np.maximum(leaves, 0)]
    return np.where(leaves >= 0, near, 0.0).max(axis=2).astype(np.float64)


def _repeats(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where an id stands earlier in its own row."""
    order = np.argsort(ids, axis=1, kind="stable")
    ranked = np.take_along_axis(ids, order, axis=1)
    again = np.zeros(ids.shape, dtype=bool)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    result = np.empty_like(again)
    np.put_along_axis(result, order, again, axis=1)
    return result


def _flatten(picked: NDArray[np.int64], asked: Requests, items: Catalogue, policy: str) -> Shown:
    """One entry an impression: as many as were asked for, and nobody sees an item twice in a log."""
    pair = np.where(picked >= 0, asked.users[:, None] * len(items.item_ids) + picked, -1)
    wanted = _top(pair >= 0, asked.sizes)
    # Whoever ranks an item first keeps it; the user's other requests fill the place with their next best.
    owned, first = np.unique(pair[wanted], return_index=True)
    owner = np.nonzero(wanted)[0][first]
    found = np.minimum(np.searchsorted(owned, pair), len(owned) - 1)
    taken = (owned[found] == pair) & (owner[found] != np.arange(len(pair))[:, None])
    keep = _top((pair >= 0) & ~taken, asked.sizes)
    requests = np.nonzero(keep)[0]
    once = np.zeros(len(requests), dtype=bool)
    once[np.unique(pair[keep], return_index=True)[1]] = True
    requests, rows = requests[once], picked[keep][once]
    positions = np.arange(len(requests)) - np.searchsorted(requests, np.arange(len(asked.users)))[requests]
    return Shown(requests, rows, positions, _propensity(policy, items, asked, requests))


def _top(may: NDArray[np.bool_], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The first ``sizes`` places of each row that may be taken."""
    return may & (np.cumsum(may, axis=1) <= sizes[:, None])


def _propensity(
    policy: str, items: Catalogue, asked: Requests, requests: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Only the random policy knows its chances: the slots asked for over the items that existed."""
    if policy != "random":
        return None
    existing = np.searchsorted(items.created_ms, asked.time_ms[requests], side="right")
    return np.minimum(asked.sizes[requests] / np.maximum(existing, 1), 1.0).astype(np.float32)
