"""The runner: one slate a request, every candidate accounted for, and a broken part never breaks the answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import RequestError
from mainstem.base.request import Found, Request, Selection
from mainstem.features.catalog import Catalog
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.run import run, score
from mainstem.stacks.stage import Stack

ITEMS = pl.DataFrame({"item_id": np.arange(100, 130)})
USERS = pl.DataFrame({"user_id": [1]})


@dataclass
class Fixed:
    name: str
    rows: list[int]
    blocking: bool = False
    wait_for: threading.Event | None = None
    broken: bool = False

    def retrieve(self, request, user, limit):
        if self.broken:
            raise ValueError("index is gone")
        if self.wait_for is not None:
            self.wait_for.wait()
        return Found(np.asarray(self.rows, np.int64), -np.arange(len(self.rows), dtype=float))


@dataclass
class Plain:
    """Features, ranker, value and control in one: the value of an item is its row."""

    names: tuple[str, ...] = ("row",)
    heads: tuple[str, ...] = ("click",)
    rules: tuple[str, ...] = ("odd",)
    broken: bool = False
    heard: list[tuple[int, list[int]]] = field(default_factory=list)

    def user(self, request):
        return {"id": request.user_id}

    def items(self, request, user, rows):
        return rows[:, None].astype(float)

    def predict(self, request, user, rows, features):
        if self.broken:
            raise RuntimeError("weights do not fit")
        return features / 100

    def values(self, request, user, rows, predictions):
        return predictions[:, 0]

    def terms(self, request, user, rows, predictions):
        return {"click": predictions[:, 0]}

    def select(self, request, user, pool, values):
        removed_by = np.full(len(values), 2, np.int16)
        odd = pool.rows % 2 == 1
        removed_by[odd] = 3
        order = np.lexsort((pool.rows, -np.where(odd, -np.inf, values)))[: min(request.count, int((~odd).sum()))]
        removed_by[order] = 0
        return Selection(order, removed_by, np.ones(len(order)), ())

    def apply(self, feedback):
        raise NotImplementedError

    def served(self, request, rows):
        self.heard.append((request.request_id, rows.tolist()))


def stack(*sources: Fixed, **changes) -> Stack:
    part = changes.pop("part", Plain())
    names = tuple(source.name for source in sources)
    union = RankFusion(names, {"feed": 1000})
    catalog = Catalog.from_tables(ITEMS, USERS)
    whole = Stack("test", catalog, sources, union, part, part, part, part, memories=(part,), surfaces=("feed",))
    return replace(whole, **changes)


def ask(**changes) -> Request:
    return replace(Request(request_id=7, user_id=1, surface="feed", now_ms=0, count=3), **changes)


def test_the_slate_is_the_best_and_every_candidate_has_a_reason():
    slate = run(stack(Fixed("a", [1, 2, 4]), Fixed("b", [4, 6, 8, 10])), ask())
    assert slate.item_ids.tolist() == [110, 108, 106]
    trace = slate.trace
    reasons = {int(item): trace.reason(at) for at, item in enumerate(trace.item_ids)}
    assert reasons == {110: "kept", 108: "kept", 106: "kept", 104: "scored_too_low", 102: "scored_too_low", 101: "odd"}
    assert trace.sources_of(trace.item_ids.tolist().index(104)) == ("a", "b")
    assert trace.retrieved == 7
    assert set(trace.timings_ms) >= {"features", "retrieve", "source:a", "rank", "value", "control"}


def test_candidates_beyond_the_rank_budget_are_kept_in_the_trace_as_not_ranked():
    slate = run(stack(Fixed("a", [2, 4, 6, 8]), rank={"feed": 2}), ask())
    assert [slate.trace.reason(at) for at in range(4)] == ["kept", "kept", "not_ranked", "not_ranked"]
    assert len(slate.trace.values) == 2


def test_what_is_served_reaches_the_memories_and_scoring_does_not():
    part = Plain()
    whole = stack(Fixed("a", [2, 4]), part=part)
    run(whole, ask())
    values, predictions = score(whole, ask(item_ids=np.array([104, 999])))
    assert part.heard == [(7, [4, 2])]
    assert values.tolist() == [0.04, -0.01]
    assert predictions.shape == (2, 1)


def test_an_item_the_catalog_does_not_hold_keeps_its_id():
    slate = run(stack(Fixed("a", [])), ask(item_ids=np.array([104, 999_999])))
    assert slate.trace.item_ids.tolist() == [104, 999_999]


def test_a_broken_source_is_left_out_and_named():
    slate = run(stack(Fixed("a", [2, 4]), Fixed("b", [6], broken=True)), ask())
    assert slate.item_ids.tolist() == [104, 102]
    assert slate.degraded == ("source:b: ValueError: index is gone",)


def test_a_source_that_blocks_past_its_budget_is_left_out_and_named():
    never = threading.Event()
    try:
        slate = run(
            stack(Fixed("a", [2]), Fixed("slow", [6], blocking=True, wait_for=never)), ask(), source_budget_s=0.01
        )
    finally:
        never.set()
    assert slate.item_ids.tolist() == [102]
    assert slate.degraded[0].startswith("source:slow: TimeoutError")


def test_blocking_sources_that_answer_are_used():
    assert run(stack(Fixed("a", [2], blocking=True)), ask(), source_budget_s=5).item_ids.tolist() == [102]


def test_a_source_can_be_switched_off_for_one_request():
    slate = run(stack(Fixed("a", [2]), Fixed("b", [4])), ask(failures=frozenset({"source:b"})))
    assert slate.item_ids.tolist() == [102]
    assert "source:b" in slate.degraded[0]


def test_without_a_working_ranker_the_retrieval_order_stands_in():
    slate = run(stack(Fixed("a", [2, 4, 6]), part=Plain(broken=True)), ask(count=2))
    assert slate.item_ids.tolist() == [102, 104]
    assert slate.trace.predictions is None
    assert slate.degraded == ("rank: RuntimeError: weights do not fit",)


def test_zero_candidates_are_an_empty_slate():
    slate = run(stack(Fixed("a", [])), ask())
    assert slate.item_ids.tolist() == []
    assert slate.trace.removed_by.tolist() == []


@pytest.mark.parametrize(("changes", "code"), [({"surface": "fed"}, "request-001"), ({"count": 0}, "request-002")])
def test_what_cannot_be_asked_is_refused(changes, code):
    with pytest.raises(RequestError) as refused:
        run(stack(Fixed("a", [2])), ask(**changes))
    assert refused.value.code == code


def test_a_misspelt_surface_comes_with_what_was_meant():
    with pytest.raises(RequestError) as refused:
        run(stack(Fixed("a", [2])), ask(surface="fed"))
    assert refused.value.hint == "did you mean 'feed'?"
    assert refused.value.status == 404
