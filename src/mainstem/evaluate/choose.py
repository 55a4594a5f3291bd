"""Which legacy arm is the better one: chosen on validation, never on test, so that the comparison is not flattered."""

from __future__ import annotations

from dataclasses import dataclass

from mainstem.evaluate.measure import ALL, Form, Judged, Metric, Place


@dataclass(frozen=True, slots=True)
class Chosen:
    """One arm, which of its scores stands for it, and where it was chosen."""

    arm: str
    form: Form
    chosen_on: str


def better_legacy(validation: Judged, legacy: tuple[str, ...], place: Place, metric: Metric) -> Chosen:
    """The legacy arm that is better on validation in this place; where nothing can be told, over all rows.

    For a head's AUC an arm enters with that head, or with its final order where it has none. For the primary outcome both
    enter, so that the opponent is the best the legacy side offers.
    """
    for where, told in ((place, "chosen on validation"), (Place(place.head), "chosen on validation, all surfaces")):
        reached = _reached(validation, legacy, where, metric)
        if reached:
            arm, form = max(reached, key=lambda entry: reached[entry])
            return Chosen(arm, form, told)
    first = legacy[0]
    return Chosen(first, validation.forms(first, place.head)[0], "first named, validation cannot tell")


def best_form(validation: Judged, arm: str, head: str) -> Form:
    """Which of an arm's scores orders an outcome better within users on validation."""
    return better_legacy(validation, (arm,), Place(head, ALL), "primary").form


def _reached(
    validation: Judged, legacy: tuple[str, ...], place: Place, metric: Metric
) -> dict[tuple[str, Form], float]:
    reached: dict[tuple[str, Form], float] = {}
    for arm in legacy:
        offered = validation.forms(arm, place.head)
        for form in offered[:1] if metric == "auc" else offered:
            measured = validation.measured(place, arm, form)
            value = None if measured is None else measured.value(metric)
            if value is not None:
                reached[(arm, form)] = value
    return reached
