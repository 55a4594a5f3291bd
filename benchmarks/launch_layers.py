"""Which layer did it: false names, coverage, power, harm of two together, a half of the arms, a broken split; made experiments.

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
from mainstem.launch.layer_design import LayerDesign
from mainstem.launch.layers import LayerEffects, blame, layer_effects
from mainstem.stacks.swapped import LAYERS

SEED: Final = 20_261_123
SIZES: Final = (960, 4_000, 16_000)
LOSSES: Final = (0.02, 0.05, 0.1, 0.2)
PROMISED: Final = {(960, 0.2): 0.95, (4_000, 0.1): 0.95, (16_000, 0.05): 0.95}
"""The least power that is promised, by users and loss, with what was known before; all else is for comparison."""
TOGETHER: Final = (
    (960, 0.5, False, False),
    (4_000, 0.2, False, False),
    (16_000, 0.1, False, False),
    (960, 0.5, False, True),
    (960, 0.11, True, False),
    (4_000, 0.055, True, False),
    (16_000, 0.028, True, False),
    (960, 0.11, True, True),
)
"""Harm that two layers do only together: users, loss, whether it is hardly to be seen, and whether a half of the arms is served."""
FULL: Final = LayerDesign.full(LAYERS)
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
        half: Whether only the half of all arms is served that tells layers apart.
        lost: The share of the last arm's users that are lost on the way.
    """

    users: int
    changes: Mapping[str, float] = field(default_factory=dict)
    together: float = 0.0
    tail: float = 0.0
    unequal: bool = False
    known: bool = True
    half: bool = False
    lost: float = 0.0

    def draw(self, rng: np.random.Generator) -> LayerEffects:
        """The effects that one experiment of this kind shows."""
        design = LayerDesign.half(LAYERS) if self.half else FULL
        at = self._arms(rng, len(design.arms))
        new, users = np.array(design.arms)[at], len(at)
        own = rng.gamma(4.0, 0.25, users) if not self.tail else _heavy(rng, self.tail, users)
        change = new @ [self.changes.get(name, 0.0) for name in LAYERS] + self.together * new[:, 0] * new[:, 1]
        outcomes = own * (1 + change) + rng.normal(0, 0.3, users)
        rest = 0.5 / (len(design.arms) - 1)
        shares = [0.5, *[rest] * (len(design.arms) - 1)] if self.unequal else None
        return layer_effects(design, new, outcomes, own if self.known else None, shares=shares)

    def _arms(self, rng: np.random.Generator, arms: int) -> NDArray[np.int64]:
        """Every user's, by chance as in a real launch."""
        at = rng.integers(0, arms, self.users)
        if self.unequal:
            at = np.where(rng.random(self.users) < 0.5, 0, rng.integers(1, arms, self.users))
        return at[(at < arms - 1) | (rng.random(self.users) >= self.lost)]


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
    "960 users, 8 of 16 arms": Made(960, half=True),
    "4,000 users, 8 of 16 arms": Made(4_000, half=True),
}
"""Kinds of experiments in which no layer does harm."""


def false_names(runs: int) -> Iterator[Characteristic]:
    """How often is somebody named for nothing, and do all layers' intervals hold at once?"""
    for number, (name, kind) in enumerate(NOTHING_WRONG.items()):
        named = held = 0
        for found in drawn(kind, runs, number):
            named += bool(blame(found).layer)
            held += _all_hold(found, kind.changes)
        yield false_rate("nothing wrong", f"a layer is named: {name}", named, runs, 0.05)
        yield _covered("nothing wrong", f"all intervals hold: {name}", held, runs)


def power(runs: int) -> Iterator[Characteristic]:
    """How often is the layer named that costs so much, how often as by itself, and how often another one?"""
    for number, (users, loss) in enumerate((users, loss) for users in SIZES for loss in LOSSES):
        right = wrong = alone = held = 0
        for found in drawn(Made(users, {"value": -loss}), runs, 100 + number):
            told = blame(found)
            right, wrong = right + (told.layer == "value"), wrong + (told.layer not in ("", "value"))
            alone += told.layer == "value" and told.alone
            held += _all_hold(found, {"value": -loss})
        what = f"{loss:.0%} by one layer, {users:,} users"
        yield share("power", f"named: {what}", right, runs, low=PROMISED.get((users, loss), -np.inf))
        yield share("power", f"named as by itself: {what}", alone, runs)
        yield false_rate("power", f"another is named: {what}", wrong, runs, 0.05)
        yield _covered("power", f"all intervals hold: {what}", held, runs)


