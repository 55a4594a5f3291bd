"""The models retrieval learns from a log: who took what in which order, what is taken after what, and an encoder when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.data.log import Log
from mainstem.data.sequences import ItemContent, Sequences
from mainstem.retrieval.encoder_serving import EncoderModel
from mainstem.retrieval.followers import Followers
from mainstem.retrieval.linear import Expert, LinearNextItem
from mainstem.retrieval.linear_settings import ExpertSettings, Horizon, LinearSettings
from mainstem.retrieval.pair_sums import Decay, pair_sums
from mainstem.retrieval.together import merged, together

Progress = Callable[..., None]

KEPT: Final = 200
"""Followers kept of each item."""
WHOLE_HISTORY: Final = Decay(60, 60)
"""Half-lives so long that a whole history counts nearly alike: taste lasts longer than the order in which a feed was shown."""
LINEAR: Final = LinearSettings(
    horizons=(Horizon("far", WHOLE_HISTORY, 200.0),),
    experts=(
        ExpertSettings("far", "each", 20.0),
        ExpertSettings("marks/far", "each", 20.0),
        ExpertSettings("alike", "each", 20.0),
    ),
    kept=KEPT,
)
WEIGHTS: Final = {"together": 1.0, "far": 0.5, "marks/far": 0.1, "alike": 0.1}
"""What each table counts in the one that serves: the first two chosen on KuaiRand-Pure's validation day, content set by hand."""


def taken(log: Log, until: int) -> Sequences:
    """What every user watched long before a day, oldest first, and what the items are by their tags.

    The log's history table comes first: its order is known and its times are not.
    """
    ids = log.items["item_id"].to_numpy().astype(np.int64)
    earlier = log.history.sort(["user_id", "back"], descending=[False, True]).filter(pl.col("long_view") == 1)
    later = log.impressions.filter((pl.col("day") < until) & (pl.col("long_view") == 1))
    rows = (
        pl.concat([one.select("user_id", "item_id") for one in (earlier, later)])
        .join(
            pl.DataFrame({"item_id": ids, "row": np.arange(len(ids), dtype=np.int32)}),
            on="item_id",
            maintain_order="left",
        )
        .sort("user_id", maintain_order=True)
    )
    users, starts = np.unique(rows["user_id"].to_numpy(), return_index=True)
    return Sequences(
        name=log.manifest.name,
        starts=np.append(starts, rows.height).astype(np.int64),
        rows=rows["row"].to_numpy().astype(np.int32),
        items=len(ids),
        item_ids=ids,
        user_ids=users.astype(np.int64),
        content=_content(log.items),
        sha256=log.manifest.sha256,
    )


def _content(items: pl.DataFrame) -> ItemContent | None:
    """Tags and the category of each item as marks; None where the log knows neither."""
    parts = [
        items.select(
            pl.int_range(pl.len()).alias("row"), pl.concat_str(pl.lit(name), pl.col(name).cast(pl.String)).alias("mark")
        )
        for name in ("category",)
        if name in items.columns
    ]
    if "tags" in items.columns:
        tags = items.select(pl.int_range(pl.len()).alias("row"), pl.col("tags")).explode("tags")
        parts.append(tags.select("row", pl.concat_str(pl.lit("tag"), pl.col("tags").cast(pl.String)).alias("mark")))
    marks = (
        pl.concat(parts).drop_nulls().unique(maintain_order=True).sort("row", maintain_order=True) if parts else None
    )
    if marks is None or not marks.height:
        return None
    names = marks["mark"].unique(maintain_order=True)
    code = marks["mark"].replace_strict(names, pl.Series(np.arange(len(names))), return_dtype=pl.Int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(marks["row"].to_numpy(), minlength=items.height))])
    return ItemContent(starts.astype(np.int64), code.to_numpy().astype(np.int32), len(names))


def followers_of(sequences: Sequences) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The one table that serves: taken by the same people, taken next in closed form, and alike in content.

    A log too short for any of it gives a table without columns.

    Shapes: [items, k] and [items, k].
    """
    if not len(sequences.rows) or not sequences.items:
        return np.empty((sequences.items, 0), np.int32), np.empty((sequences.items, 0), np.float32)
    tables = [(together(pair_sums(sequences, WHOLE_HISTORY), KEPT), WEIGHTS["together"])]
    model = LinearNextItem.fit(sequences, LINEAR)
    tables += [
        (_AsRead(one.columns, one.weights, np.ones(sequences.items, np.float32)), WEIGHTS[one.settings.source])
        for one in model.experts
        if isinstance(one, Expert)
    ]
    joined = merged(tables, KEPT)
    return joined.columns, joined.weights


class _AsRead(Followers):
    """A table whose weights are log-evidence already."""

    __slots__ = ()

    def as_evidence(self) -> NDArray[np.float32]:
        """As they are."""
        return self.weights


def encoder_of(sequences: Sequences, seed: int, progress: Progress) -> EncoderModel:
    """A small sequence encoder of the log.

    Raises:
        RetrievalError: PyTorch is not installed (``retrieval-073``), or its training failed (``retrieval-03…``).
    """
    try:
        from mainstem.retrieval.neural.recipes import Recipe
        from mainstem.retrieval.neural.train import train_encoder
    except ImportError as error:
        raise RetrievalError(
            f"found no PyTorch ({error}), expected it to train the encoder that [retrieval] encoder asks for",
            code="retrieval-073",
            hint="install the extra 'torch', or set encoder = false",
        ) from None
    recipe = Recipe(epochs=8, negatives=512)

    def told(share: float, what: str) -> None:
        progress(0.1 + 0.3 * share, f"encoder: {what}")

    return train_encoder(sequences, recipe, seed, told)
