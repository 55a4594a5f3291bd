"""Leakage canaries on the workspace's own log and model, beside cheats on purpose that each must catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import EvidenceError
from mainstem.base.heads import HEADS
from mainstem.base.seeds import uniforms
from mainstem.data.log import Log, Split
from mainstem.evaluate.canaries import Canary, future_row, label_permutation, shuffled_timing
from mainstem.workspace.compare import Progress, Regime, silent, unified_arm
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split

USERS: Final = 2_000
"""About how many users are judged; the state of all others still goes on with the log."""
LABEL: Final = "long_view"
CHEAT: Final = "an item's rate over the whole period"


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows the canaries are let loose on.

    Shapes: ``mask[n]`` over the log, the rest ``[rows]``.
    """

    log: Log
    parts: Split
    mask: NDArray[np.bool_]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.int64]
    labels: NDArray[np.float64]


def run_canaries(
    workspace: Workspace, seed: int | None = None, users: int = USERS, progress: Progress = silent
) -> tuple[Canary, ...]:
    """Every canary on the unified model and on a cheat: the model must be clean, and each cheat caught.

    Args:
        workspace: With a log and a trained model.
        seed: Which users, and every permutation.
        users: About how many are judged.
        progress: Told the share that is done.

    Raises:
        EvidenceError: The log's test days hold no outcome (``evidence-015``).
    """
    log = open_log(workspace)
    parts = split(workspace, log)
    seed = workspace.settings.seed if seed is None else seed
    judged = _judged(log, parts, users, seed)

    def scores(of: Log, regime: Regime, share: float) -> NDArray[np.float64]:
        progress(share, f"scoring {len(judged.labels):,} rows, {regime}")
        return np.asarray(unified_arm(workspace, of, parts, judged.mask, regime).order[judged.mask], np.float64)

    blind, timely = scores(log, "frozen", 0.0), scores(log, "continuous", 0.25)
    dealt = scores(with_outcomes_dealt(log, parts, seed), "continuous", 0.5)
    cut = int(np.median(judged.times))
    planted = scores(with_future_changed(log, cut), "continuous", 0.75)
    rate, rate_planted = (whole_period_rate(one, judged.items) for one in (log, with_future_changed(log, cut)))
    told, rows = judged.labels, judged.users
    return (
        shuffled_timing("the unified model", rows, told, blind, timely, dealt, seed=seed),
        shuffled_timing(CHEAT, rows, told, blind * 0, rate, rate, seed=seed, expected_clean=False),
        label_permutation("the unified model", rows, told, lambda _: blind, seed=seed),
        label_permutation("the label itself", rows, told, lambda label: label, seed=seed, expected_clean=False),
        future_row("the unified model", judged.times, cut, _either(timely, planted)),
        future_row(CHEAT, judged.times, cut, _either(rate, rate_planted), expected_clean=False),
    )


def with_outcomes_dealt(log: Log, parts: Split, seed: int) -> Log:
    """The log with what came of the held-out days' impressions dealt to other impressions of these days."""
    frame = log.impressions
    late = np.flatnonzero(frame["day"].to_numpy() >= parts.validation_day)
    order = np.arange(frame.height)
    order[late] = np.random.default_rng(seed).permutation(late)
    outcomes = [*HEADS, "watch_ms"]
    return with_impressions(log, frame.with_columns(frame.select(outcomes)[order]))


def with_future_changed(log: Log, cut: int) -> Log:
    """The log with every outcome after a time turned round: what did not happen did, and the other way."""
    later = pl.col("time_ms") > cut
    turned = [pl.when(later).then(1 - pl.col(head)).otherwise(pl.col(head)).cast(pl.Int8).alias(head) for head in HEADS]
    watched = pl.when(later).then(pl.col("watch_ms") + 60_000).otherwise(pl.col("watch_ms")).alias("watch_ms")
    return with_impressions(log, log.impressions.with_columns(*turned, watched))


def with_impressions(log: Log, impressions: pl.DataFrame) -> Log:
    """The same log with other impressions; nothing is written."""
    other = Log(log.folder, log.manifest)
    # A table of a log is a cached property: what lies in the cache already is not read from the folder.
    other.__dict__.update({"impressions": impressions, "items": log.items, "users": log.users, "history": log.history})
    return other


def whole_period_rate(log: Log, items: NDArray[np.int64]) -> NDArray[np.float64]:
    """A leak on purpose: each item's share of long views over all days, those that are judged among them."""
    rates = log.impressions.group_by("item_id").agg(pl.col(LABEL).cast(pl.Float64).mean().alias("rate"))
    asked = pl.DataFrame({"item_id": items})
    return asked.join(rates, on="item_id", how="left", maintain_order="left")["rate"].fill_null(0.0).to_numpy()


def _judged(log: Log, parts: Split, users: int, seed: int) -> Judged:
    frame = log.impressions
    label = frame[LABEL].cast(pl.Float64).fill_null(-1).to_numpy()
    user = frame["user_id"].to_numpy()
    mask = np.isin(frame["day"].to_numpy(), parts.test_days) & (label >= 0)
    share = users / max(1, len(np.unique(user[mask])))
    mask &= uniforms(seed, user) < share
    if not mask.any():
        raise EvidenceError(
            f"no row of the test days tells {LABEL!r}",
            code="evidence-015",
            hint="mainstem data check PATH shows outcomes",
        )
    item, time_ms = (frame[name].to_numpy()[mask] for name in ("item_id", "time_ms"))
    return Judged(log, parts, mask, user[mask], item, time_ms, label[mask])


def _either(plain: NDArray[Any], planted: NDArray[Any]) -> Callable[[bool], NDArray[Any]]:
    return lambda changed: planted if changed else plain
