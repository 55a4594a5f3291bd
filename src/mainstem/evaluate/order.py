"""How much of a next-item figure is the order in which a list was clicked through, and not taste.

MovieLens users rated screens full of films within minutes, often many in one second; the order inside a moment is that of
the screen. A model of transitions learns it, and the split puts targets behind it. So the same model is fitted and judged
again on the same events with the order inside each moment drawn at random: what vanishes was the list's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mainstem.base.errors import BenchError
from mainstem.data.sequences import LeaveOneOut, Sequences, leave_one_out
from mainstem.evaluate.next_item import Judged, judge
from mainstem.retrieval.next_item import NextItem


@dataclass(frozen=True, slots=True)
class OrderEffect:
    """One way to blur the order and what was left of the figures.

    Attributes:
        blurred: What was shuffled: ``as recorded``, ``within 1 s``, ``runs of 10``.
        moved: Share of events that stand elsewhere than recorded.
        judged: On the blurred split, whose targets are blurred as well.
    """

    blurred: str
    moved: float
    judged: Judged


def shuffled_within(sequences: Sequences, window_ms: int, seed: int = 0) -> Sequences:
    """Each user's events of one moment (times in the same window) in random order; the moments keep theirs.

    Raises:
        BenchError: ``bench-008`` for a set without times.
    """
    if sequences.times_ms is None:
        raise BenchError(
            f"found no times in {sequences.name}, expected them to know what happened in one moment",
            code="bench-008",
            hint="blur runs of consecutive events instead (shuffled_runs)",
        )
    return _shuffled(sequences, sequences.times_ms // window_ms, seed)


def shuffled_runs(sequences: Sequences, run: int, seed: int = 0) -> Sequences:
    """Each user's consecutive runs of so many events in random order, counted from the last event backwards."""
    place = np.arange(len(sequences.rows))
    back = np.repeat(sequences.starts[1:], sequences.lengths) - 1 - place
    return _shuffled(sequences, -(back // run), seed)


def order_effect(
    fit: Callable[[Sequences], NextItem],
    sequences: Sequences,
    *,
    windows_ms: Sequence[int] = (1_000, 60_000),
    runs: Sequence[int] = (),
    seed: int = 0,
    batch: int = 512,
) -> list[OrderEffect]:
    """The strict test figures as recorded and under every blur, the model fitted anew each time.

    Args:
        fit: Learns a model from what it may read (``split.fit``).
        windows_ms: Moments to shuffle inside, for sets with times.
        runs: Lengths of runs to shuffle inside, for sets without.
    """
    worlds = [("as recorded", sequences)]
    worlds += [(f"within {ms / 1000:g} s", shuffled_within(sequences, ms, seed)) for ms in windows_ms]
    worlds += [(f"runs of {run}", shuffled_runs(sequences, run, seed)) for run in runs]
    effects = []
    for name, world in worlds:
        split: LeaveOneOut = leave_one_out(world)
        moved = float((world.rows != sequences.rows).mean())
        effects.append(OrderEffect(name, moved, judge(fit(split.fit), split, "test", batch=batch)))
    return effects


def _shuffled(sequences: Sequences, moment: np.ndarray, seed: int) -> Sequences:
    drawn = np.random.default_rng(seed).random(len(sequences.rows))
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    return replace(sequences, rows=sequences.rows[np.lexsort((drawn, moment, owner))])
