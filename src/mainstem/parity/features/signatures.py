"""Causes that the diverging numbers show by themselves: a ratio, a shift, a narrower type, a default, a cut list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from mainstem.parity.features.claims import Claim
from mainstem.parity.features.compare import Kept
from mainstem.parity.features.meta import FeatureMeta
from mainstem.parity.features.values import Floats, Lists, Mask, Numbers, codes

_UNITS: Final = (10.0, 24.0, 60.0, 100.0, 1_000.0, 1_024.0, 3_600.0, 86_400.0, 1e6, 60_000.0, 3_600_000.0, 86_400_000.0)
_TIMES: Final = {"ms": 1.0, "s": 1e3, "min": 60e3, "h": 3.6e6, "d": 86.4e6}
_QUARTER_HOUR: Final = 900_000.0
_ZONES_END: Final = 14 * 3_600_000.0
_NEAR: Final = {True: 1e-6, False: 1e-14}
"""How near a product must be to count as that product, for float32 and for the rest."""
_ENOUGH: Final = 8
"""Rows needed before a constant that is no known unit says anything."""
_DISTINCT: Final = 3
_PAIRED: Final = 0.9
"""The share of rows one pair of values must make up to look like two defaults."""

Predict = Callable[[Floats], Floats]


def signatures(meta: FeatureMeta, kept: Kept) -> Iterator[Claim]:
    """The causes the sample's values point to, each with the shares of rows it explains and leaves alone."""
    count = len(kept.at)
    if isinstance(kept.left, Lists) and isinstance(kept.right, Lists):
        yield from _cut_lists(kept.left, kept.right, count)
    elif isinstance(kept.left, Numbers) and isinstance(kept.right, Numbers):
        yield from _number_signatures(meta, kept.left, kept.right, count)


def _number_signatures(meta: FeatureMeta, left: Numbers, right: Numbers, count: int) -> Iterator[Claim]:
    served, recomputed = _with_nan(left), _with_nan(right)
    near = _NEAR["float" in (left.kind, right.kind)]
    yield from _defaults(served, recomputed, count)
    yield from _types(left, right, served, recomputed, count)
    both = np.isfinite(served[:count]) & np.isfinite(recomputed[:count])
    if not both.any():
        return
    one, other = served[:count][both], recomputed[:count][both]

    def claim(cause: str, amount: str, predict: Predict) -> Claim:
        with np.errstate(over="ignore", invalid="ignore"):
            hit = _close(predict(recomputed), served, near)
        kept = float(hit[count:].mean()) if len(hit) > count else 1.0
        return Claim(cause, "signature", float(hit[:count].mean()), kept, amount)

    yield from _ratios(one, other, claim)
    yield from _shifts(meta, one, other, claim)


def _with_nan(column: Numbers) -> Floats:
    values = column.values.astype(np.float64)
    return values if column.present is None else np.where(column.present, values, np.nan)


def _close(one: Floats, other: Floats, near: float) -> Mask:
    same = np.abs(one - other) <= near * np.maximum(np.abs(one), np.abs(other))
    return same | (np.isnan(one) & np.isnan(other))


def _ratios(one: Floats, other: Floats, claim: Callable[[str, str, Predict], Claim]) -> Iterator[Claim]:
    """Served is a constant times recomputed: twice is counting twice, another constant is another unit."""
    nonzero = (one != 0) & (other != 0)
    if not nonzero.any():
        return
    ratio = float(np.median(one[nonzero] / other[nonzero]))
    for factor in (2.0, 0.5):
        yield claim("double_count", f"times {factor:g}", lambda value, factor=factor: value * factor)
    known = [unit for size in _UNITS for unit in (size, 1 / size) if abs(ratio / unit - 1) < 0.5]
    for unit in known:
        yield claim("unit", f"times {unit:g}", lambda value, unit=unit: value * unit)
        if unit < 1:
            yield claim("unit", f"times {unit:g}, cut", lambda value, unit=unit: np.floor(value * unit))
    usual = abs(ratio) in (1.0, 2.0, 0.5) or any(abs(ratio / unit - 1) < 1e-9 for unit in known)
    if not usual and len(one) >= _ENOUGH and len(np.unique(other)) >= _DISTINCT:
        yield claim("unit", f"times {ratio:.6g}", lambda value: value * ratio)


