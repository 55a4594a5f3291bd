"""Who rated which film: MovieLens 1M (official ``::`` files or text sequences) and the small sets' ``ratings.csv``.

Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 2015.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from mainstem.base.errors import DataError
from mainstem.base.settings import Data
from mainstem.data.loaders.table import Source, load_source
from mainstem.data.sources import Loaded, Progress, read_frame, silent

_RATINGS: Final = ("user_id", "item_id", "rating", "time")
_MAPPING: Final = Data(
    columns={"time_ms": "time"}, time={"unit": "s"}, heads={"like": "rating >= 4", "hate": "rating < 2"}
)
_SEQUENCE_MAPPING: Final = Data(heads={"click": "1"})
_SEQUENCE_START_MS: Final = 946_684_800_000
_LICENCE: Final = "GroupLens: research use, no redistribution"


def recognises(folder: Path) -> bool:
    """Is this a MovieLens folder?"""
    if (folder / "ratings.csv").is_file():
        return (folder / "movies.csv").is_file()
    return any((folder / name).is_file() for name in ("ratings.dat", "ml-1m.txt"))


def load(folder: Path, *, progress: Progress = silent) -> Loaded:
    """The log tables of a MovieLens folder.

    A rating is one shown film: ``like`` is 4 stars or more, ``hate`` under 2. The sequences have no times and no stars:
    every film is a click, and the time is the place in the user's sequence, in minutes after 2000-01-01.
    """
    progress(0.0, "reading ratings")
    if (folder / "ratings.dat").is_file():
        return load_source(_official(folder), _MAPPING, progress=progress)
    if (folder / "ratings.csv").is_file():
        return load_source(_small(folder), _MAPPING, progress=progress)
    return load_source(_sequences(folder), _SEQUENCE_MAPPING, progress=progress)


def _official(folder: Path) -> Source:
    rows = _double_colon(folder / "ratings.dat", _RATINGS)
    rows = rows.with_columns(pl.all().cast(pl.Int64, strict=False))
    movies = folder / "movies.dat"
    items = _films(_double_colon(movies, ("item_id", "title", "genres"))) if movies.is_file() else None
    return Source(
        rows, "MovieLens 1M", items, _people(folder), loader="movielens", licence=_LICENCE, files=["ratings.dat"]
    )


def _small(folder: Path) -> Source:
    rows = read_frame(folder / "ratings.csv")
    wanted = ("userId", "movieId", "rating", "timestamp")
    if not set(wanted) <= set(rows.columns):
        raise DataError(
            f"found columns {rows.columns} in ratings.csv, expected {', '.join(wanted)}",
            code="data-003",
            hint="keep the official file as it is",
        )
    rows = rows.select(pl.col(theirs).alias(ours) for theirs, ours in zip(wanted, _RATINGS, strict=True))
    movies = read_frame(folder / "movies.csv").rename({"movieId": "item_id"})
    return Source(rows, "MovieLens", _films(movies), loader="movielens", licence=_LICENCE, files=["ratings.csv"])


def _sequences(folder: Path) -> Source:
    rows = read_frame(folder / "ml-1m.txt", separator=" ", header=("user_id", "item_id"))
    place = pl.int_range(pl.len()).over("user_id")
    rows = rows.with_columns(time_ms=_SEQUENCE_START_MS + place * 60_000)
    titles = folder / "item_map.tsv"
    items = _films(read_frame(titles).rename({"sas_id": "item_id"})) if titles.is_file() else None
    note = "times are made from the order: minutes after 2000-01-01, each user apart; there are no real times"
    return Source(rows, "MovieLens 1M", items, loader="movielens", licence=_LICENCE, files=["ml-1m.txt"], notes=[note])


def _films(movies: pl.DataFrame) -> pl.DataFrame:
    """Genres as tags, numbered by name; the first is the category."""
    genres = movies.with_columns(genre=pl.col("genres").str.split("|"))
    names = sorted(set(genres.get_column("genre").explode().drop_nulls()))
    number = {name: place for place, name in enumerate(names)}
    tags = pl.col("genre").list.eval(pl.element().replace_strict(number, return_dtype=pl.Int32))
    numbered = genres.select(pl.col("item_id").cast(pl.Int64), tags=tags)
    return numbered.with_columns(category=pl.col("tags").list.first(), kind=pl.lit("NORMAL"))


def _people(folder: Path) -> pl.DataFrame | None:
    """Gender, age band and occupation as three traits."""
    path = folder / "users.dat"
    if not path.is_file():
        return None
    users = _double_colon(path, ("user_id", "gender", "age", "occupation", "postcode"))
    traits = pl.concat_list(
        (pl.col("gender") == "M").cast(pl.Int16), pl.col("age").cast(pl.Int16), pl.col("occupation").cast(pl.Int16)
    )
    return users.select(pl.col("user_id").cast(pl.Int64), traits=traits)


def _double_colon(path: Path, names: tuple[str, ...]) -> pl.DataFrame:
    """A ``::`` file, Latin-1; the mark is two bytes, so lines are split here and not by the CSV reader."""
    try:
        lines = pl.Series("line", path.read_bytes().decode("latin-1").splitlines())
    except OSError as error:
        raise DataError(f"found a file that cannot be read at {path}: {error}", code="data-002") from error
    parts = pl.DataFrame(lines).select(pl.col("line").str.split("::").list.to_struct(fields=list(names)).alias("part"))
    frame = parts.unnest("part")
    short = frame.get_column(names[-1]).null_count()
    if short:
        raise DataError(
            f"found {short} lines without {len(names)} fields in {path}, expected {'::'.join(names)}",
            code="data-002",
            hint="copy the file again",
        )
    return frame
