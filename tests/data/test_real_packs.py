"""The loaders on the real packs: every row is accounted for, and the numbers are those of the packs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mainstem.base.clock import SetClock
from mainstem.data.checks import run_checks
from mainstem.data.importer import detect, import_log
from mainstem.data.log import read_log, split_by_day

Pack = Callable[[str], Path]
pytestmark = pytest.mark.real


def test_kuairand_pure_rows_in_kept_and_dropped(pack: Pack, tmp_path: Path) -> None:
    manifest = import_log(pack("kuairand_pure"), tmp_path / "log")
    assert manifest.rows_in == 185_061
    assert manifest.dropped == {"exact_duplicate": 4_677, "repeated_impression": 362}
    assert manifest.rows == {
        "dropped": 5_039,
        "history": 817_184,
        "impressions": 180_022,
        "items": 7_583,
        "users": 27_285,
    }
    log = read_log(tmp_path / "log")
    shown = log.impressions
    assert (shown["user_id"].n_unique(), shown["item_id"].n_unique()) == (24_448, 6_153)
    assert shown["surface"].value_counts().sort("surface").rows() == [
        ("feed", 142_467),
        ("groups", 16_214),
        ("pages", 21_341),
    ]
    assert log.days == [*range(20220425, 20220431), *range(20220501, 20220506)]
    assert dict.fromkeys(log.dropped["reason"]) == {"exact_duplicate": None, "repeated_impression": None}
    late = log.history.join(shown.group_by("user_id").agg(first=pl.col("time_ms").min()), on="user_id")
    assert late.filter(pl.col("time_ms") >= pl.col("first")).is_empty()
    assert split_by_day(log, 20220428, [d for d in log.days if d >= 20220429]).sha256 == "30aa8210191d"


def test_kuairand_pure_warns_of_its_known_traps_and_fails_nothing(pack: Pack) -> None:
    report = run_checks(pack("kuairand_pure"), clock=SetClock(1_700_000_000_000))
    counts = [(f.check, f.count) for f in report.findings if f.answer == "WARN"]
    assert not report.failed
    assert {
        ("duplicates", 4_677), ("duplicates", 362), ("time zones", 1_597), ("time zones", 32_386), ("order", 1),
        ("rates", 555), ("rates", 85), ("rates", 181), ("durations", 2_793),
    } <= set(counts)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "loader", "rows", "kept"),
    [
        pytest.param("ml-1m", "movielens", 999_611, 999_611, marks=pytest.mark.slow),
        ("ml-latest-small", "movielens", 100_004, 100_004),
        ("retailrocket", "retailrocket", 97_381, 97_196),
    ],
)
def test_other_packs_keep_every_row_or_say_why_not(
    pack: Pack, tmp_path: Path, name: str, loader: str, rows: int, kept: int
) -> None:
    assert detect(pack(name)) == loader
    manifest = import_log(pack(name), tmp_path / "log")
    assert (manifest.rows_in, manifest.rows["impressions"]) == (rows, kept)
    assert sum(manifest.dropped.values()) == rows - kept
