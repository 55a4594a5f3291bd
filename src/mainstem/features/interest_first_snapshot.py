"""The interest-first stack's memory as one file, so that a restart need not replay the log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import StoreError
from mainstem.base.request import Ids

R = TypeVar("R")
Arrays = Mapping[str, NDArray[Any]]


def packed(prefix: str, records: Mapping[int, Any]) -> dict[str, NDArray[Any]]:
    """Records of arrays and whole numbers by id: one array a field, with where each record ends in it."""
    arrays: dict[str, NDArray[Any]] = {f"{prefix}/ids": np.array(list(records), np.int64)}
    for field in fields(next(iter(records.values()))) if records else ():
        parts = [np.atleast_1d(getattr(one, field.name)) for one in records.values()]
        arrays[f"{prefix}/{field.name}"] = np.concatenate(parts)
        arrays[f"{prefix}/{field.name}/ends"] = np.cumsum([len(part) for part in parts])
    return arrays


def unpacked(prefix: str, kind: type[R], arrays: Arrays) -> dict[int, R]:
    """What ``packed`` packed: records of this dataclass by id."""
    ids = arrays[f"{prefix}/ids"].tolist()
    columns: list[list[Any]] = []
    for field in fields(kind) if ids else ():  # type: ignore[arg-type]
        parts = np.split(arrays[f"{prefix}/{field.name}"], arrays[f"{prefix}/{field.name}/ends"][:-1])
        columns.append([int(part[0]) for part in parts] if field.type == "int" else parts)
    return {user_id: kind(*row) for user_id, row in zip(ids, zip(*columns, strict=True), strict=True)}


def write_snapshot(path: Path, item_ids: Ids, arrays: Arrays) -> None:
    """Writes the arrays and whose they are; the file is whole or not there."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        np.savez(file, allow_pickle=False, **{**arrays, "item_ids": item_ids})
    os.replace(scratch, path)


def read_snapshot(path: Path, item_ids: Ids) -> Arrays:
    """What ``write_snapshot`` wrote.

    Raises:
        StoreError: The snapshot belongs to another catalog (``store-040``).
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if not np.array_equal(arrays["item_ids"], item_ids):
        raise StoreError(
            f"the state in {path} is of {len(arrays['item_ids'])} items that are not this catalog's {len(item_ids)}",
            code="store-040",
            hint="delete the file; the next start replays the log from its beginning",
        )
    return arrays
