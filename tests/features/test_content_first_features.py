"""The content-first features: the same bits offline and online, and each of its conventions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from feature_log import DAY_MS, START_MS, Tables
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.heads import HEADS
from mainstem.base.request import Request
from mainstem.features.backfill import Backfill, Requests
from mainstem.features.catalog import Catalog
from mainstem.features.content_first import CONTENT_FIRST
from mainstem.features.content_first_acts import ACTS, HATE, KEPT_ACTIONS, LIKE, LONG_VIEW, act
from mainstem.features.content_first_inputs import NAMES, ContentReader
from mainstem.features.content_first_items import CONTENT_DIM, ContentItems, with_originals
from mainstem.features.content_first_state import ContentState
from mainstem.features.content_first_tables import content_tables
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
NOW_MS = START_MS + 3 * DAY_MS
COLUMN = {name: place for place, name in enumerate(NAMES)}


# -- both worlds ----------------------------------------------------------------------------------------------------------
class Both:
    """The live stack, and everything it took in, to ask the past about it."""

    def __init__(self, tables: Tables, logged: FeedbackBatch, keep: Callable[[LiveState], None] | None = None) -> None:
        self.taken: list[Events] = []
        plain = LiveState.apply

        def note(live: LiveState, stream: str, events: Events, now_ms: int | None = None) -> Any:
            self.taken.append(events)
            return plain(live, stream, events, now_ms)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LiveState, "apply", note)
            self.state = _state(tables, logged)
        self.state.live.apply = note.__get__(self.state.live)  # type: ignore[method-assign]
        self.reader = ContentReader(self.state)
        self.tables = content_tables(self.state.items, tables.users)

    def past(self, asked: list[tuple[Request, np.ndarray, int]]) -> np.ndarray:
        """What the back-fill says of each candidate of each request, as of the place in the log the server had reached."""
        plan = Plan(CONTENT_FIRST)
        names = list(self.taken[0].columns)
        columns = {name: np.concatenate([one.columns[name] for one in self.taken]) for name in names}
        events = Events.checked(np.concatenate([one.offset for one in self.taken]), columns)
        sizes = [len(rows) for _, rows, _ in asked]
        ids = np.concatenate([np.where(rows < 0, -1, self.state.items.ids[rows]) for _, rows, _ in asked])
        given = {
            "user_id": np.repeat([request.user_id for request, _, _ in asked], sizes),
            "now_ms": np.repeat([request.now_ms for request, _, _ in asked], sizes),
            "item_id": ids[:, None],
        }
        reading = Reading(plan, self.tables, NAMES)
        as_of = np.repeat([seen for _, _, seen in asked], sizes)
        found = Backfill(plan, self.tables, {"feedback": events}).values(reading, Requests(given, as_of))
        held = np.stack([found[name] for name in NAMES], axis=1)
        return np.where(np.isnan(held), reading.empties, held)


def _state(tables: Tables, logged: FeedbackBatch) -> ContentState:
    table = with_originals(tables.items)
    catalog = Catalog.from_tables(table, tables.users)
    past = FeedbackBatch.from_history(tables.history)
    return ContentState(ContentItems.of(table, catalog), tables.users, past, logged, catalog)


def _request(user_id: int, now_ms: int, failures: frozenset[str] = frozenset()) -> Request:
    return Request(request_id=1, user_id=user_id, surface="feed", now_ms=now_ms, count=5, scenario=1, failures=failures)


def _replay(
    both: Both, stream: FeedbackBatch, cuts: list[int], draw: np.random.Generator, some: int, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Online and offline values of requests between batches of feedback, with a restart in the middle."""
    asked, said = [], []
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(stream)], strict=True)):
        part = stream.take(slice(start, end))
        both.reader.apply(part)
        if number == len(cuts) // 2:
            both.state.save(folder / "state.npz")
            both.state.load(folder / "state.npz")
        users = draw.choice(np.append(stream.user_id, 999_999), 2)
        for user_id in users.tolist():
            request = _request(user_id, int(part.time_ms.max(initial=NOW_MS)) + int(draw.integers(-2, 3)) * HOUR_MS)
            rows = draw.integers(-1, len(both.state.items.ids), some)
            said.append(both.reader.items(request, both.reader.user(request), rows))
            asked.append((request, rows, both.state.live.applied + 1))
    return np.concatenate(said), both.past(asked)


