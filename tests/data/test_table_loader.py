"""Any table comes in through the mapping, without code; what cannot be an impression is dropped with a reason."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import polars as pl
import pytest

from mainstem.base.errors import DataError
from mainstem.base.settings import Data
from mainstem.data.importer import import_log
from mainstem.data.log import Log, read_log
from mainstem.data.records import IdTable

NOON_MS = 1_650_801_600_000
"""2022-04-24 12:00 UTC, 20:00 in Shanghai."""

MAPPING = Data(
    columns={"item_id": "vid", "user_id": "uid", "time_ms": "ts", "scenario": "tab", "watch_ms": "seen_s * 1000"},
    surfaces={"feed": [], "groups": [2], "pages": [0, 6]},
    time={"unit": "s", "zone": "Asia/Shanghai"},
    heads={"click": "clicked", "long_view": "watch_ms >= 0.7 * duration_ms"},
)


def rows() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "vid": [10, 11, 12, 13],
            "uid": [1, 1, 2, 2],
            "ts": [NOON_MS // 1000 + n for n in (1, 1, 0, 5 * 3600)],
            "tab": [1, 1, 2, 0],
            "seen_s": [7, 6, 0, 100],
            "duration_ms": [10_000, 10_000, 10_000, 10_000],
            "clicked": [True, False, False, True],
        }
    )


def bring(source: object, tmp_path: Path, mapping: Data = MAPPING) -> Log:
    import_log(source, tmp_path / "log", mapping)
    return read_log(tmp_path / "log")


def test_a_mapped_table_becomes_requests_surfaces_heads_and_local_days(tmp_path: Path) -> None:
    shown = bring(rows(), tmp_path).impressions
    wanted = ["user_id", "item_id", "request_id", "position", "surface", "day", "click", "long_view"]
    assert shown.select(wanted).rows() == [
        (2, 12, 0, 0, "groups", 20220424, 0, 0),
        (1, 10, 1, 0, "feed", 20220424, 1, 1),
        (1, 11, 1, 1, "feed", 20220424, 0, 0),
        (2, 13, 2, 0, "pages", 20220425, 1, 1),
    ]
    assert shown["time_ms"].to_list() == [NOON_MS, NOON_MS + 1000, NOON_MS + 1000, NOON_MS + 18_000_000]
    assert shown["like"].null_count() == 4


def test_csv_tsv_parquet_arrow_duckdb_pyarrow_and_pandas_like_frames_give_the_same_log(tmp_path: Path) -> None:
    frame = rows()
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ipc(tmp_path / "a.arrow")
    with duckdb.connect() as connection:
        path = str(tmp_path / "a.parquet")
        sources = [tmp_path / f"a.{end}" for end in ("csv", "tsv", "parquet", "arrow")]
        in_memory = [frame.lazy(), frame.to_arrow(), connection.read_parquet(path)]
        hashes = {
            import_log(source, tmp_path / f"log{n}", MAPPING).sha256
            for n, source in enumerate([frame, *sources, *in_memory])
        }
    assert len(hashes) == 1


def test_text_ids_are_numbered_in_order_of_time_and_the_table_is_kept(tmp_path: Path) -> None:
    frame = rows().with_columns(("v" + pl.col("vid").cast(pl.String)).alias("vid"))
    log = bring(frame, tmp_path)
    assert log.impressions["item_id"].to_list() == [0, 1, 2, 3]
    ids = IdTable.read(log.folder)
    assert ids is not None
    assert [ids.item(f"v{n}") for n in (12, 10, 11, 13)] == [0, 1, 2, 3]
    assert ids.item("never seen") >= 2**62
    later = pl.concat([frame, frame.with_columns(("w" + pl.col("vid")).alias("vid"), pl.col("ts") + 10**6)])
    import_log(later, tmp_path / "later", MAPPING)
    grown = IdTable.read(tmp_path / "later")
    assert grown is not None
    assert [grown.item(f"v{n}") for n in (12, 10, 11, 13)] == [0, 1, 2, 3]


def test_rows_that_name_no_impression_are_dropped_by_reason_and_kept_for_inspection(tmp_path: Path) -> None:
    frame = rows().with_columns(pl.col("vid").cast(pl.Float64), pl.col("ts").cast(pl.Float64))
    broken = pl.concat(
        [
            frame,
            frame[0:1],  # exact duplicate
            frame[0:1].with_columns(pl.lit(False).alias("clicked")),  # the same impression again
            frame[0:1].with_columns(pl.lit(-3.0).alias("vid")),
            frame[0:1].with_columns(pl.lit(1.5).alias("vid")),
            frame[0:1].with_columns(pl.lit(float("nan")).alias("vid")),
            frame[0:1].with_columns(pl.lit(1e30).alias("vid")),
            frame[0:1].with_columns(pl.lit(float("inf")).alias("ts")),
            frame[0:1].with_columns(pl.lit(5.0).alias("ts")),
        ]
    )
    manifest = import_log(broken, tmp_path / "log", MAPPING)
    assert manifest.dropped == {"bad_id": 4, "bad_time": 2, "exact_duplicate": 1, "repeated_impression": 1}
    assert manifest.rows_in == manifest.rows["impressions"] + manifest.rows["dropped"] == 12
    log = read_log(tmp_path / "log")
    assert log.dropped["source_row"].to_list() == list(range(4, 12))
    assert "seen_s" in log.dropped.columns


def test_ids_beyond_64_bits_are_dropped_not_wrapped(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "user_id,item_id,time_ms\n1,9223372036854775807,1650000000000\n1,9223372036854775808,1650000000001\n"
    )
    manifest = import_log(tmp_path / "a.csv", tmp_path / "log")
    kept = read_log(tmp_path / "log").impressions["item_id"].to_list()
    assert manifest.dropped.get("bad_id") == 1
    assert kept == [9223372036854775807]


def test_nan_in_an_outcome_means_that_it_is_not_known(tmp_path: Path) -> None:
    frame = rows().with_columns(pl.Series("clicked", [float("nan"), 1.0, 0.0, None]))
    log = bring(frame, tmp_path)
    assert log.impressions.sort("item_id")["click"].to_list() == [None, 1, 0, None]


def test_rows_out_of_order_come_out_in_order_of_time(tmp_path: Path) -> None:
    assert bring(rows().reverse(), tmp_path).impressions["time_ms"].is_sorted()


def test_side_tables_give_items_and_users_their_attributes(tmp_path: Path) -> None:
    rows().write_csv(tmp_path / "a.csv")
    (tmp_path / "i.csv").write_text("vid,author,uploaded\n10,77,1650000000\n99,78,1650000001\n")
    (tmp_path / "u.csv").write_text("uid,activity\n1,busy\n")
    columns = MAPPING.columns | {"creator_id": "author", "created_ms": "uploaded"}
    mapping = Data(columns=columns, time=MAPPING.time, items="i.csv", users="u.csv")
    log = bring(tmp_path / "a.csv", tmp_path, mapping)
    items = {row["item_id"]: row for row in log.items.iter_rows(named=True)}
    assert (items[10]["creator_id"], items[10]["created_ms"]) == (77, 1_650_000_000_000)
    assert (items[11]["creator_id"], items[11]["created_ms"]) == (-1, NOON_MS + 1000)
    assert 99 in items
    assert dict(log.users.select("user_id", "activity").iter_rows()) == {1: "busy", 2: "UNKNOWN"}
    assert log.users["utc_offset_min"].to_list() == [480, 480]


def test_named_requests_keep_their_rows_together_in_order_of_time(tmp_path: Path) -> None:
    frame = rows().with_columns(pl.Series("request_id", ["z", "z", "y", "a"]))
    shown = bring(frame, tmp_path).impressions
    assert shown["request_id"].to_list() == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("texts", "zone", "expected"),
    [
        (["2022-04-24T12:00:00Z", "2022-04-24 20:00:00+08:00"], "UTC", [NOON_MS, NOON_MS]),
        (["2022-04-24 20:00:00", "2022-04-24 20:00"], "Asia/Shanghai", [NOON_MS, NOON_MS]),
        (["2022-04-24", "nonsense"], "UTC", [NOON_MS - 43_200_000, None]),
    ],
)
def test_iso_times_are_read_with_their_offset_or_in_the_zone(
    tmp_path: Path, texts: list[str], zone: str, expected: list[int | None]
) -> None:
    frame = pl.DataFrame({"user_id": [1, 2], "item_id": [5, 6], "time_ms": texts})
    log = bring(frame, tmp_path, Data(time={"unit": "iso", "zone": zone}))
    assert log.impressions.sort("user_id")["time_ms"].to_list() == [time for time in expected if time is not None]


def test_date_times_need_no_unit(tmp_path: Path) -> None:
    when = dt.datetime(2022, 4, 24, 20)
    frame = pl.DataFrame({"user_id": [1], "item_id": [5], "time_ms": [when]})
    assert bring(frame, tmp_path, Data(time={"zone": "Asia/Shanghai"})).impressions["time_ms"].to_list() == [NOON_MS]


@pytest.mark.parametrize(
    ("mapping", "code", "hint"),
    [
        (Data(columns={"itemid": "vid"}), "data-010", "'item_id'"),
        (Data(heads={"clik": "clicked"}), "data-010", "'click'"),
        (Data(time={"unti": "s"}), "data-010", "'unit'"),
        (Data(columns=MAPPING.columns | {"item_id": "vdi"}), "data-011", "'vid'"),
        (Data(), "data-011", "user_id ="),
        (Data(columns=MAPPING.columns, time={"unit": "days"}), "data-014", ""),
        (Data(columns=MAPPING.columns, time={"zone": "Mars"}), "data-014", ""),
        (Data(columns=MAPPING.columns, surfaces={"a": [], "b": []}), "data-013", ""),
        (Data(columns=MAPPING.columns, heads={"like": "tab == 'x'"}), "data-012", ""),
        (Data(columns=MAPPING.columns), "data-015", "unit"),
        (Data(loader="kuairan"), "data-010", "'kuairand'"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused_with_what_was_meant(
    tmp_path: Path, mapping: Data, code: str, hint: str
) -> None:
    rows().write_csv(tmp_path / "a.csv")
    with pytest.raises(DataError) as caught:
        import_log(tmp_path / "a.csv", tmp_path / "log", mapping)
    assert caught.value.code == code
    assert hint in caught.value.hint
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.parquet", "cut", "data-002"),
        ("a.xlsx", "x", "data-009"),
        ("a.tar.xz", "x", "data-002"),
        ("a.csv", "", "data-002"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_coded_error(tmp_path: Path, name: str, text: str, code: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        import_log(tmp_path / name, tmp_path / "log", MAPPING)
    assert caught.value.code == code


def test_an_object_that_is_no_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        import_log({"user_id": [1]}, tmp_path / "log")
    assert caught.value.code == "data-009"
