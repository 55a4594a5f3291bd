"""``python -m benchmarks.off_policy_coverage``: error and coverage of every off-policy method on made policies of known value.

One made world of contexts and actions whose rewards are binary and not linear in the context; one logging policy; ten
target policies from near to far. Each run draws a log anew. Prints the error (root mean square) of each method, whether
doubly robust is worse than IPS, SNIPS or its reward model, and the coverage of 95 % intervals of four kinds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import EvidenceError
from mainstem.evaluate.bandit_log import BanditLog
from mainstem.evaluate.off_policy import SOLVERS, Terms, interval
from mainstem.evaluate.overlap import overlap, require_overlap
from mainstem.evaluate.reward_model import cross_fitted
from mainstem.evaluate.within_user import Floats, Ints

ACTIONS, WIDTH = 12, 5
COMPARED = ("ips", "snips", "dm", "dr", "dr-plain", "dr-shrunk")


@dataclass(frozen=True, slots=True)
class Nature:
    """Chances of a reward by context and action, and the policies."""

    slopes: NDArray[np.float64]
    bend: NDArray[np.float64]
    level: NDArray[np.float64]

    def chance(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The truth: not linear, with a bend the reward model cannot follow. Shapes: [n, actions]."""
        return 1 / (1 + np.exp(-(self.level + x @ self.slopes + np.tanh(2 * x[:, :1] * x[:, 1:2]) * self.bend)))


