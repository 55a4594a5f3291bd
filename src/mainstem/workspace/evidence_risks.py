"""Which named risks stand in the way of a launch, by the assessment that was recorded of this log and the model that serves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from mainstem.base.errors import EvidenceError, MainstemError, did_you_mean
from mainstem.base.evidence import hash_of
from mainstem.data.manifest import read_manifest
from mainstem.evaluate.risk import MOST_AGE_DAYS, Risk, RiskAssessment, read_risks
from mainstem.workspace.evidence_log import held_evidence
from mainstem.workspace.layout import Workspace


@dataclass(frozen=True, slots=True)
class UnmetRisk:
    """A risk that a launch must not move past, and why, as a sentence that needs no other."""

    name: str
    why: str


def assessed_risks(
    workspace: Workspace, *, most_age_days: float = MOST_AGE_DAYS, now: dt.datetime | None = None
) -> RiskAssessment:
    """The risk assessment of this log and of the model that serves: young, and as it was written.

    Args:
        workspace: Whose.
        most_age_days: Older ones are refused.
        now: The time; None is the system's.

    Raises:
        EvidenceError: There is none (``evidence-010``), it is none (``evidence-011``), too old or of another log or model
            (``evidence-012``), it is not what was recorded when it was made (``evidence-025``), or the records were tampered
            with (``evidence-020``, ``evidence-021``).
        DataError: The log's manifest is not there or cannot be read (``data-001``, ``data-002``).
    """
    file = workspace.evidence("risk")
    log, model = read_manifest(workspace.log).sha256, workspace.models().current
    found = read_risks(file, log=log, model=model, most_age_days=most_age_days, now=now)
    records = [one for one in held_evidence(workspace).records if one.kind == "responsible" and one.sha256]
    if not records or records[-1].sha256 != hash_of(file):
        why = f"changed since {records[-1].id} was recorded" if records else "is in no record"
        raise EvidenceError(f"{file.name} {why}", code="evidence-025", hint="mainstem responsible makes it again")
    return found


def unmet_risks(
    workspace: Workspace,
    names: Iterable[str],
    *,
    most_age_days: float = MOST_AGE_DAYS,
    now: dt.datetime | None = None,
) -> tuple[UnmetRisk, ...]:
    """The named risks that block a launch; all of them when there is no assessment to go by. It never raises for what it finds.

    A risk blocks that is not met, was not measured, or was not assessed, and so does each one when the assessment is missing, too
    old, of another log or model, or not as it was recorded.

    Args:
        workspace: Whose.
        names: What the launch's plan asks for, such as ``risks = ["calibration", "hides"]``.
        most_age_days: Older assessments count for nothing.
        now: The time; None is the system's.
    """
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        return ()
    try:
        found = assessed_risks(workspace, most_age_days=most_age_days, now=now)
    except MainstemError as error:
        return tuple(UnmetRisk(name, f"{name}: {error.message} ({error.code})") for name in wanted)
    known = {risk.name: risk for risk in found.risks}
    told = ((name, _why(known[name]) if name in known else _unknown(name, known)) for name in wanted)
    return tuple(UnmetRisk(name, f"{name}: {why}") for name, why in told if why)


def _why(risk: Risk) -> str:
    """Why a risk is not met; nothing when it is."""
    if risk.state == "met":
        return ""
    found = "nothing" if risk.value is None else f"{risk.value:.4g}"
    told = f"{risk.state}; {risk.measure}: found {found}, declared {risk.bound} {risk.threshold:g}"
    return f"{told} ({risk.note})" if risk.note else told


def _unknown(name: str, known: Iterable[str]) -> str:
    return f"not assessed; {did_you_mean(name, known)}"
