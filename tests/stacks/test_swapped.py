"""Two stacks, layer by layer: whole from one side it is that side, and nothing is mixed up on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import RequestError
from mainstem.base.request import Found, Pool, Request, Rows
from mainstem.data.log import Log, read_log
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.run import guarded, run, score
from mainstem.stacks.stage import Stack
from mainstem.stacks.swapped import LAYERS, Swapped, layer_groups, swaps
from mainstem.stacks.swapped_parts import SideUnion
from mainstem.stacks.why import why
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import split
from mainstem.workspace.platform import open_stack
from mainstem.workspace.programs import train
from mainstem.workspace.students import PORTS, day_after
from mainstem.workspace.train import train_unified

Make = Callable[[str], Stack]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder: Path = tmp_path_factory.mktemp("swapped")
    (folder / "mainstem.toml").write_text('[serve]\nclock = "log"\n[training]\nepochs = 1\n')
    workspace = Workspace.open(folder, {})
    write_world_log(make_world(WorldSettings(users=120, items=500, days=5, impressions=3_000, seed=4)), workspace.log)
    # Legacy catalogs are ordered by id, the unified one as the log is: rows must differ for a mistake to show.
    items = pl.read_parquet(workspace.log / "items.parquet")
    items.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(workspace.log / "items.parquet")
    log: Log = read_log(workspace.log)
    parts = split(workspace, log)
    train_unified(workspace, log, parts, 3, lambda *told, **named: None)
    for name in LEGACY:
        train(name, workspace.log, workspace.legacy_model(name), parts.validation_day, 3)

    def one(name: str) -> Stack:
        if name == "unified":
            return open_stack(workspace, log)
        return PORTS[name](workspace.legacy_model(name), log, day_after(log))

    return one


def requests(stack: Stack, count: int = 25) -> list[Request]:
    ids = stack.catalog.users.ids[:count]
    return [
        Request(100 + n, int(user), ("feed", "pages")[n % 2], 1_652_000_000_000 + n * 1_000, 8)
        for n, user in enumerate(ids)
    ]


@pytest.mark.parametrize("legacy", LEGACY)
def test_whole_from_one_side_it_is_that_side(make: Make, legacy: str) -> None:
    """Slate, trace and the reasons for an item, over requests that each move the memories for the next."""
    for which, name in ((frozenset[str](), legacy), (frozenset(LAYERS), "unified")):
        swapped, alone = Swapped(make(legacy), make("unified"), which), make(name)
        dry = replace(alone, memories=(), claims=None)
        for at, request in enumerate(requests(alone, 13)):
            ids = alone.catalog.items.ids
            if at % 5 == 0:
                request = replace(request, item_ids=np.array([*ids[at * 9 : at * 9 + 30], 2**62 + 1]))
            if at % 6 == 0:
                slate = run(dry, request)
                for item in (int(slate.item_ids[-1]), int(ids[-1 - at]), 2**62 + 1):
                    told, reason = swapped.explain(request, item), why(dry, slate, request, item)
                    np.testing.assert_equal(asdict(replace(told, arm="")), asdict(reason))
                    assert told.arm == swapped.name
            found, expected = swapped.rank(request, explain=True), run(alone, request)
            for one in ("item_ids", "scores", "propensities"):
                np.testing.assert_array_equal(getattr(found, one), getattr(expected, one))
            assert found.trace is not None
            assert found.trace.layers == dict.fromkeys(LAYERS, name)
            for one in {part.name for part in fields(found.trace)} - {"timings_ms", "layers", "served"}:
                np.testing.assert_equal(getattr(found.trace, one), getattr(expected.trace, one))


@pytest.mark.parametrize(("legacy", "arms"), [("content-first", 16), ("interest-first", 8)])
def test_every_combination_serves_and_each_layer_can_change_the_slate(make: Make, legacy: str, arms: int) -> None:
    old, new = replace(make(legacy), memories=()), replace(make("unified"), memories=(), claims=None)
    groups = layer_groups(old, new)
    assert sorted(layer for group in groups for layer in group) == sorted(LAYERS)
    assert len(swaps(groups)) == arms
    slates = {}
    for which in swaps(groups):
        arm = Swapped(old, new, which)
        slates[which] = [arm.rank(one).item_ids.tolist() for one in requests(new, 6)]
        assert all(slates[which])
    for group in groups:
        assert slates[frozenset(group)] != slates[frozenset()]


@pytest.mark.parametrize("legacy", LEGACY)
def test_every_combination_keeps_the_promises_of_a_stack(make: Make, legacy: str) -> None:
    """Those of the remote protocol's suite that are about rankings, asked of the one stack that the layers make."""
    old, new = make(legacy), make("unified")
    asked = requests(new, 2)[0]
    for which in swaps(layer_groups(old, new)):
        arm = Swapped(old, new, which)
        named = np.array([*new.catalog.items.ids[5:40:5], 2**62 + 1])
        assert set(arm.rank(replace(asked, item_ids=named)).item_ids.tolist()) <= set(named.tolist())
        assert not len(arm.rank(replace(asked, item_ids=np.empty(0, np.int64))).item_ids)
        arm.rank(replace(asked, user_id=2**62 + 1))
        for failure in ("safety", "features"):
            arm.rank(replace(asked, failures=frozenset({failure})))
        values, predictions = score(arm.stack, replace(asked, item_ids=named))
        np.testing.assert_array_equal(score(arm.stack, replace(asked, item_ids=named))[0], values)
        assert (np.isfinite(values).all(), len(values), len(predictions)) == (True, len(named), len(named))
        slate = arm.rank(asked)
        ids = slate.item_ids.tolist()
        assert len(ids) == len(set(ids)) <= asked.count
        with pytest.raises(RequestError, match="is not served by"):
            arm.rank(replace(asked, surface="no-such-surface"))


