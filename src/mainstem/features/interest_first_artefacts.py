"""What the interest-first program's training left in its folder: arrays, delivery plans and the seed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.base.request import Ids
from mainstem.features.interest_first_plan import Plan, read_plan


@dataclass(frozen=True, slots=True)
class Artefacts:
    """One trained interest-first program.

    Attributes:
        arrays: Every learned array by its name in the model file. ``prior[s + 1, m + 1]`` is P(interest) by surface, with a last
            row for surfaces it never saw; of m + 1 interests the last stands for posts that are not listed.
        plans: By surface.
        until: The first day training did not read, yyyymmdd.
        seed: Fixes every draw, with the request and the item.
    """

    arrays: Mapping[str, NDArray[Any]]
    plans: Mapping[str, Plan]
    until: int
    seed: int

    @property
    def surfaces(self) -> tuple[str, ...]:
        """The surfaces it was trained for."""
        return tuple(self.arrays["surfaces"].tolist())

    @property
    def interests(self) -> int:
        """How many interests there are, without the one of unlisted posts."""
        return len(self.arrays["coarse_centres"])


def read_artefacts(folder: Path) -> Artefacts:
    """What training left in a folder.

    Raises:
        ModelError: A file is missing or not readable (``model-010``), or a plan lacks a dial (``model-011``).
    """
    try:
        about = json.loads((folder / "about.json").read_text())
        tables = tomllib.loads((folder / "plans.toml").read_text()).get("plan", {})
        with np.load(folder / "model.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        until, seed = int(about["until"]), int(about["seed"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"found no interest-first model in {folder} ({error}), expected about.json, plans.toml and model.npz",
            code="model-010",
            hint="mainstem train trains the legacy programs too",
        ) from error
    plans = {name: _plan(name, tables, folder) for name in sorted(tables) if name != "base"}
    return Artefacts(MappingProxyType(arrays), MappingProxyType(plans), until, seed)


def rows_in(known: Ids, wanted: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The place of each wanted number among ascending known ones, -1 where it is not known."""
    if not len(known):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, at, -1)


def _plan(name: str, tables: Mapping[str, dict[str, Any]], folder: Path) -> Plan:
    try:
        return read_plan(name, tables)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"plan {name!r} in {folder / 'plans.toml'} has no usable {error}, expected every dial to be a number",
            code="model-011",
            hint="a plan without `extends` sets every dial itself",
        ) from error
