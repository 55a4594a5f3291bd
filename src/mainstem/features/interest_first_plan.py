"""A delivery plan of the interest-first stack: the dials of one surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mainstem.base.request import Floats

SOURCES: Final = ("top_interests", "explicit_topics", "entity_to_entity", "exploration")


@dataclass(frozen=True, slots=True)
class Wear:
    """How tired a viewer gets of what was shown: a weight for each showing of an interest and of an entity, and how both fade."""

    interest: float
    entity: float
    half_life_h: float
    cooldown_h: float
    """An item that was shown stays away this long."""


@dataclass(frozen=True, slots=True)
class SlateDials:
    """How a slate is made of valued candidates."""

    bonus: float
    """An interest that the slate lacks counts so much more."""
    debt_weight: float
    debt_decay: float
    """Places owed to an interest raise its items, and are forgotten at this rate a request."""
    longest_run: int
    """Most items of one interest in a row."""
    explore_share: float
    """The chance that a place explores."""
    floored: int
    """So many of the viewer's first interests have a floor,"""
    floor_share: float
    """which is this share of the slate for each."""

    def floors(self, shares: Floats, count: int) -> dict[int, int]:
        """How many of ``count`` places each of the viewer's first interests, those of the largest shares, should get."""
        places = int(count * self.floor_share)
        if not places:
            return {}
        first = np.argsort(-np.round(shares[:-1], 9), kind="stable")[: self.floored]
        return dict.fromkeys(first.tolist(), places)


@dataclass(frozen=True, slots=True)
class Plan:
    """Every dial of one surface.

    Attributes:
        sources: Most candidates of each source.
        top_interests: How many interests the first source draws from.
        prior_strength: How many touches the surface's prior counts for.
        powers: Of P(interest) and of P(item | interest) in the value.
    """

    surface: str
    sources: Mapping[str, int]
    top_interests: int
    prior_strength: float
    powers: tuple[float, float]
    wear: Wear
    slate: SlateDials


def read_plan(name: str, tables: Mapping[str, dict[str, Any]]) -> Plan:
    """One plan of a plan file, with the dials it takes from its parents.

    Raises:
        KeyError, TypeError, ValueError: A dial is missing, or no number.
    """
    dials = _inherited(name, tables)

    def number(dial: str) -> float:
        return float(dials[dial])

    return Plan(
        surface=name,
        sources={source: int(int(dials["fetch"]) * number(f"share_{source}")) for source in SOURCES},
        top_interests=int(dials["top_interests"]),
        prior_strength=number("prior_strength"),
        powers=(number("interest_power"), number("item_power")),
        wear=Wear(*map(number, ("fatigue_interest", "fatigue_entity", "fatigue_half_life_h", "cooldown_h"))),
        slate=SlateDials(
            bonus=number("portfolio_bonus"),
            **{dial: number(dial) for dial in ("debt_weight", "debt_decay", "explore_share")},
            longest_run=int(dials["max_run"]),
            floored=int(dials["quota_interests"]),
            floor_share=number("quota_share"),
        ),
    )


def _inherited(name: str, tables: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The plan's own dials over those of its parents. The program refused circles when it trained."""
    chain: list[dict[str, Any]] = []
    parent: str | None = name
    while parent is not None and len(chain) <= len(tables):
        chain.append(tables.get(parent, {}))
        parent = chain[-1].get("extends")
    return {dial: value for table in reversed(chain) for dial, value in table.items()}
