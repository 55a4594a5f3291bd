"""What was promised before anybody looked: ``launch.toml``, its canonical hash, and what an edit of it means.

The records are the register of the file: a field's default and the sentence under it are what the reference page prints.
Nothing here computes; a plan is names, numbers and one hash over them.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from mainstem.base.errors import LaunchError, did_you_mean

FILE: Final = "launch.toml"
FORMAT: Final = 2
"""Which reading of the file the hash is over; a new field with a default of its own raises it."""

ROLES: Final = ("primary", "guardrail", "diagnostic")
DIRECTIONS: Final = ("up", "down")
KINDS: Final = ("mean", "binary", "ratio", "quantile")
UNITS: Final = ("user", "cluster", "block")
SPENDINGS: Final = ("t2", "hsd", "obf", "pocock")


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the plan that refuses names it does not know."""


class Metric(Record, frozen=True, kw_only=True):
    """One metric as it was promised."""

    role: str
    """``primary`` and ``guardrail`` must each pass at their own margin; ``diagnostic`` is only shown."""
    column: str
    """The column of the unit table that holds it; the numerator of a ratio, the measurement of a quantile."""
    kind: str = "mean"
    """``mean``, ``binary``, ``ratio`` or ``quantile``."""
    per: str = ""
    """The denominator of a ratio."""
    quantile: float = 0.0
    """Which quantile, between 0 and 1; only of kind ``quantile``."""
    direction: str = "up"
    """Which way is good: ``up`` or ``down``."""
    unit: str = "user"
    """What is independent: ``user``, ``cluster`` or ``block`` (of time)."""
    window_days: float = 0.0
    """Days after a unit's first exposure that count; 0 is until the look."""
    margin: float = 0.0
    """The largest relative loss that is accepted, such as 0.01; needed but for a diagnostic."""
    covariates: list[str] = []
    """Columns from before the start that explain the metric (CUPED)."""
    winsor_cap: float = 0.0
    """A unit's value above this counts as this; 0 leaves values alone."""
    spending: str = "t2"
    """How alpha is spent over the looks: ``t2``, ``hsd``, ``obf`` or ``pocock``."""
    looks: int = 28
    """How many looks are planned."""
    first_look_day: float = 7.0
    """The first day on which a look may decide; seven days see every weekday."""


class Step(Record, frozen=True, kw_only=True):
    """One step of the ramp."""

    share: float
    """Share of units on the new stack, 0 to 1; 0 is shadow, where nothing new is served."""
    hold_hours: float
    """The least time at this step before the next."""


class Rollback(Record, frozen=True, kw_only=True):
    """What may be spent on rolling back something that was harmless."""

    false_rate: float = 0.01
    """Chance of a false automatic rollback over the whole ramp and all metrics."""
    pause_rate: float = 0.05
    """Chance of a false daily pause over the whole ramp and all metrics."""


class Shadow(Record, frozen=True, kw_only=True):
    """What mirrored traffic must show before anybody is served by the new stack."""

    least_requests: int = 100
    """Mirrored requests of a surface, at least."""
    most_failed: float = 0.01
    """The largest share of them that the new stack may fail."""


class Latency(Record, frozen=True, kw_only=True):
    """Arms that are slowed down on purpose, to tell latency from ranking."""

    share: float = 0.0
    """Share of units in each slowed arm; 0 has none."""
    days: float = 7.0
    """How long units may be slowed."""
    dose_ms: float = 0.0
    """What the dose arm adds beside the matched one; 0 has no dose arm."""


