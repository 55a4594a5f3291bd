"""The ramp behind the real OpenFeature SDK, and an outside provider in place of the ramp."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api as sdk
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import in_memory_provider

from mainstem.base.errors import LaunchError
from mainstem.launch.assignment import OUTSIDE, Launch, ramp
from mainstem.launch.openfeature import OutsideRamp, RampProvider

api: Any = sdk
context: Any = EvaluationContext
memory: Any = in_memory_provider

LAUNCH = Launch("feed-1", ramp(0.25))


@pytest.fixture
def client() -> Iterator[Any]:
    yield api.get_client()
    api.clear_providers()


def test_flags_say_what_the_assignment_says(client):
    api.set_provider(RampProvider({"feed-1": LAUNCH}))
    for user in range(200):
        arm = LAUNCH.arm_of(user)
        asked = context(str(user))
        assert client.get_boolean_value("feed-1", False, asked) == (arm == "treatment")
        assert client.get_string_value("feed-1", "none", asked) == (arm or "none")
        told = client.get_object_details("feed-1", {}, asked)
        assert told.value == ({"arm": arm, "launch": "feed-1"} if arm else {})
        assert (told.reason, told.variant) == (("SPLIT", arm) if arm else ("DEFAULT", None))
    user = next(one for one in range(100) if LAUNCH.arm_of(one) == "treatment")
    assert asyncio.run(client.get_boolean_value_async("feed-1", False, context(str(user)))) is True


def test_text_ids_stay_text_when_told(client):
    api.set_provider(RampProvider({"feed-1": LAUNCH}, whole_numbers=False))
    arms = [client.get_string_value("feed-1", "none", context(str(user))) for user in range(100)]
    assert arms == [LAUNCH.arm_of(str(user)) or "none" for user in range(100)]
    assert arms != [LAUNCH.arm_of(user) or "none" for user in range(100)]


@pytest.mark.parametrize(
    ("ask", "flag", "default", "unit", "code"),
    [
        ("get_boolean_details", "feed-2", False, "1", "FLAG_NOT_FOUND"),
        ("get_boolean_details", "feed-1", False, None, "TARGETING_KEY_MISSING"),
        ("get_integer_details", "feed-1", 3, "1", "TYPE_MISMATCH"),
        ("get_float_details", "feed-1", 3.0, "1", "TYPE_MISMATCH"),
    ],
)
def test_what_cannot_be_resolved_gets_the_default_and_says_why(client, ask, flag, default, unit, code):
    api.set_provider(RampProvider({"feed-1": LAUNCH}))
    told = getattr(client, ask)(flag, default, context(unit))
    assert (told.value, told.error_code) == (default, code)


def test_a_step_of_the_ramp_is_seen_at_once_and_told(client):
    provider = RampProvider({"feed-1": LAUNCH})
    api.set_provider(provider)
    provider.update({"feed-1": Launch("feed-1", ramp(0.0))})
    assert not any(client.get_boolean_value("feed-1", False, context(str(user))) for user in range(50))
    provider.update({"feed-1": Launch("feed-1", ramp(1.0))})
    assert all(client.get_boolean_value("feed-1", False, context(str(user))) for user in range(50))
    changed: list[list[str]] = []
    provider.attach(lambda provider, event, details: changed.append(details.flags_changed))
    provider.update({"feed-1": Launch("feed-1", ramp(0.5)), "feed-2": LAUNCH})
    provider.update({"feed-1": Launch("feed-1", ramp(0.5)), "feed-2": LAUNCH})
    provider.update({"feed-2": LAUNCH})
    assert changed == [["feed-1", "feed-2"], ["feed-1"]]


def test_an_outside_provider_drives_the_ramp(client):
    flag = memory.InMemoryFlag(
        "off", {"on": True, "off": False},
        context_evaluator=lambda flag, asked: FlagResolutionDetails(
            value=int(asked.targeting_key) % 2 == 0, reason="TARGETING_MATCH"
        ),
    )  # fmt: skip
    api.set_provider(memory.InMemoryProvider({"new-feed": flag}))
    outside = OutsideRamp(client, "new-feed")
    assert outside.assign(range(4)).tolist() == [0, 1, 0, 1]
    assert outside.arm_of(7) == "control"


def test_a_fault_of_the_flag_service_exposes_nobody(client):
    api.set_provider(memory.InMemoryProvider({}))
    outside = OutsideRamp(client, "new-feed")
    assert outside.arm_of(1) is None
    assert "FLAG_NOT_FOUND" in outside.ask(1).failed
    with pytest.raises(LaunchError) as refused:
        outside.assign(["a", "b"])
    assert refused.value.code == "launch-074"
    assert outside.assign([]).tolist() == []
    api.clear_providers()  # the SDK's own provider answers every flag with its default
    assert outside.assign(["a", "b"]).tolist() == [OUTSIDE, OUTSIDE]
