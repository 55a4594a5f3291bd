"""A risk assessment that a launch gate can read: named risks, what was measured, what was declared, and whether it is met."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from mainstem.base.errors import EvidenceError, did_you_mean
from mainstem.evaluate.intervals import Interval

FORMAT: Final = 1
MOST_AGE_DAYS: Final = 7.0
"""An older assessment is of another system."""
State = Literal["met", "not met", "not measured"]
Bound = Literal["at most", "at least"]


@dataclass(frozen=True, slots=True)
class Risk:
    """One thing that could go wrong for somebody, as far as it was measured.

    Attributes:
        name: What a gate asks for by.
        what: What could go wrong, in a sentence.
        measure: What was measured, in words.
        value: The measured number; None where there is none.
        low: Lower end of its 95 % interval, None without one.
        high: Its upper end.
        bound: Which side of the threshold is safe.
        threshold: What was declared.
        state: Met when the whole interval is on the safe side, not met when the number itself is not (of the worst of many
            slices: when the whole interval is not); between, and where there is no number, not measured.
        note: Where it was found, and why it was not measured.
    """

    name: str
    what: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    bound: Bound
    threshold: float
    state: State
    note: str = ""


@dataclass(frozen=True, slots=True)
class RiskAssessment:
    """Every risk of one model on one log, as ``evidence/risk.json`` holds it.

    Attributes:
        format: Of the file.
        made: When, ISO 8601 in UTC.
        version: Of the product.
        log: Content hash of the log.
        split: Hash of the rows it was measured on.
        model: The version that was measured.
        rows: Test rows.
        risks: Each risk once.
    """

    format: int
    made: str
    version: str
    log: str
    split: str
    model: str
    rows: int
    risks: tuple[Risk, ...]

    def unmet(self, names: Iterable[str] = ()) -> tuple[Risk, ...]:
        """The risks that stand in the way of a launch.

        Args:
            names: Risks that must be met; one that was not measured stands in the way too. None named: only those that are
                known not to be met.

        Raises:
            EvidenceError: A name is no risk of this assessment (``evidence-013``).
        """
        wanted = list(names)
        if not wanted:
            return tuple(risk for risk in self.risks if risk.state == "not met")
        known = {risk.name: risk for risk in self.risks}
        for name in wanted:
            if name not in known:
                raise EvidenceError(
                    f"no risk {name!r} was assessed", code="evidence-013", hint=did_you_mean(name, known)
                )
        return tuple(known[name] for name in wanted if known[name].state != "met")


def judged(
    name: str,
    what: str,
    measure: str,
    found: Interval | float | None,
    bound: Bound,
    threshold: float,
    note: str = "",
    *,
    sure: bool = False,
) -> Risk:
    """A risk from what was measured: an interval, a bare number, or nothing.

    Args:
        name: What a gate asks for.
        what: What could go wrong.
        measure: In words.
        found: What was measured.
        bound: Which side is safe.
        threshold: What was declared.
        note: Where it was found.
        sure: Whether only an interval wholly on the wrong side counts as not met: for the worst of many, whose number alone
            is mostly luck.
    """
    if found is None:
        return Risk(name, what, measure, None, None, None, bound, threshold, "not measured", note or "no rows tell")
    interval = found if isinstance(found, Interval) else Interval(found, found, found, 1.0, 0, "exact")
    low, mid, high = float(interval.low), float(interval.mid), float(interval.high)
    sign = 1.0 if bound == "at most" else -1.0
    worst, best = (high, low) if bound == "at most" else (low, high)
    held = sign * worst <= sign * threshold
    fails = sign * (best if sure else mid) > sign * threshold
    state: State = "met" if held else "not met" if fails else "not measured"
    if state == "not measured":
        note = f"{note}; the interval spans the threshold: too few rows" if note else "the interval spans the threshold"
    return Risk(name, what, measure, mid, low, high, bound, threshold, state, note)


def read_risks(
    path: Path,
    *,
    log: str = "",
    model: str = "",
    most_age_days: float = MOST_AGE_DAYS,
    now: dt.datetime | None = None,
) -> RiskAssessment:
    """The assessment a gate may go by: there, whole, young enough, and of the log and model in question.

    Args:
        path: The file.
        log: The content hash it must be of; empty asks for none.
        model: The version it must be of; empty asks for none.
        most_age_days: Older ones are refused.
        now: The time; None is the system's.

    Raises:
        EvidenceError: There is none (``evidence-010``), it is not what was written (``evidence-011``), it is too old or from
            the future, or of another log or model (``evidence-012``).
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RiskAssessment)
    except FileNotFoundError:
        raise EvidenceError(f"there is no {path}", code="evidence-010", hint="mainstem responsible") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(path, str(error)) from None
    names = [risk.name for risk in found.risks]
    if found.format != FORMAT or not names or len(set(names)) != len(names):
        raise _broken(path, f"format {found.format}, {len(names)} risks, {len(set(names))} names")
    _check_age(found, most_age_days, now or dt.datetime.now(dt.UTC), path)
    for what, wanted, had in (("log", log, found.log), ("model", model, found.model)):
        if wanted and wanted != had:
            raise _other(f"{path} is of {what} {had or 'unknown'}, expected {wanted}")
    return found


def _check_age(found: RiskAssessment, most_age_days: float, now: dt.datetime, path: Path) -> None:
    try:
        made = dt.datetime.fromisoformat(found.made)
        age = (now - made).total_seconds() / 86_400
    except (ValueError, TypeError):
        raise _broken(path, f"made {found.made!r} is no time with a zone") from None
    if not -0.01 <= age <= most_age_days:
        raise _other(f"{path} was made {age:.1f} days ago, expected 0 to {most_age_days:g}")


def _broken(path: Path, why: str) -> EvidenceError:
    return EvidenceError(f"{path} is no risk assessment: {why}", code="evidence-011", hint="mainstem responsible")


def _other(found: str) -> EvidenceError:
    return EvidenceError(found, code="evidence-012", hint="mainstem responsible")