class Plan(Record, frozen=True, kw_only=True):
    """Everything that is promised about a launch before it starts."""

    name: str
    """What the launch is called; part of the salt of its assignment."""
    surfaces: list[str]
    """Which surfaces move; each is judged on its own interval."""
    legacy: list[str]
    """Which legacy stacks are compared; each is judged on its own interval."""
    metrics: dict[str, Metric]
    """By name."""
    steps: list[Step]
    """In order; shares never fall."""
    layer: str = "launches"
    """Launches of one layer never share a unit."""
    alpha: float = 0.05
    """One-sided chance of passing what is exactly a margin worse, for each metric."""
    power: float = 0.9
    """Wanted chance that all pass when nothing changed."""
    max_days: float = 28.0
    """A plan that needs longer is refused."""
    rollback: Rollback = Rollback()
    origins: dict[str, dict[str, float]] = {}
    """Surface = legacy stack = share of its units it carries; a surface left out is carried in equal parts by all ``legacy``."""
    shadow: Shadow = Shadow()
    latency: Latency = Latency()
    flags: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """Surface = key of an outside OpenFeature flag whose text, ``treatment`` or ``control``, is a unit's arm there; any other text
    is no arm. Surfaces left out are split by the platform. Needs ``[serve] flags``."""
    risks: list[str] = []
    """Risks of the assessment (`mainstem responsible`) that must be met before anybody is served by the new stack."""

    def carried(self, surface: str) -> dict[str, float]:
        """Which legacy stacks carry a surface today, and what share of its units each; in the plan's order."""
        named = self.origins.get(surface) or dict.fromkeys(self.legacy, 1 / len(self.legacy))
        return {one: named[one] for one in self.legacy if named.get(one, 0.0) > 0}

    def flag_of(self, surface: str) -> str:
        """The outside flag that splits a surface's units; empty where the platform does."""
        return "" if self.flags is msgspec.UNSET else self.flags.get(surface, "")

    def must_pass(self) -> dict[str, Metric]:
        """The metrics that decide: primaries and guardrails."""
        return {name: one for name, one in self.metrics.items() if one.role != "diagnostic"}


def read_plan(file: Path) -> Plan:
    """The plan in a file; see ``parse_plan``.

    Raises:
        LaunchError: The file is not there (``launch-040``), or what ``parse_plan`` raises.
    """
    if not file.is_file():
        raise LaunchError(
            f"found no {file}, expected a launch's plan", code="launch-040", hint="docs/guides/experiments.md shows one"
        )
    return parse_plan(file.read_text(encoding="utf-8"), str(file))


