"""Where a fitted state lives: one file of named arrays that says what it holds and is checked when it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import arrays_hash

_HASH: Final = "_content_hash"


def save_fitted(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Writes named arrays with the hash of their content, whole or not at all; the same arrays give the same bytes.

    Returns:
        The content hash.
    """
    content = arrays_hash(arrays)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        np.savez(file, **{name: arrays[name] for name in sorted(arrays)}, **{_HASH: np.array(content)})  # pyright: ignore[reportArgumentType]
    scratch.replace(path)
    return content


def load_fitted(path: Path) -> dict[str, NDArray[Any]]:
    """The named arrays of a file.

    Raises:
        ExtractionError: ``feature-065`` when the content is not what the file says.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile raises its own kinds, and zlib another
        raise _damaged(path, str(error)) from error
    told = str(arrays.pop(_HASH, np.array("")))
    if told != arrays_hash(arrays):
        raise _damaged(path, f"it says {told or 'nothing'} and holds {arrays_hash(arrays)}")
    return arrays


def _damaged(path: Path, why: str) -> ExtractionError:
    return ExtractionError(
        f"the fitted state {path.name!r} does not hold what it says: {why}",
        code="feature-065",
        hint="restore the file, or fit again under a new version",
    )
