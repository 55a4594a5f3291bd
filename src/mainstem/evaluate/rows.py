"""What is compared, and on which rows: logged impressions with their outcomes, and each arm's scores for them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.base.errors import DataError
from mainstem.evaluate.checks import same_length
from mainstem.evaluate.within_user import Floats, sums_by

_PRIOR_IMPRESSIONS = 20
"""An item's rate starts from the overall rate with this many imagined impressions."""


@dataclass(frozen=True, slots=True)
class ArmScores:
    """What one arm thinks of every logged row.

    Args:
        order: The arm's own final score, what it orders by. Rows outside validation and test are never read.
        heads: Its prediction per head; a head that is missing or None is stood in for by ``order``.
        calibrated: Whether the heads are probabilities; only then is calibration measured.

    Shapes: ``order[n]``, each head ``[n]``, with n the rows of ``LoggedRows``.
    """

    order: Floats
    heads: Mapping[str, Floats | None] = field(default_factory=dict)
    calibrated: bool = False

    def score(self, head: str) -> Floats:
        """What orders the rows for a head: its prediction, or the final score where there is none."""
        own = self.heads.get(head)
        return self.order if own is None else own

    def probability(self, head: str) -> Floats | None:
        """The head's probabilities, for an arm that has them."""
        return self.heads.get(head) if self.calibrated else None


@dataclass(frozen=True, slots=True)
class LoggedRows:
    """Logged impressions, split by day, with what training knew of their items and users.

    Shapes: all ``[n]``. ``labels`` hold one array a head: 0, 1, or NaN (or a negative number) where the log does not know.
    ``validation`` and ``test`` are masks; a choice is only ever made on validation, a claim only on test.
    ``item_train_counts`` and ``user_train_counts`` are impressions in training; ``popularity`` is the baseline's score.
    """

    users: NDArray[np.integer[Any]]
    items: NDArray[np.integer[Any]]
    surfaces: NDArray[Any]
    days: NDArray[np.integer[Any]]
    labels: Mapping[str, NDArray[Any]]
    validation: NDArray[np.bool_]
    test: NDArray[np.bool_]
    item_train_counts: NDArray[np.integer[Any]]
    user_train_counts: NDArray[np.integer[Any]]
    popularity: Floats

    def __post_init__(self) -> None:
        """Refuses what cannot be compared (``evaluate-002``, ``evaluate-004``)."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "labels"}
        same_length(len(self.users), **plain, **{f"labels[{head!r}]": label for head, label in self.labels.items()})
        if (self.validation & self.test).any():
            raise _bad_split(f"{int((self.validation & self.test).sum())} rows are in both validation and test")
        for name in ("validation", "test"):
            if not getattr(self, name).any():
                raise _bad_split(f"the {name} mask holds no row")

    @property
    def split_hash(self) -> str:
        """Names the split: two runs with the same hash were judged on the same rows in the same order."""
        digest = hashlib.sha256()
        for array in (self.users, self.items, self.days, self.validation, self.test):
            digest.update(np.ascontiguousarray(array, np.int64).tobytes())
        return digest.hexdigest()[:16]


def split_rows(
    *,
    users: ArrayLike,
    items: ArrayLike,
    surfaces: ArrayLike,
    days: ArrayLike,
    labels: Mapping[str, ArrayLike],
    train: NDArray[np.bool_],
    validation: NDArray[np.bool_],
    test: NDArray[np.bool_],
    popular_head: str = "long_view",
) -> LoggedRows:
    """The rows of a log that is split by masks, with counts and the popularity baseline taken from ``train`` alone."""
    user, item = np.asarray(users), np.asarray(items)
    known = {head: np.asarray(label) for head, label in labels.items()}
    same_length(len(user), items=item, train=train)
    if (train & (validation | test)).any():
        raise _bad_split(f"{int((train & (validation | test)).sum())} training rows are also in validation or test")
    return LoggedRows(
        users=user,
        items=item,
        surfaces=np.asarray(surfaces),
        days=np.asarray(days),
        labels=known,
        validation=validation,
        test=test,
        item_train_counts=train_counts(item, train),
        user_train_counts=train_counts(user, train),
        popularity=popularity(item, known[popular_head], train),
    )


def train_counts(ids: NDArray[np.integer[Any]], train: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many training rows carry each row's id."""
    known, dense = np.unique(ids, return_inverse=True)
    return np.bincount(dense[train], minlength=len(known))[dense]


def popularity(items: NDArray[np.integer[Any]], labels: NDArray[Any], train: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The popularity baseline: each item's rate of positives in training, drawn toward the overall rate when it is rare."""
    known, dense = np.unique(items, return_inverse=True)
    label = np.asarray(labels, np.float64)
    told = train & (label >= 0)
    shown, liked = np.bincount(dense[told], minlength=len(known)), sums_by(dense[told], label[told], len(known))
    overall = liked.sum() / max(1, shown.sum())
    return ((liked + _PRIOR_IMPRESSIONS * overall) / (shown + _PRIOR_IMPRESSIONS))[dense]


def _bad_split(found: str) -> DataError:
    return DataError(
        f"{found}, expected a train, a validation and a test part without a common row",
        code="evaluate-004",
        hint="split by the column `day`: earlier days train, later days test",
    )
