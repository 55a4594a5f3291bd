"""The three stacks side by side on held-out days of one log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.data.log import Log, Split
from mainstem.evaluate.plan import SideBySidePlan
from mainstem.evaluate.results import SideBySide
from mainstem.evaluate.rows import ArmScores, LoggedRows, popularity, split_rows
from mainstem.evaluate.side_by_side import side_by_side
from mainstem.ranking.model import load_model
from mainstem.ranking.score_log import score_moments, until_yesterday
from mainstem.stacks.remote import RemoteStack
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.programs import serving
from mainstem.workspace.replay import RemoteScores, replay_scores

Progress = Callable[[float, str], None]

CALIBRATED = ("content-first",)
"""Legacy stacks whose heads are probabilities (docs: the table of differences, row calibration)."""


def silent(share: float, what: str = "") -> None:
    """Progress for nobody."""


Regime = Literal["frozen", "daily", "continuous"]
"""What a stack knows when it scores a held-out impression: ``frozen``, nothing that happened after training; ``daily``, what
happened before its own day; ``continuous``, every outcome up to a minute ago. Only the frozen one is a fair test of an order
across a user's requests: within a window whose total is fixed, an order that merely counts a user's luck so far scores high on
GAUC (docs/concepts/side-by-side.md)."""

SCORE: Final[dict[Regime, Literal["head", "order"]]] = {"frozen": "head", "daily": "order", "continuous": "order"}
"""What the unified stack orders a user's requests by: its long-view head, or that and what it learned of moments."""

REGIMES: Final[tuple[Regime, ...]] = ("frozen", "continuous")
"""The regimes that are compared unless others are asked for."""


def compare_stacks(
    workspace: Workspace, seed: int | None = None, progress: Progress = silent
) -> dict[Regime, SideBySide]:
    """What each stack is worth on the log's held-out days, in both regimes; written as evidence.

    The legacy programs are started, replayed and stopped; the unified stack is scored from its model folder.
    """
    log = open_log(workspace)
    parts = split(workspace, log)
    models = {name: workspace.legacy_model(name) for name in LEGACY}
    with serving(LEGACY, workspace.log, models, parts.validation_day) as running:
        urls = {name: one.url for name, one in running.items()}
        return compare_running(workspace, log, parts, urls, seed, progress)


def compare_running(
    workspace: Workspace,
    log: Log,
    parts: Split,
    urls: Mapping[str, str],
    seed: int | None = None,
    progress: Progress = silent,
    regimes: Sequence[Regime] = REGIMES,
) -> dict[Regime, SideBySide]:
    """The same with legacy programs that already run, their state at the validation day."""
    results: dict[Regime, SideBySide] = {}
    for at, regime in enumerate(regimes):
        legacy = replay_all(
            urls, workspace, log, parts, regime, lambda share, what, at=at: progress((at + share) / len(regimes), what)
        )
        results[regime] = compare_scores(workspace, log, parts, legacy, regime, seed)
        workspace.write_evidence(f"side_by_side_{regime}", results[regime])
    return results


def held_out(log: Log, parts: Split) -> pl.DataFrame:
    """The impressions of the validation day and the test days, in the log's order."""
    return log.impressions.filter(pl.col("day").is_in([parts.validation_day, *parts.test_days]))


def replay_all(
    urls: Mapping[str, str], workspace: Workspace, log: Log, parts: Split, regime: Regime, progress: Progress = silent
) -> dict[str, RemoteScores]:
    """What each legacy program thinks of every held-out impression, all asked at the same time."""
    rows = held_out(log, parts)
    delay_ms = None if regime == "frozen" else workspace.settings.training.feedback_delay_ms
    shares = dict.fromkeys(urls, 0.0)

    def ask(name: str) -> RemoteScores:
        def note(share: float) -> None:
            shares[name] = share
            progress(sum(shares.values()) / len(shares), f"{regime}: replaying through both legacy programs")

        with RemoteStack(name, urls[name], budget_s=30.0) as stack:
            return replay_scores(stack, rows, delay_ms, note, by_night=regime == "daily")

    with ThreadPoolExecutor(len(urls)) as pool:
        return dict(zip(urls, pool.map(ask, urls), strict=True))


