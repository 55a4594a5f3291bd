"""Encoders that a user brings as local folders: sentence-transformers and ONNX. Nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extracted, Json, State, need_columns
from mainstem.features.extract.fixed import SCALE, quantise, unit_rows

_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def folder_hash(path: Path) -> str:
    """What a model's folder holds: every file's name and bytes, as 32 hex digits.

    Raises:
        ExtractionError: ``feature-066`` when there is no such folder.
    """
    if not path.is_dir():
        raise ExtractionError(
            f"there is no model folder {path.name!r}; encoders are read from local folders and never downloaded",
            code="feature-066",
            hint="copy the model's files to a folder on this machine and name that folder",
        )
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as bytes_of:
            digest.update(hashlib.file_digest(bytes_of, "blake2b").digest())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceEncoder:
    """Text as unit vectors of a local sentence-transformers folder. Rows without text are empty.

    One row is encoded at a time: padding and matrix kernels would otherwise let a row's neighbours change its last bits. The
    same machine and library then give the same bits; another machine may not, so extract once and ship the result.

    Args:
        name: The folder of the results.
        version: Yours.
        path: The model's folder; the hash of its files is part of the definition.
        text: String columns, joined by a space.
        dim: What the model gives; another length stops the run.
    """

    name: str
    version: str
    path: Path
    text: tuple[str, ...]
    dim: int
    model_hash: str = field(default="", init=False)
    _model: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Takes the hash of the model's files and loads it."""
        object.__setattr__(self, "model_hash", folder_hash(self.path))
        library = _offline_import("sentence_transformers", "sentence-transformers")
        model = library.SentenceTransformer(
            str(self.path), device="cpu", local_files_only=True, trust_remote_code=False
        )
        object.__setattr__(self, "_model", model)

    @property
    def columns(self) -> tuple[str, ...]:
        """The text columns."""
        return self.text

    @property
    def scale(self) -> float:
        """Fixed point."""
        return SCALE

    def definition(self) -> dict[str, Json]:
        """Columns and the model's files; the path is not part of it."""
        return {"text": list(self.text), "model": self.model_hash, "form": 1}

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The vectors of these rows."""
        texts = _joined(rows, self.text, self.name)
        return _encoded([self._one(text) if text else None for text in texts], self.dim, self.name)

    def _one(self, text: str) -> NDArray[np.float64]:
        encoded = self._model.encode([text], batch_size=1, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(encoded, np.float64)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxEncoder:
    """Text as unit vectors of a local folder with ``model.onnx`` and ``tokenizer.json``. Rows without text are empty.

    Output [1, tokens, dim] is averaged over the tokens, output [1, dim] is taken as it is; always the model's first output. One row
    at a time, on one thread, for the reason told at ``SentenceEncoder``.

    Args:
        name: The folder of the results.
        version: Yours.
        path: The folder; the hash of its files is part of the definition.
        text: String columns, joined by a space.
        dim: What the model gives; another length stops the run.
        max_tokens: Longer texts are cut.
    """

    name: str
    version: str
    path: Path
    text: tuple[str, ...]
    dim: int
    max_tokens: int = 256
    model_hash: str = field(default="", init=False)
    _session: Any = field(default=None, init=False, repr=False, compare=False)
    _tokenizer: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Takes the hash of the model's files and loads them."""
        object.__setattr__(self, "model_hash", folder_hash(self.path))
        runtime = _offline_import("onnxruntime", "onnxruntime")
        tokenizers = _offline_import("tokenizers", "tokenizers")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = runtime.InferenceSession(str(self.path / "model.onnx"), options, providers=["CPUExecutionProvider"])
        tokenizer = tokenizers.Tokenizer.from_file(str(self.path / "tokenizer.json"))
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.no_padding()
        object.__setattr__(self, "_session", session)
        object.__setattr__(self, "_tokenizer", tokenizer)

    @property
    def columns(self) -> tuple[str, ...]:
        """The text columns."""
        return self.text

    @property
    def scale(self) -> float:
        """Fixed point."""
        return SCALE

    def definition(self) -> dict[str, Json]:
        """Columns, the cut and the model's files; the path is not part of it."""
        return {"text": list(self.text), "max_tokens": self.max_tokens, "model": self.model_hash, "form": 1}

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The vectors of these rows."""
        texts = _joined(rows, self.text, self.name)
        return _encoded([self._one(text) if text else None for text in texts], self.dim, self.name)

    def _one(self, text: str) -> NDArray[np.float64] | None:
        encoding = self._tokenizer.encode(text)
        if not encoding.ids:
            return None
        offered = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        feed = {known.name: np.array([offered[known.name]], np.int64) for known in self._session.get_inputs()}
        out = np.asarray(self._session.run(None, feed)[0], np.float64)[0]
        return out.mean(axis=0) if out.ndim == 2 else out


def _offline_import(module: str, package: str) -> Any:
    """A library that is only there when the user installed it, told to stay off the network before it is first imported.

    Raises:
        ExtractionError: ``feature-076`` when it is not installed.
    """
    os.environ.update(_OFFLINE)
    try:
        return sys.modules.get(module) or importlib.import_module(module)
    except ImportError as error:
        raise ExtractionError(
            f"this encoder needs {package!r}, which is not installed",
            code="feature-076",
            hint=f"pip install {package}",
        ) from error


def _joined(rows: pl.DataFrame, text: tuple[str, ...], name: str) -> list[str]:
    need_columns(rows, text, name)
    columns = [rows[column].cast(pl.String).fill_null("").to_list() for column in text]
    return [" ".join(part.strip() for part in parts if part.strip()) for parts in zip(*columns, strict=True)]


def _encoded(vectors: list[NDArray[np.float64] | None], dim: int, name: str) -> Extracted:
    raw = np.zeros((len(vectors), dim))
    reasons: dict[int, str] = {}
    for place, vector in enumerate(vectors):
        if vector is not None and vector.shape != (dim,):
            raise ExtractionError(
                f"the model of {name!r} gives vectors of {vector.shape}, and {dim} values were declared",
                code="feature-075",
                hint="declare the dim that the model gives",
            )
        if vector is not None and not np.all(np.isfinite(vector)):
            reasons[place] = "the model gave a value that is not finite"
        elif vector is not None:
            raw[place] = vector
    unit, has = unit_rows(raw)
    state = np.where(has, State.KNOWN, State.EMPTY).astype(np.int8)
    state[list(reasons)] = State.FAILED
    return Extracted(quantise(unit), state, reasons)
