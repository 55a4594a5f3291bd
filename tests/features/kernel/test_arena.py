"""The arena gives the plain twin's bits, however events are batched, packed, snapshotted or squeezed for room."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import EXACT, OPS, WINDOWS, Case, cases, event_rows, plain_exact, plain_lists, plain_values, same_bits

from mainstem.base.errors import FeatureError
from mainstem.features.kernel.arena import Arena, ArenaFullError
from mainstem.features.kernel.memory import TOP
from mainstem.features.kernel.reference import PlainEvent
from mainstem.features.kernel.shape import (
    ADD,
    BYTEMAX,
    MIN,
    UNTIMED,
    EventLayout,
    GroupColumns,
    GroupShape,
    Window,
)

SECOND = GroupShape(2, (ADD,), (5,), (4,), 3, 1)
SMALL = GroupShape(1, (ADD, ADD), (7,), (6,), 4, 1)


def by_arena(case: Case, *, splits: int = 1, disturb: bool = False) -> tuple[list, list, list]:
    """Values, exact words and lists of each request, read when the events before its offset are applied."""
    arena = Arena((SECOND, case.shape), capacity_words=0)
    rows, offsets = event_rows(arena.layout, 1, case.events), [event.offset for event in case.events]
    out: tuple[list, list, list] = ([], [], [])
    done = 0
    order = sorted(range(len(case.requests)), key=lambda at: case.requests[at][2])
    for at in order:
        key, now, as_of = case.requests[at]
        upto = sum(offset < as_of for offset in offsets)
        for part in np.array_split(rows[done:upto], splits):
            arena.apply(part)
        done = upto
        if disturb:
            arena = moved(arena, key)
        keys = np.array([key], np.int64)
        out[0].append(arena.read(1, keys, now, WINDOWS)[0])
        out[1].append(arena.read_registers(1, keys, now, EXACT)[0])
        out[2].append(arena.read_list(1, keys))
    back = np.argsort(order, kind="stable").tolist()
    return tuple([column[at] for at in back] for column in out)


def moved(arena: Arena, key: tuple[int, ...]) -> Arena:
    """The same state after a key was packed, dropped and put back, in another arena made from a snapshot."""
    blob = arena.blob(1, key)
    assert arena.drop(1, key) == (blob is not None)
    if blob is not None:
        assert not arena.known(1, np.array([key], np.int64))[0]
        arena.put_blob(1, key, blob)
        assert arena.blob(1, key) == blob
    other = Arena(arena.shapes, capacity_words=0)
    other.restore(arena.snapshot())
    return other


def check(case: Case, found: tuple[list, list, list]) -> None:
    if case.requests:
        assert same_bits(np.array(found[0]), plain_values(case))
        assert same_bits(np.array(found[1]), plain_exact(case))
        for j, expected in enumerate(plain_lists(case)):
            assert same_bits(np.concatenate([lists[j] for lists in found[2]]), expected)


@settings(max_examples=80, deadline=None)
@given(cases(), st.integers(1, 4))
def test_the_arena_is_the_plain_twin_to_the_bit(case: Case, splits: int) -> None:
    check(case, by_arena(case, splits=splits))


@settings(max_examples=50, deadline=None)
@given(cases())
def test_packing_and_snapshots_change_no_value(case: Case) -> None:
    check(case, by_arena(case, disturb=True))


def rows_of(arena: Arena, group: int, events: list[tuple[int, int]], start: int = 0) -> np.ndarray:
    """Events of (key, when) with inputs of ones."""
    shape = arena.shapes[group]
    made = tuple(
        PlainEvent(start + at, (key,) * shape.key_width, when, (1,) * shape.inputs, (at,) * shape.list_fields)
        for at, (key, when) in enumerate(events)
    )
    return event_rows(arena.layout, group, made)


def test_one_event_reaches_all_the_groups_it_concerns_through_shared_columns() -> None:
    layout = EventLayout(
        6,
        0,
        (GroupColumns((2,), 1, (4, 5)), GroupColumns((3, 2), 1, (5,), (4,), counts=4)),
    )
    arena = Arena((GroupShape(1, (ADD, MIN)), GroupShape(2, (ADD,), (), (), 2, 1)), layout=layout)
    rows = np.array([[0, 10, 7, 8, 1, 5], [1, 11, 7, 8, 0, 3]], np.int64)
    before = arena.apply(rows, before=0)
    assert before.tolist() == [[0, 2**63 - 1], [1, 5]]
    assert arena.read(0, np.array([[7]]), 0, (Window(),))[0, 0].tolist() == [1.0, 3.0]
    assert arena.read(1, np.array([[8, 7]]), 0, (Window(),))[0, 0].tolist() == [5.0]
    assert arena.read_list(1, np.array([[8, 7]]))[2].tolist() == [[[1], [0]]]
    assert arena.known(1, np.array([[8, 7], [7, 8]])).tolist() == [True, False]


def test_before_is_the_identity_where_an_event_does_not_concern_the_group() -> None:
    arena = Arena((SMALL, SMALL))
    rows = np.concatenate([rows_of(arena, 0, [(1, 0), (1, 1)]), rows_of(arena, 1, [(1, 2)], 2)])
    assert arena.apply(rows, before=0).tolist() == [[0, 0], [1, 1], [0, 0]]


def test_growth_changes_no_value_and_many_keys_are_all_found() -> None:
    arena = Arena((SMALL,), capacity_words=0, track=True)
    arena.apply(rows_of(arena, 0, [(key % 5000, key) for key in range(20_000)]))
    keys = np.arange(5000)[:, None]
    assert (arena.read(0, keys, UNTIMED, (Window(),))[:, 0, 0] == 4).all()
    assert sorted(arena.keys_of(0)[:, 0].tolist()) == list(range(5000))
    assert len(arena.dirty()) == 5000
    for key in range(0, 5000, 2):
        assert arena.drop(0, (key,))
    assert arena.known(0, keys).tolist() == [key % 2 == 1 for key in range(5000)]
    assert arena.keys == (2500,)


def test_dirty_names_each_touched_key_once_and_dropped_ones_too() -> None:
    arena = Arena((SMALL, SECOND), track=True)
    arena.apply(np.concatenate([rows_of(arena, 0, [(1, 0), (2, 0), (1, 1)]), rows_of(arena, 1, [(4, 0)], 3)]))
    assert arena.dirty() == [(0, (1,)), (0, (2,)), (1, (4, 4))]
    assert arena.dirty() == []
    arena.drop(0, (2,))
    assert not arena.drop(0, (9,))
    arena.apply(rows_of(arena, 0, [(2, 3), (1, 3)], 9))
    assert arena.dirty() == [(0, (2,)), (0, (1,))]
    silent = Arena((SMALL,))
    silent.apply(rows_of(silent, 0, [(1, 0)]))
    assert silent.dirty() == []


def test_expiry_drops_old_keys_and_old_tiles_and_leaves_the_rest() -> None:
    arena = Arena((SMALL, SECOND), ttls_ms=(100, None))
    arena.apply(rows_of(arena, 0, [(1, 0), (2, 150), (3, UNTIMED)]))
    arena.apply(rows_of(arena, 1, [(1, 0)], 3))
    used = arena.words_used
    assert arena.expire([160, 160]) == 1
    assert arena.known(0, np.array([[1], [2], [3]])).tolist() == [False, True, True]
    assert arena.words_used < used
    assert arena.read(1, np.array([[1, 1]]), 160, (Window(), Window(0, 3)))[0, :, 0].tolist() == [1.0, 0.0]
    assert arena.read(0, np.array([[2]]), 160, (Window(0, 5),))[0, 0].tolist() == [1.0, 1.0]
    assert arena.expire(lambda group: (1000, UNTIMED)[group]) == 1


def test_freed_words_are_used_again() -> None:
    arena = Arena((SMALL,), ttls_ms=(50,), capacity_words=0, limit_words=4000)
    for start in range(0, 3000, 10):
        arena.apply(rows_of(arena, 0, [(start + at, start) for at in range(10)], start))
    assert arena.words_held <= 4000
    assert arena.read(0, np.array([[2995]]), 2999, (Window(0, 5),))[0, 0].tolist() == [1.0, 1.0]


def test_at_the_limit_whole_events_stay_and_the_error_names_the_fullest_group() -> None:
    arena = Arena((SMALL, SMALL), capacity_words=0, limit_words=4000)
    pairs = [rows_of(arena, group, [(key, 0) for key in range(300)]) for group in (0, 1)]
    both = pairs[0] + pairs[1]
    both[:, arena.layout.offset] = np.arange(300)
    both[:5, arena.layout.groups[1].counts] = 0
    with pytest.raises(ArenaFullError) as refusal:
        arena.apply(both)
    applied = refusal.value.applied
    assert refusal.value.code == "feature-022"
    assert "group 0" in str(refusal.value)
    assert arena.keys == (applied, applied - 5)
    assert arena.known(0, np.arange(300)[:, None]).sum() == applied
    assert arena.words_held <= 4000
    blob = arena.blob(0, (1,))
    assert blob is not None
    with pytest.raises(ArenaFullError):
        put_many(arena, blob)
    assert (arena.read(0, np.arange(applied)[:, None], 0, (Window(),)) == 1).all()


@pytest.mark.parametrize("limit", range(900, 1500, 24))
def test_runs_that_grow_near_the_limit_stay_within_it(limit: int) -> None:
    arena = Arena((SMALL,), capacity_words=0, limit_words=limit)
    rows = rows_of(arena, 0, [(at % 5, 7 * (at // 5) + at % 3) for at in range(60)])
    extra = rows_of(arena, 0, [(100 + at, 90) for at in range(60)], 60)
    with pytest.raises(ArenaFullError):
        arena.apply(np.concatenate([rows, extra]))
    assert int(arena.snapshot()["memory"][TOP]) <= arena.words_held == limit
    other, keys = Arena((SMALL,)), np.arange(5)[:, None]
    other.apply(rows)
    if arena.read(0, keys, 0, (Window(),))[:, 0, 0].sum() == len(rows):
        windows = (Window(), Window(0, 5), Window(0, 2))
        assert same_bits(arena.read(0, keys, 90, windows), other.read(0, keys, 90, windows))
        assert same_bits(arena.read_list(0, keys)[2], other.read_list(0, keys)[2])


def put_many(arena: Arena, blob: bytes) -> None:
    for key in range(1000, 1300):
        arena.put_blob(0, (key,), blob)


def test_blobs_of_another_shape_version_or_length_are_refused() -> None:
    arena = Arena((SMALL, GroupShape(1, (ADD, ADD), (7,), (7,), 4, 1)))
    arena.apply(rows_of(arena, 0, [(1, 0), (1, 20)]))
    blob = arena.blob(0, (1,))
    assert blob is not None
    assert arena.blob(0, (2,)) is None
    longer = np.frombuffer(blob, "<i8").copy()
    longer[0] = 2
    for group, bad in ((1, blob), (0, longer.tobytes()), (0, blob[:-8]), (0, blob[:-3]), (0, b""), (0, blob + blob)):
        with pytest.raises(FeatureError) as refusal:
            arena.put_blob(group, (1,), bad)
        assert refusal.value.code == "feature-023"
    assert arena.blob(0, (1,)) == blob


def test_a_snapshot_of_other_groups_is_refused() -> None:
    with pytest.raises(FeatureError) as refusal:
        Arena((SMALL,)).restore(Arena((SECOND,)).snapshot())
    assert refusal.value.code == "feature-024"


def test_a_restored_arena_reads_rows_by_its_own_layout() -> None:
    arena = Arena((SMALL,), track=True)
    arena.apply(rows_of(arena, 0, [(1, 0)]))
    other = Arena((SMALL,), layout=EventLayout(5, 0, (GroupColumns((1,), 2, (3, 3), (4,)),)), track=True)
    other.restore(arena.snapshot())
    other.apply(np.array([[1, 1, 5, 1, 9]], np.int64))
    assert other.read(0, np.array([[1]]), 5, (Window(0, 1),))[0, 0].tolist() == [2.0, 2.0]
    assert other.dirty() == [(0, (1,))]


def test_wrong_arrays_windows_shapes_and_layouts_are_refused() -> None:
    arena = Arena((SMALL,))
    keys = np.zeros((1, 1), np.int64)
    decay = (Window(0, 0, 2, (1.0,)),)
    refusals = [
        ("feature-021", lambda: arena.apply(np.zeros((1, 3), np.int64))),
        ("feature-021", lambda: arena.apply(np.zeros((1, arena.layout.width)))),  # pyright: ignore
        ("feature-021", lambda: arena.read(0, np.zeros((1, 2), np.int64), 0, (Window(),))),
        ("feature-021", lambda: arena.read(0, keys, np.zeros(2, np.int64), (Window(),))),
        ("feature-021", lambda: arena.read(0, keys, 0, (Window(),), np.zeros((1, 1, 1)))),
        ("feature-026", lambda: arena.read(0, keys, 0, (Window(0, 9),))),
        ("feature-026", lambda: arena.read_registers(0, keys, 0, decay)),
        ("feature-020", lambda: Arena((SMALL,), ttls_ms=())),
        ("feature-020", lambda: Arena((SMALL,), layout=EventLayout(4, 0, ()))),
        ("feature-020", lambda: Arena((SMALL,), layout=EventLayout(4, 0, (GroupColumns((1,), 2, (3,)),)))),
        ("feature-020", lambda: Arena((SMALL,), layout=EventLayout(4, 0, (GroupColumns((1,), 9, (3, 3), (3,)),)))),
        ("feature-020", lambda: GroupShape(4, (ADD,))),
        ("feature-020", lambda: GroupShape(1, (BYTEMAX + 1,))),
        ("feature-020", lambda: GroupShape(1, (ADD,), (5,), ())),
        ("feature-020", lambda: GroupShape(1, (ADD,), list_k=-1)),
    ]
    for code, call in refusals:
        with pytest.raises(FeatureError) as refusal:
            call()
        assert refusal.value.code == code


def test_all_ops_are_covered_by_the_random_cases() -> None:
    assert set(OPS) == {0, 1, 2, 3}
