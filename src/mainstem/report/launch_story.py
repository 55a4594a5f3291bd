"""A launch's standing in the order in which it is read: one list of sections that the page and every report show alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mainstem.launch.standing import Standing, SurfaceStanding
from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.launch_figures import (
    budgets_figure,
    days_figure,
    latency_figure,
    layers_figure,
    margins_figure,
    path_figure,
    ratios_figure,
    since_figure,
)
from mainstem.report.launch_rows import day_of, summary
from mainstem.report.launch_tables import acts_table, gates_table, slices_table, surfaces_table, waits_table
from mainstem.report.table import Table


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the story.

    Args:
        name: Unique; its anchor.
        title: Its heading.
        notes: Sentences.
        verdicts: Of what, the word, and why: ``("content-first", "HARM", "reports is past its bound")``.
        figures: Each with its own table.
        tables: Those that no figure has.
        most: Rows of a table that are shown at once; the rest is one step away.
    """

    name: str
    title: str
    notes: tuple[str, ...] = ()
    verdicts: tuple[tuple[str, str, str], ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    most: int = 1_000


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is told of a launch.

    Args:
        heading: Where the surfaces stand, as a sentence.
        lead: Which launch, since when, and who flies it; a line each.
        verdict: The gravest over all surfaces.
        made: Whether the traffic is a made world's.
        sections: In the order of reading.
    """

    heading: str
    lead: tuple[str, ...]
    verdict: str
    made: bool
    sections: tuple[Section, ...]

    def tables(self) -> tuple[Table, ...]:
        """Every table once, those of figures too."""
        found: dict[str, Table] = {}
        for section in self.sections:
            for table in (*section.tables, *(figure.table for figure in section.figures)):
                found.setdefault(table.name, table)
        return tuple(found.values())

    def figures(self) -> tuple[Figure, ...]:
        """Every figure."""
        return tuple(figure for section in self.sections for figure in section.figures)


def story_of(standing: Standing) -> Story:
    """What is told of a launch, in order: all surfaces first, then each by itself, then the audit."""
    sections = (
        Section("where", "Surfaces", tables=(surfaces_table(standing),)),
        Section(
            "ramp", "The way so far", _when(standing.acts, "Nothing was done yet."), (), _some(path_figure(standing))
        ),
        _verdicts(standing),
        Section("split", "The split of units", _none(ratios_figure(standing)), (), _some(ratios_figure(standing))),
        *(_surface(at, one) for at, one in enumerate(standing.surfaces, 1)),
        Section("audit", "Every act", tables=(acts_table(standing),), most=12),
    )
    return Story(summary(standing), tuple(_lead(standing)), standing.verdict, standing.made, sections)


def _lead(standing: Standing) -> Iterator[str]:
    day = day_of(standing, standing.at_ms)
    yield (
        f"Plan {standing.plan_hash[:12]}, started {numbers.moment(standing.started_ms)}; this is how it stood at "
        f"{numbers.moment(standing.at_ms)}, day {day:.1f}. An edit of the plan is a new launch."
    )
    yield f"Flown by {standing.pilot}." if standing.pilot else "Nobody flies it: mainstem launch run."


def _verdicts(standing: Standing) -> Section:
    """Every gate's word and the days that are left."""
    figure = days_figure(standing)
    if figure is None:
        return Section(
            "verdicts", "Verdicts", ("No gate has evidence yet: a surface in shadow serves nobody from the new stack.",)
        )
    return Section("verdicts", "Verdicts, and how long they take", figures=(figure,), tables=(gates_table(standing),))


def _surface(at: int, surface: SurfaceStanding) -> Section:
    """One surface: its gates, then every figure that it has."""
    figures = (
        margins_figure(surface),
        budgets_figure(surface),
        since_figure(surface),
        latency_figure(surface),
        layers_figure(surface),
    )
    notes = [f"{surface.state[:1].upper()}{surface.state[1:]} at {numbers.share(surface.share)}{_because(surface)}"]
    if surface.shadow is not None:
        requests, failed, common = surface.shadow
        notes.append(
            f"Shadow: {numbers.count(requests)} requests mirrored, {numbers.count(failed)} failed, {numbers.share(common)} of the "
            "items shown by both."
        )
    notes += [] if surface.origins else ["No evidence of served traffic yet."]
    verdicts = tuple((one.legacy, one.verdict, "; ".join(one.reasons)) for one in surface.origins)
    return Section(
        f"surface-{at}",
        surface.surface,
        tuple(notes),
        verdicts,
        tuple(one for one in figures if one is not None),
        tuple(one for one in (slices_table(surface), waits_table(surface)) if one.rows),
        most=12,
    )


def _because(surface: SurfaceStanding) -> str:
    return f": {surface.reason}." if surface.reason else "."


def _some(figure: Figure | None) -> tuple[Figure, ...]:
    return () if figure is None else (figure,)


def _none(figure: Figure | None) -> tuple[str, ...]:
    return ("No unit was exposed yet.",) if figure is None else ()


def _when(what: object, text: str) -> tuple[str, ...]:
    return () if what else (text,)
