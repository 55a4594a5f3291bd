"""Made rows and small extractors for the tests of extraction."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mainstem.features.extract.extractor import Extracted, Json, State
from mainstem.features.extract.fixed import SCALE, quantise
from mainstem.features.extract.text import HashedText, Wording

WORDS = ["river", "stone", "lamp", "quiet", "storm", "paper", "garden", "fox", "winter", "copper", "thread", "harbour"]


def made_rows(rows: int, seed: int = 0) -> pl.DataFrame:
    """Items with titles and tags; some of each missing."""
    draw = np.random.default_rng(seed)
    titles = [" ".join(draw.choice(WORDS, draw.integers(0, 6))) for _ in range(rows)]
    tags = [draw.integers(0, 9, draw.integers(0, 3)).tolist() for _ in range(rows)]
    table = pl.DataFrame({"item_id": np.arange(rows) * 7 - 20, "title": titles, "tags": tags})
    return table.with_columns(title=pl.when(pl.col("item_id") % 5 == 0).then(None).otherwise(pl.col("title")))


def words(version: str = "1", salt: int = 0) -> HashedText:
    """A small hashed text extractor over made rows."""
    return HashedText(
        name="words",
        version=version,
        wording=Wording(text=("title",), tags=("tags",), ngrams=(1, 2)),
        dim=16,
        salt=salt,
    )


@dataclass(frozen=True)
class Fragile:
    """The length of a title; raises at ``bad``, kills its process at ``deadly``."""

    bad: str = ""
    deadly: str = ""
    name: str = "fragile"
    version: str = "1"
    dim: int = 2
    scale: float = SCALE
    columns: tuple[str, ...] = ("title",)

    def definition(self) -> dict[str, Json]:
        return {"form": 1}

    def extract(self, rows: pl.DataFrame) -> Extracted:
        titles = [title or "" for title in rows["title"].to_list()]
        if self.deadly and any(self.deadly in title for title in titles):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.bad and any(self.bad in title for title in titles):
            raise ValueError(f"no {self.bad} allowed")
        lengths = np.array([[len(title) / 8.0, title.count(" ")] for title in titles]).reshape(-1, 2)
        state = np.where(lengths[:, 0] > 0, State.KNOWN, State.EMPTY).astype(np.int8)
        return Extracted(quantise(lengths), state, {})


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every result file's bytes, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
