"""Neutral mode: the unified ranker with one more column, the legacy value of each candidate as its student tells it.

A surface whose ``value`` is ``neutral`` is ordered as its legacy stack ordered it; ``0.7 * neutral + 0.3 * (long_view + …)``
is a step on the way to the label heads; without ``neutral`` in its value the surface has left its teacher behind, and nothing
here is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mainstem.base.errors import ConfigError
from mainstem.base.heads import PREDICTIONS
from mainstem.base.request import Floats, Ids, Request, Rows
from mainstem.base.settings import Settings
from mainstem.features.feedback import FeedbackBatch
from mainstem.ranking.student import Student
from mainstem.stacks.stage import Ranker, Stack
from mainstem.stacks.teachers import Teacher
from mainstem.value.expression import Expression, SurfaceValues, refuse_worthless

NEUTRAL: Final = "neutral"
"""How a surface's value names the column."""
CONNECTED: Final = "connected"
"""How a value names whether the viewer follows the item's creator: 1 or 0."""


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
        ids: Item id of each row of the unified catalog, the unknown item's last.
    """

    heads: tuple[str, ...] = (*PREDICTIONS, NEUTRAL)

    def __init__(self, ranker: Ranker, taught: Mapping[str, Taught], ids: Ids) -> None:
        self._ranker = ranker
        self._taught = dict(taught)
        self._ids = ids

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


class TeachersMemory:
    """A teacher's memory inside the unified stack: it sees what happens, in its own catalog's rows.

    Args:
        teacher: Whose memory.
        ids: Item id of each row of the unified catalog, the unknown item's last.
    """

    def __init__(self, teacher: Teacher, ids: Ids) -> None:
        self._stack = teacher.stack
        self._ids = ids

    def apply(self, feedback: FeedbackBatch) -> None:
        """Takes in outcomes."""
        self._stack.apply(feedback)

    def served(self, request: Request, rows: Rows) -> None:
        """Takes in what was just shown, whoever ranked it: the teacher's fatigue and debts are about the viewer."""
        known = self._stack.catalog.item_rows(self._ids[rows])
        for memory in self._stack.memories:
            memory.served(request, known)

    def save(self, path: Path) -> None:
        """Writes the memory for a restart."""
        self._kept().save(path)

    def load(self, path: Path) -> None:
        """Takes the memory from a file that ``save`` wrote."""
        self._kept().load(path)

    def _kept(self) -> Any:
        """What can be stored: the reader itself, or the state behind it."""
        reader = self._stack.memories[0]
        return reader if hasattr(reader, "save") else reader.state  # type: ignore[attr-defined]


class Connection:
    """Whether the viewer follows a candidate's creator; nobody follows an unknown one.

    Args:
        creators: Creator code of each catalog row, the unknown item's last.
    """

    def __init__(self, creators: Rows) -> None:
        self._creators = creators

    def __call__(self, request: Request, user: Any, rows: Rows) -> Floats:
        """1 where they do, else 0. Shapes: [n]."""
        creators = self._creators[rows]
        return (np.isin(creators, user.followed_creators) & (creators > 0)).astype(np.float64)


def surface_values(settings: Settings) -> dict[str, Expression]:
    """What each surface values, as an expression that may name ``neutral`` and ``connected`` beside the heads.

    Raises:
        ConfigError: A value or a weight of a surface is not what it should be (``value-001`` to ``value-008``).
    """
    served = settings.served().items()
    names = (*WithNeutral.heads, CONNECTED)
    values = {name: Expression(one.value, names, f"surfaces.{name}.value", one.weights) for name, one in served}
    for value in values.values():
        refuse_worthless(value)
    return values


def reading_neutral(settings: Settings) -> set[str]:
    """Surfaces whose value reads ``neutral``."""
    return {name for name, one in surface_values(settings).items() if NEUTRAL in one.reads}


def with_neutral(stack: Stack, settings: Settings, taught: Mapping[str, Taught]) -> Stack:
    """The stack with the column its surfaces' values ask for; as it is when none asks.

    Args:
        stack: The unified stack.
        settings: What each surface values.
        taught: Teacher and student, by surface; their teachers' memories move with the stack's from here on.

    Raises:
        ConfigError: A surface asks and nobody was taught it (``value-003``).
    """
    asking = reading_neutral(settings)
    if not asking:
        return stack
    alone = sorted(asking - set(taught))
    if alone:
        raise ConfigError(
            f"the value of {', '.join(alone)} reads {NEUTRAL!r}, but no student of a legacy stack was taught that surface",
            code="value-003",
            hint="mainstem models distil",
        )
    known = {id(one.teacher): one.teacher for name, one in taught.items() if name in asking}
    ids = np.append(stack.catalog.items.ids, np.int64(-1))
    return replace(
        stack,
        ranker=WithNeutral(stack.ranker, {name: taught[name] for name in asking}, ids),
        value=SurfaceValues(surface_values(settings), WithNeutral.heads, getattr(stack.value, "facts", None)),
        memories=(*stack.memories, *(TeachersMemory(one, ids) for one in known.values())),
    )
