"""The ramp of three surfaces in a made world, and the rule that decides each step."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from mainstem.base.errors import ConfigError
from mainstem.base.seeds import uniforms
from mainstem.data.world import World, WorldSettings, make_world
from mainstem.launch import Margin, MigrationPlan, RampStep, migrate, ramp_users, read_metric
from mainstem.launch.judge import _student

PLAN = MigrationPlan("old", "new", requests_a_look=60, draws=3)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(WorldSettings(users=3000, items=1500, days=4, impressions=8000, seed=9))


def serve_by(world: World, better: dict[tuple[str, str], float]):
    """A stack that orders by the oracle's value with noise; more noise is a worse stack. Stands in for a trained one."""

    def serve(stack: str, surface: str, user: int, now_ms: int, count: int):
        some = world.items.item_ids[(uniforms(1, user, now_ms, np.arange(60)) * 1500).astype(np.int64)]
        some = np.unique(some)
        value = world.truth(user, some, surface, now_ms).value
        noise = uniforms(2, hash_of(stack), user, now_ms, some)
        return some[np.argsort(-(value + better.get((stack, surface), 2.0) * noise), kind="stable")][:count]

    return serve


def hash_of(stack: str) -> int:
    return {"old": 1, "new": 2, "same": 1}[stack]


def test_two_names_of_one_stack_pass_everywhere(world: World) -> None:
    migration = migrate(world, serve_by(world, {}), replace(PLAN, new="same"))
    assert migration.moved
    assert "made world" in migration.source
    assert [v.surface for v in migration.verdicts] == ["groups", "pages", "feed"]
    for verdict in migration.verdicts:
        assert [step.share for step in verdict.steps if step.decision == "go"] == [0.01, 0.1, 0.5, 1.0]
        assert all(r.change.mid == 0 for step in verdict.steps for r in step.readings)


def test_a_better_stack_moves(world: World) -> None:
    noise = {("new", s): 0.02 for s in ("feed", "groups", "pages")}
    assert migrate(world, serve_by(world, noise), PLAN).moved


def test_a_regression_on_one_small_surface_is_blocked(world: World) -> None:
    noise = {("new", s): 0.02 for s in ("feed", "pages")} | {("new", "groups"): 99.0}
    migration = migrate(world, serve_by(world, noise), PLAN)
    by = {v.surface: v for v in migration.verdicts}
    assert by["groups"].decision == "roll back"
    assert by["groups"].share == 0
    assert "worse" in by["groups"].reason
    assert by["feed"].decision == by["pages"].decision == "go"
    assert not migration.moved


def test_what_is_not_shown_is_held_and_never_passed(world: World) -> None:
    # As good in truth, another order: too few requests to show it within a margin of half a percent.
    tight = replace(
        PLAN, margins=(Margin("value", 0.005),), steps=(RampStep(1.0),), surfaces=("feed",), requests_a_look=25
    )
    (verdict,) = migrate(world, serve_by(world, {}), tight).verdicts
    assert verdict.decision == "hold"
    assert [step.look for step in verdict.steps] == [1, 2, 3]
    assert [step.requests for step in verdict.steps] == [25, 50, 75]
    assert "not neutral" in verdict.reason
    change = verdict.steps[-1].readings[0].change
    assert change.low < 0 < change.high  # "not significant", and still not a pass


def test_same_seed_same_answer_and_rows(world: World) -> None:
    one, two = (migrate(world, serve_by(world, {}), replace(PLAN, surfaces=("pages",))) for _ in range(2))
    assert one == two
    rows = one.as_rows()
    assert len(rows) == 4 * len(one.verdicts[0].steps)
    assert {row["metric"] for row in rows} == {"value", "click", "long_view", "hate"}


