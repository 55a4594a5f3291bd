"""The unified stack's control layer, put together from settings: filters, boosts, slate rules, and what they remember."""

from __future__ import annotations

import numpy as np

from mainstem.base.settings import Settings
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.groups import ItemAttributes
from mainstem.control.reposts import originals_of
from mainstem.control.rule_checks import item_groups, slate_rules
from mainstem.control.slate import SurfaceControl
from mainstem.control.slate_rules import CREATOR
from mainstem.features.catalog import Catalog
from mainstem.stacks.retrieving import QUOTAS
from mainstem.stacks.rule_chain import ControlFiles, RuleChain, rule_chain


def control_of(
    catalog: Catalog, settings: Settings, sources: list[str], withdrawn: Withdrawn, files: ControlFiles | None = None
) -> tuple[SurfaceControl, RuleChain]:
    """The layer of every surface, and the chain of filters and memories it reads.

    Args:
        catalog: Whose items it judges.
        settings: What each surface must and must not do.
        sources: Names of the stack's sources, by bit.
        withdrawn: What was taken out while serving.
        files: What it remembers over requests and processes; None remembers nothing.

    Raises:
        ControlError: A rule names what is not there, or two contradict each other (``control-002`` to ``control-013``).
    """
    items, attributes = catalog.items, ItemAttributes(catalog)
    groups = item_groups(settings.groups, attributes)
    chain = rule_chain(catalog, settings, withdrawn, attributes, groups, files)
    slates = {
        name: slate_rules(surface, f"surfaces.{name}", sources, QUOTAS, groups, attributes)
        for name, surface in settings.served().items()
    }
    named = {name for rules in slates.values() for name in (*rules.cap_of(), *rules.gap_of())} - {CREATOR}
    layer = SurfaceControl(
        chain.filters,
        slates,
        np.asarray(items.creator)[
            originals_of(items.canonical_row).rows
        ],  # a repost takes its original's creator's place
        np.asarray(items.category),
        settings.seed,
        attributes={name: attributes.codes(name) for name in named},
        vectors=items.content,
        boosts=chain.boosts,
    )
    return layer, chain
