"""Planted faults are found and named; clean replays raise no alarm."""

from __future__ import annotations

import pytest
from small_worlds import small_asked, small_configuration

from mainstem.parity.features.configuration import arranged
from mainstem.parity.features.drill import compared, drilled, roots
from mainstem.parity.features.faulty import FAULTS, World
from mainstem.parity.features.served import Course

CONFIGURATION = small_configuration(rows=4_000, past=800)
ASKED = small_asked(CONFIGURATION, 250)


def _world(seed: int, **course: int) -> World:
    log = arranged(CONFIGURATION.streams, seed, late_share=0.05)
    return World(CONFIGURATION, log, ASKED, Course(seed, other_process=False, **course))


def _found(name: str, seed: int) -> None:
    found = drilled(name, _world(seed, restarts=1), seed)
    assert found.caught
    assert found.right, (found.story, found.feature, found.cause, found.sentence)


@pytest.mark.parametrize("name", ["window", "default", "stale"])
def test_a_planted_fault_is_found_and_named(name: str) -> None:
    _found(name, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"window", "default", "stale"}))
def test_every_other_fault_is_found_and_named(name: str) -> None:
    _found(name, 1)


def test_there_are_twelve_faults() -> None:
    assert len(FAULTS) == 12


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_clean_replay_raises_no_alarm(seed: int) -> None:
    world = _world(seed, restarts=seed % 4, poll_ms=1 + 50_000 * seed)
    assert compared(world, world_served(world)).gate().passed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_clean_replays_raise_no_alarm() -> None:
    for seed in range(20):
        world = _world(seed, restarts=seed % 4, poll_ms=1 + 20_000 * seed)
        assert compared(world, world_served(world)).gate().passed, seed


def world_served(world: World):
    from mainstem.parity.features.served import Replay

    return Replay(world.configuration, world.log, world.asked, world.course).run()


def test_a_difference_begins_where_nothing_read_differs() -> None:
    features = CONFIGURATION.features
    assert roots(features, ("hour_sin", "local_s", "utc_offset_ms")) == ("utc_offset_ms",)
    assert roots(features, ("gap_1", "age")) == ("gap_1", "age")
