"""Makes predicted probabilities mean what they say, per head, surface and cell, without ever changing an order within a head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.ranking.calibration_maps import (
    FOLDS,
    GRID,
    LEAST,
    Chosen,
    choose_map,
    folds,
    log_loss_of,
    on_table,
    shift,
)

STRENGTHS: Final = (float("inf"), 1_000.0, 200.0, 50.0, 20.0)
"""How many positives (or negatives, where they are fewer) of a surface may weigh as much as the head's own map."""

CELL_STRENGTHS: Final = (float("inf"), 500.0, 150.0, 50.0, 15.0)
"""How much information (the sum of p(1 - p)) of a cell may weigh as much as "this cell is like its surface"."""

_LAST = np.float32(GRID[-1] - 0.001 * (GRID[1] - GRID[0]))
"""The last log odds that are told apart: just below the grid's end."""

_TINY: Final = 1e-9

_NO_CELLS: Final = np.zeros((1, 1, len(HEADS)), np.float32)


@dataclass(frozen=True, slots=True)
class Calibrators:
    """One increasing map of log odds a head and surface, tabulated on ``GRID``, and what each cell of a surface adds to it.

    A cell is anything that all candidates of a request share: the viewer's activity, the log's scenario.

    Attributes:
        chosen: The kind of map of each surface and head.
        offsets: Log odds that a surface's cell adds.
        strengths: The shrinkage of each head that cross-validation chose: ``surface`` and ``cell``.

    Shapes:
        ``tables`` is ``[surfaces + 1, 7, 97]``; the last one is for an unknown surface. ``offsets`` is
        ``[surfaces + 1, cells + 1, 7]``; the last cell is an unknown one and adds nothing.
    """

    tables: NDArray[np.float32]
    chosen: tuple[tuple[str, ...], ...]
    offsets: NDArray[np.float32] = field(default_factory=lambda: _NO_CELLS)
    strengths: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def apply(self, predictions: NDArray[np.float32], surface: int, cell: int = -1) -> NDArray[np.float32]:
        """Calibrated predictions of one request's candidates. Shapes: [n, 8] to [n, 8]."""
        rows = np.ones(len(predictions), np.int64)
        return self.apply_many(predictions, rows * surface, rows * cell)

    def apply_many(
        self,
        predictions: NDArray[np.float32],
        surface: NDArray[np.integer[Any]],
        cell: NDArray[np.integer[Any]] | None = None,
    ) -> NDArray[np.float32]:
        """The same for rows of different surfaces and cells."""
        where = _place(surface, len(self.tables))
        odds = _on_tables(predictions, self.tables, where)
        if cell is not None and self.offsets.any():
            odds += self.offsets[_place(surface, len(self.offsets)), _place(cell, self.offsets.shape[1])]
        out = predictions.astype(np.float32, copy=True)
        out[:, : len(HEADS)] = 1.0 / (1.0 + np.exp(-odds))
        return out

    def as_dict(self) -> dict[str, Any]:
        """What is stored in the model folder."""
        held: dict[str, Any] = {
            "tables": np.round(self.tables.astype(np.float64), 6).tolist(),
            "chosen": [list(one) for one in self.chosen],
        }
        if self.offsets.any():
            held["offsets"] = np.round(self.offsets.astype(np.float64), 6).tolist()
        if self.strengths:
            held["strengths"] = {
                level: [None if np.isinf(one) else one for one in each] for level, each in self.strengths.items()
            }
        return held

    @classmethod
    def from_dict(cls, held: dict[str, Any]) -> Calibrators:
        """What ``as_dict`` gave; nothing given changes nothing."""
        if not held:
            return cls(np.tile(GRID.astype(np.float32), (1, len(HEADS), 1)), (("identity",) * len(HEADS),))
        return cls(
            np.array(held["tables"], np.float32),
            tuple(tuple(one) for one in held["chosen"]),
            np.array(held["offsets"], np.float32) if "offsets" in held else _NO_CELLS,
            {
                level: tuple(float("inf") if one is None else float(one) for one in each)
                for level, each in held.get("strengths", {}).items()
            },
        )


