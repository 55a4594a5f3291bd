"""What an outside stack thinks of every logged impression, asked in the order in which they happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.stacks.remote import Line, RemoteStack
from mainstem.stacks.remote_protocol import ScoreAnswer

_PLACE: Final = ("request_id", "user_id", "item_id", "surface", "scenario", "time_ms", "position")
FEEDBACK: Final = (*_PLACE, "viewed", "watch_ms", "duration_ms", *HEADS)
"""The columns of ``impressions.parquet`` that make one feedback record."""


@dataclass(frozen=True, slots=True)
class RemoteScores:
    """What an outside stack said of n impressions.

    Shapes: ``order[n]`` its own final score, ``heads`` one ``[n]`` array for each head it predicts.
    """

    order: NDArray[np.float64]
    heads: dict[str, NDArray[np.float64]]


def feedback_records(impressions: pl.DataFrame) -> list[dict[str, Any]]:
    """The feedback record of each impression; what is not known is left out."""
    columns = [name for name in FEEDBACK if name in impressions.columns]
    rows = impressions.select(columns).to_dicts()
    unknown = impressions.select(pl.any_horizontal(pl.col(columns).is_null())).to_series().to_numpy()
    for at in np.flatnonzero(unknown).tolist():
        rows[at] = {name: value for name, value in rows[at].items() if value is not None}
    return rows


def replay_scores(
    stack: RemoteStack,
    impressions: pl.DataFrame,
    feedback_delay_ms: int | None,
    progress: Callable[[float], None] = lambda share: None,
    by_night: bool = False,
) -> RemoteScores:
    """Scores every impression with the stack's state as of its time.

    An outcome becomes known ``feedback_delay_ms`` after its impression was served. The stack is reset before; its state after
    training must end where these impressions begin.

    Args:
        impressions: Rows of ``impressions.parquet``, in its order.
        feedback_delay_ms: None tells it no outcome at all: its state stays where training ended.
        progress: Told the share that is done.
        by_night: A day's outcomes are told only when the day is over.
    """
    stack.reset()
    starts = _request_starts(impressions)
    order = np.full(impressions.height, np.nan)
    heads: dict[str, NDArray[np.float64]] = {}
    ends = np.r_[starts[1:], impressions.height]
    for asked, answer in enumerate(stack.replay(_lines(impressions, starts, ends, feedback_delay_ms, by_night))):
        assert isinstance(answer, ScoreAnswer)
        rows = slice(starts[asked], ends[asked])
        order[rows] = answer.scores
        for head, values in (answer.heads or {}).items():
            if head not in heads:
                heads[head] = np.full(impressions.height, np.nan)
            heads[head][rows] = values
        if asked % 2_000 == 0:
            progress(asked / len(starts))
    return RemoteScores(order, heads)


def _request_starts(impressions: pl.DataFrame) -> NDArray[np.int64]:
    """The first row of each request. Rows of one request stand together, since the log is ordered by time and request."""
    request = impressions["request_id"].to_numpy()
    return np.flatnonzero(np.r_[True, request[1:] != request[:-1]])


def _lines(
    impressions: pl.DataFrame,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    delay_ms: int | None,
    by_night: bool = False,
) -> Iterator[Line]:
    """Score and event lines merged by time; an outcome known at the time of a request stands before it."""
    times, days = impressions["time_ms"].to_numpy(), impressions["day"].to_numpy() if by_night else None
    records = feedback_records(impressions)
    items = impressions["item_id"].to_list()
    told = 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        now_ms = int(times[start])
        while delay_ms is not None and told < start and times[told] + delay_ms <= now_ms:
            if days is not None and days[told] >= days[start]:
                break
            yield "event", records[told]
            told += 1
        first = records[start]
        yield (
            "score",
            {
                "request_id": first["request_id"],
                "user_id": first["user_id"],
                "surface": first["surface"],
                "scenario": first.get("scenario", -1),
                "now_ms": now_ms,
                "item_ids": items[start:end],
            },
        )
