"""The network of ``network.py`` in torch, and its export. Only training imports this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.statics import VECTOR_DIM
from mainstem.ranking.network import EXPERTS, STATIC_DIM

LEANS_ON = {"follow": "like", "comment": "like", "forward": "like"}
"""Rare heads that start from another head's rates too: who likes much also follows, comments and forwards more."""

ID_DIM = 16
"""Numbers an item's own embedding has before it is widened to the hidden layer."""


@dataclass(frozen=True, slots=True)
class TrunkShape:
    """How wide the network is and how much of it is left out at random while it learns."""

    hidden: int = 192
    expert: int = 96
    dropout: float = 0.3
    id_dropout: float = 0.7


class Trunk(nn.Module):
    """The network of ``network.py`` in torch. Inputs are standardised; the export folds that into the first layer."""

    def __init__(self, settings: TrunkShape, features: FeatureSet, n_ids: int, n_categories: int, bias: Tensor) -> None:
        super().__init__()
        self._columns = {"user": features.columns_of("user"), "item": features.columns_of("item")}
        user, item, cross = (len(features.columns_of(role)) for role in ("user", "item", "cross"))
        hidden, expert = settings.hidden, settings.expert
        self.user_in = nn.Linear(user, hidden)
        self.item_in = nn.Linear(item, hidden, bias=False)
        self.cross_in = nn.Linear(cross, hidden, bias=False)
        self.static_in = nn.Linear(STATIC_DIM, hidden, bias=False)
        self.vector_in = nn.Linear(VECTOR_DIM, hidden, bias=False)
        self.id_code = nn.Embedding(n_ids + 1, ID_DIM)
        self.id_in = nn.Linear(ID_DIM, hidden, bias=False)
        self.category_in = nn.Embedding(n_categories + 1, hidden)
        self.experts = nn.Linear(hidden, EXPERTS * expert)
        self.gate = nn.Linear(user, EXPERTS)
        self.head = nn.Linear(expert, len(PREDICTIONS))
        self.head_user = nn.Linear(user, len(PREDICTIONS), bias=False)
        self.head_item = nn.Linear(item, len(PREDICTIONS), bias=False)
        self.dropout, self.id_dropout = nn.Dropout(settings.dropout), settings.id_dropout
        with torch.no_grad():
            for table in (self.id_code, self.category_in):
                table.weight.zero_()
            for layer in (self.gate, self.head_user, self.head_item):
                layer.weight.zero_()
            self.head.bias.copy_(bias)

    @torch.no_grad()
    def start_from_rates(self, scales: dict[str, tuple[NDArray, NDArray]], trust: float) -> None:
        """Begins each head at the sum of its user's and its item's own rates, so that rare heads have little left to learn."""
        for layer, group in ((self.head_user, "user"), (self.head_item, "item")):
            columns = self._columns[group]
            for head, name in enumerate(HEADS):
                for source in {name, LEANS_ON.get(name, name)}:
                    at = columns.index(f"{group}_lift_{source}")
                    layer.weight[head, at] = trust * float(scales[group][1][at])

    def forward(
        self, user: Tensor, item: Tensor, cross: Tensor, static: Tensor, vector: Tensor, ids: Tensor, categories: Tensor
    ) -> Tensor:
        """Log odds of the heads and log(1 + seconds). Shapes: [n, 8]."""
        if self.training:
            ids = ids * (torch.rand(len(ids)) >= self.id_dropout)
        hidden = self.user_in(user) + self.item_in(item) + self.cross_in(cross) + self.static_in(static)
        hidden = hidden + self.vector_in(vector) + self.id_in(self.id_code(ids)) + self.category_in(categories)
        hidden = self.dropout(torch.relu(hidden))
        experts = torch.relu(self.experts(hidden)).view(len(user), EXPERTS, -1)
        mixed = (experts * torch.softmax(self.gate(user), dim=1)[:, :, None]).sum(dim=1)
        return self.head(self.dropout(mixed)) + self.head_user(user) + self.head_item(item)


def exported(net: Trunk, scales: dict[str, tuple[NDArray, NDArray]]) -> dict[str, NDArray[np.float32]]:
    """The weights for ``network.py``, with the standardisation of the inputs folded in."""
    w = {name: value.detach().numpy().astype(np.float64) for name, value in net.named_parameters()}
    out: dict[str, NDArray] = {}
    shift = np.zeros(w["user_in.weight"].shape[0])
    for group, (mean, std) in scales.items():
        out[f"{group}_in"] = (w[f"{group}_in.weight"] / std).T
        shift += w[f"{group}_in.weight"] @ (mean / std)
    mean, std = scales["user"]
    out["user_bias"] = w["user_in.bias"] - shift
    for name in ("static_in", "vector_in"):
        out[name] = w[f"{name}.weight"].T
    out["id_in"] = w["id_code.weight"] @ w["id_in.weight"].T
    out["category_in"] = w["category_in.weight"]
    out["expert_w"], out["expert_b"] = w["experts.weight"].T, w["experts.bias"]
    out["gate_w"] = (w["gate.weight"] / std).T
    out["gate_b"] = w["gate.bias"] - w["gate.weight"] @ (mean / std)
    out["head_w"] = w["head.weight"].T
    out["head_user_w"] = (w["head_user.weight"] / std).T
    out["head_b"] = w["head.bias"] - w["head_user.weight"] @ (mean / std)
    mean, std = scales["item"]
    out["head_item_w"] = (w["head_item.weight"] / std).T
    out["head_b"] = out["head_b"] - w["head_item.weight"] @ (mean / std)
    return {name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}