class RequestCalibrators:
    """The same maps prepared for requests: from the network's log odds in one pass, without going through probabilities first.

    Args:
        calibrators: What was fitted.
    """

    def __init__(self, calibrators: Calibrators) -> None:
        grid = GRID.astype(np.float32)
        surfaces = len(calibrators.tables)
        tables = np.concatenate([calibrators.tables, np.broadcast_to(grid, (surfaces, 1, len(grid)))], axis=1)
        self._moves = (tables != grid).any(axis=(1, 2)).tolist()
        self._starts = tables.reshape(surfaces, -1)
        self._steps = np.diff(tables, axis=2, append=0.0).astype(np.float32).reshape(surfaces, -1)
        self._row = np.arange(tables.shape[1], dtype=np.int32) * len(grid)
        self._offsets = np.pad(calibrators.offsets, ((0, 0), (0, 0), (0, 1)))
        self._celled = bool(self._offsets.any())

    def of_logits(self, logits: NDArray[np.float32], surface: int, cell: int = -1) -> NDArray[np.float32]:
        """Calibrated predictions of one request's candidates.

        Args:
            logits: ``Network.logits``: log odds of seven heads, then log(1 + seconds).
            surface: Where they would be shown; any other number is an unknown surface.
            cell: The request's cell; any other number is an unknown one.

        Shapes: [n, 8] to [n, 8].
        """
        at = surface if 0 <= surface < len(self._moves) - 1 else -1
        out: NDArray[np.float32] = np.clip(logits, np.float32(GRID[0]), _LAST)
        if self._moves[at]:
            out = self._moved(out, at)
        if self._celled:
            out += self._offsets[at, cell if 0 <= cell < self._offsets.shape[1] - 1 else -1]
        np.negative(out, out=out)
        np.exp(out, out=out)
        out += np.float32(1.0)
        np.reciprocal(out, out=out)
        out[:, -1] = np.expm1(np.clip(logits[:, -1], 0.0, 10.0))
        return out

    def _moved(self, odds: NDArray[np.float32], at: int) -> NDArray[np.float32]:
        """The tables at these log odds, linear between their places."""
        odds -= np.float32(GRID[0])
        odds *= np.float32(1.0 / (GRID[1] - GRID[0]))
        low = odds.astype(np.int32)
        odds -= low
        low += self._row
        odds *= self._steps[at].take(low)
        odds += self._starts[at].take(low)
        return odds


def _place(code: NDArray[np.integer[Any]], places: int) -> NDArray[np.int64]:
    """Which table belongs to each code; the last one to any other."""
    return np.where((code >= 0) & (code < places - 1), code, places - 1).astype(np.int64)


def _log_odds(p: NDArray) -> NDArray[np.float64]:
    kept = np.clip(p.astype(np.float64), _TINY, 1.0 - 1e-7)
    return np.log(kept / (1.0 - kept))


def _on_tables(predictions: NDArray, tables: NDArray, where: NDArray[np.int64]) -> NDArray[np.float64]:
    """The tables at the log odds of predictions. Shapes: ``[n, 8]`` to ``[n, 7]``."""
    at = (_log_odds(predictions[:, : len(HEADS)]) - GRID[0]) / (GRID[1] - GRID[0])
    at = np.clip(at, 0.0, len(GRID) - 1.001)
    low = at.astype(np.int64)
    row, head = where[:, None], np.arange(len(HEADS))
    start = tables[row, head, low].astype(np.float64)
    return start + (tables[row, head, low + 1] - start) * (at - low)


def fit_calibrators(
    predictions: NDArray[np.float32],
    outcomes: NDArray[np.int8],
    surface: NDArray[np.int8],
    seed: int = 0,
    cell: NDArray[np.integer[Any]] | None = None,
) -> dict[str, Any]:
    """Calibrators from rows the network was not learned from, as stored.

    Per head, and again per head and surface, one of identity, Platt, beta and isotonic is taken by cross-validated log
    loss, the simplest that cannot be told from the best. A surface's map is mixed with the head's by how many positives it
    has, a cell's offset pulled toward none by how much it knows; both strengths are those of the least held-out loss.

    Args:
        predictions: The network's, uncalibrated.
        outcomes: 0, 1, or below 0 where it is not known.
        surface: Each row's surface.
        seed: Of the folds.
        cell: Each row's cell within its surface; none are learned without.

    Shapes: ``predictions[n, 7 or 8]``, ``outcomes[n, 7]``, ``surface[n]``, ``cell[n]``.
    """
    surfaces = int(surface.max()) + 1 if len(surface) else 0
    cells = int(cell.max()) + 1 if cell is not None and len(cell) else 0
    tables = np.tile(GRID, (surfaces + 1, len(HEADS), 1))
    offsets = np.zeros((surfaces + 1, cells + 1, len(HEADS)), np.float32)
    chosen = [["identity"] * len(HEADS) for _ in range(surfaces + 1)]
    strengths: dict[str, list[float]] = {"surface": [], "cell": []}
    for head in range(len(HEADS)):
        known = outcomes[:, head] >= 0
        rows = _Rows(
            _log_odds(predictions[known, head]), outcomes[known, head].astype(np.float64), surface[known], seed
        )
        fitted = _fit_head(rows, surfaces)
        tables[:, head] = fitted.tables
        for place, kind in enumerate(fitted.kinds):
            chosen[place][head] = kind
        strengths["surface"].append(fitted.strength)
        if cell is not None:
            offsets[:surfaces, :cells, head], strength = _fit_cells(rows, fitted, cell[known], surfaces, cells)
            strengths["cell"].append(strength)
    return Calibrators(
        tables.astype(np.float32),
        tuple(tuple(one) for one in chosen),
        offsets,
        {level: tuple(each) for level, each in strengths.items() if each},
    ).as_dict()


