"""A fitted closed-form model as a folder: arrays, and a card that says what they are and is written last.

``linear.npz`` holds followers and popularity, ``sums.npz`` (where kept) what refreshing needs, ``linear.json`` the settings,
the data's hash and the hash of both files. A folder without its card, or whose arrays are not the card's, was not written
to its end and is refused.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mainstem.base.errors import RetrievalError
from mainstem.retrieval.linear import Expert, LinearNextItem, Popularity
from mainstem.retrieval.linear_settings import LinearSettings
from mainstem.retrieval.pair_sums import PairSums

CARD = "linear.json"
_MODEL, _SUMS = "linear.npz", "sums.npz"
_FORMAT = 1
_SUM_ARRAYS = ("near", "follow", "taken", "starts", "columns")


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What the arrays beside it are."""

    format: int
    settings: LinearSettings
    facts: dict[str, str | int]
    files: dict[str, str]


def save_linear(model: LinearNextItem, folder: Path) -> None:
    """Writes the model's folder; an earlier model in it is replaced as one, its card last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    arrays: dict[str, Any] = {}
    for place, expert in enumerate(model.experts):
        if isinstance(expert, Popularity):
            arrays |= {"popularity": expert.evidence, "counts": expert.counts, "as_of_ms": np.int64(expert.as_of_ms)}
        else:
            arrays |= {f"columns_{place}": expert.columns, f"weights_{place}": expert.weights}
    files = {_MODEL: _write(folder / _MODEL, arrays)}
    if model.sums:
        sums = {f"{name}_{i}": getattr(each, name) for i, each in enumerate(model.sums) for name in _SUM_ARRAYS}
        files[_SUMS] = _write(folder / _SUMS, sums)
    card = Card(format=_FORMAT, settings=model.settings, facts=dict(model.facts or {}), files=files)
    scratch = folder / f".{CARD}"
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1))
    os.replace(scratch, folder / CARD)


def load_linear(folder: Path) -> LinearNextItem:
    """The model of a folder.

    Raises:
        RetrievalError: ``retrieval-020`` no card: there is no model, or it was not written to its end; ``retrieval-021`` a
            card that cannot be read; ``retrieval-022`` arrays that are not the card's.
    """
    card = _card(folder)
    arrays = _read(folder, _MODEL, card)
    settings = card.settings
    experts: list[Expert | Popularity] = [
        Expert(wanted, arrays[f"columns_{place}"], arrays[f"weights_{place}"])
        for place, wanted in enumerate(settings.experts)
    ]
    as_of = int(arrays["as_of_ms"])
    experts.append(Popularity(settings.popularity, arrays["popularity"], arrays["counts"], as_of))
    sums: tuple[PairSums, ...] = ()
    if _SUMS in card.files:
        kept = _read(folder, _SUMS, card)
        sums = tuple(
            PairSums(horizon.decay, len(kept[f"taken_{i}"]), *(kept[f"{name}_{i}"] for name in _SUM_ARRAYS))
            for i, horizon in enumerate(settings.horizons)
        )
    return LinearNextItem(settings, tuple(experts), sums, card.facts)


def _card(folder: Path) -> Card:
    path = folder / CARD
    if not path.is_file():
        raise RetrievalError(
            f"found no {CARD} in {folder}, expected the folder of a closed-form model; the card is written last, so a folder "
            "without it was not finished",
            code="retrieval-020",
            hint="mainstem train",
        )
    try:
        card = msgspec.json.decode(path.read_bytes(), type=Card)
    except (msgspec.DecodeError, RetrievalError) as error:
        raise RetrievalError(
            f"found a card that cannot be read at {path}: {error}", code="retrieval-021", hint="mainstem train"
        ) from error
    if card.format != _FORMAT:
        raise RetrievalError(
            f"found a model of format {card.format} in {folder}, expected {_FORMAT}",
            code="retrieval-021",
            hint="mainstem train",
        )
    return card


def _write(path: Path, arrays: dict[str, Any]) -> str:
    scratch = path.with_name(f".{path.name}")
    with scratch.open("wb") as handle:
        np.savez(handle, **arrays)
    os.replace(scratch, path)
    return _sha256(path)


def _read(folder: Path, name: str, card: Card) -> dict[str, Any]:
    path = folder / name
    if not path.is_file() or _sha256(path) != card.files.get(name):
        raise RetrievalError(
            f"found a {name} in {folder} that is not the one its card names, expected the bytes that were written with it",
            code="retrieval-022",
            hint="copy the whole folder again, or mainstem train",
        )
    with np.load(path, allow_pickle=False) as found:
        return {key: found[key] for key in found.files}


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
