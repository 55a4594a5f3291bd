"""The live platform: its memory follows the log exactly once, and it can say why an item is or is not shown."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mainstem.base.clock import SetClock
from mainstem.base.errors import RequestError, StoreError
from mainstem.base.request import Request, Selection
from mainstem.data.records import Feedback, decode_impression
from mainstem.stacks.follow import Follower, WholeLog, batch_of
from mainstem.stacks.impression import impression_of
from mainstem.stacks.live import FUTURE_MS, OffsetClock, popular_rows
from mainstem.stacks.why import why
from mainstem.store.event_log import EventLog
from mainstem.store.seal import seal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))
from tiny_live import NOW_MS, Tiny, tiny


@pytest.fixture
def whole(tmp_path):
    whole = tiny(tmp_path)
    yield whole
    whole.live.log.close()


def outcome(number: int, item_id: int = 100, **changes) -> Feedback:
    known = {"request_id": number, "user_id": 1, "item_id": item_id, "surface": "feed", "time_ms": NOW_MS, "click": 1}
    return Feedback(**(known | changes))


def ask(**changes) -> Request:
    return replace(Request(request_id=7, user_id=1, surface="feed", now_ms=NOW_MS, count=3), **changes)


def clicks(whole: Tiny) -> list[int]:
    return (whole.parts.clicks[:4] / 100).astype(int).tolist()


class TestFollower:
    def test_every_record_is_applied_once_whatever_is_read_again(self, whole):
        follower = whole.live.follower
        whole.live.log.append([outcome(number, 100 + number % 3) for number in range(9)])
        entries = follower.pending()
        assert follower.apply(entries[:4]) == 4
        assert follower.apply(entries) == 5
        assert follower.apply(entries) == 0
        assert clicks(whole) == [3, 3, 3, 0]
        assert follower.catch_up() == entries[-1].offset

    def test_impressions_in_the_log_are_passed_over(self, whole):
        live = whole.live
        live.remember(ask(), live.rank(ask()))
        live.log.append([outcome(1)])
        live.log.flush()
        live.follower.catch_up()
        assert whole.parts.applied == [1]

    def test_two_followers_of_one_log_reach_the_same_state(self, whole, tmp_path):
        other = tiny(tmp_path / "other")
        follower = Follower(whole.live.log, other.live.stack)
        for number in range(6):
            whole.live.log.append([outcome(number, 100 + number % 2)])
            if number % 2:
                whole.live.follower.step()
        whole.live.follower.catch_up()
        follower.catch_up()
        assert (other.parts.clicks == whole.parts.clicks).all()
        other.live.log.close()

    def test_a_restart_takes_the_snapshot_and_only_what_came_after(self, whole, tmp_path):
        live = whole.live
        live.log.append([outcome(1), outcome(2)])
        live.follower.catch_up()
        assert live.follower.save()
        live.log.append([outcome(3)])
        again = tiny(tmp_path / "again")
        follower = Follower(live.log, again.live.stack, keep=tmp_path / "state")
        follower.start()
        assert clicks(again)[0] == 3
        assert again.parts.applied == [1]
        again.live.log.close()

    def test_a_snapshot_of_another_base_is_left_aside(self, whole, tmp_path):
        live = whole.live
        live.log.append([outcome(1)])
        live.follower.catch_up()
        live.follower.save()
        again = tiny(tmp_path / "again")
        Follower(live.log, again.live.stack, keep=tmp_path / "state", base="another model").start()
        assert again.parts.applied == [1]
        again.live.log.close()

    def test_a_snapshot_that_cannot_be_read_is_refused_with_the_way_out(self, whole, tmp_path):
        live = whole.live
        live.log.append([outcome(1)])
        live.follower.catch_up()
        live.follower.save()
        (tmp_path / "state" / "current.json").write_bytes(b"{")
        with pytest.raises(StoreError) as caught:
            live.follower.start()
        assert caught.value.code == "store-021"
        assert "replays the log" in caught.value.hint

    def test_only_the_newest_snapshot_stays(self, whole, tmp_path):
        live = whole.live
        for number in range(3):
            live.log.append([outcome(number)])
            live.follower.catch_up()
            live.follower.save()
            live.follower.save()
        assert [one.name for one in (tmp_path / "state").glob("at-*")] == [f"at-{live.follower.offset}"]

    def test_sealed_records_are_followed_too(self, tmp_path):
        with EventLog(tmp_path / "log.db") as log:
            log.append([outcome(number) for number in range(5)])
            log.offer(b"an impression")
            log.flush()
            log.append([outcome(number) for number in range(5, 8)])
        seal(tmp_path / "log.db", tmp_path / "sealed", keep_last=2)
        whole = tiny(tmp_path / "tiny")
        with EventLog(tmp_path / "log.db") as log:
            follower = Follower(WholeLog(log, tmp_path / "sealed"), whole.live.stack)
            follower.catch_up()
        assert clicks(whole)[0] == 8
        whole.live.log.close()

    def test_records_become_arrays_with_what_is_unknown_marked(self):
        batch = batch_of([outcome(1, click=None, like=1, watch_ms=1500), outcome(2, viewed=0)], ("groups", "feed"))
        assert batch.outcomes[0].tolist() == [-1, 1, -1, -1, -1, -1, -1]
        assert batch.surface.tolist() == [1, 1]
        assert batch.viewed.tolist() == [1, 0]
        assert batch.watch_s[0] == 1.5
        assert np.isnan(batch.watch_s[1])


class TestRequests:
    def test_defaults_come_from_the_surface_and_the_clock(self, whole):
        request = whole.live.request(1, 2, "groups")
        assert (request.count, request.now_ms) == (5, NOW_MS)

    def test_the_future_is_refused_but_clocks_may_differ_a_little(self, whole):
        assert whole.live.request(1, 2, "feed", now_ms=NOW_MS + FUTURE_MS).now_ms == NOW_MS + FUTURE_MS
        with pytest.raises(RequestError) as caught:
            whole.live.request(1, 2, "feed", now_ms=NOW_MS + FUTURE_MS + 1)
        assert caught.value.code == "request-004"

    def test_a_past_log_runs_on_with_its_own_time(self):
        machine = SetClock(1_000_000)
        clock = OffsetClock(machine, 500)
        machine.set(1_000_007)
        assert clock.now_ms() == 507

    def test_the_fallback_list_is_the_most_shown_checked_items(self):
        checked = np.array([True, True, False, True])
        assert popular_rows(np.array([5, 9, 99, 5]), checked).tolist() == [1, 0, 3]
        assert popular_rows(np.array([5, 9, 99, 5]), checked, most=1).tolist() == [1]


class TestWhy:
    def test_asking_changes_nothing(self, whole, monkeypatch):
        served: list[object] = []
        monkeypatch.setattr(whole.parts, "served", lambda request, rows: served.append(rows))
        first = whole.live.explain(ask(), 116)
        assert whole.live.explain(ask(), 116) == first
        assert served == []

    def test_too_low_says_by_how_much(self, whole):
        answer = whole.live.explain(ask(), 108)
        assert answer.outcome == "scored_too_low"
        assert answer.cutoff is not None
        assert answer.value is not None
        assert f"{answer.cutoff - answer.value:.4g} below" in answer.sentence

    def test_an_item_with_value_enough_that_lost_its_place_was_demoted(self, whole, monkeypatch):
        def select(request, user, pool, values):
            best = np.argsort(-values, kind="stable")
            order = np.array([best[0], best[2], best[3]])
            removed_by = np.full(len(values), 2, np.int16)
            removed_by[order] = 0
            return Selection(order, removed_by, np.ones(3), (("odd", int(best[3]), "promoted"),))

        monkeypatch.setattr(whole.parts, "select", select)
        slate = whole.live.dry_rank(ask())
        assert slate.trace is not None
        second = int(slate.trace.item_ids[np.argsort(-slate.trace.values, kind="stable")[1]])
        assert whole.live.explain(ask(), second).outcome == "demoted"
        promoted = whole.live.explain(ask(), int(slate.item_ids[2]))
        assert (promoted.outcome, promoted.position, promoted.rule) == ("shown", 3, "odd")
        assert promoted.value_rank == 4

    def test_each_rule_tells_what_it_did_and_what_it_costs(self, whole):
        slate = whole.live.dry_rank(ask())
        trace = slate.trace
        assert trace is not None
        removed = np.flatnonzero(trace.removed_by[: len(trace.values)] == 3)
        odd = int(removed[np.argmax(trace.values[removed])])
        answer = whole.live.explain(ask(), int(trace.item_ids[odd]))
        (rule,) = answer.rules
        assert (answer.outcome, rule.rule, rule.effect) == ("filtered", "odd", "removed")
        best = np.sort(trace.values)[::-1]
        assert rule.place_without == 1 + int((trace.values > trace.values[odd]).sum())
        assert rule.price == pytest.approx(best[: len(slate.item_ids)].sum() - slate.scores.sum(), abs=1e-12)

    def test_every_candidate_of_a_trace_can_be_explained(self, whole):
        slate = whole.live.dry_rank(ask())
        assert slate.trace is not None
        fates = {why(whole.live.stack, slate, ask(), int(item)).outcome for item in slate.trace.item_ids}
        assert fates == {"shown", "filtered", "scored_too_low", "not_ranked"}

    def test_a_source_that_fails_is_told_as_failed(self, whole):
        whole.near.broken = True
        answer = whole.live.explain(ask(), 139)
        assert answer.outcome == "not_retrieved"
        assert "ConnectionError" in answer.offers[0].reason


def test_what_was_served_can_be_read_back_from_its_record(whole):
    slate = whole.live.rank(ask())
    record = decode_impression(impression_of(ask(), slate, "blue").payload())
    assert record.ids().tolist() == slate.item_ids.tolist()
    assert record.array("scores").tolist() == slate.scores.tolist()
    assert record.array("features")[:, 0].tolist() == (slate.item_ids - 100).tolist()
    assert (record.arm, record.heads, record.propensities) == ("blue", ("click",), b"")
    assert record.timings_ms.keys() == slate.trace.timings_ms.keys()
