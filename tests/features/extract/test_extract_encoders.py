"""Encoders of the user's own: refused without folder or library, and exact row by row where the library is there."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_onnx import write_tiny_encoder

from mainstem.features.extract.encoders import OnnxEncoder, SentenceEncoder, folder_hash
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import State, fingerprint


def sentence(path: Path) -> SentenceEncoder:
    return SentenceEncoder(name="s", version="1", path=path, text=("title",), dim=4)


def onnx(path: Path, dim: int = 4) -> OnnxEncoder:
    return OnnxEncoder(name="o", version="1", path=path, text=("title", "more"), dim=dim)


def refused(make: object, path: Path) -> ExtractionError:
    with pytest.raises(ExtractionError) as found:
        make(path)  # type: ignore[operator]
    return found.value


def test_a_name_that_is_no_folder_is_refused_and_nothing_is_asked_of_a_network(tmp_path: Path) -> None:
    for make in (sentence, onnx):
        error = refused(make, tmp_path / "all-MiniLM-L6-v2")
        assert error.code == "feature-066"
        assert "never downloaded" in error.message


MISSING = [(sentence, "sentence_transformers", "sentence-transformers"), (onnx, "onnxruntime", "onnxruntime")]


@pytest.mark.parametrize(("make", "module", "package"), MISSING)
def test_a_missing_library_is_named_with_its_pip_line(
    make: object, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    found = importlib.import_module

    def without(name: str, *rest: str) -> object:
        if name == module:
            raise ModuleNotFoundError(name)
        return found(name, *rest)

    monkeypatch.setattr(
        "sys.modules", {name: value for name, value in __import__("sys").modules.items() if name != module}
    )
    monkeypatch.setattr(importlib, "import_module", without)
    error = refused(make, tmp_path)
    assert (error.code, error.hint) == ("feature-076", f"pip install {package}")
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"


def test_a_folders_hash_sees_names_and_bytes(tmp_path: Path) -> None:
    seen = set()
    for name, text in (("a", "x"), ("a", "y"), ("b", "y")):
        folder = tmp_path / f"{name}{text}"
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / name).write_text(text)
        seen.add(folder_hash(folder))
    assert len(seen) == 3


def test_a_real_onnx_model_gives_the_mean_of_its_tokens_whatever_stands_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install onnxruntime tokenizers")
    pytest.importorskip("tokenizers", reason="pip install onnxruntime tokenizers")
    table = write_tiny_encoder(tmp_path, ["[UNK]", "fox", "river", "stone"], dim=4)
    encoder = onnx(tmp_path)
    rows = pl.DataFrame({"title": ["fox river", "stone", None, "fox"], "more": [None, "", "  ", "river"]})
    found = encoder.extract(rows)
    assert found.state.tolist() == [State.KNOWN, State.KNOWN, State.EMPTY, State.KNOWN]
    mean = (table[1] + table[2]) / 2.0
    assert np.allclose(found.vectors[0] * 2.0**-20, mean / np.linalg.norm(mean), atol=1e-5)
    assert np.array_equal(found.vectors[0], found.vectors[3])
    alone = np.concatenate([encoder.extract(row).vectors for row in rows.iter_slices(1)])
    assert np.array_equal(alone, found.vectors)
    assert fingerprint(onnx(tmp_path)) == fingerprint(encoder)
    with pytest.raises(ExtractionError) as error:
        onnx(tmp_path, dim=5).extract(rows)
    assert error.value.code == "feature-075"


@pytest.mark.filterwarnings("ignore")
def test_a_real_sentence_model_from_a_local_folder(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    modules = pytest.importorskip("sentence_transformers.models")
    tokenizers = pytest.importorskip("tokenizers")
    table = write_tiny_encoder(tmp_path, ["[UNK]", "fox", "river", "stone"], dim=4)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    static = modules.StaticEmbedding(tokenizer, embedding_weights=table)
    library.SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "model"))
    rows = pl.DataFrame({"title": ["fox river", None, "stone"]})
    encoder = sentence(tmp_path / "model")
    found = encoder.extract(rows)
    assert found.state.tolist() == [State.KNOWN, State.EMPTY, State.KNOWN]
    mean = (table[1] + table[2]) / 2.0
    assert np.allclose(found.vectors[0] * 2.0**-20, mean / np.linalg.norm(mean), atol=1e-5)
    assert np.array_equal(encoder.extract(rows[2:]).vectors[0], found.vectors[2])
