"""What the tables of sequences are to reach, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mainstem.bench.sequence_systems import CLOSED, CONTENT, ENCODER, INTEREST, UNIFIED
from mainstem.bench.tables import Table, Verdict, interval_text
from mainstem.evaluate.intervals import Interval

COLD_MARGIN: Final = 0.005
"""By how much nDCG@10 on cold targets may be below the better arm's."""
GAIN_SHARE: Final = 0.10
"""By how much of it the unified retrieval is to be above the better arm."""


@dataclass(frozen=True, slots=True)
class Target:
    """A system's figures at least, and its cost at most."""

    system: str
    at_least: dict[str, float]
    fit_cpu_s: float | None = None
    peak_mb: float | None = None


TARGETS: Final[dict[str, tuple[Target, ...]]] = {
    "ml-1m": (
        Target(CLOSED, {"hr@10": 0.277, "ndcg@10": 0.164}, fit_cpu_s=15.0, peak_mb=450.0),
        Target(ENCODER, {"hr@10": 0.300, "ndcg@10": 0.173}, fit_cpu_s=900.0),
        Target(UNIFIED, {"hr@10": 0.316, "ndcg@10": 0.186}, fit_cpu_s=3_600.0),
    ),
    "beauty": (Target(UNIFIED, {"hr@10": 0.0935, "ndcg@10": 0.0540}),),
    "toys": (Target(UNIFIED, {"hr@10": 0.1010, "ndcg@10": 0.0640}),),
}
PROVEN: Final = ("beauty", "toys")
"""Where the unified retrieval is to be better than both arms."""


def verdicts(
    table: Table, differences: Mapping[str, Interval | None], chosen: Mapping[str, float | None]
) -> tuple[Verdict, ...]:
    """Every target of the set, met or by how much not.

    Args:
        differences: By ``first - second, metric``.
        chosen: Each system's nDCG@10 on validation: the better arm is chosen by it, not by the test part.
    """
    told = [one for target in TARGETS.get(table.protocol, ()) for one in _of_target(table, target)]
    if table.protocol in PROVEN:
        told += _over_better_arm(table, differences, chosen)
    return tuple(told)


def _of_target(table: Table, target: Target) -> list[Verdict]:
    row = table.row(target.system)
    found = {} if row is None else row.figures | {"fit CPU-s": row.fit_cpu_s, "peak MB": row.peak_mb}
    limits = {"fit CPU-s": target.fit_cpu_s, "peak MB": target.peak_mb}
    told = [_limit(target.system, name, found.get(name), least, up=True) for name, least in target.at_least.items()]
    return told + [
        _limit(target.system, name, found.get(name), most, up=False)
        for name, most in limits.items()
        if most is not None
    ]


def _limit(system: str, name: str, found: float | None, limit: float, *, up: bool) -> Verdict:
    target = f"{system} {name} {'at least' if up else 'at most'} {limit:g}"
    if found is None:
        return Verdict(target, None, "no figure")
    digits = ".4f" if up else ",.1f"
    return Verdict(target, found >= limit if up else found <= limit, f"{found:{digits}} ({found - limit:+{digits}})")


def _over_better_arm(
    table: Table, differences: Mapping[str, Interval | None], chosen: Mapping[str, float | None]
) -> list[Verdict]:
    known = {arm: chosen[arm] for arm in (CONTENT, INTEREST) if chosen.get(arm) is not None}
    claim = "unified above the better arm"
    if len(known) < 2 or table.row(UNIFIED) is None:
        return [Verdict(claim, None, "an arm or the unified retrieval has no figure")]
    better = max(known, key=lambda arm: known[arm] or 0.0)
    pairs = {metric: differences.get(f"{UNIFIED} - {better}, {metric}") for metric in ("hr@10", "ndcg@10")}
    return [
        *(_surely_above(claim, better, metric, told) for metric, told in pairs.items()),
        *(_share_above(table, better, metric) for metric in pairs),
        _cold(better, differences.get(f"{UNIFIED} - {better}, ndcg@10 (cold)")),
    ]


def _surely_above(claim: str, better: str, metric: str, told: Interval | None) -> Verdict:
    met = None if told is None else told.low > 0
    return Verdict(f"{claim} ({better}, chosen on validation), {metric}, lower bound above 0", met, interval_text(told))


def _share_above(table: Table, better: str, metric: str) -> Verdict:
    unified, arm = table.row(UNIFIED), table.row(better)
    target = f"unified {metric} at least {GAIN_SHARE:.0%} above the {better}"
    if unified is None or arm is None or not arm.figures[metric]:
        return Verdict(target, None, "no figure")
    share = unified.figures[metric] / arm.figures[metric] - 1
    return Verdict(target, share >= GAIN_SHARE, f"{share:+.1%}")


def _cold(better: str, told: Interval | None) -> Verdict:
    target = f"unified nDCG@10 on cold targets not below the {better} by more than {COLD_MARGIN:g}"
    return Verdict(target, None if told is None else told.low > -COLD_MARGIN, interval_text(told))
