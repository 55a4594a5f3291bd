"""A plan is what was promised: one hash a promise, edits refused by name, every bad field with its code."""

from __future__ import annotations

import random

import msgspec
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.plan_file import check_unedited, parse_plan, plan_changes, plan_hash, read_plan

PLAN = """
name = "feed-1"
surfaces = ["feed"]
legacy = ["content-first", "interest-first"]

[metrics.value]
role = "primary"
column = "value"
margin = 0.01
covariates = ["value_before"]

[metrics.ctr]
role = "guardrail"
kind = "ratio"
column = "clicks"
per = "impressions"
margin = 0.02

[metrics.latency_p99]
role = "diagnostic"
kind = "quantile"
column = "latency_ms"
quantile = 0.99
direction = "down"

[[steps]]
share = 0.01
hold_hours = 24

[[steps]]
share = 0.5
hold_hours = 168
"""


def test_a_plan_says_what_must_pass():
    plan = parse_plan(PLAN)
    assert list(plan.must_pass()) == ["value", "ctr"]
    assert plan.rollback.false_rate == 0.01


def test_the_hash_is_of_the_promise_and_not_of_the_text():
    head, *tables = PLAN.split("\n\n")
    metrics, steps = tables[:3], tables[3:]
    random.Random(3).shuffle(metrics)
    moved = ["\n".join([one.splitlines()[0], *reversed(one.splitlines()[1:])]) + "   # because\n" for one in metrics]
    other = "\n\n".join(["# why\n" + head + "\nalpha = 0.05", *moved, *steps])
    assert other != PLAN
    assert plan_hash(parse_plan(other)) == plan_hash(parse_plan(PLAN))
    # Kept from the first version: a promise must have the same hash in every later one.
    assert plan_hash(parse_plan(PLAN)).startswith("b0742f731a28a7ac")


@pytest.mark.parametrize(
    ("was", "now", "named"),
    [
        ("margin = 0.01", "margin = 0.03", "metrics.value.margin"),
        ("hold_hours = 24", "hold_hours = 1", "steps.1.hold_hours"),
        ('covariates = ["value_before"]', "covariates = []", "metrics.value.covariates"),
        ('role = "guardrail"', 'role = "diagnostic"', "metrics.ctr.role"),
    ],
)
def test_an_edit_after_the_start_is_refused_by_name(was, now, named):
    started, edited = parse_plan(PLAN), parse_plan(PLAN.replace(was, now))
    assert plan_hash(started) != plan_hash(edited)
    assert any(name.startswith(named) for name in plan_changes(started, edited))
    with pytest.raises(LaunchError, match=named.replace(".", r"\.")) as refused:
        check_unedited(started, edited)
    assert refused.value.code == "launch-045"
    check_unedited(started, parse_plan(PLAN + "# a remark"))


@pytest.mark.parametrize(
    ("was", "now", "code", "said"),
    [
        ('name = "feed-1"', "name = feed", "launch-040", "not TOML"),
        ('per = "impressions"', 'pre = "impressions"', "launch-041", "metrics.ctr.pre"),
        ("hold_hours = 24", "hold_hour = 24", "launch-041", "hold_hour"),
        ("margin = 0.01", 'margin = "1 %"', "launch-042", "margin"),
        ('column = "value"\n', "", "launch-042", "column"),
        ("margin = 0.01", "", "launch-043", "margin"),
        ("margin = 0.01", "margin = nan", "launch-043", "margin"),
        ("margin = 0.01", "margin = 1.0", "launch-043", "margin"),
        ('role = "guardrail"', 'role = "guardrial"', "launch-043", "role"),
        ("quantile = 0.99", "quantile = 99.0", "launch-043", "quantile"),
        ("share = 0.01", "share = 1.01", "launch-043", "share"),
        ("hold_hours = 24", "hold_hours = 0", "launch-043", "hold_hours"),
        ("share = 0.5", "share = 0.005", "launch-044", "only rises"),
        ('role = "primary"', 'role = "guardrail"', "launch-044", "primary"),
        ('per = "impressions"', "", "launch-044", "ratio"),
        ('covariates = ["value_before"]', 'covariates = ["value"]', "launch-044", "itself"),
        ('surfaces = ["feed"]', "surfaces = []", "launch-044", "surfaces"),
        ("quantile = 0.99", "quantile = 0.99\nwinsor_cap = 3.0", "launch-044", "winsor_cap"),
    ],
)
def test_every_bad_field_has_its_code(was, now, code, said):
    assert was in PLAN
    with pytest.raises(LaunchError, match=said) as refused:
        parse_plan(PLAN.replace(was, now, 1))
    assert refused.value.code == code
    assert refused.value.hint


def test_a_misspelt_key_is_named_with_the_one_that_was_meant():
    with pytest.raises(LaunchError) as refused:
        parse_plan(PLAN.replace("margin = 0.01", "margn = 0.01"))
    assert "'margin'" in refused.value.hint


def test_a_plan_that_is_not_there(tmp_path):
    with pytest.raises(LaunchError) as refused:
        read_plan(tmp_path / "launch.toml")
    assert refused.value.code == "launch-040"
    (tmp_path / "launch.toml").write_text(PLAN)
    assert read_plan(tmp_path / "launch.toml") == parse_plan(PLAN)
    assert msgspec.convert(msgspec.to_builtins(parse_plan(PLAN)), type(parse_plan(PLAN))) == parse_plan(PLAN)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("[origins.groups]\ncontent-first = 1.0\n", "no surface"),
        ("[origins.feed]\nelse = 1.0\n", "no legacy stack"),
        ("[origins.feed]\ncontent-first = 0.5\n", "adds up to 0.5"),
        ("[latency]\nshare = 0.2\n", "at most a share"),
    ],
)
def test_who_carries_a_surface_and_who_is_slowed_is_promised_wholly(more: str, found: str) -> None:
    with pytest.raises(LaunchError, match=found):
        parse_plan(PLAN + "\n" + more)


def test_a_surface_without_origins_is_carried_in_equal_parts() -> None:
    assert parse_plan(PLAN).carried("feed") == {"content-first": 0.5, "interest-first": 0.5}


@pytest.mark.parametrize("name", ["-a", ".a", "ä", "a b", "", "x" * 55])
def test_a_name_that_no_arm_could_carry_is_refused(name: str) -> None:
    with pytest.raises(LaunchError, match="name"):
        parse_plan(PLAN.replace('name = "feed-1"', f'name = "{name}"'))