def parse_plan(text: str, where: str = FILE) -> Plan:
    """The plan that a TOML text holds.

    Raises:
        LaunchError: Not TOML (``launch-040``), a key nobody knows (``launch-041``), a value of the wrong type
            (``launch-042``) or out of bounds (``launch-043``), or promises that do not fit each other (``launch-044``).
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LaunchError(f"{where} is not TOML: {error}", code="launch-040", hint="strings need quotes") from None
    _refuse_unknown(given, where)
    try:
        plan = msgspec.convert(given, Plan)
    except msgspec.ValidationError as error:
        raise LaunchError(
            f"{where}: {error}", code="launch-042", hint="docs/guides/experiments.md lists the keys"
        ) from None
    _check_plan(plan, where)
    return plan


def plan_hash(plan: Plan) -> str:
    """Which promise is this? The same for any order of keys and any comments; another for any other number.

    Defaults are part of it: a default that is written out is the same promise.
    """
    return hashlib.sha256(msgspec.json.encode({"format": FORMAT, "plan": plan}, order="deterministic")).hexdigest()


def plan_changes(before: Plan, after: Plan) -> dict[str, tuple[object, object]]:
    """Which promises differ: dotted name to what it was and what it is; None where there was nothing."""
    old, new = _flat(msgspec.to_builtins(before)), _flat(msgspec.to_builtins(after))
    return {
        name: (old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or old[name] != new[name]
    }


def check_unedited(started: Plan, now: Plan) -> None:
    """Is this still the plan the launch started under?

    Raises:
        LaunchError: It is not, and what was changed is named (``launch-045``).
    """
    changes = plan_changes(started, now)
    if changes:
        told = "; ".join(f"{name} was {was!r} and is {now_is!r}" for name, (was, now_is) in changes.items())
        raise LaunchError(
            f"the plan of {started.name!r} was edited after its start: {told}",
            code="launch-045",
            hint="an edited plan is a new launch: put the old file back, or give the new one another name and start it",
        )


def _flat(value: Any, at: str = "") -> dict[str, object]:
    inner = value.items() if isinstance(value, dict) else enumerate(value, 1) if isinstance(value, list) else None
    if inner is None:
        return {at: value}
    found: dict[str, object] = {}
    for key, one in inner:
        found |= _flat(one, f"{at}.{key}" if at else str(key))
    return found or {at: value}


def _refuse_unknown(given: dict[str, Any], where: str) -> None:
    tables: list[tuple[str, Any, type[Record]]] = [
        ("", given, Plan),
        ("rollback", given.get("rollback"), Rollback),
        ("shadow", given.get("shadow"), Shadow),
        ("latency", given.get("latency"), Latency),
    ]
    metrics, steps = given.get("metrics"), given.get("steps")
    tables += [(f"metrics.{name}", one, Metric) for name, one in (metrics if isinstance(metrics, dict) else {}).items()]
    tables += [(f"steps[{i}]", one, Step) for i, one in enumerate(steps if isinstance(steps, list) else [], 1)]
    for table, values, kind in tables:
        for key in values if isinstance(values, dict) else ():
            if key not in kind.__struct_fields__:
                name = f"{table}.{key}" if table else key
                raise LaunchError(
                    f"{where} names {name!r}, which is not a key of a plan",
                    code="launch-041",
                    hint=did_you_mean(key, kind.__struct_fields__),
                )


def _check_plan(plan: Plan, where: str) -> None:
    # An impression carries the name with its arm: at most 64 letters in all.
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,53}", plan.name):
        raise _bounds(where, "name", plan.name, "up to 54 letters, digits, '.', '-' and '_', the first no '.' or '-'")
    _one_within(where, "alpha", plan.alpha, 0.5)
    _one_within(where, "power", plan.power, 1.0)
    _one_within(where, "rollback.false_rate", plan.rollback.false_rate, 0.5)
    _one_within(where, "rollback.pause_rate", plan.rollback.pause_rate, 0.5)
    if not plan.max_days > 0:
        raise _bounds(where, "max_days", plan.max_days, "above 0")
    for name, metric in plan.metrics.items():
        _check_metric(metric, f"metrics.{name}", where)
    _check_steps(plan.steps, where)
    for what, found in (("surfaces", plan.surfaces), ("legacy", plan.legacy)):
        if not found or len(set(found)) < len(found):
            raise _misfit(where, f"{what} is {found!r}, expected one or more different names")
    _check_origins(plan, where)
    _check_shadow(plan, where)
    _check_flags(plan, where)
    if not any(one.role == "primary" for one in plan.metrics.values()):
        raise _misfit(where, "no metric is primary, so nothing could ever be decided")


def _check_origins(plan: Plan, where: str) -> None:
    """Each surface's traffic is carried wholly, by stacks and for surfaces that the plan names."""
    for surface, carried in plan.origins.items():
        if surface not in plan.surfaces:
            raise _misfit(where, f"origins.{surface} is no surface of the plan ({', '.join(plan.surfaces)})")
        for legacy in carried:
            if legacy not in plan.legacy:
                raise _misfit(where, f"origins.{surface} names {legacy!r}, no legacy stack of the plan")
        if min(carried.values(), default=0) < 0 or abs(sum(carried.values()) - 1) > 1e-9:
            raise _misfit(where, f"origins.{surface} adds up to {sum(carried.values()):g}, expected shares of 1 in all")


def _check_shadow(plan: Plan, where: str) -> None:
    if plan.shadow.least_requests < 0:
        raise _bounds(where, "shadow.least_requests", plan.shadow.least_requests, "0 or more")
    if not 0 <= plan.shadow.most_failed <= 1:
        raise _bounds(where, "shadow.most_failed", plan.shadow.most_failed, "0 to 1")
    if not 0 <= plan.latency.share <= 0.1 or not 0 < plan.latency.days <= 7:
        raise _misfit(where, "latency slows at most a share of .1 of units, for at most 7 days")
    if not 0 <= plan.latency.dose_ms < 10_000:
        raise _bounds(where, "latency.dose_ms", plan.latency.dose_ms, "0 to 10,000")


