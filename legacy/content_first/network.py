"""The trained networks as plain arrays: one small multi-task network a surface, run in float64."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from content_first.flags import PREDICTED
from content_first.isotonic import Curve
from content_first.signals import INPUTS

Matrix = NDArray[np.float64]
LAYERS = ("w1", "b1", "w2", "b2", "w3", "b3")
WATCH = PREDICTED.index("watch")


class ModelMismatchError(ValueError):
    """The model was trained for other inputs than this program computes."""


@dataclass(frozen=True, slots=True)
class Network:
    """A shared bottom of two layers and one output a head."""

    w1: Matrix
    b1: Matrix
    w2: Matrix
    b2: Matrix
    w3: Matrix
    b3: Matrix

    def outputs(self, scaled: Matrix) -> Matrix:
        """Raw outputs ``[n, heads]``: logits, and for watch the logarithm of seconds plus one."""
        hidden = np.maximum(scaled @ self.w1 + self.b1, 0.0)
        hidden = np.maximum(hidden @ self.w2 + self.b2, 0.0)
        return hidden @ self.w3 + self.b3


@dataclass(frozen=True, slots=True)
class Model:
    """Everything training leaves behind. ``networks`` has no entry for a surface that uses the feed's."""

    centre: Matrix
    spread: Matrix
    networks: dict[str, Network]
    curves: tuple[Curve, ...]
    user_tower: Matrix
    about: dict[str, object]

    def predict(self, inputs: Matrix, surface: str) -> Matrix:
        """Calibrated predictions ``[n, heads]``: seven probabilities, then seconds watched."""
        network = self.networks.get(surface) or self.networks["feed"]
        raw = network.outputs((inputs - self.centre) / self.spread)
        squashed = squash(raw)
        return np.stack([curve(squashed[:, k]) for k, curve in enumerate(self.curves)], axis=1)


def squash(raw: Matrix) -> Matrix:
    """Logits to probabilities, log seconds to seconds."""
    shares = 0.5 * (1.0 + np.tanh(0.5 * raw))
    shares[:, WATCH] = np.expm1(np.clip(raw[:, WATCH], 0.0, 9.0))
    return shares


def save_model(model: Model, folder: Path) -> None:
    """Writes ``model.npz`` and ``about.json``, each whole or not at all."""
    arrays = {"centre": model.centre, "spread": model.spread, "user_tower": model.user_tower}
    for surface, network in model.networks.items():
        arrays |= {f"{surface}/{name}": getattr(network, name) for name in LAYERS}
    for name, curve in zip(PREDICTED, model.curves, strict=True):
        arrays |= {f"curve/{name}/scores": curve.scores, f"curve/{name}/levels": curve.levels}
    scratch = folder / "model.part.npz"
    np.savez(scratch, **arrays)  # type: ignore[arg-type]
    os.replace(scratch, folder / "model.npz")
    text = folder / "about.part"
    text.write_text(json.dumps(model.about | {"inputs": list(INPUTS)}, indent=1) + "\n", encoding="utf-8")
    os.replace(text, folder / "about.json")


def load_model(folder: Path) -> Model:
    """Reads a trained model and refuses one whose inputs are not the ones this program computes."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    if tuple(about["inputs"]) != INPUTS:
        raise ModelMismatchError(
            f"{folder}: trained on {len(about['inputs'])} inputs that differ from this program's {len(INPUTS)}"
        )
    with np.load(folder / "model.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    surfaces = sorted({name.split("/")[0] for name in arrays if name.endswith("/w1")})
    return Model(
        centre=arrays["centre"],
        spread=arrays["spread"],
        networks={s: Network(*(arrays[f"{s}/{name}"] for name in LAYERS)) for s in surfaces},
        curves=tuple(Curve(arrays[f"curve/{h}/scores"], arrays[f"curve/{h}/levels"]) for h in PREDICTED),
        user_tower=arrays["user_tower"],
        about=about,
    )
