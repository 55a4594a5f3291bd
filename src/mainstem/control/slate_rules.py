"""What holds for the slate as a whole on one surface, as records that a switch can change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Pool, Rows
from mainstem.control.groups import Group

CREATOR: Final = "creator"
"""The attribute whose cap is ``creator_cap``."""

_CAP, _SPACING = "_cap", "_spacing"


@dataclass(frozen=True, slots=True)
class Quota:
    """Places that candidates of one source or of one group should get.

    Args:
        name: How reports call it.
        least: So many places, while there are candidates.
        source: The bit of the source; -1 when it is a group's.
        group: The group; None when it is a source's, or when the source is not there.
    """

    name: str
    least: int
    source: int = -1
    group: Group | None = None

    def members(self, pool: Pool, at: Rows, now_ms: int) -> NDArray[np.bool_]:
        """Which of the candidates at these positions count for it."""
        if self.source >= 0:
            return (pool.source_mask[at] >> np.uint32(self.source) & np.uint32(1)).astype(np.bool_)
        if self.group is None:
            return np.zeros(len(at), np.bool_)
        return self.group.holds(pool.rows[at], now_ms)


@dataclass(frozen=True, slots=True)
class SlateRules:
    """What holds for the slate as a whole on one surface. A rule is off at the value its line names.

    Args:
        creator_cap: Most items of one creator; off at 0.
        quotas: At least so many of the slate when there are candidates; a pair is (source bit, places). Off when empty.
        variety: Each further item of a category keeps this share of its value, or what value weighs beside variety; off at 1.
        exploration_share: Share of slots given to a random candidate; off at 0.
        variety_by: One of ``base.settings.VARIETIES``.
        caps: (attribute, most items of one value); off when empty.
        spacing: (attribute, others between two of one value); off when empty.
        soft_quotas: As ``quotas``, but a place may cost at most ``soft_price`` of what candidates are ordered by.
    """

    creator_cap: int = 0
    quotas: tuple[Quota | tuple[int, int], ...] = ()
    variety: float = 1.0
    exploration_share: float = 0.0
    variety_by: str = "discount"
    caps: tuple[tuple[str, int], ...] = ()
    spacing: tuple[tuple[str, int], ...] = ()
    soft_quotas: tuple[Quota, ...] = ()
    soft_price: float = 0.0

    def cap_of(self) -> dict[str, int]:
        """Attribute = most items of one value, the creator's first."""
        first = {CREATOR: self.creator_cap} if self.creator_cap else {}
        for attribute, most in self.caps:
            first[attribute] = min(most, first.get(attribute, most))
        return {attribute: most for attribute, most in first.items() if most > 0}

    def gap_of(self) -> dict[str, int]:
        """Attribute = others between two of one value."""
        return {attribute: gap for attribute, gap in self.spacing if gap > 0}

    def all_quotas(self) -> tuple[Quota, ...]:
        """Hard quotas, then soft ones."""
        hard = tuple(
            one if isinstance(one, Quota) else Quota(f"source {one[0]}", one[1], one[0]) for one in self.quotas
        )
        return (*hard, *self.soft_quotas)

    def names(self) -> tuple[str, ...]:
        """The rules of a slate in the order in which they are applied, whether or not they are on."""
        caps = [attribute + _CAP for attribute in dict.fromkeys((CREATOR, *self.cap_of()))]
        gaps = [attribute + _SPACING for attribute in self.gap_of()]
        return ("variety", *caps, *gaps, "quota", *(["soft_quota"] if self.soft_quotas else []), "exploration")

    def without(self, rule: str) -> SlateRules:
        """The same but one rule; a single quota is named ``quota:NAME``."""
        kind, _, name = rule.partition(":")
        changed: dict[str, Any] = {}
        if kind == "quota":
            changed = {"quotas": tuple(one for one in self.quotas if name and _named(one) != name)}
        elif kind == "soft_quota":
            changed = {"soft_quotas": tuple(one for one in self.soft_quotas if name and one.name != name)}
        elif rule == "variety":
            changed = {"variety": 1.0}
        elif rule == "exploration":
            changed = {"exploration_share": 0.0}
        elif rule.endswith(_CAP):
            attribute = rule.removesuffix(_CAP)
            changed = {"caps": tuple(one for one in self.caps if one[0] != attribute)}
            changed |= {"creator_cap": 0} if attribute == CREATOR else {}
        elif rule.endswith(_SPACING):
            changed = {"spacing": tuple(one for one in self.spacing if one[0] != rule.removesuffix(_SPACING))}
        return replace(self, **changed)


def cap_rule(attribute: str) -> str:
    """How traces call the cap of an attribute."""
    return attribute + _CAP


def spacing_rule(attribute: str) -> str:
    """How traces call the spacing of an attribute."""
    return attribute + _SPACING


def _named(quota: Quota | tuple[int, int]) -> str:
    return quota.name if isinstance(quota, Quota) else f"source {quota[0]}"
