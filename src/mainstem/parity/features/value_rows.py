"""Values of many requests as one table: a row about the user, then a row for each item that was written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.features.language.aggregate import Aggregate, Latest
from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.feature import Attribute, Context, Feature, Role
from mainstem.features.language.fold import Fold
from mainstem.features.language.plan import Plan
from mainstem.parity.features.everything import Everything
from mainstem.parity.features.meta import USER_ROW, FeatureMeta, Stage
from mainstem.parity.features.values import ragged

Ints = NDArray[np.int64]
Array = NDArray[Any]
_TIMES: Final = {"ms since 1970": "ms", "ms": "ms", "s": "s"}


def metas_of(plan: Plan, columns: Sequence[tuple[str, Feature]]) -> tuple[FeatureMeta, ...]:
    """What a comparison must know of each column: window, stage, version."""
    prints = plan.features.fingerprints
    return tuple(
        FeatureMeta(
            name,
            _window(name, feature),
            stage_of(feature),
            f"{feature.version}-{prints[feature.name]}",
            unit=_TIMES.get(feature.unit, ""),
        )
        for name, feature in columns
    )


def _window(name: str, feature: Feature) -> str:
    if not isinstance(feature.of, Aggregate):
        return ""
    return next((one for one in feature.windows if name == f"{feature.name}_{one}"), feature.windows[0])


def stage_of(feature: Feature) -> Stage:
    """Where a feature is made: where a cause is looked for."""
    if isinstance(feature.of, Context):
        return "context"
    if isinstance(feature.of, Attribute):
        return "attribute"
    if isinstance(feature.of, Aggregate):
        return "read"
    return "apply" if isinstance(feature.of, Latest | Fold) else "finish"


class Rows:
    """Collects values by column, requests one after the other; lists without their unused places.

    Args:
        reading: Its columns are collected, ``columns`` and ``kinds`` telling their shapes.
    """

    def __init__(self, reading: Everything) -> None:
        self.columns = [(column.name, column.feature) for column in reading.columns]
        self.kinds: dict[str, Kind] = {name: reading.kind_of(name) for name, _ in self.columns}
        self._parts: dict[str, list[Array]] = {name: [] for name, _ in self.columns}
        self._lengths: dict[str, list[Array]] = {name: [] for name, _ in self.columns}

    def add(self, values: Mapping[str, Array], counts: Ints, filled: Mapping[str, Ints]) -> None:
        """Takes in some requests.

        Args:
            values: Shaped as the machine shapes them.
            counts: How many of each request's candidates are written down. Shapes: [B].
            filled: How many places of each list are used. Shapes: [B].
        """
        many = np.repeat(np.arange(len(counts)), counts)
        place = ragged(np.zeros(len(counts), np.int64), counts)
        for name, found in values.items():
            kind = self.kinds.get(name)
            if kind is None:
                continue
            lists = kind.shape.listed
            held = (
                found[many, :, place]
                if kind.shape is Shape.M
                else found[many, place]
                if kind.shape is Shape.C
                else found
            )
            if lists:
                own = filled[kind.over][many] if kind.shape is Shape.M else filled[kind.over]
                used = np.arange(held.shape[1]) < own[:, None]
                width = held.shape[2] if kind.vector else 1
                self._lengths[name].append(own * width)
                self._parts[name].append(held[used].reshape(-1))
            elif kind.vector:
                self._lengths[name].append(np.full(len(held), held.shape[-1]))
                self._parts[name].append(np.ascontiguousarray(held).reshape(-1))
            else:
                self._parts[name].append(np.array(held))

    def column(self, name: str) -> tuple[Array, Ints | None]:
        """A column's numbers, and the length of each row's list."""
        parts, lengths = self._parts[name], self._lengths[name]
        numbers = np.concatenate(parts) if parts else np.empty(0)
        return numbers, np.concatenate(lengths).astype(np.int64) if lengths else None


def filled_places(values: Mapping[str, Array], lists: Mapping[str, tuple[str, ...]]) -> dict[str, Ints]:
    """How many places of each list are used: up to the last at which some column of it is known. Shapes: [B]."""
    out: dict[str, Ints] = {}
    for over, names in lists.items():
        known = np.zeros(values[names[0]].shape, np.bool_)
        for name in names:
            known |= ~np.isnan(values[name])
        out[over] = np.where(known.any(axis=1), known.shape[1] - np.argmax(known[:, ::-1], axis=1), 0).astype(np.int64)  # pyright: ignore[reportGeneralTypeIssues]
    return out


def lists_of(reading: Everything) -> dict[str, tuple[str, ...]]:
    """The columns of each kept list, by the list's name."""
    out: dict[str, tuple[str, ...]] = {}
    for column in reading.columns:
        kind = reading.kind_of(column.name)
        if kind.shape is Shape.L and not kind.vector and column.name.startswith(f"{kind.over}."):
            out[kind.over] = (*out.get(kind.over, ()), column.name)
    return out


def key_columns(requests: Mapping[str, Ints], items: Ints, counts: Ints, feature_set: str) -> dict[str, pa.Array]:
    """The key columns of a table: rows about users first, then rows about items."""
    rows = len(counts) + len(items)
    out = {name: pa.array(np.concatenate([array, np.repeat(array, counts)])) for name, array in requests.items()}
    out["item_id"] = pa.array(np.concatenate([np.full(len(counts), USER_ROW), items]))
    out["feature_set"] = pa.array([feature_set] * rows, pa.large_string())
    return out


def value_column(numbers: Array, lengths: Ints | None, of_candidates: bool, users: int, items: int) -> pa.Array:
    """A column over the rows of a table, null on the rows it is not about."""
    before, after = (users, 0) if of_candidates else (0, items)
    if lengths is None:
        column = pa.array(numbers)
    else:
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        column = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(numbers))
    parts = [pa.nulls(before, column.type), column, pa.nulls(after, column.type)]
    return pa.concat_arrays([part for part in parts if len(part)])


def columns_of_roles(plan: Plan, roles: tuple[Role, ...]) -> list[tuple[Feature, slice]]:
    """Where each feature's columns stand in a side of these roles."""
    out, at = [], 0
    for role in roles:
        for feature in plan.features:
            if feature.role == role:
                out.append((feature, slice(at, at + len(feature.columns))))
                at += len(feature.columns)
    return out
