"""Does a comparison find a planted fault, and does it name the feature, the stage and the cause?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from mainstem.features.language.feature_set import FeatureSet
from mainstem.parity.features.cause import name_causes
from mainstem.parity.features.compare import Comparison, compare
from mainstem.parity.features.configuration import Arranged, Asked, Configuration
from mainstem.parity.features.evidence import Evidence
from mainstem.parity.features.faulty import Planted, World, planted
from mainstem.parity.features.recomputed import Recomputed
from mainstem.parity.features.result import Diagnosis
from mainstem.parity.features.served import Served
from mainstem.parity.features.suspects import Ints, Suspects, variants_of
from mainstem.parity.features.value_rows import stage_of

ROOTS: Final = 4
"""Features that are looked into: of those in which a difference begins, the ones with most diverging cells."""
_SURE: Final = 0.99
"""The values of so many diverging rows show a cause by themselves: nothing needs to be computed again."""
_BEFORE: Final = (0, 1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Found:
    """Whether a planted fault was found, and what it was called.

    ``planted`` are the features it was planted in, as many as are shown; ``caught`` says that the comparison failed, ``right``
    that it named one of these features, the stage in which it is made and the cause.
    """

    fault: str
    story: str
    planted: tuple[str, ...]
    expected: str
    caught: bool
    feature: str
    stage: str
    cause: str
    confidence: float
    right: bool
    failing: int
    sentence: str


def roots(features: FeatureSet, failing: Sequence[str]) -> tuple[str, ...]:
    """The failing columns in which a difference begins: none of the features they read fails."""
    owners = {features.owner_of[name].name for name in failing}
    first = {
        one for one in owners if not any(inner != one and inner in owners for inner in features.everything_behind(one))
    }
    return tuple(name for name in failing if features.owner_of[name].name in (first or owners))


def diagnosed(
    configuration: Configuration, log: Arranged, asked: Asked, served: Served, comparison: Comparison
) -> tuple[Diagnosis, ...]:
    """The causes of the features in which a difference begins, the most telling first."""
    failing = comparison.gate().failing
    begins = roots(configuration.features, failing)
    size = {one.name: one.total.beyond for one in comparison.report.features}
    chosen = sorted(begins, key=lambda name: -size[name])[:ROOTS]
    if not chosen:
        return ()
    plain = name_causes(comparison, Evidence(), of=chosen)
    if all(one.confidence >= _SURE and one.basis == "signature" for one in plain):
        return tuple(sorted(plain, key=lambda one: -size[one.feature]))
    own = log.offset_of[asked.own]
    lag = dict(zip(map(str, asked.request_id.tolist()), served.behind.tolist(), strict=True))
    evidence = Evidence(
        lag={one: behind for one, behind in lag.items() if behind > 0},
        recompute=Suspects(configuration, log.streams, asked, own, served.behind, tuple(chosen)),
        variants=variants_of(configuration, starts_of(comparison, chosen, served.as_of), chosen),
        thorough=False,
    )
    found = name_causes(comparison, evidence, of=chosen)
    return tuple(sorted(found, key=lambda one: -(one.confidence * size[one.feature])))


def starts_of(comparison: Comparison, names: Sequence[str], as_of: Ints) -> tuple[int, ...]:
    """Offsets from which something may have gone wrong: of the first row that parts, and of the requests before it."""
    first = min(int(comparison.rows.offset[comparison.kept[name].at].min()) for name in names)
    seen = np.unique(as_of)
    at = int(np.searchsorted(seen, first))
    return tuple(dict.fromkeys(int(seen[max(0, at - back)]) for back in _BEFORE))


def compared(world: World, served: Served, table: pa.Table | None = None) -> Comparison:
    """The served world against the recomputed one."""
    again = table or Recomputed(world.configuration, world.log.streams).table(world.asked, served.as_of)
    return compare(served.table, again, served.metas)


def drilled(name: str, world: World, seed: int) -> Found:
    """Plants one fault, compares, and asks why."""
    fault = planted(name, world, seed)
    served = fault.replay.run()
    comparison = compared(world, served)
    if comparison.gate().passed:
        return _missed(fault)
    return judged(fault, world, comparison, diagnosed(world.configuration, world.log, world.asked, served, comparison))


def judged(fault: Planted, world: World, comparison: Comparison, found: Sequence[Diagnosis]) -> Found:
    """Whether the diagnosis is that of the fault."""
    if not found:
        return _missed(fault)
    by_cause: dict[str, float] = {}
    for one in found:
        by_cause[one.cause] = by_cause.get(one.cause, 0.0) + one.confidence
    cause = max(by_cause, key=lambda name: by_cause[name])
    best = next(one for one in found if one.cause == cause)
    owner = world.configuration.features.owner_of[best.feature]
    right = cause == fault.cause and owner.name in fault.features and best.stage == stage_of(owner)
    return Found(
        fault.name, fault.story, tuple(sorted(fault.features)), fault.cause, True, best.feature, best.stage, cause,
        best.confidence, right, len(comparison.gate().failing), best.sentence,
    )  # fmt: skip


def _missed(fault: Planted) -> Found:
    names = tuple(sorted(fault.features))
    return Found(fault.name, fault.story, names, fault.cause, False, "", "", "", 0.0, False, 0, "nothing was noticed")
