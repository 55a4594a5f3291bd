from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from mainstem.base.errors import DataError
from mainstem.data.log import read_log, split_by_day, write_log
from mainstem.data.manifest import Manifest
from mainstem.data.tables import TABLES

NAMED = Manifest(name="small", loader="test")


def tables(days: int = 4) -> dict[str, pl.DataFrame]:
    count = 3 * days
    shown = {
        "request_id": range(count),
        "user_id": [0, 1, 2] * days,
        "item_id": [n % 5 for n in range(count)],
        "surface": ["feed"] * count,
        "time_ms": [10**12 + n for n in range(count)],
        "day": [20220101 + n // 3 for n in range(count)],
        "click": [n % 2 for n in range(count)],
    }
    items = {"item_id": range(5), "canonical_id": range(5), "created_ms": [0] * 5}
    return {
        "impressions": pl.DataFrame(shown),
        "items": pl.DataFrame(items),
        "users": pl.DataFrame({"user_id": range(3)}),
    }


def test_what_is_written_is_read_back_in_the_contracts_columns_types_and_order(tmp_path: Path) -> None:
    given = tables() | {"impressions": tables()["impressions"].reverse()}
    manifest = write_log(given, tmp_path / "log", NAMED)
    log = read_log(tmp_path / "log")
    for name, table in TABLES.items():
        assert getattr(log, name).schema == table.schema
    assert log.impressions["time_ms"].is_sorted()
    assert log.history.is_empty()
    assert log.manifest == manifest
    assert manifest.rows == {"impressions": 12, "items": 5, "users": 3}
    assert log.impressions.select("scenario", "position", "viewed", "like").row(0) == (-1, -1, 1, None)


def test_the_same_rows_give_the_same_bytes_and_hash_and_one_other_value_another(tmp_path: Path) -> None:
    hashes = [write_log(tables(), tmp_path / name, NAMED).sha256 for name in ("a", "b")]
    assert hashes[0] == hashes[1]
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    other = tables()
    other["impressions"] = other["impressions"].with_columns(click=1 - pl.col("click"))
    assert write_log(other, tmp_path / "a", NAMED).sha256 != hashes[0]


def test_a_write_that_fails_leaves_the_older_log_whole_and_no_scraps(tmp_path: Path) -> None:
    before = write_log(tables(), tmp_path / "log", NAMED)
    twice = tables() | {"items": pl.concat([tables()["items"], tables()["items"]])}
    with pytest.raises(DataError) as caught:
        write_log(twice, tmp_path / "log", NAMED)
    assert caught.value.code == "data-005"
    assert read_log(tmp_path / "log").manifest == before
    assert [file.name for file in tmp_path.iterdir()] == ["log"]


def test_a_folder_with_other_files_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError) as caught:
        write_log(tables(), tmp_path, NAMED)
    assert caught.value.code == "data-007"
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda t: t | {"impressions": t["impressions"].drop("user_id")}, "data-003", "user_id"),
        (lambda t: t | {"impressions": t["impressions"].with_columns(clik=1)}, "data-003", "'click'"),
        (lambda t: t | {"impressions": t["impressions"].with_columns(day=pl.lit("monday"))}, "data-004", "day"),
        (lambda t: t | {"impressions": t["impressions"].with_columns(user_id=pl.lit(None))}, "data-004", "user_id"),
        (
            lambda t: t | {"impressions": t["impressions"].with_columns(request_id=pl.lit(0), item_id=pl.lit(0))},
            "data-005",
            "11",
        ),
        (lambda t: {"items": t["items"]}, "data-003", "impressions"),
    ],
)
def test_tables_that_break_the_contract_are_not_written(tmp_path: Path, change: object, code: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        write_log(change(tables()), tmp_path / "log", NAMED)  # type: ignore[operator]
    assert caught.value.code == code
    assert said in caught.value.message + caught.value.hint
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda folder: (folder / "items.parquet").unlink(), "data-001"),
        (lambda folder: (folder / "manifest.json").unlink(), "data-001"),
        (lambda folder: (folder / "manifest.json").write_text('{"name":'), "data-002"),
        (
            lambda folder: (folder / "users.parquet").write_bytes((folder / "users.parquet").read_bytes()[:-40]),
            "data-002",
        ),
        (lambda folder: (folder / "users.parquet").write_bytes(b""), "data-002"),
        (lambda folder: pl.DataFrame({"user": [1]}).write_parquet(folder / "users.parquet"), "data-003"),
    ],
)
def test_a_damaged_log_folder_is_refused_at_once_naming_the_file(tmp_path: Path, break_it: object, code: str) -> None:
    write_log(tables(), tmp_path / "log", NAMED)
    break_it(tmp_path / "log")  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        read_log(tmp_path / "log")
    assert caught.value.code == code
    assert str(tmp_path / "log") in caught.value.message


def test_damage_inside_a_file_is_found_when_its_rows_are_read(tmp_path: Path) -> None:
    write_log(tables(400), tmp_path / "log", NAMED)
    file = tmp_path / "log" / "impressions.parquet"
    data = bytearray(file.read_bytes())
    data[4:400] = bytes(396)
    file.write_bytes(data)
    with pytest.raises(DataError) as caught:
        _ = read_log(tmp_path / "log").impressions
    assert caught.value.code == "data-002"


def test_no_folder_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_log(tmp_path / "nowhere")
    assert caught.value.code == "data-001"
    assert "mainstem data import" in caught.value.hint


def test_a_split_keeps_the_days_apart_and_its_hash_is_fixed_by_rows_and_days(tmp_path: Path) -> None:
    write_log(tables(), tmp_path / "log", NAMED)
    log = read_log(tmp_path / "log")
    split = split_by_day(log, 20220102, [20220104, 20220103])
    assert (split.train.height, split.validation.height, split.test.height) == (3, 3, 6)
    assert split.test_days == (20220103, 20220104)
    assert split.sha256 == "2e5fc23b9fb9"
    assert split.sha256 in str(split)
    assert split_by_day(log, 20220102, [20220103]).sha256 != split.sha256
    assert split_by_day(log, 20220103, [20220104]).sha256 != split.sha256


@pytest.mark.parametrize(
    "days",
    [
        (20220102, []),
        (20220103, [20220103]),
        (20220103, [20220102]),
        (20220101, [20220102]),
        (20220103, [20230101]),
    ],
)
def test_a_split_without_rows_on_one_side_is_refused_with_the_days_there_are(
    tmp_path: Path, days: tuple[int, list[int]]
) -> None:
    write_log(tables(), tmp_path / "log", NAMED)
    with pytest.raises(DataError) as caught:
        split_by_day(read_log(tmp_path / "log"), *days)
    assert caught.value.code == "data-006"
    assert "20220101" in caught.value.hint


def test_a_full_disk_or_a_missing_right_is_a_coded_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", no_room)
    with pytest.raises(DataError) as caught:
        write_log(tables(), tmp_path / "log", NAMED)
    assert caught.value.code == "data-008"
    assert list(tmp_path.iterdir()) == []
