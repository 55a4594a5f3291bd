"""MovieLens and RetailRocket in their official layouts, a few rows each."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainstem.base.errors import DataError
from mainstem.data.importer import detect, import_log
from mainstem.data.log import Log, read_log


def bring(folder: Path) -> Log:
    import_log(folder, folder / "log")
    return read_log(folder / "log")


def test_movielens_1m_official_files(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::10::5::978300760\n1::11::1::978300761\n2::10::3::978300762\n")
    (tmp_path / "movies.dat").write_bytes(
        "10::Amélie (2001)::Comedy|Romance\n11::Heat (1995)::Action\n".encode("latin-1")
    )
    (tmp_path / "users.dat").write_text("1::F::25::10::48067\n2::M::56::16::70072\n")
    log = bring(tmp_path)
    assert log.manifest.loader == detect(tmp_path) == "movielens"
    assert log.impressions.select("user_id", "item_id", "like", "hate", "click").rows() == [
        (1, 10, 1, 0, None),
        (1, 11, 0, 1, None),
        (2, 10, 0, 0, None),
    ]
    assert log.items.select("item_id", "category", "tags").rows() == [(10, 1, [1, 2]), (11, 0, [0])]
    assert log.users["traits"].to_list() == [[0, 25, 10], [1, 56, 16]]


def test_a_movielens_line_without_its_fields_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::10::5::978300760\n1::11\n")
    with pytest.raises(DataError) as caught:
        bring(tmp_path)
    assert caught.value.code == "data-002"


def test_movielens_small_and_its_columns(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,31,4.5,1260759144\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n31,Heat,Action\n")
    assert bring(tmp_path).impressions.select("item_id", "like", "day").rows() == [(31, 1, 20091214)]
    (tmp_path / "ratings.csv").write_text("userId,movieId,stars,timestamp\n1,31,4.5,1260759144\n")
    with pytest.raises(DataError) as caught:
        bring(tmp_path)
    assert caught.value.code == "data-003"


def test_movielens_sequences_keep_their_order_and_say_that_times_are_made(tmp_path: Path) -> None:
    (tmp_path / "ml-1m.txt").write_text("1 5\n1 6\n2 5\n1 7\n")
    log = bring(tmp_path)
    mine = log.impressions.filter(log.impressions["user_id"] == 1)
    assert mine["item_id"].to_list() == [5, 6, 7]
    assert mine["time_ms"].diff().to_list()[1:] == [60_000, 60_000]
    assert "no real times" in log.manifest.notes[0]


def test_retailrocket_official_events(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,7,view,3,\n1433221332118,7,addtocart,3,\n1433221332119,7,transaction,3,55\n"
    )
    log = bring(tmp_path)
    assert detect(tmp_path) == "retailrocket"
    assert log.impressions.select("click", "like", "long_view", "surface").rows() == [
        (1, 0, 0, "pages"),
        (0, 1, 0, "pages"),
        (0, 0, 1, "pages"),
    ]


def test_a_folder_that_nobody_knows_names_the_way_to_map_a_table(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError) as caught:
        detect(tmp_path)
    assert caught.value.code == "data-009"
    assert "mainstem.toml" in caught.value.hint
