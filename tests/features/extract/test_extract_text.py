"""Text and tags: pinned bits, one meaning per spelling, and no influence of neighbours, order or process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from extract_made import made_rows, words
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import State, arrays_hash, fingerprint
from mainstem.features.extract.text import HashedText, Wording
from mainstem.features.extract.tokens import normalised, salt_of, tag_tokens, text_tokens


def titles(*texts: str | None, **of: object) -> np.ndarray:
    wording = Wording(text=("title",), **of)  # type: ignore[arg-type]
    return HashedText(name="t", version="1", wording=wording).extract(pl.DataFrame({"title": list(texts)})).vectors


def test_tokens_are_these_numbers_on_every_machine() -> None:
    at, hashes = text_tokens(pl.Series(["Quiet storm", None, "x"]), (1, 2), (3,), salt_of("text", "title", 0))
    tagged = tag_tokens(pl.Series(["a|B", ""]), "|", salt_of("tags", "tags", 0))
    assert at.tolist() == [0, 0, 0, *[0] * 9, 2]
    assert arrays_hash({"text": hashes, "row": tagged[0], "tags": tagged[1]}) == "b5a72f68dcb79e2c226ab25b5cc37413"


def test_vectors_are_these_bits_in_another_process() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from extract_made import made_rows, words\n"
        "from mainstem.features.extract.extractor import arrays_hash\n"
        "print(arrays_hash({'v': words().extract(made_rows(40)).vectors}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert (
        other.stdout.strip()
        == arrays_hash({"v": words().extract(made_rows(40)).vectors})
        == "18e212c1d59f8448db6c7cb8012062da"
    )


@given(st.integers(0, 1000), st.integers(1, 30), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_a_row_has_the_same_bits_in_any_batch_and_order(seed: int, cut: int, random: object) -> None:
    rows = made_rows(30, seed)
    whole = words().extract(rows)
    order = np.random.default_rng(seed).permutation(30)
    shuffled = words().extract(rows[order])
    assert np.array_equal(shuffled.vectors, whole.vectors[order])
    assert np.array_equal(shuffled.state, whole.state[order])
    pieces = [words().extract(piece) for piece in rows.iter_slices(cut)]
    assert np.array_equal(np.concatenate([piece.vectors for piece in pieces]), whole.vectors)


@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=6))
def test_any_text_has_unit_length_or_is_empty(texts: list[str | None]) -> None:
    clean = [None if text is None else text.encode("utf-8", "ignore").decode() for text in texts]
    wording = Wording(text=("title",), chars=(2, 3))
    found = HashedText(name="t", version="1", wording=wording).extract(
        pl.DataFrame({"title": pl.Series(clean, dtype=pl.String)})
    )
    lengths = np.linalg.norm(found.vectors * 2.0**-20, axis=1)
    assert np.allclose(lengths, found.state == State.KNOWN, atol=1e-4)
    for text, state in zip(clean, found.state, strict=True):
        assert text or state == State.EMPTY


def test_compatibility_forms_case_and_punctuation_do_not_matter() -> None:
    assert normalised("  Ｓtraße — CAFE\u0301, ﬁn!") == "strasse caf\u00e9 fin"
    one, two = titles("Café, Straße", "cafe\u0301  STRASSE")
    assert np.array_equal(one, two)


def test_word_order_matters_only_with_longer_runs() -> None:
    assert np.array_equal(*titles("fox river", "river fox"))
    assert not np.array_equal(*titles("fox river", "river fox", ngrams=(1, 2)))


def test_runs_of_code_points_see_a_script_without_spaces() -> None:
    apart = titles("北京烤鸭", "北京大学")
    close = titles("北京烤鸭", "北京大学", ngrams=(), chars=(2,))
    assert apart[0] @ apart[1] == 0.0 or abs(apart[0] @ apart[1]) < close[0] @ close[1]
    assert close[0] @ close[1] * 2.0**-40 > 0.2


def test_a_tag_and_a_word_of_the_same_spelling_are_two_facts() -> None:
    rows = pl.DataFrame({"a": ["fox", None], "b": [None, "fox"]})
    found = HashedText(name="t", version="1", wording=Wording(text=("a",), tags=("b",))).extract(rows)
    assert not np.array_equal(found.vectors[0], found.vectors[1])


def test_tags_come_as_lists_values_or_joined_strings() -> None:
    def vectors(tags: pl.Series) -> np.ndarray:
        wording = Wording(tags=("t",))
        return HashedText(name="t", version="1", wording=wording).extract(pl.DataFrame({"t": tags})).vectors

    assert np.array_equal(vectors(pl.Series(["a|b", "c"])), vectors(pl.Series([["b", "A "], ["c"]])))
    assert np.array_equal(vectors(pl.Series([3, None])), vectors(pl.Series([[3], []], dtype=pl.List(pl.Int16))))


def test_a_float_is_no_tag_and_a_number_no_text() -> None:
    for wording, column in ((Wording(tags=("t",)), [1.5]), (Wording(text=("t",)), [3])):
        with pytest.raises(ExtractionError) as refused:
            HashedText(name="t", version="1", wording=wording).extract(pl.DataFrame({"t": column}))
        assert refused.value.code == "feature-062"


def test_a_missing_column_and_an_empty_wording_are_refused() -> None:
    with pytest.raises(ExtractionError) as refused:
        words().extract(pl.DataFrame({"title": ["x"]}))
    assert refused.value.code == "feature-061"
    with pytest.raises(ExtractionError) as refused:
        Wording()
    assert refused.value.code == "feature-063"


def test_the_fingerprint_tells_definitions_apart() -> None:
    prints = {fingerprint(words()), fingerprint(words("2")), fingerprint(words(salt=1))}
    assert len(prints) == 2
