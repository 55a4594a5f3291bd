"""What learned to answer like a legacy ranker: one small network a surface, read without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.base.request import Floats

OPEN: Final = 1e-7
"""Probabilities are taught this far from 0 and 1 at most."""
FARTHEST: Final = 12.0
"""Standardised inputs are cut here: one outlier must not decide an order."""

Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]


@dataclass(frozen=True, slots=True)
class Student:
    """A teacher's heads, relearned.

    Attributes:
        inputs: Names of what it reads, in order.
        open: Which answers are probabilities; the others are amounts.
        towers: By surface: centre, spread and layers.
        card: Whose student, on what, how well.
    """

    inputs: tuple[str, ...]
    open: NDArray[np.bool_]
    towers: Mapping[str, Tower]
    card: Mapping[str, Any]

    def predict(self, surface: str, inputs: Floats) -> Floats:
        """The heads of each candidate. Shapes: [n, f] to [n, h].

        Raises:
            ModelError: It was not taught this surface (``model-092``), or is given other inputs (``model-093``).
        """
        if surface not in self.towers:
            raise ModelError(
                f"the student of {self.card.get('teacher')} was not taught surface {surface!r}, only {sorted(self.towers)}",
                code="model-092",
                hint="mainstem models distil",
            )
        if inputs.shape[1] != len(self.inputs):
            raise ModelError(
                f"{inputs.shape[1]} inputs a candidate, the student of {self.card.get('teacher')} reads {len(self.inputs)}",
                code="model-093",
                hint="mainstem models distil",
            )
        raw = self.towers[surface].logits(inputs)
        with np.errstate(over="ignore"):
            return np.where(self.open, 1.0 / (1.0 + np.exp(-raw)), np.expm1(np.clip(raw, 0.0, 10.0)))

    def save(self, folder: Path) -> None:
        """Writes ``student.npz`` and ``student.json``; each is complete or not there."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {"open": self.open}
        for surface, tower in self.towers.items():
            arrays |= {f"{surface}/{name}": array for name, array in tower.as_arrays().items()}
        scratch = folder / f".student.npz.{os.getpid()}"
        with scratch.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, folder / "student.npz")
        text = folder / f".student.json.{os.getpid()}"
        text.write_text(json.dumps({**self.card, "inputs": list(self.inputs)}, indent=1, sort_keys=True) + "\n")
        os.replace(text, folder / "student.json")


@dataclass(frozen=True, slots=True)
class Tower:
    """One surface's network: standardised inputs, a mark for each input that may be missing, two hidden layers.

    Shapes: ``centre[f]``, ``spread[f]``, ``missing[m]`` (columns that get a mark), layers ``[in, out]`` and ``[out]``.
    """

    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    missing: NDArray[np.int64]
    layers: Layers

    def prepared(self, inputs: Floats) -> NDArray[np.float32]:
        """Inputs as the first layer reads them: cut, standardised, missing ones at their mean and marked."""
        with np.errstate(invalid="ignore"):
            scaled = np.clip((inputs - self.centre) / self.spread, -FARTHEST, FARTHEST)
        absent = np.isnan(inputs)
        scaled[absent] = 0.0
        return np.concatenate([scaled, absent[:, self.missing]], axis=1).astype(np.float32)

    def logits(self, inputs: Floats) -> NDArray[np.float32]:
        """The heads before their last function. Shapes: [n, h]."""
        flow = self.prepared(inputs)
        for at, (weight, bias) in enumerate(self.layers):
            flow = flow @ weight + bias
            if at < len(self.layers) - 1:
                np.maximum(flow, 0.0, out=flow)
        return flow

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored."""
        held: dict[str, NDArray[Any]] = {"centre": self.centre, "spread": self.spread, "missing": self.missing}
        for at, (weight, bias) in enumerate(self.layers):
            held |= {f"w{at}": weight, f"b{at}": bias}
        return held


def load_student(folder: Path) -> Student:
    """The student in a folder.

    Raises:
        ModelError: There is none that can be read (``model-094``).
    """
    try:
        card = json.loads((folder / "student.json").read_text())
        inputs = tuple(card.pop("inputs"))
        with np.load(folder / "student.npz", allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        surfaces = sorted({name.split("/")[0] for name in arrays if "/" in name})
        return Student(inputs, arrays["open"], {one: _tower(arrays, one) for one in surfaces}, card)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise ModelError(
            f"no readable student in {folder.name!r} ({type(error).__name__}); expected student.json and student.npz",
            code="model-094",
            hint="mainstem models distil",
        ) from None


def _tower(arrays: Mapping[str, NDArray[Any]], surface: str) -> Tower:
    count = sum(name.startswith(f"{surface}/w") for name in arrays)
    layers = tuple((arrays[f"{surface}/w{at}"], arrays[f"{surface}/b{at}"]) for at in range(count))
    return Tower(arrays[f"{surface}/centre"], arrays[f"{surface}/spread"], arrays[f"{surface}/missing"], layers)
