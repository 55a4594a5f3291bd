"""Which intercepts make the standard policy's log show the published base rates?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS, SURFACES
from mainstem.data.world import nature
from mainstem.data.world.catalogue import Catalogue
from mainstem.data.world.facts import FACTS
from mainstem.data.world.people import People
from mainstem.data.world.policy import show
from mainstem.data.world.settings import WorldSettings
from mainstem.data.world.traffic import make_requests

_MOST_PILOT_IMPRESSIONS: Final = 200_000
_ROWS_SOLVED: Final = 12_000
_HALVINGS: Final = 26


def calibrated_intercepts(settings: WorldSettings, people: People, items: Catalogue) -> NDArray[np.float64]:
    """The log odds to add to each head's tendency, so that a pilot log under the standard policy has the published rates.

    Clicks are matched on each surface; the other heads over all surfaces, given the clicks.

    Shapes:
        -> [surfaces, heads].
    """
    rng = np.random.default_rng([settings.seed, 3])
    # As many as the log will have: the fuller a log, the further down each user's list it reaches.
    asked = make_requests(
        people, settings.start_ms, settings.days, min(settings.impressions, _MOST_PILOT_IMPRESSIONS), rng
    )
    shown = show("standard", people, items, asked, rng)
    some = slice(None, None, max(len(shown.rows) // _ROWS_SOLVED, 1))
    requests, rows, positions = shown.requests[some], shown.rows[some], shown.positions[some]
    users, time_ms, surfaces = asked.users[requests], asked.time_ms[requests], asked.surfaces[requests]
    near = nature.affinity(people, items, users, rows, time_ms)
    scores = nature.tendencies(people, items, users, rows, surfaces, time_ms, near)
    duration_s = items.duration_s[rows]
    intercepts = np.zeros((len(SURFACES), len(HEADS)))

    def rate(head: int, of: NDArray[np.bool_]) -> float:
        c = nature.chances(scores, intercepts, surfaces, positions, duration_s, near)
        return float((nature.expected_heads(c)[:, head] * c.viewed)[of].mean())

    for column, surface in enumerate(SURFACES):
        _solve(intercepts, (column, nature.CLICK), FACTS[f"click_{surface}"].value, rate, surfaces == column)
    everywhere = np.ones(len(users), dtype=bool)
    clicks = rate(nature.CLICK, everywhere)
    # Like comes before what depends on it.
    for head in ("long_view", "like", "follow", "comment", "forward"):
        _solve(
            intercepts, (slice(None), HEADS.index(head)), FACTS[f"{head}_per_click"].value * clicks, rate, everywhere
        )
    _solve(intercepts, (slice(None), nature.HATE), FACTS["hate"].value, rate, everywhere)
    return intercepts


def _solve(
    intercepts: NDArray[np.float64],
    where: tuple[int | slice, int],
    target: float,
    rate: Callable[[int, NDArray[np.bool_]], float],
    of: NDArray[np.bool_],
) -> None:
    """Sets one intercept in place by bisection: a head's rate rises with it."""
    low, high = -16.0, 8.0
    for _ in range(_HALVINGS):
        intercepts[where] = middle = (low + high) / 2
        low, high = (middle, high) if rate(where[1], of) < target else (low, middle)
