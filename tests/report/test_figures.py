"""Figures: told in words, in theme colours, drawn once; tables: the same rows everywhere."""

from __future__ import annotations

import csv
import io
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mainstem.base.request import Slate, Trace
from mainstem.report.charts import Estimate, bars, dots, forest, waterfall
from mainstem.report.figure import Chart, Drawn, Figure
from mainstem.report.look import COLOURS
from mainstem.report.marks import above_zero, within_margin
from mainstem.report.ramp import margin_left
from mainstem.report.river import Reach, River
from mainstem.report.slates import overlap, ranks, river, standing
from mainstem.report.table import Column, Table

ROWS = [Estimate("feed − <b>", {"low": 0.001, "mid": 0.004, "high": 0.008}, "holds")]
TABLE = Table(
    "t", "A table", (Column("name", "Name"), Column("gain", "Gain", "interval")), ({"name": "=1+1", "gain": None},)
)
DRAWINGS = {
    "forest": forest(ROWS, "gain", narrow=False, margin=-0.005),
    "forest narrow": forest(ROWS, "gain", narrow=True),
    "dots": dots([{"label": "click", "arm": "unified", "level": 0.7}], ["unified", "mine"], "AUC", reference=0.5),
    "bars": bars([{"label": "source", "share": 0.4, "own": 0.1}], "share", narrow=True),
    "waterfall": waterfall({"long_view": 0.3, "-hate": -0.1}, narrow=True),
    "river": River((("near", 9), ("far", 4)), (Reach("offered", 13), Reach("shown", 5, (("a <rule>", 8),)))),
    "river narrow": River((("near", 9),), (Reach("offered", 9), Reach("shown", 0, (("rule", 9),))), narrow=True),
    "empty river": River((), (Reach("offered", 0), Reach("shown", 0))),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_one_picture_with_words_and_theme_colours(name: str) -> None:
    figure = Figure("f", "What & why", "How <it> is drawn", DRAWINGS[name], None, TABLE)
    svg = Drawn().svg(figure, figure.wide, "wide")
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.find(f"{space}title").text == "What & why"  # type: ignore[union-attr]
    assert root.find(f"{space}desc").text == "How <it> is drawn"  # type: ignore[union-attr]
    assert root.get("aria-labelledby") == root.find(f"{space}title").get("id")  # type: ignore[union-attr]
    assert not [stand_in for stand_in in COLOURS if stand_in in svg]
    assert not re.search(r'style=|font-family|="(?:white|black|#ddd|#888)"', svg)
    assert len(re.findall("role=", svg)) == 1


def test_a_drawing_is_made_once_and_kept_by_what_it_shows(tmp_path: Path) -> None:
    made = []

    def make(label: str) -> dict:
        made.append(label)
        return forest(ROWS, label, narrow=True).spec()

    def figure(label: str) -> Figure:
        return Figure("f", label, "", Chart(make, ((label,), {})), None, TABLE)

    one = Drawn(tmp_path)
    for label in ("a", "a", "b"):
        one.svg(figure(label), figure(label).wide, "wide")
    assert made == ["a", "b"]
    assert Drawn(tmp_path).svg(figure("a"), figure("a").wide, "wide") == one.svg(figure("a"), figure("a").wide, "wide")
    assert made == ["a", "b"]


def test_a_disk_that_refuses_costs_nothing_but_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    figure = Figure("f", "t", "", DRAWINGS["river"], None, TABLE)
    assert "<svg" in Drawn(blocked / "folder").svg(figure, figure.wide, "wide")


def test_a_table_is_the_same_in_csv_and_cannot_run_in_a_spreadsheet() -> None:
    table = Table("t", "", TABLE.columns, ({"name": "=1+1", "gain": {"low": 1.5, "mid": 2.0, "high": 2.5}},))
    assert table.as_rows() == [{"name": "=1+1", "gain": 2.0, "gain_low": 1.5, "gain_high": 2.5}]
    assert list(csv.reader(io.StringIO(table.as_csv()))) == [
        ["name", "gain", "gain_low", "gain_high"],
        ["'=1+1", "2.0", "1.5", "2.5"],
    ]
    assert TABLE.columns[1].shown({"gain": None}) == "–"


def test_marks_follow_the_rules_of_the_claims() -> None:
    more = {"level": 0.95, "n": 9, "source": ""}
    gains = [{"low": low, "mid": mid, "high": 1} | more for low, mid in ((0.1, 0.2), (-0.1, 0.2), (-0.3, -0.1))]
    losses = [{"low": low, "mid": mid, "high": 1} for low, mid in ((-0.004, 0), (-0.006, 0), (-0.02, -0.01))]
    three = ["holds", "undecided", "does not hold"]
    assert [above_zero(one) for one in gains] == three
    assert [within_margin(one, 0.005) for one in losses] == three
    assert within_margin(None, 0.005) == "undecided"


def test_the_margin_left_is_1_when_nothing_changed_and_0_at_the_limit() -> None:
    margin = {"metric": "click", "loss": 0.1, "relative": True, "lower_is_better": False}
    reading = {"margin": margin, "widened": 2.0, "old": 0.5, "clearance": {"low": 0.0, "mid": 0.1, "high": 0.2}}
    assert margin_left(reading) == {"low": 0.0, "mid": 1.0, "high": 2.0}
    assert margin_left(reading | {"old": 0.0}) is None


def trace() -> Trace:
    """Six candidates: 10 and 11 shown, 12 removed by a rule, 13 and 14 too low, 15 never ranked."""
    return Trace(
        sources=("near", "far"),
        item_ids=np.arange(10, 16),
        source_mask=np.array([1, 3, 2, 1, 2, 1], np.uint32),
        feature_names=(),
        features=None,
        heads=("click",),
        predictions=np.full((5, 1), 0.5),
        values=np.array([5.0, 4, 3, 2, 1]),
        rules=("seen",),
        removed_by=np.array([0, 0, 3, 2, 2, 1], np.int16),
        fired=(),
        timings_ms={},
        retrieved=9,
    )


def slate(name: str, items: list[int]) -> Slate:
    ids = np.array(items, np.int64)
    return Slate(1, name, "feed", ids, np.zeros(len(ids)), np.ones(len(ids)), trace())


def test_the_river_loses_nothing_on_its_way() -> None:
    sources, reaches = river(slate("unified", [10, 11]))
    assert sources == (("near", 4), ("far", 3))
    assert [reach.kept for reach in reaches] == [9, 6, 5, 4, 2]
    for before, after in pairwise(reaches):
        assert before.kept - after.kept == sum(count for _, count in after.removed)


def test_where_an_item_stands_is_read_from_the_trace() -> None:
    told = {item: standing(slate("unified", [10, 11]), item) for item in (11, 12, 13, 15, 99)}
    assert [one.outcome for one in told.values()] == [
        "shown",
        "removed by seen",
        "scored too low",
        "not ranked",
        "not retrieved",
    ]
    assert told[11].rank == 2
    assert told[11].sources == ("near", "far")
    assert told[15].value is None


def test_items_on_several_slates_are_found() -> None:
    both = [slate("a", [10, 11]), slate("b", [11, 12])]
    assert ranks(both)[11] == {"a": 2, "b": 1}
    assert overlap(both) == [{"one": "a", "other": "b", "shared": 1, "places": 2}]
