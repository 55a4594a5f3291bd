"""For whom the stacks work, who gets shown, and a risk assessment of it all: one evaluation of the held-out days."""

from __future__ import annotations

import datetime as dt
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.data.log import Log, Split
from mainstem.evaluate.arms import POPULARITY, take
from mainstem.evaluate.canaries import Canary
from mainstem.evaluate.exposure import TOP
from mainstem.evaluate.risk import FORMAT, Risk, RiskAssessment
from mainstem.evaluate.rows import ArmScores, LoggedRows
from mainstem.evaluate.slices import Judging, SliceCell, slice_cells
from mainstem.workspace.canaries import run_canaries
from mainstem.workspace.compare import CALIBRATED, Progress, logged_rows, replay_all, silent, unified_arm
from mainstem.workspace.evidence_desks import risks_measured
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.programs import serving
from mainstem.workspace.responsible_floor import Choices, FloorPrice, floor_prices, side_by_side
from mainstem.workspace.responsible_risks import risks_of
from mainstem.workspace.responsible_rows import ExposureRow, RowFacts, column_of, exposure_row, row_facts, slicings

HEADS_TOLD: Final = ("long_view", "click", "like", "hate")


@dataclass(frozen=True, slots=True)
class Responsible:
    """All that was measured, and the assessment that was written."""

    assessment: RiskAssessment
    slices: tuple[SliceCell, ...]
    exposure: tuple[ExposureRow, ...]
    canaries: tuple[Canary, ...]
    floors: tuple[FloorPrice, ...]
    notes: tuple[str, ...]
    cpu_s: float
    peak_mb: float


def assess(
    workspace: Workspace,
    by: Sequence[str] = (),
    *,
    seed: int | None = None,
    legacy: bool = True,
    canaries: bool = True,
    progress: Progress = silent,
) -> Responsible:
    """Measures slices, exposure and leaks of the frozen stacks on the test days; writes ``risk`` and ``responsible``.

    Args:
        workspace: With a log and trained models.
        by: Further columns of the log, its items or its users to slice by, such as ``category``.
        seed: Of the resampling and the canaries; None takes the workspace's.
        legacy: Whether the legacy programs are started and asked; without artefacts they are left out.
        canaries: Whether the leakage canaries run; without them these risks are not measured.
        progress: Told the share that is done.

    Raises:
        EvidenceError: A column is not there (``evidence-014``), or the test days hold no outcome (``evidence-015``).
    """
    began = time.process_time()
    seed = workspace.settings.seed if seed is None else seed
    log = open_log(workspace)
    parts = split(workspace, log)
    columns = {name: column_of(log, name) for name in by}
    rows = logged_rows(log, parts)
    arms = _arms(workspace, log, parts, rows, legacy=legacy, progress=progress)
    test = np.flatnonzero(rows.test)
    facts = row_facts(log, rows)
    heads = tuple(head for head in HEADS_TOLD if head in rows.labels)
    judging = Judging(
        rows.users[test], {head: rows.labels[head][test] for head in heads}, {n: take(a, test) for n, a in arms.items()}
    )
    progress(0.6, "slices")
    cells = slice_cells(judging, slicings(log, rows, facts, columns, test), heads, seed=seed)
    progress(0.7, "exposure")
    exposure = tuple(exposure_row(name, arm, judging, facts, test, seed) for name, arm in judging.arms.items())
    floors = floor_prices(_choices(judging, facts, test), seed=seed)
    birds = run_canaries(workspace, seed, progress=lambda s, w="": progress(0.75 + s / 4, w)) if canaries else ()
    assessment = _assessment(workspace, log, rows, len(test), risks_of(cells, exposure, birds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = Responsible(
        assessment,
        cells,
        exposure,
        birds,
        floors,
        _notes(log, facts, exposure[0].users),
        time.process_time() - began,
        peak,
    )
    workspace.write_evidence("risk", assessment)
    workspace.write_evidence("responsible", found)
    risks_measured(workspace, assessment)
    return found


def _assessment(
    workspace: Workspace, log: Log, rows: LoggedRows, tested: int, risks: tuple[Risk, ...]
) -> RiskAssessment:
    """The risks with what they are of: log, split, model, version and time."""
    return RiskAssessment(
        format=FORMAT,
        made=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        version=version("mainstem"),
        log=log.manifest.sha256,
        split=rows.split_hash,
        model=workspace.models().current,
        rows=tested,
        risks=risks,
    )


def _arms(
    workspace: Workspace, log: Log, parts: Split, rows: LoggedRows, *, legacy: bool, progress: Progress
) -> dict[str, ArmScores]:
    """The unified stack, the legacy ones that have artefacts, and popularity; all frozen when the test days begin."""
    judged = rows.validation | rows.test
    progress(0.0, "the unified stack")
    arms = {"unified": unified_arm(workspace, log, parts, judged, "frozen")}
    there = tuple(name for name in LEGACY if legacy and workspace.legacy_model(name).is_dir())
    if there:
        with serving(
            there, workspace.log, {name: workspace.legacy_model(name) for name in there}, parts.validation_day
        ) as up:
            urls = {name: one.url for name, one in up.items()}
            told = replay_all(urls, workspace, log, parts, "frozen", lambda s, w="": progress(0.1 + s / 2, w))
        for name, scores in told.items():
            heads = {head: _spread(scores.heads[head], judged) for head in HEADS if head in scores.heads}
            arms[name] = ArmScores(_spread(scores.order, judged), heads, calibrated=name in CALIBRATED)
    return arms | {POPULARITY: ArmScores(order=rows.popularity)}


def _choices(judging: Judging, facts: RowFacts, test: NDArray[np.int64]) -> Choices:
    """Each viewer's rows, worth what the unified stack expects of their long view."""
    values = judging.arms["unified"].score("long_view")
    happened = (np.asarray(judging.labels["long_view"], np.float64) > 0).astype(np.float64)
    return side_by_side(judging.users, values, facts.small[test], happened)


def _spread(scores: NDArray[np.floating], judged: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scores of the judged rows in an array over all rows; the others are never read."""
    out = np.full(len(judged), np.nan)
    out[judged] = scores
    return out


def _notes(log: Log, facts: RowFacts, users: int) -> tuple[str, ...]:
    kind = "a made world" if log.manifest.made else log.manifest.name
    return (
        f"{kind}, held-out days, every stack frozen when they begin; exposure is of the top {TOP} of each viewer's logged "
        f"rows, {users:,} viewers with more than that, against a random choice of the same rows",
        f"a small creator has fewer than {facts.small_below:g} impressions in training, the median of the creators shown",
    )
