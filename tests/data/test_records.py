from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mainstem.base.errors import DataError
from mainstem.data.records import (
    Feedback,
    IdTable,
    check_impression,
    decode_events,
    decode_feedback,
    decode_impression,
    feedback_frame,
    hashed_id,
    pack_impression,
)
from mainstem.data.tables import IMPRESSIONS

DOCUMENTED: dict[str, Any] = {
    "event_id": "e-1", "request_id": 41, "user_id": 7, "item_id": 99, "surface": "feed", "scenario": 1,
    "time_ms": 1650812741436, "position": 0, "viewed": 1, "click": 1, "like": 0, "follow": 0, "comment": 0, "forward": 0,
    "hate": 0, "long_view": 1, "watch_ms": 61802, "duration_ms": 49866,
}  # fmt: skip


def body(**change: Any) -> bytes:
    return json.dumps(DOCUMENTED | change).encode()


def test_the_documented_record_is_taken_and_sent_as_it_is_written() -> None:
    record = decode_feedback(body())
    assert (record.user_id, record.long_view, record.watch_ms) == (7, 1, 61802)
    assert {name: value for name, value in DOCUMENTED.items() if name != "viewed"} == json.loads(record.payload())
    assert record.key() == "e:e-1"


def test_a_record_without_an_event_id_is_known_by_request_and_item_and_heads_may_be_left_out() -> None:
    short = {name: DOCUMENTED[name] for name in ("request_id", "user_id", "item_id", "surface", "time_ms")}
    record = decode_feedback(json.dumps(short).encode())
    assert record.key() == "r:41:99"
    assert (record.click, record.viewed, record.position) == (None, 1, -1)


@pytest.mark.parametrize(
    "change",
    [
        {"item_id": 2**63}, {"item_id": 10**30}, {"item_id": -1}, {"item_id": 1.5}, {"item_id": None}, {"user_id": ""},
        {"user_id": "x" * 257}, {"request_id": "41"}, {"time_ms": 0}, {"time_ms": 10**15}, {"time_ms": "now"},
        {"click": 2}, {"click": True}, {"click": -1}, {"surface": "a b"}, {"surface": ""}, {"surface": "x" * 65},
        {"watch_ms": -1}, {"watch_ms": 10**12}, {"propensity": 0.0}, {"propensity": 1.5}, {"position": 40_000},
        {"event_id": "x" * 129}, {"viewed": None},
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_naming_the_field(change: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        decode_feedback(body(**change))
    assert caught.value.code == "data-020"
    assert next(iter(change)) in caught.value.message


def test_an_unknown_field_is_refused_with_what_was_meant() -> None:
    with pytest.raises(DataError) as caught:
        decode_feedback(body(longview=1))
    assert caught.value.code == "data-021"
    assert "'long_view'" in caught.value.hint


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"request_id": NaN}', b"\xff\xfe"])
def test_what_is_no_json_record_is_refused(raw: bytes) -> None:
    with pytest.raises(DataError) as caught:
        decode_feedback(raw)
    assert caught.value.code == "data-020"


@example(b'{"user_id": "\xff\xfe"}')
@example(b"\x81\xab\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80")
@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_decode_or_be_refused(raw: bytes) -> None:
    for decode in (decode_feedback, decode_events, decode_impression):
        with pytest.raises(DataError):
            decode(raw)


def test_one_bad_record_refuses_the_body_and_says_which() -> None:
    good = DOCUMENTED
    assert len(decode_events(json.dumps({"events": [good, good]}).encode())) == 2
    with pytest.raises(DataError) as caught:
        decode_events(json.dumps({"events": [good, good | {"like": 7}]}).encode())
    assert "$.events[1].like" in caught.value.message
    with pytest.raises(DataError) as caught:
        decode_events(json.dumps({"events": [good] * 10_001}).encode())
    assert caught.value.code == "data-020"


def test_text_ids_become_the_logs_numbers_and_unknown_ones_a_number_far_above() -> None:
    ids = IdTable({"ann": 3}, {"film": 4})
    record = decode_feedback(body(user_id="ann", item_id="film"), ids)
    assert (record.user_id, record.item_id) == (3, 4)
    stranger = decode_feedback(body(user_id="bob"), ids).user_id
    assert stranger == hashed_id("bob")
    assert isinstance(stranger, int)
    assert 2**62 <= stranger < 2**63


def test_a_text_id_is_refused_where_the_logs_ids_are_numbers() -> None:
    with pytest.raises(DataError) as caught:
        decode_feedback(body(item_id="99"))
    assert caught.value.code == "data-022"


def test_feedback_becomes_rows_of_the_impressions_table() -> None:
    records = [Feedback(request_id=2, user_id=1, item_id=5, surface="feed", time_ms=1650812741436, click=1)]
    frame = feedback_frame(records, utc_offset_min=480)
    assert frame.schema == IMPRESSIONS.schema
    assert frame.select("day", "click", "like", "stack").row(0) == (20220424, 1, None, None)
    assert feedback_frame([]).schema == IMPRESSIONS.schema


def test_an_impression_keeps_its_arrays_to_the_last_bit() -> None:
    rng = np.random.default_rng(3)
    arrays = {
        "scores": rng.random(4),
        "predictions": rng.random((4, 2)),
        "features": rng.random((4, 6)),
        "positions": np.arange(4),
    }
    record = pack_impression(
        np.arange(4), arrays, request_id=1, user_id=2, surface="feed", time_ms=1650812741436, stack="unified",
        heads=("click", "like"), timings_ms={"rank": 1.5},
    )  # fmt: skip
    back = decode_impression(record.payload())
    assert back == record
    assert np.array_equal(back.ids(), np.arange(4))
    assert np.array_equal(back.array("scores"), arrays["scores"])
    assert np.array_equal(back.array("features"), arrays["features"].astype(np.float32))
    assert back.array("predictions").shape == (4, 2)


@pytest.mark.parametrize(
    "change", [{"item_ids": b"123"}, {"scores": b"1234"}, {"predictions": b"1234"}, {"features": b"12345"}]
)
def test_an_impression_whose_arrays_do_not_fit_is_refused(change: dict[str, bytes]) -> None:
    fields: dict[str, Any] = {"item_ids": bytes(16), "heads": ("click",)} | change
    record = pack_impression(
        np.arange(2), {}, request_id=1, user_id=2, surface="feed", time_ms=1650812741436, stack="c"
    )  # fmt: skip
    broken = type(record)(**{name: getattr(record, name) for name in record.__struct_fields__} | fields)
    with pytest.raises(DataError) as caught:
        check_impression(broken)
    assert caught.value.code == "data-023"
