"""A launch told: one story for page, HTML, Markdown and JSON; harm on one side; nothing from data is obeyed."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.report.figure import Chart, Drawing, Drawn, Figure
from mainstem.report.forest import MOST, reach_of
from mainstem.report.launch_figures import days_figure, layers_figure, margins_figure, ratios_figure
from mainstem.report.launch_report import launch_report_html, launch_report_json, launch_report_markdown
from mainstem.report.launch_rows import answer, days_to_verdict, in_margins, summary, turned, used
from mainstem.report.launch_story import story_of
from mainstem.report.launch_tables import acts_table, metrics_table, ratios_table

sys.path.insert(0, str(Path(__file__).resolve().parent))
import made_standing


def rows_of(drawing: Any) -> Any:
    assert isinstance(drawing, Chart)
    return drawing.given[0][0]


@given(
    st.floats(-0.5, 0.5), st.floats(1e-4, 0.5), st.floats(1e-3, 0.3), st.sampled_from(["up", "down"])
)  # fmt: skip
def test_harm_is_below_0_and_the_margin_at_minus_1_whichever_way_a_metric_points(mid, reach, margin, direction) -> None:
    metric = replace(
        made_standing.metric("feed", "content-first", "likes", 1),
        direction=direction, margin=margin, change=made_standing.interval(mid, reach),
    )  # fmt: skip
    found = turned(metric)
    assert found["low"] <= found["mid"] <= found["high"]
    harm = -mid if direction == "up" else mid
    assert found["mid"] == -harm
    told = in_margins(metric)
    assert told is not None
    assert (told["mid"] <= -1) == (found["mid"] / margin <= -1)


def test_what_is_worse_by_a_test_of_harm_does_not_hold_even_within_its_margin() -> None:
    metric = made_standing.metric("feed", "content-first", "likes", 1)
    assert answer(metric) == "holds"
    assert answer(replace(metric, shown=("not worse", "worse"))) == "does not hold"
    assert answer(replace(metric, shown=())) == "undecided"
    assert answer(replace(metric, rollback=made_standing.Spent(5.0, 4.8))) == "does not hold"
    assert answer(replace(metric, margin=0.0)) == ""


def test_a_budget_without_a_bound_yet_is_not_spent() -> None:
    assert used(made_standing.Spent(3.0, float("inf"))) == 0.0
    assert used(made_standing.Spent(-3.0, 4.0)) == 0.0
    assert used(None) is None


def test_days_are_those_of_the_last_metric_that_must_pass_or_not_known() -> None:
    gate = made_standing.rich().surfaces[2].origins[0]
    assert days_to_verdict(gate) == (11.5, "latency_p95")
    lost = replace(gate, metrics=(replace(gate.metrics[0], days_left=None), *gate.metrics[1:]))
    assert days_to_verdict(lost) == (None, "long_views")


def test_the_heading_names_the_gravest_first() -> None:
    assert summary(made_standing.rich()) == "autumn-3: groups rolled back; pages paused; feed landed"


def test_every_metric_of_every_gate_is_drawn_against_its_margin_or_stands_in_the_table() -> None:
    for surface in made_standing.rich().surfaces:
        figure = margins_figure(surface)
        assert figure is not None
        drawn = rows_of(figure.wide)
        table = metrics_table(surface).rows
        assert len(table) == 10
        assert len(drawn) == 8
        labels = {f"{row['legacy']}: {row['metric']}" for row in table if row["margin"]}
        assert {row["label"] for row in drawn} == labels
        assert drawn == rows_of(figure.narrow)


def test_the_margin_stays_to_be_seen_however_wide_an_interval_is() -> None:
    assert reach_of([{"low": -900.0, "high": 2.0}]) == MOST
    assert reach_of([{"low": -0.1, "high": 0.1}]) == 1.5


def test_an_interval_without_an_end_stands_in_the_table_alone() -> None:
    surface = made_standing.rich().surfaces[0]
    gate = surface.origins[0]
    open_ = replace(gate.metrics[0], change=replace(gate.metrics[0].change, high=float("inf")))
    figure = margins_figure(replace(surface, origins=(replace(gate, metrics=(open_, gate.metrics[1])),)))
    assert figure is not None
    assert [row["label"] for row in rows_of(figure.wide)] == ["content-first: likes"]
    assert len(figure.table.rows) == 2
    json.loads(json.dumps(figure.table.as_rows()))


def test_the_layer_that_does_harm_is_named_by_the_metrics_own_direction() -> None:
    groups = made_standing.rich().surfaces[1]
    figure = layers_figure(groups)
    assert figure is not None
    assert "it is value that makes long_views worse" in figure.title
    up = replace(groups.layers[0], metric="reports", layer="control", change=made_standing.interval(0.08, 0.01))
    found = layers_figure(replace(groups, layers=(up,)))
    assert found is not None
    assert "it is control that makes reports worse" in found.title


def test_the_worst_day_and_platform_are_drawn_and_the_table_has_all() -> None:
    figure = ratios_figure(made_standing.rich())
    assert figure is not None
    assert [row["label"] for row in rows_of(figure.wide)][:3] == [
        "feed, content-first: all", "feed, content-first: day 14", "feed, content-first: platform android",
    ]  # fmt: skip
    assert len(ratios_table(made_standing.rich()).rows) == 6 * 17
    broken = ratios_figure(made_standing.half())
    assert broken is not None
    assert "not split as promised: feed, content-first" in broken.title


def test_a_surface_that_ended_waits_for_no_verdict() -> None:
    figure = days_figure(made_standing.rich())
    assert figure is not None
    assert {row["label"]: row["days"] for row in rows_of(figure.wide)}["groups, content-first"] is None
    assert "pages" in figure.title


def test_the_audit_has_every_act_the_newest_first_with_its_evidence() -> None:
    rows = acts_table(made_standing.rich()).rows
    assert [row["number"] for row in rows] == list(range(17, 0, -1))
    assert json.loads(rows[0]["evidence"]) == {"harmed": ["reports"]}


class Page(HTMLParser):
    """Which elements a page has, and where it would load from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


