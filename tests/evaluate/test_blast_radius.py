"""What a change moves: counted by hand on small slates, and nothing for a change that changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.request import FIRST_RULE, KEPT, SCORED_TOO_LOW, Slate, Trace
from mainstem.evaluate.blast_radius import Asked, as_tables, blast_radius


def slate(
    request_id: int, items: list[int], fired: tuple[tuple[str, int, str], ...] = (), degraded: tuple[str, ...] = ()
) -> Slate:
    """Ten candidates 0–9 of which some are shown; candidate i is clicked with chance i / 10."""
    removed = np.full(10, SCORED_TOO_LOW, np.int16)
    removed[items] = KEPT
    for rule, at, effect in fired:
        if effect == "removed":
            removed[at] = FIRST_RULE + ("cap", "quota").index(rule)
    chances = np.arange(10.0)[:, None] / 10
    trace = Trace(
        ("s",), np.arange(10), np.ones(10, np.uint32), (), None, ("click",), chances, chances[:, 0], ("cap", "quota"),
        removed, fired, {}, 10,
    )  # fmt: skip
    shown = np.array(items)
    return Slate(request_id, "unified", "feed", shown, np.zeros(len(items)), np.ones(len(items)), trace, degraded)


def asked(surface: str = "feed", user: int = 1) -> Asked:
    return Asked(user, {"surface": surface})


def test_the_same_slates_move_nothing():
    pairs = [(slate(n, [1, 2, 3]), slate(n, [1, 2, 3])) for n in range(30)]
    found = blast_radius(pairs, [asked(user=n) for n in range(30)], {1: 7})
    assert found.sentence == "no slate of 30 requests moves"
    assert found.groups[0].changed is not None
    assert (found.groups[0].changed.low, found.groups[0].changed.high) == (0, 0)
    assert found.groups[0].order == 1.0
    assert found.creators == ()
    assert found.heads[0].change is not None
    assert found.heads[0].change.mid == 0


def test_what_moves_is_counted():
    pairs = [(slate(n, [1, 2, 3, 4]), slate(n, [2, 1, 3, 9]) if n % 2 else slate(n, [1, 2, 3, 4])) for n in range(40)]
    who = [asked("feed" if n % 2 else "pages", n) for n in range(40)]
    found = blast_radius(pairs, who, {4: 44, 9: 99, 1: 11})
    whole, *parts = found.groups
    assert whole.changed is not None
    assert whole.changed.mid == pytest.approx(0.5)
    assert whole.replaced is not None
    assert whole.replaced.mid == pytest.approx(20 / 160)
    assert whole.first == 0.5
    assert {one.value: one.first for one in parts} == {"feed": 1.0, "pages": 0.0}
    assert {one.value: one.order for one in parts} == {"feed": pytest.approx(1 / 3), "pages": 1.0}
    assert "pages stay as they are" in found.sentence
    assert [(one.creator_id, one.change) for one in found.creators] == [(44, -20), (99, 20)]
    assert found.heads[0].before == pytest.approx(0.25)
    assert found.heads[0].change is not None
    assert found.heads[0].change.mid == pytest.approx(0.5 * (0.9 - 0.4) / 4)
    assert set(as_tables(found)) == {"groups", "heads", "creators", "rules"}


def test_rules_that_fire_otherwise_stand_in_their_order():
    before = [slate(n, [1], (("quota", 1, "promoted"),)) for n in range(20)]
    after = [slate(n, [1], (("cap", 5, "removed"), ("cap", 6, "removed"))) for n in range(20)]
    found = blast_radius(list(zip(before, after, strict=True)), [asked(user=n) for n in range(20)], {})
    assert [(one.rule, one.effect, one.before, one.after) for one in found.rules] == [
        ("cap", "removed", 0.0, 2.0),
        ("quota", "promoted", 1.0, 0.0),
    ]


def test_fallbacks_are_told_and_empty_slates_are_no_error():
    pairs = [(slate(n, []), slate(n, [1], degraded=("rank: dead",))) for n in range(20)]
    found = blast_radius(pairs, [asked(user=n) for n in range(20)], {})
    assert found.degraded == (0, 20)
    assert found.places == (0, 20)
    assert found.groups[0].order is None
