"""The three stacks side by side on held-out days of one log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.data.log import Log, Split
from mainstem.evaluate.plan import SideBySidePlan
from mainstem.evaluate.results import SideBySide
from mainstem.evaluate.rows import ArmScores, LoggedRows, popularity, split_rows
from mainstem.evaluate.side_by_side import side_by_side
from mainstem.ranking.score_log import score_log
from mainstem.stacks.remote import RemoteStack
from mainstem.value.expression import Expression
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.programs import serving
from mainstem.workspace.replay import RemoteScores, replay_scores

Progress = Callable[[float, str], None]

CALIBRATED = ("content-first",)
"""Legacy stacks whose heads are probabilities (docs: the table of differences, row calibration)."""


def silent(share: float, what: str = "") -> None:
    """Progress for nobody."""


def compare_stacks(workspace: Workspace, seed: int | None = None, progress: Progress = silent) -> SideBySide:
    """What each stack is worth on the log's held-out days; written as evidence ``side_by_side``.

    The legacy programs are started, replayed and stopped; the unified stack is scored from its model folder.
    """
    log = open_log(workspace)
    parts = split(workspace, log)
    models = {name: workspace.legacy_model(name) for name in LEGACY}
    with serving(LEGACY, workspace.log, models, parts.validation_day) as running:
        legacy = replay_all({name: one.url for name, one in running.items()}, workspace, log, parts, progress)
    result = compare_scores(workspace, log, parts, legacy, seed)
    workspace.write_evidence("side_by_side", result)
    return result


def held_out(log: Log, parts: Split) -> pl.DataFrame:
    """The impressions of the validation day and the test days, in the log's order."""
    return log.impressions.filter(pl.col("day").is_in([parts.validation_day, *parts.test_days]))


def replay_all(
    urls: Mapping[str, str], workspace: Workspace, log: Log, parts: Split, progress: Progress = silent
) -> dict[str, RemoteScores]:
    """What each legacy program thinks of every held-out impression, all asked at the same time."""
    rows = held_out(log, parts)
    delay_ms = workspace.settings.training.feedback_delay_ms
    shares = dict.fromkeys(urls, 0.0)

    def ask(name: str) -> RemoteScores:
        def note(share: float) -> None:
            shares[name] = share
            progress(sum(shares.values()) / len(shares), "replaying the log through both legacy programs")

        with RemoteStack(name, urls[name], budget_s=30.0) as stack:
            return replay_scores(stack, rows, delay_ms, note)

    with ThreadPoolExecutor(len(urls)) as pool:
        return dict(zip(urls, pool.map(ask, urls), strict=True))


def compare_scores(
    workspace: Workspace, log: Log, parts: Split, legacy: Mapping[str, RemoteScores], seed: int | None = None
) -> SideBySide:
    """The comparison itself, from scores that are there."""
    rows = logged_rows(log, parts)
    judged = rows.validation | rows.test
    arms = {"unified": unified_arm(workspace, log, judged)}
    for name, scores in legacy.items():
        heads = {head: _spread(scores.heads[head], judged) for head in HEADS if head in scores.heads}
        arms[name] = ArmScores(_spread(scores.order, judged), heads, calibrated=name in CALIBRATED)
    seed = workspace.settings.seed if seed is None else seed
    return side_by_side(arms, rows, SideBySidePlan(seed=seed, public_log=_public_name(log)))


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


def unified_arm(workspace: Workspace, log: Log, judged: NDArray[np.bool_]) -> ArmScores:
    """The unified stack's predictions for every judged impression as of its time, and the value its surface gives them."""
    heads, predictions = score_log(
        workspace.unified_model,
        log,
        judged,
        tuple(workspace.settings.served()),
        workspace.settings.training.feedback_delay_ms,
    )
    columns = {head: predictions[:, at].astype(np.float64) for at, head in enumerate(heads)}
    order = np.zeros(len(predictions))
    surfaces = log.impressions["surface"].to_numpy()[judged]
    for name, surface in workspace.settings.served().items():
        here = surfaces == name
        expression = Expression(surface.value, heads, f"surfaces.{name}.value")
        order[here] = np.broadcast_to(
            expression.of({head: part[here] for head, part in columns.items()}), (here.sum(),)
        )
    known = {head: _spread(columns[head], judged) for head in HEADS if head in columns}
    return ArmScores(_spread(order, judged), known, calibrated=True)


def _known(frame: pl.DataFrame, head: str) -> bool:
    return head in frame.columns and frame[head].null_count() < frame.height


def _spread(scores: NDArray[np.floating], judged: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scores of the judged rows in an array over all rows; the others are never read."""
    out = np.full(len(judged), np.nan)
    out[judged] = scores
    return out
