"""What a shadow diff answers, as plain records that are JSON, table rows and page content at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class StageDiff:
    """How often the two sides differ in one stage.

    ``differ_share`` counts any difference, ``own_share`` only those that the stages before it do not explain, both over the
    requests in which both sides tell the stage. Medians of what each side says the stage took, where it says so.
    """

    stage: str
    told: bool
    requests: int
    differ_share: float | None
    own_share: float | None
    left_ms: float | None
    right_ms: float | None


@dataclass(frozen=True, slots=True)
class SourceDiff:
    """What one source offered over all requests; ``overlap`` is shared over offered by either side."""

    name: str
    left: int
    right: int
    left_only: int
    right_only: int
    overlap: float
    overlap_at_k: float


@dataclass(frozen=True, slots=True)
class FeatureDiff:
    """How far one feature is apart on candidates both sides have."""

    name: str
    rows: int
    differ_share: float
    state_differ_share: float | None
    largest: float
    largest_relative: float


@dataclass(frozen=True, slots=True)
class HeadDiff:
    """How far one head's predictions are apart on candidates both sides have."""

    name: str
    rows: int
    differ_share: float
    mean: float
    largest: float


@dataclass(frozen=True, slots=True)
class ValueDiff:
    """How far values are apart, and whether they order the best candidates alike (mean Kendall tau)."""

    rows: int
    differ_share: float
    mean: float
    largest: float
    kendall_tau: float | None


@dataclass(frozen=True, slots=True)
class RuleDiff:
    """How often one rule fired on each side; ``left_only`` and ``right_only`` on candidates both sides have."""

    name: str
    left: int
    right: int
    left_only: int
    right_only: int


@dataclass(frozen=True, slots=True)
class SlateDiff:
    """How alike the slates are, as means over requests."""

    same_share: float
    overlap_at_k: float
    rank_biased_overlap: float


@dataclass(frozen=True, slots=True)
class Parting:
    """The stage in which some requests part, and who is the reason.

    ``as_likely`` are others that the traces cannot tell from the culprit; ``not_told`` the earlier stages a side does not
    tell, which could be the reason too. ``examples`` are request ids.
    """

    stage: str
    culprit: str
    requests: int
    share: float
    sentence: str
    as_likely: tuple[str, ...]
    not_told: tuple[str, ...]
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShadowDiff:
    """Where two stacks part on the same requests: the first stage and its culprit, then every stage in the river's order.

    ``first`` is the stage in which most requests part; ``partings`` holds every such stage. ``values`` is None when a side
    tells none.
    """

    left: str
    right: str
    requests: int
    same_requests: int
    k: int
    sentence: str
    first: Parting | None
    partings: tuple[Parting, ...]
    stages: tuple[StageDiff, ...]
    features: tuple[FeatureDiff, ...]
    features_on_one_side: tuple[str, ...]
    sources: tuple[SourceDiff, ...]
    heads: tuple[HeadDiff, ...]
    values: ValueDiff | None
    rules: tuple[RuleDiff, ...]
    slate: SlateDiff

    def as_table(self) -> list[dict[str, str | int | float | bool | None]]:
        """One flat row for each stage, in the river's order."""
        return [asdict(stage) for stage in self.stages]
