"""On real catalogues: neighbours by vector share what people wrote about them, far more often than chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mainstem.features.extract.behaviour import CoEngagement, sequences
from mainstem.features.extract.cross import HashedCross
from mainstem.features.extract.extractor import Extractor, State
from mainstem.features.extract.media import MediaAttributes
from mainstem.features.extract.store import ExtractionStore
from mainstem.features.extract.svd import SvdText
from mainstem.features.extract.text import HashedText, Wording

pytestmark = pytest.mark.real
AS_OF_MS = 1_650_844_800_000  # 25 April 2022, when the log starts


def films(pack: Callable[[str], Path]) -> pl.DataFrame:
    """Films with titles, genres and what viewers tagged them with; genres are what neighbours are checked by."""
    folder = pack("ml-latest-small")
    tags = pl.read_csv(folder / "tags.csv").group_by("movieId").agg(tags=pl.col("tag").sort())
    return (
        pl.read_csv(folder / "movies.csv")
        .join(tags, on="movieId", how="left", maintain_order="left")
        .rename({"movieId": "item_id"})
    )


def genre_matrix(table: pl.DataFrame) -> np.ndarray:
    rows = table.select(row=pl.int_range(pl.len()), genre=pl.col("genres").str.split("|")).explode("genre")
    rows = rows.filter(pl.col("genre") != "(no genres listed)")
    out = np.zeros((table.height, rows["genre"].n_unique()))
    out[rows["row"].to_numpy(), rows["genre"].rank("dense").to_numpy() - 1] = 1.0
    return out


def overlap(sets: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    """Mean share of common genres of pairs (intersection over union)."""
    both = (sets[left] * sets[right]).sum(axis=1)
    union = sets[left].sum(axis=1) + sets[right].sum(axis=1) - both
    return float(np.mean(both[union > 0] / union[union > 0]))


def neighbour_lift(vectors: np.ndarray, sets: np.ndarray) -> float:
    """How many times more genres nearest neighbours share than pairs drawn at random."""
    score = vectors @ vectors.T
    np.fill_diagonal(score, -np.inf)
    everyone = np.arange(len(vectors))
    other = np.random.default_rng(0).permutation(len(vectors))
    return overlap(sets, everyone, score.argmax(axis=1)) / overlap(sets, everyone, other)


def lift_of(folder: Path, extractor: Extractor, table: pl.DataFrame, sets: np.ndarray, limit: int = 2500) -> float:
    store = ExtractionStore(folder)
    store.run(extractor, table)
    vectors, state = store.read(extractor.name, extractor.version, table["item_id"])
    known = np.flatnonzero((state == State.KNOWN) & (sets.sum(axis=1) > 0))[:limit]
    assert len(known) > 500
    return neighbour_lift(vectors[known], sets[known])


def test_films_that_are_tagged_or_titled_alike_share_genres(pack: Callable[[str], Path], tmp_path: Path) -> None:
    table = films(pack)
    sets = genre_matrix(table)
    tagged = Wording(text=("tags",), ngrams=(1,))
    assert lift_of(tmp_path, HashedText(name="tags", version="1", wording=tagged, dim=256), table, sets) > 1.4
    svd = SvdText.fit("svd", "1", table, wording=tagged, dim=32)
    assert lift_of(tmp_path, svd, table, sets) > 1.35
    titled = Wording(text=("title",), ngrams=(1, 2))
    assert lift_of(tmp_path, HashedText(name="titles", version="1", wording=titled, dim=256), table, sets) > 1.2


def test_films_watched_by_the_same_people_share_genres(pack: Callable[[str], Path], tmp_path: Path) -> None:
    table = films(pack)
    ratings = pl.read_csv(pack("ml-latest-small") / "ratings.csv").filter(pl.col("rating") >= 4.0)
    watched = sequences(ratings, "userId", "movieId", "timestamp", 1000)
    rated = ratings["movieId"].value_counts().filter(pl.col("count") >= 5)["movieId"]
    single = table.filter(pl.col("item_id").is_in(rated.implode())).with_columns(items=pl.concat_list("item_id"))
    extractor = CoEngagement.fit("co", "1", watched, dim=32)
    assert lift_of(tmp_path, extractor, single, genre_matrix(single)) > 1.7


def videos(pack: Callable[[str], Path]) -> pl.DataFrame:
    return pl.read_csv(pack("kuairand_pure") / "video_features_basic_pure.csv", schema_overrides={"tag": pl.String})


def test_every_video_has_its_attributes_and_crosses_its_slots(pack: Callable[[str], Path], tmp_path: Path) -> None:
    table = videos(pack)
    media = MediaAttributes(
        name="media", version="1", duration_ms="video_duration", kind="video_type", kinds=("NORMAL", "AD"),
        size=("server_width", "server_height"), uploaded="upload_dt", as_of_ms=AS_OF_MS,
    )  # fmt: skip
    cross = HashedCross(
        name="cross", version="1", crosses=(("tag", "upload_type"), ("author_id", "tag")), slots=1 << 16
    )
    store = ExtractionStore(tmp_path)
    ran = store.run(media, table, key="video_id")
    assert (ran.rows, ran.failed, ran.manifest.known) == (table.height, 0, table.height)
    assert store.run(cross, table, key="video_id").failed == 0
    coarse, fine = cross.collisions(table)
    assert coarse.distinct < 2000 < fine.distinct
    assert abs(fine.shared_share - fine.expected_share) < 0.02
