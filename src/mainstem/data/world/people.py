"""Who is watching: users with several latent interests, some narrow, some broad, some long away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.data.world.catalogue import FIRST_PLACE_ID, LEAVES, LEAVES_PER_TOPIC, TOPICS, Catalogue
from mainstem.data.world.settings import DAY_MS, WorldSettings

SLOTS: Final = 4
"""Most interests that one user has."""

NARROW, REGULAR, BROAD, DORMANT = 0, 1, 2, 3
KINDS: Final = ("narrow", "regular", "broad", "dormant")
FIRST_USER_ID: Final = 1
TRAITS: Final = 6

_NEVER = 2**62
_OFFSETS_MIN = np.array([480, 420, 330, 0, -300], dtype=np.int16)
_OFFSET_SHARES = (0.60, 0.10, 0.10, 0.12, 0.08)
_ACTIVITY = np.array(["full_active", "high_active", "middle_active", "low_active"])


@dataclass(frozen=True, slots=True)
class People:
    """Every user of a world, one array entry a user.

    Shapes:
        interests: [users, 4] fine topics, the main one first; -1 where there is none.
        joined: [users, 4] ids of pages and groups the user chose.
        traits: [users, 6] what the log shows of a user.

    A narrow user has one interest at a time: the second slot until ``moved_on_ms``, the first from then on.
    ``hidden`` is a fine topic the user would like and was never shown. From ``strays_from_ms`` to ``strays_until_ms``
    each day has a passing fancy besides: always for broad users, in the visits before their absence for dormant ones.
    """

    user_ids: NDArray[np.int64]
    kind: NDArray[np.int8]
    interests: NDArray[np.int16]
    interest_count: NDArray[np.int8]
    phase: NDArray[np.int16]
    fancy_key: NDArray[np.int64]
    hidden: NDArray[np.int16]
    moved_on_ms: NDArray[np.int64]
    strays_from_ms: NDArray[np.int64]
    strays_until_ms: NDArray[np.int64]
    away_from_ms: NDArray[np.int64]
    away_until_ms: NDArray[np.int64]
    click_bias: NDArray[np.float64]
    like_bias: NDArray[np.float64]
    activity: NDArray[np.float64]
    utc_offset_min: NDArray[np.int16]
    joined: NDArray[np.int64]
    traits: NDArray[np.int16]
    activity_name: NDArray[np.str_]
    following_count: NDArray[np.int64]
    follower_count: NDArray[np.int64]
    registered_days: NDArray[np.int64]


def make_people(settings: WorldSettings, items: Catalogue) -> People:
    """Which users live in this world?"""
    rng = np.random.default_rng([settings.seed, 2])
    count = settings.users
    kind = rng.choice(4, size=count, p=(0.30, 0.35, 0.25, 0.10)).astype(np.int8)
    interests, interest_count = _interests(rng, kind)
    main = interests[:, 0]
    activity = np.exp(0.75 * rng.normal(size=count)) * np.array([1.4, 0.6, 2.0, 1.0])[kind]
    activity = np.minimum(activity, np.quantile(activity, 0.999))
    strays_from, away_from, away_until = _absence(rng, settings, kind)
    offset = rng.choice(len(_OFFSETS_MIN), size=count, p=_OFFSET_SHARES)
    joined = _joined(rng, interests, interest_count, items.place_leaf)
    complement = rng.permutation(TOPICS)
    complement = np.where(complement == np.arange(TOPICS), (complement + 1) % TOPICS, complement)
    hidden = complement[main // LEAVES_PER_TOPIC] * LEAVES_PER_TOPIC + rng.integers(0, LEAVES_PER_TOPIC, count)
    rank = np.argsort(np.argsort(-activity)) / count
    return People(
        user_ids=FIRST_USER_ID + np.arange(count, dtype=np.int64),
        kind=kind,
        interests=interests,
        interest_count=interest_count,
        phase=rng.integers(0, 60, count).astype(np.int16),
        fancy_key=rng.integers(0, 2**62, count),
        hidden=hidden.astype(np.int16),
        moved_on_ms=_moved_on(rng, settings, count),
        strays_from_ms=np.where(kind == BROAD, 0, strays_from).astype(np.int64),
        strays_until_ms=np.where(kind == BROAD, _NEVER, away_from).astype(np.int64),
        away_from_ms=away_from,
        away_until_ms=away_until,
        click_bias=rng.normal(0, 0.7, count),
        like_bias=rng.normal(0, 1.0, count),
        activity=activity,
        utc_offset_min=_OFFSETS_MIN[offset],
        joined=joined,
        traits=_traits(rng, main // LEAVES_PER_TOPIC, offset, rank),
        activity_name=_ACTIVITY[np.digitize(rank, [0.55, 0.75, 0.90])],
        following_count=(20 * np.exp(rng.normal(size=count))).astype(np.int64),
        follower_count=(8 * np.exp(1.5 * rng.normal(size=count))).astype(np.int64),
        registered_days=rng.integers(30, 2000, count).astype(np.int64),
    )


def _interests(rng: np.random.Generator, kind: NDArray[np.int8]) -> tuple[NDArray[np.int16], NDArray[np.int8]]:
    """Narrow users have a present and a past interest, regular 2 or 3, broad and dormant 3 or 4: all different topics."""
    low = np.array([2, 2, 3, 3])[kind]
    high = np.array([2, 3, 4, 4])[kind]
    count = (low + (rng.random(len(kind)) * (high - low + 1)).astype(np.int64)).astype(np.int8)
    popular = np.log(np.exp(0.5 * rng.normal(size=TOPICS)))
    # Gumbel top-k: distinct topics for each user, popular ones more often.
    draw = popular + rng.gumbel(size=(len(kind), TOPICS))
    topics = np.argsort(-draw, axis=1)[:, :SLOTS]
    leaves = topics * LEAVES_PER_TOPIC + rng.integers(0, LEAVES_PER_TOPIC, topics.shape)
    used = np.arange(SLOTS) < count[:, None]
    return np.where(used, leaves, -1).astype(np.int16), count


def _moved_on(rng: np.random.Generator, settings: WorldSettings, count: int) -> NDArray[np.int64]:
    """When a narrow user takes up the present interest: in the middle half of the log."""
    return settings.start_ms + (rng.uniform(0.3, 0.6, count) * settings.days * DAY_MS).astype(np.int64)


def _absence(
    rng: np.random.Generator, settings: WorldSettings, kind: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Dormant users stray, then leave about ten days before the log, and come back in its last third."""
    count = len(kind)
    left = settings.start_ms - (rng.uniform(0.35, 0.6, count) * settings.history_days * DAY_MS).astype(np.int64)
    back = settings.start_ms + (rng.uniform(0.6, 0.9, count) * settings.days * DAY_MS).astype(np.int64)
    away = kind == DORMANT
    strays = left - int(0.2 * settings.history_days * DAY_MS)
    return (
        np.where(away, strays, _NEVER).astype(np.int64),
        np.where(away, left, _NEVER).astype(np.int64),
        np.where(away, back, -_NEVER).astype(np.int64),
    )


