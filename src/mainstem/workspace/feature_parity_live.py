"""Did the running server serve the features that its own log says? Its logged requests, computed again and compared bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.data.records import Feedback, Impression, decode_impression
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.follow import batch_of
from mainstem.store.event_log import FEEDBACK
from mainstem.store.seal import read_from
from mainstem.workspace.feature_parity_again import Again, Agreement, agreement
from mainstem.workspace.feature_parity_results import Section
from mainstem.workspace.layout import Workspace

Progress = Callable[[float], None]
MOST: Final = 4_000
"""Logged requests that are compared at most, spread evenly over the live log."""
_STEP: Final = 10_000
_TOGETHER: Final = 1_000
NAME: Final = "served by the running platform"


@dataclass(frozen=True, slots=True)
class LiveLog:
    """What a workspace's server wrote down, read once.

    Attributes:
        feedback: Every outcome, in the log's order.
        impressions: Logged requests, at most twice ``MOST``, evenly over the log; stacks that do not tell their place left out.
        told: How many told theirs.
        untold: How many did not.
        holes: Records that the log's file gave an offset to and no longer holds.
        first_hole: The offset of the first of them in the file; -1 without one.
        stale: The model was written after everything here.
    """

    feedback: FeedbackBatch
    impressions: tuple[Impression, ...]
    told: int
    untold: int
    holes: int
    first_hole: int
    stale: bool

    @classmethod
    def read(cls, workspace: Workspace) -> LiveLog:
        """The live log with its sealed part; empty where nothing was ever served."""
        path = workspace.live / "events.sqlite"
        outcomes, kept, offsets = list[Feedback](), _Spread(), list[NDArray[np.int64]]()
        untold, after, stale = 0, 0, _older_than_model(workspace)
        while path.is_file() and (found := read_from(path, workspace.live / "sealed", after, _STEP)):
            after = found[-1].offset
            offsets.append(np.array([one.offset for one in found], np.int64))
            outcomes += [msgspec.json.decode(one.payload, type=Feedback) for one in found if one.kind == FEEDBACK]
            for one in found:
                if one.kind != FEEDBACK:
                    record = decode_impression(one.payload)
                    untold += record.as_of < 0
                    if record.as_of >= 0:
                        kept.add(record)
        at = np.concatenate([*offsets, np.empty(0, np.int64)])
        steps = np.diff(at, prepend=0)
        holes = np.flatnonzero(steps > 1)
        first = int(at[holes[0]] - steps[holes[0]] + 1) if len(holes) else -1
        feedback = batch_of(outcomes, tuple(workspace.settings.served()))
        return cls(feedback, tuple(kept.held), kept.seen, untold, int((steps - 1).sum()), first, stale)


class _Spread:
    """Some of a stream of unknown length, evenly: every second one is let go whenever there are too many."""

    def __init__(self) -> None:
        self.held: list[Impression] = []
        self.seen = 0
        self._every = 1

    def add(self, one: Impression) -> None:
        if self.seen % self._every == 0:
            self.held.append(one)
        self.seen += 1
        if len(self.held) > 2 * MOST:
            self.held, self._every = self.held[::2], 2 * self._every


def _older_than_model(workspace: Workspace) -> bool:
    model = workspace.unified_model / "model.npz"
    written = [path.stat().st_mtime for path in workspace.live.glob("events.sqlite*") if not path.name.endswith("-shm")]
    return model.is_file() and bool(written) and model.stat().st_mtime > max(written)


def live_section(again: Again, live: LiveLog, progress: Progress = lambda share: None) -> Section:
    """The section about a server's own log: refused when one bit differs, or a request saw more than the log holds."""
    if not live.told:
        what = f"{live.untold:,} logged requests do not tell their offset" if live.untold else "no request was logged"
        return Section(NAME, None, f"Nothing to compare: {what}.", {"untold": live.untold})
    mine = [one for one in live.impressions if one.feature_set == again.features.fingerprint]
    beyond = [one for one in mine if one.as_of > again.events]
    held = [one for one in mine if one.as_of <= again.events]
    found = Agreement()
    for start in range(0, len(held), _TOGETHER):
        agreement(again, held[start : start + _TOGETHER], found)
        progress(min(1.0, (start + _TOGETHER) / len(held)))
    version = len(live.impressions) - len(mine)
    measured = {
        "requests": found.requests, "rows": found.rows, "cells": found.cells, "matched": found.matched,
        "match": found.matched / found.cells if found.cells else 1.0, "logged": live.told, "version": version,
        "untold": live.untold, "beyond": len(beyond), "holes": live.holes,
        "first_divergent_offset": _first(found, beyond),
    }  # fmt: skip
    if live.stale or not mine:
        why = "the model was trained after them" if live.stale else "other definitions served them"
        return Section(NAME, None, f"Not compared: {live.told:,} requests were logged, and {why}.", measured)
    ok = found.matched == found.cells and not beyond
    return Section(NAME, ok, _sentence(found, beyond, live, again, version), measured)


def _first(found: Agreement, beyond: list[Impression]) -> int:
    offsets = [found.first.as_of] if found.first else []
    return min([*offsets, *(one.as_of for one in beyond)], default=-1)


def _sentence(found: Agreement, beyond: list[Impression], live: LiveLog, again: Again, version: int) -> str:
    parts = [
        f"{found.matched:,} of {found.cells:,} cells of {found.requests:,} logged requests and {found.rows:,} shown rows are equal"
        f" in every bit, each as of the offset it was served at"
    ]
    if found.first is not None:
        first, worst = found.first, max(found.by_column, key=lambda name: found.by_column[name])
        of = "its viewer" if first.item_id < 0 else f"item {first.item_id}"
        parts.append(
            f"first parts request {first.request_id} at offset {first.as_of:,}, {first.column} of {of}: served {first.served!r},"
            f" recomputed {first.recomputed!r}; {len(found.by_column)} columns part, most {worst}"
        )
    if beyond:
        parts.append(
            f"{len(beyond):,} requests saw more events than the log's {again.events:,}, first request {beyond[0].request_id} at"
            f" offset {beyond[0].as_of:,}: records are lost"
        )
    if live.holes:
        parts.append(f"the log's file misses {live.holes:,} records from number {live.first_hole:,} on (log gap)")
    if version:
        parts.append(f"{version:,} requests of another feature set are left out (version)")
    if live.untold:
        parts.append(f"{live.untold:,} that do not tell their offset are left out")
    return "; ".join(parts) + "."
