"""Stability: figures against plain ones, nothing called unstable without proof, and what is planted is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import ModelError
from mainstem.ranking.stability import Judged, Limits, by_day, normalised_entropy, stability

HEADS, SURFACES = ("click", "long_view"), ("feed", "groups")


def _world(n: int = 6_000, seed: int = 0, shift: float = 0.0) -> tuple[Judged, np.ndarray]:
    """Rows and probabilities that come true; with a shift of log odds in the outcomes, they do not."""
    draw = np.random.default_rng(seed)
    odds = draw.normal(-0.7, 1.0, (n, 2))
    true = 1.0 / (1.0 + np.exp(-(odds + shift)))
    judged = Judged(
        heads=HEADS,
        surfaces=SURFACES,
        outcomes=(draw.random((n, 2)) < true).astype(np.int8),
        surface=draw.integers(0, 2, n).astype(np.int8),
        user=draw.integers(0, 400, n),
        day=draw.integers(20220429, 20220431, n).astype(np.int32),
        group=draw.integers(0, 500, n),
    )
    return judged, 1.0 / (1.0 + np.exp(-odds))


def test_the_same_version_twice_is_stable() -> None:
    judged, p = _world()
    found = stability(p, p.copy(), judged)
    assert found.answer == "stable"
    assert not found.why
    assert found.overlap.mid == 1.0
    assert found.groups > 300
    for cell in found.cells:
        assert cell.rise.mid == 0.0
        assert cell.moved.mid == 1.0
        assert cell.correlation == pytest.approx(1.0)


def test_figures_are_those_of_the_plain_formulas() -> None:
    judged, p = _world()
    judged.outcomes[::7, 0] = -1
    q = np.clip(p * 1.05, 0, 1)
    cell = next(one for one in stability(p, q, judged).cells if one.head == "click" and one.surface == "groups")
    here = (judged.surface == 1) & (judged.outcomes[:, 0] >= 0)
    y = judged.outcomes[here, 0]
    assert (cell.rows, cell.positives) == (int(here.sum()), int(y.sum()))
    assert cell.before.mid == pytest.approx(p[here, 0].sum() / y.sum())
    assert cell.after.mid == pytest.approx(q[here, 0].sum() / y.sum())
    assert cell.moved.mid == pytest.approx(q[here, 0].sum() / p[here, 0].sum())
    assert cell.entropy.mid == pytest.approx(normalised_entropy(q[here, 0], y))
    assert cell.rise.mid == pytest.approx(normalised_entropy(q[here, 0], y) / normalised_entropy(p[here, 0], y) - 1)
    assert cell.after.low < cell.after.mid < cell.after.high


def test_saying_the_base_rate_has_entropy_one() -> None:
    y = np.array([1, 0, 0, 1, 0, -1])
    assert normalised_entropy(np.full(6, 0.4), y) == pytest.approx(1.0)
    assert np.isnan(normalised_entropy(np.full(3, 0.4), np.array([1, 1, -1])))


@pytest.mark.parametrize("planted", ["calibration", "entropy", "one surface", "order"])
def test_what_is_planted_is_found(planted: str) -> None:
    judged, p = _world()
    q, orders, draw = p.copy(), None, np.random.default_rng(1)
    if planted == "calibration":
        q[:, 1] = np.clip(q[:, 1] * 1.4, 0, 1)
    elif planted == "entropy":
        odds = np.log(q / (1 - q)) + draw.normal(0, 0.6, q.shape)
        q = 1 / (1 + np.exp(-odds))
    elif planted == "one surface":
        q[judged.surface == 1] *= 0.6
    else:
        orders = (p[:, 1], draw.random(len(p)))
    found = stability(p, q, judged, orders)
    assert found.answer == "unstable"
    wanted = {
        "calibration": "long_view on all: predicted over observed",
        "entropy": "normalised entropy rose",
        "one surface": "click on groups: predicted over observed",
        "order": "the best 5 agree",
    }[planted]
    assert any(wanted in reason for reason in found.why)
    if planted == "one surface":
        assert not any("on feed" in reason for reason in found.why)


def test_a_move_that_mends_the_calibration_is_no_fault() -> None:
    judged, p = _world()
    low = p * 0.8
    assert stability(low, p, judged).answer == "stable"
    assert stability(p, low, judged).answer == "unstable"


def test_a_cell_without_positives_has_no_entropy() -> None:
    judged, p = _world()
    judged.outcomes[:, 0] = 0
    cell = stability(p, p, judged).cells[0]
    assert cell.positives == 0
    assert np.isnan(cell.entropy.mid)
    assert cell.answer == "not known"


def test_few_rows_prove_nothing() -> None:
    judged, p = _world(150)
    found = stability(p, np.clip(p * 1.15, 0, 1), judged)
    assert all(cell.answer == "not known" for cell in found.cells if cell.positives < 100)
    assert stability(p, p, judged, limits=Limits(positives=1_000)).answer == "not known"


def test_days_are_told_apart() -> None:
    judged, p = _world(8_000)
    last = judged.day == judged.day.max()
    p[last, 0] *= 0.5
    days = {(one.head, one.day): one for one in by_day(p, judged)}
    first, second = sorted({day for _, day in days})
    assert days["click", second].calibration.high < 0.7
    assert days["click", first].calibration.low < 1.0 < days["click", first].calibration.high
    assert days["click", first].rows == int((~last).sum())


@given(st.integers(0, 1_000))
def test_the_answer_does_not_depend_on_the_order_of_the_rows(seed: int) -> None:
    judged, p = _world(300, 3)
    q = np.clip(p * 1.1, 0, 1)
    at = np.random.default_rng(seed).permutation(len(p))
    mixed = replace(
        judged, **{name: getattr(judged, name)[at] for name in ("outcomes", "surface", "user", "day", "group")}
    )
    for one, two in zip(stability(p, q, judged).cells, stability(p[at], q[at], mixed).cells, strict=True):
        assert one.after.mid == pytest.approx(two.after.mid)
        assert one.rise.low == pytest.approx(two.rise.low, nan_ok=True)


@pytest.mark.parametrize("what", ["rows", "heads", "nan", "score"])
def test_what_are_no_probabilities_of_these_rows_is_refused(what: str) -> None:
    judged, p = _world(200)
    q = p.copy()
    if what == "nan":
        q[3, 1] = np.nan
    if what == "score":
        q[3, 1] = 1.5
    wrong = {"rows": q[:-1], "heads": q[:, :1]}.get(what, q)
    with pytest.raises(ModelError) as refused:
        stability(p, wrong, judged)
    assert refused.value.code == "model-049"
