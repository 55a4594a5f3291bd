"""Two versions of a workspace's model side by side on days that neither has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS
from mainstem.data.log import Log
from mainstem.ranking.model import load_model
from mainstem.ranking.score_log import score_moments
from mainstem.ranking.stability import Judged, Limits, Stability, stability
from mainstem.workspace.daily import learned_until
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log
from mainstem.workspace.registry import Version


@dataclass(frozen=True, slots=True)
class VersionsJudged:
    """Two versions and how they compare.

    Attributes:
        days: The days they are judged on.
        learned: Those of them that one of the versions has learned from: there it looks better than it is.
    """

    before: str
    after: str
    days: tuple[int, ...]
    learned: tuple[int, ...]
    found: Stability


def judge_versions(
    workspace: Workspace,
    before: str = "",
    after: str = "current",
    days: Sequence[int] = (),
    limits: Limits | None = None,
) -> VersionsJudged:
    """Whether a version is stable against another: calibration, normalised entropy and order on the same rows.

    Args:
        workspace: Whose log and versions.
        before: A version; the other one's parent, or the one trained before it, when empty.
        after: The version in question.
        days: Which days; every day that neither has learned from, else the log's last one.
        limits: From where on a change is unstable.

    Raises:
        ModelError: A version is not there (``model-050``), there is no other to compare with (``model-054``), or one was trained on
            other features (``model-001``).
        DataError: There is no log (``data-001``).
    """
    registry, log = workspace.models(), open_log(workspace)
    new = registry.get(after)
    old = registry.get(before) if before else _before(workspace, new)
    last = max(learned_until(log, one.about) for one in (old, new))
    chosen = tuple(days) or tuple(day for day in log.days if day > last) or (log.days[-1],)
    rows = log.impressions["day"].is_in(list(chosen)).to_numpy()
    said = []
    for one in (old, new):
        scored = score_moments(
            load_model(registry.path(one), feature_set(workspace)), log, rows, tuple(workspace.settings.served()),
            workspace.settings.training.feedback_delay_ms, None, attribute_tables(workspace),
        )  # fmt: skip
        said.append((scored.predictions[:, : len(HEADS)], scored.predictions[:, HEADS.index("long_view")]))
    found = stability(
        said[0][0], said[1][0], _judged(workspace, log, rows), (said[0][1], said[1][1]), limits, workspace.settings.seed
    )
    return VersionsJudged(old.id, new.id, chosen, tuple(day for day in chosen if day <= last), found)


def _before(workspace: Workspace, new: Version) -> Version:
    registry = workspace.models()
    held = {one.id: one for one in registry.versions()}
    parents = [one for one in new.parents if one in held]
    earlier = [one.id for one in held.values() if one.number < new.number]
    if not parents and not earlier:
        raise ModelError(
            f"version {new.id} is the only one, expected one before it to compare with",
            code="model-054",
            hint="mainstem train makes another",
        )
    return held[(parents or earlier)[-1]]


def _judged(workspace: Workspace, log: Log, rows: np.ndarray) -> Judged:
    frame, surfaces = log.impressions.filter(pl.Series(rows)), tuple(workspace.settings.served())
    codes = {name: code for code, name in enumerate(surfaces)}
    outcomes = [frame[head].fill_null(-1).to_numpy().astype(np.int8) for head in HEADS]
    user, day = frame["user_id"].to_numpy(), frame["day"].to_numpy()
    # A logged request holds about one item, so what is ordered against each other is a user's day.
    _, group = np.unique(np.stack([user, day.astype(np.int64)], axis=1), axis=0, return_inverse=True)
    return Judged(
        heads=HEADS,
        surfaces=surfaces,
        outcomes=np.stack(outcomes, axis=1),
        surface=frame["surface"].replace_strict(codes, default=-1, return_dtype=pl.Int8).fill_null(-1).to_numpy(),
        user=user,
        day=day,
        group=group.ravel().astype(np.int64),
    )
