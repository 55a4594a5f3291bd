"""The records one request is made of on its way down the river: asked, candidates, slate, trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Rows = NDArray[np.integer[Any]]
"""Positions in the catalog's arrays; -1 is an item or user the catalog does not hold."""
Floats = NDArray[np.floating[Any]]

KEPT: Final = 0
"""In ``removed_by``: the candidate is on the slate."""
NOT_RANKED: Final = 1
"""In ``removed_by``: retrieved, but outside the number of candidates the ranker may score."""
SCORED_TOO_LOW: Final = 2
"""In ``removed_by``: no rule removed it; others had a higher value."""
FIRST_RULE: Final = 3
"""In ``removed_by``: codes from here on are rules, in the order of ``Trace.rules``."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for what, where and when.

    Args:
        request_id: Names the request in every log; also seeds its exploration.
        user_id: The viewer. An unknown user is served as a new one.
        surface: Name of a configured surface.
        now_ms: The time everything is computed as of, in milliseconds since 1970 UTC.
        count: How many items the slate should hold.
        scenario: A finer placement of the log's own; -1 when there is none.
        item_ids: None lets the stack retrieve; an array makes it rank exactly these.
        failures: Lookups to treat as failed (``safety``, ``features``, ``source:NAME``): for drills and faults.
    """

    request_id: int
    user_id: int
    surface: str
    now_ms: int
    count: int
    scenario: int = -1
    item_ids: Ids | None = None
    failures: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """What one source offers, best first: catalog rows and the source's own scores.

    Shapes: ``rows[k]``, ``scores[k]``.
    """

    rows: Rows
    scores: Floats


NOTHING: Final = Found(rows=np.empty(0, np.int64), scores=np.empty(0))
"""What a source offers that has nothing for this viewer."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Every candidate once, with the sources that offered it.

    Shapes: ``rows[n]``, ``source_mask[n]`` (bit s set when source s offered it), ``fused[n]`` (higher is better).
    """

    rows: Rows
    source_mask: NDArray[np.uint32]
    fused: Floats


@dataclass(frozen=True, slots=True)
class Unmet:
    """A promise of a slate that could not be kept whole.

    Args:
        rule: The rule that promised it; ``count`` where the slate is shorter than asked for.
        name: Which of the rule's promises: a quota's source or group, a spacing's attribute.
        least: Places it should have.
        met: Places it has.
        why: What stood in the way.
    """

    rule: str
    name: str
    least: int
    met: int
    why: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What control made of the valued candidates: the slate, and why everything else is not on it.

    Shapes: ``order[k]`` are positions in the candidate arrays, best first; ``removed_by[n]`` int16 codes (see ``KEPT``
    and those after);
    ``propensities[k]`` the probability of standing there, 1 where nothing was random.
    ``fired`` lists (rule, candidate position, effect), where the effect is removed, demoted or promoted.
    ``unmet`` lists quotas, spacings and counts that were kept only as far as possible.
    """

    order: Rows
    removed_by: NDArray[np.int16]
    propensities: Floats
    fired: tuple[tuple[str, int, str], ...] = ()
    unmet: tuple[Unmet, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """What each stage saw, kept and removed for one request, so that explaining is reading.

    Shapes: n candidates, f features, h heads. ``features`` is None when a stack does not tell them.
    """

    sources: tuple[str, ...]
    item_ids: Ids
    source_mask: NDArray[np.uint32]
    feature_names: tuple[str, ...]
    features: Floats | None
    heads: tuple[str, ...]
    predictions: Floats | None
    values: Floats
    rules: tuple[str, ...]
    removed_by: NDArray[np.int16]
    fired: tuple[tuple[str, int, str], ...]
    timings_ms: dict[str, float]
    retrieved: int
    """Candidates all sources offered together, before the union dropped duplicates."""
    terms: dict[str, Floats] = field(default_factory=dict)
    """The value of each candidate, split into the terms of the surface's expression."""
    served: AsServed | None = None
    """What makes the features computable again, where the stack's features tell it."""
    unmet: tuple[Unmet, ...] = ()
    """Quotas, spacings and counts that the slate keeps only as far as possible."""
    layers: dict[str, str] = field(default_factory=dict)
    """Which stack each layer is from, where a slate was made of the layers of two."""

    def reason(self, position: int) -> str:
        """Why the candidate is not on the slate: a rule's name, or ``kept``, ``not_ranked``, ``scored_too_low``."""
        code = int(self.removed_by[position])
        if code >= FIRST_RULE:
            return self.rules[code - FIRST_RULE]
        return ("kept", "not_ranked", "scored_too_low")[code]

    def sources_of(self, position: int) -> tuple[str, ...]:
        """Which sources offered the candidate at this position."""
        mask = int(self.source_mask[position])
        return tuple(name for bit, name in enumerate(self.sources) if mask >> bit & 1)


@dataclass(frozen=True, slots=True)
class AsServed:
    """What makes a request's features computable again: what the server had seen, and what it read of the viewer.

    Shapes: ``viewer[u]``.

    Attributes:
        as_of: Events with a smaller log offset had been applied.
        feature_set: Which definitions computed them.
    """

    as_of: int
    feature_set: str
    viewer: Floats


@dataclass(frozen=True, slots=True)
class Slate:
    """What is shown, best first, and how it came about.

    Shapes: ``item_ids[k]``, ``scores[k]``, ``propensities[k]``.
    """

    request_id: int
    stack: str
    surface: str
    item_ids: Ids
    scores: Floats
    propensities: Floats
    trace: Trace | None
    degraded: tuple[str, ...] = ()
    """What was slow, missing or dead, and the fallback that was used instead."""
