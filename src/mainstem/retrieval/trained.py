"""What retrieval learned for a catalog, as one folder: what follows what, how far to believe each source, an encoder if any."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.features.catalog import Catalog
from mainstem.retrieval.encoder_serving import EncoderModel
from mainstem.retrieval.fusion import Curves

_FILE: Final = "retrieval.npz"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The learned part of retrieval.

    Attributes:
        item_ids: The items it was learned on, in the order of its numbers.
        followers: Of each of them, the numbers of the items most often taken next; none when ``[items, 0]``.
        weights: How strongly.
        curves: How far each source is to be believed; None joins candidates by reciprocal rank.
        encoder: Makes queries of a viewer's sequence; None does without.
        card: What it learned from, and what that was worth on held-out days.

    Shapes: ``item_ids[m]``, ``followers[m, k]``, ``weights[m, k]``.
    """

    item_ids: NDArray[np.int64]
    followers: NDArray[np.int32]
    weights: NDArray[np.float32]
    curves: Curves | None = None
    encoder: EncoderModel | None = None
    card: dict[str, Any] = field(default_factory=dict)

    def on(self, catalog: Catalog) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The followers by catalog row; items it never learned of have none. Shapes: [n, k], [n, k]."""
        row_of = catalog.item_rows(self.item_ids)
        rows = np.zeros((len(catalog.items), self.followers.shape[1]), np.int32)
        weights = np.zeros(rows.shape, np.float32)
        held = row_of >= 0
        to = row_of[self.followers[held]]
        rows[row_of[held]] = np.maximum(to, 0)
        weights[row_of[held]] = np.where(to >= 0, self.weights[held], 0.0)
        return rows, weights

    def places(self, catalog: Catalog) -> NDArray[np.int64]:
        """The number of each catalog row here; -1 where it is not known. Shapes: [n]."""
        place = np.full(len(catalog.items), -1, np.int64)
        row_of = catalog.item_rows(self.item_ids)
        place[row_of[row_of >= 0]] = np.flatnonzero(row_of >= 0)
        return place

    def save(self, folder: Path) -> None:
        """Writes the folder; a reader meets what was there before or all of this."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.encoder is not None:
            self.encoder.save(folder)
        curves = self.curves
        told = {"format": _FORMAT, "card": self.card, "encoder": self.encoder is not None}
        if curves is not None:
            told |= {"sources": list(curves.sources), "base": curves.base}
        scratch = folder / f".{_FILE}.{os.getpid()}"
        with scratch.open("wb") as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                about=np.frombuffer(json.dumps(told, sort_keys=True).encode(), np.uint8),
                item_ids=self.item_ids,
                followers=self.followers,
                weights=self.weights,
                worth=np.empty((0, 0)) if curves is None else curves.worth,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, folder / _FILE)


def load_retrieval(folder: Path) -> Retrieval | None:
    """What a folder holds; None when retrieval was never trained there.

    Raises:
        RetrievalError: The file is damaged, or written by another version (``retrieval-072``); the encoder's own codes when
            that is (``retrieval-031`` to ``retrieval-033``).
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        told = json.loads(arrays["about"].tobytes())
        found = _of(arrays, told, EncoderModel.load(folder) if told["encoder"] else None)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _unreadable(folder, f"{type(error).__name__}: {error}") from None
    if told["format"] != _FORMAT or not len(found.followers) == len(found.weights) == len(found.item_ids):
        raise _unreadable(
            folder, f"format {told['format']}, {len(found.followers)} rows of {len(found.item_ids)} items"
        )
    return found


def _of(arrays: dict[str, NDArray[Any]], told: dict[str, Any], encoder: EncoderModel | None) -> Retrieval:
    curves = Curves(tuple(told["sources"]), arrays["worth"], told["base"]) if "sources" in told else None
    return Retrieval(arrays["item_ids"], arrays["followers"], arrays["weights"], curves, encoder, told["card"])


def _unreadable(folder: Path, why: str) -> RetrievalError:
    return RetrievalError(
        f"what retrieval learned in {folder.name!r} cannot be read ({why[:120]}); expected a whole {_FILE} of this version",
        code="retrieval-072",
        hint="mainstem train",
    )
