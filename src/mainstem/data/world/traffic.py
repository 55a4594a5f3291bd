"""Who asks for a feed, when, on which surface, for how many items: the load of a made world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import SURFACES
from mainstem.data.world.facts import DAILY_LOAD, FACTS, HOURLY_SHARE
from mainstem.data.world.people import People
from mainstem.data.world.settings import DAY_MS, HOME_OFFSET_MIN, HOUR_MS, local_days

_REQUESTS_PER_SESSION: Final = (2.5, 1.8, 1.2, 1.2)
"""By kind of user: the many-sided come often and shortly, so that weeks of them show what comes back, and five actions do not."""
_KEPT_SHARE: Final = (
    0.91  # of what is drawn: the rest falls past the end, into an absence, or finds nothing new to show
)
_SCENARIOS: Final = ((1, 1), (2, 4), (0, 6))
_SECOND_SCENARIO: Final = (0.0, 0.711, 0.076)
"""KuaiRand's tabs stand in for placements: feed is tab 1; groups are tabs 2 and 4, pages tabs 0 and 6, in the published mix."""

MOST_ITEMS: Final = 10


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests in time order, one array entry a request.

    Shapes:
        every array is [requests]; ``users`` are rows of ``People``, ``surfaces`` columns of ``SURFACES``.
    """

    users: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    surfaces: NDArray[np.int64]
    scenarios: NDArray[np.int16]
    sizes: NDArray[np.int64]


def make_requests(people: People, start_ms: int, days: int, impressions: int, rng: np.random.Generator) -> Requests:
    """Which requests come in these days, for about this many impressions?"""
    mean_size = FACTS["items_per_request"].value
    users, time_ms = _sessions(people, start_ms, days, impressions / mean_size / _KEPT_SHARE, rng)
    surfaces = _surfaces(people, users, rng)
    second = rng.random(len(users)) < np.array(_SECOND_SCENARIO)[surfaces]
    sizes = 1 + rng.binomial(MOST_ITEMS - 1, (mean_size - 1) / (MOST_ITEMS - 1), len(users))
    order = np.lexsort((users, time_ms))
    return Requests(
        users=users[order],
        time_ms=time_ms[order],
        surfaces=surfaces[order],
        scenarios=np.array(_SCENARIOS, dtype=np.int16)[surfaces, second.astype(np.int64)][order],
        sizes=sizes[order],
    )


def _sessions(
    people: People, start_ms: int, days: int, requests: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sessions by activity, day load and local hour; requests in a session follow each other within minutes."""
    load = np.array([DAILY_LOAD.get(day, 1.0) for day in local_days(start_ms, days)])
    stay = np.array(_REQUESTS_PER_SESSION)[people.kind]
    weight = people.activity / stay
    count = max(int(requests * weight.sum() / people.activity.sum()), 1)
    weight = weight / weight.sum()
    user = rng.choice(len(weight), size=count, p=weight)
    day = rng.choice(days, size=count, p=load / load.sum())
    hour = rng.choice(24, size=count, p=np.array(HOURLY_SHARE) / sum(HOURLY_SHARE))
    # The curve is of local hours: a user of another zone meets the same local evening at another time of the log's day.
    shift_h = (HOME_OFFSET_MIN - people.utc_offset_min[user].astype(np.int64)) // 60
    begin = start_ms + day * DAY_MS + (hour + shift_h) % 24 * HOUR_MS + rng.integers(0, HOUR_MS, count)
    length = 1 + rng.poisson(stay[user] - 1)
    session = np.repeat(np.arange(count), length)
    gap_ms = (1_000 + 60_000 * rng.exponential(size=len(session))).astype(np.int64)
    before = np.cumsum(gap_ms) - np.repeat(np.cumsum(gap_ms)[np.cumsum(length) - length], length)
    time_ms = begin[session] + before
    # A session may not run past the last day, and nobody asks while away.
    there = (time_ms < start_ms + days * DAY_MS) & ~_away(people, user[session], time_ms)
    return user[session][there], time_ms[there]


def _away(people: People, users: NDArray[np.int64], time_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (time_ms >= people.away_from_ms[users]) & (time_ms < people.away_until_ms[users])


def _surfaces(people: People, users: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The published mix on average; each user leans to some surfaces (a third of requests follow the lean)."""
    mix = np.cumsum([FACTS[f"share_{name}"].value for name in SURFACES])
    lean = np.searchsorted(mix, (people.phase[users] * 0.618034 + users * 0.7548777) % 1.0 * mix[-1])
    own = np.searchsorted(mix, rng.random(len(users)) * mix[-1])
    return np.where(rng.random(len(users)) < 0.33, lean, own).astype(np.int64)
