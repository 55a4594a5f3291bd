"""What a comparison of served with recomputed features answers, as plain records that are JSON and text at once."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Example:
    """One diverging cell, both values side by side.

    Values are written so that no bit is lost (``0.1``, ``-0.0``, ``NaN``, ``[1, 2]``); ``null`` is a row without a value,
    ``no row`` no row at all. ``kind`` is ``differs``, ``missing``, ``extra`` or ``state``.
    """

    offset: int
    time_ms: int
    request_id: str
    user_id: int
    item_id: int
    kind: str
    served: str
    recomputed: str
    first_place: int | None = None
    """For lists: the first place at which they part."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often one feature's cells part over some rows, and how far.

    ``cells`` counts those on which at least one side has a value; ``matched`` those equal in every bit and in state.
    ``signed_zero`` of the ``differing`` are 0.0 against -0.0. ``missing``: the served side has no value; ``extra``: the
    recomputed side has none. ``beyond`` counts the cells the feature's documented bound does not cover. Quantiles are of
    |served - recomputed| over the differing cells with a finite number on both sides, None without any; ``smape`` is the
    mean of 2|a - b| / (|a| + |b|) over all cells with a finite number on both sides. Edit distances are over
    differing lists; of lists of floats, which are vectors, they count the places that differ.
    """

    cells: int
    matched: int
    differing: int
    signed_zero: int
    missing: int
    extra: int
    state_differing: int
    beyond: int
    largest_ulp: int
    p50: float | None
    p90: float | None
    p99: float | None
    largest: float | None
    smape: float
    edit_mean: float | None
    edit_largest: int | None
    first: Example | None

    @property
    def match_rate(self) -> float:
        """The share of cells equal in every bit; 1 where there is none to compare."""
        return self.matched / self.cells if self.cells else 1.0


@dataclass(frozen=True, slots=True)
class DayTally:
    """The tally of one day."""

    day: int
    tally: Tally


@dataclass(frozen=True, slots=True)
class FeatureComparison:
    """One feature: all rows, then day by day. ``types`` are the columns' types, served first."""

    name: str
    window: str
    stage: str
    version: str
    tolerance: str
    bound: float
    types: tuple[str, str]
    total: Tally
    days: tuple[DayTally, ...]
    examples: tuple[Example, ...]

    @property
    def passes(self) -> bool:
        """Whether every cell is equal to the bit, or for a sketch within its documented bound."""
        return self.total.beyond == 0


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How the rows met: pairs, rows of one side alone, further copies of a key, and pairs whose key columns disagree."""

    served: int
    recomputed: int
    paired: int
    missing: int
    extra: int
    served_copies: int
    recomputed_copies: int
    time_differs: int
    offset_differs: int
    user_differs: int
    feature_set_differs: int


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether this set of features may serve. ``failing`` names the features that do not pass."""

    passed: bool
    failing: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole comparison without the rows it was made from."""

    rows: RowCounts
    gate: Gate
    features: tuple[FeatureComparison, ...]

    def to_json(self) -> bytes:
        """The report as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes) -> Report:
        """The report that was written as this JSON."""
        return msgspec.json.decode(text, type=cls)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a feature diverges.

    ``confidence`` is the share of the diverging rows looked at that the cause explains. ``basis`` says how that is known:
    ``recomputed`` (recomputing with the cause made them equal), ``signature`` (their numbers show it), ``rows`` (they go
    together with it), ``metadata`` (the two sides say they differ) or ``none``. ``as_likely`` are causes that explain as
    much. ``also`` are further findings that point the same way.
    """

    feature: str
    stage: str
    cause: str
    confidence: float
    basis: str
    amount: str
    first: Example | None
    as_likely: tuple[str, ...]
    also: tuple[str, ...]
    sentence: str

    def to_json(self) -> bytes:
        """The diagnosis as JSON."""
        return msgspec.json.encode(self)
