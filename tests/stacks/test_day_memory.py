"""The memory of what was served: two processes on one viewer, a death in the middle, floors over a day, and the clock's day."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mainstem.control.supply import Floors
from mainstem.stacks.day_memory import DayMemory
from mainstem.stacks.run import run
from mainstem.store.day_counts import NOTHING_SERVED, DayCounts

sys.path.insert(0, str(Path(__file__).resolve().parent))
from made_rules import NOW_MS, asked, made_catalog, made_stack

RULES = "seen = 600\nexploration_share = 0.3\ncreator_cap = 0\n[surfaces.feed.rules.day_caps]\ncreator = 3\n"
HOUR_MS = 3_600_000


def entries(*items: int, time_ms: int = NOW_MS, request: int = 1):
    return np.array([[time_ms, item, request] for item in items], np.int64).reshape(-1, 3)


class TestRaces:
    def test_threads_that_serve_one_viewer_at_once_never_break_the_cap_or_repeat(self, tmp_path):
        catalog, served = made_catalog(items=400), []

        def serve(part: int) -> None:
            stack = made_stack(tmp_path, RULES, catalog)
            for at in range(8):
                request = asked(2 * at + part, count=2)
                served.extend(run(stack, request).item_ids.tolist())

        threads = [threading.Thread(target=serve, args=(part,)) for part in (0, 1)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(served) == len(set(served)) == 30  # ten creators, three each
        assert np.bincount(catalog.items.creator[np.array(served) - 1]).max() == 3
        _, held = DayCounts(tmp_path / "served").read(1)
        assert sorted(held[:, 1].tolist()) == sorted(served)

    def test_a_claim_against_an_old_version_changes_nothing(self, tmp_path):
        counts = DayCounts(tmp_path / "served")
        assert counts.claim(1, 0, entries(5), 0)
        assert not counts.claim(1, 0, entries(6), 0, "feed", lambda kept: b"never")
        assert counts.read(1)[1][:, 1].tolist() == [5]
        assert counts.supply("feed") is None

    def test_what_was_claimed_survives_a_kill_at_any_moment(self, tmp_path):
        process = multiprocessing.get_context("spawn").Process(target=claim_for_ever, args=(str(tmp_path / "served"),))
        process.start()
        counts = DayCounts(tmp_path / "served")
        while counts.read(1)[0] < 20:
            assert process.is_alive()
        process.kill()
        process.join()
        version, held = counts.read(1)
        assert held[:, 1].tolist() == list(range(version))
        assert counts.claim(1, version, entries(version), 0)


def claim_for_ever(path: str) -> None:
    counts = DayCounts(Path(path))
    for at in range(10**9):
        counts.claim(1, at, entries(at), 0)


class TestKept:
    def test_todays_entries_are_all_kept_and_of_earlier_ones_the_last(self, tmp_path):
        counts = DayCounts(tmp_path / "served", keep=3)
        counts.claim(1, 0, entries(*range(10), time_ms=NOW_MS - 1), 0)
        counts.claim(1, 1, entries(*range(10, 20)), NOW_MS)
        assert counts.read(1)[1][:, 1].tolist() == list(range(7, 20))

    def test_viewers_who_were_long_away_can_be_forgotten(self, tmp_path):
        counts = DayCounts(tmp_path / "served")
        counts.claim(1, 0, entries(1, time_ms=5), 0)
        counts.claim(2, 0, entries(1, time_ms=50), 0)
        assert counts.forget(20) == 1
        assert counts.read(1) == (0, NOTHING_SERVED) or len(counts.read(1)[1]) == 0
        assert len(counts.read(2)[1]) == 1

    @pytest.mark.parametrize(("zone", "hours"), [("UTC", 2), ("Asia/Shanghai", 18)])
    def test_a_day_ends_at_midnight_of_the_declared_zone(self, tmp_path, zone, hours):
        catalog = made_catalog()
        memory = DayMemory(DayCounts(tmp_path / "served"), catalog, np.append(np.arange(60), -1), zone)
        # 2023-11-14 22:13 UTC is 06:13 of the next day in Shanghai.
        assert memory.claim(asked(1), np.array([3, 4]))
        before = asked(2, now_ms=NOW_MS + (hours - 1) * HOUR_MS)
        after = asked(3, now_ms=NOW_MS + hours * HOUR_MS)
        assert memory.of(before).today.tolist() == [3, 4]
        assert memory.of(after).today.tolist() == []
        assert memory.of(after).recent.tolist() == [4, 3]

    def test_items_that_left_the_catalog_are_passed_over(self, tmp_path):
        counts = DayCounts(tmp_path / "served")
        counts.claim(1, 0, entries(10_000, 2), 0)
        memory = DayMemory(counts, made_catalog(), np.append(np.arange(60), -1))
        assert memory.of(asked(2)).recent.tolist() == [1]
        memory.close()


class TestFloors:
    def test_a_floor_is_kept_over_a_day_by_two_stacks_and_a_restart(self, tmp_path):
        rules = (
            "seen = 0\nvariety = 1\ncreator_cap = 0\nexploration_share = 0\n[surfaces.feed.rules.floors]\nlate = 0.3\n"
        )
        more = '[groups]\nlate = "category = 3"\n'
        stacks = [made_stack(tmp_path, rules, more=more) for _ in range(2)]
        random = np.random.default_rng(1)
        hits = places = 0
        for number in range(1_500):
            if number == 700:
                stacks = [made_stack(tmp_path, rules, more=more) for _ in range(2)]
            stack = stacks[number % 2]
            object.__setattr__(stack.features, "worth", random.normal(0, 1, 61) - 0.5 * (np.arange(61) >= 45))
            ids = run(stack, asked(number, user=number, now_ms=NOW_MS + number * 1_000), explain=False).item_ids
            places += len(ids)
            hits += int((made_category(ids) == 3).sum())
        assert abs(hits / places - 0.3) < 0.02  # 9,000 places: the first eighteen windows of a life
        kept = DayCounts(tmp_path / "served").supply("feed")
        floors = Floors({"late": 0.3}, {"late": lambda rows, now_ms: rows < 0})
        floors.read(kept)
        assert floors.states["late"].places == places
        assert floors.states["late"].hits == hits


def made_category(ids):
    return ids * 4 // 61
