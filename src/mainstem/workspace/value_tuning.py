"""Tunes what a surface values in the made world that its log comes from, where the truth can be asked.

Candidates, predictions and rules are those of the unified stack and are found once; each evaluation values them anew, applies the
rules and asks the world what the slates are truly worth to their viewers. Weights are chosen on one half of the viewers and
reported on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mainstem.base.errors import EvidenceError
from mainstem.base.heads import HEADS, PREDICTIONS, WATCH
from mainstem.base.request import Floats, Ids, Pool, Request
from mainstem.data.log import Log
from mainstem.data.world import VALUE_WEIGHTS, World, WorldSettings, make_world
from mainstem.stacks.neutral import surface_values
from mainstem.stacks.run import pool_of
from mainstem.stacks.stage import Stack
from mainstem.value.expression import Expression, SurfaceValues
from mainstem.value.tuning import Guardrail, Knob, Measured, Trial, Tuned, guardrail, knob, tune
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log
from mainstem.workspace.platform import open_stack
from mainstem.workspace.value_pull import known_surface, requests_of

Progress = Callable[[float, str], None]
FIXED: Final = "long_view_worth"
"""The weight that stays where it is when there is one: an order has no scale, so one weight is the currency."""
UNWANTED: Final = ("hate",)
"""Outcomes nobody wants; a weight is named for its outcome."""
WORLD: Final = " + ".join(
    f"per_second * {head}" if head == WATCH else f"{worth!r} * {head}" for head, worth in VALUE_WEIGHTS.items()
)
"""What an impression is worth by the made world's own weights, as an expression over what truly happens."""


@dataclass(frozen=True, slots=True)
class _Moment:
    request: Request
    user: Any
    pool: Pool
    predictions: Floats


class WorldObjective:
    """What slates by some weights are truly worth in a made world, rules applied: exact expectations, no luck drawn.

    Args:
        world: Where the truth is asked.
        stack: The unified stack over the world's log; its memories are left alone.
        expression: What the surface values; its weights are replaced by each evaluation's.
        worth: What an impression is truly worth, over the true chances of each head.
        requests: Who is asked for.
        perfect: Predictions are the world's own chances, not the model's: what is lost then is lost by the weights.
    """

    def __init__(
        self,
        world: World,
        stack: Stack,
        expression: Expression,
        worth: Expression,
        requests: Sequence[Request],
        *,
        perfect: bool = False,
    ) -> None:
        assert isinstance(stack.value, SurfaceValues)
        self._world, self._stack, self._expression, self.worth = world, stack, expression, worth
        self._model = stack.value
        told = world if perfect else None
        self._moments = [_moment(stack, request, told) for request in requests]
        self._surface = requests[0].surface
        self._heads = tuple(stack.ranker.heads)

    def __call__(self, weights: Mapping[str, float]) -> Measured:
        """Mean true worth of an impression, and the mean of each head, of watch time and of creators on a slate."""
        named = {name: one for name, one in weights.items() if name in self._expression.weights}
        written = {name: _written(self._expression, name, one) for name, one in named.items()}
        return self.by(self._expression.with_weights(written))

    def by(self, expression: Expression) -> Measured:
        """The same for another expression."""
        model = SurfaceValues({self._surface: expression}, self._heads, self._model.facts)
        users, items, places, times, creators = [], [], [], [], []
        catalog = self._stack.catalog.items
        for one in self._moments:
            values = model.values(one.request, one.user, one.pool.rows, one.predictions)
            shown = one.pool.rows[self._stack.control.select(one.request, one.user, one.pool, values).order]
            items.append(catalog.ids[shown])
            places.append(np.arange(len(shown)))
            users.append(np.full(len(shown), one.request.user_id))
            times.append(np.full(len(shown), one.request.now_ms))
            creators.append(len(np.unique(np.asarray(catalog.creator)[shown])))
        truth = self._world.truth(_all(users), _all(items), self._surface, _all(times), _all(places))
        metrics = dict(zip(HEADS, truth.probabilities.mean(axis=0).tolist(), strict=True))
        metrics |= {WATCH: float(truth.watch_s.mean()), "creators": float(np.mean(creators))}
        told = dict(zip(PREDICTIONS, np.column_stack([truth.probabilities, truth.watch_s]).T, strict=True))
        return Measured(float(np.mean(self.worth.of(told))), metrics)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What tuning found.

    Attributes:
        written: The tuned weights as ``mainstem surface set`` takes them.
        start, best: By the weights there were and by the best that keep every guardrail, on viewers that chose nothing.
        oracle: By what an impression is truly worth, read as a value over the same predictions.
        closed: Which share of the gap between start and oracle the best closes.
        kept: Whether the best keeps every guardrail on those viewers too, within ``SLACK``.
        at_random: The same share for as many trials drawn at random.
    """

    surface: str
    guardrails: tuple[str, ...]
    requests: tuple[int, int]
    evaluations: int
    seed: int
    weights: dict[str, float]
    written: dict[str, str]
    start: Measured
    best: Measured | None
    oracle: Measured
    closed: float | None
    at_random: float | None
    kept: bool
    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    sentence: str


SLACK: Final = 0.02
"""A guardrail's share that it may be missed by on viewers that did not choose the weights: their number is finite."""


