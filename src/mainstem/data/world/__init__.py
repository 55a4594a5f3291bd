"""A seeded world with known truth, for what logs cannot answer: closed loops, counterfactuals and faults."""

from mainstem.data.world.emit import make_log, write_world_log
from mainstem.data.world.faults import events
from mainstem.data.world.nature import VALUE_WEIGHTS
from mainstem.data.world.settings import WorldFaults, WorldSettings
from mainstem.data.world.slices import Slice
from mainstem.data.world.world import OracleSlate, Outcomes, Truth, World, make_world

__all__ = [
    "VALUE_WEIGHTS",
    "OracleSlate",
    "Outcomes",
    "Slice",
    "Truth",
    "World",
    "WorldFaults",
    "WorldSettings",
    "events",
    "make_log",
    "make_world",
    "write_world_log",
]