@pytest.mark.parametrize("legacy", LEGACY)
def test_each_layer_says_of_an_item_what_its_own_stack_says_of_it(make: Make, legacy: str) -> None:
    old, new = make(legacy), make("unified")
    assert (old.catalog.items.ids != new.catalog.items.ids).any()
    for which in swaps(layer_groups(old, new)):
        arm = Swapped(old, new, which)
        asked = replace(requests(new, 1)[0], item_ids=new.catalog.items.ids[40:90])
        model, value = (new if name in which else old for name in ("model", "value"))
        predictions = score(model, asked)[1]
        user, rows = value.features.user(asked), value.catalog.item_rows(new.catalog.items.ids[40:90])
        columns = [model.ranker.heads.index(head) for head in value.ranker.heads]
        values = value.value.values(asked, user, rows, predictions[:, columns])
        found = score(arm.stack, asked)
        np.testing.assert_allclose(found[1], predictions)
        np.testing.assert_allclose(found[0], values if value.decimals is None else np.round(values, value.decimals))
        control = new if "control" in which else old
        pool = Pool(control.catalog.item_rows(new.catalog.items.ids[40:90]), np.zeros(50, np.uint32), np.zeros(50))
        own = control.control.select(asked, control.features.user(asked), pool, found[0])
        trace = arm.rank(asked).trace
        assert trace is not None
        np.testing.assert_array_equal(trace.removed_by, own.removed_by)


def test_the_trace_says_which_stack_each_layer_is_from_and_an_explanation_is_of_that_layer(make: Make) -> None:
    old, new = make("content-first"), make("unified")
    arm = Swapped(old, new, frozenset({"value", "control"}))
    asked = requests(new, 1)[0]
    told = arm.explain(asked, int(arm.rank(asked, explain=True).item_ids[0]))
    trace = arm.rank(asked, explain=True).trace
    assert trace is not None
    assert trace.layers == {
        "retrieval": "content-first", "model": "content-first", "value": "unified", "control": "unified",
    }  # fmt: skip
    assert trace.sources == tuple(one.name for one in old.sources)
    assert (trace.feature_names, trace.heads) == (old.features.names, old.ranker.heads)
    assert trace.rules == new.control.rules
    assert list(trace.terms) == list(run(new, asked).trace.terms)  # type: ignore[union-attr]
    assert (told.arm, told.outcome in ("shown", "filtered", "scored_too_low")) == ("value+control", True)
    assert {one.rule.partition(":")[0] for one in told.rules} <= set(new.control.rules)


