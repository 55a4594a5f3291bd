"""Which public set is this, as sequences: the packs that published tables of next-item retrieval are about.

Every reader keeps the order that the published split was made from: the file's own where a set has no times, time order
where it has them (stable: events of one moment stay in file order). How much of a figure that order explains is a
question of its own (``evaluate.order``).

Source: Kang and McAuley 2018 (``ml-1m.txt``); Zhou et al. 2020, S3-Rec (Beauty, Toys, LastFM); Harper and Konstan 2015.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import DataError, did_you_mean
from mainstem.data.ids import number_ids
from mainstem.data.sequences import ItemContent, Sequences
from mainstem.data.sources import EARLIEST_MS, LATEST_MS, read_frame

_TABLE_NAMES: Final = (("user", "user_id"), ("item", "item_id"), ("time", "time_ms", "timestamp"))
_ORDER: Final = "the published split is made from its order"


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One set by its short name: the file its events are in, where to get it, and what reads it."""

    file: str
    elsewhere: str
    read: Callable[[Path], Sequences]


def load_sequences(folder: Path | str, name: str = "table") -> Sequences:
    """The sequences of a public set's folder, or of anybody's table of users, items and (if known) times.

    Args:
        folder: Where the set's files lie; with ``table`` the path of the table itself (CSV, TSV, Parquet, Arrow).
        name: One of ``SETS``, or ``table``: columns ``user``, ``item`` and optionally ``time`` (s or ms since 1970, or a
            datetime). Rows are put in time order where there are times and otherwise taken as they stand.

    Raises:
        DataError: ``data-100`` no such set; ``data-101`` its file is not there; ``data-102`` a line that is no list of
            numbers; ``data-103`` no events; ``data-104`` a table without its columns; ``data-105`` marks of items that do
            not fit; ``data-106`` times in a wrong unit; ``data-107`` ids that are none.
    """
    path = Path(folder)
    if name == "table":
        return _table(path)
    if name not in SETS:
        hint = did_you_mean(name, [*SETS, "table"])
        raise DataError(f"found no set of sequences called {name!r}", code="data-100", hint=hint)
    source = SETS[name]
    if not (path / source.file).is_file():
        raise DataError(
            f"found no {source.file} in {path}, expected the set {name!r}; {_ORDER}",
            code="data-101",
            hint=f"the official file: {source.elsewhere}; put it there under this name, or point MAINSTEM_DATA at it",
        )
    return source.read(path)


def grouped(
    name: str,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    *,
    times_ms: NDArray[np.int64] | None = None,
    known_items: NDArray[np.int64] | None = None,
    sha256: str = "",
) -> Sequences:
    """Events as sequences: users in the order of their ids, each one's events in time order, equal times as they stood.

    Args:
        known_items: Items that exist whether or not anybody took them; those of the events when not given.

    Raises:
        DataError: ``data-103`` when there is no event at all.
    """
    if not len(users):
        raise DataError(f"found no event in {name!r}, expected at least one", code="data-103")
    order = np.argsort(users, kind="stable") if times_ms is None else np.lexsort((times_ms, users))
    user_ids, counts = np.unique(users, return_counts=True)
    everything = items if known_items is None else np.concatenate([items, known_items])
    item_ids = np.unique(everything)
    return Sequences(
        name=name,
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        rows=np.searchsorted(item_ids, items[order]).astype(np.int32),
        items=len(item_ids),
        item_ids=item_ids,
        user_ids=user_ids,
        times_ms=None if times_ms is None else times_ms[order],
        sha256=sha256,
    )


def with_marks(sequences: Sequences, marks: dict[int, Iterable[object]]) -> Sequences:
    """The same sequences, with what the items are; marks of unknown items are left out, each mark counts once an item."""
    known = [sorted({str(mark) for mark in marks.get(int(item), ())}) for item in sequences.item_ids]
    names = {mark: place for place, mark in enumerate(sorted({mark for row in known for mark in row}))}
    starts = np.concatenate([[0], np.cumsum([len(row) for row in known])]).astype(np.int64)
    flat = np.array([names[mark] for row in known for mark in row], np.int32)
    return replace(sequences, content=ItemContent(starts, flat, len(names)))


