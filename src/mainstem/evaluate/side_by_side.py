"""What the unified stack gains and costs against both legacy stacks, on the same logged rows, with every claim judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import DataError, did_you_mean
from mainstem.evaluate.arms import BLEND, POPULARITY, blend_arm
from mainstem.evaluate.cells import cells, ends, note_primary, places, primary_result
from mainstem.evaluate.checks import same_length
from mainstem.evaluate.choose import Chosen, best_form, better_legacy
from mainstem.evaluate.intervals import Resampled
from mainstem.evaluate.ledger import Ledger, Weights, adjust
from mainstem.evaluate.measure import ALL, Form, Judged, Metric, Part, Place
from mainstem.evaluate.plan import SideBySidePlan
from mainstem.evaluate.public_figures import KUAIRAND_PURE, public_note
from mainstem.evaluate.results import Comparison, SideBySide, Split
from mainstem.evaluate.rows import ArmScores, LoggedRows
from mainstem.evaluate.verdicts import verdicts

Family = Literal["primary", "surfaces", "slices", "heads"]
Noted = tuple[Comparison, Weights]


def side_by_side(arms: Mapping[str, ArmScores], rows: LoggedRows, plan: SideBySidePlan | None = None) -> SideBySide:
    """How every arm does on the test rows, and whether the unified one is better than what it replaces.

    Which legacy arm is the better one is chosen on validation, metric by metric; every claim is judged on test. The
    popularity baseline and the rank-average of the legacy arms are added to the arms.

    Args:
        arms: Scores of the unified arm, the legacy arms and any others, by name.
        rows: The log, split.
        plan: What was declared before looking.

    Raises:
        DataError: An arm of the plan is missing (``evaluate-005``), its arrays have another length (``evaluate-002``), or
            a judged score is not finite (``evaluate-001``).
    """
    plan = plan or SideBySidePlan()
    _check(arms, rows, plan)
    validation, test = _judged(arms, rows, plan)
    ledger, heads = Ledger(), tuple(rows.labels)
    noted = [one for asked in _questions(test, plan, heads) for one in _note(asked, validation, test, ledger, plan)]
    primary = note_primary(test, ledger, plan.primary_head)
    drawn = ledger.resample(test.user_ids, seed=plan.seed, resamples=plan.resamples)
    comparisons = _resolved(noted, ledger, drawn, plan)
    split = _split(rows, validation, test, plan)
    return SideBySide(
        arms=tuple(test.arms),
        primary_head=plan.primary_head,
        split=split,
        primary=tuple(primary_result(one, test, ledger, drawn, plan.level) for one in primary),
        cells=cells(test, heads),
        comparisons=comparisons,
        verdicts=verdicts(comparisons, plan),
        public_figures=KUAIRAND_PURE if plan.public_log == "kuairand_pure" else (),
        public_note=public_note(split.test_days) if plan.public_log == "kuairand_pure" else "",
    )


def _check(arms: Mapping[str, ArmScores], rows: LoggedRows, plan: SideBySidePlan) -> None:
    for name in (plan.unified, *plan.legacy):
        if name not in arms:
            raise DataError(
                f"no arm {name!r}, the plan compares it", code="evaluate-005", hint=did_you_mean(name, arms)
            )
    for reserved in (BLEND, POPULARITY):
        if reserved in arms:
            raise DataError(
                f"arm {reserved!r} is added here and cannot be given", code="evaluate-005", hint="rename it"
            )
    if plan.primary_head not in rows.labels:
        hint = did_you_mean(plan.primary_head, rows.labels)
        raise DataError(f"no labels for the primary head {plan.primary_head!r}", code="evaluate-005", hint=hint)
    for name, arm in arms.items():
        told = {f"{name}.{head}": score for head, score in arm.heads.items() if score is not None}
        same_length(len(rows.users), **{f"{name}.order": arm.order}, **told)


def _judged(arms: Mapping[str, ArmScores], log: LoggedRows, plan: SideBySidePlan) -> tuple[Judged, Judged]:
    """Validation with the arms as they are; test with the rank-average as one more."""
    cold, light = log.item_train_counts < plan.cold_item_below, log.user_train_counts < plan.light_user_below
    slices = {"cold items": cold, "known items": ~cold, "light users": light, "regular users": ~light}
    every = dict(arms) | {POPULARITY: ArmScores(order=log.popularity)}
    validation = Judged.of(log, log.validation, every, slices, plan.ndcg_k)
    test = Judged.of(log, log.test, every, slices, plan.ndcg_k)
    legacy = {name: test.arms[name] for name in plan.legacy}
    best = [test.score(name, plan.primary_head, best_form(validation, name, plan.primary_head)) for name in legacy]
    blend = blend_arm(legacy, best, tuple(log.labels), test.user)
    return validation, replace(test, arms={**test.arms, BLEND: blend})


def _questions(test: Judged, plan: SideBySidePlan, heads: tuple[str, ...]) -> Iterator[tuple[Family, Place, Metric]]:
    """Every declared difference: the primary number, then by surface and slice, then each head of each surface."""
    head = plan.primary_head
    for metric in ("primary", "gauc", "ndcg"):
        yield "primary", Place(head), metric
    for place in places(test, (head,)):
        if place.surface != ALL:
            yield "surfaces", place, "primary"
    for name in test.slices:
        yield "slices", Place(head, ALL, name), "primary"
    for place in places(test, heads):
        yield "heads", place, "auc"


def _note(
    asked: tuple[Family, Place, Metric], validation: Judged, test: Judged, ledger: Ledger, plan: SideBySidePlan
) -> Iterator[Noted]:
    """The unified arm's difference to the better legacy arm and, on the primary outcome, to the rank-average."""
    family, place, metric = asked
    part = test.part(place)
    if part is None:
        return
    against = [better_legacy(validation, plan.legacy, place, metric)]
    if family != "heads":
        against.append(Chosen(BLEND, "order", "declared"))
    for form in _own_forms(test, plan, asked):
        own = test.measured(place, plan.unified, form)
        for other in against:
            weights = ledger.note(metric, (own, 1.0), (test.measured(place, other.arm, other.form), -1.0))
            yield _comparison(asked, part, form, other, plan), weights


