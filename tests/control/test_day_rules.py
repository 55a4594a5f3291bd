"""Day caps, fatigue and blocks by themselves: against a plain loop, and with every state a lookup can be in."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import StoreError
from mainstem.base.request import Pool, Request
from mainstem.control.blocked import Blocked, Unwanted
from mainstem.control.day import DayCap, Shown
from mainstem.control.fatigue import Fatigue
from mainstem.control.filters import Integrity, Seen
from mainstem.control.lookups import EMPTY, FAILED, KNOWN, Answer, Failing, LookedUp

REQUEST = Request(1, 1, "feed", 0, 5)
ITEMS = 12


class Day:
    def __init__(self, shown: list[int], broken: bool = False) -> None:
        rows = np.array(shown, np.int64)
        self.shown, self.broken = Shown(rows, np.unique(rows), rows), broken

    def of(self, request):
        if self.broken:
            raise StoreError("found no disk, expected one", code="store-004")
        return self.shown


def pool_of(rows) -> Pool:
    rows = np.array(rows, np.int64)
    return Pool(rows, np.zeros(len(rows), np.uint32), np.zeros(len(rows)))


def left_plainly(rows, today, codes, originals, most) -> list[int]:
    """One candidate after the other: it stays when its original was shown today, stays already, or has room."""
    shown, left = set(today), []
    for row in rows:
        original = int(originals[row])
        code = int(codes[original])
        if code > 0 and original not in shown:
            if sum(codes[one] == code for one in shown) >= most:
                continue
            shown.add(original)
        left.append(row)
    return left


@given(st.data())
def test_a_day_cap_leaves_what_a_plain_loop_leaves(data):
    draw = data.draw
    codes = np.array([*draw(st.lists(st.integers(0, 3), min_size=ITEMS, max_size=ITEMS)), 0], np.int32)
    originals = np.arange(ITEMS + 1)
    originals[-1] = -1
    for repost in draw(st.sets(st.integers(6, ITEMS - 1))):
        originals[repost] = draw(st.integers(0, 5))
    today = [int(originals[one]) for one in draw(st.lists(st.integers(0, ITEMS - 1), max_size=6))]
    rows = draw(st.lists(st.integers(-1, ITEMS - 1), unique=True))
    most = draw(st.integers(1, 4))
    removed = DayCap("creator", most, codes, originals, Day(today)).removes(REQUEST, None, pool_of(rows))
    left = [row for row, gone in zip(rows, removed.tolist(), strict=True) if not gone]
    assert left == left_plainly(rows, set(today), codes, originals, most)


def test_a_cap_covers_only_candidates_with_a_known_value():
    codes, own = np.array([1, 1, 0, 2, 0], np.int32), np.array([0, 1, 2, 3, -1])
    broken = Day([], broken=True)
    closed = DayCap("creator", 1, codes, own, broken, closed=True)
    assert closed.removes(REQUEST, None, pool_of([0, 1, 2, 3, -1])).tolist() == [True, True, False, True, False]
    assert closed.failed == 1
    assert not DayCap("creator", 1, codes, own, broken).removes(REQUEST, None, pool_of([0, 1, 2, 3])).any()


def test_fatigue_lowers_good_and_bad_alike_and_never_lifts():
    own, creators = np.array([0, 1, 2, 3, -1]), np.array([1, 1, 2, 0, 0])
    tired = Fatigue(0.5, creators, own, Day([0, 1, 3]))
    values = np.array([4.0, -4.0, 3.0, 2.0])
    assert tired.boost(REQUEST, None, pool_of([0, 1, 2, 3]), values).tolist() == [-3.0, -3.0, 0.0, 0.0]
    rested = Fatigue(0.5, creators, own, Day([], broken=True))
    assert not rested.boost(REQUEST, None, pool_of([0, 1]), values[:2]).any()


@given(
    st.lists(st.tuples(st.sampled_from([KNOWN, EMPTY, FAILED]), st.booleans(), st.booleans())),
    st.booleans(),
    st.booleans(),
)
def test_each_state_of_an_answer_has_its_own_consequence(answers, closed, needs_answer):
    states = np.array([state for state, _, _ in answers], np.int8)
    forbids = np.array([forbid for _, forbid, _ in answers], bool)
    covers = np.array([cover for _, _, cover in answers], bool)
    lookup = SimpleNamespace(
        name="made", look=lambda *given: Answer(states, forbids, covers), covers=lambda pool: covers
    )
    rule = LookedUp("made", lookup, closed=closed, needs_answer=needs_answer)
    removed = rule.removes(REQUEST, None, pool_of(range(len(answers)))).tolist()
    for (state, forbid, cover), gone in zip(answers, removed, strict=True):
        expected = {KNOWN: forbid, EMPTY: closed and needs_answer, FAILED: closed}[state]
        assert gone == (cover and expected)


def test_no_verdict_is_not_a_pass_where_safety_is_closed():
    states = np.array([0, 1, -1, -1], np.int8)
    assert Integrity(states, closed=True).removes(REQUEST, None, pool_of([0, 1, 2, -1])).tolist() == [
        False,
        True,
        True,
        True,
    ]
    assert Integrity(states, closed=False).removes(REQUEST, None, pool_of([0, 1, 2, -1])).tolist() == [
        False,
        True,
        False,
        False,
    ]


def test_what_is_known_to_be_seen_stays_away_even_when_the_other_memory_failed():
    memory = SimpleNamespace(seen_rows=lambda user, last: np.array([1])[:last])
    rule = Seen(memory, last=5, catalog_size=4, originals=np.array([0, 1, 2, 1, -1]), days=Day([], broken=True))
    assert rule.removes(REQUEST, None, pool_of([0, 1, 2, 3])).tolist() == [False, True, False, True]
    closed = Seen(memory, last=5, catalog_size=4, days=Day([], broken=True), closed=True)
    assert closed.removes(REQUEST, None, pool_of([0, 1])).all()


def test_blocked_is_known_empty_for_others_and_failed_when_unread():
    def unread(user_id):
        raise ConnectionError("no list")

    own, creators = np.array([0, 1, -1]), np.array([1, 2, 0])
    held = SimpleNamespace(of=lambda user_id: Unwanted(np.array([2]), np.array([], np.int64)) if user_id == 1 else None)
    rows = pool_of([0, 1, -1])
    assert Blocked(held, creators, own).removes(REQUEST, None, rows).tolist() == [False, True, False]
    assert not Blocked(held, creators, own).removes(Request(1, 2, "feed", 0, 5), None, rows).any()
    assert Blocked(SimpleNamespace(of=unread), creators, own).removes(REQUEST, None, rows).all()
    assert not Blocked(SimpleNamespace(of=unread), creators, own, closed=False).removes(REQUEST, None, rows).any()


def test_a_drill_fails_in_the_same_places_again():
    states = np.ones(200, np.int8)
    lookup = SimpleNamespace(
        name="made", look=lambda *given: Answer(states, np.zeros(200, bool)), covers=lambda pool: None
    )
    drill = Failing(lookup, 0.3, 5)
    whole = [number for number in range(100) if _raises(drill, Request(number, 1, "feed", 0, 5))]
    assert 15 <= len(whole) <= 45
    standing = next(number for number in range(100) if number not in whole)
    one, two = (drill.look(Request(standing, 1, "feed", 0, 5), None, pool_of(range(200))).states for _ in range(2))
    assert one.tolist() == two.tolist()
    assert 0.2 < (one == FAILED).mean() < 0.4


def _raises(drill, request) -> bool:
    try:
        drill.look(request, None, pool_of(range(200)))
    except ConnectionError:
        return True
    return False


def test_a_drill_of_everything_raises():
    with pytest.raises(ConnectionError):
        Failing(SimpleNamespace(name="x"), 1.0).look(REQUEST, None, pool_of([]))
