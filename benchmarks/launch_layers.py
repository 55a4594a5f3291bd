"""Which layer did it: false names, coverage, power, harm of two together, heavy tails and unequal arms, on made experiments.

``python -m benchmarks --only launch-layers``. Every run makes users anew and asks the library itself: nothing is a twin of it. A
user's outcome is an own level (gamma, a spread of one half of its mean) times what the layers change, and noise of .3 of the mean
around it; the own level is what a covariate knows. Times are CPU time of one thread.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.launch.characteristic import SLACK, Characteristic, false_rate, share
from mainstem.launch.layers import LayerEffects, blame, layer_effects
from mainstem.stacks.swapped import LAYERS

SEED: Final = 20_261_123
SIZES: Final = (960, 4_000, 16_000)
LOSSES: Final = (0.02, 0.05, 0.1, 0.2)
PROMISED: Final = {(960, 0.2): 0.95, (4_000, 0.1): 0.95, (16_000, 0.05): 0.95}
"""The least power that is promised, by users and loss, with what was known before; all else is for comparison."""
TOGETHER: Final = (
    (960, 0.5, False), (4_000, 0.2, False), (16_000, 0.1, False),
    (960, 0.11, True), (4_000, 0.055, True), (16_000, 0.028, True),
)  # fmt: skip
"""Harm that two layers do only together: users, loss, and whether it is so small that it is hardly seen."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Made:
    """One kind of made experiment.

    Attributes:
        users: How many.
        changes: What each layer changes; one left out changes nothing.
        together: What the first two layers change only together.
        tail: Spread of the logarithm of a user's own level; 0 makes it gamma.
        unequal: Whether the old stack's arm has half of all users, and each other arm its share of the rest.
        known: Whether the own level is known from before.
    """

    users: int
    changes: Mapping[str, float] = field(default_factory=dict)
    together: float = 0.0
    tail: float = 0.0
    unequal: bool = False
    known: bool = True

    def draw(self, rng: np.random.Generator) -> LayerEffects:
        """The effects that one experiment of this kind shows."""
        arms = np.arange(1 << len(LAYERS))
        at = rng.permutation(np.arange(self.users) % len(arms))
        if self.unequal:
            at = np.where(rng.random(self.users) < 0.5, 0, rng.integers(1, len(arms), self.users))
        new = ((arms[:, None] >> np.arange(len(LAYERS))) & 1)[at]
        own = rng.gamma(4.0, 0.25, self.users) if not self.tail else _heavy(rng, self.tail, self.users)
        change = new @ [self.changes.get(name, 0.0) for name in LAYERS] + self.together * new[:, 0] * new[:, 1]
        outcomes = own * (1 + change) + rng.normal(0, 0.3, self.users)
        return layer_effects(LAYERS, new, outcomes, own if self.known else None)


def _heavy(rng: np.random.Generator, tail: float, users: int) -> Floats:
    """Lognormal with a mean of 1."""
    return np.exp(rng.normal(-(tail**2) / 2, tail, users))


def drawn(kind: Made, runs: int, number: int) -> Iterator[LayerEffects]:
    """What each of so many experiments shows."""
    rng = np.random.default_rng([SEED, number])
    return (kind.draw(rng) for _ in range(runs))


NOTHING_WRONG: Final = {
    **{f"{users:,} users": Made(users) for users in SIZES},
    "960 users, nothing known before": Made(960, known=False),
    "4,000 users, one layer gains 10 %": Made(4_000, {"control": 0.1}),
    "4,000 users, heavy tail": Made(4_000, tail=1.5, known=False),
    "4,000 users, heavy tail, known before": Made(4_000, tail=1.5),
    "4,000 users, half of them in one arm": Made(4_000, unequal=True),
}
"""Kinds of experiments in which no layer does harm."""


def false_names(runs: int) -> Iterator[Characteristic]:
    """How often is somebody named for nothing, and do all layers' intervals hold at once?"""
    for number, (name, kind) in enumerate(NOTHING_WRONG.items()):
        named = held = 0
        for found in drawn(kind, runs, number):
            named += bool(blame(found).layer)
            held += all(one.low <= kind.changes.get(layer, 0.0) <= one.high for layer, one in found.layers.items())
        yield false_rate("nothing wrong", f"a layer is named: {name}", named, runs, 0.05)
        yield _covered("nothing wrong", f"all intervals hold: {name}", held, runs)


def power(runs: int) -> Iterator[Characteristic]:
    """How often is the layer named that costs so much, and how often another one?"""
    for number, (users, loss) in enumerate((users, loss) for users in SIZES for loss in LOSSES):
        right = wrong = held = 0
        for found in drawn(Made(users, {"value": -loss}), runs, 100 + number):
            name = blame(found).layer
            right, wrong = right + (name == "value"), wrong + (name not in ("", "value"))
            held += found.layers["value"].low <= -loss <= found.layers["value"].high
        told = f"{loss:.0%} by one layer, {users:,} users"
        least = PROMISED.get((users, loss), -np.inf)
        yield share("power", f"named: {told}", right, runs, low=least)
        yield false_rate("power", f"another is named: {told}", wrong, runs, 0.05)
        yield _covered("power", f"its interval holds: {told}", held, runs)


def together(runs: int) -> Iterator[Characteristic]:
    """Of harm that two do only together nobody may be named: each shows half of it by itself.

    The small losses are the worst there are: a half is about as often seen as not.
    """
    for number, (users, loss, worst) in enumerate(TOGETHER):
        named = both = 0
        for found in drawn(Made(users, together=-loss), runs, 200 + number):
            told = blame(found)
            named, both = named + bool(told.layer), both + ("together" in told.sentence)
        what = f"{loss:.0%} by two together, {users:,} users"
        name = f"one of them is named: {what}"
        yield share("two together", name, named, runs) if worst else false_rate("two together", name, named, runs, 0.05)
        yield share("two together", f"the pair is told: {what}", both, runs)


def _covered(topic: str, name: str, hits: int, runs: int) -> Characteristic:
    """Simultaneous coverage; luck is that of the promised chance."""
    return Characteristic(topic, name, hits / runs, (0.95 * 0.05 / runs) ** 0.5, low=0.95, slack=SLACK)


def run(*, quick: bool = False) -> dict[str, Any]:
    """Every part; ``quick`` shows whether it runs."""
    runs, started = (100, 40) if quick else (1_000, 400), time.process_time()
    found = [*false_names(runs[0]), *power(runs[1]), *together(runs[1])]
    return {
        "rows": [one.as_row() | {"met": one.met} for one in found],
        "runs": runs,
        "cpu_s": time.process_time() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """As people read it."""
    widths = {"topic": 14, "what": 66, "measured": 10, "m.c. s.d.": 10, "target": 20, "": 8}
    out = ["Which layer did it", ""]
    out += ["  ".join(name.ljust(width) for name, width in widths.items()).rstrip()]
    out += ["  ".join(str(row[name]).ljust(width) for name, width in widths.items()).rstrip() for row in found["rows"]]
    missed = sum(not row["met"] for row in found["rows"])
    nothing, rest = found["runs"]
    told = f"{nothing} experiments a kind with nothing wrong, {rest} of every other, seed {SEED}"
    return [*out, "", f"{told}: {found['cpu_s']:.1f} CPU s, peak {found['peak_mb']:.0f} MB; {missed} missed", ""]
