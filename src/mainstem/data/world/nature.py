"""What would this user do with this item: the one law of a made world.

The log, the oracle and the closed loop all ask here, so that they cannot disagree. A head's chance is a logistic function of
affinity (how near the item is to the user's interests that day), quality, bait, freshness and the user's own habits; actions
depend on each other in the order viewed, click, long view, like, then follow, comment, forward; hate stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS, SURFACES
from mainstem.base.seeds import uniforms
from mainstem.data.world.catalogue import LEAVES, Catalogue, is_group, is_page
from mainstem.data.world.facts import WITHOUT_CLICK
from mainstem.data.world.people import NARROW, SLOTS, People
from mainstem.data.world.settings import DAY_MS, HOUR_MS

CLICK, LIKE, FOLLOW, COMMENT, FORWARD, HATE, LONG = (
    HEADS.index(name) for name in ("click", "like", "follow", "comment", "forward", "hate", "long_view")
)

VALUE_WEIGHTS: Final[dict[str, float]] = {
    "click": 0.2, "like": 2.0, "follow": 4.0, "comment": 3.0, "forward": 4.0, "hate": -20.0, "long_view": 1.0, "watch": 0.01,
}  # fmt: skip
"""What one action is worth in a made world, and one second of watching: the currency of every oracle comparison."""

_MOOD, _REST, _USUAL, _PAST = 1.0, 0.4, 0.7, 0.0
"""Strength of an interest on its day, on the day after, otherwise, and once it is left for good."""

_FANCY, _DISTRACTED = 1.0, 0.75
"""Strength of a passing fancy, and what is left of lasting interests beside one."""

_VIEWED: Final[dict[str, tuple[float, float]]] = {"feed": (0.995, 0.01), "groups": (0.98, 0.02), "pages": (0.70, 0.12)}
"""Chance that the top item is on screen, and its decay by position: assumed, no published log tells it."""

_POSITION_FATIGUE = 0.06
_LIKE_AFTER_LONG = 0.37  # log odds; Pure: .0351 of long views are liked, .0244 of other clicks
_AFTER_LIKE = {FOLLOW: 3.0, COMMENT: 2.2, FORWARD: 2.3}
_WITHOUT_CLICK = {HEADS.index(name): share for name, share in WITHOUT_CLICK.items()}


@dataclass(frozen=True, slots=True)
class Chances:
    """The steps of one impression that is on screen, each given the steps before.

    Shapes:
        every array is [n]; ``after`` maps a head to its chance without and with a like before it.
    """

    viewed: NDArray[np.float64]
    click: NDArray[np.float64]
    long_given_click: NDArray[np.float64]
    like_given_short: NDArray[np.float64]
    like_given_long: NDArray[np.float64]
    after: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]
    hate: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    keen_s: NDArray[np.float64]


def surface_codes(surface: str | NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """The column of each surface in ``SURFACES``, one an impression."""
    if isinstance(surface, str):
        return np.full(count, SURFACES.index(surface))
    return np.asarray(surface, dtype=np.int64)


def strengths(people: People, users: NDArray[np.int64], time_ms: NDArray[np.int64]) -> NDArray[np.float32]:
    """How strong is each interest of each user at this time?

    Interests take turns by local day: one is in mood, yesterday's rests, the others wait. A narrow user has one interest and at
    some time leaves it for another: there the last actions are the only guide.

    Shapes:
        users, time_ms [n] -> [n, 4]; the absent slots are 0.
    """
    count = people.interest_count[users].astype(np.int64)[:, None]
    day = ((time_ms + people.utc_offset_min[users].astype(np.int64) * 60_000) // DAY_MS)[:, None]
    turn = (np.arange(SLOTS) - day - people.phase[users].astype(np.int64)[:, None]) % count
    rests = (turn == count - 1) & (count >= 3)
    strength = np.where(turn == 0, _MOOD, np.where(rests, _REST, _USUAL))
    present = np.where(time_ms >= people.moved_on_ms[users], 0, 1)[:, None]
    one_at_a_time = np.where(np.arange(SLOTS) == present, _MOOD, _PAST)
    strength = np.where((people.kind[users] == NARROW)[:, None], one_at_a_time, strength)
    strays = passing_leaf(people, users, time_ms) >= 0
    strength = np.where(strays[:, None], _DISTRACTED * strength, strength)
    return np.where(np.arange(SLOTS) < count, strength, 0.0).astype(np.float32)


def passing_leaf(people: People, users: NDArray[np.int64], time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which fine topic takes the user's fancy today and never again? -1 for users who have none now.

    This is what fills the last actions of a many-sided user: only weeks of them, added up, show what comes back.
    """
    day = (time_ms + people.utc_offset_min[users].astype(np.int64) * 60_000) // DAY_MS
    leaf = (uniforms(people.fancy_key[users], day) * LEAVES).astype(np.int64)
    strays = (time_ms >= people.strays_from_ms[users]) & (time_ms < people.strays_until_ms[users])
    return np.where(strays, leaf, -1)


