"""Data contracts: written by the standard, kept by what is written, and named rule by rule when broken."""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa
import pytest
from dataset_log import RULE, made, table

from mainstem.base.errors import FeatureError
from mainstem.data.manifest import Manifest
from mainstem.data.tables import IMPRESSIONS, TABLES, conform
from mainstem.features.dataset.contract import breaches, check_contract, dataset_contract, log_contract
from mainstem.features.dataset.contract_rules import logical_type_of
from mainstem.features.dataset.odcs import Contract, Property, Quality, SchemaObject, Sla, read_contract, write_contract


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return made(tmp_path_factory.mktemp("sets") / "small")


def one(*quality: Quality, table_quality: tuple[Quality, ...] = (), **column) -> Contract:
    schema = SchemaObject(
        name="rows", properties=(Property(name="x", quality=quality, **column),), quality=table_quality
    )
    return Contract(
        api_version="v3.1.0", kind="DataContract", id="c", version="1.0.0", status="active", schema=(schema,)
    )


def none_of(metric: str, **more) -> Quality:
    return Quality(type="library", metric=metric, **({"must_be": 0} | more))


def test_a_training_set_keeps_its_own_contract(dataset):
    contract = dataset_contract(dataset.record, owner="ranking")
    rows = dataset.lazy().collect()
    assert check_contract(rows, contract) > 20
    assert check_contract(dataset.arrow().to_table(), contract) > 20
    with pytest.raises(FeatureError, match="rowCount") as refusal:
        check_contract(rows.head(10), contract)
    assert refusal.value.code == "feature-091"


def test_a_log_keeps_its_contract_and_a_bad_row_is_named():
    contract = log_contract(Manifest(name="m", loader="x"), sla=[Sla(property="latency", value=30, unit="s")])
    log = pl.DataFrame(table()).with_columns(day=20220501, time_ms=pl.col("time_ms") + 1_650_000_000_000)
    frame = conform(log, IMPRESSIONS, "test").unique(["request_id", "item_id"], maintain_order=True)
    check_contract(frame, contract, "impressions")
    bad = frame.with_columns(
        click=pl.when(pl.int_range(pl.len()) == 7).then(5).otherwise(pl.col("click")).cast(pl.Int8)
    )
    with pytest.raises(FeatureError, match=r"column 'click'.*invalidValues.*first in row 7: \(5,\)"):
        check_contract(bad, contract, "impressions")
    twice = pl.concat([frame, frame.tail(1)])
    with pytest.raises(FeatureError, match="primary key request_id, item_id"):
        check_contract(twice, contract, "impressions")
    for name, one_table in TABLES.items():
        check_contract(one_table.empty(), contract, name)


def test_it_is_written_as_the_standard_says(tmp_path, dataset):
    path = tmp_path / "small.odcs.yaml"
    contract = dataset_contract(dataset.record)
    write_contract(path, contract)
    assert read_contract(path) == contract
    said = json.loads(path.read_text())
    assert {"apiVersion": "v3.1.0", "kind": "DataContract"}.items() <= said.items()
    assert {"id", "version", "status", "schema", "team", "slaProperties", "customProperties"} <= said.keys()
    columns = {column["name"]: column for column in said["schema"][0]["properties"]}
    assert columns["offset"]["unique"] is True
    assert columns["before"]["logicalTypeOptions"] == {"format": "f64"}
    assert columns["label_touch"]["quality"][0] == {
        "type": "library", "metric": "invalidValues", "arguments": {"validValues": [0, 1]}, "unit": "rows",
        "description": "0 or 1", "mustBe": 0.0,
    }  # fmt: skip
    assert said["slaProperties"][0]["value"] == RULE.window_ms / 1000
    assert {"property": "sha256", "value": dataset.record.sha256} in said["customProperties"]