def _own_forms(test: Judged, plan: SideBySidePlan, asked: tuple[Family, Place, Metric]) -> tuple[Form, ...]:
    """The unified arm's declared score; for the primary number the other one too, as a second line."""
    family, place, metric = asked
    offered = test.forms(plan.unified, place.head)
    if family == "heads":
        return offered[:1]
    declared: Form = plan.score if plan.score in offered else "order"
    others: list[Form] = (
        [form for form in offered if form != declared] if family == "primary" and metric == "primary" else []
    )
    return (declared, *others)


def _comparison(
    asked: tuple[Family, Place, Metric], part: Part, form: Form, other: Chosen, plan: SideBySidePlan
) -> Comparison:
    family, place, metric = asked
    positives, negatives = part.positives, len(part.rows) - part.positives
    return Comparison(
        family=family,
        surface=place.surface,
        head=place.head,
        slice=place.slice,
        metric=f"ndcg@{plan.ndcg_k}" if metric == "ndcg" else metric,
        score=form,
        against=other.arm,
        against_score=other.form,
        chosen_on=other.chosen_on,
        rows=len(part.rows),
        positives=part.positives,
        enough=len(part.rows) >= plan.least_rows
        and positives >= plan.least_positives
        and negatives >= plan.least_negatives,
        difference=None,
    )


def _resolved(noted: list[Noted], ledger: Ledger, drawn: Resampled, plan: SideBySidePlan) -> tuple[Comparison, ...]:
    """The noted differences with their intervals and corrected p-values."""
    weights = [ledger.dense(weights) for _, weights in noted]
    families = [row.family for row, _ in noted]
    counts = [row.enough for row, _ in noted]
    above = [drawn.p_below(weight) if weight.any() else None for weight in weights]
    worse = [
        drawn.p_above(weight, -plan.auc_margin) if weight.any() and row.family == "heads" else None
        for weight, (row, _) in zip(weights, noted, strict=True)
    ]
    return tuple(
        replace(row, difference=drawn.interval(weight, plan.level) if weight.any() else None, p_above=p, p_worse=q)
        for (row, _), weight, p, q in zip(
            noted, weights, adjust(families, above, counts), adjust(families, worse, counts), strict=True
        )
    )


def _split(log: LoggedRows, validation: Judged, test: Judged, plan: SideBySidePlan) -> Split:
    random, perfect = ends(test, Place(plan.primary_head))
    return Split(
        hash=log.split_hash,
        validation_days=_days(log, log.validation),
        test_days=_days(log, log.test),
        validation_rows=len(validation.rows),
        test_rows=len(test.rows),
        test_users=len(test.user_ids),
        random_primary=random,
        perfect_primary=perfect,
    )


def _days(log: LoggedRows, mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(day) for day in np.unique(log.days[mask]))
