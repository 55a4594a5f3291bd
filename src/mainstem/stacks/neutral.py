"""Neutral mode: the unified ranker with one more column, the legacy value of each candidate as its student tells it.

A surface whose ``value`` is ``neutral`` is ordered as its legacy stack ordered it; ``0.7 * neutral + 0.3 * (long_view + …)``
is a step on the way to the label heads; without ``neutral`` in its value the surface has left its teacher behind, and nothing
here is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mainstem.base.errors import ConfigError
from mainstem.base.heads import PREDICTIONS
from mainstem.base.request import Floats, Request, Rows
from mainstem.features.catalog import Catalog
from mainstem.ranking.student import Student
from mainstem.stacks.stage import Ranker
from mainstem.stacks.teachers import Teacher

NEUTRAL: Final = "neutral"
"""How a surface's value names the column."""


@dataclass(frozen=True, slots=True)
class Taught:
    """A teacher and who learned from it."""

    teacher: Teacher
    student: Student


class WithNeutral:
    """A ranker whose last column is what the surface's legacy value makes of its student's heads.

    Args:
        ranker: The unified ranker.
        taught: By surface; surfaces that do not read ``neutral`` need none and get zeros.
        catalog: Whose rows candidates are.
    """

    heads: tuple[str, ...] = (*PREDICTIONS, NEUTRAL)

    def __init__(self, ranker: Ranker, taught: Mapping[str, Taught], catalog: Catalog) -> None:
        self._ranker = ranker
        self._taught = dict(taught)
        self._ids = np.append(catalog.items.ids, np.int64(-1))

    def predict(self, request: Request, user: Any, rows: Rows, features: Floats) -> Floats:
        """One row of predictions a candidate, ``neutral`` last. Shapes: [n, 9]."""
        said = self._ranker.predict(request, user, rows, features)
        out = np.zeros((len(rows), len(self.heads)))
        out[:, :-1] = said
        taught = self._taught.get(request.surface)
        if taught is not None and len(rows):
            asked = taught.teacher.ask(request, self._ids[rows])
            out[:, -1] = taught.teacher.values(asked, taught.teacher.student_heads(asked, taught.student))
        return out


def check_taught(reads: Mapping[str, bool], taught: Mapping[str, Taught]) -> None:
    """Every surface whose value reads ``neutral`` has somebody who can say it.

    Raises:
        ConfigError: One has not (``value-003``).
    """
    alone = [name for name, does in reads.items() if does and name not in taught]
    if alone:
        raise ConfigError(
            f"the value of {', '.join(alone)} reads {NEUTRAL!r}, but no student of a legacy stack was taught that surface",
            code="value-003",
            hint="mainstem models distil",
        )