@pytest.mark.parametrize(
    ("values", "contract", "row"),
    [
        ([1, None, 3], one(required=True), 1),
        ([1, 2, 1], one(unique=True), 0),
        ([1, 2, 9], one(logical_type="integer", logical_type_options={"maximum": 5}), 2),
        ([1.0, float("nan")], one(logical_type_options={"minimum": 0, "maximum": 5}), 1),
        (["ab", "b"], one(logical_type_options={"minLength": 2}), 1),
        (["ab", "b"], one(logical_type_options={"pattern": "^a"}), 1),
        ([1, 2], one(logical_type="string"), -1),
        ([1, 2], one(logical_type="integer", logical_type_options={"format": "i8"}), -1),
        ([1, None, 2], one(none_of("nullValues")), 1),
        ([1, -9, 2], one(none_of("missingValues", arguments={"missingValues": [-9]})), 1),
        ([1, 5], one(none_of("invalidValues", arguments={"validValues": [1]})), 1),
        ([3, 1, 1], one(none_of("duplicateValues")), 1),
        ([3, 1, 1], one(table_quality=(none_of("duplicateValues", arguments={"properties": ["x"]}),)), 1),
        ([3], one(none_of("rowCount", must_be=None, must_be_between=(2, 3))), -1),
        ([3, None, 1], one(none_of("nullValues", unit="percent", must_be=None, must_be_less_than=30)), 1),
    ],
)
def test_what_breaks_a_rule_is_found_at_its_first_row(values, contract, row):
    broken = [breach for breach in breaches(pl.DataFrame({"x": values}), contract.schema[0]) if breach]
    assert [breach.first_row for breach in broken] == [row]
    with pytest.raises(FeatureError) as refusal:
        check_contract(pa.table({"x": values}), contract)
    assert refusal.value.code == "feature-091"


@pytest.mark.parametrize(
    "limit",
    [
        {"must_be": 1}, {"must_not_be": 0}, {"must_be_greater_than": 0}, {"must_be_greater_or_equal_to": 1},
        {"must_be_less_than": 2}, {"must_be_less_or_equal_to": 1}, {"must_be_between": (1, 2)}, {"must_not_be_between": (2, 3)},
    ],
)  # fmt: skip
def test_every_limit_counts(limit):
    contract = one(none_of("nullValues", **({"must_be": None} | limit)))
    assert check_contract(pl.DataFrame({"x": [None, 1]}), contract) == 2
    opposite = {"must_be": 1, "must_be_less_than": 2, "must_be_less_or_equal_to": 1, "must_not_be_between": (2, 3)}
    many = [None] * 2 if next(iter(limit)) in opposite else [1, 1]
    if "must_be_between" in limit:
        many = [1, 1]
    with pytest.raises(FeatureError):
        check_contract(pl.DataFrame({"x": many}, schema={"x": pl.Int64}), contract)


def test_a_missing_column_is_named():
    with pytest.raises(FeatureError, match="'x' breaks 'is there'"):
        check_contract(pl.DataFrame({"y": [1]}), one())


@pytest.mark.parametrize(
    "contract",
    [
        one(Quality(type="sql", must_be=0)),
        one(none_of("freshness")),
        one(none_of("nullValues", must_be=None)),
        one(logical_type_options={"timezone": True}),
        one(table_quality=(none_of("duplicateValues"),)),
    ],
)
def test_a_rule_that_cannot_be_checked_is_never_passed_over(contract):
    with pytest.raises(FeatureError) as refusal:
        check_contract(pl.DataFrame({"x": [1]}), contract)
    assert refusal.value.code == "feature-092"


def test_text_rules_are_for_people():
    assert check_contract(pl.DataFrame({"x": [1]}), one(Quality(type="text", description="be nice"))) == 2


def test_what_is_no_contract_is_refused(tmp_path):
    path = tmp_path / "c.odcs.yaml"
    with pytest.raises(FeatureError):
        read_contract(path)
    path.write_text("apiVersion: v3.1.0\n")
    with pytest.raises(FeatureError) as refusal:
        read_contract(path)
    assert refusal.value.code == "feature-092"
    with pytest.raises(FeatureError):
        write_contract(tmp_path / "c.yaml", one())
    with pytest.raises(FeatureError):
        one().table("other")


def test_types_have_the_names_of_the_standard():
    kinds = [pl.Int8(), pl.UInt64(), pl.Float32(), pl.Boolean(), pl.String(), pl.List(pl.Int8), pl.Binary()]
    found = [logical_type_of(kind) for kind in kinds]
    assert found == [
        ("integer", "i8"), ("integer", "u64"), ("number", "f32"), ("boolean", None), ("string", None), ("array", None),
        ("string", None),
    ]  # fmt: skip
