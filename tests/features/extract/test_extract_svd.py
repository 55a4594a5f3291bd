"""SVD of text: the directions of the fit, the same state in any order of rows, and a saved state that is checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from extract_made import bytes_of, made_rows

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import State, fingerprint
from mainstem.features.extract.fitted import load_fitted, save_fitted
from mainstem.features.extract.store import ExtractionStore
from mainstem.features.extract.svd import SvdText
from mainstem.features.extract.text import Wording

WORDING = Wording(text=("title",), ngrams=(1,))


def fit(table: pl.DataFrame, **of: int) -> SvdText:
    return SvdText.fit("svd", "1", table, wording=WORDING, dim=6, slots=256, **of)


def test_singular_directions_are_those_of_a_full_decomposition() -> None:
    table = made_rows(300)
    found = fit(table)
    row, slot, times = [np.asarray(part) for part in _counts(found, table)]
    dense = np.zeros((300, 256))
    dense[row, slot] = np.sqrt(times) * found.idf[slot]
    exact = np.linalg.svd(dense, full_matrices=False)[2][:6]
    overlap = np.abs(exact @ (found.components * 2.0**-26))
    assert np.allclose(np.linalg.norm(overlap, axis=0), 1.0, atol=1e-3)


def _counts(extractor: SvdText, table: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    at, hashes = extractor.wording.tokens(table.sort("item_id"), 0)
    cells, times = np.unique(at * 256 + (hashes % np.uint64(256)).astype(np.int64), return_counts=True)
    return cells // 256, cells % 256, times


def test_row_order_does_not_change_a_fit_but_the_rows_do() -> None:
    table = made_rows(200)
    assert fingerprint(fit(table)) == fingerprint(fit(table.sample(fraction=1.0, shuffle=True, seed=2)))
    assert fingerprint(fit(table)) != fingerprint(fit(made_rows(200, seed=1)))
    sampled = fit(table, sample=80)
    assert fingerprint(sampled) == fingerprint(fit(table[::-1], sample=80)) != fingerprint(fit(table))


def test_a_row_has_the_same_bits_in_any_batch() -> None:
    table = made_rows(100)
    extractor = fit(table)
    whole = extractor.extract(table)
    pieces = [extractor.extract(piece) for piece in table[::-1].iter_slices(7)]
    assert np.array_equal(np.concatenate([piece.vectors for piece in pieces])[::-1], whole.vectors)


def test_words_nobody_fitted_are_empty_and_close_titles_lie_close() -> None:
    extractor = fit(made_rows(300))
    found = extractor.extract(pl.DataFrame({"title": ["zzz yyy", "", "fox river", "river fox", "storm lamp"]}))
    assert found.state.tolist()[1:] == [State.EMPTY, State.KNOWN, State.KNOWN, State.KNOWN]
    assert np.array_equal(found.vectors[2], found.vectors[3])
    assert found.vectors[2] @ found.vectors[4] < found.vectors[2] @ found.vectors[3]


def test_a_saved_state_is_the_same_extractor_and_the_store_keeps_it(tmp_path: Path) -> None:
    table = made_rows(200)
    extractor = fit(table)
    store = ExtractionStore(tmp_path / "a")
    store.run(extractor, table)
    again = SvdText.from_fitted("svd", "1", WORDING, store.open("svd", "1").fitted())
    assert fingerprint(again) == fingerprint(extractor)
    assert store.run(again, table).computed == 0
    ExtractionStore(tmp_path / "b").run(again, table)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    arrays = {"a": np.arange(50.0), "b": np.arange(3)}
    save_fitted(path, arrays)
    assert {name: value.tolist() for name, value in load_fitted(path).items()} == {
        n: v.tolist() for n, v in arrays.items()
    }
    np.savez(path, **arrays, _content_hash=np.array("0" * 32))  # type: ignore[arg-type]
    for spoil in (lambda: None, lambda: path.write_bytes(path.read_bytes()[:100]), path.unlink):
        spoil()
        with pytest.raises(ExtractionError) as refused:
            load_fitted(path)
        assert refused.value.code == "feature-065"


def test_too_few_rows_for_the_directions_are_refused() -> None:
    with pytest.raises(ExtractionError) as refused:
        fit(made_rows(5))
    assert refused.value.code == "feature-064"
