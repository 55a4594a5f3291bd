"""Does a log keep its contract: every check asked in turn, and their answers together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mainstem.base.clock import Clock, SystemClock
from mainstem.base.errors import DataError
from mainstem.base.settings import Data
from mainstem.data.checks.base_rates import BaseRates
from mainstem.data.checks.duplicates import Duplicates
from mainstem.data.checks.durations import Durations
from mainstem.data.checks.finding import Answer, Check, Finding, worst
from mainstem.data.checks.future import Future
from mainstem.data.checks.ids import Ids
from mainstem.data.checks.leaks import Leaks
from mainstem.data.checks.order import Order
from mainstem.data.checks.rates import Rates
from mainstem.data.checks.schema import Schema
from mainstem.data.checks.subject import Subject, open_subject
from mainstem.data.checks.time_zones import TimeZones

CHECKS: Final[tuple[Check, ...]] = (
    Schema(),
    Duplicates(),
    Order(),
    TimeZones(),
    Future(),
    Rates(),
    Ids(),
    Durations(),
    Leaks(),
    BaseRates(),
)
"""Every check, in the order of the report."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks found, in order."""

    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether any check answers FAIL."""
        return self.answer == "FAIL"

    @property
    def answer(self) -> Answer:
        """The worst answer."""
        return worst(self.findings)

    def as_rows(self) -> list[dict[str, Any]]:
        """One row a finding: check, answer, sentence, count, of, examples."""
        return [asdict(finding) | {"examples": list(finding.examples)} for finding in self.findings]

    def as_text(self) -> str:
        """The report for a person: one line a finding, examples below."""
        lines = []
        for finding in self.findings:
            count = f"{finding.count:,} of {finding.of:,} " if finding.count else ""
            lines.append(f"{finding.answer}  {finding.check:<11} {count}{finding.sentence}")
            lines += [f"        {_short(example)}" for example in finding.examples if finding.answer != "PASS"]
        totals = {answer: sum(f.answer == answer for f in self.findings) for answer in ("PASS", "WARN", "FAIL")}
        return "\n".join([*lines, "", " · ".join(f"{count} {answer}" for answer, count in totals.items())])


def run_checks(
    path: Path | str, mapping: Data | None = None, clock: Clock | None = None, checks: Sequence[Check] = CHECKS
) -> Report:
    """Which parts of its contract does a log keep: a log folder of ours, or a source that a loader reads.

    A source that cannot be read at all is one FAIL of the schema check, with the reader's own message.
    """
    clock = clock or SystemClock()
    try:
        subject: Subject = open_subject(Path(path), mapping or Data(), clock.now_ms())
    except DataError as error:
        if error.code == "data-001":
            raise
        hint = f" ({error.hint})" if error.hint else ""
        return Report((Finding("schema", "FAIL", f"{error.code}: {error.message}{hint}"),))
    return Report(tuple(finding for check in checks for finding in check.look(subject)))


def _short(example: dict[str, Any]) -> str:
    return "  ".join(f"{key}={value}" for key, value in example.items())[:160]
