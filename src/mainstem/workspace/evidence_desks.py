"""What each desk says when it has measured: its result as records of evidence, one for each thing a milestone can ask about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mainstem.base.evidence import Evidence
from mainstem.workspace.evidence_log import append_evidence

if TYPE_CHECKING:  # a desk's own modules: whoever measured has them, nobody else needs them here
    from mainstem.capacity.calibration import Calibration
    from mainstem.capacity.ledger import Ledger
    from mainstem.evaluate.risk import RiskAssessment
    from mainstem.parity.features.drill import Found
    from mainstem.workspace.capacity_told import Stacks
    from mainstem.workspace.feature_parity_results import StackVerdict, Verified
    from mainstem.workspace.layout import Workspace

OWN: Final = "unified"
"""The stack whose features every surface is served with."""
_MOVES: Final = frozenset(("verified", "correction", "receipt void", "withdrawn"))
"""Entries of the savings ledger after which another amount counts."""


def parity_measured(workspace: Workspace, verdict: Verified, *, whole: bool) -> tuple[Evidence, ...]:
    """``parity`` of each stack that was verified, of each surface, and of all: the share of cells equal in every bit.

    It is 0 where predictions, neighbours or slates differ: what is served is then not what was computed, whatever its features.

    Args:
        workspace: Whose.
        verdict: What ``mainstem parity verify`` found; its file is written already.
        whole: Whether every configuration was asked for.
    """
    sound = all(one.ok is not False for one in verdict.sections)
    shares = {one.stack: _share(one) for one in verdict.stacks}
    told = dict(shares)
    if OWN in shares:
        told |= dict.fromkeys(workspace.settings.served(), shares[OWN] if sound else 0.0)
    if whole:
        told[""] = min(shares.values(), default=0.0) if sound else 0.0
    at = datetime.fromtimestamp(verdict.made_at_ms / 1_000, UTC)
    sentences = {one.stack: one.sentence for one in verdict.stacks}
    records = [
        Evidence(
            kind="parity", about=about, value=share, at=at, source="mainstem parity verify",
            file="evidence/feature_parity.json", made=verdict.source == "made", note=sentences.get(about, verdict.sentence),
        )
        for about, share in told.items()
    ]  # fmt: skip
    return append_evidence(workspace, *records)


def _share(one: StackVerdict) -> float:
    """Cells equal in every bit; 0 where the rows themselves do not fit."""
    return one.match_ratio if one.passed or one.match_ratio < 1.0 else 0.0


def drill_measured(workspace: Workspace, found: Sequence[Found], *, whole: bool, at: datetime) -> tuple[Evidence, ...]:
    """``drill``: the share of planted faults that were found and named; of all, or of the one that was asked for."""
    right = sum(one.right for one in found)
    record = Evidence(
        kind="drill", about="" if whole else ", ".join(one.fault for one in found), value=right / max(len(found), 1), at=at,
        source="mainstem parity drill", file="evidence/feature_drill.json",
        note=f"{right} of {len(found)} planted faults found and named",
    )  # fmt: skip
    return append_evidence(workspace, record)


def risks_measured(workspace: Workspace, assessment: RiskAssessment) -> tuple[Evidence, ...]:
    """``responsible`` of each surface and of all, 1 when no risk is known not to be met; ``risk`` of each name, 1 when met."""
    unmet = [risk.name for risk in assessment.unmet()]
    met = sum(risk.state == "met" for risk in assessment.risks)
    note = f"{met} of {len(assessment.risks)} risks met" + (f"; not met: {', '.join(unmet)}" if unmet else "")
    told = [("responsible", about, not unmet, note) for about in ("", *workspace.settings.served())]
    told += [("risk", risk.name, risk.state == "met", f"{risk.state}: {risk.what}") for risk in assessment.risks]
    at = datetime.fromisoformat(assessment.made)
    records = [
        Evidence(
            kind=kind, about=about, value=float(value), at=at, source="mainstem responsible", file="evidence/risk.json",
            log=assessment.log, model=assessment.model, note=sentence,
        )
        for kind, about, value, sentence in told
    ]  # fmt: skip
    return append_evidence(workspace, *records)


def calibration_measured(workspace: Workspace, found: Calibration, file: Path, at: datetime) -> tuple[Evidence, ...]:
    """``calibration`` of each kind of work: the median error on the shapes that were held out."""
    records = [
        Evidence(
            kind="calibration", about=kind, value=one.error_p50, at=at, source="mainstem capacity calibrate",
            file=str(file.resolve()), note=f"{one.held_out} held-out shapes, P90 {one.error_p90:.1%}, expires {found.expires}",
        )
        for kind, one in found.fitted.items()
    ]  # fmt: skip
    return append_evidence(workspace, *records)


def stacks_measured(workspace: Workspace, found: Stacks, at: datetime) -> tuple[Evidence, ...]:
    """``calibration`` of the workspace's own stacks: the median error of what was told before they were measured."""
    record = Evidence(
        kind="calibration", about="stacks", value=found.median, at=at, source="mainstem capacity stacks",
        file="evidence/capacity_stacks.json", note=found.sentence,
    )  # fmt: skip
    return append_evidence(workspace, record)


def saving_measured(
    workspace: Workspace, ledger: Ledger, file: Path, claim: str, kind: str, at: datetime
) -> tuple[Evidence, ...]:
    """``capacity`` of a claim's surface: what is verified of it now, in the claim's unit; nothing for entries that move none.

    A claim's scope is ``feed/rank``: its surface comes first.
    """
    if kind not in _MOVES:
        return ()
    own = ledger.book.claims[claim]
    surface = own.scope.split("/")[0]
    same = [one for one in ledger.book.claims.values() if one.scope.split("/")[0] == surface and one.unit == own.unit]
    total = sum(one.verified for one in same)
    record = Evidence(
        kind="capacity", about=surface, value=total, at=at, source="mainstem capacity record", file=str(file.resolve()),
        file_bytes=file.stat().st_size, note=f"{total:g} {own.unit} verified of {surface}, after {kind} of {claim}",
    )  # fmt: skip
    return append_evidence(workspace, record)
