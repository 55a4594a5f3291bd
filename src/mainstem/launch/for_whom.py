"""For whom was it better or worse, and how long did they wait? What a daily look tells beside its verdict; it gates nothing.

Units are parted by the days in which they came and by how much they did before the launch; what they did also by whose items it was
done on, small creators' or large ones'. Intervals hold together over all
parts and metrics of one gate's look (Bonferroni); they are not made for peeking, and another look may say another thing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl

from mainstem.base.errors import LaunchError
from mainstem.launch.assignment import CONTROL, TREATMENT
from mainstem.launch.creators import by_creator
from mainstem.launch.exposure import Look
from mainstem.launch.metrics import Effect
from mainstem.launch.plan_file import Metric
from mainstem.launch.pulls import NOT_YET
from mainstem.launch.quantiles import Measurements, quantile_effects
from mainstem.launch.slices import COHORT, effects_in, units_by, with_cohort
from mainstem.launch.standing import SliceStanding, WaitStanding

FEWEST_IN_PART: Final = 100
"""Units that each arm of a part must have before anything is told of it."""
LEVEL: Final = 0.95
WAITS: Final = (0.5, 0.9, 0.99)
ACTIVITY: Final = "activity before"
CREATORS: Final = "creators"
_NAMES: Final = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


def slices_of(
    units: pl.DataFrame,
    metrics: Mapping[str, Metric],
    look: Look,
    before: str = "",
    sides: Mapping[str, pl.DataFrame] | None = None,
) -> tuple[SliceStanding, ...]:
    """Each metric's change in each part of the units and on each side of the creators, with intervals that hold together.

    Args:
        units: From ``exposure.triggered``, with covariates where there are some.
        metrics: By name; quantiles are left out.
        look: Whose start is the first day's.
        before: The column of use before the launch by which units are quartered; empty leaves that out.
        sides: From ``creators.sides_of``.
    """
    parts = list(_parts(with_cohort(units, look), before))
    parts += [(CREATORS, side, table) for side, table in (sides or {}).items()]
    large = [(by, name, table) for by, name, table in parts if _smaller(table) >= FEWEST_IN_PART]
    found = [(by, name, effects_in({name: table}, _asked(metrics, by))[0].get(name, {})) for by, name, table in large]
    tests = sum(len(effects) for _, _, effects in found)
    level = 1 - (1 - LEVEL) / max(tests, 1)
    told = {(by, name): effects for by, name, effects in found}
    return tuple(
        one
        for by, name, table in parts
        for one in _told(by, name, table, told.get((by, name), {}), _asked(metrics, by), level)
    )


def waits_of(rows: pl.DataFrame) -> tuple[WaitStanding, ...]:
    """The p50, p90 and p99 of ``latency_ms`` in both arms, users as clusters; empty while too few were measured.

    Args:
        rows: One row a request: ``unit``, ``arm``, ``latency_ms``.
    """
    try:
        old, new = (_measured(rows.filter(pl.col("arm") == arm)) for arm in (CONTROL, TREATMENT))
    except LaunchError as error:
        if error.code not in NOT_YET:
            raise
        return ()
    found = quantile_effects(old, new, WAITS, LEVEL)
    reached = (one for one in found if math.isfinite(one.difference.low) and math.isfinite(one.difference.high))
    return tuple(WaitStanding(one.quantile, one.control, one.treatment, one.difference) for one in reached)


def _asked(metrics: Mapping[str, Metric], by: str) -> dict[str, Metric]:
    return {name: one for name, one in metrics.items() if by != CREATORS or by_creator(one)}


def _parts(units: pl.DataFrame, before: str) -> Iterator[tuple[str, str, pl.DataFrame]]:
    yield from ((COHORT, name, table) for name, table in units_by(units, COHORT).items())
    if before in units.columns:
        # Equal use is cut by the unit's number, which knows nothing of the arm: quarters stay quarters.
        ranked = units.sort(before, "unit").with_columns((pl.int_range(pl.len()) * 4 // pl.len()).alias("_quarter"))
        quarters = ranked.partition_by("_quarter", as_dict=True)
        yield from ((ACTIVITY, _NAMES[key], quarters[(key,)]) for key in range(4) if (key,) in quarters)


def _told(
    by: str, name: str, table: pl.DataFrame, effects: Mapping[str, Effect], metrics: Mapping[str, Metric], level: float
) -> Iterator[SliceStanding]:
    units = table.height
    for metric, promised in metrics.items():
        if promised.kind == "quantile":
            continue
        found = effects[metric].relative_interval(level) if metric in effects else None
        ends = found is not None and math.isfinite(found.low) and math.isfinite(found.high)
        yield SliceStanding(by, name, metric, promised.direction, units, found if ends else None)


def _smaller(table: pl.DataFrame) -> int:
    return min(table.filter(pl.col("arm") == arm).height for arm in (CONTROL, TREATMENT))


def _measured(rows: pl.DataFrame) -> Measurements:
    return Measurements(rows["latency_ms"].to_numpy(), rows["unit"].to_numpy())
