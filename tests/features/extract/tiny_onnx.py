"""A real ONNX text encoder of a few hundred bytes, written by hand: an embedding table and one Gather."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _value(name: str, kind: int, rank: int) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, f"{name}_{axis}")) for axis in range(rank))
    return _bytes(1, name) + _bytes(2, _bytes(1, _whole(1, kind) + _bytes(2, shape)))


def write_tiny_encoder(folder: Path, vocabulary: list[str], dim: int) -> np.ndarray:
    """Writes ``model.onnx`` and ``tokenizer.json``; returns the embedding table, one row a word."""
    table = np.random.default_rng(5).standard_normal((len(vocabulary), dim)).astype(np.float32)
    tensor = (
        _whole(1, len(vocabulary)) + _whole(1, dim) + _whole(2, 1) + _bytes(8, "table") + _bytes(9, table.tobytes())
    )
    node = _bytes(1, "table") + _bytes(1, "input_ids") + _bytes(2, "last_hidden_state") + _bytes(4, "Gather")
    graph = _bytes(1, node) + _bytes(2, "tiny") + _bytes(5, tensor)
    graph += _bytes(11, _value("input_ids", 7, 2)) + _bytes(12, _value("last_hidden_state", 1, 3))
    model = _whole(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _whole(2, 13))
    (folder / "model.onnx").write_bytes(model)
    words = {word: place for place, word in enumerate(vocabulary)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return table
