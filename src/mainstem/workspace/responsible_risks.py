"""Which risks are named, by what they are measured, and which thresholds were declared before anybody looked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mainstem.evaluate.canaries import Canary
from mainstem.evaluate.intervals import Interval
from mainstem.evaluate.risk import Bound, Risk, judged
from mainstem.evaluate.slices import SliceCell
from mainstem.workspace.responsible_rows import ExposureRow

ARM: Final = "unified"
HEAD: Final = "long_view"


@dataclass(frozen=True, slots=True)
class Declared:
    """A risk of exposure: its name, what could go wrong, what is measured, and the threshold."""

    name: str
    what: str
    measure: str
    of: Callable[[ExposureRow], Interval | None]
    bound: Bound
    threshold: float


CALIBRATION: Final = 0.1
"""Predicted over observed of any slice may be off by this share."""
ORDER: Final = 0.05
"""Within-user AUC of any slice may be below the whole's by this much."""
EXPOSURE: Final = (
    Declared(
        "concentration", "few items get most of the exposure", "effective items over a random choice's",
        lambda row: row.effective_items, "at least", 0.5,
    ),
    Declared(
        "small creators", "small creators are shown less than their items are offered",
        "their exposure over a random choice's", lambda row: row.small_creators, "at least", 0.8,
    ),
    Declared(
        "new items", "items that training hardly met are not shown", "their exposure over a random choice's",
        lambda row: row.new_items, "at least", 0.8,
    ),
    Declared(
        "popularity", "what was popular is shown for that alone", "mean past impressions over a random choice's",
        lambda row: row.popularity, "at most", 1.5,
    ),
    Declared(
        "hides", "viewers are shown more of what they hide", "hides over a random choice's",
        lambda row: row.hides, "at most", 1.1,
    ),
)  # fmt: skip
CANARIES: Final = ("shuffled timing", "label permutation", "future row")


def risks_of(
    cells: Sequence[SliceCell], exposure: Sequence[ExposureRow], canaries: Sequence[Canary]
) -> tuple[Risk, ...]:
    """Every named risk of the unified stack."""
    own = [cell for cell in cells if cell.arm == ARM and cell.head == HEAD and cell.by != "all" and cell.enough]
    shown = next((row for row in exposure if row.arm == ARM), None)
    told = [
        judged(one.name, one.what, one.measure, one.of(shown) if shown else None, one.bound, one.threshold)
        for one in EXPOSURE
    ]
    return (_calibration(own), _order(own), *told, *(_canary(name, canaries) for name in CANARIES))


def _calibration(own: Sequence[SliceCell]) -> Risk:
    what, measure = "for some people or items probabilities do not come true", "largest |predicted over observed - 1|"
    off = [(_off(cell.over_observed), _place(cell)) for cell in own if cell.over_observed is not None]
    return _worst("calibration", what, measure, off, CALIBRATION)


def _order(own: Sequence[SliceCell]) -> Risk:
    what, measure = "for some people or items the order is worse", "within-user AUC of the whole less the worst slice's"
    gaps = [(_turned(cell.gap), _place(cell)) for cell in own if cell.gap is not None]
    return _worst("order", what, measure, gaps, ORDER)


def _worst(name: str, what: str, measure: str, found: Sequence[tuple[Interval, str]], most: float) -> Risk:
    """The slice that surely breaks the bound, if there is one; else the one that comes nearest to breaking it."""
    if not found:
        return judged(name, what, measure, None, "at most", most)
    surely = max(found, key=lambda one: one[0].low)
    interval, place = surely if surely[0].low > most else max(found, key=lambda one: one[0].high)
    return judged(name, what, measure, interval, "at most", most, place, sure=True)


def _place(cell: SliceCell) -> str:
    return f"{HEAD}, {cell.by}: {cell.slice}"


def _turned(gap: Interval) -> Interval:
    return Interval(-gap.high, -gap.mid, -gap.low, gap.level, gap.n, gap.source)


def _off(ratio: Interval) -> Interval:
    """How far a ratio is from 1, whichever side."""
    ends = sorted((abs(ratio.low - 1), abs(ratio.high - 1)))
    low = 0.0 if ratio.low <= 1 <= ratio.high else ends[0]
    return Interval(low, abs(ratio.mid - 1), ends[1], ratio.level, ratio.n, ratio.source)


def _canary(name: str, canaries: Sequence[Canary]) -> Risk:
    mine = [one for one in canaries if one.name == name]
    what = "the model has read what it is judged by"
    passed = None if not mine else float(all(one.passed for one in mine))
    note = "; ".join(f"{one.of}: {one.measured}" for one in mine) or "the canaries were not run"
    return judged(f"leak: {name}", what, "the model is clean and the cheat is caught", passed, "at least", 1.0, note)
