"""Launches: ramps, margins and verdicts."""

from mainstem.launch.judge import Margin, Reading, read_metric
from mainstem.launch.migration import Migration, MigrationPlan, RampStep, Step, Verdict, migrate, ramp_users

__all__ = [
    "Margin",
    "Migration",
    "MigrationPlan",
    "RampStep",
    "Reading",
    "Step",
    "Verdict",
    "migrate",
    "ramp_users",
    "read_metric",
]