def test_an_empty_slate_is_worth_nothing(world: World) -> None:
    good = serve_by(world, {})
    serve = lambda stack, *ask: [] if stack == "new" else good(stack, *ask)  # noqa: E731
    (verdict,) = migrate(world, serve, replace(PLAN, surfaces=("feed",))).verdicts
    assert verdict.decision == "roll back"
    assert verdict.steps[-1].readings[0].new == 0


def test_the_ramp_only_adds_users(world: World) -> None:
    ids = world.people.user_ids
    groups = [set(ramp_users(ids, "feed", share, 7)) for share in (0.01, 0.1, 0.5, 1.0)]
    assert all(small <= large for small, large in pairwise(groups))
    assert [len(g) / len(ids) for g in groups] == pytest.approx([0.01, 0.1, 0.5, 1.0], abs=0.03)
    assert set(ramp_users(ids, "pages", 0.1, 7)) != groups[1]
    assert len(ramp_users(ids[:3], "feed", 0.001, 7)) == 1


def test_a_loss_of_exactly_the_margin_passes_no_more_often_than_declared() -> None:
    rng = np.random.default_rng(4)
    passed, trials = 0, 3000
    for _ in range(trials):
        requests = 1.0 + rng.poisson(1.0, 60)
        old = rng.gamma(2.0, 2.0, 60) * requests
        new = 0.95 * old + rng.normal(0, 1.0, 60)
        passed += read_metric(Margin("value", 0.05), old, new, requests).state == "not worse"
    assert passed / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert passed > 0.02 * trials  # and it is a test, not a wall


def test_looking_three_times_does_not_help() -> None:
    rng = np.random.default_rng(5)
    passed, trials = 0, 2000
    for _ in range(trials):
        old = rng.gamma(2.0, 2.0, 180)
        new = 0.95 * old + rng.normal(0, 1.0, 180)
        looks = (read_metric(Margin("value", 0.05), old[:n], new[:n], np.ones(n), looks=3) for n in (60, 120, 180))
        passed += any(r.state == "not worse" for r in looks)
    assert passed / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


def test_harm_is_read_the_other_way() -> None:
    margin = Margin("hate", 0.02, relative=False, lower_is_better=True)
    ones, none = np.ones(400), np.zeros(400)
    assert read_metric(margin, none, none, ones).state == "not worse"
    assert read_metric(margin, none, 0.2 * ones, ones).state == "worse"
    assert read_metric(margin, 0.2 * ones, none, ones).state == "not worse"
    # No hate in forty requests does not show that one in fifty is not reached.
    assert read_metric(margin, none[:40], none[:40], ones[:40]).state == "undecided"


def test_few_users_decide_nothing() -> None:
    old = np.full(19, 5.0)
    assert read_metric(Margin("value", 0.1), old, old, np.ones(19)).state == "undecided"
    assert read_metric(Margin("value", 0.1), old[:1], old[:1], np.ones(1)).state == "undecided"
    assert read_metric(Margin("value", 0.1), np.append(old, 5.0), np.append(old, 5.0), np.ones(20)).state == "not worse"


@pytest.mark.parametrize("freedom", [19, 40, 200])
def test_student_quantile_is_scipys(freedom: int) -> None:
    for level in (0.9, 0.95, 1 - 0.1 / 3):
        assert _student(level, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), abs=2e-3)
    assert _student(0.95, 10**9) == pytest.approx(NormalDist().inv_cdf(0.975))


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (lambda: Margin("value", 0.0), "config-911"),
        (lambda: replace(PLAN, margins=(Margin("vlue", 0.1),)), "config-912"),
        (lambda: replace(PLAN, surfaces=("feeds",)), "config-912"),
        (lambda: replace(PLAN, steps=(RampStep(0.5), RampStep(0.1))), "config-913"),
        (lambda: replace(PLAN, steps=()), "config-913"),
    ],
)
def test_plans_that_cannot_be_are_refused(wrong, code: str) -> None:
    with pytest.raises(ConfigError) as refused:
        wrong()
    assert refused.value.code == code
    assert refused.value.hint
