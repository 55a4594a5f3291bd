"""Off-policy answers where the truth is known: Open Bandit's two policies about each other, and Coat's two ways of asking."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import BenchError, DataError, EvidenceError, did_you_mean
from mainstem.bench.packs import Packs, wrong_pack
from mainstem.data.loaders.bandit import Coat, OpenBandit, read_coat, read_open_bandit
from mainstem.evaluate.bandit_log import BanditLog
from mainstem.evaluate.exposure_weights import Ratings, Reweighted, judge_weights
from mainstem.evaluate.off_policy import SOLVERS, Estimate, Method, Terms, estimate, interval
from mainstem.evaluate.reward_model import cross_fitted

PLACES: Final = 3
"""Of a page of Open Bandit."""
PACKS: Final = {"open-bandit": "open_bandit", "coat": "coat"}
RESAMPLES: Final = 500
ASKED: Final[tuple[Method, ...]] = ("ips", "snips", "dm", "dr", "dr-plain")


@dataclass(frozen=True, slots=True)
class Answered:
    """One question with one method: what the log said, and the truth beside it.

    ``value`` to ``high`` are None where it was refused; ``refused`` then says why. ``truth_low`` and ``truth_high`` are the
    truth's own 95 % interval: it was measured on as few rows.
    """

    question: str
    method: str
    rows: int
    value: float | None
    low: float | None
    high: float | None
    effective_share: float | None
    largest_weight_share: float | None
    truth: float | None
    truth_low: float | None
    truth_high: float | None
    refused: str = ""

    @property
    def covers(self) -> bool | None:
        """Whether the interval holds the truth; None where nothing was told or nothing is known."""
        if self.low is None or self.high is None or self.truth is None:
            return None
        return bool(self.low <= self.truth <= self.high)


@dataclass(frozen=True, slots=True)
class OffPolicyBench:
    """Every question, and what it cost.

    Attributes:
        data: ``open-bandit`` or ``coat``.
        rows: Of the tables behind it.
        answers: One record a question and method.
        notes: What the reader has to know.
        cpu_s: Processor seconds.
        peak_mb: Peak memory of the process.
    """

    data: str
    rows: int
    answers: tuple[Answered, ...]
    notes: tuple[str, ...]
    cpu_s: float
    peak_mb: float

    @property
    def missed(self) -> tuple[str, ...]:
        """Intervals of ``ips``, ``snips`` and ``dr`` that do not hold the truth, where chances were logged and not estimated."""
        if self.data != "open-bandit":
            return ()
        held = (one for one in self.answers if one.method in ("ips", "snips", "dr"))
        return tuple(f"{one.question}, {one.method}" for one in held if one.covers is False)

    @property
    def refusals(self) -> tuple[str, ...]:
        """What was refused, and why."""
        return tuple(f"{one.question}: {one.refused}" for one in self.answers if one.refused)

    def table(self) -> list[dict[str, str | int]]:
        """Rows for the terminal."""
        return [_row(one) for one in self.answers]


def bench_off_policy(
    name: str, data: Path | None, scratch: Path, seed: int = 7, resamples: int = RESAMPLES
) -> OffPolicyBench:
    """Runs one of the two benches.

    Args:
        name: ``open-bandit`` or ``coat``.
        data: The folder of public sets; None: where tests and the demo look.
        scratch: Where archives are unpacked.
        seed: Of the folds.
        resamples: How many logs are drawn anew to see how often intervals hold.

    Raises:
        BenchError: No such set (``bench-014``), the data is not there (``bench-012``) or not what its name says (``bench-015``).
    """
    began = time.process_time()
    if name not in PACKS:
        raise BenchError(
            f"found the set {name!r}, expected one of {', '.join(PACKS)}",
            code="bench-014",
            hint=did_you_mean(name, list(PACKS)),
        )
    folder = Packs(data, scratch).find(PACKS[name])
    try:
        rows, answers, notes = _coat(folder, seed) if name == "coat" else _open_bandit(folder, seed, resamples)
    except DataError as error:
        raise wrong_pack(name, folder, error) from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return OffPolicyBench(name, rows, tuple(answers), tuple(notes), time.process_time() - began, peak)


Told = tuple[int, list[Answered], list[str]]


def _open_bandit(folder: Path, seed: int, resamples: int) -> Told:
    random, bts = read_open_bandit(folder, "random"), read_open_bandit(folder, "bts")
    logs = {one.policy: _as_log(one) for one in (random, bts)}
    answers = []
    flat = np.full((len(bts.items), bts.count), 1 / bts.count)
    truth = _on_policy(logs["random"])
    answers += _ask("uniform, from the rows of bts", logs["bts"], flat, truth, seed)
    shown = shown_by_place(bts)[random.places]
    answers += _ask("bts by place, from the random rows", logs["random"], shown, _on_policy(logs["bts"]), seed)
    for item in (int(np.argmax(_counts(bts))), int(np.argmin(_counts(bts)))):
        alone = np.zeros_like(flat)
        alone[:, item] = 1.0
        mine = random.items == item
        known = _mean(random.clicks[mine], random.times_us[mine])
        answers += _ask(f"only item {item}, from the rows of bts", logs["bts"], alone, known, seed)
    notes = [
        _held("uniform", logs["bts"], flat, seed, resamples),
        _held("bts by place", logs["random"], shown, seed, resamples),
        "truth: the mean click of the other policy's own rows; it is as uncertain as its interval says",
        "bts by place: how often bts showed each item in each place over the week; its chances moved with time",
    ]
    return len(random.items) + len(bts.items), answers, notes


def _held(question: str, log: BanditLog, target: NDArray[np.float64], seed: int, resamples: int) -> str:
    """How often intervals of a log whose rows are drawn anew hold what the whole log says: their coverage on real rewards."""
    predicted, row = cross_fitted(log, seed), np.arange(len(log.actions))
    weights = target[row, log.actions] / log.propensity
    whole = Terms(weights, log.rewards, predicted[row, log.actions], (predicted * target).sum(axis=1))
    rng, told = np.random.default_rng(seed), []
    for method in ("ips", "snips", "dr"):
        truth, held = SOLVERS[method](whole)[0], 0
        for _ in range(resamples):
            at = rng.integers(0, len(row), len(row))
            part = Terms(weights[at], whole.rewards[at], whole.predicted[at], whole.expected[at])
            low, high = interval(*SOLVERS[method](part), row)
            held += int(low <= truth <= high)
        told.append(f"{method} {held / resamples:.3f}")
    return f"{question}: of {resamples} redrawn logs, intervals hold what the whole log says in {', '.join(told)}"


def shown_by_place(rows: OpenBandit) -> NDArray[np.float64]:
    """How often each item stood in each place. Shapes: [places, items]."""
    shown = np.bincount(rows.places * rows.count + rows.items, minlength=PLACES * rows.count)
    table = shown.reshape(PLACES, rows.count).astype(np.float64)
    return table / table.sum(axis=1, keepdims=True)


def _coat(folder: Path, seed: int) -> Told:
    coat = read_coat(folder)
    user, item = np.nonzero(coat.chosen)
    rating = coat.chosen[user, item].astype(np.float64)
    # Each pair enters with its own chance; the target shows every pair alike: 1 of all pairs, scaled to a row.
    chance = np.full(len(user), min(1.0, len(user) / coat.chosen.size))
    log = BanditLog.of(item, rating, coat.propensity[user, item], clusters=user, count=coat.chosen.shape[1])
    seen_user, seen_item = np.nonzero(coat.drawn)
    truth = _mean(coat.drawn[seen_user, seen_item].astype(np.float64), seen_user)
    naive = _mean(rating, user)
    question = "mean rating of coats drawn at random, from those people chose"
    known = Answered(question, "naive mean", len(user), *naive, 1.0, 1 / len(user), *truth)
    answers = [known, *_ask(question, log, chance, truth, seed, ("ips", "snips"))]
    drawn = Ratings(seen_user, seen_item, coat.drawn[seen_user, seen_item].astype(np.float64))
    learned = judge_weights(Ratings(user, item, rating), coat.propensity[user, item], drawn, seed)
    return len(user) + len(seen_user), answers, [*_coat_notes(coat), _weights_note(learned)]


def _weights_note(found: Reweighted) -> str:
    """What weighting training rows changed, in a sentence."""
    told = found.difference
    between = "" if told is None else f" ({told.low:+.3f} to {told.high:+.3f})"
    return (
        f"a model of leans learned from chosen ratings, judged on drawn ones: squared error {found.plain:.3f}, "
        f"{found.weighted:.3f} with rows weighted by one over their propensity, "
        f"{found.weighted - found.plain:+.3f}{between}; the weights leave {found.effective_share:.0%} of the rows"
    )


def _coat_notes(coat: Coat) -> list[str]:
    shown = np.sort((coat.chosen > 0).sum(axis=0))[::-1]
    drawn = np.sort((coat.drawn > 0).sum(axis=0))[::-1]
    tenth = len(shown) // 10
    return [
        f"the most rated tenth of coats holds {shown[:tenth].sum() / shown.sum():.1%} of chosen ratings and "
        f"{drawn[:tenth].sum() / drawn.sum():.1%} of drawn ones",
        "propensities are their owners' estimates, not what a policy logged",
    ]


def _as_log(rows: OpenBandit) -> BanditLog:
    places = np.eye(PLACES)[rows.places][:, 1:]
    return BanditLog.of(
        rows.items,
        rows.clicks,
        rows.propensity,
        contexts=np.column_stack([places, rows.contexts]),
        clusters=rows.times_us,
        count=rows.count,
    )


def _counts(rows: OpenBandit) -> NDArray[np.int64]:
    return np.bincount(rows.items, minlength=rows.count)


def _mean(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> tuple[float, float, float]:
    value = float(values.mean())
    return value, *interval(value, values - value, clusters)


def _on_policy(log: BanditLog) -> tuple[float, float, float]:
    return _mean(np.asarray(log.rewards, np.float64), np.asarray(log.clusters, np.int64))


def _ask(
    question: str,
    log: BanditLog,
    target: NDArray[np.float64],
    truth: tuple[float, float, float],
    seed: int,
    methods: tuple[Method, ...] = ASKED,
) -> list[Answered]:
    """One question with every method, refusals included; one refusal stands for all methods."""
    answers: list[Answered] = []
    modelled = cross_fitted(log, seed) if target.ndim == 2 else None
    for method in methods:
        try:
            found: Estimate = estimate(log, target, method, predicted=modelled)
        except EvidenceError as error:
            why = f"{error.code}: {error.message}"
            return [Answered(question, "all", len(log.actions), None, None, None, None, None, *truth, why)]
        answers.append(
            Answered(
                question,
                method,
                found.rows,
                found.value,
                found.low,
                found.high,
                found.effective_share,
                found.largest_weight_share,
                *truth,
            )
        )
    return answers


def _row(one: Answered) -> dict[str, str | int]:
    told: dict[str, str | int] = {"question": one.question, "method": one.method, "rows": one.rows}
    if one.refused:
        return told | {
            "value": "refused",
            "95 %": "",
            "effective": "",
            "truth": _number(one.truth),
            "holds": "",
        }
    holds = {True: "yes", False: "NO", None: ""}[one.covers]
    return told | {
        "value": _number(one.value),
        "95 %": f"{_number(one.low)} to {_number(one.high)}",
        "effective": f"{one.effective_share:.1%}",
        "truth": f"{_number(one.truth)} ({_number(one.truth_low)} to {_number(one.truth_high)})",
        "holds": holds,
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}" if abs(value) < 0.1 else f"{value:.3f}"
