"""Every extractor: a row's bits do not depend on its batch or order, and a table of nothing is no trouble."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from extract_made import made_rows, words
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.features.extract.behaviour import CoEngagement, TransitionCounts
from mainstem.features.extract.compute import computed_rows
from mainstem.features.extract.cross import HashedCross
from mainstem.features.extract.extractor import Extractor, Fitted, State, fingerprint
from mainstem.features.extract.media import MediaAttributes
from mainstem.features.extract.svd import SvdText
from mainstem.features.extract.text import Wording


def table(rows: int, seed: int) -> pl.DataFrame:
    """Made rows with a file's attributes, a sequence, and something missing everywhere."""
    draw = np.random.default_rng(seed)
    gone = pl.Series(draw.random(rows) < 0.3)
    return made_rows(rows, seed).with_columns(
        duration=pl.Series(draw.integers(0, 400_000, rows)),
        width=pl.Series(draw.integers(0, 2000, rows)),
        height=pl.Series(draw.integers(0, 2000, rows)),
        uploaded=pl.Series(draw.integers(0, 10**11, rows)),
        kind=pl.when(gone).then(None).otherwise(pl.Series(draw.choice(["AD", "NORMAL", "LIVE"], rows))),
        creator=pl.when(gone).then(None).otherwise(pl.Series(draw.integers(2**60, 2**60 + 9, rows))),
        items=pl.Series(
            [draw.integers(0, 12, draw.integers(0, 8)).tolist() for _ in range(rows)], dtype=pl.List(pl.Int64)
        ),
    )


def all_extractors() -> dict[str, Extractor]:
    rows = table(80, 1)
    return {
        "words": words(),
        "svd": SvdText.fit("svd", "1", rows, wording=Wording(text=("title",), tags=("tags",)), dim=5, slots=64),
        "media": MediaAttributes(
            name="media", version="1", duration_ms="duration", kind="kind", kinds=("AD",), size=("width", "height"),
            uploaded="uploaded", as_of_ms=9 * 10**10,
        ),
        "cross": HashedCross(name="cross", version="1", crosses=(("kind", "creator"), ("creator",)), slots=1 << 20),
        "co": CoEngagement.fit("co", "1", rows, dim=4),
        "steps": TransitionCounts(name="steps", version="1", items="items", slots=8, last=5),
    }  # fmt: skip


ALL = all_extractors()


@pytest.mark.parametrize("name", sorted(ALL))
@given(seed=st.integers(0, 200), rows=st.integers(1, 25), batch=st.integers(1, 30))
@settings(max_examples=12)
def test_a_rows_bits_are_its_own(name: str, seed: int, rows: int, batch: int) -> None:
    extractor, rows_of = ALL[name], table(rows, seed)
    whole = computed_rows(extractor, rows_of, 1000)
    order = np.random.default_rng(seed).permutation(rows)
    other = computed_rows(extractor, rows_of[order], batch)
    assert np.array_equal(other.vectors, whole.vectors[order])
    assert np.array_equal(other.state, whole.state[order])
    assert not np.any(whole.state == State.FAILED)


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_rows_give_no_vectors(name: str) -> None:
    found = ALL[name].extract(table(3, 0)[:0])
    assert found.vectors.shape == (0, ALL[name].dim)


def test_fingerprints_are_apart_and_only_fitted_ones_have_a_state() -> None:
    assert len({fingerprint(extractor) for extractor in ALL.values()}) == len(ALL)
    assert {name for name, extractor in ALL.items() if isinstance(extractor, Fitted)} == {"svd", "co"}
    assert all(isinstance(extractor, Extractor) for extractor in ALL.values())
