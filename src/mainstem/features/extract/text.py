"""Text and tags as hashed vectors: nothing is learned, so a new item has its vector as soon as it has its words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extracted, Json, need_columns, unit_extracted
from mainstem.features.extract.fixed import SCALE
from mainstem.features.extract.tokens import UNICODE, Tokens, salt_of, tag_tokens, text_tokens

LONGEST_GRAM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Which columns are text and which are tags, and how they are cut into tokens.

    Each column has its own salt, so that a title's "comedy" and the tag "comedy" are two facts.

    Args:
        text: String columns (or lists of strings).
        tags: Columns of whole tags: lists, one value a row, or strings with ``separator``.
        ngrams: Runs of how many words.
        chars: Runs of how many code points; (2,) or (2, 3) for scripts without spaces.
        separator: What stands between tags in a string column; empty means the string is one tag.
    """

    text: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    ngrams: tuple[int, ...] = (1,)
    chars: tuple[int, ...] = ()
    separator: str = "|"

    def __post_init__(self) -> None:
        """Refuses a declaration that reads nothing, or runs no text has."""
        runs = (*self.ngrams, *self.chars)
        if not (self.text or self.tags) or (self.text and not runs) or any(not 1 <= n <= LONGEST_GRAM for n in runs):
            raise ExtractionError(
                f"a wording reads at least one column, in runs of 1 to {LONGEST_GRAM}; found {self.columns} in runs {runs}",
                code="feature-063",
                hint="Wording(text=('title',), tags=('genres',), ngrams=(1, 2))",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (*self.text, *self.tags)

    def definition(self) -> dict[str, Json]:
        """Everything that decides the tokens."""
        return {
            "text": list(self.text),
            "tags": list(self.tags),
            "ngrams": list(self.ngrams),
            "chars": list(self.chars),
            "separator": self.separator,
            "unicode": UNICODE,
        }

    def tokens(self, rows: pl.DataFrame, salt: int) -> Tokens:
        """The tokens of these rows, column after column."""
        parts = [text_tokens(rows[name], self.ngrams, self.chars, salt_of("text", name, salt)) for name in self.text]
        parts += [tag_tokens(rows[name], self.separator, salt_of("tags", name, salt)) for name in self.tags]
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([hashes for _, hashes in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedText:
    """Text and tags as signed hashed vectors of unit length; a row without any word or tag is empty.

    Each token adds one signed unit in two slots, so that two tokens rarely cancel or coincide in both. Counts are whole
    numbers, which no order of adding can change.

    Args:
        name: The folder of the results.
        version: Yours; a changed definition needs a new one.
        wording: Columns and runs.
        dim: Slots; a power of two is not needed.
        salt: Another salt, other collisions.
    Source:
        Feature hashing (Weinberger et al., ICML 2009).
    """

    name: str
    version: str
    wording: Wording
    dim: int = 128
    salt: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The wording's columns."""
        return self.wording.columns

    @property
    def scale(self) -> float:
        """Fixed point."""
        return SCALE

    def definition(self) -> dict[str, Json]:
        """Wording, size and salt."""
        return {"wording": self.wording.definition(), "salt": self.salt, "form": 1}

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The vectors of these rows."""
        need_columns(rows, self.columns, self.name)
        at, hashes = self.wording.tokens(rows, self.salt)
        sums = np.zeros(rows.height * self.dim)
        for shift in (np.uint64(0), np.uint64(32)):
            half = (hashes >> shift) & np.uint64(0xFFFFFFFF)
            slot = ((half >> np.uint64(1)) % np.uint64(self.dim)).astype(np.int64)
            sign = np.where(half & np.uint64(1), 1.0, -1.0)
            sums += np.bincount(at * self.dim + slot, sign, minlength=len(sums))
        return unit_extracted(sums.reshape(rows.height, self.dim))