COMPARED: Final = {
    "as it is": Made(1_600, {"value": -0.08}),
    "nothing known before": Made(1_600, {"value": -0.08}, known=False),
    "8 of 16 arms": Made(1_600, {"value": -0.08}, half=True),
    "half of all users in one arm": Made(1_600, {"value": -0.08}, unequal=True),
    "heavy tail": Made(1_600, {"value": -0.08}, tail=1.5, known=False),
    "heavy tail, known before": Made(1_600, {"value": -0.08}, tail=1.5),
}
"""What makes a loss of 8 % by one layer easy or hard to see."""


def compared(runs: int) -> Iterator[Characteristic]:
    """Power and width of the interval for one loss, in other ways."""
    for number, (name, kind) in enumerate(COMPARED.items()):
        found = list(drawn(kind, runs, 300 + number))
        named = sum(blame(one).layer == "value" for one in found)
        yield share("in other ways", f"named: 8% by one layer, 1,600 users, {name}", named, runs)
        reach = np.array([one.layers["value"].high - one.layers["value"].mid for one in found])
        yield _mean("in other ways", f"reach of its interval, {name}", reach)
        if kind.known and not kind.tail and not kind.half and not kind.unequal:
            gain = np.array([one.explained for one in found])
            yield _mean("in other ways", "share of the noise that was known before (.735 is there to find)", gain)


def together(runs: int) -> Iterator[Characteristic]:
    """Of harm that two do only together nobody may be named as having harmed by itself: each shows half of it.

    The small losses are the worst there are: a half is about as often seen as not.
    """
    for number, (users, loss, worst, half) in enumerate(TOGETHER):
        named = alone = both = 0
        for found in drawn(Made(users, together=-loss, half=half), runs, 200 + number):
            told = blame(found)
            named, alone = named + bool(told.layer), alone + told.alone
            both += not told.layer and "together" in told.sentence
        what = f"{loss:.1%} by two together, {users:,} users" + (", 8 of 16 arms" if half else "")
        name = f"one of them is named: {what}"
        yield share("two together", name, named, runs) if worst else false_rate("two together", name, named, runs, 0.05)
        yield false_rate("two together", f"named as by itself: {what}", alone, runs, 0.05)
        yield share("two together", f"the pair is told: {what}", both, runs)


def broken(runs: int) -> Iterator[Characteristic]:
    """A split that is not as promised must be seen before anything is said; a healthy one must not be called broken."""
    for number, users in enumerate(SIZES):
        alarms = sum(one.ratio.alarm for one in drawn(Made(users), runs, 400 + number))
        yield false_rate("split", f"called broken though it is not: {users:,} users", alarms, runs, 0.001)
    for number, (users, lost, least) in enumerate(LOST):
        alarms = sum(one.ratio.alarm for one in drawn(Made(users, lost=lost), runs, 410 + number))
        yield share("split", f"found broken: one arm lost {lost:.0%}, {users:,} users", alarms, runs, low=least)


LOST: Final = ((960, 1.0, 0.95), (4_000, 0.5, 0.95), (4_000, 0.3, -np.inf), (16_000, 0.3, 0.95), (16_000, 0.2, -np.inf))
"""What an arm loses: users, share, and how often it must be found."""


def _mean(topic: str, name: str, values: Floats) -> Characteristic:
    return Characteristic(topic, name, float(values.mean()), float(values.std() / np.sqrt(len(values))))


def _all_hold(found: LayerEffects, changes: Mapping[str, float]) -> bool:
    return all(one.low <= changes.get(layer, 0.0) <= one.high for layer, one in found.layers.items())


def _covered(topic: str, name: str, hits: int, runs: int) -> Characteristic:
    """Simultaneous coverage; luck is that of the promised chance."""
    return Characteristic(topic, name, hits / runs, (0.95 * 0.05 / runs) ** 0.5, low=0.95, slack=SLACK)


def run(*, quick: bool = False) -> dict[str, Any]:
    """Every part; ``quick`` shows whether it runs."""
    runs, started = (100, 40) if quick else (1_000, 300), time.process_time()
    found = [*false_names(runs[0]), *power(runs[1]), *compared(runs[1]), *together(runs[1]), *broken(runs[1])]
    return {
        "rows": [one.as_row() | {"met": one.met} for one in found],
        "runs": runs,
        "cpu_s": time.process_time() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """As people read it."""
    widths = {"topic": 14, "what": 74, "measured": 10, "m.c. s.d.": 10, "target": 20, "": 8}
    out = ["Which layer did it", ""]
    out += ["  ".join(name.ljust(width) for name, width in widths.items()).rstrip()]
    out += ["  ".join(str(row[name]).ljust(width) for name, width in widths.items()).rstrip() for row in found["rows"]]
    missed = sum(not row["met"] for row in found["rows"])
    nothing, rest = found["runs"]
    told = f"{nothing} experiments a kind with nothing wrong, {rest} of every other, seed {SEED}"
    return [*out, "", f"{told}: {found['cpu_s']:.1f} CPU s, peak {found['peak_mb']:.0f} MB; {missed} missed", ""]
