"""Public sets as sequences: their order, their marks, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mainstem.base.errors import DataError
from mainstem.data.loaders.sequences import load_sequences
from mainstem.data.sequences import Sequences, leave_one_out

MD5 = {
    ("ml-1m", "ml-1m"): (6040, 3416, 999_611, "870965739cc43f635f15aee4601453c6"),
    ("amazon_lastfm_seq", "beauty"): (22_363, 12_101, 198_502, "ce743c633dfb8820d886f2261364a809"),
    ("amazon_lastfm_seq", "toys"): (19_412, 11_924, 167_597, "ca66613450c1c6e4ef3758248aa2e0f1"),
    ("amazon_lastfm_seq", "lastfm"): (1_090, 3_646, 52_551, "fa0921e9bb2a2e0510de6e9d536e7965"),
    ("ml-100k", "ml-100k"): (943, 1_682, 100_000, "9a2a3b48e37c8b6134811f9eb4a6bc5a"),
    ("ml-latest-small", "ml-latest-small"): (671, 9_066, 100_004, "f2d1f1217d7461a08a7578c011f45069"),
    ("retailrocket", "retailrocket"): (2_174, 29_905, 84_242, "dfcacbdc0f7eb267c24628ce45d5606a"),
}


def rows(sequences: Sequences) -> list[list[int]]:
    return [[int(sequences.item_ids[row]) for row in sequences.of(u)] for u in range(len(sequences))]


def marks(sequences: Sequences, row: int) -> int:
    assert sequences.content is not None
    return int(sequences.content.starts[row + 1] - sequences.content.starts[row])


def test_movielens_1m_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "ml-1m.txt").write_text("1 5\n1 3\n2 5\n1 9\n")
    bare = load_sequences(tmp_path, "ml-1m")
    assert rows(bare) == [[5, 3, 9], [5]]
    assert bare.content is None
    (tmp_path / "item_map.tsv").write_text(
        "sas_id\tmovie_id\ttitle\tgenres\n5\t1\tHeat\tDrama|Action\n9\t2\tUp\tDrama\n"
    )
    full = load_sequences(tmp_path, "ml-1m")
    assert [marks(full, row) for row in range(3)] == [0, 2, 1]
    assert len(full.sha256) == 64


def test_s3rec_lines_and_their_attributes(tmp_path: Path) -> None:
    (tmp_path / "Beauty.txt").write_text("1 4 2 7\n2 2 4\n")
    (tmp_path / "Beauty_item2attributes.json").write_text(json.dumps({"4": [1, 1, 2], "7": [2], "99": [5]}))
    found = load_sequences(tmp_path, "beauty")
    assert rows(found) == [[4, 2, 7], [2, 4]]
    assert found.content is not None
    assert (found.content.vocabulary, found.content.marks.tolist()) == (2, [0, 1, 1])


def test_sets_with_times_are_put_in_time_order_and_equal_times_stay_as_they_stood(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,30,4,1260759200\n1,20,4,1260759100\n1,10,3,1260759200\n"
    )
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\n10,A,(no genres listed)\n20,B,Drama\n30,C,Drama|Action\n"
    )
    found = load_sequences(tmp_path, "ml-latest-small")
    assert rows(found) == [[20, 30, 10]]
    assert found.times_ms is not None
    assert found.times_ms[0] == 1_260_759_100_000
    assert [marks(found, row) for row in range(3)] == [0, 1, 2]


def test_the_other_timed_sets(tmp_path: Path) -> None:
    (tmp_path / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t2\t3\t881250949\n7\t1\t3\t881250948\n"
    )
    (tmp_path / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tA\t1995\tComedy Drama\n"
    )
    found = load_sequences(tmp_path, "ml-100k")
    assert rows(found) == [[1, 2]]
    assert marks(found, 0) == 2
    deeds = ["0\t3\tview\t1433221969", "0\t3\tcart\t1433222104", "0\t4\tview\t1433222105", "0\t3\tbuy\t1433222106"]
    log = "\n".join(["user\titem\tbehaviour\tunix_ts", *deeds, "1\t3\tview\t1433222107"])
    (tmp_path / "train_view_cart_buy.tsv").write_text(log)
    assert rows(load_sequences(tmp_path, "retailrocket")) == [[3, 4, 3], [3]]


def test_anybodys_table(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"user_id": ["b", "a", "b"], "item": ["x", "y", "z"], "time": [1_500_000_002, 1_500_000_000, 1_500_000_001]}
    )
    frame.write_parquet(tmp_path / "mine.parquet")
    found = load_sequences(tmp_path / "mine.parquet")
    assert (found.name, rows(found)) == ("mine", [[2, 0], [1]])
    frame.drop("time").write_csv(tmp_path / "mine.tsv", separator="\t")
    untimed = load_sequences(tmp_path / "mine.tsv", "table")
    assert (rows(untimed), untimed.times_ms) == ([[0, 2], [1]], None)
    dated = frame.with_columns(time=pl.from_epoch("time", time_unit="s"))
    dated.write_parquet(tmp_path / "dated.parquet")
    times = load_sequences(tmp_path / "dated.parquet").times_ms
    assert times is not None
    assert times[0] == 1_500_000_001_000


def test_bad_sets_are_refused(tmp_path: Path) -> None:
    def refused(code: str, name: str, file: str, text: str | None) -> DataError:
        if text is not None:
            (tmp_path / file).write_text(text)
        with pytest.raises(DataError) as caught:
            load_sequences(tmp_path / file if name == "table" else tmp_path, name)
        assert caught.value.code == code
        return caught.value

    assert "did you mean 'ml-1m'" in refused("data-100", "ml-m1", "x", None).hint
    assert "kang205/SASRec" in refused("data-101", "ml-1m", "x", None).hint
    assert "line 2" in refused("data-102", "ml-1m", "ml-1m.txt", "1 5\n1 x\n").message
    refused("data-102", "ml-1m", "ml-1m.txt", "1 5\n1 5 7\n")
    refused("data-102", "beauty", "Beauty.txt", "1 -4 2\n")
    refused("data-102", "beauty", "Beauty.txt", "1\n")
    refused("data-103", "ml-1m", "ml-1m.txt", "")
    (tmp_path / "Beauty.txt").write_text("1 4 2\n")
    refused("data-105", "beauty", "Beauty_item2attributes.json", '{"4": "oops"')
    refused("data-105", "beauty", "Beauty_item2attributes.json", '{"4": ["brand"]}')
    refused("data-104", "table", "t.csv", "who,what\n1,2\n")
    refused("data-106", "table", "t.csv", "user,item,time\n1,2,1500000000\n1,3,\n")
    refused("data-106", "table", "t.csv", "user,item,time\n1,2,15\n")
    refused("data-107", "table", "t.csv", "user,item\n1,2\n1,-3\n")


@pytest.mark.real
@pytest.mark.parametrize(("folder", "name"), MD5)
def test_real_packs_give_the_known_splits(pack: Callable[[str], Path], folder: str, name: str) -> None:
    split = leave_one_out(load_sequences(pack(folder), name))
    whole = split.sequences
    assert (len(whole), whole.items, len(whole.rows), split.md5) == MD5[folder, name]