def _check_flags(plan: Plan, where: str) -> None:
    """Flags are of surfaces of the plan, and not of slowed arms, whose places are on the platform's own line."""
    if plan.flags is msgspec.UNSET:
        return
    for surface, flag in plan.flags.items():
        if surface not in plan.surfaces:
            raise _misfit(where, f"flags.{surface} is no surface of the plan ({', '.join(plan.surfaces)})")
        if not 0 < len(flag) <= 256:
            raise _bounds(where, f"flags.{surface}", flag, "the key of a flag, of 1 to 256 letters")
    if not plan.flags:
        raise _misfit(where, "flags names no surface, expected SURFACE = a flag's key, or no such table")
    if plan.latency.share > 0:
        raise _misfit(where, "flags and latency are both set: who is slowed stands on the platform's own line")


def _check_metric(metric: Metric, name: str, where: str) -> None:
    for key, found, known in (
        ("role", metric.role, ROLES),
        ("kind", metric.kind, KINDS),
        ("direction", metric.direction, DIRECTIONS),
        ("unit", metric.unit, UNITS),
        ("spending", metric.spending, SPENDINGS),
    ):
        if found not in known:
            raise LaunchError(
                f"{where} sets {name}.{key} to {found!r}, expected one of {', '.join(known)}",
                code="launch-043",
                hint=did_you_mean(found, known),
            )
    if metric.role != "diagnostic" or metric.margin:
        _one_within(where, f"{name}.margin", metric.margin, 1.0)
    for key, found in (("window_days", metric.window_days), ("winsor_cap", metric.winsor_cap)):
        if not 0 <= found < float("inf"):
            raise _bounds(where, f"{name}.{key}", found, "0 or above")
    if not 1 <= metric.looks <= 1000:
        raise _bounds(where, f"{name}.looks", metric.looks, "1 to 1000")
    if not 0 <= metric.first_look_day < float("inf"):
        raise _bounds(where, f"{name}.first_look_day", metric.first_look_day, "0 or above")
    _check_kind(metric, name, where)


def _check_kind(metric: Metric, name: str, where: str) -> None:
    if (metric.kind == "ratio") != bool(metric.per):
        raise _misfit(
            where, f"{name} is of kind {metric.kind!r} with per = {metric.per!r}: a ratio, and only it, has one"
        )
    if (metric.kind == "quantile") != (metric.quantile != 0.0):
        raise _misfit(where, f"{name} is of kind {metric.kind!r} with quantile = {metric.quantile}")
    if metric.kind == "quantile":
        _one_within(where, f"{name}.quantile", metric.quantile, 1.0)
    if metric.kind in ("quantile", "binary") and metric.winsor_cap:
        raise _misfit(where, f"{name} is of kind {metric.kind!r} and has a winsor_cap, which would move it")
    if metric.kind == "quantile" and metric.covariates:
        raise _misfit(where, f"{name} is a quantile and has covariates, which are only known for means and ratios")
    own = {metric.column, metric.per} & set(metric.covariates)
    if own or len(set(metric.covariates)) < len(metric.covariates):
        raise _misfit(where, f"{name} has covariates {metric.covariates!r}: each once, and none the metric itself")


def _check_steps(steps: list[Step], where: str) -> None:
    last = 0.0
    for number, step in enumerate(steps, 1):
        if not 0 <= step.share <= 1:
            raise _bounds(where, f"steps[{number}].share", step.share, "0 to 1")
        if not 0 < step.hold_hours < float("inf"):
            raise _bounds(where, f"steps[{number}].hold_hours", step.hold_hours, "above 0")
        if step.share < last:
            raise _misfit(where, f"steps[{number}].share is {step.share} after {last}: a ramp only rises")
        last = step.share
    if not steps:
        raise _misfit(where, "steps is empty, expected at least one")


def _one_within(where: str, name: str, found: float, below: float) -> None:
    if not 0 < found < below:
        raise _bounds(where, name, found, f"between 0 and {below:g}, both excluded")


def _bounds(where: str, name: str, found: object, expected: str) -> LaunchError:
    return LaunchError(
        f"{where} sets {name} to {found!r}, expected {expected}", code="launch-043", hint="a share of 1 % is 0.01"
    )


def _misfit(where: str, what: str) -> LaunchError:
    return LaunchError(f"{where}: {what}", code="launch-044", hint="docs/guides/experiments.md shows a whole plan")
