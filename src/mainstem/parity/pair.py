"""Where two stacks' accounts of one request agree and differ, stage by stage, on the candidates both had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mainstem.parity.align import (
    FEATURES,
    NUMBERS,
    VALUE,
    Columns,
    Fires,
    Mask,
    SourceBits,
    column,
    columns_of,
    fires_of,
    present,
    sources_of,
    states_of,
)
from mainstem.parity.trace import STAGES, StageRecord


@dataclass(frozen=True, slots=True)
class PairDiff:
    """One request on two sides, stage by stage; None where a side does not tell.

    Shapes: the masks cover the m candidates both sides have.
    """

    left: StageRecord
    right: StageRecord
    same_items: bool
    same_source: Mask
    sources: SourceBits | None
    features: Columns | None
    state_differs: Mask | None
    predictions: Columns | None
    values: Columns | None
    terms: Columns | None
    fires: Fires | None

    @property
    def feature_rows(self) -> Mask:
        """The candidates whose features, or what became of them, differ."""
        rows = _rows(self.features, len(self.same_source))
        return rows if self.state_differs is None else rows | self.state_differs.any(axis=1)

    @property
    def model_failed(self) -> bool:
        """Whether exactly one side's model should have answered and did not."""
        return _failed(self.left) != _failed(self.right)

    def blamed_rows(self) -> dict[str, Mask]:
        """The candidates on which a stage differs although what it was given agrees.

        Features are blamed on candidates that came from the same sources, the model on those whose features agree, the
        value where predictions agree too.
        """
        m = len(self.same_source)
        inputs_agree, model = self.same_source & ~self.feature_rows, _rows(self.predictions, m)
        return {
            "features": self.feature_rows & self.same_source,
            "model": model & inputs_agree,
            "value": _rows(self.values, m) & inputs_agree & ~model,
        }

    def differs(self) -> dict[str, bool | None]:
        """Whether each stage differs at all, in the river's order; None where a side does not tell."""
        return {
            "features": None if self.features is None else bool(self.feature_rows.any()),
            "source": None if self.sources is None else not (self.same_items and bool(self.same_source.all())),
            "model": True if self.model_failed else _any(self.predictions),
            "value": _any(self.values),
            "rule": None if self.fires is None else self.fires.earliest is not None,
            "slate": not np.array_equal(self.left.slate, self.right.slate),
        }

    def blamed(self) -> dict[str, bool]:
        """Whether each stage differs although its own inputs agree, in the river's order.

        Rules and slate take in every candidate at once, so they are blamed only where all candidates and values agree.
        """
        rows, differs = self.blamed_rows(), self.differs()
        values_agree = self.same_items and not differs["model"] and not differs["value"]
        return {
            "features": bool(rows["features"].any()),
            "source": bool(differs["source"]),
            "model": bool(rows["model"].any()) or (self.model_failed and not self.feature_rows.any()),
            "value": bool(rows["value"].any()) and not self.model_failed,
            "rule": bool(differs["rule"]) and values_agree,
            "slate": bool(differs["slate"]) and values_agree and not differs["rule"],
        }

    def first(self) -> str | None:
        """The stage where the two sides part: the first that is blamed, or else the first that differs."""
        for found in (self.blamed(), self.differs()):
            for stage in STAGES:
                if found[stage]:
                    return stage
        return None


def compare(left: StageRecord, right: StageRecord, *, k: int = 20) -> PairDiff:
    """Where two accounts of one request agree and differ. ``k`` is how deep the sources' overlap is measured."""
    common, li, ri = np.intersect1d(left.item_ids, right.item_ids, return_indices=True)
    sources, same_source = sources_of(left, right, li, ri, k)
    reached = (present(left.features, li), present(right.features, ri))
    scored = (present(left.predictions, li), present(right.predictions, ri))
    heads = (left.head_names, left.predictions, right.head_names, right.predictions)
    return PairDiff(
        left=left,
        right=right,
        same_items=len(common) == len(left.item_ids) == len(right.item_ids),
        same_source=same_source,
        sources=sources,
        features=columns_of(left.feature_names, left.features, right.feature_names, right.features, li, ri, FEATURES),
        state_differs=states_of(left, right, li, ri),
        predictions=columns_of(*heads, li, ri, NUMBERS, reached),
        values=columns_of(VALUE, column(left.values), VALUE, column(right.values), li, ri, NUMBERS, scored),
        terms=columns_of(left.term_names, left.terms, right.term_names, right.terms, li, ri, NUMBERS),
        fires=fires_of(left, right, li, ri),
    )


def _any(columns: Columns | None) -> bool | None:
    return None if columns is None else bool(columns.rows.any())


def _failed(record: StageRecord) -> bool:
    return bool(record.head_names) and record.predictions is None


def _rows(columns: Columns | None, m: int) -> Mask:
    return np.zeros(m, bool) if columns is None else columns.rows
