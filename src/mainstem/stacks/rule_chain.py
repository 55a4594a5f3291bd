"""Which filters and boosts a surface's settings declare, in their order, and the memories that they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mainstem.base.clock import Clock
from mainstem.base.settings import Settings, Surface
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.blocked import Blocked
from mainstem.control.day import DayCap
from mainstem.control.fatigue import Fatigue
from mainstem.control.filters import Filter, Gone, Integrity, Originals, Seen
from mainstem.control.groups import Group, ItemAttributes
from mainstem.control.lookups import fails_closed
from mainstem.control.reposts import originals_of
from mainstem.control.rule_checks import group_named
from mainstem.control.slate import Boost
from mainstem.control.supply import FloorBoost, Floors
from mainstem.features.catalog import Catalog
from mainstem.stacks.blocking import Blocking
from mainstem.stacks.day_memory import DayMemory
from mainstem.stacks.viewer import SeenByViewer
from mainstem.store.blocked_list import BlockedList
from mainstem.store.day_counts import DayCounts


@dataclass(frozen=True, slots=True)
class ControlFiles:
    """What the control layer keeps on disk, shared by all processes of a platform.

    Attributes:
        counts: What was served.
        blocked: What viewers blocked.
        clock: When a block was set.
    """

    counts: DayCounts
    blocked: BlockedList
    clock: Clock


@dataclass(frozen=True, slots=True)
class RuleChain:
    """Filters and boosts by surface, and what they read.

    Attributes:
        guards: The filters that need nothing but the request and the items: a fallback list obeys them too.
        memory: None without files: day caps, fatigue and floors are off then, as in a replay.
        blocking: None without files.
    """

    filters: dict[str, tuple[Filter, ...]]
    boosts: dict[str, tuple[Boost, ...]]
    guards: dict[str, tuple[Filter, ...]]
    memory: DayMemory | None
    blocking: Blocking | None


def rule_chain(
    catalog: Catalog,
    settings: Settings,
    withdrawn: Withdrawn,
    attributes: ItemAttributes,
    groups: Mapping[str, Group],
    files: ControlFiles | None = None,
) -> RuleChain:
    """The chain of every surface: withdrawn, integrity, blocked, seen, originals, day caps; then fatigue and floors as boosts.

    Raises:
        ControlError: ``on_failure`` or ``day_caps`` cannot be read (``control-030``, ``control-002``), or a floor names no group
            (``control-005``).
    """
    surfaces, originals = settings.served(), originals_of(catalog.items.canonical_row).rows
    floors = {name: _floors(one, name, groups, attributes) for name, one in surfaces.items() if one.rules.floors}
    memory = blocking = None
    if files is not None:
        zone = settings.data.time.get("zone", "UTC")
        memory = DayMemory(files.counts, catalog, originals, zone, floors)
        blocking = Blocking(files.blocked, catalog, originals, files.clock)
    parts = _Parts(catalog, originals, withdrawn, attributes, memory, blocking)
    chains = {name: parts.filters(one, f"surfaces.{name}") for name, one in surfaces.items()}
    return RuleChain(
        filters=chains,
        boosts={name: parts.boosts(one, floors.get(name)) for name, one in surfaces.items()},
        guards={name: tuple(one for one in chain if _guards(one)) for name, chain in chains.items()},
        memory=memory,
        blocking=blocking,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    catalog: Catalog
    originals: np.ndarray
    withdrawn: Withdrawn
    attributes: ItemAttributes
    memory: DayMemory | None
    blocking: Blocking | None

    def filters(self, surface: Surface, where: str) -> tuple[Filter, ...]:
        items, rules, on_failure = self.catalog.items, surface.rules, surface.rules.on_failure
        closed = {name: fails_closed(name, on_failure, where) for name in ("blocked", "seen", "day_caps")}
        chain: list[Filter] = [Gone(self.withdrawn), Integrity(items.integrity, closed=rules.integrity == "closed")]
        if self.blocking is not None:
            chain.append(Blocked(self.blocking, items.creator, self.originals, closed=closed["blocked"]))
        if rules.seen:
            chain.append(
                Seen(
                    SeenByViewer(),
                    last=rules.seen,
                    catalog_size=len(items),
                    originals=self.originals,
                    days=self.memory,
                    closed=closed["seen"],
                )
            )
        if rules.originals:
            chain.append(Originals(self.originals))
        for attribute, most in rules.day_caps.items():
            codes = self.attributes.codes(attribute)
            if most and self.memory is not None:
                chain.append(DayCap(attribute, most, codes, self.originals, self.memory, closed=closed["day_caps"]))
        return tuple(chain)

    def boosts(self, surface: Surface, floors: Floors | None) -> tuple[Boost, ...]:
        if self.memory is None:
            return ()
        chain: list[Boost] = []
        if surface.rules.fatigue < 1:
            chain.append(Fatigue(surface.rules.fatigue, self.catalog.items.creator, self.originals, self.memory))
        if floors is not None:
            chain.append(FloorBoost(floors))
        return tuple(chain)


def _guards(one: Filter) -> bool:
    """Whether a fallback list obeys it: what is withdrawn, unsafe, blocked or capped; a seen rule only where it fails closed."""
    return isinstance(one, Gone | Integrity | Blocked | DayCap) or (isinstance(one, Seen) and one.closed)


def _floors(surface: Surface, name: str, groups: Mapping[str, Group], attributes: ItemAttributes) -> Floors:
    shares = {group: share for group, share in surface.rules.floors.items() if share}
    where = f"surfaces.{name}.rules.floors"
    return Floors(shares, {group: group_named(group, where, groups, attributes).holds for group in shares})
