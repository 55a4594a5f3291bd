"""Which units were really exposed, to what and since when? The table of units that a launch may be judged on.

Exposure is logged where the stacks part, so that units that could not tell the difference dilute nothing (triggered
analysis). What is wrong with a log is counted, and above a tolerance it makes the evidence invalid by name; nothing is
mended silently. Declared behaviour:

* the first exposure counts, repeated ones are counted and left out;
* a unit in two arms is in neither, and counted; a step past one half moves control units, so it is read from its own start;
* events before a unit's first exposure are not the launch's doing, and left out;
* a unit without events keeps its place with zeros;
* an event that came in after the look is late, and waits for the next one;
* an event from further in the future than clocks may differ is skewed, and left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from mainstem.base.errors import LaunchError, did_you_mean

MS_PER_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much of a log may be wrong before nothing is read from it.

    Attributes:
        skew_ms: How far clocks may be apart.
        crossed, unexposed, skewed, unreadable: Largest shares of exposed units in two arms, of events of units that were
            assigned but never exposed, of events from the future, and of exposures without unit, arm or time.
    """

    skew_ms: int = 60_000
    crossed: float = 0.001
    unexposed: float = 0.01
    skewed: float = 0.01
    unreadable: float = 0.001


@dataclass(frozen=True, slots=True)
class Look:
    """When the launch started and when it is looked at.

    Args:
        start_ms: Its start; exposures before it are of a wrong clock or another launch.
        at_ms: The look; what happened or came in later does not count yet.
        window_ms: How long after its first exposure a unit's events count; 0 is until the look.
    """

    start_ms: int
    at_ms: int
    window_ms: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """What was found in the logs, counted, and what makes the evidence invalid.

    Attributes:
        exposures, events: Rows that were read.
        units: Units that are judged.
        repeated: Exposures of a unit to the arm it was in already.
        crossed: Units in two arms, left out.
        unreadable: Exposures without unit, arm or time.
        early, ahead: Exposures from before the start, and from after the look.
        before: Events of exposed units before their first exposure.
        beyond: Events after a unit's window.
        late: Events that came in after the look.
        skewed: Events dated further in the future than clocks may differ.
        unexposed: Events of units that were assigned and never exposed.
        aside: Events of units that are not judged: in two arms, or with an exposure outside the look's time only.
        silent: Units without an event, kept with zeros.
        immature: Units whose window is not over yet, left out of a metric with a window.
        broken: Why nothing may be read from this; empty when all is well.
    """

    exposures: int
    events: int
    units: int
    repeated: int
    crossed: int
    unreadable: int
    early: int
    ahead: int
    before: int
    beyond: int
    late: int
    skewed: int
    unexposed: int
    aside: int
    silent: int
    immature: int
    broken: tuple[str, ...]


def triggered(
    exposures: pl.DataFrame,
    events: pl.DataFrame,
    columns: Sequence[str],
    look: Look,
    *,
    keep: Sequence[str] = (),
    tolerance: Tolerance | None = None,
) -> tuple[pl.DataFrame, Health]:
    """One row for each exposed unit: its arm, since when, and the sums of its events' columns.

    Args:
        exposures: ``unit``, ``arm``, ``time_ms``, and what ``keep`` names, such as the surface of the first exposure.
        events: ``unit``, ``time_ms``, the columns, and perhaps ``received_ms`` (when it came in).
        columns: What is added up.
        look: From when to when.
        keep: Columns of the first exposure that are kept beside the arm.
        tolerance: See there.

    Raises:
        LaunchError: A column is missing (``launch-050``), no exposure is left (``launch-051``), or an event holds a missing,
            NaN or infinite value (``launch-053``).
    """
    tolerance = tolerance or Tolerance()
    _need(exposures, ("unit", "arm", "time_ms", *keep), "exposures")
    _need(events, ("unit", "time_ms", *columns), "events")
    first, told = _first_exposures(exposures, look, keep)
    if look.window_ms:
        ripe = first["since_ms"] + look.window_ms <= look.at_ms
        told["immature"] = int((~ripe).sum())
        judged = first.filter(ripe)
    else:
        told["immature"], judged = 0, first
    known = exposures["unit"].drop_nulls().unique()
    kept, counted = _kept_events(events, judged, known, look, tolerance)
    _check_numbers(kept, columns)
    sums = kept.group_by("unit").agg(pl.col(name).cast(pl.Float64).sum() for name in columns)
    units = judged.join(sums, on="unit", how="left").with_columns(pl.col(name).fill_null(0.0) for name in columns)
    told |= counted | {"units": units.height, "silent": judged.height - sums.height}
    return units.sort("unit"), Health(**told, broken=_broken(told, tolerance))


