"""What each arm reaches on every surface and head of the test days, and how well its probabilities are calibrated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mainstem.evaluate.arms import BLEND, POPULARITY
from mainstem.evaluate.calibration import calibration_error, predicted_over_observed
from mainstem.evaluate.intervals import Interval, Resampled
from mainstem.evaluate.ledger import Ledger, Weights
from mainstem.evaluate.measure import ALL, Form, Judged, Part, Place
from mainstem.evaluate.metrics import log_loss, normalised_entropy
from mainstem.evaluate.results import Cell, PrimaryResult


def places(test: Judged, heads: tuple[str, ...]) -> Iterator[Place]:
    """Every head of every surface, all surfaces together first; a log of one surface has only that."""
    surfaces = test.surfaces()
    for surface in surfaces if len(surfaces) == 1 else (ALL, *surfaces):
        for head in heads:
            yield Place(head, surface)


def cells(test: Judged, heads: tuple[str, ...]) -> tuple[Cell, ...]:
    """One record for each surface, head and arm that has rows."""
    return tuple(
        _cell(test, place, part, arm)
        for place in places(test, heads)
        if (part := test.part(place)) is not None
        for arm in test.arms
    )


def _cell(test: Judged, place: Place, part: Part, arm: str) -> Cell:
    measured = test.measured(place, arm, test.forms(arm, place.head)[0])
    assert measured is not None  # a place that has a part can be measured
    return Cell(
        surface=place.surface,
        head=place.head,
        arm=arm,
        rows=len(part.rows),
        positives=part.positives,
        users=len(np.unique(part.user)),
        auc=measured.value("auc"),
        gauc=measured.value("gauc"),
        ndcg=measured.value("ndcg"),
        **_calibration(test, place, part, arm),
    )


def _calibration(test: Judged, place: Place, part: Part, arm: str) -> dict[str, float | None]:
    """How far an arm's probabilities are off; nothing for an arm that only orders."""
    own = test.arms[arm].probability(place.head)
    if own is None:
        return {}
    predicted = own[part.rows]
    return {
        "log_loss": log_loss(predicted, part.labels),
        "normalised_entropy": normalised_entropy(predicted, part.labels),
        "calibration_error": calibration_error(predicted, part.labels),
        "predicted_over_observed": predicted_over_observed(predicted, part.labels),
    }


@dataclass(frozen=True, slots=True)
class NotedPrimary:
    """A primary number whose intervals are not known yet."""

    place: Place
    arm: str
    form: Form
    gauc: Weights
    ndcg: Weights
    primary: Weights


def note_primary(test: Judged, ledger: Ledger, head: str) -> list[NotedPrimary]:
    """Puts every arm's primary number on the list to resample: by its head, and by its final order."""
    noted = []
    for place in places(test, (head,)):
        for arm in test.arms:
            for form in ("order",) if arm in (BLEND, POPULARITY) else test.forms(arm, head):
                own = test.measured(place, arm, form)
                weights = (ledger.note(metric, (own, 1.0)) for metric in ("gauc", "ndcg", "primary"))
                noted.append(NotedPrimary(place, arm, form, *weights))
    return noted


def primary_result(noted: NotedPrimary, test: Judged, ledger: Ledger, drawn: Resampled, level: float) -> PrimaryResult:
    """The primary number with its intervals."""

    def interval(weights: Weights) -> Interval | None:
        return drawn.interval(ledger.dense(weights), level) if weights else None

    primary = interval(noted.primary)
    low, high = ends(test, noted.place)
    own = test.measured(noted.place, noted.arm, noted.form)
    told = primary is not None and low is not None and high is not None and high > low
    return PrimaryResult(
        surface=noted.place.surface,
        arm=noted.arm,
        score=noted.form,
        gauc=interval(noted.gauc),
        ndcg=interval(noted.ndcg),
        primary=primary,
        skill=(primary.mid - low) / (high - low) if told and primary and low is not None and high is not None else None,
        auc=own.value("auc") if own else None,
    )


def ends(test: Judged, place: Place) -> tuple[float | None, float | None]:
    """The primary number of a random and of a perfect order of these rows: what any arm lies between."""
    part = test.part(place)
    if part is None:
        return None, None
    known = np.zeros(len(test.rows))
    random = part.measure(known).value("primary")
    known[part.rows] = part.labels
    return random, part.measure(known).value("primary")
