"""An order that the family holds is found again; one it does not hold is not claimed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from mainstem.base.errors import EvidenceError
from mainstem.base.heads import PREDICTIONS
from mainstem.stacks.neutral import CONNECTED
from mainstem.value.expression import Expression
from mainstem.value.translation import Case, bends, fit_order, fit_value, logs_of
from mainstem.workspace.value_translation import Form, written

WEIGHTS = np.array([0.2, 0.5, 1.0, 0.6, 0.8, -4.0, 1.0, 0.001])


def heads(rng, count=60):
    chances = rng.beta(1.0, [2, 30, 80, 60, 90, 150, 2], (count, 7))
    return np.column_stack([chances, rng.gamma(2.0, 10.0, count)])


def cases(value, terms=lambda x: x, seed=1, requests=40):
    rng = np.random.default_rng(seed)
    drawn = [heads(rng) for _ in range(requests)]
    return [Case(terms(one), value(one)) for one in drawn]


def tau(found, weights):
    return np.mean([kendalltau(one.legacy, one.terms @ weights).statistic for one in found])


def additive(x):
    return x @ WEIGHTS


def product(x):
    return x[:, 6] ** 0.3 * x[:, 0] * np.exp(-5 * x[:, 5])


@pytest.mark.parametrize("fit", [fit_order, lambda found: fit_value(found, logs=False)])
def test_an_additive_formula_is_found_again(fit):
    weights = fit(cases(additive))
    assert tau(cases(additive, seed=2), weights) > 0.99
    assert weights / weights[6] == pytest.approx(WEIGHTS, rel=0.2, abs=0.03)


def test_its_own_weights_exactly_where_the_family_holds_it():
    weights = fit_value(cases(additive), logs=False)
    assert weights == pytest.approx(WEIGHTS)


def test_a_product_is_a_sum_of_logarithms():
    def powers(x):
        return x[:, 6] ** 0.3 * x[:, 0]

    found = cases(powers, logs_of)
    assert fit_value(found, logs=True) == pytest.approx([1, 0, 0, 0, 0, 0, 0.3, 0], abs=1e-9)
    assert tau(cases(powers, logs_of, seed=5), fit_order(found)) > 0.99


def test_a_family_that_does_not_hold_it_comes_near_and_bent_lines_nearer():
    rng = np.random.default_rng(0)
    knots = np.quantile(logs_of(heads(rng, 500)), [0.2, 0.4, 0.6, 0.8], axis=0)

    def bent(x):
        return bends(logs_of(x), knots)

    def valley(x):
        return x[:, 0] * np.abs(x[:, 6] - 0.3)

    flat = tau(cases(product, seed=9), fit_order(cases(product)))
    assert 0.5 < flat < tau(cases(product, logs_of, seed=9), fit_order(cases(product, logs_of)))
    straight = tau(cases(valley, logs_of, seed=9), fit_order(cases(valley, logs_of)))
    assert straight < tau(cases(valley, bent, seed=9), fit_order(cases(valley, bent, requests=100)))


def test_the_same_cases_give_the_same_weights():
    assert fit_order(cases(product), 3).tobytes() == fit_order(cases(product), 3).tobytes()


def test_the_fit_is_where_no_step_helps():
    found = cases(lambda x: product(x) + 0.2 * np.sin(900 * x[:, 1]))
    best = fit_order(found)
    assert (
        tau(found, best) >= max(tau(found, best * s) for s in np.random.default_rng(1).uniform(0.3, 3, (20, 8))) - 0.02
    )


def test_where_all_is_worth_the_same_there_is_no_order():
    with pytest.raises(EvidenceError) as refused:
        fit_order(cases(lambda x: np.zeros(len(x))))
    assert refused.value.code == "value-021"


@pytest.mark.parametrize("form", [Form("a", False, None), Form("b", False, 0.75), Form("c", True, None)])
def test_what_is_written_orders_as_what_was_fitted(form):
    rng = np.random.default_rng(4)
    x, connected = heads(rng), (rng.random(60) < 0.3).astype(float)
    text, weights = written(form, WEIGHTS)
    names = (*PREDICTIONS, CONNECTED)
    columns = dict(zip(PREDICTIONS, x.T, strict=True)) | {CONNECTED: connected}
    served = Expression(text, names, "surfaces.feed.value", weights).of(columns)
    terms = logs_of(x) if form.logs else x
    if form.factor is not None:
        terms = terms * (form.factor + (1 - form.factor) * connected)[:, None]
    assert served == pytest.approx(terms @ WEIGHTS, rel=1e-4)
