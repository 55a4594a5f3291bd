"""What ``mainstem parity verify`` found out, as plain records: evidence, JSON and page read the same."""

from __future__ import annotations

from dataclasses import dataclass

from mainstem.parity.features.result import Diagnosis, Example, FeatureComparison, RowCounts


@dataclass(frozen=True, slots=True)
class DayCount:
    """Cells of one UTC day (days since 1970), and those equal in every bit."""

    day: int
    cells: int
    matched: int


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One declared column of a configuration: how far its two worlds agree."""

    name: str
    window: str
    stage: str
    version: str
    owner: str
    agrees: bool
    cells: int
    matched: int
    differing: int
    missing: int
    extra: int
    state_differing: int
    largest_ulp: int
    p50: float | None
    p99: float | None
    largest: float | None
    edit_largest: int | None
    first: Example | None
    days: tuple[DayCount, ...]

    @property
    def match_rate(self) -> float:
        """The share of cells equal in every bit."""
        return self.matched / self.cells if self.cells else 1.0

    @classmethod
    def of(cls, found: FeatureComparison, owner: str) -> FeatureRow:
        """The row of one comparison."""
        total = found.total
        return cls(
            found.name, found.window, found.stage, found.version, owner, found.passes, total.cells, total.matched,
            total.differing, total.missing, total.extra, total.state_differing, total.largest_ulp, total.p50, total.p99,
            total.largest, total.edit_largest, total.first,
            tuple(DayCount(day.day, day.tally.cells, day.tally.matched) for day in found.days),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SideBySideValue:
    """One value of the example request as it was served and as it is recomputed, written so that no bit is lost."""

    name: str
    served: str
    recomputed: str
    state: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class ExampleRequest:
    """One request with every value of the ranker's input: of the viewer, and of the first item."""

    request_id: str
    time_ms: int
    offset: int
    user_id: int
    item_id: int
    values: tuple[SideBySideValue, ...]


@dataclass(frozen=True, slots=True)
class LagBin:
    """How many requests found the server so many events behind the log's head."""

    from_events: int
    to_events: int
    requests: int


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What a back-fill by event time would have got wrong: it cannot know what the server had not seen yet."""

    requests: int
    cells: int
    wrong: int
    worst: tuple[tuple[str, float], ...]

    @property
    def share(self) -> float:
        """The share of cells it gets wrong."""
        return self.wrong / self.cells if self.cells else 0.0


@dataclass(frozen=True, slots=True)
class Section:
    """One of the shorter comparisons: ``ok`` None where it cannot be made, and ``sentence`` says why."""

    name: str
    ok: bool | None
    sentence: str
    measured: dict[str, float]


@dataclass(frozen=True, slots=True)
class StackVerdict:
    """One configuration: whether its features are the same numbers in both worlds."""

    stack: str
    feature_set: str
    passed: bool
    sentence: str
    requests: int
    events: int
    cells: int
    matched: int
    rows: RowCounts
    features: tuple[FeatureRow, ...]
    causes: tuple[Diagnosis, ...]
    lag: tuple[LagBin, ...]
    counterfactual: Counterfactual
    example: ExampleRequest | None
    seconds: float

    @property
    def match_ratio(self) -> float:
        """The share of cells equal in every bit."""
        return self.matched / self.cells if self.cells else 0.0


@dataclass(frozen=True, slots=True)
class Verified:
    """The whole answer of a verification."""

    passed: bool
    sentence: str
    log: str
    source: str
    commit: str
    made_at_ms: int
    stacks: tuple[StackVerdict, ...]
    sections: tuple[Section, ...]
    skipped: tuple[str, ...]
    seconds: float
