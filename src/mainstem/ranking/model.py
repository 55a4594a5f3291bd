"""A trained model as a folder: weights, learned constants, calibration and a card that says what it is."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.features.catalog import Catalog
from mainstem.features.language.feature import Role
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.statics import Statics
from mainstem.features.unified import UNIFIED
from mainstem.ranking.calibrate import Calibrators
from mainstem.ranking.network import LATER, WEIGHTS, Network, completed, item_first

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Model:
    """Weights, constants and the card (``model.json``).

    Attributes:
        ids: The item ids whose embedding rows the weights hold, sorted; row 0 of ``id_in`` is every other item.
        categories: The same for categories.
    """

    weights: dict[str, Array]
    statics: Statics
    ids: NDArray[np.int64]
    categories: NDArray[np.int32]
    calibration: dict[str, Any]
    card: dict[str, Any]
    features: FeatureSet = UNIFIED

    def network(self, catalog: Catalog) -> Network:
        """The network with the first layer of every item of this catalog computed."""
        vectors, _ = self.statics.on(catalog)
        id_rows = embedding_rows(self.ids, np.append(catalog.items.ids, -1))
        category_rows = embedding_rows(self.categories, catalog.items.category_id)
        return Network(self.weights, item_first(self.weights, catalog, vectors, id_rows, category_rows), self.features)

    def calibrators(self) -> Calibrators:
        """The map of every head and surface from the network's output to probabilities."""
        return Calibrators.from_dict(self.calibration)

    def save(self, folder: Path) -> None:
        """Writes ``model.npz`` and ``model.json``; each file is complete or not there."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = completed(self.weights)
        arrays = {f"weight_{name}": weights[name] for name in WEIGHTS}
        arrays |= {f"static_{name}": array for name, array in self.statics.as_arrays().items()}
        scratch = folder / f".model.npz.{os.getpid()}"
        with scratch.open("wb") as file:
            np.savez(file, allow_pickle=False, ids=self.ids, categories=self.categories, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, folder / "model.npz")
        card = self.card | {
            "features": feature_names(self.features),
            "signature": self.features.fingerprint,
            "calibration": self.calibration,
        }
        text = folder / f".model.json.{os.getpid()}"
        text.write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
        os.replace(text, folder / "model.json")


def feature_names(features: FeatureSet) -> dict[str, list[str]]:
    """The columns the network reads, by group."""
    roles: tuple[Role, ...] = ("user", "item", "cross")
    return {role: list(features.columns_of(role)) for role in roles}


def load_model(folder: Path, features: FeatureSet = UNIFIED) -> Model:
    """The model of a folder.

    Args:
        folder: Where it lies.
        features: The features as they are declared now.

    Raises:
        ModelError: There is none (``model-002``), or it was trained on other features than this version has (``model-001``).
    """
    try:
        card = json.loads((folder / "model.json").read_text())
        with np.load(folder / "model.npz", allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ModelError(
            f"no readable model in {folder.name!r} ({type(error).__name__}); expected model.json and model.npz",
            code="model-002",
            hint="mainstem train",
        ) from None
    _check_features(card, features)
    missing = [name for name in WEIGHTS if f"weight_{name}" not in arrays and name not in LATER]
    if missing:
        raise ModelError(
            f"the model in {folder.name!r} holds no weights {', '.join(missing)}: it was written by another version",
            code="model-002",
            hint="mainstem train",
        )
    return Model(
        weights=completed({name: arrays[f"weight_{name}"] for name in WEIGHTS if f"weight_{name}" in arrays}),
        statics=Statics.from_arrays(
            {n.removeprefix("static_"): a for n, a in arrays.items() if n.startswith("static_")}
        ),
        ids=arrays["ids"],
        categories=arrays["categories"],
        calibration=card.pop("calibration"),
        card=card,
        features=features,
    )


def load_statics(folder: Path) -> Statics | None:
    """The learned constants of a model folder, whatever features it was trained on; None when there is no model."""
    try:
        with np.load(folder / "model.npz", allow_pickle=False) as held:
            arrays = {name.removeprefix("static_"): held[name] for name in held.files if name.startswith("static_")}
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    return Statics.from_arrays(arrays)


def _check_features(card: dict[str, Any], features: FeatureSet) -> None:
    if card.get("signature") == features.fingerprint:
        return
    held, ours = card.get("features", {}), feature_names(features)
    differ = [f"{group}.{name}" for group in ours for name in sorted(set(held.get(group, [])) ^ set(ours[group]))]
    what = ", ".join(differ[:8]) + (f" and {len(differ) - 8} more" if len(differ) > 8 else "")
    raise ModelError(
        f"the model was trained on other features: {what or 'same names, other order, units or defaults'}",
        code="model-001",
        hint="mainstem train",
    )


def embedding_rows(known: NDArray, wanted: NDArray) -> NDArray[np.int64]:
    """The embedding row of each id: 1 + its place among the known ones, 0 for every other."""
    if len(known) == 0:
        return np.zeros(len(wanted), np.int64)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, at + 1, 0).astype(np.int64)
