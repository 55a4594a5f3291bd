"""A protocol's table, the same for the terminal, the README and a program: header, rows, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mainstem.bench.records import Kind, Record
from mainstem.evaluate.intervals import Interval


@dataclass(frozen=True, slots=True)
class Row:
    """One system: its figures as means over seeds, with intervals over users.

    Attributes:
        kind: Whose; ``published`` rows were not measured here.
        seeds: How many runs the means are over.
        spread: Standard deviation of each figure over the seeds, where there are several.
        note: Why it was not measured, where it comes from, or what it was told.
    """

    system: str
    kind: Kind | str
    figures: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    seeds: int = 0
    fit_cpu_s: float | None = None
    peak_mb: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target of the issue: ``met`` is None where nothing could be measured."""

    target: str
    met: bool | None
    found: str

    @property
    def sentence(self) -> str:
        """As the footer prints it."""
        word = {True: "met", False: "NOT MET", None: "not measured"}[self.met]
        return f"{word}: {self.target} · {self.found}"


@dataclass(frozen=True, slots=True)
class Table:
    """One protocol, printed."""

    protocol: str
    title: str
    header: dict[str, str]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: tuple[tuple[str, Interval | None], ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()

    def row(self, system: str) -> Row | None:
        """The measured row of a system; None when it was not measured."""
        return next((row for row in self.rows if row.system == system and row.seeds), None)

    def markdown(self) -> str:
        """The table as Markdown: the README's, the terminal's and the guide's form."""
        head = ["system", *self.metrics, "fit CPU-s", "peak MB", "seeds", ""]
        lines = [f"### {self.title}", ""]
        lines += [f"- {name}: {told}" for name, told in self.header.items()]
        lines += ["", _line(head), _line(["---", *["---:"] * (len(head) - 2), "---"])]
        lines += [_line(self._cells(row)) for row in self.rows]
        if self.differences:
            lines += ["", "Paired differences (95 %, users resampled together):", ""]
            lines += [f"- {name}: {interval_text(told)}" for name, told in self.differences]
        if self.verdicts:
            lines += ["", "Targets:", "", *(f"- {one.sentence}" for one in self.verdicts)]
        return "\n".join([*lines, *("", *self.notes)] if self.notes else lines) + "\n"

    def _cells(self, row: Row) -> list[str]:
        label = {"published": f"{row.system} [published]", "peer": f"{row.system} [peer]"}.get(row.kind, row.system)
        bold = row.kind == "ours" and row.seeds
        figures = [_figure(row, name) for name in self.metrics]
        cost = "" if row.fit_cpu_s is None else f"{row.fit_cpu_s:,.1f}"
        memory = "" if row.peak_mb is None else f"{row.peak_mb:,.0f}"
        name = f"**{label}**" if bold else label
        return [name, *figures, cost, memory, str(row.seeds) if row.seeds else "", row.note]


def interval_text(interval: Interval | None) -> str:
    """A difference with its bounds, signs told."""
    if interval is None:
        return "too few users to tell"
    return f"{interval.mid:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def row_of(
    system: str,
    records: Sequence[Record],
    figures: Mapping[str, Sequence[float]],
    intervals: Mapping[str, Interval | None],
    note: str = "",
) -> Row:
    """The row of a system from its records, one a seed; those that were not measured make a row that says why."""
    measured = [record for record in records if record.status == "measured"]
    kind = records[0].kind
    if not measured:
        return Row(system, kind, note=f"{records[0].status}: {' '.join(records[0].why.split())[-160:]}")
    values = {name: list(found) for name, found in figures.items()}
    return Row(
        system=system,
        kind=kind,
        figures={name: sum(found) / len(found) for name, found in values.items()},
        intervals={name: one for name, one in intervals.items() if one is not None},
        spread={name: _deviation(found) for name, found in values.items() if len(found) > 1},
        seeds=len(measured),
        fit_cpu_s=_mean([record.fit_cpu_s for record in measured]),
        peak_mb=max((record.peak_mb for record in measured if record.peak_mb is not None), default=None),
        note=note or measured[0].state,
    )


def measured_header(records: Iterable[Record]) -> dict[str, str]:
    """When the rows were measured, and which versions of other people's packages."""
    measured = [record for record in records if record.status == "measured"]
    days = sorted({record.made_at[:10] for record in measured if record.made_at})
    found = {name: told for record in measured if record.kind == "peer" for name, told in record.versions.items()}
    found.pop("numpy", None)
    out = {"measured": " to ".join(dict.fromkeys([days[0], days[-1]]))} if days else {}
    return out | ({"peers": " · ".join(f"{name} {told}" for name, told in sorted(found.items()))} if found else {})


def _figure(row: Row, metric: str) -> str:
    value = row.figures.get(metric)
    if value is None:
        return ""
    interval = row.intervals.get(metric)
    text = f"{value:.4f}"
    return text if interval is None else f"{text} ({interval.low:.4f}–{interval.high:.4f})"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
