"""Training sets: one hash however they are chunked, whole or not there, no leak, every row accounted for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import dataset_log
import duckdb
import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from dataset_log import RULE, SPLIT, counts, made, table

from mainstem.base.errors import FeatureError
from mainstem.data.log import read_log, write_log
from mainstem.data.manifest import Manifest
from mainstem.data.tables import ITEMS, USERS
from mainstem.features.dataset.build import build
from mainstem.features.dataset.dataset import open_dataset
from mainstem.features.dataset.label_rule import LabelRule, one_per_outcome
from mainstem.features.dataset.record import FILE_NAME
from mainstem.features.dataset.scratch import Scratch
from mainstem.features.dataset.split import Split


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return made(tmp_path_factory.mktemp("sets") / "whole")


def refused(code: str):
    return pytest.raises(FeatureError, check=lambda error: error.code == code)


@pytest.mark.parametrize("how", [{"chunk_rows": 1}, {"chunk_rows": 100}, {"chunk_rows": 37, "threads": 3}])
def test_chunks_and_threads_leave_no_trace(tmp_path, whole, how):
    other = made(tmp_path / "whole", **how)
    assert other.record.sha256 == whole.record.sha256
    assert len(other.record.files) >= len(whole.record.files)
    assert other.lazy().collect().sort("offset").equals(whole.lazy().collect().sort("offset"))
    assert open_dataset(tmp_path / "whole", verify="values").record == other.record


def test_a_log_in_pieces_is_the_same_log(tmp_path, whole):
    log = table()
    pieces = pa.concat_tables([log.slice(0, 11), log.slice(11, 500), log.slice(511)])
    assert made(tmp_path / "whole", pieces).record.sha256 == whole.record.sha256


def changed_value(log: pa.Table) -> pa.Table:
    item = log.column("item_id").to_pylist()
    item[300] += 1
    return log.set_column(log.column_names.index("item_id"), "item_id", pa.array(item))


@pytest.mark.parametrize(
    "change",
    [
        {"log": changed_value(table())},
        {"version": "v2"},
        {"rules": msgspec.structs.replace(RULE, window_ms=51)},
        {"split": Split(("train", "validation", "test"), (3_000, 4_001))},
        {"feedback_delay_ms": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_definition_and_every_value_counts(tmp_path, whole, change):
    assert made(tmp_path / "whole", **change).record.sha256 != whole.record.sha256


def test_every_impression_is_kept_or_counted_as_removed(whole):
    record = whole.record
    for rule in record.rules:
        kept = sum(part.positives[rule.name] + part.negatives[rule.name] for part in record.parts)
        gone = sum(one.positives + one.negatives + one.unknown for one in record.removed if one.rule == rule.name)
        assert kept + gone == record.log.rows == 600
    reasons = {one.reason: one for one in record.removed}
    assert {"not viewable", "outcome not known", "window not over", "window crosses the part's end"} <= set(reasons)
    crossing = [one for one in record.removed if one.reason == "window crosses the part's end"]
    assert sum(one.positives for one in crossing)
    assert sum(one.negatives for one in crossing)
    assert record.rows + record.rows_removed == 600


def test_no_window_crosses_and_no_row_sees_its_own_request(whole):
    rows = whole.lazy().collect()
    first = rows.group_by("request_id").agg(
        pl.col("as_of").n_unique().alias("n"), (pl.col("offset").min()).alias("first")
    )
    assert first["n"].max() == 1
    assert (rows["as_of"] == rows["request_id"] * 3).all()
    for name, end in zip(SPLIT.names, (3_000, 4_000, int(np.max(table().column("time_ms")))), strict=True):
        assert whole.lazy(name).select(pl.col("time_ms").max()).collect().item() + RULE.window_ms <= end
    assert (rows["asked"] <= 3).all()


def test_the_delay_hides_young_events(tmp_path):
    log = table()
    time_ms = np.asarray(log.column("time_ms"))
    rows = made(tmp_path / "set", feedback_delay_ms=40).lazy().collect()
    for offset, as_of, when in rows.select("offset", "as_of", "time_ms").iter_rows():
        young = np.flatnonzero(time_ms > when - 40)
        assert as_of == min(offset // 3 * 3, young[0])


def test_outcomes_never_reach_a_feature(tmp_path):
    seen = []

    def spy(requests):
        seen.append(requests.column_names)
        return pa.table({"one": np.ones(len(requests))})

    made(tmp_path / "set", feature_values=spy)
    assert not {"click", "like", "viewed"} & {name for names in seen for name in names}
    assert {"surface", "as_of", "offset"} <= set(seen[0])


def test_a_log_folder_and_its_table_make_the_same_rows(tmp_path):
    log = table().append_column("day", pa.array(np.full(600, 20220501, np.int32)))
    frame = pl.DataFrame(log).with_columns(position=pl.int_range(600) % 3)
    frame = frame.unique(["request_id", "item_id"], keep="first", maintain_order=True)
    items = ITEMS.empty().vstack(
        pl.DataFrame({"item_id": range(30), "canonical_id": [i // 2 for i in range(30)], "creator_id": 1, "entity_id": 1,
                      "created_ms": 0, "duration_ms": 1, "kind": "NORMAL", "category": 1, "tags": [[1]] * 30, "audio_id": 1,
                      "integrity": 0}, schema=ITEMS.schema)
    )  # fmt: skip
    write_log(
        {"impressions": frame, "items": items, "users": USERS.empty()}, tmp_path / "log", Manifest(name="m", loader="x")
    )
    source = read_log(tmp_path / "log")
    rule = msgspec.structs.replace(RULE, by=("user_id", "canonical_id"))
    from_log = build(source, rule, counts(table()), tmp_path / "set", features_version="v", split=SPLIT)
    as_table = pa.table(source.impressions)
    from_table = build(
        as_table, rule, counts(table()), tmp_path / "two", features_version="v", split=SPLIT, items=items
    )
    assert from_log.record.values_sha256 == from_table.record.values_sha256
    assert from_log.record.log.sha256 == source.manifest.sha256


def test_outcomes_that_arrive_apart(tmp_path):
    log = table().drop_columns(["click", "like"])
    events = pl.DataFrame(
        {"event_id": ["a", "a", "b"], "offset": [700, 701, 702], "kind": ["click"] * 3, "time_ms": [0] * 3}
    )
    row = pl.DataFrame(log.slice(30, 1)).select("user_id", "item_id", "time_ms")
    when = row["time_ms"][0] + 7
    events = events.with_columns(pl.lit(row["user_id"][0]).alias("user_id"), pl.lit(row["item_id"][0]).alias("item_id"))
    events = events.with_columns(time_ms=pl.Series([when, when, -1]))
    dataset = made(tmp_path / "set", log, outcomes=events)
    positive = dataset.lazy().filter(pl.col("label_touch") == 1).collect()
    assert positive.height == 1
    assert positive["delay_ms_touch"].item() <= 7
    assert dataset.record.outcomes["touch"]["duplicate"] == 1
    assert dataset.record.outcomes["touch"]["no time"] == 1


def test_a_column_for_every_head(tmp_path):
    dataset = made(tmp_path / "set", rules=one_per_outcome(RULE, ("click", "like")))
    assert dataset.record.names("label") == ("label_click", "label_like")
    assert dataset.record.names("feature") == ("before", "asked")
    rows = dataset.lazy().collect()
    assert rows["label_like"].null_count() > 0  # not known for this head, known for the other
    assert rows.select(pl.max_horizontal("label_click", "label_like").null_count()).item() == 0


def test_arrow_and_duckdb_read_it(whole):
    rows = whole.arrow("train")
    base = duckdb.connect()
    base.register("train", rows.to_table())
    count = base.execute("select count(*), sum(label_touch) from train").fetchone()
    part = whole.record.parts[0]
    assert count == (part.rows, part.positives["touch"])


def test_killed_in_the_middle_it_is_not_there_and_goes_on(tmp_path, whole):
    out = tmp_path / "whole"
    done = subprocess.run(
        [sys.executable, dataset_log.__file__, str(out)], cwd=Path(dataset_log.__file__).parent, capture_output=True
    )
    assert done.returncode == 9, done.stderr
    assert not out.exists()
    finished = len(list((Scratch.folder_of(out) / "chunks").glob("*.json")))
    assert finished == 4 - 1  # the first was asked twice: once alone
    calls = []
    inner = counts(table())
    again = made(out, chunk_rows=60, feature_values=lambda requests: (calls.append(1), inner(requests))[1])
    assert again.record.sha256 == whole.record.sha256
    assert len(calls) == 10 - finished + 1
    assert not Scratch.folder_of(out).exists()
    assert open_dataset(out, verify="values").record.sha256 == whole.record.sha256


def test_another_version_starts_anew(tmp_path):
    def broken(requests):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        made(tmp_path / "set", feature_values=broken, chunk_rows=100)
    (Scratch.folder_of(tmp_path / "set") / "mark").touch()
    made(tmp_path / "set", version="v2", chunk_rows=100)
    assert not (tmp_path / "set" / "mark").exists()


def test_a_new_set_replaces_the_old_one_and_nothing_else(tmp_path):
    first = made(tmp_path / "set")
    second = made(tmp_path / "set", version="v2")
    assert open_dataset(tmp_path / "set").record == second.record != first.record
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("x")
    with refused("feature-087"):
        made(tmp_path / "notes")


def test_two_builders_do_not_share_a_folder(tmp_path):
    with Scratch.open(tmp_path / "set", "plan"), refused("feature-087"):
        made(tmp_path / "set")


@pytest.fixture
def copy(tmp_path, whole):
    return Path(shutil.copytree(whole.folder, tmp_path / "copy"))


def test_a_changed_byte_is_refused(copy):
    path = next(copy.glob("train/*.parquet"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with refused("feature-089"):
        open_dataset(copy)


@pytest.mark.parametrize(("old", "new"), [(b'"rows": 600', b'"rows": 601'), (b"\n}\n", b"\n} \n"), (b'"v1"', b'"v2"')])
def test_a_changed_record_is_refused(copy, old, new):
    path = copy / FILE_NAME
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    with refused("feature-089"):
        open_dataset(copy)


def test_a_missing_or_foreign_file_is_refused(copy):
    path = next(copy.glob("train/*.parquet"))
    shutil.copy(path, copy / "train" / "999999.parquet")
    with refused("feature-089"):
        open_dataset(copy)
    (copy / "train" / "999999.parquet").unlink()
    path.unlink()
    with refused("feature-089"):
        open_dataset(copy)
    with refused("feature-088"):
        open_dataset(copy / "train")


def of(requests: pa.Table, **columns) -> pa.Table:
    return pa.table({name: np.asarray(value) for name, value in columns.items()})


@pytest.mark.parametrize(
    ("features", "code"),
    [
        (lambda r: of(r, newest_offset=np.asarray(r.column("as_of")), x=np.zeros(len(r))), "feature-085"),
        (lambda r: of(r, x=np.arange(len(r))[::-1]), "feature-085"),
        (lambda r: of(r, x=np.zeros(len(r) - 1)), "feature-084"),
        (lambda r: of(r, click=np.zeros(len(r))), "feature-084"),
        (lambda r: of(r, user_id=np.zeros(len(r))), "feature-084"),
        (lambda r: of(r, **({"x": np.zeros(len(r))} if r.column("offset")[0].as_py() < 300 else {"x": np.zeros(len(r), int)})),
         "feature-084"),
        (lambda r: pa.table({"x": pa.array([None] * len(r), pa.date32())}), "feature-090"),
    ],
    ids=["too new", "depends on others", "too few", "an outcome", "a name twice", "another type", "a date"],
)  # fmt: skip
def test_features_that_cannot_be_right_are_refused(tmp_path, features, code):
    with refused(code):
        made(tmp_path / "set", feature_values=features, chunk_rows=200)
    assert not (tmp_path / "set").exists()


def test_logs_and_splits_that_cannot_be_right_are_refused(tmp_path):
    log = table()
    with refused("feature-082"):
        made(tmp_path / "set", log.drop_columns(["request_id"]))
    with refused("feature-082"):
        made(tmp_path / "set", log.append_column("offset", pa.array(np.zeros(600, np.int64))))
    with refused("feature-086"):
        made(tmp_path / "set", rules=msgspec.structs.replace(RULE, window_ms=10_000))
    with refused("feature-080"):
        made(tmp_path / "set", rules=(RULE, RULE))
    for wrong in ((("a", "b"), ()), (("a", "a"), (1,)), (("a", "b", "c"), (2, 1))):
        with refused("feature-083"):
            Split(*wrong)


def test_a_part_that_is_not_there(whole):
    with refused("feature-083"):
        whole.lazy("future")


def test_days_are_local():
    split = Split.by_day(20220429, 20220430, utc_offset_min=480)
    assert split.starts_ms == (1651161600000, 1651248000000)
    assert split.part_of(np.array([1651161599999, 1651161600000, 1651248000000])).tolist() == [0, 1, 2]


def test_the_summary_says_the_rows(whole):
    assert f"train {whole.record.parts[0].rows:,}" in whole.record.summary()
    assert LabelRule(**{f: getattr(RULE, f) for f in RULE.__struct_fields__}) == RULE
