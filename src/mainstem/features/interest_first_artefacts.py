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
from mainstem.base.request import Floats, Ids

SOURCES = ("top_interests", "explicit_topics", "entity_to_entity", "exploration")
_WHOLE = ("top_interests", "quota_interests", "max_run")


@dataclass(frozen=True, slots=True)
class Plan:
    """The dials of one surface; the plan file says what each does."""

    surface: str
    sources: Mapping[str, int]
    """Most candidates of each source."""
    top_interests: int
    interest_power: float
    item_power: float
    prior_strength: float
    fatigue_interest: float
    fatigue_entity: float
    fatigue_half_life_h: float
    cooldown_h: float
    portfolio_bonus: float
    quota_interests: int
    quota_share: float
    debt_weight: float
    debt_decay: float
    max_run: int
    explore_share: float

    def floors(self, shares: Floats, count: int) -> dict[int, int]:
        """How many of ``count`` places each of the viewer's first interests, those of the largest shares, should get."""
        places = int(count * self.quota_share)
        if not places:
            return {}
        first = np.argsort(-np.round(shares[:-1], 9), kind="stable")[: self.quota_interests]
        return dict.fromkeys(first.tolist(), places)


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
    plans = {name: _plan(name, _inherited(name, tables), folder) for name in sorted(tables) if name != "base"}
    return Artefacts(MappingProxyType(arrays), MappingProxyType(plans), until, seed)


def rows_in(known: Ids, wanted: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The place of each wanted number among ascending known ones, -1 where it is not known."""
    if not len(known):
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, at, -1)


def _inherited(name: str, tables: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The plan's own dials over those of its parents. The program refused circles when it trained."""
    chain: list[dict[str, Any]] = []
    parent: str | None = name
    while parent is not None and len(chain) <= len(tables):
        chain.append(tables.get(parent, {}))
        parent = chain[-1].get("extends")
    return {dial: value for table in reversed(chain) for dial, value in table.items()}


def _plan(name: str, dials: dict[str, Any], folder: Path) -> Plan:
    try:
        sources = {source: int(int(dials["fetch"]) * float(dials[f"share_{source}"])) for source in SOURCES}
        read: dict[str, Any] = {
            dial: int(dials[dial]) if dial in _WHOLE else float(dials[dial])
            for dial in Plan.__slots__
            if dial not in ("surface", "sources")
        }
        return Plan(surface=name, sources=sources, **read)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"plan {name!r} in {folder / 'plans.toml'} has no usable {error}, expected every dial to be a number",
            code="model-011",
            hint="a plan without `extends` sets every dial itself",
        ) from error
