"""The picture of a tuning tells the same in marks, words and rows."""

from __future__ import annotations

from mainstem.report.figure import Drawn
from mainstem.report.value_front import Tried, tuning_figure

TRIED = (
    Tried(0.5, 0.02, kept=True, front=False, start=True),
    Tried(0.6, 0.03, kept=True, front=True),
    Tried(0.7, 0.05, kept=False, front=True),
    Tried(0.4, 0.06, kept=False, front=False),
)


def test_start_and_front_stand_in_the_table_and_every_trial_in_the_drawing():
    figure = tuning_figure("feed", "hate", TRIED, "Tuned weights are worth more.")
    assert [row["kind"] for row in figure.table.rows] == ["start", "front", "front"]
    assert [row["kept"] for row in figure.table.rows] == ["yes", "yes", "no"]
    assert figure.narrow is not None
    for drawing in (figure.wide, figure.narrow):
        svg = Drawn().svg(figure, drawing, "wide")
        assert svg.count("<path") >= len(TRIED)
        assert "Tuned weights are worth more." in svg
