"""The workspace's log: brought in, opened, split by day."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl

from mainstem.base.errors import DataError
from mainstem.base.heads import HEADS
from mainstem.data.importer import import_log
from mainstem.data.log import Log, Split, read_log, split_by_day
from mainstem.data.manifest import Manifest
from mainstem.workspace.layout import Workspace

TEST_SHARE: Final = 0.4
"""Share of the last days that are test days when the settings name none."""

OFFICIAL_TEST_BEGINS: Final = 20220429
"""First test day of the public KuaiRand-Pure protocol; its last, 20220508, is not in every copy of the log."""


def import_into(workspace: Workspace, path: Path | None, progress: Callable[..., None] | None = None) -> Manifest:
    """Brings a source into the workspace's log folder.

    Raises:
        DataError: Nothing says where the source is (``data-071``), or what ``import_log`` raises.
    """
    source = path or (Path(workspace.settings.data.path) if workspace.settings.data.path else None)
    if source is None:
        raise DataError(
            "no source named, neither on the command line nor as [data] path in mainstem.toml",
            code="data-071",
            hint="mainstem data import PATH",
        )
    if not source.is_absolute() and not source.exists():
        source = workspace.folder / source
    return import_log(source, workspace.log, workspace.settings.data, progress)


def open_log(workspace: Workspace) -> Log:
    """The log the workspace holds. Raises DataError (``data-001``) when there is none yet."""
    return read_log(workspace.log)


def real_pack() -> Path | None:
    """The KuaiRand-Pure folder on this machine: in ``MAINSTEM_DATA``, or in ``../shared/data`` beside the checkout."""
    named = os.environ.get("MAINSTEM_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "data"
    for name in ("kuairand_pure", "KuaiRand-Pure", "kuairand_pure.tar.xz"):
        if (folder / name).exists():
            return folder / name
    return None


def split(workspace: Workspace, log: Log) -> Split:
    """Which days train, validate and test: as set, else the public protocol's for KuaiRand, else the last 40 % of days."""
    training, days = workspace.settings.training, log.days
    if len(training.test_days) == 2:
        first, last = training.test_days
        test = [day for day in days if first <= day <= last]
    elif log.manifest.loader == "kuairand" and days[0] < OFFICIAL_TEST_BEGINS - 1 and days[-1] >= OFFICIAL_TEST_BEGINS:
        test = [day for day in days if day >= OFFICIAL_TEST_BEGINS]
    else:
        test = days[-max(1, round(TEST_SHARE * len(days))) :]
    before = [day for day in days if day < test[0]] if test else []
    if len(before) < 2:
        raise DataError(
            f"the log has the days {days}; one at least must train, one validate and one test",
            code="data-006",
            hint="[training] test_days = [first, last] chooses them",
        )
    return split_by_day(log, training.validation_day or before[-1], test)


def base_rates(log: Log) -> list[dict[str, Any]]:
    """Rows and the share of each outcome, by surface."""
    rates = log.impressions.group_by("surface").agg(
        pl.len().alias("rows"), pl.col("user_id").n_unique().alias("users"), *(pl.col(head).mean() for head in HEADS)
    )
    return rates.sort("rows", descending=True).to_dicts()
