"""A served item leads back to the rows that entered its features, and what is missing is said."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest
from dataset_log import made, table

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.lineage import FeatureOrigin, Links, ModelOrigin, SegmentRows, SlateOrigin, trace

LOG = table().append_column("offset", [list(range(600))])
SLATE = SlateOrigin(900, 3, 4_900, 590, (11, 7), "unified", "m1", "v1", {"surface": 1})
FEATURES = (
    FeatureOrigin("user_ever", "feedback", ("user_id",)),
    FeatureOrigin("user_recent", "feedback", ("user_id",), window_ms=1_000),
    FeatureOrigin("user_last", "feedback", ("user_id",), last=4),
    FeatureOrigin("pair", "feedback", ("user_id", "item_id")),
    FeatureOrigin("nobody", "follows", ("user_id",)),
)


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    record = made(tmp_path_factory.mktemp("sets") / "small", LOG.slice(0, 540)).record
    rows = pl.DataFrame(LOG)
    segments = {"feedback": [("segment-0", rows[:400].lazy()), ("segment-1", rows[400:].lazy())]}
    return Links(
        slate={900: SLATE}.get,
        model={"m1": ModelOrigin("m1", record.sha256)}.get,
        dataset={record.sha256: record}.get,
        features={"v1": FEATURES}.get,
        events=SegmentRows(segments),
        key=lambda name, item: {"creator_id": item % 3}.get(name),
    )


def test_every_event_that_entered_is_found(links):
    found = trace(900, 7, links)
    user, time_ms, item = (np.asarray(LOG.column(name)) for name in ("user_id", "time_ms", "item_id"))
    own = np.flatnonzero((user == 3) & (np.arange(600) < 590))
    entered = {one.feature.name: one for one in found.entered}
    assert entered["user_ever"].events == len(own)
    assert (entered["user_ever"].first_offset, entered["user_ever"].last_offset) == (own[0], own[-1])
    assert entered["user_recent"].events == (time_ms[own] >= 3_900).sum()
    assert [row.offset for row in entered["user_last"].rows] == own[-4:][::-1].tolist()
    assert entered["pair"].events == (item[own] == 7).sum()
    assert entered["nobody"].events == 0
    assert found.place == 1
    assert not found.gaps


def test_a_row_is_named_by_segment_and_place(links):
    for one in trace(900, 7, links).entered:
        for row in one.rows:
            assert row.offset == row.row + {"segment-0": 0, "segment-1": 400}[row.segment]


def test_the_text_names_every_link(links):
    text = str(trace(900, 7, links))
    for needed in (
        "item 7, place 1 of 2",
        "as of offset 590",
        "m1",
        "touch (0.05 s, last_touch)",
        "log table",
        "user_last",
        "segment-1",
    ):
        assert needed in text, text


def test_an_unknown_request_or_item_is_refused(links):
    for request, item in ((1, 7), (900, 8)):
        with pytest.raises(FeatureError) as refusal:
            trace(request, item, links)
        assert refusal.value.code == "feature-094"


@pytest.mark.parametrize(
    ("change", "gap"),
    [
        ({"model": lambda _: None}, "nothing is known of model m1"),
        ({"dataset": lambda _: None}, "nothing is known of training set"),
        ({"features": lambda _: None}, "nothing is known of feature set v1"),
        ({"features": lambda _: (FeatureOrigin("x", "feedback", ("audio_id",)),)}, "has no audio_id"),
        (
            {"slate": lambda _: SlateOrigin(900, 3, 1, 590, (7,), "u", "m1", "v2", {})},
            "served with features v2, trained on v1",
        ),
        ({"slate": lambda _: SlateOrigin(900, 3, -1, 100, (7,), "u", "m1", "v1", {})}, "has seen the future"),
    ],
)
def test_a_missing_link_is_a_gap_and_not_the_end(links, change, gap):
    found = trace(900, 7, replace(links, **change))
    assert any(gap in one for one in found.gaps)
    assert gap in str(found)


@pytest.mark.parametrize(
    ("clock", "hop", "expected"),
    [
        (False, 1, [3_900, 4_900]),
        (False, 300, [3_600, 5_099]),
        (True, 250, [4_000, 4_999]),
        (False, 1_000, [3_000, 4_999]),
    ],
)
def test_a_window_is_the_tiles_that_the_kernel_reads(links, clock, hop, expected):
    spans = []
    feature = FeatureOrigin("x", "feedback", ("user_id",), window_ms=1_000, hop_ms=hop, clock=clock)
    links = replace(
        links, features=lambda _: (feature,), events=lambda *asked: (spans.append(asked[2]), (0, -1, ()))[1]
    )
    trace(900, 7, links)
    assert [list(span) for span in spans] == [expected]


def test_a_creator_is_looked_up(links):
    one = FeatureOrigin("creator", "feedback", ("creator_id", "surface"))
    rows = pl.DataFrame({"offset": [1, 2], "time_ms": [5, -1], "creator_id": [1, 1], "surface": [1, 1]}).lazy()
    found = trace(900, 7, replace(links, features=lambda _: (one,), events=SegmentRows({"feedback": [("s", rows)]})))
    assert found.entered[0].events == 2
    assert "time not known" in str(found)
    assert msgspec.json.encode(found.entered[0].key) == b'{"creator_id":1,"surface":1}'
