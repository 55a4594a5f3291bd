"""The risk file a gate reads, and canaries that must sing over planted leaks and stay silent otherwise."""

from __future__ import annotations

import datetime as dt

import msgspec
import numpy as np
import pytest

from mainstem.base.errors import EvidenceError
from mainstem.evaluate.canaries import future_row, label_permutation, shuffled_timing
from mainstem.evaluate.intervals import Interval
from mainstem.evaluate.risk import FORMAT, RiskAssessment, judged, read_risks

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def between(low: float, mid: float, high: float) -> Interval:
    return Interval(low, mid, high, 0.95, 100, "test")


@pytest.mark.parametrize(
    ("found", "bound", "sure", "state"),
    [
        (between(0.1, 0.2, 0.3), "at most", False, "met"),
        (between(0.1, 0.6, 0.9), "at most", False, "not met"),
        (between(0.1, 0.6, 0.9), "at most", True, "not measured"),
        (between(0.6, 0.7, 0.9), "at most", True, "not met"),
        (between(0.3, 0.4, 0.6), "at most", False, "not measured"),
        (between(0.6, 0.7, 0.8), "at least", False, "met"),
        (between(0.3, 0.4, 0.6), "at least", False, "not met"),
        (between(0.3, 0.4, 0.6), "at least", True, "not measured"),
        (0.5, "at least", False, "met"),
        (None, "at most", False, "not measured"),
    ],
)
def test_the_state_of_a_risk(found, bound, sure, state):
    assert judged("r", "w", "m", found, bound, 0.5, sure=sure).state == state


def written(tmp_path, **changes):
    risks = (judged("a", "w", "m", 0.1, "at most", 0.5), judged("b", "w", "m", 0.9, "at most", 0.5),
             judged("c", "w", "m", None, "at most", 0.5))  # fmt: skip
    base = {"format": FORMAT, "made": NOW.isoformat(), "version": "1", "log": "l", "split": "s", "model": "m",
            "rows": 3, "risks": risks}  # fmt: skip
    file = tmp_path / "risk.json"
    file.write_bytes(msgspec.json.encode(RiskAssessment(**{**base, **changes})))
    return file


def test_a_gate_reads_it_and_names_what_stands_in_the_way(tmp_path):
    found = read_risks(written(tmp_path), log="l", model="m", now=NOW + dt.timedelta(days=2))
    assert [risk.name for risk in found.unmet()] == ["b"]
    assert [risk.name for risk in found.unmet(["a", "c"])] == ["c"]
    with pytest.raises(EvidenceError) as refused:
        found.unmet(["d"])
    assert refused.value.code == "evidence-013"


def test_what_no_gate_may_go_by_is_refused(tmp_path):
    file = written(tmp_path)
    later = NOW + dt.timedelta(days=8)
    for ask, code in (
        (lambda: read_risks(tmp_path / "none.json"), "evidence-010"),
        (lambda: read_risks(file, now=later), "evidence-012"),
        (lambda: read_risks(file, now=NOW - dt.timedelta(days=1)), "evidence-012"),
        (lambda: read_risks(file, log="other", now=NOW), "evidence-012"),
        (lambda: read_risks(file, model="other", now=NOW), "evidence-012"),
        (lambda: read_risks(written(tmp_path, format=99), now=NOW), "evidence-011"),
        (lambda: read_risks(written(tmp_path, risks=()), now=NOW), "evidence-011"),
        (lambda: read_risks(written(tmp_path, made="yesterday"), now=NOW), "evidence-011"),
        (lambda: read_risks(written(tmp_path, made="2026-11-22"), now=NOW), "evidence-011"),
    ):
        with pytest.raises(EvidenceError) as refused:
            ask()
        assert refused.value.code == code
    file.write_text('{"format": 1, "risks": "none"}')
    with pytest.raises(EvidenceError) as refused:
        read_risks(file, now=NOW)
    assert refused.value.code == "evidence-011"


@pytest.fixture
def rows():
    rng = np.random.default_rng(6)
    users = rng.integers(0, 300, 4_000)
    label = (rng.random(4_000) < 0.4).astype(float)
    return rng, users, label


def test_shuffled_timing(rows):
    rng, users, label = rows
    blind, luck = rng.random(4_000), rng.random(4_000)
    timely = label + 2 * rng.random(4_000)
    assert shuffled_timing("m", users, label, blind, timely, luck).clean
    leak = shuffled_timing("m", users, label, blind, timely, timely, expected_clean=False)
    assert not leak.clean
    assert leak.passed
    assert shuffled_timing("m", users, label, blind, blind, luck).clean


def test_label_permutation(rows):
    _, users, label = rows
    score = np.random.default_rng(1).random(4_000)
    assert label_permutation("m", users, label, lambda _: score).clean
    assert not label_permutation("m", users, label, lambda permuted: permuted).clean
    assert not label_permutation("m", np.arange(4_000), label, lambda _: score).clean


def test_a_future_row_raises_an_alarm():
    times, value = np.arange(100), np.random.default_rng(3).random(100)
    late = np.where(times > 50, value + 1, value)

    def running(changed):
        source = late if changed else value
        return np.cumsum(source)

    def whole(changed):
        source = late if changed else value
        return np.cumsum(source) / source.sum()

    assert future_row("m", times, 50, running).clean
    assert not future_row("m", times, 50, whole).clean
    assert not future_row("m", times, -1, running).clean
    missing = np.where(times == 7, np.nan, value)
    assert future_row("m", times, 50, lambda _: missing).clean
