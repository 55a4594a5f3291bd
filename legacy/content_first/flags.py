"""The one flat flags file: how each surface of this stack is tuned."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHIPPED = Path(__file__).with_name("flags.json")
SOURCE_NAMES = ("item_to_item", "content_two_tower", "fresh_trending", "connected_new")
OUTCOMES = ("click", "like", "follow", "comment", "forward", "hate", "long_view")
PREDICTED = (*OUTCOMES, "watch")


class FlagError(ValueError):
    """A flag is missing, unknown or not a number."""


@dataclass(frozen=True, slots=True)
class SurfaceFlags:
    """One surface's flags, read out of the flat file once at start."""

    name: str
    quotas: dict[str, int]
    weights: NDArray[np.float64]
    creator_cap: int
    creator_window: int
    duplicate_cosine: float
    max_age_h: float
    unconnected_factor: float
    min_rows: int


def read_flags(path: Path = SHIPPED) -> dict[str, Any]:
    """What does the flags file say, with every key checked against the shipped one?"""
    flags = json.loads(path.read_text(encoding="utf-8"))
    known = _known_keys(flags.get("surfaces", []))
    unknown, missing = sorted(set(flags) - known), sorted(known - set(flags))
    if unknown or missing:
        raise FlagError(f"{path}: unknown flags {unknown}, missing flags {missing}")
    return flags


def _known_keys(surfaces: list[str]) -> set[str]:
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    endings = {key.removeprefix("feed.") for key in shipped if key.startswith("feed.")}
    general = {key for key in shipped if key == "surfaces" or key.startswith("train.")}
    return general | {f"{s}.{e}" for s in surfaces for e in endings} | {f"traffic.{s}" for s in surfaces}


def write_flags(flags: dict[str, Any], path: Path) -> None:
    """Keeps the flags beside the model, whole or not at all."""
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(flags, indent=1) + "\n", encoding="utf-8")
    os.replace(scratch, path)


def surface_flags(flags: dict[str, Any], surface: str) -> SurfaceFlags:
    """Which numbers rule this surface? Nothing is inherited: every surface names all of its own."""
    return SurfaceFlags(
        name=surface,
        quotas={name: int(flags[f"{surface}.quota.{name}"]) for name in SOURCE_NAMES},
        weights=np.array([float(flags[f"{surface}.w.{name}"]) for name in PREDICTED]),
        creator_cap=int(flags[f"{surface}.creator_cap"]),
        creator_window=int(flags[f"{surface}.creator_window"]),
        duplicate_cosine=float(flags[f"{surface}.duplicate_cosine"]),
        max_age_h=float(flags[f"{surface}.max_age_h"]),
        unconnected_factor=float(flags[f"{surface}.unconnected_factor"]),
        min_rows=int(flags[f"{surface}.min_rows"]),
    )


def age_limits_that_fit(flags: dict[str, Any], median_age_h: float) -> dict[str, Any]:
    """Turns a surface's age cap off (0) when the items people really see are mostly older than it allows."""
    decided = dict(flags)
    for surface in flags["surfaces"]:
        key = f"{surface}.max_age_h"
        if median_age_h > flags[key]:
            decided[key] = 0
    return decided
