"""What an exposure floor for small creators costs in a made world, where the value of every slate is known."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.data.world import World, WorldSettings, make_world
from mainstem.data.world.settings import DAY_MS
from mainstem.evaluate.mitigation import FrontPoint, boosted, exposure_floor, floor_front
from mainstem.workspace.compare import Progress, silent
from mainstem.workspace.layout import Workspace

CANDIDATES: Final = 300
"""Items each request chooses from, drawn from those that exist and break no rule."""
PLACES: Final = 10
STEPS: Final = 9
"""Floors from what small creators get anyway to four times that."""
STRENGTHS: Final = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
SMALL_QUANTILE: Final = 0.5
"""A creator with fewer items than this quantile of creators is small."""


@dataclass(frozen=True, slots=True)
class Mitigation:
    """The front of small creators' exposure against value, and the floor that was asked for.

    Attributes:
        surface: Whose value.
        requests: How many slates; ``candidates`` each chose from, ``places`` each holds.
        small_below: A creator with fewer items is small.
        offered: Share of candidates that are a small creator's.
        free: Share of places that small creators get without a floor.
        floor: What was asked for.
        share: What was reached; ``met`` whether that is enough.
        price: Value given up on all slates; ``price_share`` over the value without a floor.
        boost: The price of one more place: added to the values of small creators' items it gives the same slates.
        later_share: The share that boost reaches on as many later requests, which it has not seen; ``later_price_share``
            what it costs there.
        front: Floors and re-weightings.
        cpu_s: Processor seconds.
    """

    surface: str
    requests: int
    candidates: int
    places: int
    seed: int
    small_below: float
    offered: float
    free: float
    floor: float
    share: float
    met: bool
    price: float
    price_share: float
    boost: float
    later_share: float
    later_price_share: float
    front: tuple[FrontPoint, ...]
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests with their candidates' true values.

    Shapes: all ``[requests, candidates]``.
    """

    values: NDArray[np.float64]
    small: NDArray[np.bool_]
    weights: NDArray[np.float64]


def mitigate(
    workspace: Workspace,
    floor: float = 0.0,
    *,
    surface: str = "feed",
    requests: int = 400,
    seed: int | None = None,
    world: WorldSettings | None = None,
    progress: Progress = silent,
) -> Mitigation:
    """Prints what a floor costs; writes the ``mitigation`` evidence.

    Args:
        workspace: Where the evidence goes.
        floor: Share of places for small creators; 0 takes one and a half times what they get anyway.
        surface: Whose value.
        requests: How many; as many again judge the boost.
        seed: Of the world, and of who asks for what.
        world: Its size; None is the default world.
        progress: Told the share that is done.
    """
    began = time.process_time()
    seed = workspace.settings.seed if seed is None else seed
    made = make_world(world or WorldSettings(seed=seed))
    below = small_below(made)
    first, later = (_batch(made, surface, requests, below, seed, part, progress) for part in (0, 1))
    free = exposure_floor(first.values, first.small, PLACES, 0.0)
    asked = floor or min(1.0, 1.5 * free.share)
    one = exposure_floor(first.values, first.small, PLACES, asked)
    floors = np.unique([*np.linspace(free.share, min(1.0, 4 * free.share), STEPS), asked]).tolist()
    after = exposure_floor(later.values, later.small, PLACES, 0.0)
    chosen = boosted(later.values, later.small, PLACES, one.boost)
    reached = float(np.take_along_axis(later.values, chosen, axis=1).sum())
    found = Mitigation(
        surface=surface, requests=requests, candidates=CANDIDATES, places=PLACES, seed=seed, small_below=below,
        offered=float(first.small.mean()), free=free.share, floor=asked, share=one.share, met=one.met, price=one.price,
        price_share=one.price / free.value, boost=one.boost,
        later_share=float(np.take_along_axis(later.small, chosen, axis=1).mean()),
        later_price_share=1 - reached / after.value,
        front=floor_front(first.values, first.small, first.weights, PLACES, floors, STRENGTHS),
        cpu_s=time.process_time() - began,
    )  # fmt: skip
    workspace.write_evidence("mitigation", found)
    return found


def small_below(world: World) -> float:
    """How many items a creator must have to be no small one: the median over creators."""
    return float(np.quantile(np.unique(world.items.creator_ids, return_counts=True)[1], SMALL_QUANTILE))


def _batch(world: World, surface: str, requests: int, below: float, seed: int, part: int, progress: Progress) -> Batch:
    """Requests of the log's last day: who asks when, and which items there are to choose from."""
    rng = np.random.default_rng((seed, part, 41))
    items, end = world.items, world.settings.end_ms
    users = world.people.user_ids[rng.integers(0, len(world.people.user_ids), requests)]
    times = rng.integers(end - DAY_MS, end, requests)
    _, creator, counts = np.unique(items.creator_ids, return_inverse=True, return_counts=True)
    size = counts[creator]
    may = np.flatnonzero(~items.violating & (items.canonical == items.item_ids) & (items.created_ms <= end - DAY_MS))
    values = np.empty((requests, CANDIDATES))
    rows = np.empty((requests, CANDIDATES), np.int64)
    for at in range(requests):
        rows[at] = rng.choice(may, CANDIDATES, replace=False)
        values[at] = world.truth(users[at], items.item_ids[rows[at]], surface, times[at]).value
        if at % 50 == 0:
            progress((part + at / requests) / 2, f"true values of {surface} requests")
    return Batch(values, size[rows] < below, counts.mean() / size[rows])
