"""One request as one stack lived through it: what the shadow diff compares, whoever told it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import DataError
from mainstem.base.request import FIRST_RULE, Slate

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

STAGES: Final = ("features", "source", "model", "value", "rule", "slate")
"""The stages of the river in which two traces can part, in order."""
NO_RULE: Final = -1
"""In ``removed_by``: no rule removed the candidate; it was shown or simply scored too low."""


@dataclass(frozen=True, slots=True)
class StageRecord:
    """Everything one stack tells about one request. None where it does not tell; NaN rows where it never got that far.

    Shapes: n candidates, f features, h heads, t value terms, r rules, k shown. ``source_mask[n]`` has bit s set when source s
    offered it; ``removed_by[n]`` holds the place of a rule in ``rule_names`` or ``NO_RULE``, ``demoted_by[n, r]`` whether a rule
    moved the candidate without removing it; the rules stand in the order in which they are applied. ``feature_state[n, f]`` is
    any small code of how the value came about.
    """

    request_id: int
    item_ids: Ints
    slate: Ints
    source_names: tuple[str, ...] = ()
    source_mask: Ints | None = None
    feature_names: tuple[str, ...] = ()
    features: Floats | None = None
    feature_state: Ints | None = None
    head_names: tuple[str, ...] = ()
    predictions: Floats | None = None
    values: Floats | None = None
    term_names: tuple[str, ...] = ()
    terms: Floats | None = None
    rule_names: tuple[str, ...] = ()
    removed_by: Ints | None = None
    demoted_by: NDArray[np.bool_] | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses arrays that do not belong together (``parity-001``) and an item named twice (``parity-002``)."""
        n = len(self.item_ids)
        wanted = {
            "source_mask": (n,),
            "features": (n, len(self.feature_names)),
            "feature_state": (n, len(self.feature_names)),
            "predictions": (n, len(self.head_names)),
            "values": (n,),
            "terms": (n, len(self.term_names)),
            "removed_by": (n,),
            "demoted_by": (n, len(self.rule_names)),
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise DataError(
                    f"request {self.request_id}: {name} has shape {array.shape}, expected {shape}",
                    code="parity-001",
                    hint="one row for each of item_ids, one column for each name",
                )
        if len(np.unique(self.item_ids)) != n:
            raise DataError(
                f"request {self.request_id}: {n - len(np.unique(self.item_ids))} candidates are named twice in item_ids",
                code="parity-002",
                hint="a candidate of several sources is one row with several bits in source_mask",
            )

    def tells(self, stage: str) -> bool:
        """Whether the stack says what happened in a stage."""
        told = {
            "features": self.features,
            "source": self.source_mask,
            "model": self.predictions,
            "value": self.values,
            "rule": self.removed_by,
            "slate": self.slate,
        }
        return told[stage] is not None


def from_slate(slate: Slate) -> StageRecord:
    """What the engine's own slate and trace say.

    Raises:
        DataError: The slate has no trace (``parity-003``).
    """
    trace = slate.trace
    if trace is None:
        raise DataError(f"request {slate.request_id} has no trace", code="parity-003", hint="run it with explain=True")
    n = len(trace.item_ids)
    codes = trace.removed_by.astype(np.int64)
    demoted = np.zeros((n, len(trace.rules)), bool)
    for rule, place, effect in trace.fired:
        if effect != "removed":
            demoted[place, trace.rules.index(rule)] = True
    names = tuple(trace.terms)
    return StageRecord(
        request_id=slate.request_id,
        item_ids=trace.item_ids,
        slate=slate.item_ids,
        source_names=trace.sources,
        source_mask=trace.source_mask,
        feature_names=trace.feature_names,
        features=_padded(trace.features, n),
        head_names=trace.heads,
        predictions=_padded(trace.predictions, n),
        values=_padded(trace.values, n),
        term_names=names,
        terms=_padded(np.stack([trace.terms[name] for name in names], axis=1), n) if names else None,
        rule_names=trace.rules,
        removed_by=np.where(codes >= FIRST_RULE, codes - FIRST_RULE, NO_RULE),
        demoted_by=demoted,
        timings_ms=trace.timings_ms,
    )


def from_answer(answer: Mapping[str, Any]) -> StageRecord:
    """What an outside stack says in its answer to ``POST /v1/rank`` with ``explain`` (the remote protocol).

    Stages it does not tell stay None. Features are never in the protocol.
    """
    told: Sequence[Mapping[str, Any]] = answer.get("candidates") or ()
    slate = np.array([int(item["item_id"]) for item in answer["items"]], np.int64)
    items = np.array([int(one["item_id"]) for one in told], np.int64) if told else slate
    sources, masks = _bits([one.get("sources") for one in told])
    heads = tuple(dict.fromkeys(head for one in told for head in one.get("heads") or ()))
    rules = tuple(dict.fromkeys(fired["rule"] for fired in answer.get("rules") or ()))
    removed = [one.get("removed_by") for one in told]
    names = tuple(dict.fromkeys((*rules, *(rule for rule in removed if rule not in (None, "rank")))))
    codes = {name: place for place, name in enumerate(names)}
    return StageRecord(
        request_id=int(answer["request_id"]),
        item_ids=items,
        slate=slate,
        source_names=sources,
        source_mask=masks,
        head_names=heads,
        predictions=np.array([[_number((one.get("heads") or {}).get(h)) for h in heads] for one in told])
        if heads
        else None,
        values=np.array([_number(one.get("value")) for one in told]) if any("value" in one for one in told) else None,
        rule_names=names,
        removed_by=np.array([codes.get(rule, NO_RULE) for rule in removed], np.int64)
        if any("removed_by" in one for one in told)
        else None,
        demoted_by=_demoted(answer.get("rules") or (), items, codes),
        timings_ms=dict(answer.get("timings_ms") or {}),
    )


def _padded(rows: Floats | None, n: int) -> Floats | None:
    """The rows, with NaN for the candidates the stage never saw."""
    if rows is None or len(rows) == n:
        return rows
    padded = np.full((n, *rows.shape[1:]), np.nan)
    padded[: len(rows)] = rows
    return padded


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _bits(told: Sequence[Sequence[str] | None]) -> tuple[tuple[str, ...], NDArray[np.uint64] | None]:
    """Source names and masks of candidates that list the sources that offered them."""
    if not any(told):
        return (), None
    names = tuple(sorted({name for sources in told for name in sources or ()}))
    place = {name: 1 << bit for bit, name in enumerate(names)}
    return names, np.array([sum(place[name] for name in set(sources or ())) for sources in told], np.uint64)


def _demoted(fired: Sequence[Mapping[str, Any]], items: Ints, codes: Mapping[str, int]) -> NDArray[np.bool_]:
    """Which rules moved a candidate without removing it."""
    place = {int(item): row for row, item in enumerate(items)}
    demoted = np.zeros((len(items), len(codes)), bool)
    for one in fired:
        if one.get("effect") != "removed" and int(one["item_id"]) in place:
            demoted[place[int(one["item_id"])], codes[one["rule"]]] = True
    return demoted
