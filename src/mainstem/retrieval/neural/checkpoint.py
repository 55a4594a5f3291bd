"""One file from which a training goes on: named arrays and a card, checksummed, and replaced as a whole."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError

_MAGIC = b"mainstem-encoder-1\n"
_CARD = "card.json"


def write_state(path: Path, arrays: Mapping[str, NDArray[Any]], card: Mapping[str, Any]) -> None:
    """The file, complete or not at all: it is written beside its place, flushed, and moved there.

    Args:
        path: Its place; the folder is made.
        arrays: By name; the same arrays are the same bytes.
        card: What is said of them; JSON.
    """
    body = io.BytesIO()
    said = np.frombuffer(json.dumps(card, sort_keys=True).encode(), np.uint8)
    np.savez(body, allow_pickle=False, **{_CARD: said}, **dict(sorted(arrays.items())))
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.part-{os.getpid()}")
    with scratch.open("wb") as file:
        file.write(_MAGIC + hashlib.sha256(body.getbuffer()).hexdigest().encode() + b"\n")
        file.write(body.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read_state(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the card of a file.

    Raises:
        RetrievalError: ``retrieval-031`` no such file; ``retrieval-032`` another kind of file, a torn one, or one whose
            bytes are not those that were written.
    """
    if not path.exists():
        raise RetrievalError(
            f"found no file {path}, expected the weights of an encoder",
            code="retrieval-031",
            hint="train it, or name the folder it was saved in",
        )
    raw = path.read_bytes()
    head = len(_MAGIC) + 65
    digest = raw[len(_MAGIC) : head - 1]
    if not raw.startswith(_MAGIC) or hashlib.sha256(raw[head:]).hexdigest().encode() != digest:
        raise _torn(path)
    try:
        with np.load(io.BytesIO(raw[head:]), allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        return arrays, json.loads(arrays.pop(_CARD).tobytes())
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise _torn(path) from error


def _torn(path: Path) -> RetrievalError:
    return RetrievalError(
        f"found bytes in {path} that are not those that were written, expected an encoder's weights with their checksum",
        code="retrieval-032",
        hint=f"delete {path.name} and train again; a training goes on from its last whole checkpoint or starts anew",
    )
