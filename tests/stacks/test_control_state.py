"""Lookups that fail, blocks, reposts, and what is remembered over requests, processes and restarts: through the whole run."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import ControlError
from mainstem.control.lookups import Failing, LookedUp
from mainstem.stacks.run import guarded, run

sys.path.insert(0, str(Path(__file__).resolve().parent))
from made_rules import NOW_MS, asked, made_catalog, made_stack

CLOSED = (
    'integrity = "closed"\n[surfaces.feed.rules.on_failure]\nblocked = "closed"\nday_caps = "closed"\nseen = "closed"\n'
)
CAPS = "creator_cap = 3\n[surfaces.feed.rules.day_caps]\ncreator = 2\n"
CREATOR = 500 + np.arange(1, 61) % 10


def shown(stack, **changes) -> list[int]:
    return run(stack, asked(**changes)).item_ids.tolist()


def drilled(filters, share, seed):
    return {
        name: tuple(
            one.with_lookup(lambda lookup, at=at: Failing(lookup, share, seed + 10 * at))
            if isinstance(one, LookedUp)
            else one
            for at, one in enumerate(chain)
        )
        for name, chain in filters.items()
    }


class TestFailedLookups:
    @pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
    def test_what_a_closed_rule_covers_is_never_served_when_lookups_fail_at_random(self, tmp_path, share):
        whole = made_stack(tmp_path, CLOSED + CAPS.partition("\n")[2])
        whole.blocking.block(1, 503)
        whole.blocking.hide(2, 1)
        failing = made_stack(tmp_path, CLOSED, filters=drilled(whole.control._filters, share, 3))
        withdrawn = failing.catalog.item_rows(np.array([2]))
        whole.withdrawn.set(withdrawn)
        served: dict[int, list[int]] = {}
        for number in range(200):
            user = 1 + number % 3
            ids = shown(failing, number=number, user=user)
            assert not {one for one in ids if one % 7 == 0 or one % 11 == 0 or one == 2}
            assert user != 1 or 503 not in CREATOR[np.array(ids, int) - 1]
            assert user != 2 or 1 not in ids
            assert not set(ids) & set(served.get(user, ())[-40:])
            served.setdefault(user, []).extend(ids)
        for ids in served.values():
            assert np.bincount(CREATOR[np.array(ids, int) - 1], minlength=1).max() <= 2
        assert share == 1.0 or sum(map(len, served.values())) > 0

    @given(st.sets(st.sampled_from(["safety", "blocks", "day", "features", "seen"])), st.integers(0, 40))
    def test_no_set_of_failures_lets_an_unsafe_item_through_the_run_or_the_fallback(
        self, tmp_path_factory, failures, number
    ):
        stack = made_stack(tmp_path_factory.mktemp("drill"), CLOSED + CAPS.partition("\n")[2])
        stack.blocking.block(1, 503)
        request = asked(number, failures=frozenset(failures))
        ids = run(stack, request).item_ids
        fallback = stack.catalog.items.ids[guarded(stack, request, np.arange(60))]
        for found in (ids, fallback):
            assert not (found % 7 == 0).any()
            assert not (found % 11 == 0).any()
            assert 503 not in CREATOR[found - 1]
            assert not (failures and len(found))

    def test_an_open_rule_shows_what_it_could_not_look_up_and_safety_stays_closed(self, tmp_path):
        open_ = '[surfaces.feed.rules.on_failure]\nblocked = "open"\n' + CAPS.partition("\n")[2]
        stack = made_stack(tmp_path, open_)
        stack.blocking.block(1, 501)
        assert 1 not in shown(stack)
        assert 1 in shown(stack, number=2, failures=frozenset({"blocks", "day"}))
        assert not shown(stack, number=3, failures=frozenset({"safety"}))

    def test_an_unreadable_memory_is_a_failed_lookup_not_an_empty_one(self, tmp_path):
        closed, open_ = made_stack(tmp_path, CLOSED), made_stack(tmp_path, "")
        with sqlite3.connect(tmp_path / "served") as db:
            db.execute("DROP TABLE viewers")
        assert shown(closed) == []
        slate = run(open_, asked())
        assert len(slate.item_ids) == 6
        assert slate.degraded
        assert slate.degraded[0].startswith("claim: StoreError")

    def test_blocks_that_were_never_read_are_not_no_blocks(self, tmp_path):
        stack = made_stack(tmp_path, "")
        stack.blocking._version = -1
        assert shown(stack) == []
        stack.blocking.follow()
        assert len(shown(stack, number=2)) == 6

    def test_a_rule_without_a_lookup_cannot_be_declared(self, tmp_path):
        for line in ('variety = "open"', 'seen = "perhaps"', 'integrity = "open"'):
            with pytest.raises(ControlError) as error:
                made_stack(tmp_path, f"[surfaces.feed.rules.on_failure]\n{line}\n")
            assert error.value.code == "control-030"


class TestBlocks:
    def test_a_block_holds_in_every_process_and_after_a_restart_until_it_is_taken_back(self, tmp_path):
        one, other = made_stack(tmp_path, "seen = 0"), made_stack(tmp_path, "seen = 0")
        assert one.blocking.block(1, 501)
        assert not one.blocking.block(1, 501)
        assert 1 in shown(other)
        assert other.blocking.follow()
        assert not other.blocking.follow()
        assert 1 not in shown(other)
        assert 1 in shown(other, user=2)
        again = made_stack(tmp_path, "seen = 0")
        assert 1 not in shown(again)
        assert again.blocking.unblock(1, 501)
        one.blocking.follow()
        assert 1 in shown(one)
        assert one.blocking.held(1) == []

    def test_a_viewer_who_blocked_every_creator_gets_an_empty_slate_that_says_why(self, tmp_path):
        stack = made_stack(tmp_path, "")
        for creator in range(500, 510):
            stack.blocking.block(1, creator)
        slate = run(stack, asked())
        assert not len(slate.item_ids)
        assert [(one.rule, one.met) for one in slate.trace.unmet] == [("count", 0)]
        reasons = {slate.trace.reason(at) for at in range(len(slate.trace.item_ids))}
        assert reasons == {"integrity", "blocked"}

    def test_a_block_on_the_original_or_on_its_creator_holds_for_the_repost(self, tmp_path):
        stack = made_stack(
            tmp_path,
            "seen = 0\noriginals = false\ncreator_cap = 0\nexploration_share = 0",
            made_catalog({12: 1, 13: 12}),
        )
        assert {12, 13} <= set(shown(stack, count=50))
        stack.blocking.block(1, 501)
        assert not {1, 12, 13} & set(shown(stack, count=50))
        stack.blocking.unblock(1, 501)
        stack.blocking.hide(1, 12)
        assert not {1, 12, 13} & set(shown(stack, count=50))


class TestTheDay:
    def test_nothing_repeats_over_pages_in_two_processes(self, tmp_path):
        stacks = [made_stack(tmp_path, "creator_cap = 0") for _ in range(2)]
        pages = [shown(stacks[number % 2], number=number) for number in range(7)]
        flat = [one for page in pages for one in page]
        assert len(flat) == len(set(flat)) == 42

    def test_the_same_request_again_gets_the_same_answer(self, tmp_path):
        stack = made_stack(tmp_path, CAPS)
        first = shown(stack)
        shown(stack, number=2)
        again = made_stack(tmp_path, CAPS)
        assert shown(again) == first

    def test_a_repost_of_what_was_seen_is_seen(self, tmp_path):
        stack = made_stack(tmp_path, "", made_catalog({30: 1}))
        assert 1 in shown(stack)
        assert 30 not in shown(stack, number=2, count=50)

    def test_a_day_cap_holds_over_requests_and_restarts_and_ends_with_the_day(self, tmp_path):
        served = []
        for number in range(6):
            served += shown(made_stack(tmp_path, CAPS), number=number)
        counts = np.bincount(CREATOR[np.array(served) - 1])
        assert counts.max() == 2
        assert len(served) == 20
        assert len(shown(made_stack(tmp_path, CAPS), number=9, now_ms=NOW_MS + 86_400_000)) == 6

    def test_a_claim_that_lost_a_race_is_chosen_again(self, tmp_path):
        one, other = (made_stack(tmp_path, CAPS) for _ in range(2))
        select, raced = one.control.select, []

        class Between:
            rules = one.control.rules

            def select(self, *given):
                chosen = select(*given)
                if not raced:
                    raced.extend(shown(other, number=50))
                return chosen

        object.__setattr__(one, "control", Between())
        ids = shown(one, number=51)
        assert len(ids) == 6
        assert not set(ids) & set(raced)

    def test_after_three_lost_races_the_others_wait(self, tmp_path):
        one, other = (made_stack(tmp_path, "creator_cap = 0") for _ in range(2))
        select, raced = one.control.select, []

        class Between:
            rules = one.control.rules

            def select(self, *given):
                chosen = select(*given)
                if len(raced) < 3:
                    raced.append(shown(other, number=50 + len(raced)))
                return chosen

        object.__setattr__(one, "control", Between())
        slate = run(one, asked(60))
        assert len(slate.item_ids) == 6
        assert not slate.degraded
        assert not set(slate.item_ids.tolist()) & {item for ids in raced for item in ids}

    def test_fatigue_lowers_a_creator_for_each_time_they_were_served_today(self, tmp_path):
        stack = made_stack(tmp_path, "fatigue = 0.5\nvariety = 1\ncreator_cap = 0\nexploration_share = 0")
        first = shown(stack)
        second = shown(stack, number=2)
        assert first == [1, 2, 3, 4, 5, 6]
        assert second[:3] == [8, 9, 10]
        assert not {501, 502, 503} & set(CREATOR[np.array(second) - 1].tolist())

    def test_the_fallback_keeps_the_day_cap_and_is_counted(self, tmp_path):
        stack = made_stack(tmp_path, CAPS, made_catalog({41: 2, 42: 2, 43: 5}))
        originals = stack.claims._originals
        rows = []
        for number in range(8):
            fallback = guarded(stack, asked(2 * number, count=4), np.arange(60)[::-1])
            served = stack.catalog.item_rows(run(stack, asked(2 * number + 1, count=4)).item_ids)
            rows += [*fallback.tolist(), *served.tolist()]
        counts = np.bincount(stack.catalog.items.creator[np.unique(originals[rows])])
        assert counts.max() == 2
        assert counts.sum() == 20

    def test_dry_runs_leave_no_trace(self, tmp_path):
        from dataclasses import replace

        stack = made_stack(tmp_path, CAPS)
        dry = replace(stack, memories=(), claims=None)
        assert shown(dry, number=1) == shown(dry, number=1)
        assert stack.claims.of(asked(2)).recent.size == 0