def _movielens_1m(folder: Path) -> Sequences:
    path = folder / "ml-1m.txt"
    pairs = _integers(path, fields=2)
    sequences = grouped("ml-1m", pairs[:, 0], pairs[:, 1], sha256=_sha256(path))
    titles = folder / "item_map.tsv"
    if not titles.is_file():
        return sequences
    films = read_frame(titles)
    return with_marks(sequences, _split_marks(films, "sas_id", "genres", "|"))


def _s3rec(stem: str, name: str) -> Callable[[Path], Sequences]:
    def read(folder: Path) -> Sequences:
        path = folder / f"{stem}.txt"
        lines = _lines_of_integers(path)
        users = np.repeat([line[0] for line in lines], [len(line) - 1 for line in lines]).astype(np.int64)
        items = np.array([item for line in lines for item in line[1:]], np.int64)
        sequences = grouped(name, users, items, sha256=_sha256(path))
        return with_marks(sequences, _attributes(folder / f"{stem}_item2attributes.json"))

    return read


def _attributes(path: Path) -> dict[int, Iterable[object]]:
    """What S3-Rec's attribute file says about each item; nothing when the file is not there."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {int(item): [int(mark) for mark in marks] for item, marks in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"found marks that are no lists of numbers by item in {path}: {error}",
            code="data-105",
            hint='expected {"item": [mark, ...]}; copy the official file again',
        ) from error


def _movielens_100k(folder: Path) -> Sequences:
    path = folder / "ml-100k.inter"
    sequences = _timed("ml-100k", path, ("user_id:token", "item_id:token", "timestamp:float"))
    films = folder / "ml-100k.item"
    if not films.is_file():
        return sequences
    return with_marks(sequences, _split_marks(_tab_frame(films), "item_id:token", "class:token_seq", " "))


def _movielens_small(folder: Path) -> Sequences:
    sequences = _timed("ml-latest-small", folder / "ratings.csv", ("userId", "movieId", "timestamp"))
    films = folder / "movies.csv"
    return (
        with_marks(sequences, _split_marks(read_frame(films), "movieId", "genres", "|"))
        if films.is_file()
        else sequences
    )


def _retailrocket(folder: Path) -> Sequences:
    """Views, carts and buys alike; a deed on the item of the user's deed before it is the same event, not a next one."""
    path = folder / "train_view_cart_buy.tsv"
    events = _timed("retailrocket", path, ("user", "item", "unix_ts"))
    new = np.ones(len(events.rows), bool)
    new[1:] = events.rows[1:] != events.rows[:-1]
    begins = events.starts[:-1]
    new[begins[begins < len(new)]] = True
    owner = np.repeat(events.user_ids, events.lengths)
    assert events.times_ms is not None
    return grouped(
        events.name,
        owner[new],
        events.item_ids[events.rows[new]],
        times_ms=events.times_ms[new],
        sha256=events.sha256,
    )


def _timed(name: str, path: Path, columns: tuple[str, str, str]) -> Sequences:
    """Users, items and seconds of a CSV or TSV file."""
    frame = read_frame(path) if path.suffix == ".csv" else _tab_frame(path)
    return _from_frame(name, frame, columns, _sha256(path), path)


def _table(path: Path) -> Sequences:
    frame = read_frame(path)
    found = [next((name for name in names if name in frame.columns), "") for names in _TABLE_NAMES]
    if not (found[0] and found[1]):
        raise DataError(
            f"found the columns {frame.columns} in {path}, expected user, item and, where known, time",
            code="data-104",
            hint="rename them; user_id, item_id, time_ms and timestamp are understood too",
        )
    return _from_frame(path.stem, frame, (found[0], found[1], found[2]), _sha256(path), path)


def _from_frame(name: str, frame: pl.DataFrame, columns: tuple[str, str, str], sha256: str, path: Path) -> Sequences:
    if missing := [column for column in columns if column and column not in frame.columns]:
        raise DataError(f"found no column {missing[0]} in {path}, only {frame.columns}", code="data-104")
    users, items = (_ids(frame.get_column(column), path) for column in columns[:2])
    times = _milliseconds(frame.get_column(columns[2]), path) if columns[2] else None
    return grouped(name, users, items, times_ms=times, sha256=sha256)


