"""A legacy ranker as a teacher: what it reads of candidates, what it says of them, and what it makes of that.

A teacher is a ported stack. Of it the migration keeps three things apart: its *inputs* (declared features, which the platform
computes for anybody), its *heads* (what a student learns) and its *value* (a formula, translated later). A student that answers the
teacher's heads from the same inputs therefore reproduces the teacher's order, whatever network is behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.base.request import Floats, Ids, Request, Rows
from mainstem.ranking.student import OPEN, Student
from mainstem.stacks.stage import Stack

LOOKED_UP: Final = {"interest-first": ("interest",)}
"""Heads of a teacher that are a declared feature of the viewer, not a network's answer: there is nothing to learn."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Candidates as a teacher sees them.

    Attributes:
        rows: Of the teacher's own catalog. Shapes: [n].
        features: As declared. Shapes: [n, f].
        inputs: The same as a student reads them: where the teacher puts something in the place of what is missing, that.
    """

    request: Request
    user: Any
    rows: Rows
    features: Floats
    inputs: Floats


class Teacher:
    """One ported legacy stack, asked for inputs, heads and values of given items.

    Args:
        stack: The ported stack; its memories move with feedback.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.name = stack.name
        looked_up = LOOKED_UP.get(stack.name, ())
        self.learned = [at for at, head in enumerate(stack.ranker.heads) if head not in looked_up]
        """Positions of the heads a student learns."""
        self.open = np.array([stack.ranker.heads[at] in (*HEADS, "item") for at in self.learned])
        """Which of them are probabilities; the others are amounts (seconds)."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it reads of a candidate."""
        return self.stack.features.names

    def ask(self, request: Request, item_ids: Ids) -> Asked:
        """The teacher's inputs for some items. An item it does not hold is an unknown item to it."""
        rows = self.stack.catalog.item_rows(item_ids)
        user = self.stack.features.user(request)
        features = self.stack.features.items(request, user, rows)
        known = getattr(self.stack.ranker, "known", None)
        return Asked(request, user, rows, features, features if known is None else known(user, features))

    def heads(self, asked: Asked) -> Floats:
        """What the legacy ranker itself says. Shapes: [n, h]."""
        return self.stack.ranker.predict(asked.request, asked.user, asked.rows, asked.features)

    def values(self, asked: Asked, heads: Floats) -> Floats:
        """What the legacy value makes of heads, its own or a student's. Shapes: [n]."""
        return self.stack.value.values(asked.request, asked.user, asked.rows, heads)

    def student_heads(self, asked: Asked, student: Student) -> Floats:
        """The student's answer in the teacher's columns; what is a feature is looked up, not guessed. Shapes: [n, h]."""
        out = np.empty((len(asked.rows), len(self.stack.ranker.heads)))
        out[:, self.learned] = student.predict(asked.request.surface, asked.inputs)
        for at, name in enumerate(self.stack.ranker.heads):
            if name in LOOKED_UP.get(self.name, ()):
                out[:, at] = self.stack.ranker.looked_up(asked.user, asked.rows)  # type: ignore[attr-defined]
        return out

    def targets(self, heads: Floats) -> NDArray[np.float32]:
        """What a student is taught: log odds of probabilities, logs of amounts. Shapes: [n, learned]."""
        said = heads[:, self.learned]
        p = np.clip(said, OPEN, 1.0 - OPEN)
        return np.where(self.open, np.log(p / (1.0 - p)), np.log1p(np.maximum(said, 0.0))).astype(np.float32)

    def moves(self, surface: str, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much a unit of each target moves the value, about: what a student's errors cost. Shapes: [learned].

        For a weighted sum that is its weight times the slope of the probability at the head's mean; one head alone counts 1.
        """
        weights = getattr(self.stack.value, "weights", None)
        if weights is None:
            return np.ones(targets.shape[1], np.float32)
        p = 1.0 / (1.0 + np.exp(-targets.astype(np.float64)))
        slope = np.where(self.open, (p * (1.0 - p)).mean(axis=0), 1.0)
        return np.abs(weights[surface][self.learned] * slope).astype(np.float32)
