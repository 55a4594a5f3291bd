"""Feedback and catalog: what is missing is unknown, rows stay true, ids appear once."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from feature_log import Tables

from mainstem.base.errors import DataError
from mainstem.base.heads import HEADS
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import UNKNOWN_TIME, FeedbackBatch
from mainstem.features.statics import Rates, Statics
from mainstem.features.unified import UNIFIED


def test_what_a_frame_does_not_hold_is_unknown() -> None:
    batch = FeedbackBatch.from_frame(pl.DataFrame({"user_id": [1], "item_id": [2], "time_ms": [3], "like": [1]}))
    assert batch.outcomes.tolist() == [[1 if head == "like" else -1 for head in HEADS]]
    assert (batch.surface[0], batch.scenario[0], batch.duration_s[0]) == (-1, -1, 0.0)
    assert np.isnan(batch.watch_s[0])
    assert len(FeedbackBatch.empty()) == 0


def test_history_is_oldest_first_and_has_no_times() -> None:
    frame = pl.DataFrame(
        {"user_id": [1, 1, 2], "item_id": [10, 11, 12], "back": [0, 1, 0], "time_ms": [9, 9, 9], "long_view": [1, 0, 1]}
    )
    batch = FeedbackBatch.from_history(frame)
    assert batch.item_id.tolist() == [11, 10, 12]
    assert (batch.time_ms == UNKNOWN_TIME).all()


def test_columns_of_different_lengths_are_refused() -> None:
    whole = FeedbackBatch.from_frame(pl.DataFrame({"user_id": [1, 2], "item_id": [2, 3], "time_ms": [3, 4]}))
    parts = {name: getattr(whole, name) for name in FeedbackBatch.__slots__}
    with pytest.raises(DataError, match="item_id"):
        FeedbackBatch(**parts | {"item_id": np.array([2])})
    with pytest.raises(DataError, match="outcomes"):
        FeedbackBatch(**parts | {"outcomes": np.zeros((2, 3), np.int8)})


def test_rows_of_known_and_unknown_ids(small: Tables) -> None:
    catalog = Catalog.from_tables(small.items.reverse(), small.users)
    assert catalog.item_rows(np.array([100, 101, 105, 2**62])).tolist() == [39, -1, 38, -1]
    assert catalog.items.category[-1] == 0
    assert catalog.items.integrity[catalog.item_rows(np.array([100]))].tolist() == [-1]


def test_new_items_and_users_leave_old_rows_as_they_are(small: Tables) -> None:
    held = Catalog.from_tables(small.items[5:], small.users)
    grown = held.with_items(small.items).with_users(np.array([7, 5_000_000]))
    assert len(grown.items) == 40
    assert len(grown.users) == len(held.users) + 1
    for name in ("ids", "creator", "category", "duration_s", "integrity"):
        old, new = getattr(held.items, name), getattr(grown.items, name)
        np.testing.assert_array_equal(new[: len(held.items)], old[: len(held.items)])
    assert grown.item_rows(np.array([100])).tolist() == [35]


def test_an_id_that_appears_twice_is_refused(small: Tables) -> None:
    with pytest.raises(DataError, match="more than once") as refused:
        Catalog.from_tables(pl.concat([small.items, small.items[:1]]), small.users)
    assert refused.value.code == "data-041"


def test_an_item_that_was_not_there_at_training_is_read_from_its_content(small: Tables) -> None:
    catalog = Catalog.from_tables(small.items[:30], small.users)
    past = FeedbackBatch.from_history(small.history)
    statics = Statics.fit(catalog, past, Rates.fit(past))
    vectors, lift = statics.on(catalog.with_items(small.items))
    assert vectors.shape == (41, statics.vectors.shape[1])
    np.testing.assert_array_equal(vectors[:30], statics.vectors[:30])
    assert np.linalg.norm(vectors[30:40], axis=1).min() > 0.99
    assert (lift[30:] == 1.0).all()


def test_items_of_one_taste_get_alike_vectors(small: Tables) -> None:
    catalog = Catalog.from_tables(small.items, small.users)
    past = FeedbackBatch.from_history(small.history)
    vectors = Statics.fit(catalog, past, Rates.fit(past)).vectors[:-1]
    cosine, same = vectors @ vectors.T, np.equal.outer(*[catalog.items.category_id[:-1]] * 2)
    apart = ~np.eye(len(vectors), dtype=bool)
    assert cosine[same & apart].mean() > cosine[~same].mean() + 0.1


def test_every_feature_the_ranker_reads_says_what_it_is() -> None:
    for role in ("user", "item", "cross"):
        assert np.isfinite(UNIFIED.defaults_of(role)).all()
        assert len(UNIFIED.defaults_of(role)) == len(UNIFIED.columns_of(role))
    assert all(feature.about for feature in UNIFIED if feature.role)
    assert len(UNIFIED.fingerprint) == 12
