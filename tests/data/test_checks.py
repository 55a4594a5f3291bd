"""Each check sees the fault it is for, and a clean log passes every one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from kuairand_folder import SECOND_LOG, log_row, write_folder

from mainstem.base.clock import SetClock
from mainstem.base.errors import DataError
from mainstem.base.settings import Data
from mainstem.data.checks import CHECKS, Finding, run_checks
from mainstem.data.log import write_log
from mainstem.data.manifest import Manifest

NOW = SetClock(1_700_000_000_000)
START_MS = 1_650_800_000_000
ROWS = 400


def clean() -> dict[str, pl.DataFrame]:
    n = pl.int_range(ROWS, eager=True)
    click, like, long_view = n % 2, ((n % 20) == 1).cast(pl.Int8), ((n % 4) == 1).cast(pl.Int8)
    shown = pl.DataFrame(
        {
            "request_id": n // 2,
            "user_id": n // 2 % 40,
            "item_id": n % 30,
            "surface": ["feed"] * ROWS,
            "time_ms": START_MS + (n // 2) * 1_000,
            "day": [20220424] * ROWS,
            "position": n % 2,
            "click": click,
            "like": like,
            "long_view": long_view,
            "watch_ms": n * 10,
            "duration_ms": [10_000] * ROWS,
        }
    )
    items = {"item_id": range(30), "canonical_id": range(30), "created_ms": [START_MS] * 30, "creator_id": [1] * 30}
    return {
        "impressions": shown,
        "items": pl.DataFrame(items),
        "users": pl.DataFrame({"user_id": range(40)}),
        "history": pl.DataFrame({"user_id": [1], "item_id": [2], "back": [0], "time_ms": [START_MS - 5]}),
    }


def findings(
    folder: Path, tables: dict[str, pl.DataFrame], change: Callable[[Path], object] | None = None
) -> list[Finding]:
    write_log(tables, folder / "log", Manifest(name="t", loader="test"))
    if change is not None:
        change(folder / "log")
    return list(run_checks(folder / "log", clock=NOW).findings)


def test_a_clean_log_passes_every_check(tmp_path: Path) -> None:
    found = findings(tmp_path, clean())
    assert [finding for finding in found if finding.answer != "PASS"] == []
    assert {finding.check for finding in found} == {check.name for check in CHECKS}


def changed(**columns: pl.Expr) -> Callable[[], dict[str, pl.DataFrame]]:
    return lambda: clean() | {"impressions": clean()["impressions"].with_columns(**columns)}


FIRST = pl.int_range(pl.len()) == 0
FAULTS: list[tuple[str, str, int, Callable[[], dict[str, pl.DataFrame]]]] = [
    ("schema", "FAIL", 1, changed(click=pl.when(FIRST).then(5).otherwise("click"))),
    ("schema", "FAIL", 1, changed(propensity=pl.when(FIRST).then(1.5))),
    ("order", "WARN", 200, changed(position=pl.col("position") * 2)),
    ("time zones", "WARN", 4, changed(day=pl.when(pl.int_range(pl.len()) < 4).then(20220425).otherwise("day"))),
    ("time zones", "FAIL", 400, changed(day=pl.lit(20220425))),
    ("future", "FAIL", 1, changed(time_ms=pl.when(FIRST).then(1_700_000_000_001).otherwise("time_ms"))),
    ("rates", "FAIL", 1, changed(click=pl.lit(1))),
    ("rates", "FAIL", 1, changed(like=pl.lit(0))),
    ("rates", "WARN", 1, changed(
        scenario=pl.when(pl.int_range(pl.len()) < 200).then(1).otherwise(2),
        like=pl.when(pl.int_range(pl.len()) < 200).then("like").otherwise(0))),
    ("rates", "FAIL", 1, changed(viewed=(pl.int_range(pl.len()) != 3).cast(pl.Int8))),
    ("rates", "WARN", 1, changed(like=pl.when(FIRST).then(1).otherwise("like"))),
    ("rates", "WARN", 1, changed(hate=pl.when(pl.int_range(pl.len()).is_in([0, 1])).then(1).otherwise(0))),
    ("rates", "WARN", 1, changed(long_view=pl.when(FIRST).then(1).otherwise("long_view"))),
    ("ids", "FAIL", 1, lambda: clean() | {"items": clean()["items"].filter(pl.col("item_id") != 7)}),
    ("ids", "FAIL", 1, lambda: clean() | {"users": clean()["users"].filter(pl.col("user_id") != 7)}),
    ("ids", "WARN", 1, lambda: clean() | {"items": clean()["items"].with_columns(
        kind=pl.when(FIRST).then(pl.lit("UNKNOWN")).otherwise(pl.lit("NORMAL")), creator_id=pl.when(FIRST).then(-1).otherwise(1))}),
    ("ids", "FAIL", 1, changed(user_id=pl.when(FIRST).then(-4).otherwise("user_id"))),
    ("durations", "WARN", 1, changed(duration_ms=pl.when(FIRST).then(0).otherwise("duration_ms"))),
    ("durations", "FAIL", 1, changed(watch_ms=pl.when(FIRST).then(-1).otherwise("watch_ms"))),
    ("durations", "WARN", 1, changed(watch_ms=pl.when(FIRST).then(900_000).otherwise("watch_ms"))),
    ("leaks", "FAIL", 14, lambda: clean() | {"items": clean()["items"].with_columns(
        created_ms=pl.when(FIRST).then(START_MS + 10**9).otherwise("created_ms"))}),
    ("leaks", "WARN", 1, lambda: clean() | {"history": clean()["history"].with_columns(time_ms=pl.lit(START_MS + 10**6))}),
    ("leaks", "FAIL", 1, changed(long_view=pl.col("click"))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "answer", "count", "tables"), FAULTS, ids=[f"{n}-{f[0]}" for n, f in enumerate(FAULTS)]
)
def test_a_planted_fault_is_found_counted_and_shown(
    tmp_path: Path, check: str, answer: str, count: int, tables: Callable[[], dict[str, pl.DataFrame]]
) -> None:
    hits = [finding for finding in findings(tmp_path, tables()) if finding.answer != "PASS"]
    mine = [finding for finding in hits if (finding.check, finding.answer, finding.count) == (check, answer, count)]
    assert mine, hits
    assert 1 <= len(mine[0].examples) <= 5


def test_rows_put_out_of_order_or_doubled_behind_our_back_fail(tmp_path: Path) -> None:
    def shuffle(folder: Path) -> None:
        file = folder / "impressions.parquet"
        pl.concat([pl.read_parquet(file).reverse(), pl.read_parquet(file)[0:2]]).write_parquet(file)

    failed = {finding.check for finding in findings(tmp_path, clean(), shuffle) if finding.answer == "FAIL"}
    assert failed == {"order", "duplicates"}


def test_a_truncated_file_is_one_failure_with_the_readers_message(tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        file = folder / "impressions.parquet"
        file.write_bytes(file.read_bytes()[:-100])

    found = findings(tmp_path, clean(), cut)
    assert [(finding.check, finding.answer) for finding in found] == [("schema", "FAIL")]
    assert "data-002" in found[0].sentence


def test_no_log_at_all_is_an_error_not_a_report(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run_checks(tmp_path / "nowhere")


def raw_rows() -> list[dict[str, Any]]:
    rows = [
        log_row(n % 2, n % 3, n, is_click=int(n % 3 == 0), play_time_ms=n, profile_stay_time=(n * 7) % 5)
        for n in range(60)
    ]
    return [*rows[:5], rows[4], rows[4] | {"hourmin": 300}, *rows[5:], log_row(-1, 0, 70), log_row(0, 0, -(10**10))]


def answers(folder: Path) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in run_checks(folder, Data(), NOW).findings:
        if finding.answer != "PASS":
            found.setdefault(finding.check, []).append(finding)
    return found


def test_a_raw_source_is_checked_as_its_loader_reads_it(tmp_path: Path) -> None:
    found = answers(write_folder(tmp_path / "k", {SECOND_LOG: raw_rows()}))
    assert [finding.count for finding in found["duplicates"]] == [1, 1]
    assert [finding.count for finding in found["ids"]] == [1]
    assert [finding.count for finding in found["future"]] == [1]
    assert [finding.count for finding in found["order"]] == [1]
    assert "is_like" not in str(found.get("leaks", ""))


def test_a_column_that_tells_a_label_apart_is_a_leak(tmp_path: Path) -> None:
    rows = [row | {"comment_stay_time": 5 * row["is_click"]} for row in raw_rows()]
    found = answers(write_folder(tmp_path / "k", {SECOND_LOG: rows}))
    assert found["leaks"][0].answer == "FAIL"
    assert found["leaks"][0].examples[0] == {"column": "comment_stay_time", "tells": "is_click"}


def test_statistics_over_the_whole_period_are_a_leak_by_name_and_by_what_they_follow(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "k", {SECOND_LOG: raw_rows()})
    (folder / "video_features_statistic_pure.csv").write_text("video_id,show_cnt\n0,5\n")
    leak = answers(folder)["leaks"][0]
    assert "video_features_statistic_pure.csv" in {example["file"] for example in leak.examples}
    items = pl.DataFrame({"item_id": range(30), "clicks_ever": [n * n for n in range(30)]})
    shown = [(n, n, 10**12 * 1.6 + n * 50 + k) for n in range(30) for k in range(20 + n)]
    log = pl.DataFrame(shown, schema={"user_id": pl.Int64, "item_id": pl.Int64, "time_ms": pl.Int64}, orient="row")
    items.write_csv(tmp_path / "items.csv")
    log.with_columns(click=pl.int_range(pl.len()) % 2).write_csv(tmp_path / "log.csv")
    found = [f for f in run_checks(tmp_path / "log.csv", Data(items="items.csv"), NOW).findings if f.check == "leaks"]
    assert ["clicks_ever" in str(finding.examples) for finding in found if finding.answer == "FAIL"] == [True]


def test_the_report_says_it_in_rows_and_in_text(tmp_path: Path) -> None:
    write_log(changed(click=pl.lit(1))(), tmp_path / "log", Manifest(name="t", loader="kuairand"))
    report = run_checks(tmp_path / "log", clock=NOW)
    assert report.failed
    assert {"check", "answer", "sentence", "count", "of", "examples"} <= set(report.as_rows()[0])
    assert "FAIL  rates" in report.as_text()
    assert "head=click" in report.as_text()
    assert any(row["check"] == "base rates" and row["answer"] == "WARN" for row in report.as_rows())
