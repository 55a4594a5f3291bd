"""Readings with memory of their own say what a plain read says; a mirror holds what the state holds."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import FeatureError
from mainstem.features.attributes import AttributeTable, dense
from mainstem.features.events import Events
from mainstem.features.held import HeldReading
from mainstem.features.language.aggregate import Latest, count, largest, total
from mainstem.features.language.feature import Attribute, Context, Feature
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Plan
from mainstem.features.language.source import Source
from mainstem.features.live import LiveState
from mainstem.features.mirror import Mirror
from mainstem.features.steps import Arrays

WATCHED = Source(
    "watched", {"user_id": "int64", "item_id": "int64", "time_ms": "int64", "watch_s": "float64"}, stream="s"
)
FEATURES = FeatureSet(
    (
        Feature("user_id", Context()),
        Feature("now_ms", Context()),
        Feature("surface", Context()),
        Feature("item_id", Context(per="candidate")),
        Feature("creator", Attribute("items", "creator", "item_id")),
        Feature("vector", Attribute("items", "vector", "item_id")),
        Feature("surface_vector", Attribute("surfaces", "vector", "surface")),
        Feature("slot", "surface * 2"),
        Feature("weight", Attribute("slots", "weight", "slot")),
        Feature("events", count(), over="creator", source=WATCHED),
        Feature("watched", total("watch_s"), over="creator", source=WATCHED),
        Feature("newest", largest("time_ms"), over="creator", source=WATCHED),
        Feature("lately", count(), over="item_id", source=WATCHED, windows=("1d",)),
        Feature("kept", Latest(5, {"watch_s": "watch_s"}), over="user_id", source=WATCHED),
        Feature("mine", "mean(kept.watch_s) * weight"),
        Feature("long", "where(kept.watch_s > 1, kept.watch_s, empty)"),
        Feature("score", "watched / (events + 1) + lately * weight + dot(vector, surface_vector)"),
        Feature("against", "sum(where(kept.watch_s > score, 1, 0))"),
    )
)
COLUMNS = ("mine", "long", "score", "against", "newest")


def _tables() -> dict[str, AttributeTable]:
    draw = np.random.default_rng(0)
    return {
        "items": dense({"creator": np.append(np.arange(30.0) % 7, np.nan), "vector": draw.normal(size=(31, 3))}),
        "surfaces": dense({"vector": draw.normal(size=(4, 3))}),
        "slots": dense({"weight": np.arange(8.0)}),
    }


def _state(n: int = 300) -> LiveState:
    draw, state = np.random.default_rng(3), LiveState(Plan(FEATURES), _tables())
    columns = {"user_id": draw.integers(0, 8, n), "item_id": draw.integers(0, 30, n)}
    columns |= {"time_ms": 10**12 + np.arange(n) * 10**6, "watch_s": draw.uniform(0, 9, n)}
    state.apply("s", Events(np.arange(n, dtype=np.int64), columns))
    return state


def _given(user: int, surface: int, items: np.ndarray) -> Arrays:
    numbers = {"user_id": user, "surface": surface, "now_ms": 10**12 + 3 * 10**8}
    return {name: np.array([number]) for name, number in numbers.items()} | {"item_id": items[None, :]}


@pytest.mark.parametrize("still", [(), ("surface",)])
def test_a_held_reading_says_what_a_plain_read_says_however_many_are_asked(still: tuple[str, ...]) -> None:
    state, draw = _state(), np.random.default_rng(1)
    held = HeldReading(state, COLUMNS, still)
    flat = HeldReading(state, ("score", "mine", "against"), still)
    for n in (3, 1, 700, 12, 0):
        given = _given(int(draw.integers(9)), int(draw.integers(3)), draw.integers(0, 33, n))
        plain = state.read(held.reading, given) if n else {}
        found, matrix = held.values(given, n), flat.matrix(given, n)
        for name in COLUMNS if n else ():
            np.testing.assert_array_equal(found[name], plain[name])
        for at, name in enumerate(("score", "mine", "against") if n else ()):
            np.testing.assert_array_equal(matrix[:, at], np.broadcast_to(plain[name].ravel(), n))


def test_what_one_reading_found_another_does_not_read_again() -> None:
    state = _state()
    first, second = HeldReading(state, ("mine", "long")), HeldReading(state, ("mine",))
    given = _given(3, 1, np.arange(4))
    found = first.values(given, 4)
    assert {"kept.watch_s", "weight"} <= second.needs & set(found)
    found["kept.watch_s"] = np.full((1, 5), 2.0)
    np.testing.assert_array_equal(second.values({**given, **found}, 4)["mine"], 2.0 * found["weight"])


def test_a_mirror_holds_what_the_state_holds_once_it_is_told() -> None:
    state = _state()
    reading = HeldReading(state, ("watched", "events", "newest"))
    mirror = Mirror(state, reading.reading, "creator", 9)

    def agrees() -> bool:
        given = _given(1, 1, np.arange(9)) | {"creator": np.arange(9)[None, :]}
        return np.array_equal(
            reading.matrix({**given, **mirror.read(np.arange(9))}, 9), reading.matrix(given, 9), equal_nan=True
        )

    assert agrees()
    columns = {"user_id": [1], "item_id": [4], "time_ms": [10**12 + 5 * 10**8], "watch_s": [7.0]}
    state.apply("s", Events(np.array([300]), {name: np.array(held) for name, held in columns.items()}))
    assert not agrees()
    mirror.refresh(np.array([4]))
    assert agrees()


def test_windows_are_not_mirrored() -> None:
    state = _state(10)
    with pytest.raises(FeatureError, match="keys windows") as refused:
        Mirror(state, HeldReading(state, ("lately",)).reading, "item_id", 30)
    assert refused.value.code == "feature-006"
