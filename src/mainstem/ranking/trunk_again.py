"""What the network as it was trained says of the rows that its export ranks: torch beside numpy, from the same weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.features.catalog import Catalog
from mainstem.ranking.model import Model, embedding_rows
from mainstem.ranking.network import completed, static_inputs
from mainstem.ranking.trunk import ID_DIM, Columns, Trunk, TrunkShape, gate_inputs

Array = NDArray[np.float32]


def trunk_predictions(model: Model, catalog: Catalog, user: Array, rows: NDArray[np.int64], *sides: Array) -> Array:
    """The seven probabilities by ``Trunk.forward``, uncalibrated.

    Args:
        model: Its weights, which hold the inputs' standardisation already.
        catalog: Rows of items.
        user: The viewer's columns of each row.
        rows: Catalog rows; -1 for an unknown item.
        sides: The item columns and the cross columns of each row.

    Shapes: ``user[n, u]``, ``rows[n]``, ``sides`` ``[n, i]`` and ``[n, x]``; the answer is ``[n, 7]``.
    """
    vectors, _ = model.statics.on(catalog)
    ids = embedding_rows(model.ids, np.append(catalog.items.ids, -1))[rows]
    categories = embedding_rows(model.categories, catalog.items.category_id)[rows]
    inputs = [torch.from_numpy(np.ascontiguousarray(one)) for one in (user, *sides)]
    inputs += [
        torch.from_numpy(np.ascontiguousarray(one[rows], np.float32)) for one in (static_inputs(catalog), vectors)
    ]
    net = trunk_of(model)
    with torch.no_grad():
        logits = net(*inputs, torch.from_numpy(ids), torch.from_numpy(categories))
    return torch.sigmoid(logits[:, : len(HEADS)]).numpy()


def trunk_of(model: Model) -> Trunk:
    """The torch network that holds a model's weights, for inputs as they are."""
    w = completed(model.weights)
    answers = len(w["head_b"])
    shape, columns = (
        shape_of(w, model.features.columns_of("user")),
        Columns(
            user=len(w["user_in"]),
            item=len(w["item_in"]),
            cross=len(w["cross_in"]),
            ids=len(w["id_in"]) - 1,
            categories=len(w["category_in"]) - 1,
            levels=len(w["watch_at"]),
        ),
    )
    net = Trunk(shape, columns, model.features, torch.zeros(answers))
    code, widen = _factors(w["id_in"])
    held = {
        "user_in.weight": w["user_in"].T, "user_in.bias": w["user_bias"], "item_in.weight": w["item_in"].T,
        "cross_in.weight": w["cross_in"].T, "static_in.weight": w["static_in"].T, "vector_in.weight": w["vector_in"].T,
        "id_code.weight": code, "id_in.weight": widen.T, "category_in.weight": w["category_in"],
        "experts.weight": w["expert_w"].T, "experts.bias": w["expert_b"],
        "gate.weight": w["gate_w"].T, "gate.bias": w["gate_b"], "head.weight": w["head_w"].T, "head.bias": w["head_b"],
        "head_user.weight": w["head_user_w"].T, "head_item.weight": w["head_item_w"].T,
    }  # fmt: skip
    for at in range(shape.crosses):
        held |= {f"low.{at}.weight": w["low_w"][at].T, f"high.{at}.weight": w["high_w"][at].T}
        held[f"high.{at}.bias"] = w["high_b"][at]
    if shape.scaled:
        held |= {"scale.weight": w["scale_w"].T, "scale.bias": w["scale_b"]}
    net.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(one, np.float32)) for name, one in held.items()})
    return net.eval()


def shape_of(weights: dict[str, Array], user: Sequence[str]) -> TrunkShape:
    """How wide a network with these weights is, and which parts it has.

    Args:
        weights: Of a model.
        user: The names of the user columns.
    """
    beside = gate_inputs(TrunkShape(gated_by_all=False), user) == 0
    groups, experts, _ = weights["gate_open"].shape
    shared = int((weights["gate_open"].max(axis=2) > 0).all(axis=0).sum())
    return TrunkShape(
        hidden=weights["expert_w"].shape[0],
        expert=weights["expert_w"].shape[1] // experts,
        experts=shared,
        group_experts=(experts - shared) // groups,
        crosses=len(weights["low_w"]),
        cross_rank=weights["low_w"].shape[2],
        scaled=bool(len(weights["scale_b"])),
        gated_by_all=bool(weights["gate_w"][beside].any() or weights["scale_w"][beside].any()),
    )


def _factors(widened: Array) -> tuple[Array, Array]:
    """An embedding's codes and what widens them: the export holds their product, whose rank is at most ``ID_DIM``."""
    left, sizes, right = np.linalg.svd(widened.astype(np.float64), full_matrices=False)
    kept = min(ID_DIM, len(sizes))
    code, widen = np.zeros((len(widened), ID_DIM), np.float32), np.zeros((ID_DIM, widened.shape[1]), np.float32)
    code[:, :kept], widen[:kept] = left[:, :kept] * sizes[:kept], right[:kept]
    return code, widen
