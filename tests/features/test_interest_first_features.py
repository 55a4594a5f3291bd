"""The interest-first features as declared: online and offline to the bit, their conventions, and what a failure leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_log import DAY_MS, START_MS, Tables
from interest_first_made import SURFACES, UNTIL_MS, made_program, made_reader, made_stream, served

from mainstem.base.errors import FeatureError, StoreError
from mainstem.base.request import Request
from mainstem.features.backfill import Backfill, Requests
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.interest_first import HALF_LIFE_MS, INTEREST_FIRST, SIGNALS
from mainstem.features.interest_first_posts import INTEREST
from mainstem.features.interest_first_reader import InterestFirstReader, served_events
from mainstem.features.reading import Reading

HOUR_MS = 3_600_000
LOGGED = 400
AT = {name: place for place, name in enumerate(SIGNALS)}


def ask(reader: InterestFirstReader, request: Request, rows: list[int] | np.ndarray) -> np.ndarray:
    """The signals of some posts. Shapes: [n, signals]."""
    return reader.items(request, reader.user(request), np.asarray(rows, np.int64))


def _request(now_ms: int, user_id: int = 7, surface: str = "feed", **more: object) -> Request:
    return Request(1, user_id, surface, now_ms, 10, scenario=1, **more)  # type: ignore[arg-type]


# -- online and offline ---------------------------------------------------------------------------------------------------
def _asked(stream: FeedbackBatch, at: list[int], seed: int = 1) -> list[Request]:
    draw = np.random.default_rng(seed)
    users = [7, *np.unique(stream.user_id)[:20].tolist(), 10**8]
    return [
        Request(
            request_id=number,
            user_id=int(draw.choice(users)) if number % 2 else 7,
            surface=SURFACES[number % 3],
            now_ms=int(stream.time_ms[min(place, len(stream) - 1)] + draw.integers(-2, 30) * HOUR_MS),
            count=5,
            scenario=int(draw.integers(-1, 70)),
            failures=frozenset({"features"} if number % 11 == 5 else ()),
        )
        for number, place in enumerate(at)
    ]


def _online(
    reader: InterestFirstReader, stream: FeedbackBatch, cuts: list[int], asked: list[Request], rows: np.ndarray
) -> np.ndarray:
    """What each request is answered before the batch at its cut is taken in."""
    found = []
    for (start, end), request in zip(pairwise([*cuts, len(stream)]), asked, strict=True):
        found.append(ask(reader, request, rows))
        reader.apply(stream.take(slice(start, end)))
    return np.concatenate(found)


def _offline(
    reader: InterestFirstReader, streams: list[Events], asked: list[Request], as_of: list[int], rows: np.ndarray
) -> np.ndarray:
    """The same of the log alone. Only the reader's definitions and tables are used, not its state."""
    n, posts = len(rows), reader.state.tables["posts"]
    item_ids = np.append(posts.ids, -1)[rows]
    topic = posts.columns["interest"][rows]

    def each(values: list[int]) -> np.ndarray:
        return np.repeat(np.array(values, np.int64), n)

    given = {
        "user_id": each([one.user_id for one in asked]),
        "history_id": each([-1 if one.failures else one.user_id for one in asked]),
        "now_ms": each([one.now_ms for one in asked]),
        "surface": each([SURFACES.index(one.surface) for one in asked]),
        "scenario": each([one.scenario for one in asked]),
        "item_id": np.tile(item_ids, len(asked))[:, None],
        "topic": np.tile(topic, len(asked))[:, None],
    }
    columns = {name: np.concatenate([one.columns[name] for one in streams]) for name in streams[0].columns}
    events = Events(np.concatenate([one.offset for one in streams]), columns)
    plan, tables = reader.state.plan, reader.state.tables
    done = Backfill(plan, tables, {"feedback": events}).values(
        Reading(plan, tables, SIGNALS), Requests(given, each(as_of))
    )
    return np.stack([done[name] for name in SIGNALS], axis=1)


@pytest.mark.parametrize("step", [1, 23, 300])
def test_online_equals_offline_to_the_bit(small: Tables, step: int) -> None:
    stream = made_stream(small)
    log, live = stream.take(slice(0, LOGGED)), stream.take(slice(LOGGED, None))
    live = live.take(slice(0, 90)) if step == 1 else live
    cuts = list(range(0, len(live), step))
    asked, rows = _asked(live, cuts), np.array([0, 3, 7, 30, 39, -1])
    reader = made_reader(small, log)
    online = _online(reader, live, cuts, asked, rows)
    streams = [served_events(log, 0, True), served_events(live, LOGGED, False)]
    offline = _offline(reader, streams, asked, [LOGGED + cut for cut in cuts], rows)
    np.testing.assert_array_equal(online, offline)
    if step < 300:  # every signal is known for somebody
        assert (np.isnan(online).mean(axis=0) < 1.0).all()


