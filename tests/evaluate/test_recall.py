"""Recall by hand: what each source finds, what the union finds, and what it loses without each."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.evaluate.recall import UNION, Offered, recall_table

SOURCES = ("a", "b", "c")


def plain(surface: str, found) -> np.ndarray:
    """A union that takes the sources one after the other."""
    return np.array(list(dict.fromkeys(row for rows in found for row in rows.tolist())), np.int64)


def offered(user: int, taken: list[int], *, cold: int = -1, new: bool = False) -> Offered:
    found = (np.arange(0, 100), np.arange(90, 190), np.arange(185, 785))
    rows = np.array(taken)
    return Offered(user, "feed", found, rows, rows == cold, new)


@pytest.fixture
def table():
    asked = [offered(user, [5, 95, 150, 300, 9_999]) for user in range(40)]
    asked += [offered(user, [150], cold=150, new=True) for user in range(10)]
    return recall_table(SOURCES, lambda surface, name: 300, asked, plain, protocol="p", joined="plain")


def test_recall_is_the_share_of_targets_among_the_first_candidates(table):
    a, b, c = (table.of(name).recall for name in SOURCES)
    assert a[100].mid == pytest.approx(80 / 210)
    assert b[100].mid == pytest.approx(90 / 210)
    assert (c[100].mid, c[200].mid) == (0.0, pytest.approx(40 / 210))
    union = table.of(UNION).recall
    assert union[100].mid == pytest.approx(80 / 210)
    assert union[200].mid == pytest.approx(130 / 210)
    assert union[500].mid == pytest.approx(170 / 210)
    assert union[500].low <= union[500].mid <= union[500].high


def test_what_is_lost_without_a_source_is_what_no_other_gives_the_union(table):
    assert table.of("a").lost[500].mid == pytest.approx(40 / 210)
    assert table.of("c").lost[500].mid == pytest.approx(40 / 210)
    assert table.of("c").lost[100].mid == 0.0
    assert table.of("a").lost[100].mid == pytest.approx((80 - 90) / 210)
    assert table.of("a").only == pytest.approx(40 / 210)
    assert table.of("b").only == pytest.approx(50 / 210)


def test_slices_count_their_own_targets(table):
    cold, new = table.of("b", "cold items"), table.of("b", "new users")
    assert (cold.targets, new.targets) == (10, 10)
    assert cold.recall[100].mid == new.recall[100].mid == 1.0
    assert cold.only == 1.0


def test_beyond_its_quota_a_source_gives_the_union_nothing():
    asked = [offered(user, [50]) for user in range(30)]
    table = recall_table(SOURCES, lambda surface, name: 10, asked, plain, protocol="p", joined="plain")
    assert table.of("a").recall[100].mid == 1.0
    assert table.of(UNION).recall[500].mid == 0.0


def test_rows_are_told_and_none_asked_is_no_error(table):
    rows = table.as_rows()
    assert len(rows) == 3 * 4
    assert rows[0]["source"] == UNION
    assert "…" in rows[1]["lost@500"]
    assert recall_table(SOURCES, lambda s, n: 1, [], plain, protocol="p", joined="plain").rows == ()
    with pytest.raises(KeyError):
        table.of("a", "no slice")
