"""The trained network and its calibration as one ONNX graph, written from the numpy weights without torch.

The graph is a list of steps, each an ONNX operator over named values: a request's inputs, weights by their own names, constants.
A new layer of ``network.py`` is a few more steps in ``network_steps``; nothing else here has to follow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.features.language.feature_set import FeatureSet
from mainstem.ranking.calibrate import GRID, Calibrators
from mainstem.ranking.network import completed
from mainstem.ranking.onnx_graph import OUTPUT, Arrays, Graph, Step, linear, summed


def ranker_graph(
    weights: Mapping[str, NDArray[np.float32]],
    item_first: NDArray[np.float32],
    calibrators: Calibrators,
    features: FeatureSet,
    *,
    small_items: bool = False,
) -> Graph:
    """The network and its calibration as one graph.

    Args:
        weights: The model's.
        item_first: The first layer's share of every item of the catalog, the unknown item last.
        calibrators: The maps that follow.
        features: The columns the network reads, and what stands for a value that is not finite.
        small_items: Whether ``item_first`` is held in 8 bits with one scale a row: a quarter of the file.
    """
    weights = completed(dict(weights))
    held: Arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in weights.items()}
    roles = ("user", "item", "cross")
    held |= {f"{role}_default": np.array(features.defaults_of(role), np.float32) for role in roles}
    table, first = item_steps(item_first, small_items)
    network, layers = network_steps(weights)
    maps, calibration = calibration_steps(calibrators)
    held |= table | network | maps | _constants()
    finite = tuple(step for role in roles for step in finite_steps(role))
    return Graph(
        (*finite, *first, *layers, *calibration),
        held,
        {role: len(held[f"{role}_default"]) for role in roles},
        ("item_row", "surface", *(("cell",) if calibrators.offsets.any() else ())),
    )


def finite_steps(role: str) -> tuple[Step, ...]:
    """What is not finite takes its declared default, as in ``Network``."""
    return (
        Step("IsNaN", (role,), f"{role}_nan"),
        Step("IsInf", (role,), f"{role}_inf"),
        Step("Or", (f"{role}_nan", f"{role}_inf"), f"{role}_bad"),
        Step("Where", (f"{role}_bad", f"{role}_default", role), f"{role}_finite"),
    )


def item_steps(item_first: NDArray[np.float32], small: bool) -> tuple[Arrays, tuple[Step, ...]]:
    """The rows of the items' table that are asked for, in full or from 8 bits and a scale a row."""
    if not small:
        return {"item_first": item_first}, (Step("Gather", ("item_first", "item_row"), "first"),)
    scale = np.maximum(np.abs(item_first).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127.0
    held = {"item_first_8": np.rint(item_first / scale).astype(np.int8), "item_scale": scale}
    return held, (
        Step("Gather", ("item_first_8", "item_row"), "first_8"),
        Step("Cast", ("first_8",), "first_wide", {"to": 1}),
        Step("Gather", ("item_scale", "item_row"), "first_scale"),
        Step("Mul", ("first_wide", "first_scale"), "first"),
    )


def network_steps(weights: Mapping[str, NDArray[np.float32]]) -> tuple[Arrays, tuple[Step, ...]]:
    """What ``Network.many`` computes, by the names of its weights and their shapes; the answer is called ``logits``."""
    held, crosses = _cross_steps(weights)
    groups, experts, _ = weights["gate_open"].shape
    closed = weights["gate_open"].max(axis=2) == 0.0
    held |= {
        "by_expert": np.array([-1, experts, weights["expert_w"].shape[1] // experts], np.int64),
        "by_group": np.array([-1, groups, experts], np.int64),
        "gate_shut": np.where(closed, -1e9, 0.0).astype(np.float32)[None],
    }
    watch, seconds = _watch_steps(weights)
    return held | watch, (
        *linear("user_finite", "user_in", "user_bias", "user_hidden"),
        Step("MatMul", ("item_finite", "item_in"), "item_hidden"),
        Step("MatMul", ("cross_finite", "cross_in"), "cross_hidden"),
        *summed(("item_hidden", "cross_hidden", "first", "user_hidden"), "crossed_0"),
        *crosses,
        *_scale_steps(weights),
        Step("Relu", ("scaled",), "hidden"),
        *linear("hidden", "expert_w", "expert_b", "experts_sum"),
        Step("Relu", ("experts_sum",), "experts_flat"),
        Step("Reshape", ("experts_flat", "by_expert"), "experts"),
        *linear("user_finite", "gate_w", "gate_b", "gate_flat"),
        Step("Reshape", ("gate_flat", "by_group"), "gate_sum"),
        Step("Add", ("gate_sum", "gate_shut"), "gate_masked"),
        Step("Softmax", ("gate_masked",), "gate_chosen", {"axis": 2}),
        Step("Einsum", ("gate_chosen", "gate_open"), "gate", {"equation": "nge,gec->nec"}),
        Step("MatMul", ("experts", "head_w"), "head_each"),
        Step("Mul", ("head_each", "gate"), "head_gated"),
        Step("ReduceSum", ("head_gated", "axis_1"), "head_mixed", {"keepdims": 0}),
        *linear("user_finite", "head_user_w", "head_b", "head_user"),
        Step("MatMul", ("item_finite", "head_item_w"), "head_item"),
        *summed(("head_mixed", "head_item", "head_user"), "answers"),
        *seconds,
    )


def _cross_steps(weights: Mapping[str, NDArray[np.float32]]) -> tuple[Arrays, tuple[Step, ...]]:
    """Each cross adds the first layer times a low-rank product of what stands so far."""
    held: Arrays = {}
    steps: list[Step] = []
    for layer in range(len(weights["low_w"])):
        now = f"crossed_{layer}"
        held |= {f"{name}_{layer}": weights[name][layer] for name in ("low_w", "high_w", "high_b")}
        steps += [
            Step("MatMul", (now, f"low_w_{layer}"), f"low_{layer}"),
            *linear(f"low_{layer}", f"high_w_{layer}", f"high_b_{layer}", f"high_{layer}"),
            Step("Mul", ("crossed_0", f"high_{layer}"), f"times_{layer}"),
            Step("Add", (now, f"times_{layer}"), f"crossed_{layer + 1}"),
        ]
    return held, (*steps, Step("Identity", (f"crossed_{len(weights['low_w'])}",), "crossed"))


def _scale_steps(weights: Mapping[str, NDArray[np.float32]]) -> tuple[Step, ...]:
    """What the viewer's surface and activity multiply the hidden layer by, where the model has that."""
    if not len(weights["scale_b"]):
        return (Step("Identity", ("crossed",), "scaled"),)
    return (
        *linear("user_finite", "scale_w", "scale_b", "scale_sum"),
        Step("Sigmoid", ("scale_sum",), "scale_half"),
        Step("Mul", ("scale_half", "two"), "scale"),
        Step("Mul", ("crossed", "scale"), "scaled"),
    )


def _watch_steps(weights: Mapping[str, NDArray[np.float32]]) -> tuple[Arrays, tuple[Step, ...]]:
    """Seven log odds and log(1 + seconds): thresholds of the watch time become the seconds they stand for."""
    width = weights["watch_width"]
    if not len(width):
        return {}, (Step("Identity", ("answers",), "logits"),)
    return {"seconds_width": width[:, None], "to_answers": np.array([len(HEADS) + len(width)], np.int64)}, (
        Step("Slice", ("answers", "from_0", "to_heads", "axis_1"), "answers_heads"),
        Step("Slice", ("answers", "to_heads", "to_answers", "axis_1"), "answers_watch"),
        Step("Sigmoid", ("answers_watch",), "passed"),
        Step("MatMul", ("passed", "seconds_width"), "passed_seconds"),
        Step("Add", ("passed_seconds", "one"), "passed_and_1"),
        Step("Log", ("passed_and_1",), "passed_log"),
        Step("Concat", ("answers_heads", "passed_log"), "logits", {"axis": 1}),
    )


def calibration_steps(calibrators: Calibrators) -> tuple[Arrays, tuple[Step, ...]]:
    """The tabulated maps at the log odds, as ``RequestCalibrators`` has them; then probabilities and seconds."""
    tables = calibrators.tables
    surfaces, heads, places = tables.shape
    rises = np.diff(tables, axis=2, append=tables[:, :, -1:])
    held: Arrays = {
        "map_starts": tables.reshape(-1),
        "map_rises": rises.astype(np.float32).reshape(-1),
        "grid_low": np.array(GRID[0], np.float32),
        "grid_high": np.array(GRID[-1] - 0.001 * (GRID[1] - GRID[0]), np.float32),
        "grid_step": np.array(GRID[1] - GRID[0], np.float32),
        "surface_size": np.array(heads * places, np.int64),
        "head_at": np.arange(heads, dtype=np.int64) * places,
        "unknown_surface": np.array(surfaces - 1, np.int64),
    }
    steps = (
        *_code("surface", "unknown_surface"),
        Step("Mul", ("surface_known", "surface_size"), "surface_at"),
        Step("Unsqueeze", ("surface_at", "axis_1"), "surface_column"),
        Step("Slice", ("logits", "from_0", "to_heads", "axis_1"), "odds_raw"),
        Step("Clip", ("odds_raw", "grid_low", "grid_high"), "odds_clipped"),
        Step("Sub", ("odds_clipped", "grid_low"), "odds_from"),
        Step("Div", ("odds_from", "grid_step"), "odds_at"),
        Step("Floor", ("odds_at",), "odds_low"),
        Step("Sub", ("odds_at", "odds_low"), "odds_share"),
        Step("Cast", ("odds_low",), "odds_place", {"to": 7}),
        *summed(("odds_place", "head_at", "surface_column"), "map_at"),
        Step("Gather", ("map_starts", "map_at"), "map_start"),
        Step("Gather", ("map_rises", "map_at"), "map_rise"),
        Step("Mul", ("map_rise", "odds_share"), "map_within"),
        Step("Add", ("map_start", "map_within"), "odds_mapped"),
    )
    cells, odds = _cell_steps(calibrators)
    held |= cells
    return held, (
        *steps,
        *odds,
        Step("Sigmoid", ("odds",), "probabilities"),
        Step("Slice", ("logits", "to_heads", "to_all", "axis_1"), "log_seconds_raw"),
        Step("Clip", ("log_seconds_raw", "zero", "ten"), "log_seconds"),
        Step("Exp", ("log_seconds",), "seconds_and_1"),
        Step("Sub", ("seconds_and_1", "one"), "seconds"),
        Step("Concat", ("probabilities", "seconds"), OUTPUT, {"axis": 1}),
    )


def _cell_steps(calibrators: Calibrators) -> tuple[Arrays, tuple[Step, ...]]:
    """What a surface's cell adds, where calibration has cells."""
    if not calibrators.offsets.any():
        return {}, (Step("Identity", ("odds_mapped",), "odds"),)
    surfaces, cells, heads = calibrators.offsets.shape
    held: Arrays = {
        "cell_offsets": calibrators.offsets.reshape(surfaces * cells, heads),
        "cells": np.array(cells, np.int64),
        "unknown_cell": np.array(cells - 1, np.int64),
    }
    return held, (
        *_code("cell", "unknown_cell"),
        Step("Mul", ("surface_known", "cells"), "cell_row"),
        Step("Add", ("cell_row", "cell_known"), "cell_at"),
        Step("Gather", ("cell_offsets", "cell_at"), "cell_offset"),
        Step("Add", ("odds_mapped", "cell_offset"), "odds"),
    )


def _code(name: str, unknown: str) -> tuple[Step, ...]:
    """A code that no table was learned for becomes the unknown one."""
    return (
        Step("Less", (name, "zero_code"), f"{name}_below"),
        Step("Greater", (name, unknown), f"{name}_above"),
        Step("Or", (f"{name}_below", f"{name}_above"), f"{name}_off"),
        Step("Where", (f"{name}_off", unknown, name), f"{name}_known"),
    )


def _constants() -> Arrays:
    return {
        "axis_1": np.array([1], np.int64),
        "from_0": np.array([0], np.int64),
        "to_heads": np.array([len(HEADS)], np.int64),
        "to_all": np.array([len(PREDICTIONS)], np.int64),
        "zero": np.array(0.0, np.float32),
        "one": np.array(1.0, np.float32),
        "two": np.array(2.0, np.float32),
        "ten": np.array(10.0, np.float32),
        "zero_code": np.array(0, np.int64),
    }