def affinity(
    people: People, items: Catalogue, users: NDArray[np.int64], rows: NDArray[np.int64], time_ms: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How near is each item to what its user wants at this time? About 0 for no relation, 1 for a match in mood."""
    leaves = people.interests[users].astype(np.int64)
    near = items.closeness[rows[:, None], np.maximum(leaves, 0)]
    best = (near * strengths(people, users, time_ms)).max(axis=1)
    # Only bridge items speak to the hidden interest; nothing a user did in the past points there.
    hidden = 1.15 * items.closeness[rows, people.hidden[users]] * items.bridge[rows]
    fancy = passing_leaf(people, users, time_ms)
    passing = _FANCY * items.closeness[rows, np.maximum(fancy, 0)] * (fancy >= 0)
    return np.maximum(best, np.maximum(hidden, passing)).astype(np.float64)


def tendencies(
    people: People,
    items: Catalogue,
    users: NDArray[np.int64],
    rows: NDArray[np.int64],
    surfaces: NDArray[np.int64],
    time_ms: NDArray[np.int64],
    near: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The log odds of each head before the world's intercepts; ``near`` is the affinity.

    Shapes:
        [n] each -> [n, heads].
    """
    quality, bait = items.quality[rows], items.clickbait[rows]
    chosen = (people.joined[users] == items.entity_ids[rows][:, None]).any(axis=1)
    age_h = np.maximum(time_ms - items.created_ms[rows], 0) / HOUR_MS
    fresh = np.exp(-age_h / 36.0)
    entity = items.entity_ids[rows]
    at_home = ((surfaces == 1) & is_group(entity)) | ((surfaces == 2) & is_page(entity))
    length = np.log(items.duration_s[rows] / 27.0)
    habit, likes = people.click_bias[users], people.like_bias[users]
    scores = np.zeros((len(rows), len(HEADS)))
    scores[:, CLICK] = 3.0 * near + 0.4 * quality + 0.3 * bait + habit + 0.4 * fresh + 0.6 * chosen + 0.3 * at_home
    scores[:, LONG] = 1.8 * near + 0.8 * quality - 0.8 * bait + 0.3 * habit - 0.25 * np.abs(length)
    scores[:, LIKE] = 1.0 * near + 0.5 * quality + likes
    scores[:, FOLLOW] = 0.6 * near + 0.4 * quality - 2.0 * chosen
    scores[:, COMMENT] = 0.5 * near + 0.4 * likes + 0.3 * bait
    scores[:, FORWARD] = 0.5 * near + 0.6 * quality
    scores[:, HATE] = -1.5 * near - 0.6 * quality + 0.8 * bait + 2.5 * items.violating[rows]
    return scores


def chances(
    scores: NDArray[np.float64],
    intercepts: NDArray[np.float64],
    surfaces: NDArray[np.int64],
    positions: NDArray[np.int64],
    duration_s: NDArray[np.float64],
    near: NDArray[np.float64],
) -> Chances:
    """The chance of each step of an impression, from its tendencies and the world's intercepts.

    Shapes:
        scores [n, heads]; intercepts [surfaces, heads]; the rest [n].
    """
    logit = scores + intercepts[surfaces]
    top = np.array([_VIEWED[name][0] for name in SURFACES])[surfaces]
    decay = np.array([_VIEWED[name][1] for name in SURFACES])[surfaces]
    return Chances(
        viewed=top * np.exp(-decay * positions),
        click=_share(logit[:, CLICK] - _POSITION_FATIGUE * positions),
        long_given_click=_share(logit[:, LONG]),
        like_given_short=_share(logit[:, LIKE]),
        like_given_long=_share(logit[:, LIKE] + _LIKE_AFTER_LONG),
        after={head: (_share(logit[:, head]), _share(logit[:, head] + up)) for head, up in _AFTER_LIKE.items()},
        hate=_share(logit[:, HATE]),
        duration_s=duration_s,
        keen_s=30.0 + 30.0 * np.clip(near, 0.0, 1.2),
    )


def expected_heads(c: Chances) -> NDArray[np.float64]:
    """The chance of each head for an impression that is on screen.

    Shapes:
        -> [n, heads].
    """
    p = np.empty((len(c.click), len(HEADS)))
    like_click = c.click * (c.long_given_click * c.like_given_long + (1 - c.long_given_click) * c.like_given_short)
    like_bare = (1 - c.click) * _WITHOUT_CLICK[LIKE] * c.like_given_short
    p[:, CLICK], p[:, LONG], p[:, HATE] = c.click, c.click * c.long_given_click, c.hate
    p[:, LIKE] = like_click + like_bare
    for head, (plain, liked) in c.after.items():
        clicked = like_click * liked + (c.click - like_click) * plain
        p[:, head] = clicked + _WITHOUT_CLICK[head] * (like_bare * liked + (1 - c.click - like_bare) * plain)
    return p


def expected_watch_s(c: Chances) -> NDArray[np.float64]:
    """Seconds watched on average for an impression that is on screen."""
    rest = np.maximum(c.duration_s - 18.0, 0.0)
    keen = np.minimum(c.duration_s, 18.0) + c.keen_s * -np.expm1(-rest / c.keen_s)
    low, high = _short_bounds_s(c.duration_s)
    passing = np.minimum(4.0, c.duration_s) / 2
    clicked = c.long_given_click * keen + (1 - c.long_given_click) * (low + high) / 2
    return c.click * clicked + (1 - c.click) * passing


def draw_heads(c: Chances, luck: list[NDArray[np.float64]]) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    """What happened, for given luck: whether each item was on screen, and its heads.

    Args:
        c: The chances.
        luck: A number in [0, 1) an impression for being viewed, then one for each head.

    Shapes:
        -> [n], [n, heads].
    """
    viewed = luck[0] < c.viewed
    luck = luck[1:]
    click = viewed & (luck[CLICK] < c.click)
    long = click & (luck[LONG] < c.long_given_click)
    like_chance = np.where(long, c.like_given_long, c.like_given_short) * np.where(click, 1.0, _WITHOUT_CLICK[LIKE])
    like = viewed & (luck[LIKE] < like_chance)
    heads = np.zeros((len(viewed), len(HEADS)), dtype=np.int8)
    heads[:, CLICK], heads[:, LONG], heads[:, LIKE] = click, long, like
    heads[:, HATE] = viewed & (luck[HATE] < c.hate)
    for head, (plain, liked) in c.after.items():
        chance = np.where(like, liked, plain) * np.where(click, 1.0, _WITHOUT_CLICK[head])
        heads[:, head] = viewed & (luck[head] < chance)
    return viewed, heads


def draw_watch_s(
    c: Chances, viewed: NDArray[np.bool_], heads: NDArray[np.int8], luck: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Seconds watched, for given luck: past 18 s for a long view, up to 16 s for another click, a glance otherwise."""
    keen = np.minimum(c.duration_s, 18.0 - c.keen_s * np.log1p(-luck))
    low, high = _short_bounds_s(c.duration_s)
    short = low + luck * (high - low)
    glance = luck * np.minimum(4.0, c.duration_s)
    watched = np.where(heads[:, LONG] == 1, keen, np.where(heads[:, CLICK] == 1, short, glance))
    return np.where(viewed, watched, 0.0)


def value_of(heads: NDArray[np.float64] | NDArray[np.int8], watch_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """What impressions are worth in a made world, from outcomes or from their chances.

    Shapes:
        heads [n, heads], watch_s [n] -> [n].
    """
    weights = np.array([VALUE_WEIGHTS[name] for name in HEADS])
    return heads @ weights + VALUE_WEIGHTS["watch"] * watch_s


def _short_bounds_s(duration_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    high = np.minimum(16.0, 0.9 * duration_s)
    return np.minimum(3.0, high), high


def _share(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-log_odds))
