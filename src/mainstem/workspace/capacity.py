"""A surface's footprint from the workspace that serves it: settings, weights, catalogue, measured constants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError, did_you_mean
from mainstem.base.settings import Surface
from mainstem.capacity.calibration import load, predict
from mainstem.capacity.footprint import (
    Logging,
    Serving,
    Traffic,
    Training,
    dataset_bytes,
    inference,
    stack_shape,
    training_hours,
)
from mainstem.capacity.hardware import Machine
from mainstem.workspace.layout import Workspace


def surface_footprint(
    place: Workspace,
    surface: str,
    requests_day: float,
    peak: float,
    machine: Machine,
    *,
    today: date,
) -> dict[str, Any]:
    """What the unified stack needs for one surface: cores, machines, training hours a week, bytes kept.

    The ranker's seconds are predicted from constants measured here; what a request takes beside the ranker is not
    measured by ``calibrate``, so cores are the ranker's alone.

    Args:
        place: The workspace, with ``capacity/constants.json`` as ``mainstem capacity calibrate`` writes it.
        surface: One of its surfaces.
        requests_day: Requests a day.
        peak: The busiest rate over the mean.
        machine: What it would run on.
        today: The date; expired constants predict nothing.

    Raises:
        CapacityError: ``capacity-058`` for an unknown surface or a workspace without a model, and every refusal of
            `calibration.predict`.
    """
    settings = _surface_of(place, surface)
    held = load(place.folder / "capacity" / "constants.json")
    with np.load(place.unified_model / "model.npz") as file:
        weights = {name.removeprefix("weight_"): file[name] for name in file.files if name.startswith("weight_")}
        items = len(file["static_item_ids"]) if "static_item_ids" in file.files else 0
    card = json.loads((place.unified_model / "model.json").read_text())
    stack = stack_shape("unified", settings, weights, items)
    told = predict(held, "ranker", _ranker_shape(stack.ranked, weights), today=today)
    traffic = Traffic(requests_day, peak, shown=float(settings.count))
    needed = inference(stack, traffic, Serving(told.seconds, 0.0), machine)
    row = held.single.get("bytes a logged row of 206 made features", 0.0) / 206 * stack.features
    small = held.single.get("the same compressed", row) / 206 * stack.features
    rows = float(card.get("rows", {}).get("train", 0))
    rate = held.single.get("training rows a CPU second", 0.0)
    hours = training_hours(Training(rows, float(card.get("epochs", 1)), 7.0, rate)) if rate else None
    return {
        "operations a request": stack.request_flops,
        "ranker seconds a request": told.seconds,
        "ranker seconds, 5th to 95th percentile": [told.low, told.high],
        "ranker cores at the peak, spares included": needed.cores,
        "machines": needed.machines,
        "model bytes": stack.model_bytes,
        "features logged": stack.features,
        "terabytes kept, 90 days, 3 copies": dataset_bytes(
            stack, traffic, Logging(row, compression=max(1.0, row / small) if small else 1.0)
        )
        / 1e12,
        "training hours a week, daily": hours,
        "constants of": held.measured.isoformat(),
        "constants expire": held.expires.isoformat(),
    }


def _surface_of(place: Workspace, name: str) -> Surface:
    """The settings of a surface whose stack is trained."""
    served = place.settings.served()
    if name not in served:
        raise CapacityError(f"found surface {name!r}", code="capacity-058", hint=did_you_mean(name, served))
    if not (place.unified_model / "model.npz").exists():
        raise CapacityError(
            f"found no model in {place.unified_model}", code="capacity-058", hint="mainstem train makes one"
        )
    return served[name]


def _ranker_shape(ranked: int, weights: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """What the time of the ranker depends on."""
    crosses = weights["low_w"] if "low_w" in weights else np.zeros((0, 1, 1))
    return {
        "candidates": float(ranked),
        "user": float(weights["user_in"].shape[0]),
        "hidden": float(weights["user_in"].shape[1]),
        "experts": float(weights["expert_w"].shape[1] // weights["head_w"].shape[0]),
        "rank": float(crosses.shape[0] * crosses.shape[2]),
    }
