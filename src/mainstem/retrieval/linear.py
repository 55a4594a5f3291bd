"""Which item comes next, in closed form: linear transitions of several reaches and content, joined as log-evidence.

Each *expert* is a short list of followers for every item (``followers``), read over the recent history. Two readings:

* ``each``: every event's list is turned into log-evidence first, then the events are summed: independent witnesses.
* ``sum``: the events' lists are summed first, the sum is turned into log-evidence: one witness with a long memory.

The experts' log-evidence is summed with fixed weights, which were fitted on validation targets (``blend.learn_weights``).
Nothing here is trained by steps: the same events give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import LeaveOneOut, Sequences
from mainstem.retrieval.blend import Member, learn_weights
from mainstem.retrieval.content_followers import Marks
from mainstem.retrieval.followers import Floats, Followers, as_evidence, joined, recency, spread, strongest
from mainstem.retrieval.linear_settings import ExpertSettings, LinearSettings, PopularitySettings
from mainstem.retrieval.normal_equations import solved_rows
from mainstem.retrieval.pair_sums import PairSums, pair_sums

Progress = Callable[[float, str], None]
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Expert:
    """One list of followers with one way to read it; itself a model of the next item."""

    settings: ExpertSettings
    columns: NDArray[np.int32]
    weights: Floats

    @property
    def name(self) -> str:
        """How tables call it."""
        return self.settings.label

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> Floats:
        """The log-evidence for every item; 0 where it knows nothing. Shapes: [histories, items]."""
        event_weights = recency(histories, self.settings.half_life)
        found = spread(histories, event_weights, self.columns, self.weights)
        return as_evidence(found) if self.settings.reading == "sum" else found


@dataclass(frozen=True, slots=True)
class Popularity:
    """How much each item is taken lately, as log-evidence, the same for everybody.

    Attributes:
        counts: How often each item was taken, an event counting less the longer before ``as_of_ms`` it was.
        as_of_ms: The latest event's time; 0 where there are none, and every event counts alike.

    Shapes: ``evidence[items]``, ``counts[items]``.
    """

    settings: PopularitySettings
    evidence: Floats
    counts: NDArray[np.float64]
    as_of_ms: int = 0

    @property
    def name(self) -> str:
        """How tables call it."""
        return self.settings.label

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> Floats:
        """The same row for every history. Shapes: [histories, items]."""
        return np.tile(self.evidence, (len(histories), 1))


@dataclass(frozen=True, slots=True)
class LinearNextItem:
    """A fitted closed-form model: experts and their weights.

    Attributes:
        experts: The last one is popularity, which also orders items for an empty history.
        sums: The sums it was solved from, where they were kept for refreshing.
        facts: What it was fitted on: data, its hash, events, items.
    """

    settings: LinearSettings
    experts: tuple[Expert | Popularity, ...]
    sums: tuple[PairSums, ...] = ()
    facts: dict[str, str | int] | None = None

    @property
    def name(self) -> str:
        """How tables call it."""
        return self.settings.name

    @property
    def items(self) -> int:
        """How many items it scores."""
        popularity = self.experts[-1]
        return len(popularity.evidence) if isinstance(popularity, Popularity) else len(popularity.columns)

    @classmethod
    def fit(
        cls,
        sequences: Sequences,
        settings: LinearSettings | None = None,
        *,
        keep_sums: bool = False,
        progress: Progress | None = None,
    ) -> LinearNextItem:
        """Learns from sequences in closed form.

        Args:
            settings: A recipe (``recipes``); a general one when not given. Experts of content are left out where the
                sequences have none.
            keep_sums: Keep what ``refreshed`` needs to add a day's events without reading the old ones.
            progress: Told how far it is.

        Raises:
            RetrievalError: ``retrieval-014`` when there is no event to learn from, and what its parts raise.
        """
        if not len(sequences.rows):
            raise RetrievalError(
                "found no event to learn from, expected sequences with some",
                code="retrieval-014",
                hint="use a longer log",
            )
        chosen = (settings or LinearSettings()).for_content(sequences.content is not None)
        sums = (pair_sums(sequences, horizon.decay, dense_most=chosen.dense_most) for horizon in chosen.horizons)
        popularity = _popularity(sequences, chosen.popularity, None, None)
        return _solved(chosen, sequences, sums, popularity, keep_sums, progress)

    @classmethod
    def tuned(
        cls,
        split: LeaveOneOut,
        settings: LinearSettings | None = None,
        *,
        users: int = 3_000,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> LinearNextItem:
        """Fitted on ``split.fit``, with weights learned from the validation targets: how a recipe's weights are made.

        For the looser protocol fit again on ``split.with_validation`` with ``.settings`` of this one.
        """
        return cls.fit(split.fit, settings, progress=progress).weighed(split, users=users, seed=seed)

    def weighed(self, split: LeaveOneOut, *, users: int = 3_000, seed: int = 0) -> LinearNextItem:
        """The same experts under the weights that make the validation targets likeliest; fit on ``split.fit`` first."""
        members = [Member(expert, "as_is") for expert in self.experts]
        return self.reweighted(learn_weights(members, split, users=users, seed=seed))

    def arm(self, name: Literal["content", "interest"]) -> LinearNextItem:
        """The experts of one arm alone, without fitting again; their weights are to be learned anew (``weighed``)."""
        settings = self.settings.arm(name)
        kept = {expert.label for expert in settings.experts}
        experts = [expert for expert in self.experts if expert.name in kept or isinstance(expert, Popularity)]
        return replace(self, settings=settings, experts=tuple(experts), sums=())

    def refreshed(
        self, grown: Sequences, begins: NDArray[np.int64], *, progress: Progress | None = None
    ) -> LinearNextItem:
        """The model after more events: they are added to the kept sums, and the sums are solved again.

        Args:
            grown: The histories of the users who did something, with their earlier events before the new ones: as many
                of those as the window reaches (64). Users who did nothing need not be there; items may be new.
            begins: For each of these users, from which place its events are new.

        Raises:
            RetrievalError: ``retrieval-015`` when the sums were not kept.
        """
        if not self.sums:
            raise RetrievalError(
                "found a model without its sums, expected one that can be refreshed",
                code="retrieval-015",
                hint="fit with keep_sums=True; the sums take as much room as the items need",
            )
        more = [pair_sums(grown, sums.decay, begins=begins, dense_most=self.settings.dense_most) for sums in self.sums]
        added = [old.plus(new) for old, new in zip(self.sums, more, strict=True)]
        before = self.experts[-1]
        assert isinstance(before, Popularity)
        popularity = _popularity(grown, self.settings.popularity, begins, before)
        return _solved(self.settings, grown, added, popularity, True, progress)

    def reweighted(self, weights: Sequence[float]) -> LinearNextItem:
        """The same experts under other weights."""
        return replace(self, settings=self.settings.weighted(weights))

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> Floats:
        """The weighted log-evidence for every item. Shapes: [histories, items]."""
        total = np.zeros((len(histories), histories.items), np.float32)
        for expert, weight in zip(self.experts, self.settings.all_weights, strict=True):
            if weight:
                total += np.float32(weight) * expert.scores(histories)
        return total


def _solved(
    settings: LinearSettings,
    sequences: Sequences,
    sums: Sequence[PairSums] | Iterator[PairSums],
    popularity: Popularity,
    keep_sums: bool,
    progress: Progress | None,
) -> LinearNextItem:
    """Every expert, one horizon at a time so that only one pair of matrices is held."""
    found: dict[str, Followers] = {}
    taken = np.zeros(sequences.items, np.int64)
    tell = progress or (lambda _share, _doing: None)
    marks = None if sequences.content is None else Marks(sequences.content, sequences.items, settings.rarity)
    kept: list[PairSums] = []
    remaining = iter(sums)
    for place, horizon in enumerate(settings.horizons):
        of_pairs = next(remaining)
        tell(place / len(settings.horizons), f"solving the horizon {horizon.name}")
        taken = of_pairs.taken
        if keep_sums:
            kept.append(of_pairs)
        found |= _of_horizon(settings, horizon.name, horizon.ridge, of_pairs, marks, not keep_sums)
        # Else the last horizon's matrices would still be held while the next one's are made.
        del of_pairs
    if marks is not None and settings.uses("alike"):
        found["alike"] = strongest(marks.alike(), settings.kept)
    experts: list[Expert | Popularity] = []
    for wanted in settings.experts:
        followers = found[wanted.source]
        weights = followers.as_evidence() if wanted.reading == "each" else followers.weights
        experts.append(Expert(wanted, followers.columns, weights))
    experts.append(popularity)
    facts: dict[str, str | int] = {
        "data": sequences.name,
        "data_sha256": sequences.sha256,
        "events": int(taken.sum()),
        "items": sequences.items,
    }
    tell(1.0, "solved")
    return LinearNextItem(settings, tuple(experts), tuple(kept), facts)


def _of_horizon(
    settings: LinearSettings, name: str, ridge: float, sums: PairSums, marks: Marks | None, overwrite: bool
) -> dict[str, Followers]:
    """The followers that one horizon's sums give: the item model's, and what content makes of them."""
    found: dict[str, Followers] = {}
    kept = settings.kept
    if marks is not None and (settings.uses(f"marks/{name}") or settings.uses(f"items/{name}")):
        to_marks, to_items = marks.learn(sums, settings.marks_ridge)
        if settings.uses(f"marks/{name}"):
            found[f"marks/{name}"] = strongest(marks.through(to_marks), kept)
        if settings.uses(f"items/{name}"):
            found[f"items/{name}"] = strongest(marks.to_items(to_items), kept)
    if not settings.uses(name) and not settings.uses(f"around/{name}"):
        return found
    around: list[Followers] = []

    def watched() -> Iterator[tuple[int, Floats]]:
        for start, rows in solved_rows(sums, ridge, overwrite=overwrite):
            if marks is not None and settings.uses(f"around/{name}"):
                around.append(strongest([(start, marks.around(rows, start))], kept))
            yield start, rows

    found[name] = strongest(watched(), kept)
    if around:
        found[f"around/{name}"] = joined(around)
    return found


def _popularity(
    sequences: Sequences, settings: PopularitySettings, begins: NDArray[np.int64] | None, before: Popularity | None
) -> Popularity:
    """How often each item was taken, the latest days counting more where times are known, added to what was before."""
    first = np.zeros(len(sequences), np.int64) if begins is None else np.asarray(begins, np.int64)
    new = np.arange(len(sequences.rows)) >= np.repeat(sequences.starts[:-1] + first, sequences.lengths)
    rows, weights, as_of, fade = sequences.rows[new], None, 0, 1.0
    if sequences.times_ms is not None and settings.half_life_days is not None and len(rows):
        times, half_life = sequences.times_ms[new], settings.half_life_days * _DAY_MS
        as_of = max(int(times.max()), 0 if before is None else before.as_of_ms)
        weights = np.exp2((times - as_of) / half_life)
        fade = 1.0 if before is None else float(np.exp2((before.as_of_ms - as_of) / half_life))
    counts = np.bincount(rows, weights=weights, minlength=sequences.items).astype(np.float64)
    if before is not None:
        counts[: len(before.counts)] += fade * before.counts
    evidence = as_evidence(counts[None, :].astype(np.float32))[0]
    return Popularity(settings, evidence, counts, as_of)