def test_a_restart_in_the_middle_changes_no_bit(small: Tables, tmp_path: Path) -> None:
    stream = made_stream(small, seed=3)
    log, live = stream.take(slice(0, LOGGED)), stream.take(slice(LOGGED, None))
    cuts = list(range(0, len(live), 50))
    asked, rows = _asked(live, cuts), np.array([0, 5, 38, -1])
    whole = _online(made_reader(small, log), live, cuts, asked, rows)
    half = len(cuts) // 2
    first, again = made_reader(small, log), made_reader(small)
    before = _online(first, live.take(slice(0, cuts[half])), cuts[:half], asked[:half], rows)
    first.save(tmp_path / "memory")
    again.load(tmp_path / "memory")
    rest = [cut - cuts[half] for cut in cuts[half:]]
    after = _online(again, live.take(slice(cuts[half], None)), rest, asked[half:], rows)
    np.testing.assert_array_equal(np.concatenate([before, after]), whole)


def test_a_memory_of_other_definitions_is_refused(small: Tables, tmp_path: Path) -> None:
    reader = made_reader(small)
    reader.save(tmp_path / "memory")
    with np.load(tmp_path / "memory") as held:
        arrays = {name: held[name] for name in held.files if name != "head"}
    with (tmp_path / "memory").open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    with pytest.raises(StoreError) as refused:
        reader.load(tmp_path / "memory")
    assert refused.value.code == "store-040"


def test_what_everybody_did_does_not_depend_on_the_order_it_came_in(small: Tables) -> None:
    stream = made_stream(small, seed=5)
    shuffled = stream.take(np.random.default_rng(0).permutation(len(stream)))
    crowd = [AT[name] for name in SIGNALS if name.startswith("crowd_")]
    found = []
    for one in (stream, shuffled):
        reader = made_reader(small)
        reader.apply(one)
        found.append(ask(reader, _request(int(stream.time_ms.max())), np.arange(40))[:, crowd])
    np.testing.assert_array_equal(*found)


# -- conventions ----------------------------------------------------------------------------------------------------------
def test_days_are_the_viewers_own(small: Tables) -> None:
    """Users of the small log live 8 hours east: their day begins at 16:00 by UTC."""
    reader = made_reader(small)
    midnight = UNTIL_MS - 8 * HOUR_MS  # of the viewer's day
    reader.apply(served([{"user_id": 7, "item_id": 100, "long_view": 1, "time_ms": midnight - 1}]))

    def lift(now_ms: int) -> np.ndarray:
        return ask(reader, _request(now_ms), [0])[0, [AT["own_lift_7d_item"], AT["own_lift_30d_item"]]]

    assert not np.isnan(lift(midnight + 6 * DAY_MS - 1)).any()  # six local days later, the running one counts
    gone, there = lift(midnight + 6 * DAY_MS)
    assert np.isnan(gone)
    assert not np.isnan(there)


def test_every_served_post_counts_whether_viewed_or_not(small: Tables) -> None:
    row = {"user_id": 7, "item_id": 100, "time_ms": START_MS}
    seen = []
    for viewed in (0, 1):
        reader = made_reader(small)
        reader.apply(served([row | {"viewed": viewed}]))
        seen.append(ask(reader, _request(START_MS), [0])[0])
    np.testing.assert_array_equal(*seen)
    assert seen[0][AT["own_served_item"]] == pytest.approx(np.log(2.0))
    assert seen[0][AT["crowd_served_item"]] == pytest.approx(np.log(2.0))


def test_what_everybody_did_fades_by_half_in_fourteen_days_without_steps(small: Tables) -> None:
    reader = made_reader(small)
    reader.apply(served([{"user_id": 7, "item_id": 100, "time_ms": START_MS + at} for at in range(8)]))
    for days in (0.0, 0.3, 14.0, 31.7):
        now_ms = START_MS + int(days * DAY_MS)
        served_now = np.expm1(ask(reader, _request(now_ms), [0])[0, AT["crowd_served_item"]])
        assert served_now == pytest.approx(8.0 * 0.5 ** (days / 14.0), rel=1e-7)


@pytest.mark.parametrize(
    ("outcomes", "depth"),
    [({}, 0.0), ({"click": 1}, 0.4), ({"click": 1, "like": 1}, 1.0), ({"long_view": 1}, 1.0), ({"hate": 1}, 0.0)],
)
def test_how_deep_a_touch_goes(small: Tables, outcomes: dict[str, int], depth: float) -> None:
    reader = made_reader(small)
    reader.apply(served([{"user_id": 7, "item_id": 100, **outcomes}]))
    assert ask(reader, _request(START_MS), [0])[0, AT["depth_last_1"]] == depth


def test_of_more_than_512_posts_the_older_half_goes_at_once(small: Tables) -> None:
    reader = made_reader(small)
    rows = [{"user_id": 7, "item_id": 100 + 5 * (at % 40), "time_ms": START_MS + at} for at in range(1100)]
    for start, end, kept in ((0, 512, 512), (512, 513, 257), (513, 768, 512), (768, 769, 257), (769, 1100, 332)):
        reader.apply(served(rows[start:end]))
        past = reader.user(_request(START_MS + end)).past
        assert past is not None
        assert past.time_ms.tolist() == list(range(START_MS + end - kept, START_MS + end))


