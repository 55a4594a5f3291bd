"""From a legacy stack's formula to a unified one that orders as it did, and how nearly: on requests it was not fitted on.

Two questions are kept apart. Given the *same predictions*, can the unified formula say what the legacy one says? And given the
*unified model's own predictions*, how much of the legacy order is left? Where the second falls short, no formula mends it: the
legacy ranker knew other things. ``neutral`` (a student of the legacy ranker as one more column) is the way then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from mainstem.base.errors import ConfigError, EvidenceError, did_you_mean
from mainstem.base.heads import PREDICTIONS, WATCH
from mainstem.base.request import Floats, Request
from mainstem.data.log import Log
from mainstem.evaluate.agreement import agreement
from mainstem.stacks.neutral import CONNECTED
from mainstem.stacks.run import pool_of, run, score
from mainstem.stacks.stage import Stack
from mainstem.stacks.teachers import Asked, Teacher
from mainstem.value.content_first_value import WeightedSum
from mainstem.value.expression import SurfaceValues
from mainstem.value.interest_first_worth import TiredProduct
from mainstem.value.translation import TOP, Case, bends, fit_order, fit_value, logs_of
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.platform import open_stack
from mainstem.workspace.students import PORTS
from mainstem.workspace.value_pull import known_surface

Progress = Callable[[float, str], None]
REACHED: Final = 0.95
"""The tau at which an order counts as reproduced."""
_POOL, _KNOTS = 300, 6
_NOTHING: Final = 1e-9
"""A fitted weight this small, in long views, is none."""
_FIT, _CHOOSE = 0.5, 0.2
"""Shares of the viewers whose requests fit weights, and choose between forms; the others judge."""
Interval = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Form:
    """One family of formulas and how it is written."""

    name: str
    logs: bool
    factor: float | None
    """What an item of a creator who is not followed keeps; None where the formula does not look at that."""
    tired: bool = False
    """Whether the legacy stack's own fatigue stands beside the heads: to see what is lacking, not to be written."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How nearly one formula reproduces the legacy order: mean, lower and upper 95 % bound over held-out requests."""

    predictions: str
    form: str
    tau: Interval
    overlap: Interval
    written: bool = True
    """Whether it can be written as a surface's value; the others say what is the best there is."""

    @property
    def enough(self) -> bool:
        """Whether it counts as reproduced."""
        return self.tau[0] >= REACHED