def with_covariates(
    units: pl.DataFrame, before: pl.DataFrame, columns: Sequence[str], look: Look, *, missing: float | None = None
) -> pl.DataFrame:
    """The units with what was known of them before the start.

    Args:
        units: From ``triggered``.
        before: ``unit``, the columns, and ``measured_ms``: until when they were measured.
        columns: Which covariates.
        look: Whose start they must lie before.
        missing: The value of a unit without history; None refuses such a unit.

    Raises:
        LaunchError: A column is missing or a unit is there twice (``launch-050``), one was measured after the start, so that
            the launch may have moved it (``launch-052``), or a value is missing, NaN or infinite (``launch-053``).
    """
    _need(before, ("unit", "measured_ms", *columns), "covariates")
    if before["unit"].is_duplicated().any():
        raise LaunchError(
            "found a unit twice among the covariates, expected one row a unit",
            code="launch-050",
            hint="add them up first",
        )
    after = before.filter(pl.col("measured_ms").is_null() | (pl.col("measured_ms") > look.start_ms))
    if after.height:
        raise LaunchError(
            f"found {after.height} of {before.height} covariates measured after the start ({look.start_ms} ms), expected all "
            "before it",
            code="launch-052",
            hint="what the launch may have moved cannot explain it away: end the covariates' window at the start",
        )
    joined = units.join(before.select("unit", *columns), on="unit", how="left")
    if missing is not None:
        joined = joined.with_columns(pl.col(name).fill_null(missing) for name in columns)
    _check_numbers(joined, columns)
    return joined


def _first_exposures(exposures: pl.DataFrame, look: Look, keep: Sequence[str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The first exposure of each unit that is in one arm, and what was left out on the way."""
    whole = exposures.drop_nulls(["unit", "arm", "time_ms"])
    timely = whole.filter(pl.col("time_ms").is_between(look.start_ms, look.at_ms))
    early = whole.filter(pl.col("time_ms") < look.start_ms).height
    by_unit = (
        timely.sort("time_ms", maintain_order=True)
        .group_by("unit", maintain_order=True)
        .agg(
            pl.col("arm").first(),
            pl.col("time_ms").first().alias("since_ms"),
            *(pl.col(name).first() for name in keep),
            pl.col("arm").n_unique().alias("_arms"),
            pl.len().alias("_times"),
        )
    )
    one = by_unit.filter(pl.col("_arms") == 1)
    if not one.height:
        raise LaunchError(
            f"found no exposed unit among {exposures.height} exposures from {look.start_ms} to {look.at_ms} ms",
            code="launch-051",
            hint="log an exposure where the stacks part, with unit, arm and time_ms, in the look's time",
        )
    told = {
        "exposures": exposures.height,
        "unreadable": exposures.height - whole.height,
        "early": early,
        "ahead": whole.height - timely.height - early,
        "crossed": by_unit.height - one.height,
        "repeated": int((one["_times"] - 1).sum()),
    }
    return one.drop("_arms", "_times"), told


def _kept_events(
    events: pl.DataFrame, first: pl.DataFrame, known: pl.Series, look: Look, tolerance: Tolerance
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The events that count, and how many did not, and why; each event is counted once, by the first reason."""
    stamped = "received_ms" in events.columns
    clock = pl.col("received_ms") if stamped else pl.lit(look.at_ms)
    came = pl.col("received_ms") if stamped else pl.col("time_ms")
    why = (
        pl.when(pl.col("time_ms").is_null() | (pl.col("time_ms") > clock + tolerance.skew_ms))
        .then(pl.lit("skewed"))
        .when((came > look.at_ms) | (pl.col("time_ms") > look.at_ms))
        .then(pl.lit("late"))
        .when(pl.col("unit").is_null() | (~pl.col("_known") & (pl.col("time_ms") >= look.start_ms)))
        .then(pl.lit("unexposed"))
        .when(pl.col("since_ms").is_null())
        .then(pl.lit("aside"))
        .when(pl.col("time_ms") < pl.col("since_ms"))
        .then(pl.lit("before"))
        .when(pl.col("time_ms") >= pl.col("since_ms") + (look.window_ms or look.at_ms + 1))
        .then(pl.lit("beyond"))
        .otherwise(pl.lit("kept"))
    )
    marked = (
        events.with_columns(_known=pl.col("unit").is_in(known.implode()))
        .join(first.select("unit", "since_ms"), on="unit", how="left")
        .with_columns(_why=why)
    )
    counts = dict(marked["_why"].value_counts().iter_rows())
    told = {name: int(counts.get(name, 0)) for name in ("before", "beyond", "late", "skewed", "unexposed", "aside")}
    return marked.filter(pl.col("_why") == "kept"), told | {"events": events.height}


def _broken(told: dict[str, int], tolerance: Tolerance) -> tuple[str, ...]:
    units, events = told["units"] + told["crossed"], max(told["events"], 1)
    shares = {
        "crossed": (told["crossed"] / units, tolerance.crossed, "exposed units in two arms"),
        "unexposed": (told["unexposed"] / events, tolerance.unexposed, "events of units without an exposure"),
        "skewed": (told["skewed"] / events, tolerance.skewed, "events from the future"),
        "unreadable": (told["unreadable"] / max(told["exposures"], 1), tolerance.unreadable, "unreadable exposures"),
    }
    return tuple(
        f"{what}: {share:.3%}, at most {most:.3%} is tolerated" for share, most, what in shares.values() if share > most
    )


def _check_numbers(table: pl.DataFrame, columns: Sequence[str]) -> None:
    for name in columns:
        wrong = table.height - int(table[name].cast(pl.Float64).is_finite().fill_null(False).sum())
        if wrong:
            raise LaunchError(
                f"found {wrong} missing, NaN or infinite values of {name!r} in {table.height} rows, expected none",
                code="launch-053",
                hint="decide before the launch what a missing value means, and fill it; nothing is dropped silently",
            )


def _need(table: pl.DataFrame, columns: Sequence[str], what: str) -> None:
    for name in columns:
        if name not in table.columns:
            raise LaunchError(
                f"found no column {name!r} in the {what}", code="launch-050", hint=did_you_mean(name, table.columns)
            )
