"""One part of an extraction: rows by ascending key with state, reason, content hash and fixed-point values, in Parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import State


@dataclass(frozen=True, slots=True)
class Part:
    """Stored rows of one part.

    Shapes:
        ``keys[n]`` ascending, ``hashes[n]`` of ``V16``, ``state[n]``, ``values[n, dim]`` int32 (0 where not known),
        ``reasons`` for failed rows by place.
    """

    keys: NDArray[np.int64]
    hashes: NDArray[Any]
    state: NDArray[np.int8]
    values: NDArray[np.int32]
    reasons: dict[int, str]

    @classmethod
    def empty(cls, dim: int) -> Part:
        """No rows."""
        return cls(
            np.empty(0, np.int64), np.empty(0, np.dtype("V16")), np.empty(0, np.int8), np.empty((0, dim), np.int32), {}
        )

    @property
    def failed(self) -> int:
        """How many rows failed."""
        return int(np.count_nonzero(self.state == State.FAILED))

    def take(self, at: NDArray[np.int64]) -> Part:
        """Some rows, in the order asked for."""
        told = {place: self.reasons[old] for place, old in enumerate(at.tolist()) if old in self.reasons}
        return Part(self.keys[at], self.hashes[at], self.state[at], self.values[at], told)

    def content(self) -> str:
        """What input the part was made of: keys and content hashes, as 32 hex digits."""
        return content_of(self.keys, self.hashes)


def content_of(keys: NDArray[np.int64], hashes: NDArray[Any]) -> str:
    """The hash of keys and content hashes by ascending key, as 32 hex digits."""
    digest = hashlib.blake2b(keys.astype("<i8").tobytes(), digest_size=16)
    digest.update(hashes.tobytes())
    return digest.hexdigest()


def find(sorted_keys: NDArray[np.int64], keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where keys lie among ascending ones, and which are there at all."""
    if len(sorted_keys) == 0:
        return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
    at = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return at, sorted_keys[at] == keys


def joined(parts: Sequence[Part]) -> Part:
    """Rows of several parts by ascending key; the keys are distinct."""
    keys = np.concatenate([part.keys for part in parts])
    reasons: dict[int, str] = {}
    start = 0
    for part in parts:
        reasons |= {start + place: reason for place, reason in part.reasons.items()}
        start += len(part.keys)
    whole = Part(
        keys,
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([part.state for part in parts]),
        np.concatenate([part.values for part in parts]),
        reasons,
    )
    return whole.take(np.argsort(keys, kind="stable"))


def write_part(folder: Path, number: int, part: Part, fingerprint: str) -> Path:
    """Writes a part under a name made of its bytes, whole or not at all.

    Returns:
        The file: ``part-00003-0123456789abcdef.parquet``. The same rows give the same file.
    """
    dim = part.values.shape[1]
    unknown = pa.array(part.state != State.KNOWN)
    values = pa.FixedSizeListArray.from_arrays(pa.array(part.values.ravel()), dim, mask=unknown)
    hashes = pa.Array.from_buffers(pa.binary(16), len(part.keys), [None, pa.py_buffer(part.hashes.tobytes())])
    reasons = pa.array([part.reasons.get(place) for place in range(len(part.keys))], pa.string())
    columns = [pa.array(part.keys), pa.array(part.state), reasons, hashes, values]
    schema = pa.schema(
        [("key", pa.int64()), ("state", pa.int8()), ("reason", pa.string()), ("content", pa.binary(16)),
         ("values", pa.list_(pa.int32(), dim))],
        metadata={"mainstem.fingerprint": fingerprint},
    )  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), sink, compression="zstd", row_group_size=1 << 16)
    data = sink.getvalue().to_pybytes()
    name = f"part-{number:05d}-{hashlib.blake2b(data, digest_size=8).hexdigest()}.parquet"
    scratch = folder / f".{name}.new"
    scratch.write_bytes(data)
    scratch.replace(folder / name)
    return folder / name


def read_part(path: Path, dim: int, fingerprint: str) -> Part:
    """The rows of a part file.

    Raises:
        ExtractionError: ``feature-069`` when the bytes are not those of its name, or of another definition.
    """
    data = path.read_bytes()
    if path.stem.rpartition("-")[2] != hashlib.blake2b(data, digest_size=8).hexdigest():
        raise _damaged(path, "its bytes are not those it was written with")
    table = pq.read_table(pa.BufferReader(data))
    if (table.schema.metadata or {}).get(b"mainstem.fingerprint", b"").decode() != fingerprint:
        raise _damaged(path, "it belongs to another definition")
    flat = table["values"].combine_chunks()
    values = np.zeros((len(table), dim), np.int32)
    state = table["state"].to_numpy().astype(np.int8)
    values[state == State.KNOWN] = flat.flatten().to_numpy().reshape(-1, dim)
    content: Any = table["content"].combine_chunks()
    hashes = np.frombuffer(content.buffers()[1], np.dtype("V16"), count=len(content), offset=16 * content.offset)
    failed = np.flatnonzero(state == State.FAILED).tolist()
    reasons = {place: table["reason"][place].as_py() for place in failed}
    return Part(table["key"].to_numpy(), hashes, state, values, reasons)


def _damaged(path: Path, why: str) -> ExtractionError:
    return ExtractionError(
        f"part {path.name!r} cannot be used: {why}",
        code="feature-069",
        hint="remove the version's folder and run the extraction again",
    )
