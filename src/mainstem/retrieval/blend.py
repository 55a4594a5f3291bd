"""How much each of several next-item models should count: a few weights by listwise maximum likelihood.

Scores of one model compare within one history only, and two models' scores not at all. So each model's scores are brought
to one form first (``Form``), the forms are summed with weights, and the weights are those under which the softmax over the
catalogue makes the validation targets likeliest: a convex problem with as many unknowns as models, solved by Newton steps.

The models must not have learned from the targets: fit them on ``split.fit``, the weights on the validation targets, and
report the test targets.

Source: Genest and Zidek 1986 (logarithmic opinion pools); Cao et al., Listwise approach, ICML 2007; Bengio and Senécal
2008 for the correction of sampled candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import LeaveOneOut, Sequences
from mainstem.retrieval.next_item import NextItem

Form = Literal["as_is", "evidence", "standardised"]
"""``as_is``: already log-evidence; ``evidence``: non-negative masses, made log-evidence against their mean;
``standardised``: logits or anything else, each row to mean 0 and deviation 1."""

_BEST: Final = 200
_OTHERS: Final = 400
_BATCH: Final = 256
_MOST_STEPS: Final = 40
_SETTLED: Final = 1e-7
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a blend and the form its scores are brought to."""

    model: NextItem
    form: Form = "standardised"

    def formed(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> Floats:
        """The model's scores in the blend's form. Shapes: [histories, items]."""
        scores = self.model.scores(histories, now_ms)
        if self.form == "as_is":
            return scores
        if self.form == "evidence":
            masses = np.maximum(scores, 0)
            usual = masses.mean(axis=1, keepdims=True)
            return np.log1p(masses / np.where(usual > 0, usual, 1.0)).astype(np.float32)
        centred = scores - scores.mean(axis=1, keepdims=True)
        deviation = centred.std(axis=1, keepdims=True)
        return (centred / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Blend:
    """Several next-item models as one; a blend may be a member of another."""

    name: str
    members: tuple[Member, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.members) or not self.members or not np.isfinite(self.weights).all():
            raise RetrievalError(
                f"found {len(self.weights)} weights for {len(self.members)} models, expected one finite weight each",
                code="retrieval-017",
                hint="learn_weights gives them",
            )

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> Floats:
        """The weighted sum of the members' forms. Shapes: [histories, items]."""
        total = np.zeros((len(histories), histories.items), np.float32)
        for member, weight in zip(self.members, self.weights, strict=True):
            if weight:
                total += np.float32(weight) * member.formed(histories, now_ms)
        return total


@dataclass(frozen=True, slots=True)
class Choices:
    """For each user the target and other items it could have been, as every member sees them.

    Shapes: ``forms[users, candidates, members]`` (the target first), ``log_odds[users, candidates]`` what to add because
    a candidate stands for several.
    """

    forms: Floats
    log_odds: Floats


def learn_weights(
    members: Sequence[Member],
    split: LeaveOneOut,
    *,
    users: int = 6_000,
    seed: int = 0,
    shrink: float = 1e-3,
    non_negative: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[float, ...]:
    """The weights under which the members, summed, make the validation targets likeliest.

    Args:
        members: Fitted on ``split.fit`` only.
        users: How many are drawn to learn from; all when there are fewer.
        seed: Same seed, same users and candidates.
        shrink: Pulls weights towards 0, so that two members that say the same share their weight.
        non_negative: Members that would count against are left out instead.
        progress: Told how far it is.
    """
    return fit_weights(draw_choices(members, split, users=users, seed=seed, progress=progress), shrink, non_negative)


def draw_choices(
    members: Sequence[Member],
    split: LeaveOneOut,
    *,
    users: int = 6_000,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> Choices:
    """The validation targets among candidates: the 200 that the members like best, and 400 at random for all the others.

    Raises:
        RetrievalError: ``retrieval-018`` when no user can be learned from.
    """
    if not members or not len(split.users):
        raise RetrievalError(
            f"found {len(members)} models and {len(split.users)} users, expected at least one of each",
            code="retrieval-018",
            hint="users need three events to have a validation target",
        )
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(split.users))[:users])
    forms: list[Floats] = []
    odds: list[Floats] = []
    for start in range(0, len(drawn), _BATCH):
        part = drawn[start : start + _BATCH]
        histories = split.fit.take(split.users[part])
        seen = np.stack([member.formed(histories) for member in members], axis=2)
        candidates, extra = _candidates(seen, histories, split.validation[part], rng)
        forms.append(np.take_along_axis(seen, candidates[:, :, None], axis=1))
        odds.append(extra)
        if progress is not None:
            progress(min(1.0, (start + _BATCH) / len(drawn)), "reading what the models say")
    return Choices(np.concatenate(forms), np.concatenate(odds))


def fit_weights(choices: Choices, shrink: float = 1e-3, non_negative: bool = False) -> tuple[float, ...]:
    """The likeliest weights for these choices, by damped Newton steps; with ``non_negative``, the worst offender leaves."""
    active = np.arange(choices.forms.shape[2])
    while True:
        found = _newton(choices.forms[:, :, active], choices.log_odds, shrink)
        if not non_negative or (found >= 0).all() or len(active) == 1:
            break
        active = np.delete(active, int(found.argmin()))
    weights = np.zeros(choices.forms.shape[2])
    weights[active] = np.maximum(found, 0) if non_negative else found
    return tuple(float(weight) for weight in weights)


def surprise(choices: Choices, weights: Sequence[float]) -> float:
    """How unlikely the targets are under some weights: mean negative log likelihood, in nats."""
    return _loss(choices.forms, choices.log_odds, np.asarray(weights, np.float32))


def _candidates(
    seen: Floats, histories: Sequences, targets: NDArray[np.int32], rng: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """The target, the best and some others of each user, and the log of how many items each stands for."""
    n, items = seen.shape[:2]
    liked = seen.sum(axis=2)
    rows = np.arange(n)
    liked[np.repeat(rows, histories.lengths), histories.rows] = -np.inf
    liked[rows, targets] = np.inf
    best = min(_BEST + 1, items)
    order = np.argpartition(-liked, best - 1, axis=1)
    # The target is in everybody's best part; it is moved to the front.
    chosen, rest = order[:, :best], order[:, best:]
    at = (chosen == targets[:, None]).argmax(axis=1)
    chosen[rows, at] = chosen[:, 0]
    chosen[:, 0] = targets
    draws = min(_OTHERS, rest.shape[1])
    others = np.take_along_axis(rest, rng.integers(0, max(1, rest.shape[1]), (n, draws)), axis=1)
    candidates = np.concatenate([chosen, others], axis=1)
    odds = np.zeros(candidates.shape, np.float32)
    odds[:, best:] = np.log(max(1, rest.shape[1]) / max(1, draws))
    odds[np.isneginf(np.take_along_axis(liked, candidates, axis=1))] = -np.inf
    return candidates, odds


def _loss(forms: Floats, odds: Floats, weights: Floats) -> float:
    logits = forms @ weights.astype(np.float32) + odds
    top = logits.max(axis=1)
    total = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    return float((total - logits[:, 0]).astype(np.float64).mean())


def _newton(forms: Floats, odds: Floats, shrink: float) -> NDArray[np.float64]:
    k = forms.shape[2]
    weights, damping = np.zeros(k), 1e-3

    def objective(at: NDArray[np.float64]) -> float:
        return _loss(forms, odds, at.astype(np.float32)) + 0.5 * shrink * float(at @ at)

    now = objective(weights)
    for _ in range(_MOST_STEPS):
        gradient, curvature = _slope(forms, odds, weights.astype(np.float32))
        gradient += shrink * weights
        curvature[np.diag_indices(k)] += shrink
        before = now
        for _ in range(12):
            damped = curvature + damping * np.diag(np.diag(curvature))
            candidate = weights - np.linalg.solve(damped, gradient)
            reached = objective(candidate)
            if reached < now:
                weights, now, damping = candidate, reached, max(damping / 10, 1e-9)
                break
            damping *= 10
        if before - now < _SETTLED:
            break
    return weights


def _slope(forms: Floats, odds: Floats, weights: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient and curvature of the loss, a few users at a time so that no second copy of the forms is made."""
    n, _, k = forms.shape
    gradient, curvature = np.zeros(k), np.zeros((k, k))
    for start in range(0, n, _BATCH):
        x = forms[start : start + _BATCH]
        logits = x @ weights + odds[start : start + _BATCH]
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        mean = np.matmul(share[:, None, :], x)[:, 0]
        flat = (x * np.sqrt(share)[:, :, None]).reshape(-1, k)
        gradient += (mean - x[:, 0]).sum(axis=0)
        curvature += flat.T @ flat - mean.T @ mean
    return gradient / n, curvature / n
