"""The as-of join gives the plain twin's bits, whatever comes later in the log and however it is split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_events import EXACT, WINDOWS, Case, cases, plain_exact, plain_lists, plain_values, same_bits

from mainstem.base.errors import FeatureError
from mainstem.features.kernel import grouping
from mainstem.features.kernel.asof import (
    EventColumns,
    RequestColumns,
    as_of,
    as_of_before,
    as_of_list,
    as_of_registers,
    group_requests,
)
from mainstem.features.kernel.reference import PlainEvent, replay
from mainstem.features.kernel.shape import ADD, DECAY, GroupShape, Window


@settings(max_examples=150, deadline=None)
@given(cases())
def test_as_of_is_the_plain_twin_to_the_bit(case: Case) -> None:
    assert same_bits(as_of(case.shape, case.columns(), case.asked(), WINDOWS), plain_values(case))
    assert same_bits(as_of_registers(case.shape, case.columns(), case.asked(), EXACT), plain_exact(case))


@settings(max_examples=200, deadline=None)
@given(cases(ops=(ADD, ADD)))
def test_running_sums_are_the_plain_twin_to_the_bit(case: Case) -> None:
    assert same_bits(as_of(case.shape, case.columns(), case.asked(), WINDOWS), plain_values(case))
    assert same_bits(as_of_registers(case.shape, case.columns(), case.asked(), EXACT), plain_exact(case))


def test_running_sums_move_on_over_one_long_key() -> None:
    rng = np.random.default_rng(5)
    shape = GroupShape(1, (ADD,), (7, 50), (6, 3))
    whens = np.cumsum(rng.integers(0, 9, 400)) - np.where(rng.random(400) < 0.1, rng.integers(0, 60, 400), 0)
    events = tuple(PlainEvent(at, (1,), int(when), (at,)) for at, when in enumerate(whens))
    asked = tuple(((1,), int(whens[at]) + int(rng.integers(0, 6)), at) for at in range(0, 400, 2))
    case = Case(shape, events, asked)
    columns = EventColumns(
        np.ones((400, 1), np.int64), whens.astype(np.int64), np.arange(400)[:, None].astype(np.int64), np.arange(400)
    )
    assert same_bits(as_of(shape, columns, case.asked(), WINDOWS), plain_values(case))


@settings(max_examples=40, deadline=None)
@given(cases(), st.lists(st.sampled_from(range(len(WINDOWS))), max_size=3))
def test_any_few_windows_read_as_among_all(case: Case, picked: list[int]) -> None:
    few = as_of(case.shape, case.columns(), case.asked(), [WINDOWS[at] for at in picked])
    assert same_bits(few, as_of(case.shape, case.columns(), case.asked(), WINDOWS)[:, picked])


@settings(max_examples=100, deadline=None)
@given(cases())
def test_lists_are_the_plain_twin(case: Case) -> None:
    for found, expected in zip(as_of_list(case.shape, case.columns(), case.asked()), plain_lists(case), strict=True):
        assert same_bits(found, expected)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_before_is_the_state_without_the_event_itself(case: Case) -> None:
    expected = []
    for at, event in enumerate(case.events):
        key = replay(case.shape, case.events[:at], 2**62).get(event.key)
        expected.append(key.ever if key is not None else case.shape.identity)
    found = as_of_before(case.shape, case.columns(), threads=2)
    assert found.tolist() == [list(row) for row in expected]


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(0, 60), st.randoms(use_true_random=False))
def test_a_shuffled_future_changes_no_value(case: Case, cut: int, random) -> None:
    past = tuple(event for event in case.events if event.offset < cut)
    future = [event for event in case.events if event.offset >= cut]
    offsets = [event.offset for event in future]
    random.shuffle(future)
    moved = tuple(
        PlainEvent(offset, event.key, event.when, event.inputs, event.fields)
        for offset, event in zip(offsets, future, strict=True)
    )
    asked = tuple((key, now, min(at, cut)) for key, now, at in case.requests)
    one, other = Case(case.shape, case.events, asked), Case(case.shape, past + moved, asked)
    assert same_bits(
        as_of(case.shape, one.columns(), one.asked(), WINDOWS),
        as_of(case.shape, other.columns(), other.asked(), WINDOWS),
    )


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(2, 4))
def test_threads_and_one_shared_sort_change_no_value(case: Case, threads: int) -> None:
    columns, asked = case.columns(), case.asked()
    alone = as_of(case.shape, columns, asked, WINDOWS)
    grouped = group_requests(columns, asked)
    assert same_bits(as_of(case.shape, columns, asked, WINDOWS, grouped=grouped, threads=threads), alone)
    for left, right in zip(
        as_of_list(case.shape, columns, asked, grouped=grouped, threads=threads),
        as_of_list(case.shape, columns, asked),
        strict=True,
    ):
        assert same_bits(left, right)


def test_hashed_keys_group_as_direct_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    events, asked = rng.integers(0, 9, (300, 2)), rng.integers(0, 12, (80, 2))
    position = rng.integers(0, 300, 80)
    direct = grouping.group_rows(events, asked, position)
    monkeypatch.setattr(grouping, "DIRECT_ENTRIES", 1)
    hashed = grouping.group_rows(events, asked, position)
    for name in ("events", "event_starts", "requests", "request_starts"):
        assert np.array_equal(getattr(direct, name), getattr(hashed, name)), name


def _columns(n: int) -> EventColumns:
    return EventColumns(np.zeros((n, 1), np.int64), np.arange(n), np.ones((n, 1), np.int64), np.arange(n))


@pytest.mark.parametrize(
    ("events", "windows", "code"),
    [
        (EventColumns(np.zeros((2, 1), np.int64), np.arange(2), np.ones((2, 1), np.int64), np.array([4, 3])), (Window(),),
         "feature-025"),
        (EventColumns(np.zeros((2, 2), np.int64), np.arange(2), np.ones((2, 1), np.int64), np.arange(2)), (Window(),),
         "feature-021"),
        (_columns(2), (Window(1, 1),), "feature-026"),
        (_columns(2), (Window(0, 6),), "feature-026"),
        (_columns(2), (Window(0, 1, DECAY, (1.0,)),), "feature-026"),
        (_columns(2), (Window(0, 0, DECAY, (float("inf"),)),), "feature-026"),
    ],
)  # fmt: skip
def test_what_has_no_one_meaning_is_refused(events: EventColumns, windows: tuple[Window, ...], code: str) -> None:
    asked = RequestColumns(np.zeros((1, 1), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(FeatureError) as refusal:
        as_of(GroupShape(1, (ADD,), (7,), (6,)), events, asked, windows)
    assert refusal.value.code == code
    assert refusal.value.hint
