from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import DataError
from mainstem.base.request import FIRST_RULE, KEPT, NOT_RANKED, SCORED_TOO_LOW, Slate, Trace
from mainstem.parity.shadow import diff_traces
from mainstem.parity.trace import NO_RULE, from_answer, from_slate

ANSWER = {
    "request_id": 41,
    "stack": "content-first",
    "items": [{"item_id": 99, "score": 0.31}, {"item_id": 12, "score": 0.2}],
    "candidates": [
        {"item_id": 99, "sources": ["similar", "fresh"], "heads": {"click": 0.4}, "value": 0.31, "removed_by": None},
        {"item_id": 55, "sources": ["fresh"], "heads": {"click": 0.5}, "value": 0.35, "removed_by": "creator_cap"},
        {"item_id": 12, "sources": ["similar"], "heads": {"click": 0.1}, "value": 0.2, "removed_by": None},
        {"item_id": 7, "sources": ["similar"], "heads": {}, "value": None, "removed_by": "rank"},
    ],
    "rules": [
        {"rule": "creator_cap", "item_id": 55, "effect": "removed"},
        {"rule": "variety", "item_id": 12, "effect": "demoted"},
    ],
    "timings_ms": {"retrieve": 1.1, "rank": 2.0},
}


def engine_slate(trace: bool = True) -> Slate:
    """The same request as the engine would tell it: item 7 was cut before it was ranked."""
    told = Trace(
        sources=("similar", "fresh"),
        item_ids=np.array([99, 55, 12, 7]),
        source_mask=np.array([3, 2, 1, 1], np.uint32),
        feature_names=("age",),
        features=np.array([[1.0], [2.0], [3.0]]),
        heads=("click",),
        predictions=np.array([[0.4], [0.5], [0.1]]),
        values=np.array([0.31, 0.35, 0.2]),
        rules=("creator_cap", "variety"),
        removed_by=np.array([KEPT, FIRST_RULE, SCORED_TOO_LOW, NOT_RANKED], np.int16),
        fired=(("creator_cap", 1, "removed"), ("variety", 2, "demoted")),
        timings_ms={"retrieve": 0.4},
        retrieved=5,
        terms={"click": np.array([0.4, 0.5, 0.1])},
    )
    ids = np.array([99, 12])
    return Slate(41, "unified", "feed", ids, np.array([0.31, 0.2]), np.ones(2), told if trace else None)


def test_an_outside_stacks_answer_is_read() -> None:
    record = from_answer(ANSWER)
    assert record.request_id == 41
    assert record.item_ids.tolist() == [99, 55, 12, 7]
    assert record.slate.tolist() == [99, 12]
    assert record.source_names == ("fresh", "similar")
    assert record.source_mask is not None
    assert record.source_mask.tolist() == [3, 1, 2, 2]
    assert record.features is None
    assert record.head_names == ("click",)
    assert record.predictions is not None
    assert record.predictions[:3, 0].tolist() == [0.4, 0.5, 0.1]
    assert np.isnan(record.predictions[3, 0])
    assert record.values is not None
    assert np.isnan(record.values[3])
    assert record.rule_names == ("creator_cap", "variety")
    assert record.removed_by is not None
    assert record.removed_by.tolist() == [NO_RULE, 0, NO_RULE, NO_RULE]
    assert record.demoted_by is not None
    assert np.argwhere(record.demoted_by).tolist() == [[2, 1]]


def test_an_answer_that_tells_little_is_read_as_little() -> None:
    bare = from_answer({"request_id": 3, "items": [{"item_id": 5, "score": 1.0}]})
    assert bare.item_ids.tolist() == bare.slate.tolist() == [5]
    assert [stage for stage in ("source", "model", "value", "rule") if bare.tells(stage)] == []
    some = from_answer({"request_id": 3, "items": [], "candidates": [{"item_id": 5, "value": 0.5}]})
    assert some.tells("value")
    assert not some.tells("source")
    assert not some.tells("rule")


def test_the_engines_own_trace_is_read() -> None:
    record = from_slate(engine_slate())
    assert record.features is not None
    assert np.isnan(record.features[3, 0])
    assert record.terms is not None
    assert np.isnan(record.terms[3, 0])
    assert record.removed_by is not None
    assert record.removed_by.tolist() == [NO_RULE, 0, NO_RULE, NO_RULE]
    assert record.demoted_by is not None
    assert np.argwhere(record.demoted_by).tolist() == [[2, 1]]
    with pytest.raises(DataError) as refused:
        from_slate(engine_slate(trace=False))
    assert refused.value.code == "parity-003"


def test_the_engine_and_the_program_it_reproduces_agree() -> None:
    diff = diff_traces([(from_answer(ANSWER), from_slate(engine_slate()))], left="legacy", right="engine")
    assert diff.first is None
    assert {stage.stage for stage in diff.stages if not stage.told} == {"features"}
    assert {stage.stage: (stage.left_ms, stage.right_ms) for stage in diff.stages}["source"] == (1.1, 0.4)
    changed = {**ANSWER, "items": ANSWER["items"][:1]}
    first = diff_traces([(from_answer(changed), from_slate(engine_slate()))]).first
    assert first is not None
    assert (first.stage, first.culprit) == ("slate", "items")