def _stream(tables: Tables, draw: np.random.Generator) -> FeedbackBatch:
    """The small log with unviewed rows, late outcomes, follows, late and unknown records, as they arrive."""
    shown = FeedbackBatch.from_frame(tables.impressions)
    viewed = (draw.random(len(shown)) < 0.8).astype(np.int8)
    outcomes = shown.outcomes.copy()
    outcomes[:, HEADS.index("follow")] = draw.random(len(shown)) < 0.1
    shown = _changed(shown, viewed=viewed, outcomes=outcomes)
    again = shown.take(np.sort(draw.integers(0, len(shown), len(shown) // 3)))
    late = _changed(
        again,
        time_ms=again.time_ms + draw.integers(0, 45, len(again)) * MINUTE_MS,
        viewed=np.zeros(len(again), np.int8),
        outcomes=draw.integers(-1, 2, again.outcomes.shape).astype(np.int8),
        item_id=np.where(draw.random(len(again)) < 0.1, 10**9, again.item_id),
    )
    whole = shown.then(late)
    arrives = whole.time_ms + np.where(draw.random(len(whole)) < 0.1, 3 * HOUR_MS, 0)
    return whole.take(np.argsort(arrives, kind="stable"))


def _changed(batch: FeedbackBatch, **columns: Any) -> FeedbackBatch:
    return FeedbackBatch(**{name: getattr(batch, name) for name in FeedbackBatch.__slots__} | columns)


@pytest.mark.parametrize("seed", [0, 1])
def test_offline_is_online_to_the_bit(small: Tables, tmp_path: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    stream = _stream(small, draw)
    both = Both(small, stream.take(slice(0, 700)))
    cuts = np.unique(draw.integers(1, len(stream) - 700, 60)).tolist()
    online, offline = _replay(both, stream.take(slice(700, None)), cuts, draw, 12, tmp_path)
    apart = [name for name in NAMES if not np.array_equal(online[:, COLUMN[name]], offline[:, COLUMN[name]])]
    assert apart == []
    assert (online.std(axis=0) > 0).mean() > 0.3


@pytest.mark.real
@pytest.mark.slow
def test_offline_is_online_to_the_bit_on_the_real_log(pack: Callable[[str], Path], tmp_path: Path) -> None:
    from mainstem.data.importer import import_log
    from mainstem.data.log import read_log

    import_log(pack("kuairand_pure"), tmp_path / "log")
    log = read_log(tmp_path / "log")
    shown = log.impressions.sort("time_ms", "request_id", "position", maintain_order=True).head(240_000)
    tables = Tables(log.items, log.users, shown, log.history)
    stream = FeedbackBatch.from_frame(shown)
    both = Both(tables, stream.take(slice(0, 230_000)))
    draw = np.random.default_rng(5)
    cuts = list(range(50, 10_000, 50))
    online, offline = _replay(both, stream.take(slice(230_000, None)), cuts, draw, 30, tmp_path)
    assert len(online) > 10_000
    assert [name for name in NAMES if not np.array_equal(online[:, COLUMN[name]], offline[:, COLUMN[name]])] == []


def test_batches_of_any_size_give_the_same_values(small: Tables) -> None:
    stream = _stream(small, np.random.default_rng(3))
    stream = stream.take(np.argsort(stream.time_ms, kind="stable"))
    readers = []
    for size in (1, 7, 10_000):
        reader = ContentReader(_state(small, stream.take(slice(0, 900))))
        for start in range(900, 1_100, size):
            reader.apply(stream.take(slice(start, min(start + size, 1_100))))
            reader.state.catch_up(int(stream.time_ms.max()))
        readers.append(reader)
    rows = np.arange(-1, len(small.items))
    for user_id in (7, 10, 13, 5):
        request = _request(user_id, NOW_MS)
        first, *others = (one.items(request, one.user(request), rows) for one in readers)
        assert all(np.array_equal(first, other) for other in others)


# -- conventions ----------------------------------------------------------------------------------------------------------
def _told(small: Tables, *records: dict[str, Any], user_id: int = 7, now_ms: int = NOW_MS, items: Any = None) -> Any:
    """Features of a viewer's first items after some records, without anything else."""
    nothing = Tables(small.items if items is None else items, small.users, small.impressions[:0], small.history[:0])
    reader = ContentReader(_state(nothing, FeedbackBatch.empty()))
    if records:
        reader.apply(FeedbackBatch.from_frame(pl.DataFrame([{"user_id": 7, "item_id": 105} | one for one in records])))
    request = _request(user_id, now_ms)
    values = reader.items(request, reader.user(request), reader.state.catalog.item_rows(np.array([105, 110, -1])))
    return lambda name, item=0: float(values[item, COLUMN[name]])


def test_a_window_is_whole_utc_hours(small: Tables) -> None:
    hour = NOW_MS // HOUR_MS * HOUR_MS
    before = {"time_ms": hour - 1, "viewed": 1}
    ask = _told(small, before, now_ms=hour + MINUTE_MS)
    assert ask("user_views_1h") == 0.0
    assert ask("user_views_6h") == pytest.approx(np.log1p(1))
    assert ask("item_views_1h") == 0.0
    assert _told(small, before, now_ms=hour - 1)("user_views_1h") == pytest.approx(np.log1p(1))
    half_hour_zone = small.users.with_columns(utc_offset_min=pl.lit(330, pl.Int16))
    elsewhere = Tables(small.items, half_hour_zone, small.impressions, small.history)
    assert _told(elsewhere, before, now_ms=hour + MINUTE_MS)("user_views_1h") == 0.0
    assert _told(small, before, now_ms=hour + 24 * HOUR_MS - 2 * HOUR_MS)("user_views_24h") > 0.0
    assert _told(small, before, now_ms=hour + 23 * HOUR_MS)("user_views_24h") == 0.0


def test_what_was_served_and_not_viewed_counts_for_nothing(small: Tables) -> None:
    served = {"time_ms": NOW_MS - MINUTE_MS, "viewed": 0, "long_view": 1}
    unseen, seen = _told(small, served), _told(small, served | {"viewed": 1})
    for name in ("item_views", "user_views_24h", "user_actions", "pair_item_seen"):
        assert unseen(name) == 0.0
        assert seen(name) > 0.0


def test_what_is_missing_is_zero_and_rates_of_nobody_are_their_priors(small: Tables) -> None:
    ask = _told(small)
    assert all(ask(name, item=2) == 0.0 for name in NAMES if name.startswith("item_"))
    assert ask("item_long_rate") == pytest.approx(0.3)
    assert ask("item_click_rate") == pytest.approx(0.4)
    stranger = _told(small, user_id=999_999)
    assert stranger("user_following") == stranger("user_registered") == 0.0


def test_a_failed_lookup_reads_as_zero_and_leaves_items_alone(small: Tables) -> None:
    reader = ContentReader(_state(small, FeedbackBatch.from_frame(small.impressions)))
    rows = np.arange(5)
    fine, failed = _request(7, NOW_MS), _request(7, NOW_MS, frozenset({"features"}))
    whole = reader.items(fine, reader.user(fine), rows)
    blind = reader.items(failed, reader.user(failed), rows)
    about_viewer = np.array([not name.startswith("item_") for name in NAMES])
    assert whole[:, about_viewer].any()
    assert not blind[:, about_viewer].any()
    assert np.array_equal(blind[:, ~about_viewer], whole[:, ~about_viewer])
    assert len(reader.user(failed).recent)
    declared = [CONTENT_FIRST.owner_of[name] for name in NAMES if not name.startswith("item_")]
    assert {(one.failed, one.default) for one in declared} == {("default", 0.0)}


def test_a_repost_counts_for_its_original(small: Tables) -> None:
    reposted = small.items.with_columns(canonical_id=pl.when(pl.col("item_id") == 110).then(105).otherwise("item_id"))
    ask = _told(small, {"item_id": 110, "time_ms": NOW_MS - MINUTE_MS, "viewed": 1}, items=reposted)
    assert ask("item_views") == ask("item_views", item=1) == pytest.approx(np.log1p(1))
    assert ask("pair_item_seen") == pytest.approx(np.log1p(1))
    apart = _told(small, {"item_id": 110, "time_ms": NOW_MS - MINUTE_MS, "viewed": 1})
    assert apart("item_views") == 0.0


@pytest.mark.parametrize(("wait_min", "long_views"), [(0, 1), (30, 1), (31, 0)])
def test_a_late_outcome_goes_to_the_last_view_of_thirty_minutes(small: Tables, wait_min: int, long_views: int) -> None:
    view = {"time_ms": NOW_MS - 2 * HOUR_MS, "viewed": 1}
    late = {"time_ms": NOW_MS - 2 * HOUR_MS + wait_min * MINUTE_MS, "viewed": 0, "long_view": 1}
    ask = _told(small, view, late, late)
    assert ask("item_long_rate") == pytest.approx((long_views + 20 * _category(long_views)) / 21)
    assert ask("pair_item_long") == long_views
    assert ask("item_views") == pytest.approx(np.log1p(1))


def _category(long_views: int) -> float:
    """The category's rate after one view."""
    base = (long_views + 100 * 0.3) / 101
    return (long_views + 50 * base) / 51


def test_an_outcome_is_seen_when_its_time_has_come(small: Tables) -> None:
    reader = ContentReader(_state(small, FeedbackBatch.empty()))
    frame = pl.DataFrame([{"user_id": 7, "item_id": 105, "time_ms": NOW_MS, "viewed": 1}])
    reader.apply(FeedbackBatch.from_frame(frame))
    seen = [
        reader.items(_request(7, now), reader.user(_request(7, now)), np.array([1])) for now in (NOW_MS - 1, NOW_MS)
    ]
    assert seen[0][0, COLUMN["user_views_1h"]] == 0.0
    assert seen[1][0, COLUMN["user_views_1h"]] > 0.0


def test_profiles_are_those_of_the_start(small: Tables) -> None:
    logged = FeedbackBatch.from_frame(small.impressions)
    reader = ContentReader(_state(small, logged.take(slice(0, 700))))
    rows = np.arange(len(small.items))

    def profile() -> np.ndarray:
        request = _request(7, NOW_MS + 30 * DAY_MS)
        values = reader.items(request, reader.user(request), rows)
        return values[
            :, [COLUMN[name] for name in ("user_profile_views", "pair_category_views", "pair_duration_views")]
        ]

    before = profile()
    reader.apply(logged.take(slice(700, None)))
    assert np.array_equal(profile(), before)
    assert before.all(axis=1).any()


def test_a_followed_creator_is_known_and_offered(small: Tables) -> None:
    follow = {"time_ms": NOW_MS - MINUTE_MS, "viewed": 1, "follow": 1}
    ask = _told(small, follow)
    assert ask("pair_followed") == 1.0
    assert _told(small, follow, user_id=10)("pair_followed") == 0.0
    reader = ContentReader(_state(small, FeedbackBatch.empty()))
    reader.apply(FeedbackBatch.from_frame(pl.DataFrame([{"user_id": 7, "item_id": 105} | follow] * 2)))
    viewer = reader.user(_request(7, NOW_MS))
    assert viewer.followed_creators.tolist() == [int(reader.state.items.creator[1])]
    assert viewer.follows(np.array([1, 39, -1])).tolist() == [True, False, False]


# -- the fold, by itself --------------------------------------------------------------------------------------------------
VECTORS = np.vstack([np.random.default_rng(1).normal(size=(5, CONTENT_DIM)), np.zeros((1, CONTENT_DIM))])


def _acted(*events: tuple[float, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """State and what was told after (item, time, viewed, did); an item is also the row of its content."""
    state, told = np.tile(ACTS.starts(), (1, 1)), np.full((len(events), 1), np.nan)
    inputs = np.array(
        [(item, time_ms, did, item, viewed, 1, item) for item, time_ms, viewed, did in events], np.float64
    )
    act(state, np.zeros(len(events), np.int64), inputs, told, (VECTORS,))
    return state[0], told[:, 0]


def test_what_was_hidden_joins_the_other_taste_and_fades() -> None:
    nothing = float("nan")
    one, told = _acted((2, DAY_MS, 1, LIKE | HATE), (4, DAY_MS + 1, 1, 0), (nothing, DAY_MS + 2, 1, LIKE))
    assert not one[ACTS.place("liked")].any()
    assert one[ACTS.place("passed")] == pytest.approx(0.9 * VECTORS[2] + VECTORS[4])
    assert told.tolist() == [LIKE | HATE, 0, LIKE]
    assert one[0] == 3


def test_fifty_views_are_kept_newest_first() -> None:
    one, _ = _acted(*((k % 5, DAY_MS + k, 1, 0) for k in range(KEPT_ACTIONS + 3)))
    assert one[ACTS.place("time")].tolist() == [DAY_MS + k for k in range(52, 2, -1)]
    assert one[0] == 53


@settings(max_examples=60)
@given(st.lists(st.tuples(*(st.integers(0, high) for high in (4, 90, 1, 127))), min_size=1, max_size=90))
def test_credit_goes_to_the_view_that_a_plain_search_finds(rows: list[tuple[int, int, int, int]]) -> None:
    events = [(item, DAY_MS + minute * MINUTE_MS, viewed, did) for item, minute, viewed, did in rows]
    _, told = _acted(*events)
    views: list[dict[str, int]] = []
    for (item, time_ms, viewed, did), said in zip(events, told.tolist(), strict=True):
        if viewed:
            views.append({"item": item, "time": time_ms, "did": did})
            assert said == did
            continue
        kept = [
            (one["time"], -(at % KEPT_ACTIONS), at) for at, one in enumerate(views) if at >= len(views) - KEPT_ACTIONS
        ]
        fits = [
            place
            for place in kept
            if views[place[2]]["item"] == item and time_ms - 30 * MINUTE_MS <= place[0] <= time_ms
        ]
        if not did or not fits:
            assert np.isnan(said)
            continue
        credited = views[max(fits)[2]]
        assert said == did & ~credited["did"]
        credited["did"] |= did


@settings(max_examples=30)
@given(st.lists(st.integers(0, 200), max_size=30))
def test_a_session_ends_with_thirty_silent_minutes(minutes: list[int]) -> None:
    one, _ = _acted((0, DAY_MS, 1, 0), *((0, DAY_MS + minute * MINUTE_MS, 1, LONG_VIEW) for minute in minutes))
    last, views = 0, 1
    for minute in minutes:
        views = 1 if minute - last > 30 else views + 1
        last = max(last, minute)
    assert one[ACTS.place("session_views")] == [views]


# -- items ----------------------------------------------------------------------------------------------------------------
def test_a_repost_whose_original_is_not_told_of_makes_one() -> None:
    table = pl.DataFrame(
        {
            "item_id": [9, 8, 3], "canonical_id": [5, 5, 3], "creator_id": [70, -1, -1], "created_ms": [4, None, 6],
            "duration_ms": [9_000, 8_000, None], "kind": ["AD", None, "NORMAL"], "category": [63, 2, -1],
            "tags": [[1], None, [2, -1]], "audio_id": [1, 2, -1], "integrity": [1, None, 0],
        }
    )  # fmt: skip
    items = with_originals(table)
    assert items["item_id"].to_list() == [3, 5, 8, 9]
    users = pl.DataFrame({"user_id": [1], "activity": ["a"]})
    facts = ContentItems.of(items, Catalog.from_tables(items, users))
    assert facts.length_s.tolist() == [0.0, 8.0, 8.0, 8.0, 0.0]  # the repost with the smallest id lends its facts
    assert facts.offered.tolist() == [0, 1]
    assert facts.creator.tolist() == [1, 1, 1, 1, 0]  # nobody's creator (-1) is a creator
    assert facts.category.tolist() == [0, 3, 3, 3, 0]
    assert np.linalg.norm(facts.vectors, axis=1) == pytest.approx([1, 1, 1, 1, 0])