@dataclass(frozen=True, slots=True)
class Translation:
    """What a legacy formula is in unified terms, and how nearly.

    Attributes:
        value: The unified expression that orders most nearly so by the unified predictions, and ``weights`` its numbers.
        carried: The legacy formula itself over the unified heads, where those have the same names: what it *means*, whatever
            either ranker predicts. None where it reads other things.
        reached: Every formula that was tried, on requests of viewers that fitted none.
        neutral: What the student of this legacy stack reaches here, from the evidence ``neutral``; None where there is none.
    """

    surface: str
    source: str
    requests: tuple[int, int, int]
    value: str
    weights: dict[str, float | str]
    carried: tuple[str, dict[str, float | str]] | None
    reached: tuple[Reached, ...]
    neutral: Interval | None
    sentence: str

    def as_toml(self) -> str:
        """The blocks to choose from for ``mainstem.toml``, each with what it is."""
        blocks = []
        if self.carried:
            blocks.append(f"# {self.source}'s formula as it is\n{_block(self.surface, *self.carried)}")
        blocks.append(
            f"# what orders most nearly so by the unified predictions\n{_block(self.surface, self.value, self.weights)}"
        )
        return "\n\n".join(blocks)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request as both stacks see it."""

    legacy: Floats
    heads: Floats
    followed: Floats
    tired: Floats
    predictions: Floats
    connected: Floats


def translate(
    workspace: Workspace,
    surface: str,
    source: str,
    requests: int = 400,
    slates_before: int = 0,
    progress: Progress = lambda share, what: None,
) -> Translation:
    """Fits the unified formula to a legacy one on a surface; evidence ``translation_SURFACE_SOURCE``.

    Args:
        workspace: With a log, the unified model and the legacy stack's.
        surface: Whose requests are replayed, as of the day before the validation day's end.
        source: ``content-first`` or ``interest-first``.
        requests: How many viewers are asked for; half fit, a fifth choose the form, the others judge.
        slates_before: So many slates the legacy stack serves each viewer first, so that what it remembers of serving (fatigue)
            is in its order.
        progress: Told what is done.

    Raises:
        ConfigError: There is no such legacy stack (``value-022``).
        EvidenceError: Too few requests (``value-021``).
    """
    known_surface(workspace, surface)
    if source not in PORTS:
        raise ConfigError(f"no legacy stack {source!r}", code="value-022", hint=did_you_mean(source, PORTS))
    log = open_log(workspace)
    day = split(workspace, log).validation_day
    progress(0.0, "opening both stacks")
    unified = replace(open_stack(workspace, log, day), memories=(), claims=None)
    teacher = Teacher(PORTS[source](workspace.legacy_model(source), log, day))
    asked = []
    for request in _requests(log, day, surface, requests, workspace.settings.seed):
        asked.append(_ask(unified, teacher, request, slates_before))
        progress(0.8 * len(asked) / requests, f"{source} is asked about {surface}")
    parts = _parted(asked)
    progress(0.85, "fitting")
    found = _translated(surface, source, teacher, parts, workspace)
    workspace.write_evidence(f"translation_{surface}_{source}", found)
    return found


def _translated(
    surface: str, source: str, teacher: Teacher, parts: Sequence[Sequence[_Asked]], workspace: Workspace
) -> Translation:
    factor = _factor(teacher, surface)
    seed = workspace.settings.seed
    tires = isinstance(teacher.stack.value, TiredProduct)
    own = [*_forms(factor), *([Form("log-additive and its fatigue", True, None, tired=True)] if tires else [])]
    same = _best(parts, own, _legacy_terms, seed)
    ours = _best(parts, _forms(factor), _unified_terms, seed)
    reached = [
        *(
            _judged(f"{source}'s own", form.name, weights, parts[2], form, _legacy_terms, seed, written=not form.tired)
            for form, weights in same
        ),
        *(_judged("unified", form.name, weights, parts[2], form, _unified_terms, seed) for form, weights in ours),
        _bent(parts, seed),
    ]
    form, weights = ours[0]
    value, numbers = written(form, weights)
    carried = written(*same[0], zeros=True) if teacher.stack.ranker.heads == PREDICTIONS else None
    neutral = _neutral(workspace, surface, source)
    counts = (len(parts[0]), len(parts[1]), len(parts[2]))
    sentence = _sentence(surface, source, reached, neutral)
    return Translation(surface, source, counts, value, numbers, carried, tuple(reached), neutral, sentence)


def _forms(factor: float | None) -> list[Form]:
    forms = [Form("additive", logs=False, factor=None), Form("log-additive", logs=True, factor=None)]
    if factor is not None:
        forms.append(Form(f"additive, x{factor:g} where not followed", logs=False, factor=factor))
    return forms


def _factor(teacher: Teacher, surface: str) -> float | None:
    """What the legacy formula leaves of items whose creator is not followed; None where it does not look at that."""
    value = teacher.stack.value
    return value.unconnected[surface] if isinstance(value, WeightedSum) else None


def _best(
    parts: Sequence[Sequence[_Asked]], forms: Sequence[Form], terms: Callable[[_Asked, Form], Floats], seed: int
) -> list[tuple[Form, Floats]]:
    """Each form with its better fit of two, the form that does best on the choosing requests first."""
    tried = []
    for form in forms:
        cases = [Case(terms(one, form), one.legacy) for one in parts[0]]
        fits = [fit_order(cases, seed), fit_value(cases, logs=form.logs)]
        scored = [(float(np.nanmean(_taus(parts[1], form, terms, fit)[0])), fit) for fit in fits]
        best = max(scored, key=lambda one: one[0])
        tried.append((best[0], form, best[1]))
    return [(form, fit) for _, form, fit in sorted(tried, key=lambda one: -one[0])]


def _legacy_terms(asked: _Asked, form: Form) -> Floats:
    terms = _terms(asked.heads, asked.followed, form)
    return np.column_stack([terms, asked.tired]) if form.tired else terms


def _unified_terms(asked: _Asked, form: Form) -> Floats:
    return _terms(asked.predictions, asked.connected, form)


def _terms(heads: Floats, connected: Floats, form: Form) -> Floats:
    if form.logs:
        return logs_of(heads)
    return heads if form.factor is None else heads * (form.factor + (1 - form.factor) * connected)[:, None]


def _taus(
    asked: Sequence[_Asked], form: Form, terms: Callable[[_Asked, Form], Floats], weights: Floats
) -> tuple[Floats, Floats]:
    found = [agreement(one.legacy, terms(one, form) @ weights, TOP) for one in asked]
    return np.array([one.tau for one in found]), np.array([one.overlap for one in found])


def _judged(
    predictions: str,
    name: str,
    weights: Floats,
    asked: Sequence[_Asked],
    form: Form,
    terms: Callable[[_Asked, Form], Floats],
    seed: int,
    *,
    written: bool = True,
) -> Reached:
    taus, overlaps = _taus(asked, form, terms, weights)
    return Reached(predictions, name, _interval(taus, seed), _interval(overlaps, seed), written)


def _bent(parts: Sequence[Sequence[_Asked]], seed: int) -> Reached:
    """What any sum of bent lines of the same predictions reaches: the bound of what a formula of heads can do."""
    everything = np.concatenate([logs_of(one.predictions) for one in parts[0]])
    knots = np.quantile(everything, np.linspace(0, 1, _KNOTS + 2)[1:-1], axis=0)
    form = Form("any sum of bent lines, with followed", logs=True, factor=None)

    def terms(asked: _Asked, form: Form) -> Floats:
        straight = bends(logs_of(asked.predictions), knots)
        return np.column_stack(
            [straight, asked.connected, straight[:, : asked.predictions.shape[1]] * asked.connected[:, None]]
        )

    weights = fit_order([Case(terms(one, form), one.legacy) for one in (*parts[0], *parts[1])], seed)
    return _judged("unified", form.name, weights, parts[2], form, terms, seed, written=False)


def written(form: Form, weights: Floats, *, zeros: bool = False) -> tuple[str, dict[str, float | str]]:
    """A fitted formula over the unified heads as a surface writes it, in the currency of long views where those are wanted.

    Args:
        form: Its family.
        weights: In the order of ``PREDICTIONS``.
        zeros: Also writes what has no weight, so that it can be given one.
    """
    by_head = dict(zip(PREDICTIONS, weights.tolist(), strict=True))
    chances = [abs(one) for head, one in by_head.items() if head != WATCH]
    scale = by_head["long_view"] if by_head["long_view"] > 0 else max(chances) or 1.0
    numbers: dict[str, float | str] = {}
    terms = []
    for head, weight in zip(PREDICTIONS, weights / scale, strict=True):
        if abs(weight) < _NOTHING and not zeros:
            continue
        name, rounded = f"{head}_worth", 0.0 if abs(weight) < _NOTHING else float(f"{weight:.6g}")
        if form.logs:
            per = "watch_unit * watch" if head == WATCH else head
            terms.append(f"{name} * log(max({per}, 0.000001))")
            numbers |= {name: rounded} | ({"watch_unit": "1 / s"} if head == WATCH else {})
        else:
            reach = "" if form.factor is None else f" * (unfollowed + (1 - unfollowed) * {CONNECTED})"
            terms.append(f"{name} * {head}{reach}")
            numbers[name] = f"{rounded!r} / s" if head == WATCH else rounded
    if form.factor is not None:
        numbers["unfollowed"] = form.factor
    return " + ".join(terms), numbers


def _ask(unified: Stack, teacher: Teacher, request: Request, slates_before: int) -> _Asked:
    for number in range(slates_before):
        run(teacher.stack, replace(request, request_id=request.request_id + 1_000_000 * (number + 1), count=10))
    ids = unified.catalog.items.ids[pool_of(unified, request).rows[:_POOL]]
    ours = replace(request, item_ids=ids)
    _, predictions = score(unified, ours)
    rows, user = unified.catalog.item_rows(ids), unified.features.user(ours)
    assert isinstance(unified.value, SurfaceValues)
    known = teacher.ask(request, ids)
    heads = teacher.heads(known)
    follows = getattr(known.user, "follows", None)
    followed = np.zeros(len(ids)) if follows is None else follows(known.rows).astype(np.float64)
    connected = unified.value.facts[CONNECTED](ours, user, rows)
    predictions = np.asarray(predictions, np.float64)[:, : len(PREDICTIONS)]
    values = teacher.values(known, heads)
    tired = _tired(teacher, known, heads, values)
    return _Asked(values, np.asarray(heads, np.float64), followed, tired, predictions, connected)


def _tired(teacher: Teacher, known: Asked, heads: Floats, values: Floats) -> Floats:
    """What the viewer is tired of takes off the logarithm of the value; 0 in a formula without it."""
    if not isinstance(teacher.stack.value, TiredProduct):
        return np.zeros(len(values))
    terms = teacher.stack.value.terms(known.request, known.user, known.rows, heads)
    rested = terms["interest"] + terms["item"]
    return np.log(np.maximum(rested, 1e-300)) - np.log(np.maximum(values, 1e-300))


def _requests(log: Log, day: int, surface: str, most: int, seed: int) -> Iterator[Request]:
    """Requests of different viewers of a surface at logged moments of a day."""
    here = log.impressions.filter((pl.col("surface") == surface) & (pl.col("day") <= day))
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.sort(here["user_id"].unique().to_numpy()))[:most]
    times = log.impressions.filter(pl.col("day") == day)["time_ms"].to_numpy()
    scenarios = here["scenario"].to_numpy()
    for number, user in enumerate(users.tolist()):
        yield Request(
            request_id=number,
            user_id=user,
            surface=surface,
            now_ms=int(times[rng.integers(len(times))]),
            count=1,
            scenario=int(scenarios[rng.integers(len(scenarios))]),
        )


def _parted(asked: Sequence[_Asked]) -> tuple[Sequence[_Asked], Sequence[_Asked], Sequence[_Asked]]:
    fit, choose = int(_FIT * len(asked)), int((_FIT + _CHOOSE) * len(asked))
    if fit < 10 or len(asked) - choose < 5:
        raise EvidenceError(
            f"{len(asked)} viewers of the surface can be asked for, expected at least 20",
            code="value-021",
            hint="mainstem data import brings a longer log",
        )
    return asked[:fit], asked[fit:choose], asked[choose:]


def _interval(values: Floats, seed: int) -> Interval:
    """Mean and bootstrap bounds over requests; those without an order are left out."""
    there = values[np.isfinite(values)]
    if not len(there):
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(0, len(there), (1_000, len(there)))
    low, high = np.quantile(there[drawn].mean(axis=1), [0.025, 0.975])
    return round(float(there.mean()), 4), round(float(low), 4), round(float(high), 4)


def _neutral(workspace: Workspace, surface: str, source: str) -> Interval | None:
    told: list[Mapping[str, Any]] = workspace.read_evidence("neutral") or []
    for one in told:
        if one["surface"] == surface and one["teacher"] == source:
            low, mid, high = one["tau20"]
            return float(low), float(mid), float(high)
    return None


def _sentence(surface: str, source: str, reached: Sequence[Reached], neutral: Interval | None) -> str:
    own = max((one for one in reached if one.predictions != "unified" and one.written), key=lambda one: one.tau[0])
    lacking = next((one for one in reached if one.predictions != "unified" and not one.written), None)
    ours = next(one for one in reached if one.predictions == "unified")
    bound = next(one for one in reached if one.predictions == "unified" and not one.written)
    said = (
        f"Given its own predictions, the {own.form} formula reproduces {source} on {surface}"
        if own.enough
        else f"Even given its own predictions, no formula tried reproduces {source} on {surface}; the nearest is {own.form}"
    )
    if lacking is not None and not own.enough and lacking.enough:
        said += f" (what it lacks is the viewer's fatigue, which is control's here: with it {lacking.tau[0]:.3f})"
    said += f" (tau@20 {own.tau[0]:.3f}). Given the unified predictions, {ours.form} has {ours.tau[0]:.3f}"
    if ours.enough:
        return said + ", which is the order."
    said += (
        f", which is not its order: no sum of these predictions was found above {max(bound.tau[0], ours.tau[0]):.3f}."
    )
    if neutral is None:
        return said + " A student of it (mainstem models distil) may come nearer."
    return said + f' Its student reaches {neutral[0]:.3f}: value = "neutral" is the way.'


def _block(surface: str, value: str, weights: Mapping[str, float | str]) -> str:
    lines = [f"[surfaces.{surface}]", f'value = "{value}"', f"[surfaces.{surface}.weights]"]
    return "\n".join([*lines, *(f"{name} = {_toml(one)}" for name, one in weights.items())])


def _toml(value: float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