def make_nature(seed: int) -> Nature:
    rng = np.random.default_rng(seed)
    return Nature(rng.normal(0, 0.5, (WIDTH, ACTIONS)), rng.normal(0, 0.8, ACTIONS), rng.normal(-2.2, 0.5, ACTIONS))


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def policies(nature: Nature, seed: int) -> dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """The logging policy and ten targets: what it logged, flat, sharper, greedy with some luck, by item alone, against it."""
    rng = np.random.default_rng(seed + 1)
    wrong = nature.slopes + rng.normal(0, 0.5, nature.slopes.shape)
    other = rng.normal(0, 0.6, nature.slopes.shape)

    def mixed(p: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        return (1 - share) * p + share / ACTIONS

    def greedy(x: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.eye(ACTIONS)[of.argmax(axis=1)] + 0 * x[:, :1]

    return {
        "logging": lambda x: mixed(softmax(x @ wrong), 0.1),
        "the same": lambda x: mixed(softmax(x @ wrong), 0.1),
        "uniform": lambda x: np.full((len(x), ACTIONS), 1 / ACTIONS),
        "sharper": lambda x: mixed(softmax(2 * (x @ wrong)), 0.1),
        "flatter": lambda x: mixed(softmax(0.5 * (x @ wrong)), 0.1),
        "truth, soft": lambda x: mixed(softmax(3 * nature.chance(x)), 0.1),
        "truth, greedy": lambda x: mixed(greedy(x, nature.chance(x)), 0.2),
        "best item": lambda x: mixed(greedy(x, np.tile(nature.chance(x).mean(axis=0), (len(x), 1))), 0.3),
        "by item": lambda x: softmax(np.tile(nature.level, (len(x), 1))),
        "elsewhere": lambda x: mixed(softmax(x @ other), 0.1),
        "against it": lambda x: mixed(softmax(-(x @ wrong)), 0.1),
    }


def draw(nature: Nature, logging: Callable, rows: int, users: int, rng: np.random.Generator) -> BanditLog:
    """One log: rows of a user share most of their context, so users are the clusters."""
    user = rng.integers(0, users, rows)
    x = 0.7 * rng.normal(size=(users, WIDTH))[user] + 0.7 * rng.normal(size=(rows, WIDTH))
    p = logging(x)
    action = (p.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(max=ACTIONS - 1)
    row = np.arange(rows)
    reward = (rng.random(rows) < nature.chance(x)[row, action]).astype(float)
    return BanditLog.of(action, reward, p[row, action], contexts=x, clusters=user, count=ACTIONS)


def normal(value: float, pull: Floats, clusters: Ints) -> tuple[float, float]:
    """As the product's, without the t."""
    sums = np.bincount(clusters, pull)
    half = 1.959964 * np.sqrt((sums**2).sum()) / len(pull)
    return value - half, value + half


def bootstrap(value: float, pull: Floats, clusters: Ints) -> tuple[float, float]:
    """Percentiles of 300 resamples of clusters of the linearised estimate."""
    sums, count = np.bincount(clusters, pull), len(pull)
    drawn = np.random.default_rng(5).poisson(1.0, (300, len(sums))) @ sums / count
    low, high = np.quantile(drawn, [0.025, 0.975])
    return value + low, value + high


def bernstein(value: float, pull: Floats, clusters: Ints) -> tuple[float, float]:
    """Maurer and Pontil, COLT 2009: holds whatever the tails, with the seen range in place of the possible one."""
    sums = np.bincount(clusters, pull)
    m = len(sums)
    scaled = sums * m / len(pull)
    half = np.sqrt(2 * scaled.var(ddof=1) * np.log(4 / 0.05) / m) + 7 * np.ptp(scaled) * np.log(4 / 0.05) / (
        3 * (m - 1)
    )
    return value - half, value + half


INTERVALS: dict[str, Callable[..., tuple[float, float]]] = {
    "t": interval,
    "normal": normal,
    "bootstrap": bootstrap,
    "bernstein": bernstein,
}


def print_errors(
    errors: dict[str, dict[str, list[float]]],
    truth: dict[str, float],
    shares: dict[str, list[float]],
    refused: dict[str, int],
    runs: int,
) -> None:
    """The error of each method, and where doubly robust is worse than its parts by more than noise."""
    print("\nerror (root mean square, % of the truth)")
    print(
        f"{'policy':14} {'truth':>7} {'ESS/n':>7} {'refused':>7} "
        + " ".join(f"{m:>9}" for m in COMPARED)
        + "  dr over ips or snips    dr over dm (99.5 %: ten looks)"
    )
    beaten: dict[str, list[str]] = {"IPS and SNIPS": [], "the reward model": []}
    for name in errors:
        square = {m: np.array(errors[name][m]) ** 2 for m in COMPARED}
        rms = {m: float(np.sqrt(square[m].mean())) for m in COMPARED}
        told = []
        for parts, kept in (("IPS and SNIPS", ("ips", "snips")), ("the reward model", ("dm",))):
            best = min(kept, key=lambda m: rms[m])
            pick = np.random.default_rng(1).integers(0, runs, (4_000, runs))
            drawn = np.sqrt(square["dr"][pick].mean(axis=1) / square[best][pick].mean(axis=1))
            low, high = np.quantile(drawn, [0.0025, 0.9975])
            told.append(f"{rms['dr'] / rms[best]:.3f} ({low:.3f} to {high:.3f})")
            beaten[parts] += [name] if low > 1 else []
        print(
            f"{name:14} {truth[name]:7.4f} {np.mean(shares[name]):7.3f} {refused[name]:7d} "
            + " ".join(f"{100 * rms[m] / truth[name]:9.2f}" for m in COMPARED)
            + "  "
            + "  ".join(told)
        )
    for parts, names in beaten.items():
        print(f"doubly robust worse than {parts} by more than noise: {', '.join(names) or 'nowhere'}")


def print_coverage(covered: dict[str, dict[str, dict[str, list[bool]]]]) -> None:
    """How often each interval held the truth."""
    print("\ncoverage of 95 % intervals")
    print(
        f"{'policy':14} "
        + " ".join(f"{kind + ' ' + m:>13}" for m in ("dr", "snips") for kind in INTERVALS)
        + "         t dm   t dr-shrunk"
    )
    for name in covered:
        line = [np.mean(covered[name][m][kind]) for m in ("dr", "snips") for kind in INTERVALS]
        line += [np.mean(covered[name]["dm"]["t"]), np.mean(covered[name]["dr-shrunk"]["t"])]
        print(f"{name:14} " + " ".join(f"{one:13.3f}" for one in line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--users", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=3)
    asked = parser.parse_args()
    began = time.process_time()
    nature = make_nature(asked.seed)
    every = policies(nature, asked.seed)
    logging = every.pop("logging")
    far = np.random.default_rng(99).normal(size=(200_000, WIDTH)) * np.sqrt(0.98)
    truth = {name: float((policy(far) * nature.chance(far)).sum(axis=1).mean()) for name, policy in every.items()}
    errors = {name: {method: [] for method in COMPARED} for name in every}
    covered = {name: {method: {kind: [] for kind in INTERVALS} for method in COMPARED} for name in every}
    refused = dict.fromkeys(every, 0)
    shares = {name: [] for name in every}
    for run in range(asked.runs):
        log = draw(nature, logging, asked.rows, asked.users, np.random.default_rng((asked.seed, run)))
        q = cross_fitted(log, seed=run)
        row = np.arange(asked.rows)
        for name, policy in every.items():
            target = policy(np.asarray(log.contexts, np.float64))
            w = target[row, log.actions] / log.propensity
            found = overlap(w)
            shares[name].append(found.effective_share)
            try:
                require_overlap(found)
            except EvidenceError:
                refused[name] += 1
            terms = Terms(w, log.rewards, q[row, log.actions], (q * target).sum(axis=1))
            for method in COMPARED:
                value, pull = SOLVERS[method](terms)
                errors[name][method].append(value - truth[name])
                for kind in INTERVALS if method in ("dr", "snips") else ("t",):
                    low, high = INTERVALS[kind](value, pull, log.clusters)
                    covered[name][method][kind].append(low <= truth[name] <= high)
    print(f"{asked.runs} runs of {asked.rows} rows, {asked.users} users, {ACTIONS} actions, seed {asked.seed}")
    print_errors(errors, truth, shares, refused, asked.runs)
    print_coverage(covered)
    print(f"\n{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
