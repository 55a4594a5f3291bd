"""What the tables of ranking are to reach, what others printed, and whether the targets are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.bench.ranking_figures import AVERAGE, Figures
from mainstem.bench.ranking_log import Regime
from mainstem.bench.ranking_worker import ARMS, UNIFIED
from mainstem.bench.tables import Row, Table, Verdict, interval_text

AT_LEAST: Final[dict[str, dict[Regime, float]]] = {
    "kuairand-official": {"frozen": 0.5990, "daily": 0.6115, "continuous": 0.6150}
}
AHEAD_OF: Final = ("factorisation machine", "LightGBM LambdaRank", "torch-rechub DeepFM", "torch-rechub PLE")
FIT_CPU_S: Final = 600.0
SLICE_MARGIN: Final = 0.005
HEAD_MARGIN: Final = 0.002

_TEAM = "TechJam 2026 track 2, a team's own report, not audited"
PUBLISHED: Final[dict[str, dict[Regime, list[Row]]]] = {
    "kuairand-official": {
        "frozen": [
            Row("random order", "published", {"primary": 0.4753}, note="the organisers"),
            Row("item popularity", "published", {"primary": 0.5715}, note=_TEAM),
            Row(
                "factorisation machine (organisers)",
                "published",
                {"primary": 0.5946, "gauc": 0.6610, "ndcg@5": 0.5282},
                note="the organisers, 5 seeds, sd .0008",
            ),
            Row("best frozen report", "published", {"primary": 0.5979}, note=_TEAM),
        ],
        "daily": [Row("best daily report", "published", {"primary": 0.6106}, note=_TEAM)],
        "continuous": [
            Row("LightGBM LambdaRank with past-only aggregates", "published", {"primary": 0.6120}, note=_TEAM),
            Row("best report", "published", {"primary": 0.6143, "gauc": 0.6857, "ndcg@5": 0.5429}, note=_TEAM),
        ],
    }
}


def verdicts(
    table: Table,
    told: Figures,
    regime: Regime,
    slices: Mapping[str, NDArray[np.bool_]],
    heads: Mapping[str, Mapping[str, float]],
) -> Table:
    """The table with its footer: every target under this regime, met or by how much not.

    Args:
        slices: Names of the slices whose nDCG@5 the figures hold.
        heads: AUC of heads by system, where it is known.
    """
    found = [*_least(table, regime), *_cost(table)]
    if told.has(UNIFIED):
        found += [_ahead(told, name) for name in AHEAD_OF]
        found += _over_arms(told)
        if regime == "frozen":
            found += [*_slices(told, slices), *_heads(heads)]
    return replace(table, verdicts=tuple(found))


def _least(table: Table, regime: Regime) -> list[Verdict]:
    least = AT_LEAST.get(table.protocol, {}).get(regime)
    row = table.row(UNIFIED)
    if least is None:
        return []
    target = f"{UNIFIED}, {regime}: primary at least {least:.4f}"
    if row is None:
        return [Verdict(target, None, "no figure")]
    reached = row.figures["primary"]
    return [Verdict(target, reached >= least, f"{reached:.4f} ({reached - least:+.4f})")]


def _cost(table: Table) -> list[Verdict]:
    row = table.row(UNIFIED)
    if row is None or row.fit_cpu_s is None:
        return []
    target = f"{UNIFIED}: at most {FIT_CPU_S:.0f} CPU-s a seed"
    return [Verdict(target, row.fit_cpu_s <= FIT_CPU_S, f"{row.fit_cpu_s:.0f}")]


def _ahead(told: Figures, name: str) -> Verdict:
    target = f"{UNIFIED} ahead of {name}, primary, lower bound above 0"
    if not told.has(name):
        return Verdict(target, None, f"{name} was not measured")
    between = told.difference(UNIFIED, name)
    return Verdict(target, None if between is None else between.low > 0, interval_text(between))


def _over_arms(told: Figures) -> list[Verdict]:
    better = better_arm(told)
    if better is None:
        return [Verdict(f"{UNIFIED} above the better arm", None, "an arm was not measured in this regime")]
    chosen = {f"the better arm ({better}, chosen on validation)": better, "the rank average of the arms": AVERAGE}
    out = []
    for label, name in chosen.items():
        between = told.difference(UNIFIED, name)
        met = None if between is None else between.low > 0
        out.append(Verdict(f"{UNIFIED} above {label}, primary, lower bound above 0", met, interval_text(between)))
    return out


def better_arm(told: Figures) -> str | None:
    """Which legacy arm is better on validation; None when one was not measured."""
    if not all(told.has(arm) for arm in ARMS):
        return None
    return max(ARMS, key=lambda arm: told.validation[arm])


def _slices(told: Figures, slices: Mapping[str, Any]) -> list[Verdict]:
    better = better_arm(told)
    if better is None:
        return []
    out = []
    for within in slices:
        between = told.difference(UNIFIED, better, within)
        target = f"{UNIFIED} nDCG@5 on {within} not below {better} by more than {SLICE_MARGIN:g} (lower bound)"
        out.append(Verdict(target, None if between is None else between.low > -SLICE_MARGIN, interval_text(between)))
    return out


def _heads(heads: Mapping[str, Mapping[str, float]]) -> list[Verdict]:
    """Each head against the arm that is better at it: an arm that predicts no heads is no opponent there."""
    arms = [heads[arm] for arm in ARMS if arm in heads]
    if not arms or UNIFIED not in heads:
        return []
    gaps = {head: value - max(one.get(head, 0.0) for one in arms) for head, value in heads[UNIFIED].items()}
    worst = min(gaps, key=lambda head: gaps[head])
    target = f"no head's AUC of {UNIFIED} below the better arm's at it by more than {HEAD_MARGIN:g} (measured)"
    return [Verdict(target, gaps[worst] >= -HEAD_MARGIN, f"least: {worst} {gaps[worst]:+.4f}")]