def compare_scores(
    workspace: Workspace,
    log: Log,
    parts: Split,
    legacy: Mapping[str, RemoteScores],
    regime: Regime,
    seed: int | None = None,
) -> SideBySide:
    """The comparison itself, from scores that are there."""
    rows = logged_rows(log, parts)
    judged = rows.validation | rows.test
    arms = {"unified": unified_arm(workspace, log, parts, judged, regime)}
    for name, scores in legacy.items():
        heads = {head: _spread(scores.heads[head], judged) for head in HEADS if head in scores.heads}
        arms[name] = ArmScores(_spread(scores.order, judged), heads, calibrated=name in CALIBRATED)
    seed = workspace.settings.seed if seed is None else seed
    return side_by_side(arms, rows, SideBySidePlan(seed=seed, score=SCORE[regime], public_log=_public_name(log)))


def _public_name(log: Log) -> Literal["kuairand_pure"] | None:
    """Which public table's figures may stand beside this log's."""
    return "kuairand_pure" if log.manifest.loader == "kuairand" else None


def logged_rows(log: Log, parts: Split) -> LoggedRows:
    """The log as the comparison reads it: all impressions, with masks of the three parts."""
    frame = log.impressions
    day = frame["day"].to_numpy()
    rows = split_rows(
        users=frame["user_id"].to_numpy(),
        items=frame["item_id"].to_numpy(),
        surfaces=frame["surface"].to_numpy(),
        days=day,
        labels={
            head: frame[head].cast(pl.Float64).fill_null(np.nan).to_numpy() for head in HEADS if _known(frame, head)
        },
        train=day < parts.validation_day,
        validation=day == parts.validation_day,
        test=np.isin(day, parts.test_days),
    )
    return replace(rows, popularity=_popularity(log, day < parts.validation_day)) if log.history.height else rows


def _popularity(log: Log, train: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The popularity baseline with the log's history counted too: the stronger one."""
    columns = [pl.col("item_id"), pl.col("long_view").cast(pl.Float64).fill_null(np.nan)]
    both = pl.concat([log.impressions.select(columns), log.history.select(columns)])
    known = np.concatenate([train, np.ones(log.history.height, bool)])
    return popularity(both["item_id"].to_numpy(), both["long_view"].to_numpy(), known)[: log.impressions.height]


def unified_arm(workspace: Workspace, log: Log, parts: Split, judged: NDArray[np.bool_], regime: Regime) -> ArmScores:
    """The unified model's predictions for every judged impression, and its order across a user's requests."""
    frame = log.impressions
    scored = score_moments(
        load_model(workspace.unified_model, feature_set(workspace)),
        log,
        judged,
        tuple(workspace.settings.served()),
        workspace.settings.training.feedback_delay_ms,
        known_until(frame, judged, parts.validation_day, regime),
        attribute_tables(workspace),
    )
    heads = {head: _spread(scored.predictions[:, at], judged) for at, head in enumerate(scored.heads) if head in HEADS}
    known = {head: score for head, score in heads.items() if _known(frame, head)}
    return ArmScores(_spread(scored.order, judged), known, calibrated=True)


def known_until(
    impressions: pl.DataFrame, judged: NDArray[np.bool_], validation_day: int, regime: Regime
) -> int | NDArray[np.int64] | None:
    """Up to which time events are known when judged impressions are scored; None: up to each one's own time.

    Args:
        impressions: All of the log.
        judged: Which are scored.
        validation_day: The first day that the model was not learned from.
        regime: What is known.
    """
    if regime == "continuous":
        return None
    days, times = impressions["day"].to_numpy(), impressions["time_ms"].to_numpy()
    if regime == "daily":
        return until_yesterday(days, times, judged)
    return int(times[days < validation_day].max(initial=0))


def _known(frame: pl.DataFrame, head: str) -> bool:
    return head in frame.columns and frame[head].null_count() < frame.height


def _spread(scores: NDArray[np.floating], judged: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scores of the judged rows in an array over all rows; the others are never read."""
    out = np.full(len(judged), np.nan)
    out[judged] = scores
    return out
