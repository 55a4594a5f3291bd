"""The content-first stack's trained networks, one a surface, and their calibration, run from its own file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.base.request import Floats, Request, Rows

_LONGEST_LOG_S: Final = 9.0
"""Expected watch time is cut where its logarithm passes this."""


@dataclass(frozen=True, slots=True)
class ContentModel:
    """What training left behind.

    Attributes:
        layers: By surface; a surface that is not there uses the feed's.
        curves: One calibration curve a head, as (raw scores, levels), for all surfaces.
        tower: From a user's taste to the next item they enjoy, for retrieval. Shapes: [d, d].
        until_day: The log's days before this one were learned from (yyyymmdd); None is all of them.
    """

    centre: Floats
    spread: Floats
    layers: dict[str, tuple[tuple[Floats, Floats], ...]]
    curves: tuple[tuple[Floats, Floats], ...]
    tower: Floats
    until_day: int | None


class SurfaceNetworks:
    """Seven calibrated probabilities and the expected seconds watched, by the network of the request's surface."""

    heads: tuple[str, ...] = PREDICTIONS

    def __init__(self, model: ContentModel) -> None:
        self._model = model

    def predict(self, request: Request, user: object, rows: Rows, features: Floats) -> Floats:
        """One row of predictions a candidate, in double precision. Shapes: [n, 8]."""
        model = self._model
        flow = (features - model.centre) / model.spread
        *hidden, last = model.layers.get(request.surface, model.layers["feed"])
        for weight, bias in hidden:
            flow = np.maximum(flow @ weight + bias, 0.0)
        raw = flow @ last[0] + last[1]
        raw[:, : len(HEADS)] = 0.5 + 0.5 * np.tanh(0.5 * raw[:, : len(HEADS)])
        raw[:, -1] = np.expm1(np.clip(raw[:, -1], 0.0, _LONGEST_LOG_S))
        for head, (scores, levels) in enumerate(model.curves):
            raw[:, head] = np.interp(raw[:, head], scores, levels)
        return raw


def read_content_model(folder: Path, inputs: tuple[str, ...]) -> ContentModel:
    """The model in an artefacts folder of the content-first program.

    Args:
        folder: Holds ``model.npz`` and ``about.json``.
        inputs: The features that will be handed to it, in order.

    Raises:
        ModelError: A file is missing (``model-010``), or it was trained on other inputs (``model-011``).
    """
    for name in ("model.npz", "about.json"):
        if not (folder / name).is_file():
            raise ModelError(
                f"found no {name} in {folder}, expected the artefacts of a trained content-first program",
                code="model-010",
                hint="mainstem train writes them",
            )
    about: dict[str, Any] = msgspec.json.decode((folder / "about.json").read_bytes())
    found = tuple(about.get("inputs", ()))
    if found != inputs:
        other = sorted(set(found) ^ set(inputs))[:5]
        raise ModelError(
            f"{folder} was trained on {len(found)} inputs, computed are {len(inputs)}; "
            f"they differ by {', '.join(other) or 'order'}",
            code="model-011",
            hint="train the programs again: mainstem train",
        )
    with np.load(folder / "model.npz") as held:
        arrays = {name: held[name] for name in held.files}
    return _model(arrays, about.get("until_day"))


def _model(arrays: dict[str, Any], until_day: int | None) -> ContentModel:
    surfaces = {name.partition("/")[0] for name in arrays if name.endswith("/w1")}
    return ContentModel(
        centre=arrays["centre"],
        spread=arrays["spread"],
        layers={
            surface: tuple((arrays[f"{surface}/w{k}"], arrays[f"{surface}/b{k}"]) for k in (1, 2, 3))
            for surface in surfaces
        },
        curves=tuple((arrays[f"curve/{head}/scores"], arrays[f"curve/{head}/levels"]) for head in PREDICTIONS),
        tower=arrays["user_tower"],
        until_day=until_day,
    )