class Undrawn(Drawn):
    """Stands in for drawings, which take long: that each kind can be drawn is another test."""

    def svg(self, figure: Figure, drawing: Drawing, variant: str) -> str:
        return f'<svg data-of="{variant}"></svg>'


@pytest.fixture
def drawn() -> Drawn:
    return Undrawn()


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("kind", ["path", "days", "margins-groups", "since-groups", "layers-groups"])
def test_every_kind_of_figure_can_be_drawn_with_all_its_words(kind: str, narrow: bool) -> None:
    figure = next(one for one in story_of(made_standing.rich()).figures() if one.name == kind)
    drawing = figure.narrow if narrow else figure.wide
    assert drawing is not None
    svg = Drawn().svg(figure, drawing, "one")
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    wanted = {
        "path": "groups", "days": "11.5 days, latency_p95 is last", "margins-groups": "+18.40\u00a0% (+12.90…+23.90), margin +5 %",
        "since-groups": "content-first: likes", "layers-groups": "−3.90\u00a0% (−4.50…−3.30)",
    }[kind]  # fmt: skip
    assert wanted in words
    assert "#0101" not in svg


@pytest.mark.parametrize("name", made_standing.EVERY)
def test_the_html_is_one_file_without_scripts_that_loads_nothing(name: str, drawn: Drawn) -> None:
    standing = made_standing.EVERY[name]()
    text = launch_report_html(standing, drawn)
    page = Page(text)
    assert "script" not in page.tags
    assert page.addresses == []
    assert "@import" not in text
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert page.tags.count("h1") == 1
    assert ('class="badge"' in text) == standing.made
    assert text == launch_report_html(standing, drawn)
    if name == "rich":
        assert page.tags.count("figure") == 3 + 3 * 3 + 2
        assert "<li>content-first: <strong>HARM</strong>, reports is past the hourly bound of harm</li>" in text


@pytest.mark.parametrize("name", made_standing.EVERY)
def test_the_markdown_shows_what_it_is_given_and_every_table_is_whole(name: str) -> None:
    standing = made_standing.EVERY[name]()
    text = launch_report_markdown(standing)
    assert text.count("\n# ") + text.startswith("# ") == 1
    assert ("*made world*" in text) == standing.made
    assert "<script" not in text.replace("\\<script", "")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    tables = story_of(standing).tables()
    assert text.count("\n### ") == len(tables)


@pytest.mark.parametrize("name", made_standing.EVERY)
def test_the_json_has_the_standing_and_every_table_unrounded(name: str) -> None:
    standing = made_standing.EVERY[name]()
    told = json.loads(launch_report_json(standing), parse_constant=pytest.fail)
    assert told["standing"]["plan_hash"] == standing.plan_hash
    assert told["made"] is standing.made
    assert {name: len(table["rows"]) for name, table in told["tables"].items()} == {
        table.name: len(table.rows) for table in story_of(standing).tables()
    }
    if name == "rich":
        assert told["tables"]["metrics-groups"]["rows"][2]["change"] == 0.184


def test_before_anything_is_seen_it_is_said_instead_of_drawn() -> None:
    story = story_of(made_standing.begun())
    assert story.figures() == ()
    notes = " ".join(note for section in story.sections for note in section.notes)
    assert "No gate has evidence yet" in notes
    assert "No evidence of served traffic yet" in notes
    assert any("mainstem launch run" in line for line in story.lead)
