from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from kuairand_folder import FIRST_LOG, SECOND_LOG, START_MS, log_row, write_folder

from mainstem.base.errors import DataError
from mainstem.base.settings import Data
from mainstem.data.importer import detect, import_log, load
from mainstem.data.loaders import kuairand
from mainstem.data.log import Log, read_log


def bring(folder: Path, mapping: Data | None = None) -> Log:
    import_log(folder, folder / "log", mapping)
    return read_log(folder / "log")


def test_tabs_become_surfaces_and_rows_of_one_moment_one_request(tmp_path: Path) -> None:
    rows = [
        log_row(1, 2, 5, tab=0),
        log_row(0, 0, 1, play_time_ms=10),
        log_row(0, 1, 1, is_click=1),
        log_row(0, 2, 1, tab=4),
        log_row(1, 0, 5, tab=6, play_time_ms=1, is_like=1),
    ]
    shown = bring(write_folder(tmp_path / "k", {FIRST_LOG: rows})).impressions
    columns = ["request_id", "user_id", "item_id", "surface", "scenario", "position", "viewed", "click", "like"]
    assert shown.select(columns).rows() == [
        (0, 0, 0, "feed", 1, 0, 1, 0, 0),
        (0, 0, 1, "feed", 1, 1, 1, 1, 0),
        (1, 0, 2, "groups", 4, 0, 0, 0, 0),
        (2, 1, 2, "pages", 0, 0, 0, 0, 0),
        (3, 1, 0, "pages", 6, 0, 1, 0, 1),
    ]


def test_repeats_are_dropped_by_reason_with_the_file_and_row_they_stood_in(tmp_path: Path) -> None:
    first = log_row(0, 0, 1)
    rows = [first, first, log_row(0, 0, 1, hourmin=100), log_row(0, 0, 1, is_click=1), log_row(0, 0, 2)]
    bad = [log_row(-1, 0, 3), log_row(0, 0, -1e10)]
    folder = write_folder(tmp_path / "k", {FIRST_LOG: rows, SECOND_LOG: [*bad, first]})
    log = bring(folder)
    assert log.manifest.dropped == {"bad_id": 1, "bad_time": 1, "exact_duplicate": 2, "repeated_impression": 2}
    assert log.manifest.rows_in == log.impressions.height + log.dropped.height == 8
    where = log.dropped.filter(pl.col("reason") == "exact_duplicate").select("file", "row").rows()
    assert where == [(FIRST_LOG, 1), (SECOND_LOG, 2)]
    assert log.impressions["click"].to_list() == [0, 0]


def test_items_and_users_carry_their_side_files_and_unknown_ones_get_a_row_of_unknowns(tmp_path: Path) -> None:
    rows = [log_row(0, 0, 1), log_row(7, 9, 2), log_row(7, 9, 3)]
    log = bring(write_folder(tmp_path / "k", {FIRST_LOG: rows}))
    items = {row["item_id"]: row for row in log.items.iter_rows(named=True)}
    known = {"creator_id": 100, "entity_id": 100, "canonical_id": 0, "category": 20, "tags": [20, 43], "integrity": 0}
    assert {name: items[0][name] for name in known} == known
    assert items[0]["created_ms"] == START_MS - 15 * 86_400_000
    assert (items[0]["audio_id"], items[1]["audio_id"]) == (-1, 7)
    assert (items[1]["duration_ms"], items[2]["category"], items[2]["tags"]) == (0, -1, [])
    assert items[9]["created_ms"] == START_MS + 2_000
    assert (items[9]["integrity"], items[9]["kind"], items[9]["creator_id"]) == (None, "UNKNOWN", -1)
    users = {row["user_id"]: row for row in log.users.iter_rows(named=True)}
    assert users[0]["traits"] == [n if n != 4 else -1 for n in range(18)]
    assert users[7]["traits"] == [-1] * 18
    assert {user["utc_offset_min"] for user in users.values()} == {480}


