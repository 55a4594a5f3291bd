"""Tuning by a log of choices finds better weights where the log carries, and refuses where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import EvidenceError
from mainstem.evaluate.bandit_log import BanditLog
from mainstem.value.expression import Expression
from mainstem.value.tuning import guardrail, knob, tune
from mainstem.workspace.value_off_policy import GUARD, OVERLAP, OffPolicyObjective

NAMES = ("click", "like", "hate")
VALUE = Expression(
    "click + like_worth * like + hate_worth * hate", NAMES, weights={"like_worth": 0.5, "hate_worth": -0.5}
)
WORTH = Expression("click + 4 * like - 5 * hate", NAMES)


def logged(rows=4_000, count=12, seed=0):
    rng = np.random.default_rng(seed)
    columns = {head: rng.beta(1, scale, (rows, count)) for head, scale in (("click", 3), ("like", 8), ("hate", 8))}
    actions = rng.integers(0, count, rows)
    outcomes = {head: (rng.random(rows) < one[np.arange(rows), actions]).astype(float) for head, one in columns.items()}
    log = BanditLog.of(actions, np.zeros(rows), np.full(rows, 1 / count), count=count)
    return log, columns, outcomes


def truly(objective, columns, weights):
    chances = objective._chances(VALUE.with_weights(weights))
    return float((chances * WORTH.of(columns)).sum(axis=1).mean())


def test_weights_tuned_on_a_log_are_truly_better_and_keep_the_overlap():
    log, columns, outcomes = logged()
    objective = OffPolicyObjective(log, columns, outcomes, VALUE, WORTH, sharpness=6.0)
    knobs = [knob("like_worth", 0.5, sign=1), knob("hate_worth", -0.5, sign=-1)]
    rails = [guardrail(GUARD, objective.start.metrics), guardrail("hate <= start", objective.start.metrics)]
    found = tune(objective, knobs, rails, 25, seed=2)
    assert found.best is not None
    assert found.best.measured.metrics[OVERLAP] >= 0.01
    assert truly(objective, columns, found.best.weights) > truly(objective, columns, {}) + 0.05


def test_a_log_that_does_not_carry_is_refused_at_once():
    log, columns, outcomes = logged(300, 400)
    with pytest.raises(EvidenceError) as refused:
        OffPolicyObjective(log, columns, outcomes, VALUE, WORTH, sharpness=2_000.0)
    assert refused.value.code == "evidence-001"


def test_weights_the_log_cannot_judge_are_no_gain_and_break_the_guard():
    log, columns, outcomes = logged(300, 400)
    objective = OffPolicyObjective(log, columns, outcomes, VALUE, WORTH, sharpness=4.0)
    far = objective({"like_worth": 5_000.0})
    assert far.value == objective.start.value
    assert guardrail(GUARD, objective.start.metrics).slack(far.metrics) < 0