def tune_surface(
    workspace: Workspace,
    surface: str,
    guardrails: Sequence[str] = (),
    evaluations: int = 100,
    seed: int | None = None,
    requests: int = 200,
    value: Expression | None = None,
    objective: str = WORLD,
    perfect: bool = False,
    progress: Progress = lambda share, what: None,
) -> Tuning:
    """Tunes the named weights of a surface in the made world of the workspace's log; evidence ``tuning_SURFACE``.

    Args:
        workspace: With a made log and the model trained on it, or with a world beside its real log (``mainstem demo`` makes one).
        surface: Whose weights.
        guardrails: Such as ``hate <= start``.
        evaluations: How many weights are tried.
        seed: Of every draw; None takes the workspace's.
        requests: How many viewers choose; as many others judge.
        value: Another expression than the surface's own.
        objective: What an impression is truly worth, an expression over the true chances (``per_second`` is 0.01 / s).
        perfect: By the world's own chances in place of the model's predictions.
        progress: Told what is done.

    Raises:
        EvidenceError: The log is real: nobody can be asked for the truth (``value-032``).
        ConfigError: No weight to tune (``value-031``), or a guardrail that cannot be read (``value-030``).
    """
    known_surface(workspace, surface)
    place, seed = _made(workspace), workspace.settings.seed if seed is None else seed
    log = open_log(place)
    world = world_of(log)
    stack = replace(open_stack(place, log), memories=(), claims=None)
    expression = value or surface_values(workspace.settings)[surface]
    worth = Expression(objective, PREDICTIONS, "objective", {"per_second": f"{VALUE_WEIGHTS[WATCH]} / s"})
    progress(0.0, "finding candidates")
    asked = requests_of(log, surface, 2 * requests, seed)
    chooses = WorldObjective(world, stack, expression, worth, asked[: len(asked) // 2], perfect=perfect)
    judges = WorldObjective(world, stack, expression, worth, asked[len(asked) // 2 :], perfect=perfect)
    first = chooses.by(expression)
    knobs = _knobs(expression, first)
    rails = [guardrail(text, first.metrics) for text in guardrails]
    tuned = tune(chooses, knobs, rails, evaluations, seed, progress=lambda share, what: progress(share / 2, what))
    drawn = tune(
        chooses,
        knobs,
        rails,
        evaluations,
        seed,
        at_random=True,
        progress=lambda share, what: progress((1 + share) / 2, what),
    )
    found = _judged(
        surface, guardrails, expression, judges, tuned, drawn, (len(asked) // 2, len(asked) - len(asked) // 2), seed
    )
    workspace.write_evidence(f"tuning_{surface}", found)
    return found


def _knobs(expression: Expression, first: Measured) -> list[Knob]:
    """Every named weight the value reads but the one it is counted in.

    A weight of an outcome may cross 0 to its right sign; one that is 0 may grow until its outcome is worth all that a slate is
    worth now.
    """
    found = []
    for name, one in expression.weights.items():
        if name in expression.weighed and name != FIXED:
            head = name.removesuffix("_worth")
            sign = 0 if head not in PREDICTIONS else -1 if head in UNWANTED else 1
            most = first.value / max(first.metrics[head], 1e-9) if sign else 0.0
            found.append(knob(name, one.number, sign=sign, most=most))
    return found


def _judged(
    surface: str,
    guardrails: Sequence[str],
    expression: Expression,
    judges: WorldObjective,
    tuned: Tuned,
    drawn: Tuned,
    counts: tuple[int, int],
    seed: int,
) -> Tuning:
    start = judges.by(expression)
    best = judges(tuned.best.weights) if tuned.best else None
    twin = judges(drawn.best.weights) if drawn.best else None
    oracle = judges.by(judges.worth)
    rails = [guardrail(text, start.metrics) for text in guardrails]
    kept = best is not None and all(_kept(one, best) for one in rails)
    closed, at_random = _closed(start, best, oracle), _closed(start, twin, oracle)
    sentence = _sentence(surface, start, best, oracle, closed, at_random, kept, rails)
    weights = dict(tuned.best.weights) if tuned.best else {}
    written = {name: str(_written(expression, name, float(f"{one:.4g}"))) for name, one in weights.items()}
    return Tuning(
        surface, tuple(guardrails), counts, len(tuned.trials), seed, weights, written, start, best, oracle, closed, at_random, kept,
        tuned.trials, tuned.front, sentence,
    )  # fmt: skip


def _kept(rail: Guardrail, found: Measured) -> bool:
    return rail.slack(found.metrics) >= -SLACK * abs(rail.bound)


def _closed(start: Measured, found: Measured | None, oracle: Measured) -> float | None:
    if found is None or oracle.value <= start.value:
        return None
    return (found.value - start.value) / (oracle.value - start.value)


def _sentence(
    surface: str,
    start: Measured,
    best: Measured | None,
    oracle: Measured,
    closed: float | None,
    at_random: float | None,
    kept: bool,
    rails: Sequence[Guardrail],
) -> str:
    if best is None:
        return f"No weights that were tried keep every guardrail on {surface}: {', '.join(map(str, rails))}."
    said = f"On {surface} an impression is truly worth {start.value:.4f} by the present weights, {best.value:.4f} by the tuned"
    if closed is None:
        said += f"; what they are truly worth, read as weights of these predictions, comes to {oracle.value:.4f}, no more than that"
    else:
        said += f", {closed:.0%} of the way to what the true weights reach ({oracle.value:.4f}; drawn at random: "
        said += "none)" if at_random is None else f"{at_random:.0%})"
    if rails:
        said += "; every guardrail is kept" if kept else "; a guardrail is missed on viewers that did not choose"
    return said + ". A made world: no number of it stands for one of real viewers."


def _made(workspace: Workspace) -> Workspace:
    """The workspace, or the world beside it where its own log is real; its settings in both."""
    beside = Workspace(workspace.folder / "world", workspace.settings)
    own = open_log(workspace).manifest.made if (workspace.log / "manifest.json").exists() else False
    return beside if not own and (beside.log / "manifest.json").exists() else workspace


def world_of(log: Log) -> World:
    """The made world that a log comes from.

    Raises:
        EvidenceError: It comes from none (``value-032``).
    """
    facts = log.manifest.facts
    names = ("users", "items", "days", "impressions", "history_days", "first_day", "seed")
    if not log.manifest.made or any(name not in facts for name in names):
        raise EvidenceError(
            f"the log {log.manifest.name!r} is not of a made world: what other slates would have been worth is not known",
            code="value-032",
            hint="mainstem demo --made makes one",
        )
    return make_world(WorldSettings(**{name: int(facts[name]) for name in names}))


def _moment(stack: Stack, request: Request, world: World | None) -> _Moment:
    user, pool = stack.features.user(request), pool_of(stack, request)
    most = stack.rank.get(request.surface, len(pool.rows))
    pool = Pool(pool.rows[:most], pool.source_mask[:most], pool.fused[:most])
    if world is not None:
        ids = stack.catalog.items.ids[pool.rows]
        truth = world.truth(request.user_id, ids, request.surface, request.now_ms)
        told = np.zeros((len(ids), len(stack.ranker.heads)))
        told[:, : len(PREDICTIONS)] = np.column_stack([truth.probabilities, truth.watch_s])
        return _Moment(request, user, pool, told)
    features = stack.features.items(request, user, pool.rows)
    return _Moment(request, user, pool, stack.ranker.predict(request, user, pool.rows, features))


def _written(expression: Expression, name: str, weight: float) -> float | str:
    """A number with the unit the weight has."""
    seconds = expression.weights[name].seconds
    return weight if not seconds else f"{weight!r} / s" if seconds < 0 else f"{weight!r} s"


def _all(arrays: Sequence[Ids]) -> Ids:
    return np.concatenate(arrays)
