"""How the small model of the tests is trained."""

from __future__ import annotations

from mainstem.ranking.train import TrainSettings
from mainstem.ranking.trunk import TrunkShape

SMALL = TrainSettings(
    shape=TrunkShape(hidden=24, expert=12, experts=2, group_experts=1, crosses=1, cross_rank=4),
    epochs=6,
    batch=128,
    least_events=5,
)
