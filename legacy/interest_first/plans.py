"""Delivery plans: one per surface, with inheritance."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

HOUSE_PLANS = Path(__file__).with_name("plans.toml")


@dataclass(frozen=True, slots=True)
class Plan:
    """Every dial of one surface; the file says what each does."""

    surface: str
    traffic_share: float
    fetch: int
    share_top_interests: float
    share_explicit_topics: float
    share_entity_to_entity: float
    share_exploration: float
    top_interests: int
    interest_power: float
    item_power: float
    prior_strength: float
    fatigue_interest: float
    fatigue_entity: float
    fatigue_half_life_h: float
    cooldown_h: float
    portfolio_bonus: float
    quota_interests: int
    quota_share: float
    debt_weight: float
    debt_decay: float
    max_run: int
    explore_share: float


class PlanError(ValueError):
    """A plan file does not say what a plan needs."""


_DIALS = {f.name: f.type for f in fields(Plan) if f.name != "surface"}


def _flatten(name: str, raw: dict[str, dict], trail: tuple[str, ...] = ()) -> dict:
    if name in trail:
        raise PlanError(f"plan {name!r} extends itself through {' -> '.join(trail)}")
    if name not in raw:
        raise PlanError(f"plan {trail[-1]!r} extends {name!r}, which is not in the file")
    own = dict(raw[name])
    parent = own.pop("extends", None)
    return (_flatten(parent, raw, (*trail, name)) if parent else {}) | own


def _make(name: str, values: dict) -> Plan:
    unknown = sorted(set(values) - set(_DIALS))
    missing = sorted(set(_DIALS) - set(values))
    if unknown or missing:
        raise PlanError(f"plan {name!r}: unknown {unknown}, missing {missing}")
    casts = {"int": int, "float": float}
    return Plan(surface=name, **{key: casts[str(_DIALS[key])](value) for key, value in values.items()})


def read_plans(path: Path = HOUSE_PLANS) -> MappingProxyType[str, Plan]:
    """The plan of every surface in a file, parents filled in. `base` itself is no surface."""
    with path.open("rb") as file:
        raw = tomllib.load(file).get("plan", {})
    return MappingProxyType({name: _make(name, _flatten(name, raw)) for name in sorted(raw) if name != "base"})