def test_the_log_itself_is_cut_to_512_without_halving(small: Tables) -> None:
    rows = [{"user_id": 7, "item_id": 100, "time_ms": START_MS + at} for at in range(700)]
    reader = made_reader(small, served(rows))
    past = reader.user(_request(START_MS)).past
    assert past is not None
    assert len(past.time_ms) == 512


def test_of_posts_nobody_listed_only_the_log_teaches(small: Tables) -> None:
    unlisted = [{"user_id": 7, "item_id": 10**9}]
    logged, live = made_reader(small, served(unlisted)), made_reader(small)
    live.apply(served(unlisted))
    names = [AT["crowd_served_item"], AT["crowd_served_place"]]
    np.testing.assert_allclose(ask(logged, _request(START_MS), [-1])[0, names], np.log(2.0))
    np.testing.assert_allclose(ask(live, _request(START_MS), [-1])[0, names], [0.0, np.log(2.0)], atol=1e-9)


# -- what is not known ----------------------------------------------------------------------------------------------------
def test_every_signal_stands_for_the_cohorts_mean_when_it_is_not_known() -> None:
    for name in SIGNALS:
        feature = INTEREST_FIRST.owner_of[name]
        assert feature.failed == "cohort_mean"
        assert np.isnan([feature.default, feature.when_empty]).all()
        assert feature.unit
        assert feature.about


def test_a_failed_lookup_leaves_everybody_and_the_cohort(small: Tables) -> None:
    reader = made_reader(small, made_stream(small))
    posts, artefacts, cohorts = made_program(small)
    request = _request(int(made_stream(small).time_ms.max()), surface="groups")
    failed = replace(request, failures=frozenset({"features"}))
    whole, viewer = ask(reader, request, np.arange(40)), reader.user(failed)
    left = ask(reader, failed, np.arange(40))
    mine = [AT[name] for name in SIGNALS if name.startswith(("own_", "depth_"))]
    others = [AT[name] for name in SIGNALS if name.startswith("crowd_")]
    assert np.isnan(left[:, mine]).all()
    assert not np.isnan(whole[:, mine]).all(axis=0).any()
    np.testing.assert_array_equal(left[:, others], whole[:, others])
    row = cohorts[int(posts.catalog.user_rows(np.array([7]))[0])]
    own, prior = artefacts.arrays["cohort_interest"][row], artefacts.arrays["prior"][0]
    shares = (own + 3.0 * prior) / (own.sum() + 3.0)
    np.testing.assert_array_equal(viewer.shares, shares)
    assert viewer.past is None
    np.testing.assert_allclose(left[:, AT["interest_share"]], np.log(shares[posts.slots[:40, INTEREST]]), rtol=1e-12)


def test_events_too_long_after_training_are_refused(small: Tables) -> None:
    reader = made_reader(small)
    late = UNTIL_MS + 8 * HALF_LIFE_MS
    reader.apply(served([{"user_id": 7, "item_id": 100, "time_ms": late}]))
    with pytest.raises(FeatureError, match="112 days") as refused:
        reader.apply(served([{"user_id": 7, "item_id": 100, "time_ms": late + 1}]))
    assert refused.value.code == "feature-093"
    assert "mainstem train" in refused.value.hint


# -- real log -------------------------------------------------------------------------------------------------------------
@pytest.mark.real
@pytest.mark.slow
def test_online_equals_offline_on_kuairand(pack: Callable[[str], Path], tmp_path: Path) -> None:
    from mainstem.data.importer import import_log
    from mainstem.data.log import read_log

    import_log(pack("kuairand_pure"), tmp_path / "log")
    log = read_log(tmp_path / "log")
    tables = Tables(log.items, log.users, log.impressions, log.history)
    until, frame = 20220428, log.impressions.sort("time_ms", maintain_order=True)
    past = FeedbackBatch.from_frame(frame.filter(pl.col("day") < until).tail(150_000), SURFACES)
    live = FeedbackBatch.from_frame(frame.filter(pl.col("day") >= until).head(30_000), SURFACES)
    reader = made_reader(tables, past, until)
    cuts = list(range(0, len(live), 1_500))
    asked = [
        Request(at, int(live.user_id[cut]), SURFACES[at % 3], int(live.time_ms[cut]), 5) for at, cut in enumerate(cuts)
    ]
    rows = np.random.default_rng(0).integers(-1, len(log.items), 40)
    online = _online(reader, live, cuts, asked, rows)
    streams = [served_events(past, 0, True), served_events(live, len(past), False)]
    offline = _offline(reader, streams, asked, [len(past) + cut for cut in cuts], rows)
    np.testing.assert_array_equal(online, offline)
