"""Surfaces: what each one values and must never do, and what the last proposed change would move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request

from mainstem.base.settings import Rules, Surface
from mainstem.report import numbers
from mainstem.report.table import Column, Table
from mainstem.web.page import Page
from mainstem.web.site import Site

COMMAND: Final = "mainstem surface diff now feed.weights.like=3"
Found = Mapping[str, Any]


async def page(site: Site, request: Request) -> Page:
    """The page from the workspace's settings and the evidence ``blast_radius``."""
    served = site.workspace.settings.served()
    found = await site.evidence("blast_radius")
    pulls = [await site.evidence(f"pull_{name}") for name in served]
    return await site.off_loop(lambda: told(served, found, [pull for pull in pulls if pull]))


def told(served: Mapping[str, Surface], found: Found | None, pulls: Sequence[Found] = ()) -> Page:
    """The whole page."""
    tables = (_values(served), _rules(served), *map(_pull, pulls), *(_moves(found) if found else ()))
    facts = {
        "radius": None
        if not found
        else {key: found[key] for key in ("before", "after", "requests", "users", "sentence")},
        "shown": None if not found else {"places": found["places"], "creators": found["creators_shown"]},
        "degraded": None if not found else found["degraded"],
        "command": COMMAND,
        "pulls": [f"pull-{pull['surface']}" for pull in pulls],
        "pull_command": f"mainstem surface pull {next(iter(served), '')}",
    }
    values = len({one.value for one in served.values()})
    heading = f"{len(served)} surfaces, {values} value expression{'s' if values != 1 else ''}"
    lead = "What a surface values is one expression; what it must never do is a list of rules. Both are lines of mainstem.toml."
    return Page("surfaces", heading, lead, tables=tables, facts=facts, again=COMMAND)


def _values(served: Mapping[str, Surface]) -> Table:
    rows = tuple(
        {
            "surface": name,
            "value": one.value,
            "weights": [f"{key} = {value}" for key, value in one.weights.items()],
            "owner": one.owner,
            "count": one.count,
        }
        for name, one in served.items()
    )
    named = [Column("weights", "Weights")] if any(row["weights"] for row in rows) else []
    owned = [Column("owner", "Owner")] if any(row["owner"] for row in rows) else []
    columns = (
        Column("surface", "Surface"),
        Column("value", "Values"),
        *named,
        *owned,
        Column("count", "Items", "count"),
    )
    return Table("values", "What each surface values", columns, rows)


def _rules(served: Mapping[str, Surface]) -> Table:
    """One row a rule, one column a surface; rules that no surface has are left out."""
    off = Rules(integrity="", seen=0, originals=False, creator_cap=0, variety=1.0, exploration_share=0.0)
    given = {name: _flat(msgspec.to_builtins(one.rules)) for name, one in served.items()}
    nothing = _flat(msgspec.to_builtins(off))
    keys = dict.fromkeys(key for one in given.values() for key in one)
    on = [key for key in keys if any(one.get(key, nothing.get(key)) != nothing.get(key) for one in given.values())]
    rows = tuple(
        {"rule": key.replace("_", " ")} | {name: _said(one.get(key)) for name, one in given.items()} for key in on
    )
    columns = (Column("rule", "Rule"), *(Column(name, name) for name in served))
    return Table(
        "rules",
        "What each surface must and must not do",
        columns,
        rows,
        "Rules that every surface leaves off are not listed.",
    )


def _pull(found: Found) -> Table:
    """What each term of one surface's value does to the order; see ``value/pull.py``."""
    columns = (
        Column("term", "Term"),
        Column("weight", "Weight", "value"),
        Column("rate", "Base rate", "value"),
        Column("typical", "Adds", "value"),
        Column("spread", "Spread", "value"),
        Column("share", "Of the value's variance", "share"),
        Column("moved", "Of the first 10 it moves", "value"),
    )
    asked = numbers.count(found["requests"])
    note = f"Over {asked} logged requests. The last column is how many of the first ten leave when the term is dropped."
    return Table(
        f"pull-{found['surface']}", f"What each weight does on {found['surface']}", columns, tuple(found["terms"]), note
    )


def _flat(rules: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in rules.items():
        flat |= {f"{key} {inner}": one for inner, one in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return numbers.NONE if value is None else f"{value}"


def _moves(found: Found) -> Iterator[Table]:
    """The tables of a blast radius; see ``evaluate/blast_radius.py``."""
    yield Table(
        "groups",
        "Whose slates move",
        (
            Column("group", "By"),
            Column("value", "Group"),
            Column("requests", "Requests", "count"),
            Column("changed", "Slates that change"),
            Column("replaced", "Places with another item"),
            Column("first", "Other first item", "share"),
            Column("order", "Order kept (τ)", "metric"),
        ),
        tuple(
            {**row, "changed": _shares(row["changed"]), "replaced": _shares(row["replaced"])} for row in found["groups"]
        ),
    )
    yield Table(
        "heads",
        "Predicted actions per shown item",
        (Column("head", "Head"), Column("before", "Before", "value"), Column("change", "Change", "interval")),
        tuple(found["heads"]),
    )
    yield Table(
        "fires",
        "Which rules fire otherwise",
        (
            Column("rule", "Rule"),
            Column("effect", "Effect"),
            Column("before", "A request, before", "value"),
            Column("after", "After", "value"),
        ),
        tuple(found["rules"]),
    )
    yield Table(
        "creators",
        "Creators that move most",
        (
            Column("creator_id", "Creator", "id"),
            Column("before", "Places before", "count"),
            Column("after", "After", "count"),
            Column("change", "Change"),
        ),
        tuple({**row, "change": f"{row['after'] - row['before']:+d}"} for row in found["creators"]),
    )


def _shares(interval: Mapping[str, Any] | None) -> str:
    """A share with its bounds."""
    if interval is None:
        return numbers.NONE
    low, mid, high = (numbers.share(interval[name]) for name in ("low", "mid", "high"))
    return f"{mid} ({low}…{high})"
