"""What one surface on one stack needs, from the definition that serves it: inference, training and data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc  # type: ignore[import-untyped]

from mainstem.base.errors import CapacityError
from mainstem.base.settings import Surface
from mainstem.capacity.hardware import Machine

TABLES = ("id_in", "category_in")
"""Weights that are looked up and not multiplied."""
AT_CATALOG = ("static_in", "vector_in")
"""Weights that are multiplied once when a model meets a catalogue."""
USER_SIDE = ("user_in", "gate_w", "head_user_w", "moment_in", "moment_out", "scale_w")
"""Weights that are multiplied once a request."""


@dataclass(frozen=True, slots=True)
class StackShape:
    """A stack's definition as work: what a request multiplies, gathers, reads and logs.

    Args:
        name: The stack.
        retrieved: Candidates that the sources offer, before the union.
        candidates: Candidates after the union.
        ranked: Candidates that the model scores.
        user_flops: Operations a request that do not depend on the candidates.
        candidate_flops: Operations a candidate.
        gathered_bytes: Bytes looked up a candidate.
        model_bytes: Weights and tables.
        features: Feature values logged a row.
    """

    name: str
    retrieved: int
    candidates: int
    ranked: int
    user_flops: float
    candidate_flops: float
    gathered_bytes: float
    model_bytes: float
    features: int

    @property
    def request_flops(self) -> float:
        """Operations of the ranker a request, multiplications and additions counted apart."""
        return self.user_flops + self.ranked * self.candidate_flops


def stack_shape(name: str, surface: Surface, weights: Mapping[str, NDArray[Any]], items: int) -> StackShape:
    """The shape of a ranker's stack from the settings and the weights that serve.

    Args:
        name: The stack.
        surface: The surface's settings: sources, candidates, how many are ranked.
        weights: The model's weights by name (``Model.weights``).
        items: Items in the catalogue; the first layer of each is kept.

    Raises:
        CapacityError: ``capacity-017`` for weights that are not of the unified network.
    """
    missing = [needed for needed in ("user_in", "item_in", "cross_in", "expert_w", "head_w") if needed not in weights]
    if missing:
        raise CapacityError(
            f"found weights without {', '.join(missing)} in {name}, expected the unified network's",
            code="capacity-017",
            hint="state another stack's shape by hand: StackShape takes plain numbers",
        )
    hidden = int(weights["user_in"].shape[1])
    experts = weights["expert_w"].shape[1] // weights["head_w"].shape[0]
    once = sum(2.0 * weights[one].size for one in USER_SIDE if one in weights)
    each = 2.0 * (weights["item_in"].size + weights["cross_in"].size + weights["expert_w"].size)
    each += 2.0 * weights["head_w"].size * experts
    each += sum(2.0 * weights[one].size for one in ("low_w", "high_w", "head_item_w") if one in weights)
    inputs = sum(int(weights[one].shape[0]) for one in ("user_in", "item_in", "cross_in"))
    return StackShape(
        name=name,
        retrieved=sum(surface.sources.values()) or surface.candidates,
        candidates=surface.candidates,
        ranked=surface.rank,
        user_flops=once,
        candidate_flops=each,
        gathered_bytes=4.0 * hidden,
        model_bytes=float(sum(np.asarray(one).nbytes for one in weights.values()) + 4 * hidden * (items + 1)),
        features=inputs,
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """A surface's demand.

    Args:
        requests_day: Requests a day in week 0.
        peak: The busiest five minutes over the mean.
        shown: Items shown a request, which are rows of the log.
        kept: The share of scored items that are logged without having been shown.
    """

    requests_day: float
    peak: float = 2.0
    shown: float = 10.0
    kept: float = 0.0

    def __post_init__(self) -> None:
        if not (self.requests_day >= 0.0 and self.peak >= 1.0 and self.shown >= 0.0 and 0.0 <= self.kept <= 1.0):
            raise CapacityError(
                f"found {self}, expected no negative traffic, a peak of at least 1 and a share in [0, 1]",
                code="capacity-018",
                hint="peak is the busiest rate over the mean rate",
            )

    @property
    def peak_rate(self) -> float:
        """Requests a second at the busiest."""
        return self.requests_day / 86_400.0 * self.peak


@dataclass(frozen=True, slots=True)
class Serving:
    """How a stack is run.

    Args:
        fixed_s: Seconds of a core a request beside the candidates: measured, not from a data sheet.
        per_candidate_s: Seconds of a core a ranked candidate: measured.
        utilisation: The load a worker may carry at the peak, from `load.knee` and a margin.
        regions: Regions that serve.
        lost: Regions that may be lost at a time.
        out: The chance that a worker is out at a moment.
        chance: The chance with which enough workers are there.
        least: The fewest workers of a region.
        workspace_bytes: Memory a worker needs beside the model.
        cached_users: Users whose encoded state is kept.
        state_bytes: Bytes of a kept state.
        hit: The share of requests whose user's state is found.
        user_s: Seconds of a core to encode a user whose state is not found.
    """

    fixed_s: float
    per_candidate_s: float
    utilisation: float = 0.7
    regions: int = 1
    lost: int = 0
    out: float = 0.02
    chance: float = 0.999
    least: int = 1
    workspace_bytes: float = 5e8
    cached_users: float = 0.0
    state_bytes: float = 0.0
    hit: float = 0.0
    user_s: float = 0.0

    def __post_init__(self) -> None:
        if not (
            0.0 < self.utilisation <= 1.0
            and 0 <= self.lost < self.regions
            and 0.0 <= self.out < 1.0
            and 0.0 < self.chance < 1.0
            and 0.0 <= self.hit <= 1.0
            and min(self.fixed_s, self.per_candidate_s, self.user_s) >= 0.0
            and self.fixed_s + self.per_candidate_s > 0.0
        ):
            raise CapacityError(
                f"found {self}, expected shares in bounds, fewer regions lost than there are and a positive time",
                code="capacity-019",
                hint="take the seconds from mainstem capacity calibrate",
            )


@dataclass(frozen=True, slots=True)
class Inference:
    """What serving a surface takes.

    Args:
        request_s: Seconds of a core a request.
        cores: Cores at the peak, every region, spares included.
        before_spares: Cores before those for workers that are out.
        machines: Machines of the kind asked about.
        memory_bytes: Memory a machine needs.
        bound_by: ``cores`` or ``memory``.
        price_week: Money a week.
    """

    request_s: float
    cores: int
    before_spares: int
    machines: int
    memory_bytes: float
    bound_by: str
    price_week: float


def inference(stack: StackShape, traffic: Traffic, serving: Serving, machine: Machine) -> Inference:
    """Cores and machines a surface needs at its peak, with a region lost and some workers out.

    Raises:
        CapacityError: ``capacity-020`` when the model does not fit the machine.
    """
    request_s = serving.fixed_s + stack.ranked * serving.per_candidate_s + (1.0 - serving.hit) * serving.user_s
    busy = traffic.peak_rate * request_s / serving.utilisation
    a_region = max(math.ceil(busy / (serving.regions - serving.lost)), serving.least)
    spared = with_spares(a_region, serving.out, serving.chance)
    whole = stack.model_bytes + serving.workspace_bytes
    state = serving.cached_users * serving.state_bytes / serving.regions
    if whole > machine.memory_bytes:
        raise CapacityError(
            f"found {stack.name} of {whole / 1e9:.1f} GB for a {machine.name} of {machine.memory_bytes / 1e9:.1f} GB",
            code="capacity-020",
            hint="a larger machine, or smaller tables",
        )
    by_cores = math.ceil(spared / machine.cores)
    room = machine.memory_bytes - whole
    by_memory = math.ceil(state / room) if state else 1
    machines = max(by_cores, by_memory)
    return Inference(
        request_s=request_s,
        cores=spared * serving.regions,
        before_spares=a_region * serving.regions,
        machines=machines * serving.regions,
        memory_bytes=whole + state / machines,
        bound_by="memory" if by_memory > by_cores else "cores",
        price_week=machines * serving.regions * machine.price_week,
    )


def with_spares(needed: int, out: float, chance: float) -> int:
    """The fewest workers of which ``needed`` are up with this chance when each is out now and then."""
    if out == 0.0 or needed == 0:
        return needed
    low, high = needed, needed
    while bdtrc(needed - 1, high, 1.0 - out) < chance:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if bdtrc(needed - 1, middle, 1.0 - out) >= chance else (middle + 1, high)
    return low


@dataclass(frozen=True, slots=True)
class Training:
    """How a stack learns.

    Args:
        rows: Rows of one training.
        epochs: Times each is read.
        weekly: Trainings a week.
        rows_s: Rows a second and worker: measured.
        experiments: Trainings of experiments a week, in whole trainings.
        backfill_rows: Rows recomputed a week.
        goodput: The share of a worker's hours that train.
        reader_bytes_s: Bytes a second one reader delivers; 0 for no readers of their own.
    """

    rows: float
    epochs: float
    weekly: float
    rows_s: float
    experiments: float = 0.0
    backfill_rows: float = 0.0
    goodput: float = 0.9
    reader_bytes_s: float = 0.0


def training_hours(stack: Training) -> float:
    """Worker-hours a week.

    Raises:
        CapacityError: ``capacity-021`` without a measured rate, or for a negative number.
    """
    numbers = (stack.rows, stack.epochs, stack.weekly, stack.experiments, stack.backfill_rows)
    if not (stack.rows_s > 0.0 and 0.0 < stack.goodput <= 1.0 and min(numbers) >= 0.0):
        raise CapacityError(
            f"found {stack}, expected a positive rate, a goodput in (0, 1] and nothing below zero",
            code="capacity-021",
            hint="take the rows a second from mainstem capacity calibrate",
        )
    rows = stack.rows * stack.epochs * (stack.weekly + stack.experiments) + stack.backfill_rows
    return rows / stack.rows_s / stack.goodput / 3_600.0


def readers(stack: Training, row_bytes: float, workers: float) -> int:
    """Readers that keep this many training workers fed."""
    wanted = stack.rows_s * row_bytes * workers
    return math.ceil(wanted / stack.reader_bytes_s) if stack.reader_bytes_s else 0


@dataclass(frozen=True, slots=True)
class Logging:
    """How a stack's rows are kept.

    Args:
        row_bytes: Bytes a row before compression: measured.
        compression: Bytes before over bytes after.
        repeats: Rows before over rows after repeats are taken out.
        days: Days kept.
        copies: Copies kept.
        index: Index bytes over data bytes.
    """

    row_bytes: float
    compression: float = 1.0
    repeats: float = 1.0
    days: float = 90.0
    copies: int = 3
    index: float = 0.0

    def __post_init__(self) -> None:
        if min(self.row_bytes, self.days, self.index) < 0.0 or min(self.compression, self.repeats, self.copies) < 1.0:
            raise CapacityError(
                f"found {self}, expected nothing below zero and factors of at least 1",
                code="capacity-022",
                hint="compression and repeats are before over after",
            )


def log_rows_day(stack: StackShape, traffic: Traffic) -> float:
    """Rows a day: what was shown, and the sample of what was not."""
    unseen = max(0.0, stack.ranked - traffic.shown)
    return traffic.requests_day * (traffic.shown + traffic.kept * unseen)


def dataset_bytes(stack: StackShape, traffic: Traffic, log: Logging) -> float:
    """Bytes kept once the retention is full."""
    small = log.row_bytes / (log.compression * log.repeats)
    return log_rows_day(stack, traffic) * small * log.days * log.copies * (1.0 + log.index)


def dual_logging_bytes(each: Mapping[str, float], shared: float) -> float:
    """Bytes while several stacks log: their sum less the columns that are logged once for all.

    Args:
        each: Bytes of each stack alone.
        shared: The share of the smallest stack's columns that every other logs as well.
    """
    if not 0.0 <= shared <= 1.0:
        raise CapacityError(
            f"found a shared part of {shared}, expected a share in [0, 1]",
            code="capacity-022",
            hint="0.4 when four of ten bytes are logged by every stack",
        )
    kept = sorted(each.values())
    return sum(kept) - shared * kept[0] * (len(kept) - 1) if kept else 0.0