def _joined(
    rng: np.random.Generator, interests: NDArray[np.int16], count: NDArray[np.int8], place_leaf: NDArray[np.int16]
) -> NDArray[np.int64]:
    """Four pages or groups in topics the user likes."""
    order = np.argsort(place_leaf, kind="stable")
    starts = np.searchsorted(place_leaf[order], np.arange(LEAVES + 1))
    slot = (rng.random((len(count), 4)) * count[:, None]).astype(np.int64)
    leaf = np.take_along_axis(interests.astype(np.int64), slot, axis=1)
    room = starts[leaf + 1] - starts[leaf]
    return FIRST_PLACE_ID + order[starts[leaf] + (rng.random(leaf.shape) * room).astype(np.int64)]


def _traits(
    rng: np.random.Generator, main_topic: NDArray[np.integer], offset: NDArray[np.integer], rank: NDArray[np.float64]
) -> NDArray[np.int16]:
    """What a log shows: a cohort (the main topic, in seven of ten users), the zone, activity, and three of noise."""
    count = len(main_topic)
    cohort = np.where(rng.random(count) < 0.7, main_topic, rng.integers(0, TOPICS, count))
    noise = rng.integers(0, [4, 7, 12], (count, 3))
    traits = np.column_stack([cohort, offset, (rank * 5).astype(np.int64), noise]).astype(np.int16)
    return np.where(rng.random(traits.shape) < 0.02, np.int16(-1), traits)
