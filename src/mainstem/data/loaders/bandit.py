"""Public logs with known chances: Open Bandit (ZOZO) and Coat, from the folders their owners publish."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import DataError


@dataclass(frozen=True, slots=True)
class OpenBandit:
    """What one policy of the Open Bandit data showed in one campaign.

    Attributes:
        policy: ``random`` or ``bts``.
        campaign: ``men``, ``women`` or ``all``.
        items: What was shown, 0 to ``count - 1``.
        places: Where on the page, 0 to 2.
        clicks: 1 where it was clicked.
        propensity: The chance of the shown item in its place.
        contexts: The user's four hashed attributes, one column for each common value.
        times_us: When, in microseconds; rows of one time are one page.
        count: How many items the campaign has.

    Shapes: all ``[n]``, ``contexts`` ``[n, d]``.

    Source: Saito et al., Open Bandit Dataset and Pipeline, NeurIPS 2021 Datasets; CC BY 4.0.
    """

    policy: str
    campaign: str
    items: NDArray[np.int64]
    places: NDArray[np.int64]
    clicks: NDArray[np.float64]
    propensity: NDArray[np.float64]
    contexts: NDArray[np.float64]
    times_us: NDArray[np.int64]
    count: int


@dataclass(frozen=True, slots=True)
class Coat:
    """290 people's ratings of 300 coats: those they chose to rate, and those of coats that were drawn for them.

    Attributes:
        chosen: Ratings 1 to 5 of what people picked themselves, 0 where there is none.
        drawn: Ratings of coats drawn at random, 0 where there is none.
        propensity: The chance that a person picks a coat, as its owners estimated it.

    Shapes: all ``[users, items]``.

    Source: Schnabel et al., Recommendations as treatments, ICML 2016; research use.
    """

    chosen: NDArray[np.int64]
    drawn: NDArray[np.int64]
    propensity: NDArray[np.float64]


_COMMON_VALUE = 100
"""A value of an attribute that fewer rows hold has no column of its own."""


def read_open_bandit(folder: Path, policy: str, campaign: str = "men") -> OpenBandit:
    """One policy's rows of one campaign.

    Args:
        folder: The folder that holds ``random`` and ``bts``.
        policy: Whose rows.
        campaign: Which part of the shop.

    Raises:
        DataError: A file is missing (``data-001``), or a column of it (``data-003``).
    """
    place = folder / policy / campaign
    rows, items = _table(place / f"{campaign}.csv"), _table(place / "item_context.csv")
    features = [name for name in rows.columns if name.startswith("user_feature_")]
    _need(rows, ("timestamp", "item_id", "position", "click", "propensity_score", *features), place)
    if not features:
        _need(rows, ("user_feature_0",), place)
    return OpenBandit(
        policy=policy,
        campaign=campaign,
        items=rows["item_id"].cast(pl.Int64).to_numpy(),
        places=rows["position"].cast(pl.Int64).to_numpy() - 1,
        clicks=rows["click"].cast(pl.Float64).to_numpy(),
        propensity=rows["propensity_score"].cast(pl.Float64).to_numpy(),
        contexts=_one_hot(rows, features),
        times_us=rows["timestamp"].str.to_datetime(time_zone="UTC", time_unit="us").to_physical().to_numpy(),
        count=items.height,
    )


def read_coat(folder: Path) -> Coat:
    """The three matrices of the Coat data.

    Raises:
        DataError: A file is missing (``data-001``).
    """
    chosen, drawn, propensity = (_matrix(folder / f"{name}.ascii") for name in ("train", "test", "propensities"))
    return Coat(chosen.astype(np.int64), drawn.astype(np.int64), propensity)


def _one_hot(rows: pl.DataFrame, names: list[str]) -> NDArray[np.float64]:
    columns = []
    for name in names:
        values = rows[name].value_counts(sort=True).filter(pl.col("count") >= _COMMON_VALUE)[name].sort().to_list()
        columns += [(rows[name] == value).cast(pl.Float64).to_numpy() for value in values[1:]]
    return np.column_stack(columns) if columns else np.zeros((rows.height, 0))


def _table(file: Path) -> pl.DataFrame:
    if not file.is_file():
        raise _missing(file)
    return pl.read_csv(file)


def _matrix(file: Path) -> NDArray[np.float64]:
    if not file.is_file():
        raise _missing(file)
    return np.loadtxt(file)


def _need(rows: pl.DataFrame, columns: tuple[str, ...], place: Path) -> None:
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise DataError(
            f"{place} has no column {', '.join(missing)}", code="data-003", hint="docs/concepts/off-policy.md"
        )


def _missing(file: Path) -> DataError:
    return DataError(
        f"{file} is not there", code="data-001", hint="docs/concepts/off-policy.md says where the public sets come from"
    )
