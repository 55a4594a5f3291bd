"""Which hashed tokens a text or a tag list holds: the same 64-bit numbers in every process and on every machine."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any, Final

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from mainstem.base.seeds import mix
from mainstem.features.extract.errors import ExtractionError

UNICODE: Final = unicodedata.unidata_version
"""The Unicode tables that decide what a word is; part of every text extractor's definition."""

_WORDS: Final = re.compile(r"\w+")
_SPACE: Final = 32

Tokens = tuple[NDArray[np.int64], NDArray[np.uint64]]
"""(row of each token, its hash), in row order."""


def normalised(text: str) -> str:
    """The words of a text, compatibility forms and case folded away, one space between them.

    Source: Unicode Standard Annex 15 (NFKC), full case folding.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_WORDS.findall(folded))


def salt_of(*parts: str | int) -> np.uint64:
    """A 64-bit number for a name and a salt."""
    digest = hashlib.blake2b("\x1f".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def text_tokens(texts: pl.Series, words: tuple[int, ...], chars: tuple[int, ...], salt: np.uint64) -> Tokens:
    """Hashes of the runs of ``words`` words and of ``chars`` code points in each text; null is no text.

    Code-point runs do not need spaces between words, and forgive a slip of the pen; runs span a word's end as one space.
    """
    flat = [normalised(text) if text else "" for text in _strings(texts)]
    ends = np.cumsum([len(text) for text in flat], dtype=np.int64)
    points = np.frombuffer("".join(flat).encode("utf-32-le", "surrogatepass"), np.dtype("<u4")).astype(np.uint32)
    return _grams(points, ends, np.array(words, np.int64), np.array(chars, np.int64), salt)


def tag_tokens(tags: pl.Series, separator: str, salt: np.uint64) -> Tokens:
    """Hashes of whole tags: of a list column, of one tag a row, or of a string with a separator (empty pieces are none)."""
    if isinstance(tags.dtype, pl.List):
        table = pl.DataFrame({"row": np.arange(len(tags)), "tag": tags}).explode("tag")
    elif tags.dtype == pl.String and separator:
        table = pl.DataFrame({"row": np.arange(len(tags)), "tag": tags.str.split(separator)}).explode("tag")
    else:
        table = pl.DataFrame({"row": np.arange(len(tags)), "tag": tags})
    table = table.drop_nulls()
    hashed = value_hashes(table["tag"], salt)
    if table["tag"].dtype == pl.String:
        spoken = (table["tag"].str.strip_chars() != "").to_numpy()
        return table["row"].to_numpy()[spoken], hashed[spoken]
    return table["row"].to_numpy(), hashed


def value_hashes(values: pl.Series, salt: np.uint64) -> NDArray[np.uint64]:
    """One hash a value: whole numbers and booleans by value, strings by their normalised text without outer spaces.

    Raises:
        ExtractionError: ``feature-062`` for a column that is not categorical.
    """
    if values.dtype.is_integer() or values.dtype == pl.Boolean:
        # Nulls go first: a column with a null comes to NumPy as floats, and then a row's neighbours would change its id.
        whole = values if values.dtype == pl.UInt64 else values.cast(pl.Int64)
        return mix(mix(whole.fill_null(0).to_numpy().astype(np.uint64)) ^ salt)
    if values.dtype not in (pl.String, pl.Categorical, pl.Null) and not isinstance(values.dtype, pl.Enum):
        raise ExtractionError(
            f"column {values.name!r} is {values.dtype}: tags and categories are whole numbers, booleans or strings",
            code="feature-062",
            hint="cast it (a float is not a category), or put it in classes first",
        )
    table = pl.DataFrame({"value": values.cast(pl.String)})
    known = table.unique().drop_nulls()
    spelt = [unicodedata.normalize("NFKC", value).strip().casefold() for value in known["value"].to_list()]
    hashes = np.array([_string_hash(value) for value in spelt], np.uint64)
    joined = table.join(
        known.with_columns(hash=pl.Series(hashes, dtype=pl.UInt64)), on="value", how="left", maintain_order="left"
    )
    return mix(joined["hash"].fill_null(0).to_numpy() ^ salt)


def _string_hash(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _strings(texts: pl.Series) -> list[str | None]:
    if isinstance(texts.dtype, pl.List):
        return texts.cast(pl.List(pl.String)).list.join(" ").to_list()
    if texts.dtype not in (pl.String, pl.Null):
        raise ExtractionError(
            f"column {texts.name!r} is {texts.dtype}: a text column holds strings",
            code="feature-062",
            hint="cast it to a string, or declare it under `tags`",
        )
    return texts.to_list()


def _grams(points: Any, ends: Any, words: Any, chars: Any, salt: np.uint64) -> Tokens:
    bound = len(points) * max(len(chars), 0) + (len(points) // 2 + len(ends) + 1) * max(len(words), 0)
    rows, hashes = np.empty(bound, np.int64), np.empty(bound, np.uint64)
    longest = int(max([*words.tolist(), 1]))
    used = _fill(points, ends, words, chars, salt, np.zeros(longest, np.uint64), rows, hashes)
    return rows[:used], hashes[:used]


@njit(cache=True, nogil=True)
def _stir(state: Any, value: Any) -> Any:
    z = (state ^ value) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def _word_grams(recent: Any, count: int, words: Any, salt: Any, row: int, rows: Any, hashes: Any, used: int) -> int:
    """Hashes of the runs that end with the newest of ``count`` words; ``recent`` is a ring of the last word hashes."""
    size = len(recent)
    for length in words:
        if count >= length:
            state = _stir(salt, np.uint64(length))
            for back in range(length - 1, -1, -1):
                state = _stir(state, recent[(count - 1 - back) % size])
            rows[used], hashes[used] = row, state
            used += 1
    return used


@njit(cache=True, nogil=True)
def _fill(points: Any, ends: Any, words: Any, chars: Any, salt: Any, recent: Any, rows: Any, hashes: Any) -> int:
    used, start = 0, 0
    for row in range(len(ends)):
        stop, count, state = ends[row], 0, np.uint64(0)
        for at in range(start, stop):
            point = np.uint64(points[at])
            if points[at] != _SPACE:
                state = _stir(state, point)
            if points[at] == _SPACE or at == stop - 1:
                recent[count % len(recent)] = state
                count, state = count + 1, np.uint64(0)
                used = _word_grams(recent, count, words, salt, row, rows, hashes, used)
        for length in chars:
            for at in range(start, stop - length + 1):
                state = _stir(salt, np.uint64(length + 64))
                for inner in range(at, at + length):
                    state = _stir(state, np.uint64(points[inner]))
                rows[used], hashes[used] = row, state
                used += 1
        start = stop
    return used
