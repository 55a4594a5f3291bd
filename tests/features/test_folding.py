"""Folds: any cut of the log gives the same state, offline equals online in every bit, later sources see what a step tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from mainstem.base.errors import FeatureError, StoreError
from mainstem.features.attributes import AttributeTable
from mainstem.features.backfill import Backfill, Requests
from mainstem.features.events import Events
from mainstem.features.kernel.slots import KeyRows
from mainstem.features.language.aggregate import count, total
from mainstem.features.language.feature import Attribute, Context, Feature
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.fold import Fold, listed, number, vector
from mainstem.features.language.plan import Plan
from mainstem.features.language.source import Source
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading

PLACES = 3


@njit(cache=True, nogil=True)
def fade(state, rows, inputs, told, beside):
    """Says how much each event adds to a sum that fades by a tenth, and keeps the last three things and a direction."""
    for at in range(rows.size):
        one = state[rows[at]]
        before = one[0]
        one[0] = 0.9 * one[0] + inputs[at, 1] * 0.1
        for place in range(PLACES - 1, 0, -1):
            one[1 + place] = one[place]
        one[1] = inputs[at, 0]
        for axis in range(2):
            one[4 + axis] += beside[0][np.int64(inputs[at, 2]), axis] * 0.3
        if inputs[at, 1] > 0:
            told[at, 0] = one[0] - before


SHOWN = Source("shown", columns={"user_id": "int64", "item_id": "int64", "time_ms": "int64", "good": "int64"})
FELT = Source("felt", columns=SHOWN.columns, stream="shown", sees=("mood.change",), where="known(mood.change)")
FADING = Fold(
    state={"level": number(), "item": listed(PLACES), "way": vector(2)},
    takes={"item": "item_id", "good": "good", "row": "item_row"},
    run=fade,
    tells=("change",),
    beside=("items.place",),
)
SET = FeatureSet(
    (
        Feature("user_id", Context()),
        Feature("now_ms", Context()),
        Feature("item_id", Context(per="candidate")),
        Feature("item_row", Attribute("items", "row", "item_id")),
        Feature("place", Attribute("items", "place", "item_id")),
        Feature("mood", FADING, over="user_id", source=SHOWN),
        Feature("changed", total("mood.change"), over="item_id", source=FELT),
        Feature("felt_times", count(), over="item_id", source=FELT),
        Feature("level", "mood.level"),
        Feature("same", "count(mood.item == item_id)"),
        Feature("likeness", "dot(mood.way, place)"),
        Feature("newest_row", "at(mood.item, 0)"),
        Feature("newest_weight", Attribute("items", "weight", "newest_row")),
    )
)
WANTED = ("level", "same", "likeness", "changed", "felt_times", "newest_weight")
ITEMS = 6
TABLES = {
    "items": AttributeTable.of(
        np.arange(ITEMS),
        {
            "row": np.append(np.arange(ITEMS, dtype=np.float64), ITEMS),
            "weight": np.append(np.arange(ITEMS) * 1.5, np.nan),
            "place": np.vstack([np.random.default_rng(3).normal(size=(ITEMS, 2)), np.zeros((1, 2))]),
        },
    )
}


def _events(rows: list[tuple[int, int, int]]) -> Events:
    user, item, good = np.array(rows, np.int64).reshape(-1, 3).T
    columns = {"user_id": user, "item_id": item, "good": good, "time_ms": 1_000 * np.arange(len(user))}
    return Events(np.arange(len(user)), columns)


def _given(users: np.ndarray, items: np.ndarray) -> dict[str, np.ndarray]:
    return {"user_id": users, "now_ms": np.full(len(users), 10**9), "item_id": items[:, None]}


ROWS = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, ITEMS), st.integers(0, 1)), min_size=1, max_size=40)


@settings(max_examples=40)
@given(rows=ROWS, cut=st.integers(1, 7))
def test_the_past_is_what_the_live_state_said(rows: list[tuple[int, int, int]], cut: int) -> None:
    events, plan = _events(rows), Plan(SET)
    live, reading = LiveState(plan, TABLES), Reading(plan, TABLES, WANTED)
    users, items = np.resize(np.arange(-1, 5), 24), np.resize(np.arange(ITEMS + 1), 24)
    seen, said = [], []
    for start in range(0, len(events), cut):
        live.apply("shown", events.take(slice(start, start + cut)))
        values = live.read(reading, _given(users, items))
        said.append([np.ravel(np.broadcast_to(values[n].reshape(24, -1), (24, 1))) for n in WANTED])
        seen.append(min(start + cut, len(events)))
    asked = Requests(_given(np.tile(users, len(seen)), np.tile(items, len(seen))), np.repeat(seen, 24))
    past = Backfill(plan, TABLES, {"shown": events}).values(reading, asked)
    for at, name in enumerate(WANTED):
        np.testing.assert_array_equal(past[name], np.concatenate([one[at] for one in said]), err_msg=name)


@settings(max_examples=40)
@given(rows=ROWS, cut=st.integers(1, 7))
def test_any_cut_of_the_log_gives_the_same_state(rows: list[tuple[int, int, int]], cut: int) -> None:
    events, plan = _events(rows), Plan(SET)
    whole, parts = LiveState(plan, TABLES), LiveState(plan, TABLES)
    whole.apply("shown", events)
    for start in range(0, len(events), cut):
        parts.apply("shown", events.take(slice(start, start + cut)))
    for name, array in whole.arrays().items():
        if name != "head":
            np.testing.assert_array_equal(array, parts.arrays()[name], err_msg=name)


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    rows = np.stack([draw.integers(0, 90, 400), draw.integers(0, ITEMS, 400), draw.integers(0, 2, 400)], axis=1)
    events, plan = _events(rows.tolist()), Plan(SET)
    first, again = LiveState(plan, TABLES), LiveState(plan, TABLES)
    first.apply("shown", events.take(slice(0, 300)))
    first.save(tmp_path / "state.npz")
    again.load(tmp_path / "state.npz")
    for one in (first, again):
        one.apply("shown", events.take(slice(250, None)))
    given, reading = _given(np.arange(90), np.resize(np.arange(ITEMS), 90)), Reading(plan, TABLES, WANTED)
    for name in WANTED:
        np.testing.assert_array_equal(first.read(reading, given)[name], again.read(reading, given)[name])
    other = Fold(FADING.state, FADING.takes, fade, FADING.tells, FADING.beside, version=2)
    changed = FeatureSet([Feature("mood", other, over="user_id", source=SHOWN) if f.name == "mood" else f for f in SET])
    with pytest.raises(StoreError, match="not one of these definitions"):
        LiveState(Plan(changed), TABLES).load(tmp_path / "state.npz")


@settings(max_examples=40)
@given(keys=st.lists(st.tuples(st.integers(-1, 9), st.integers(0, 9)), max_size=300))
def test_each_key_has_one_row(keys: list[tuple[int, int]]) -> None:
    rows, plain = KeyRows(2), dict[tuple[int, int], int]()
    for start in range(0, len(keys), 17):
        some = keys[start : start + 17]
        made = rows.made(np.array(some, np.int64).reshape(-1, 2))
        assert made.tolist() == [-1 if min(key) < 0 else plain.setdefault(key, len(plain)) for key in some]
    every = np.array([(a, b) for a in range(-1, 11) for b in range(10)], np.int64)
    assert rows.find(every).tolist() == [plain.get((int(a), int(b)), -1) for a, b in every]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(FeatureError, match="lists of"):
        Fold({"a": listed(2), "b": listed(3)}, {}, fade)
    with pytest.raises(FeatureError, match="both kept and told"):
        Fold({"a": number()}, {}, fade, tells=("a",))
    changed = [Feature("mood", FADING, over="item_id", source=SHOWN) if f.name == "mood" else f for f in SET]
    plan = Plan(FeatureSet(changed))
    with pytest.raises(FeatureError, match="keeps lists") as refused:
        Reading(plan, TABLES, WANTED)
    assert refused.value.code == "feature-006"
    few = {"items": AttributeTable.of(np.arange(1), {"row": np.zeros(2), "weight": np.zeros(2)})}
    with pytest.raises(FeatureError) as missing:
        LiveState(Plan(FeatureSet([f for f in SET if f.name in ("user_id", "item_id", "item_row", "mood")])), few)
    assert missing.value.code == "feature-032"


def test_a_changed_step_changes_the_meaning_and_its_comments_do_not() -> None:
    assert FADING.described()["text"] == Fold({"x": number()}, {}, fade).described()["text"]
    assert FADING.place("way") == slice(4, 6)
    assert (
        SET.fingerprints["mood"]
        != FeatureSet(
            [
                Feature("user_id", Context()),
                Feature("mood", Fold({"x": number()}, {}, fade), over="user_id", source=SHOWN),
            ]
        ).fingerprints["mood"]
    )


def test_steps_are_kept_longer_than_their_windows_and_read_one_by_one(tmp_path: Path) -> None:
    hour = 3_600_000
    hours = Feature(
        "hours", count(), over="item_id", source=SHOWN, windows=("2h",), align="clock", step="1h", kept="6h"
    )
    context = (Feature("now_ms", Context()), Feature("item_id", Context(per="candidate")))
    keys = np.array([[0], [1], [-1]])
    for kept, wanted in (("6h", 1.0), ("", 0.0)):
        one = replace(hours, kept=kept)
        live = LiveState(Plan(FeatureSet((*context, one))), {})
        columns = {"user_id": np.zeros(2, np.int64), "item_id": np.zeros(2, np.int64), "good": np.zeros(2, np.int64)}
        live.apply("shown", Events(np.arange(2), columns | {"time_ms": np.array([10 * hour, 15 * hour])}))
        assert live.read_one("hours", keys, 10 * hour).tolist() == [wanted, 0.0, 0.0]
    live.save(tmp_path / "state.npz", {"waiting": np.arange(3)})
    assert live.load(tmp_path / "state.npz")["waiting"].tolist() == [0, 1, 2]