def _ids(column: pl.Series, path: Path) -> NDArray[np.int64]:
    numbers = number_ids(column).apply(column)
    if numbers.null_count():
        raise DataError(
            f"found {numbers.null_count()} rows whose {column.name} is no id in {path}, expected whole numbers or texts",
            code="data-107",
            hint="drop those rows: a sequence with a hole would join events that did not follow each other",
        )
    return numbers.to_numpy().astype(np.int64)


def _milliseconds(column: pl.Series, path: Path) -> NDArray[np.int64]:
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("ms")).cast(pl.Int64)
    numbers = column.cast(pl.Float64, strict=False)
    largest = numbers.max()
    if isinstance(largest, float) and largest < EARLIEST_MS:
        numbers = numbers * 1_000
    bad = int(((numbers < EARLIEST_MS) | (numbers > LATEST_MS) | numbers.is_null() | numbers.is_nan()).sum())
    if bad:
        raise DataError(
            f"found {bad} rows whose {column.name} is no time from 1980 to 2100 in {path}, expected s or ms since 1970",
            code="data-106",
            hint="give every row its time, or leave the column out to keep the order of the rows",
        )
    return numbers.cast(pl.Int64).to_numpy().astype(np.int64)


def _split_marks(frame: pl.DataFrame, item: str, marks: str, mark: str) -> dict[int, Iterable[object]]:
    for column in (item, marks):
        if column not in frame.columns:
            raise DataError(f"found no column {column} beside the items, only {frame.columns}", code="data-105")
    texts = frame.get_column(marks).cast(pl.String).fill_null("")
    return {
        int(key): [part for part in text.split(mark) if part and not part.startswith("(no ")]
        for key, text in zip(frame.get_column(item), texts, strict=True)
    }


def _tab_frame(path: Path) -> pl.DataFrame:
    """A tab-separated file whatever its ending is."""
    try:
        return pl.read_csv(path, separator="\t", quote_char=None, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"found a file that cannot be read at {path}: {str(error).splitlines()[0]}", code="data-102"
        ) from error


def _integers(path: Path, fields: int) -> NDArray[np.int64]:
    """All numbers of a file whose lines have so many each."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        numbers = np.array(text.split(), dtype=np.int64)
        if len(numbers) == fields * sum(1 for line in text.splitlines() if line.strip()):
            return numbers.reshape(-1, fields)
    except (ValueError, OverflowError):
        pass
    _lines_of_integers(path, fields)
    raise DataError(f"found lines that are not {fields} numbers in {path}", code="data-102")


def _lines_of_integers(path: Path, fields: int | None = None) -> list[list[int]]:
    lines: list[list[int]] = []
    for place, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        whole = all(part.isascii() and part.isdigit() for part in parts)
        if not whole or len(parts) < 2 or (fields is not None and len(parts) != fields):
            expected = "a user and its items" if fields is None else f"{fields} numbers"
            raise DataError(
                f"found {line[:60]!r} in line {place} of {path}, expected {expected} as whole numbers",
                code="data-102",
                hint="copy the official file again",
            )
        lines.append([int(part) for part in parts])
    return lines


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


_S3REC: Final = "S3-Rec's authors, RUCAIBox/CIKM2020-S3Rec, folder data (with the _item2attributes.json beside it)"
SETS: Final[dict[str, PublicSet]] = {
    "ml-1m": PublicSet("ml-1m.txt", "SASRec's authors, kang205/SASRec, data/ml-1m.txt", _movielens_1m),
    "ml-100k": PublicSet("ml-100k.inter", "RecBole's atomic files of MovieLens 100K", _movielens_100k),
    "ml-latest-small": PublicSet("ratings.csv", "MovieLens latest-small at grouplens.org", _movielens_small),
    "beauty": PublicSet("Beauty.txt", _S3REC, _s3rec("Beauty", "beauty")),
    "toys": PublicSet("Toys_and_Games.txt", _S3REC, _s3rec("Toys_and_Games", "toys")),
    "lastfm": PublicSet("LastFM.txt", _S3REC, _s3rec("LastFM", "lastfm")),
    "retailrocket": PublicSet(
        "train_view_cart_buy.tsv", "views, carts and buys as user, item, behaviour, unix_ts", _retailrocket
    ),
}