class _Rows:
    """The rows of one head whose outcome is known, and the folds they are held out in."""

    def __init__(
        self, odds: NDArray[np.float64], labels: NDArray[np.float64], surface: NDArray[np.int8], seed: int
    ) -> None:
        self.odds, self.labels, self.surface = odds, labels, surface
        self.fold = folds(len(odds), seed)

    def choose(self, here: NDArray[np.bool_]) -> Chosen:
        return choose_map(self.odds[here], self.labels[here], self.fold[here])


@dataclass(frozen=True, slots=True)
class _Head:
    """One head's maps, and what maps learned without a row's fold say of it. Shapes: ``tables[surfaces + 1, 97]``."""

    tables: NDArray[np.float64]
    kinds: list[str]
    strength: float
    held_out: NDArray[np.float64]


def _fit_head(rows: _Rows, surfaces: int) -> _Head:
    """The head's own map, each surface's, and how far surfaces lean on the head."""
    whole = rows.choose(np.ones(len(rows.odds), bool))
    places = [rows.surface == place for place in range(surfaces)]
    own = [rows.choose(here) for here in places]
    mass = [min(rows.labels[here].sum(), (1.0 - rows.labels[here]).sum()) for here in places]

    def mixed(strength: float) -> NDArray[np.float64]:
        held = whole.held_out.copy()
        for here, one, rare in zip(places, own, mass, strict=True):
            held[here] += _weight(rare, strength) * (one.held_out - held[here])
        return held

    strength = min(STRENGTHS, key=lambda k: _loss(mixed(k), rows.labels))
    tables = [
        whole.table + _weight(rare, strength) * (one.table - whole.table) for one, rare in zip(own, mass, strict=True)
    ]
    kinds = [one.kind if _weight(rare, strength) else whole.kind for one, rare in zip(own, mass, strict=True)]
    return _Head(np.array([*tables, whole.table]), [*kinds, whole.kind], strength, mixed(strength))


def _loss(odds: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    return log_loss_of(odds, labels) if len(labels) else 0.0


def _weight(rare: float, strength: float) -> float:
    """What a surface's own map counts against the head's; nothing where it has too few of either outcome to have one."""
    return 0.0 if rare < LEAST else rare / (rare + strength)


def _fit_cells(
    rows: _Rows, fitted: _Head, cell: NDArray[np.integer[Any]], surfaces: int, cells: int
) -> tuple[NDArray[np.float32], float]:
    """What each cell of each surface adds, and the pull toward nothing that folds chose. Shapes: ``[surfaces, cells, 7]``."""
    place = rows.surface.astype(np.int64) * cells + cell
    usable = (rows.surface >= 0) & (cell >= 0)

    def offsets(odds: NDArray[np.float64], used: NDArray[np.bool_], strength: float) -> NDArray[np.float64]:
        out = np.zeros(surfaces * cells + 1)
        for at in np.unique(place[used & usable]) if np.isfinite(strength) else ():
            here = used & usable & (place == at)
            out[at] = shift(odds[here], rows.labels[here], strength)
        return out

    def held_out(strength: float) -> NDArray[np.float64]:
        held = fitted.held_out.copy()
        for k in range(FOLDS):
            out = (rows.fold == k) & usable
            held[out] += offsets(fitted.held_out, rows.fold != k, strength)[place[out]]
        return held

    strength = min(CELL_STRENGTHS, key=lambda k: _loss(held_out(k), rows.labels))
    on_surface = np.empty(len(rows.odds))
    for at, table in enumerate(fitted.tables):
        here = rows.surface == at
        on_surface[here] = on_table(table, rows.odds[here])
    learned = offsets(on_surface, np.ones(len(place), bool), strength)[:-1]
    return learned.reshape(surfaces, cells).astype(np.float32), strength