def test_csv_and_parquet_of_later_days_give_the_same_log_and_file_order_does_not_matter(tmp_path: Path) -> None:
    days = [[log_row(0, 0, 1)], [log_row(1, 1, 86_400, date=20220426)]]
    names = (
        (SECOND_LOG, "log_standard_5_09_to_5_10_pure.csv"),
        ("log_standard_4_22.parquet", "log_standard_5_09.parquet"),
    )
    logs = [bring(write_folder(tmp_path / f"k{n}", dict(zip(pair, days, strict=True)))) for n, pair in enumerate(names)]
    assert logs[0].manifest.sha256 == logs[1].manifest.sha256
    assert logs[0].days == [20220425, 20220426]


def test_random_exposure_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    logs = {SECOND_LOG: [log_row(0, 0, 1)], "log_random_4_22_to_5_08_pure.csv": [log_row(0, 1, 2, is_rand=1)]}
    folder = write_folder(tmp_path / "k", logs)
    assert bring(folder).impressions["arm"].to_list() == [None]
    both = kuairand.load(folder, include_random=True).tables["impressions"]
    assert both["arm"].to_list() == [None, "random"]


def test_history_is_cut_where_it_reaches_into_the_log(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "k", {SECOND_LOG: [log_row(0, 0, 100), log_row(1, 1, 200)]})
    last = {"user_id": [0, 1], "last_time_ms": [START_MS + 100_000, START_MS + 50_000]}
    pl.DataFrame(last).write_parquet(folder / "user_history_seq_4_09_to_4_24_pure.parquet")
    rows = {
        "user_id": [0, 0, 1],
        "back": [1, 0, 0],
        "video_id": [5, 0, 2],
        "long_view": [1, 0, 1],
        "is_like": [0, 0, 1],
    }
    pl.DataFrame(rows).write_parquet(folder / "history_labels_reconstructed_4_09_to_4_24.parquet")
    log = bring(folder)
    assert log.history.select("user_id", "item_id", "back", "time_ms").rows() == [
        (0, 5, 0, START_MS + 99_999),
        (1, 2, 0, START_MS + 50_000),
    ]
    assert 5 in log.items["item_id"]
    earlier = log_row(0, 2, -5 * 86_400, date=20220420)
    write_folder(folder, {FIRST_LOG: [earlier]})
    assert bring(folder).history.is_empty(), "real impressions of the earlier days stand in for the history"


def test_surfaces_can_be_mapped_anew(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "k", {FIRST_LOG: [log_row(0, 0, 1), log_row(0, 1, 2, tab=0)]})
    shown = bring(folder, Data(surfaces={"reels": [1]})).impressions
    assert shown["surface"].to_list() == ["reels", "feed"]
    with pytest.raises(DataError) as caught:
        bring(folder, Data(surfaces={"reels": ["one"]}))
    assert caught.value.code == "data-013"


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda folder: (folder / "user_features_pure.csv").unlink(), "data-009"),
        (lambda folder: (folder / "video_features_basic_pure.csv").unlink(), "data-001"),
        (lambda folder: (folder / FIRST_LOG).write_text("user_id,video_id\n1,2\n"), "data-003"),
        (lambda folder: (folder / "log_standard_9.parquet").write_bytes(b"PAR1cut"), "data-002"),
        (
            lambda folder: (folder / FIRST_LOG).write_text((folder / FIRST_LOG).read_text().replace("0,0,2", "x,0,2")),
            "data-002",
        ),
        (lambda folder: pl.DataFrame([log_row(-1, 0, 1)]).write_csv(folder / FIRST_LOG), "data-015"),
    ],
)
def test_a_folder_that_is_not_whole_is_a_coded_error(tmp_path: Path, break_it: object, code: str) -> None:
    folder = write_folder(tmp_path / "k", {FIRST_LOG: [log_row(0, 0, 1)]})
    assert detect(folder) == "kuairand"
    break_it(folder)  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        load(folder)
    assert caught.value.code == code


def test_progress_tells_how_much_is_done(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "k", {FIRST_LOG: [log_row(0, 0, 1)]})
    told: list[float] = []
    import_log(folder, tmp_path / "log", progress=lambda share, _: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0
