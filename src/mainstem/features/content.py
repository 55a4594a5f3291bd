"""What an item contains, as a short vector that needs no feedback: tags, kind, audio, creator and length, hashed."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.seeds import mix

CONTENT_DIM = 128


def content_codes(table: pl.DataFrame, duration_bucket: NDArray[np.int8]) -> list[tuple[NDArray, NDArray]]:
    """Which facts each item has: pairs of (item row, fact code), one pair of arrays a field."""
    rows = np.arange(table.height)
    facts = [(rows, duration_bucket.astype(np.int64) + (1 << 40))]
    for field, name in enumerate(("category", "audio_id", "creator_id"), start=2):
        if name in table.columns:
            values = table[name].fill_null(-1).to_numpy().astype(np.int64)
            facts.append((rows[values >= 0], values[values >= 0] + (field << 40)))
    if "tags" in table.columns:
        tags = table.select(row=pl.int_range(pl.len()), tag="tags").explode("tag").drop_nulls()
        facts.append((tags["row"].to_numpy(), tags["tag"].to_numpy().astype(np.int64) + (9 << 40)))
    return facts


def hashed_content(facts: list[tuple[NDArray, NDArray]], n: int) -> NDArray[np.float32]:
    """Unit vectors of hashed facts, one row an item and a zero row for the unknown item.

    Each fact takes two signed slots. Source: feature hashing (Weinberger et al., ICML 2009).
    """
    out = np.zeros((n + 1, CONTENT_DIM), np.float32)
    for rows, codes in facts:
        hashed = mix(codes.astype(np.uint64))
        for shift in (np.uint64(0), np.uint64(20)):
            at = ((hashed >> shift) % np.uint64(CONTENT_DIM)).astype(np.int64)
            sign = np.where((hashed >> (shift + np.uint64(19))) & np.uint64(1), 1.0, -1.0)
            np.add.at(out, (rows, at), sign.astype(np.float32))
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
