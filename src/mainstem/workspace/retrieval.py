"""Trains a workspace's retrieval on its log, fits how far to believe each source, and says what every source is worth."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from mainstem.base.errors import RetrievalError
from mainstem.base.request import Found, Request, Rows
from mainstem.base.seeds import uniforms
from mainstem.data.log import Log, Split
from mainstem.evaluate.recall import DEPTHS, UNION, Offered, RecallTable, recall_table
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.unified_state import FeatureState
from mainstem.ranking.model import Model
from mainstem.retrieval.follows import Follows
from mainstem.retrieval.fusion import Lists, fit_curves
from mainstem.retrieval.trained import Retrieval, load_retrieval
from mainstem.stacks.retrieving import QUOTAS, Demand, sources_of, union_of
from mainstem.stacks.stage import Source, Union
from mainstem.stacks.viewer import LiveFeatures
from mainstem.workspace.definitions import attribute_tables
from mainstem.workspace.layout import Workspace
from mainstem.workspace.retrieval_models import encoder_of, followers_of, taken

Progress = Callable[..., None]

VALIDATION_REQUESTS: Final = 4_000
TEST_REQUESTS: Final = 3_000
"""Held-out requests that are asked, drawn by viewer; a log with fewer is asked whole."""
HARDLY_SHOWN: Final = 20
"""Impressions up to which an item is cold."""
HARDLY_KNOWN: Final = 5
"""Enjoyed items below which a viewer is new."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a training of retrieval came to.

    Attributes:
        table: Recall of the sources and their union on test days.
        choice: How the union was chosen: the joint recall of each way on validation viewers it was not fitted on.
    """

    retrieval: Retrieval
    table: RecallTable
    choice: dict[str, Any]

    def as_line(self) -> str:
        """What was trained, in one line."""
        depth = DEPTHS[-1]
        union = self.table.of(UNION)
        told = [f"{name} {_lost(self.table, name, depth)}" for name in _by_loss(self.table, depth)[:3]]
        found = union.recall[depth]
        if found is None:
            return f"joined by {self.table.joined}; too few held-out long views for a recall"
        return (
            f"recall@{depth} {found.mid:.3f} ({found.low:.3f}…{found.high:.3f}) of {union.targets:,} held-out long views, "
            f"joined by {self.table.joined}; lost without {', '.join(told)}"
        )


def train_retrieval(
    workspace: Workspace, log: Log, parts: Split, model: Model, seed: int, progress: Progress
) -> Judged:
    """Learns from the days before the validation day, fits the union on that day, and judges on the test days.

    Written as the folder ``models/retrieval`` and the evidence ``retrieval``.

    Args:
        workspace: Where it is written.
        log: What is learned from.
        parts: Its days.
        model: The unified model: its item vectors are searched, and its features make the viewers.
        seed: Same seed, same bytes.
        progress: Told how far it is.
    """
    started = time.process_time()
    progress(0.0, "what is taken after what")
    sequences = taken(log, parts.validation_day)
    rows, weights = followers_of(sequences)
    encoder = encoder_of(sequences, seed, progress) if workspace.settings.retrieval.encoder else None
    retrieval = Retrieval(sequences.item_ids, rows, weights, None, encoder)
    progress(0.4, "the state before the validation day")
    asking = _Asking(workspace, log, parts.validation_day, model, retrieval)
    progress(0.6, "asking on the validation day")
    held = list(asking.day(parts.validation_day, VALIDATION_REQUESTS, seed))
    retrieval, choice = _joined(asking, retrieval, held, seed)
    offered: list[Offered] = []
    each = TEST_REQUESTS // len(parts.test_days) + 1
    for number, day in enumerate(parts.test_days):
        progress(0.7 + 0.25 * number / len(parts.test_days), f"asking on {day}")
        offered += asking.day(day, each, seed)
    table = _table(asking, asking.union(retrieval), retrieval, offered, parts, seed)
    card = {
        "log": log.manifest.sha256,
        "split": parts.sha256,
        "events": len(sequences.rows),
        "items": sequences.items,
        "followers": rows.shape[1],
        "joined": table.joined,
        "choice": choice,
        "cpu_s": round(time.process_time() - started, 1),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    retrieval = replace(retrieval, card=card)
    retrieval.save(workspace.folder / "models" / "retrieval")
    workspace.write_evidence("retrieval", {"card": card, "table": table.as_dict()})
    return Judged(retrieval, table, choice)


def open_retrieval(workspace: Workspace) -> Retrieval | None:
    """What the workspace's retrieval learned; None when it was never trained.

    Raises:
        RetrievalError: It cannot be read (``retrieval-072``).
    """
    return load_retrieval(workspace.folder / "models" / "retrieval")


class _Asking:
    """The sources as they would have answered at the beginning of each day, the state moved forward in between."""

    def __init__(self, workspace: Workspace, log: Log, until: int, model: Model, retrieval: Retrieval) -> None:
        # The platform imports this module to read what was learned.
        from mainstem.workspace.platform import state_of

        settings = workspace.settings
        self._log = log
        self._surfaces = tuple(settings.served())
        tables, limit_mb = attribute_tables(workspace), settings.features.limit_mb
        self._state: FeatureState = state_of(log, model, self._surfaces, until, tables, limit_mb)
        self.catalog: Catalog = self._state.catalog
        self._follows = Follows(self.catalog)
        self._features = LiveFeatures(self._state, self._follows, self._surfaces)
        before = log.impressions.filter(pl.col("day") < until)
        self._follows.apply(FeedbackBatch.from_frame(before, self._surfaces))
        self.sources: tuple[Source, ...] = sources_of(self.catalog, self._features, settings, retrieval)
        self.names = tuple(one.name for one in self.sources)
        self._settings = settings
        self._next = until

    def union(self, retrieval: Retrieval) -> Union:
        """The union that would serve with what was learned."""
        return union_of(self.sources, self._settings.served(), retrieval)

    def quota(self, surface: str, source: str) -> int:
        """Most candidates a source may give the union."""
        return {**QUOTAS, **self._settings.served()[surface].sources}[source]

    def day(self, day: int, most: int, seed: int) -> Iterator[Offered]:
        """What the sources offer those who will watch something long on this day, asked at its first moment.

        One request for each viewer and surface; its targets are all items the viewer watches long there that day. Days are asked
        in order: events up to the day are taken in first.
        """
        self._advance(day)
        today = self._log.impressions.filter(pl.col("day") == day)
        now_ms = int(today["time_ms"].min() or 0)  # type: ignore[arg-type]
        long = today.filter((pl.col("long_view") == 1) & pl.col("surface").is_in(self._surfaces))
        asked = long.group_by(["user_id", "surface"], maintain_order=True).agg(pl.col("item_id").unique())
        draw = uniforms(seed, day, asked["user_id"].to_numpy())
        if asked.height > most:
            asked = asked.filter(pl.Series(draw <= np.partition(draw, most - 1)[most - 1]))
        shown = Demand(self._features).shown(now_ms)
        for number, (user, surface, items) in enumerate(asked.iter_rows()):
            yield self._offered(Request(number, user, surface, now_ms, 10), items, shown)

    def _offered(self, request: Request, items: Sequence[int], shown: np.ndarray) -> Offered:
        viewer = self._features.user(request)
        rows = self.catalog.item_rows(np.array(items, np.int64))
        rows = rows[rows >= 0]
        found = tuple(source.retrieve(request, viewer, DEPTHS[-1]).rows for source in self.sources)
        is_new = len(viewer.liked_rows) < HARDLY_KNOWN
        return Offered(request.user_id, request.surface, found, rows, shown[rows] <= HARDLY_SHOWN, is_new)

    def _advance(self, day: int) -> None:
        """Takes in every day that lies between the last one asked and this one."""
        rows = self._log.impressions.filter((pl.col("day") >= self._next) & (pl.col("day") < day))
        if rows.height:
            batch = FeedbackBatch.from_frame(rows, self._surfaces)
            self._state.apply(batch)
            self._follows.apply(batch)
        self._next = day


def _joined(
    asking: _Asking, retrieval: Retrieval, held: Sequence[Offered], seed: int
) -> tuple[Retrieval, dict[str, Any]]:
    """Fitted curves where they find more than reciprocal ranks do, for viewers they were not fitted on."""
    half = uniforms(seed, 1, np.array([one.user_id for one in held], np.int64)) < 0.5
    fitted_on = [one for one, first in zip(held, half, strict=True) if first]
    judged_on = [one for one, first in zip(held, half, strict=True) if not first]
    plain = asking.union(retrieval)
    try:
        trial = asking.union(replace(retrieval, curves=fit_curves(asking.names, _lists(asking, fitted_on), seed)))
        curves = fit_curves(asking.names, _lists(asking, held), seed)
    except RetrievalError as error:
        return retrieval, {"chosen": "reciprocal rank", "why": str(error)}
    found = {
        name: [_recall(asking, union, judged_on, depth) for depth in DEPTHS]
        for name, union in (("reciprocal rank", plain), ("fitted curves", trial))
    }
    better = sum(found["fitted curves"]) > sum(found["reciprocal rank"])
    chosen = "fitted curves" if better else "reciprocal rank"
    told = {name: dict(zip(DEPTHS, values, strict=True)) for name, values in found.items()}
    requests = {"fitted_on": len(fitted_on), "judged_on": len(judged_on)}
    return replace(retrieval, curves=curves if better else None), {"chosen": chosen, "recall": told, **requests}


def _given(asking: _Asking, one: Offered) -> list[Rows]:
    """What each source may give the union."""
    return [rows[: asking.quota(one.surface, name)] for name, rows in zip(asking.names, one.found, strict=True)]


def _lists(asking: _Asking, offered: Sequence[Offered]) -> list[Lists]:
    return [Lists(tuple(_given(asking, one)), one.taken) for one in offered]


def _merged(union: Union, surface: str, found: Sequence[Rows]) -> Rows:
    request = Request(0, 0, surface, 0, 10)
    return union.merge(request, [Found(rows, np.zeros(len(rows))) for rows in found]).rows


def _recall(asking: _Asking, union: Union, offered: Sequence[Offered], depth: int) -> float:
    """The share of what was taken among the union's first candidates."""
    hits = [np.isin(one.taken, _merged(union, one.surface, _given(asking, one))[:depth]).sum() for one in offered]
    return float(sum(hits) / max(1, sum(len(one.taken) for one in offered)))


def _table(
    asking: _Asking, union: Union, retrieval: Retrieval, offered: Sequence[Offered], parts: Split, seed: int
) -> RecallTable:
    days = f"{min(parts.test_days)}–{max(parts.test_days)}"
    return recall_table(
        asking.names,
        asking.quota,
        offered,
        lambda surface, found: _merged(union, surface, found),
        protocol=f"long views of {days}, one request a viewer, surface and day, asked at the day's first moment; "
        f"learned before {parts.validation_day}, union fitted on {parts.validation_day}, state up to the day; split {parts.sha256}",
        joined="reciprocal rank" if retrieval.curves is None else "fitted curves",
        seed=seed,
    )


def _by_loss(table: RecallTable, depth: int) -> list[str]:
    """Sources by what the union would lose without them, most first."""
    named = [(row.what, row.lost[depth]) for row in table.rows if row.of == "all" and row.what != UNION]
    return [name for name, lost in sorted(named, key=lambda one: -(one[1].mid if one[1] else 0.0))]


def _lost(table: RecallTable, name: str, depth: int) -> str:
    lost = table.of(name).lost[depth]
    return "unknown" if lost is None else f"{lost.mid:.3f}"
