"""Neutral mode: students that reproduce each legacy order on its surfaces, before label heads take over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.base.request import Ids, Request
from mainstem.data.log import Log, Split
from mainstem.evaluate.agreement import agreement
from mainstem.features.catalog import Catalog
from mainstem.ranking.student import Student, Tower
from mainstem.stacks.run import pool_of
from mainstem.stacks.stage import Stack
from mainstem.stacks.teachers import Asked, Teacher
from mainstem.workspace.layout import Workspace
from mainstem.workspace.platform import open_stack
from mainstem.workspace.students import students_folder, teacher_of, teachers

Progress = Callable[[float, str], None]
TAU, OVERLAP = 0.9, 0.8
"""What a student has to reach on its surface before the surface may move: mean tau and mean overlap at 20."""


@dataclass(frozen=True, slots=True)
class DistilPlan:
    """How much a teacher is asked.

    Attributes:
        requests: Viewers asked for, a surface.
        each: Candidates of each that are taught from, drawn from the pool.
        pool: How deep the pool is, of which ``each`` are drawn and on all of which a student is judged.
        judged: Share of the viewers whose requests only judge.
    """

    requests: int = 4_000
    each: int = 120
    pool: int = 300
    judged: float = 0.08
    epochs: int = 40
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Likeness:
    """How well a student reproduces its teacher's order on one surface, over requests of viewers it never saw.

    ``tau`` and ``overlap`` are mean, lower and upper 95 % bound (bootstrap over requests).
    """

    surface: str
    teacher: str
    requests: int
    tau: tuple[float, float, float]
    overlap: tuple[float, float, float]

    @property
    def neutral(self) -> bool:
        """Whether both means are reached."""
        return self.tau[0] >= TAU and self.overlap[0] >= OVERLAP

    def as_dict(self) -> dict[str, Any]:
        """As evidence."""
        said = {"surface": self.surface, "teacher": self.teacher, "requests": self.requests}
        return said | {"tau20": self.tau, "overlap20": self.overlap, "neutral": self.neutral}


def distil_teachers(
    workspace: Workspace, log: Log, parts: Split, plan: DistilPlan | None = None, progress: Progress | None = None
) -> list[Likeness]:
    """Teaches one student a legacy stack, judges it on unseen viewers, and stores both. Evidence: ``neutral``."""
    plan, progress = plan or DistilPlan(), progress or (lambda share, what: None)
    unified = open_stack(workspace, log, parts.validation_day)
    found: list[Likeness] = []
    known = teachers(workspace, log, parts.validation_day)
    for at, (name, teacher) in enumerate(known.items()):
        surfaces = [one for one in workspace.settings.served() if teacher_of(workspace, one) == name]

        def note(share: float, what: str, at: int = at, name: str = name) -> None:
            progress((at + share) / len(known), f"{name}: {what}")

        student, likeness = _taught(unified, teacher, surfaces, log, parts, plan, note)
        card = {"log": log.manifest.sha256, "split": parts.sha256, "likeness": [one.as_dict() for one in likeness]}
        student = Student(student.inputs, student.open, student.towers, {**student.card, **card})
        student.save(students_folder(workspace, name))
        found += likeness
    workspace.write_evidence("neutral", [one.as_dict() for one in found])
    return found


def _taught(
    unified: Stack,
    teacher: Teacher,
    surfaces: Sequence[str],
    log: Log,
    parts: Split,
    plan: DistilPlan,
    progress: Progress,
) -> tuple[Student, list[Likeness]]:
    """A student for some surfaces, and how it does."""
    # PyTorch takes seconds to import and only learning needs it.
    from mainstem.ranking.distil import DistilSettings, Taught, distil

    towers: dict[str, Tower] = {}
    judged: dict[str, list[tuple[Asked, NDArray]]] = {}
    for at, surface in enumerate(surfaces):
        rows: list[tuple[NDArray, NDArray]] = []
        judged[surface] = []
        asked = list(_requests(log, parts.validation_day, surface, plan))
        held = max(1, int(len(asked) * plan.judged))
        for number, request in enumerate(asked):
            ids = _pool(unified, request, plan.pool)
            ours = teacher.ask(request, ids)
            heads = teacher.heads(ours)
            values = teacher.values(ours, heads)
            if number < held:
                judged[surface].append((ours, values))
            else:
                drawn = _drawn(values, plan.each, np.random.default_rng([plan.seed, number]))
                rows.append((ours.inputs[drawn].astype(np.float32), teacher.targets(heads[drawn])))
            if number % 200 == 0:
                progress((at + 0.6 * number / len(asked)) / len(surfaces), f"asking it about {surface}")
        targets = np.concatenate([target for _, target in rows])
        request_of = np.repeat(np.arange(len(rows)), [len(target) for _, target in rows])
        taught = Taught(
            np.concatenate([inputs for inputs, _ in rows]), targets, teacher.moves(surface, targets), request_of
        )

        def note(share: float, what: str, at: int = at, surface: str = surface) -> None:
            progress((at + 0.6 + 0.4 * share) / len(surfaces), f"{surface}: {what}")

        towers[surface] = distil(taught, DistilSettings(epochs=plan.epochs, seed=plan.seed), note)
    student = Student(teacher.inputs, teacher.open, towers, {"teacher": teacher.name})
    return student, [likeness(teacher, student, surface, cases, plan.seed) for surface, cases in judged.items()]


def _drawn(values: NDArray, each: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Which candidates are taught: half of them the teacher's best, where the order is shown, the others from all the rest."""
    order = np.argsort(-values, kind="stable")
    best, rest = order[: each // 2], order[each // 2 :]
    return np.concatenate([best, random.permutation(rest)[: each - len(best)]])


def likeness(
    teacher: Teacher, student: Student, surface: str, cases: Sequence[tuple[Asked, NDArray]], seed: int
) -> Likeness:
    """How well the student reproduces the teacher's order of these requests."""
    each = [agreement(values, teacher.values(asked, teacher.student_heads(asked, student))) for asked, values in cases]
    tau, overlap = np.array([one.tau for one in each]), np.array([one.overlap for one in each])
    return Likeness(surface, teacher.name, len(each), _interval(tau, seed), _interval(overlap, seed))


def _interval(values: NDArray[np.float64], seed: int) -> tuple[float, float, float]:
    """Mean and bootstrap bounds over requests; requests without an order are left out."""
    there = values[np.isfinite(values)]
    if not len(there):
        raise ModelError("the teacher orders nothing: all its values are equal", code="model-095")
    drawn = np.random.default_rng(seed).integers(0, len(there), (1_000, len(there)))
    low, high = np.quantile(there[drawn].mean(axis=1), [0.025, 0.975])
    return round(float(there.mean()), 4), round(float(low), 4), round(float(high), 4)


def _requests(log: Log, day: int, surface: str, plan: DistilPlan) -> Iterator[Request]:
    """Requests of viewers of a surface at logged moments of a day, in a drawn order."""
    here = log.impressions.filter((pl.col("surface") == surface) & (pl.col("day") <= day))
    if not here.height:
        raise ModelError(f"the log shows nothing on surface {surface!r} up to {day}", code="model-096")
    random = np.random.default_rng(plan.seed)
    users = random.permutation(np.sort(here["user_id"].unique().to_numpy()))
    times = log.impressions.filter(pl.col("day") == day)["time_ms"].to_numpy()
    scenarios = here["scenario"].to_numpy()
    for number in range(plan.requests):
        yield Request(
            request_id=number,
            user_id=int(users[number % len(users)]),
            surface=surface,
            now_ms=int(times[random.integers(len(times))]),
            count=1,
            scenario=int(scenarios[random.integers(len(scenarios))]),
        )


def _pool(unified: Stack, request: Request, most: int) -> Ids:
    """Ids of what the unified retrieval finds for a request: what the neutral order will be asked to order."""
    catalog: Catalog = unified.catalog
    return catalog.items.ids[pool_of(unified, request).rows[:most]]