def test_a_value_without_its_heads_and_a_layer_nobody_knows_are_refused(make: Make) -> None:
    with pytest.raises(RequestError, match="which 'unified' does not predict"):
        Swapped(make("interest-first"), make("unified"), frozenset({"model"}))
    with pytest.raises(RequestError, match="no layer"):
        Swapped(make("content-first"), make("unified"), frozenset({"ranking"}))


class Heard:
    """Claims and memory of a stack that refuse once, and note what they are told."""

    def __init__(self) -> None:
        self.claimed: list[list[int]] = []
        self.shown: list[list[int]] = []

    def claim(self, request: Request, rows: Rows) -> bool:
        self.claimed.append(rows.tolist())
        return len(self.claimed) > 1

    def alone(self) -> AbstractContextManager[None]:
        return nullcontext()

    def apply(self, feedback: FeedbackBatch) -> None:
        raise AssertionError("no outcomes here")

    def served(self, request: Request, rows: Rows) -> None:
        self.shown.append(rows.tolist())


def test_what_is_claimed_and_remembered_is_in_the_rows_of_who_hears_it(make: Make) -> None:
    """Control's stack claims, both remember, and their catalogs number the same items differently."""
    old, new = make("interest-first"), make("unified")
    shuffled = replace(old, memories=(*old.memories, old_heard := Heard()))
    new = replace(new, claims=(heard := Heard()), memories=(*new.memories, heard))
    arm = Swapped(shuffled, new, frozenset({"control"}))
    slate = arm.rank(requests(new, 1)[0])
    assert len(slate.item_ids)
    assert len(heard.claimed) == 2
    assert [new.catalog.items.ids[heard.claimed[-1]].tolist()] == [slate.item_ids.tolist()]
    assert new.catalog.items.ids[heard.shown[0]].tolist() == slate.item_ids.tolist()
    assert old.catalog.items.ids[old_heard.shown[0]].tolist() == slate.item_ids.tolist()
    assert Swapped(shuffled, new, frozenset({"value", "model"})).stack.claims is None
    arm.explain(requests(new, 1)[0], int(slate.item_ids[0]))
    assert (len(heard.claimed), len(heard.shown)) == (2, 1)


def test_guards_of_control_hold_for_a_fallback_list_of_the_shared_catalog(make: Make) -> None:
    old, new = make("interest-first"), make("unified")
    assert new.withdrawn is not None
    arm = Swapped(old, new, frozenset({"control"}))
    asked = requests(new, 1)[0]
    rows = np.arange(60)
    before = old.catalog.items.ids[guarded(arm.stack, asked, rows)]
    new.withdrawn.set(new.catalog.item_rows(before[:1]))
    after = old.catalog.items.ids[guarded(arm.stack, asked, rows)]
    assert before[0] not in after
    assert set(before[1:].tolist()) <= set(after.tolist())


def test_what_one_of_the_stacks_does_not_hold_is_no_candidate() -> None:
    class Every:
        def merge(self, request: Request, found: list[Found]) -> Pool:
            return Pool(np.array([3, 0, 2, 1]), np.array([1, 2, 3, 4], np.uint32), np.array([0.4, 0.3, 0.2, 0.1]))

    held = np.array([True, False, True, True, False])  # the last is for what the shared catalog does not hold
    pool = SideUnion(Every(), held).merge(Request(1, 1, "feed", 0, 3), [])
    assert (pool.rows.tolist(), pool.source_mask.tolist(), pool.fused.tolist()) == (
        [3, 0, 2],
        [1, 2, 3],
        [0.4, 0.3, 0.2],
    )
