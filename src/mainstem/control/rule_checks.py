"""Whether the rules of a surface can all hold at once, asked when they are loaded; two that cannot are both named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mainstem.base.errors import ControlError, did_you_mean
from mainstem.base.settings import Rules, Surface
from mainstem.control.groups import Group, ItemAttributes, column_of
from mainstem.control.slate_rules import CREATOR, Quota, SlateRules


def item_groups(declared: Mapping[str, str], attributes: ItemAttributes) -> dict[str, Group]:
    """The groups that settings declare, by name.

    Raises:
        ControlError: One cannot be read (``control-002`` to ``control-004``), or compares an attribute that no item has a value
            of (``control-006``).
    """
    return {name: _filled(attributes.group(text), f"groups.{name}", attributes) for name, text in declared.items()}


def group_named(name: str, where: str, groups: Mapping[str, Group], attributes: ItemAttributes) -> Group:
    """A declared group, or the one that a comparison written in place of a name describes.

    Raises:
        ControlError: It is neither (``control-005``); the comparison cannot be read (``control-002`` to ``control-004``), or no
            item has a value of its attribute (``control-006``).
    """
    if name in groups:
        return groups[name]
    if not any(sign in name for sign in "<>=!"):
        raise ControlError(
            f"{where} names {name!r}, which is no group and no comparison",
            code="control-005",
            hint=did_you_mean(name, groups) if groups else 'declare it: [groups] small = "creator_items <= 3"',
        )
    return _filled(attributes.group(name), where, attributes)


def slate_rules(
    surface: Surface,
    where: str,
    sources: list[str],
    known_sources: Iterable[str],
    groups: Mapping[str, Group],
    attributes: ItemAttributes,
) -> SlateRules:
    """A surface's slate rules, resolved and found free of contradiction.

    Args:
        where: How errors call the surface.
        sources: Names of the sources that are there, by bit.
        known_sources: Names of the sources there may be; a quota of one that is not there stays unmet and is told.

    Raises:
        ControlError: A rule names what is not there (``control-002`` to ``control-006``), or two contradict each other
            (``control-007`` to ``control-013``).
    """
    rules = surface.rules
    quotas = {
        table: tuple(
            _quota(name, least, f"{where}.rules.{table}", sources, known_sources, groups, attributes)
            for name, least in getattr(rules, table).items()
            if least
        )
        for table in ("quotas", "soft_quotas")
    }
    _refuse_unknown_attributes(rules, where, attributes)
    _refuse_too_many(surface, where)
    _refuse_idle(rules, where)
    for quota in (*quotas["quotas"], *quotas["soft_quotas"]):
        _refuse_capped(quota, surface, where)
    return SlateRules(
        creator_cap=rules.creator_cap,
        quotas=quotas["quotas"],
        variety=rules.variety,
        exploration_share=rules.exploration_share,
        variety_by=rules.variety_by,
        caps=tuple(rules.caps.items()),
        spacing=tuple(rules.spacing.items()),
        soft_quotas=quotas["soft_quotas"],
        soft_price=rules.soft_price,
    )


def _quota(
    name: str,
    least: int,
    where: str,
    sources: list[str],
    known_sources: Iterable[str],
    groups: Mapping[str, Group],
    attributes: ItemAttributes,
) -> Quota:
    if name in sources:
        return Quota(name, least, sources.index(name))
    if name in groups or any(sign in name for sign in "<>=!"):
        return Quota(name, least, group=group_named(name, where, groups, attributes))
    known = {*sources, *known_sources}
    if name in known:
        return Quota(name, least)
    raise ControlError(
        f"{where} names {name!r}, which is no source, no group and no comparison such as category = 12",
        code="control-005",
        hint=did_you_mean(name, (*known, *groups)),
    )


def _filled(group: Group, where: str, attributes: ItemAttributes) -> Group:
    _refuse_empty(group.attribute, where, attributes)
    return group


def _refuse_empty(attribute: str, where: str, attributes: ItemAttributes) -> None:
    """A rule over an attribute that no item has a value of could never do anything."""
    if len(attributes) and not attributes.filled(attribute):
        raise ControlError(
            f"{where} is about the item attribute {attribute!r}, of which none of {len(attributes)} items has a value",
            code="control-006",
            hint="fill the column in the items table, or leave the rule out; mainstem data check PATH tells what is filled",
        )


def _refuse_unknown_attributes(rules: Rules, where: str, attributes: ItemAttributes) -> None:
    for table in ("caps", "spacing"):
        for attribute, number in getattr(rules, table).items():
            if number:
                attributes.codes(attribute)
                _refuse_empty(attribute, f"{where}.rules.{table}.{attribute}", attributes)
    other = {column_of(name): most for name, most in rules.caps.items()}.get(column_of(CREATOR))
    if other is not None and rules.creator_cap and other != rules.creator_cap:
        raise ControlError(
            f"{where}.rules.creator_cap is {rules.creator_cap} and {where}.rules.caps says {other} for the creator too",
            code="control-013",
            hint="leave one of the two out",
        )


def _refuse_too_many(surface: Surface, where: str) -> None:
    rules = surface.rules
    wanted = sum(rules.quotas.values())
    if wanted > surface.count:
        told = " + ".join(f"{name} {least}" for name, least in rules.quotas.items())
        raise ControlError(
            f"{where}.rules.quotas promise {wanted} places ({told}), and {where}.count is {surface.count}",
            code="control-007",
            hint="lower a quota, raise count, or make one a soft quota",
        )
    share = sum(rules.floors.values())
    if share > 1:
        told = " + ".join(f"{name} {floor:g}" for name, floor in rules.floors.items())
        raise ControlError(
            f"{where}.rules.floors promise {share:g} of all places ({told}), more than there are", code="control-010"
        )


def _refuse_idle(rules: Rules, where: str) -> None:
    """Refuses soft quotas that can do nothing."""
    asked = {name: least for name, least in rules.soft_quotas.items() if least}
    if asked and rules.soft_price == 0:
        raise ControlError(
            f"{where}.rules.soft_quotas has {next(iter(asked))!r} and {where}.rules.soft_price is 0: no place may cost anything",
            code="control-012",
            hint="set soft_price to the most value one place may cost",
        )
    for name, least in asked.items():
        if least <= rules.quotas.get(name, 0):
            raise ControlError(
                f"{where}.rules.soft_quotas.{name} is {least} and {where}.rules.quotas.{name} is {rules.quotas[name]} already",
                code="control-011",
                hint="a soft quota goes beyond the hard one, or is left out",
            )


def _refuse_capped(quota: Quota, surface: Surface, where: str) -> None:
    """Refuses a quota for one value of an attribute whose cap or spacing allows fewer."""
    if quota.group is None or quota.group.value is None:
        return
    rules, attribute = surface.rules, column_of(quota.group.attribute)
    caps = {column_of(name): (name, most) for name, most in rules.caps.items() if most}
    if rules.creator_cap:
        caps[column_of(CREATOR)] = (CREATOR, rules.creator_cap)
    if attribute in caps and quota.least > caps[attribute][1]:
        name, most = caps[attribute]
        raise ControlError(
            f"{where}: the quota {quota.name!r} promises {quota.least} places and the cap on {name} allows {most}",
            code="control-008",
            hint="raise the cap or lower the quota",
        )
    gaps = {column_of(name): (name, gap) for name, gap in rules.spacing.items() if gap}
    if attribute in gaps and (quota.least - 1) * (gaps[attribute][1] + 1) >= surface.count:
        name, gap = gaps[attribute]
        raise ControlError(
            f"{where}: the quota {quota.name!r} promises {quota.least} of {surface.count} places and the spacing of {name} keeps "
            f"{gap} others between two of them",
            code="control-009",
            hint="narrow the spacing or lower the quota",
        )
