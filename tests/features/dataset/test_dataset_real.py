"""Both stacks' labels on KuaiRand-Pure against SQL, and one hash over its rows."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from mainstem.data.importer import import_log
from mainstem.data.log import read_log
from mainstem.features.dataset.build import Options, build
from mainstem.features.dataset.dataset import open_dataset
from mainstem.features.dataset.label_rule import CONTENT_FIRST, INTEREST_FIRST, one_per_outcome
from mainstem.features.dataset.labels import Impressions, join_labels
from mainstem.features.dataset.split import Split

pytestmark = pytest.mark.real

ORACLES = {
    "content_first": """select distinct shown from (
        select s.off shown, d.time_ms - s.time_ms delay,
          row_number() over (partition by d.off order by s.time_ms desc, s.off desc) place
        from (select * from log where long_view = 1) d join log s using (user_id, canonical_id)
        where s.viewed = 1 and (s.time_ms, s.off) <= (d.time_ms, d.off)) where place = 1 and delay <= 1800000""",
    "interest_first": """select distinct s.off shown
        from (select * from log where greatest(click, long_view, "like", follow, comment, forward) = 1) d
        join log s using (user_id, interest)
        where interest >= 0 and (s.time_ms, s.off) <= (d.time_ms, d.off) and d.time_ms - s.time_ms < 86400000""",
}


@pytest.fixture(scope="module")
def log(pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kuairand") / "log"
    import_log(pack("kuairand_pure"), folder)
    return read_log(folder)


@pytest.mark.parametrize("rule", [CONTENT_FIRST, INTEREST_FIRST], ids=lambda rule: rule.name)
def test_sql_finds_the_same_positives(log, rule):
    keys = log.items.select("item_id", "canonical_id", interest="category")
    frame = log.impressions.join(keys, on="item_id", how="left", maintain_order="left").with_row_index("off")
    found = join_labels(Impressions.from_frame(frame, rule.by), None, rule)
    base = duckdb.connect()
    base.register("log", frame.drop("stack", "arm").to_arrow())
    expected = np.sort(base.execute(ORACLES[rule.name]).fetchnumpy()["shown"])
    assert len(expected) > 50_000
    assert (np.flatnonzero(found.label == 1) == expected).all()


def test_one_hash_and_every_row_accounted_for(log, tmp_path):
    def features(requests: pa.Table) -> pa.Table:
        return pa.table({"x": np.asarray(requests.column("user_id")) / 3})

    rules = (INTEREST_FIRST, *one_per_outcome(CONTENT_FIRST, ("click", "long_view")))
    given = {"features_version": "x", "split": Split.by_day(20220428, 20220430, log.manifest.utc_offset_min)}
    items = log.items.with_columns(pl.col("category").alias("interest"))
    sets = [
        build(log, rules, features, tmp_path / "set", items=items, options=Options(rows, threads, 60_000), **given)
        for rows, threads in ((65_536, 1), (9_999, 2))
    ]
    assert sets[0].record.sha256 == sets[1].record.sha256
    record = open_dataset(tmp_path / "set", verify="values").record
    assert record.rows + record.rows_removed == log.impressions.height
    for rule in rules:
        kept = sum(part.positives[rule.name] + part.negatives[rule.name] for part in record.parts)
        gone = sum(one.positives + one.negatives + one.unknown for one in record.removed if one.rule == rule.name)
        assert kept + gone == log.impressions.height
