"""What a saving is: a baseline frozen when it was promised, driven by the demand that came, less what the move cost."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mainstem.base.errors import CapacityError, did_you_mean
from mainstem.capacity.attribution import attribute


def canonical(value: Any) -> bytes:
    """The one way a record is written before it is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Baseline:
    """What capacity was a product of before the change: ``GPU-h/wk = requests * candidates * seconds a candidate``.

    Args:
        name: Of what.
        unit: Of the product.
        demand: Drivers that the business moves.
        efficiency: Drivers that engineering moves.
    """

    name: str
    unit: str
    demand: dict[str, float]
    efficiency: dict[str, float]

    def __post_init__(self) -> None:
        twice = sorted(set(self.demand) & set(self.efficiency))
        values = (*self.demand.values(), *self.efficiency.values())
        if twice or not self.efficiency or not all(math.isfinite(x) and x > 0.0 for x in values):
            raise CapacityError(
                f"found baseline {self.name!r} with drivers {values} (twice: {twice}), expected positive drivers, each once, "
                "and at least one of efficiency",
                code="capacity-031",
                hint="a driver is either demand or efficiency",
            )

    @property
    def sha256(self) -> str:
        """What a commitment refers to: an edited baseline has another."""
        return hashlib.sha256(canonical(asdict(self))).hexdigest()

    def total(self, drivers: Mapping[str, float] | None = None) -> float:
        """The product, with some drivers at other values."""
        return math.prod((self.demand | self.efficiency | dict(drivers or {})).values())


@dataclass(frozen=True, slots=True)
class Saving:
    """What was saved.

    Args:
        counterfactual: What the old way would have taken under the demand that came.
        actual: What was taken.
        gross: Their difference.
        net: Less dual running and what the migration itself took.
        parts: Each driver's part of the change from the baseline to the actual; they sum to it.
    """

    counterfactual: float
    actual: float
    gross: float
    net: float
    parts: dict[str, float]


def saving(baseline: Baseline, measured: Mapping[str, float], *, dual: float = 0.0, migration: float = 0.0) -> Saving:
    """The saving that measured drivers prove: demand's part is never counted.

    Args:
        baseline: Frozen when the saving was promised.
        measured: Every driver as measured.
        dual: Dual running of the same period, in the baseline's unit.
        migration: What the migration itself took.

    Raises:
        CapacityError: ``capacity-032`` for a driver missing or unknown, ``capacity-030`` for one that is not positive,
            ``capacity-033`` for a negative cost.
    """
    known = baseline.demand | baseline.efficiency
    for name in sorted(set(measured) ^ set(known)):
        raise CapacityError(
            f"found drivers {sorted(measured)}, expected {sorted(known)}: {name!r} stands on one side only",
            code="capacity-032",
            hint=did_you_mean(name, known),
        )
    if not (dual >= 0.0 and migration >= 0.0):
        raise CapacityError(
            f"found dual running {dual} and migration {migration}, expected nothing below zero",
            code="capacity-033",
            hint="a move costs; what it gives back is in the measured drivers",
        )
    parts = attribute(known, dict(measured))
    actual = math.prod(measured.values())
    counterfactual = baseline.total({name: measured[name] for name in baseline.demand})
    gross = counterfactual - actual
    return Saving(counterfactual, actual, gross, gross - dual - migration, parts)