def _shifts(
    meta: FeatureMeta, one: Floats, other: Floats, claim: Callable[[str, str, Predict], Claim]
) -> Iterator[Claim]:
    """Served is recomputed plus a constant, of a feature that is a time: whole quarters of an hour are a time zone."""
    if meta.unit == "hour_of_day":
        hours = float(np.median((one - other) % 24))
        if hours:
            yield claim("timezone", f"{hours if hours <= 12 else hours - 24:+g} h", lambda value: (value + hours) % 24)
    elif meta.unit in _TIMES and len(one) >= _ENOUGH and len(np.unique(other)) >= _DISTINCT:
        shift = float(np.median(one - other))
        size = shift * _TIMES[meta.unit]
        zone = size and size % _QUARTER_HOUR == 0 and abs(size) <= _ZONES_END
        if shift:
            cause = "timezone" if zone else "clock_skew"
            yield claim(cause, f"{shift:+g} {meta.unit}", lambda value: value + shift)


def _types(left: Numbers, right: Numbers, served: Floats, recomputed: Floats, count: int) -> Iterator[Claim]:
    """One side is the other in a narrower type: float32, or a whole number that was cut, rounded or ran over."""
    for narrow, wide, whole in ((served, recomputed, left), (recomputed, served, right)):
        with np.errstate(over="ignore", invalid="ignore"):
            single = wide.astype(np.float32).astype(np.float64)
            tried = {"float32": single}
            if len(np.unique(wide[:count])) >= _DISTINCT:  # of one value all the time, a default says as much
                tried |= {"cut to whole": np.trunc(wide), "rounded to whole": np.rint(wide)}
        if np.issubdtype(whole.values.dtype, np.integer):
            tried["int32 ran over"] = (wide + 2.0**31) % 2.0**32 - 2.0**31
        for name, guess in tried.items():
            hit = codes(guess) == codes(narrow)
            kept = float(hit[count:].mean()) if len(hit) > count else 1.0
            yield Claim("type", "signature", float(hit[:count].mean()), kept, name)


def _defaults(served: Floats, recomputed: Floats, count: int) -> Iterator[Claim]:
    """Every row that parts is the same pair of values, and the recomputed one of them stands on no row that agrees.

    Two defaults for "nothing" show exactly so; a count that is one behind also agrees somewhere at the same value.
    """
    one, other = codes(served), codes(recomputed)
    pairs, sizes = np.unique(np.stack([one[:count], other[:count]], axis=1), axis=0, return_counts=True)
    best = int(np.argmax(sizes))
    share = float(sizes[best] / count)
    if share < _PAIRED or count < _ENOUGH:
        return
    ours, theirs = (float(np.int64(bits).view(np.float64)) for bits in pairs[best])
    usual = any(np.isnan(value) or value in (0.0, -1.0) for value in (ours, theirs))
    agreeing = other[count:]
    free = float((agreeing != pairs[best][1]).mean()) if len(agreeing) else 0.5
    if usual and free > 0.99:
        yield Claim("default", "signature", share, free, f"{ours:g} for {theirs:g}")


def _cut_lists(left: Lists, right: Lists, count: int) -> Iterator[Claim]:
    """One list is the other's beginning, or is zero after it."""
    hits = [_is_cut(left, right, at) or _is_cut(right, left, at) for at in range(count)]
    lengths = np.minimum(left.lengths[:count], right.lengths[:count])
    amount = f"after {int(lengths[0])}" if len(set(lengths.tolist())) == 1 else "after some"
    yield Claim("truncated_embedding", "signature", float(np.mean(hits)), 1.0, amount)


def _is_cut(short: Lists, whole: Lists, at: int) -> bool:
    one = short.values[short.starts[at] : short.starts[at] + short.lengths[at]].astype(np.float64)
    other = whole.values[whole.starts[at] : whole.starts[at] + whole.lengths[at]].astype(np.float64)
    if not len(one) or len(one) > len(other):
        return False
    parts = np.flatnonzero(codes(one) != codes(other[: len(one)]))
    first = int(parts[0]) if len(parts) else len(one)
    if len(one) < len(other):
        return first == len(one)
    return 0 < first < len(one) and not one[first:].any()
