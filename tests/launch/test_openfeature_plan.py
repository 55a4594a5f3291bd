"""A plan that an outside flag splits: an optional promise that changes no other plan's hash, and what of it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.openfeature import OutsideArms
from mainstem.launch.plan_file import Plan, check_unedited, parse_plan, plan_changes, plan_hash

PLAN = """
name = "one"
surfaces = ["feed", "groups"]
legacy = ["old"]
[metrics.clicks]
role = "primary"
column = "click"
margin = 0.01
[[steps]]
share = 0.05
hold_hours = 1
"""
HASH_BEFORE = "99ddef19402ae8e202f183f7b8fda7d1049c425daac93ef3083778d0f7c7864d"


def test_a_plan_without_flags_is_the_promise_it_was_before_there_were_any() -> None:
    plan = parse_plan(PLAN)
    assert plan_hash(plan) == HASH_BEFORE
    assert "flags" not in msgspec.json.decode(msgspec.json.encode(plan))
    assert (plan.flag_of("feed"), plan.flag_of("groups")) == ("", "")


def test_flags_are_part_of_the_promise() -> None:
    plain, plan = parse_plan(PLAN), parse_plan(PLAN + '[flags]\nfeed = "feed-new"\n')
    assert (plan.flag_of("feed"), plan.flag_of("groups")) == ("feed-new", "")
    assert plan_changes(plain, plan) == {"flags.feed": (None, "feed-new")}
    assert plan_hash(plain) != plan_hash(plan)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    with pytest.raises(LaunchError, match="edited after its start"):
        check_unedited(plan, plain)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ('[flags]\nfed = "feed-new"\n', "launch-044"),
        ('[flags]\nfeed = ""\n', "launch-043"),
        (f'[flags]\nfeed = "{"x" * 257}"\n', "launch-043"),
        ("[flags]\n", "launch-044"),
        ("[flags]\nfeed = 7\n", "launch-042"),
        ('[flags]\nfeed = "feed-new"\n[latency]\nshare = 0.05\n', "launch-044"),
    ],
)
def test_what_no_flag_can_be_is_refused(more: str, code: str) -> None:
    with pytest.raises(LaunchError) as refused:
        parse_plan(PLAN + more)
    assert refused.value.code == code


@dataclass
class Told:
    """What an SDK's client answers."""

    value: object = "treatment"
    reason: str = "SPLIT"
    error_code: str | None = None
    error_message: str = ""


@dataclass
class Client:
    """A client that answers one thing to all, or raises."""

    told: Told | Exception

    def get_string_details(self, flag_key: str, default_value: str, evaluation_context: Any = None) -> Told:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told

    def get_boolean_details(self, flag_key: str, default_value: bool, evaluation_context: Any = None) -> Told:
        raise AssertionError("an arm is no boolean")


@pytest.mark.parametrize(
    ("told", "arm", "failed"),
    [
        (Told(), "treatment", ""),
        (Told("control", "TARGETING_MATCH"), "control", ""),
        (Told("control", "CACHED"), "control", ""),
        (Told("holdout"), None, ""),
        (Told("outside", "DEFAULT"), None, ""),
        (Told("treatment", "DEFAULT"), None, "its default"),
        (Told("control", "DISABLED"), None, "its default"),
        (Told("", "DEFAULT"), None, "its default"),
        (Told("", "ERROR", "FLAG_NOT_FOUND"), None, "FLAG_NOT_FOUND"),
        (Told("treatment", "ERROR", "GENERAL", "no host"), None, "GENERAL: no host"),
        (ValueError("a bug of theirs"), None, "a bug of theirs"),
        (Told(["treatment"], "SPLIT"), None, ""),
    ],
)
def test_only_an_arm_that_was_decided_is_an_arm(told, arm: str | None, failed: str) -> None:
    found = OutsideArms(Client(told)).ask("feed-new", "7")
    assert found.arm == arm
    assert failed in found.failed
    assert bool(found.failed) == bool(failed)
