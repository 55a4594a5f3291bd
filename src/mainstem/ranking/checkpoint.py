"""Where a training stands, on disk: a killed run goes on from the last whole step, and never from a torn or foreign one."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.ranking.rows import let_go

LOG = logging.getLogger("mainstem.training")

KEPT: Final = 2
"""Generations that are kept: when the newest one is damaged, the one before it is still there."""

SETTINGS: Final = "settings_sha256"
DATA: Final = "data_sha256"

_MAGIC: Final = b"MAINSTEM-CHECKPOINT-1\n"
_NAME: Final = re.compile(r"step-(\d{12})\.checkpoint$")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a training is of: a checkpoint of other rows or other settings is not gone on with.

    Attributes:
        settings: A hash of the settings (``identity_of``).
        data: A hash of the rows and the features.
    """

    settings: str
    data: str


def identity_of(settings: Any, *arrays: NDArray[Any]) -> Identity:
    """The identity of a training.

    Args:
        settings: Anything whose ``repr`` tells all of it, such as a frozen dataclass.
        arrays: Outcomes, ids and features of the rows: hashed whole, a part at a time where they lie in files.
    """
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(f"{array.dtype.str}|{array.shape}|".encode())
        for start in range(0, len(array), 65_536):
            whole.update(np.ascontiguousarray(array[start : start + 65_536]).tobytes())
            let_go(array)
    return Identity(hashlib.sha256(repr(settings).encode()).hexdigest()[:16], whole.hexdigest()[:16])


def save_checkpoint(folder: Path, state: Mapping[str, Any], identity: Identity | None = None) -> Path:
    """Writes where a training stands: all of it or nothing, and keeps the generation before.

    Args:
        folder: Its own folder; made when it is not there.
        state: ``step`` (a whole number that grows) and whatever the training needs to go on: tensors, state dicts, numbers, texts,
            and lists, tuples and dicts of them.
        identity: What the training is of; asked for again by ``load_checkpoint``.

    Raises:
        ModelError: The state holds something that cannot be read back without running code (``model-041``), or the disk refused it
            (``model-042``); the generations before are untouched.
    """
    held = dict(state) | ({} if identity is None else {SETTINGS: identity.settings, DATA: identity.data})
    body = _packed(held)
    path = folder / f"step-{int(state['step']):012d}.checkpoint"
    scratch = folder / f".{path.name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n")
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
        _sync(folder)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ModelError(
            f"the checkpoint of step {state['step']} was not written: {error.strerror or error}; the one before it is whole",
            code="model-042",
            hint="make room and run `mainstem train` again: it goes on from the last checkpoint",
        ) from None
    for _, old in _generations(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path, identity: Identity | None = None) -> dict[str, Any] | None:
    """Where the training of a folder stood last; None when there is nothing to go on from.

    A generation that is torn or damaged is told of in the log and passed over for the one before it.

    Raises:
        ModelError: It is a training of other settings or other rows (``model-040``).
    """
    for step, path in _generations(folder):
        state = _read(path)
        if state is None:
            LOG.warning("checkpoint of step %d is torn or damaged and is passed over: %s", step, path.name)
            continue
        held = state.pop(SETTINGS, None), state.pop(DATA, None)
        if identity is not None:
            _refuse_other(folder, held, identity)
        return state
    return None


def drop_checkpoints(folder: Path) -> None:
    """Takes the checkpoints of a finished training away, and the folder when nothing else lies in it."""
    for path in [path for _, path in _generations(folder)] + list(folder.glob(".step-*.checkpoint.*")):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _refuse_other(folder: Path, held: tuple[str | None, str | None], identity: Identity) -> None:
    differs = [
        what
        for what, was, now in (("settings", held[0], identity.settings), ("rows", held[1], identity.data))
        if was != now
    ]
    if differs:
        raise ModelError(
            f"the checkpoint in {folder.name!r} is of a training with other {' and '.join(differs)}, expected the same ones",
            code="model-040",
            hint=f"delete the folder {folder.name!r} to begin anew, or set back what was changed and run `mainstem train`",
        )


def _packed(state: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(dict(state), file)
    body = file.getvalue()
    if _unpacked(body) is None:
        raise ModelError(
            "the state of the training holds something other than tensors, numbers, texts and lists or dicts of them",
            code="model-041",
            hint="arrays of numpy go in as tensors, and numbers of numpy as plain ones",
        )
    return body


def _unpacked(body: bytes) -> dict[str, Any] | None:
    try:
        return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception:
        # What a damaged archive raises is any of a dozen types, and says no more than that it cannot be read.
        return None


def _read(path: Path) -> dict[str, Any] | None:
    """A generation's state; None when it is not what was written."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    if not whole.startswith(_MAGIC):
        return None
    told, _, body = whole[len(_MAGIC) :].partition(b"\n")
    return _unpacked(body) if hashlib.sha256(body).hexdigest().encode() == told else None


def _generations(folder: Path) -> list[tuple[int, Path]]:
    """Steps and files, newest first."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*.checkpoint"))
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def _sync(folder: Path) -> None:
    """Makes the names in a folder as lasting as the files."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
