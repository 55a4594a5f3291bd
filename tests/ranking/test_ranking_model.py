"""The model folder: what is saved is what is loaded, and a model for other features is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mainstem.base.errors import ModelError
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.model import Model, embedding_rows, load_model


def test_saved_and_loaded_models_predict_the_same(small_lesson: Lesson, small_model: Model, tmp_path: Path) -> None:
    small_model.save(tmp_path)
    again, v = load_model(tmp_path), small_lesson.values
    one, two = small_model.network(small_lesson.catalog), again.network(small_lesson.catalog)
    np.testing.assert_array_equal(
        one.many(v.user, v.item_row, v.item, v.cross), two.many(v.user, v.item_row, v.item, v.cross)
    )
    np.testing.assert_array_equal(small_model.calibrators().tables, again.calibrators().tables)
    assert again.card["rows"]["train"] == small_model.card["rows"]["train"]
    assert again.card["limits"]


def test_the_features_that_differ_are_named(small_model: Model, tmp_path: Path) -> None:
    small_model.save(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    card["features"]["item"].remove("age")
    card["features"]["user"].append("shoe_size")
    card["signature"] = "0" * 12
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"user\.shoe_size, item\.age") as refused:
        load_model(tmp_path)
    assert refused.value.code == "model-001"


def test_same_names_with_another_meaning_are_refused_too(small_model: Model, tmp_path: Path) -> None:
    small_model.save(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(card | {"signature": "0" * 12}))
    with pytest.raises(ModelError, match="other order, units or defaults"):
        load_model(tmp_path)


@pytest.mark.parametrize("broken", ["missing", "json", "npz", "truncated"])
def test_a_folder_without_a_readable_model_says_so(small_model: Model, tmp_path: Path, broken: str) -> None:
    small_model.save(tmp_path)
    if broken == "missing":
        (tmp_path / "model.json").unlink()
    elif broken == "json":
        (tmp_path / "model.json").write_text("{")
    elif broken == "npz":
        (tmp_path / "model.npz").write_bytes(b"nothing")
    else:
        (tmp_path / "model.npz").write_bytes((tmp_path / "model.npz").read_bytes()[:2000])
    with pytest.raises(ModelError) as refused:
        load_model(tmp_path)
    assert refused.value.code == "model-002"


def test_ids_without_an_embedding_share_row_0() -> None:
    assert embedding_rows(np.array([3, 9]), np.array([9, 4, 3, -1, 100])).tolist() == [2, 0, 1, 0, 0]
    assert embedding_rows(np.empty(0, np.int64), np.array([9])).tolist() == [0]
