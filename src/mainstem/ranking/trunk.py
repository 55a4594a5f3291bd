"""The network of ``network.py`` in torch, and its export. Only training imports this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mainstem.base.heads import HEADS, WATCH
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.statics import VECTOR_DIM
from mainstem.ranking.network import STATIC_DIM

LEANS_ON = {"follow": "like", "comment": "like", "forward": "like"}
"""Rare heads that start from another head's rates too: who likes much also follows, comments and forwards more."""

ID_DIM = 16
"""Numbers an item's own embedding has before it is widened to the hidden layer."""

GROUPS: Final = (("click", "long_view", WATCH), ("like", "follow", "comment", "forward", "hate"))
"""Heads that share experts of their own: what is watched, and what is done about it."""

GATED_BY: Final = ("surface_", "activity", "lifetime_count", "recent_count", "time_known")
"""What the gates read: columns whose name begins so. Surface, activity, and whether anything is known of the viewer."""


@dataclass(frozen=True, slots=True)
class TrunkShape:
    """How wide the network is, which of its parts it has, and how much of it is left out at random while it learns.

    Attributes:
        experts: Experts that all heads read.
        group_experts: Further experts of each of ``GROUPS``; 0 makes one group of all heads.
        crosses: Low-rank crosses of the first layer; 0 has none.
        cross_rank: Their rank.
        scaled: Whether surface and activity also multiply the hidden layer.
        gated_by_all: Gates read all user columns, not those of ``GATED_BY`` alone.
    """

    hidden: int = 160
    expert: int = 64
    experts: int = 2
    group_experts: int = 1
    crosses: int = 1
    cross_rank: int = 24
    scaled: bool = False
    gated_by_all: bool = False
    dropout: float = 0.3
    id_dropout: float = 0.7


@dataclass(frozen=True, slots=True)
class Columns:
    """How many inputs the network has of each kind, and how many answers.

    Attributes:
        levels: Thresholds of the watch time; 0 answers its logarithm.
    """

    user: int
    item: int
    cross: int
    ids: int
    categories: int
    levels: int = 0

    @property
    def answers(self) -> int:
        """Seven heads, and what stands for the watch time."""
        return len(HEADS) + max(self.levels, 1)


class Trunk(nn.Module):
    """The network of ``network.py`` in torch. Inputs are standardised; the export folds that into the first layer."""

    gated: Tensor
    opened: Tensor

    def __init__(self, shape: TrunkShape, columns: Columns, features: FeatureSet, bias: Tensor) -> None:
        super().__init__()
        self._names = {"user": features.columns_of("user"), "item": features.columns_of("item")}
        hidden, answers = shape.hidden, columns.answers
        self.shape, self.columns = shape, columns
        self.user_in = nn.Linear(columns.user, hidden)
        self.item_in = nn.Linear(columns.item, hidden, bias=False)
        self.cross_in = nn.Linear(columns.cross, hidden, bias=False)
        self.static_in = nn.Linear(STATIC_DIM, hidden, bias=False)
        self.vector_in = nn.Linear(VECTOR_DIM, hidden, bias=False)
        self.id_code = nn.Embedding(columns.ids + 1, ID_DIM)
        self.id_in = nn.Linear(ID_DIM, hidden, bias=False)
        self.category_in = nn.Embedding(columns.categories + 1, hidden)
        self.low = nn.ModuleList(nn.Linear(hidden, shape.cross_rank, bias=False) for _ in range(shape.crosses))
        self.high = nn.ModuleList(nn.Linear(shape.cross_rank, hidden) for _ in range(shape.crosses))
        self.scale = nn.Linear(columns.user, hidden) if shape.scaled else None
        opened = opened_experts(shape, answers)
        groups, experts, _ = opened.shape
        self.experts = nn.Linear(hidden, experts * shape.expert)
        self.gate = nn.Linear(columns.user, groups * experts)
        self.head = nn.Linear(shape.expert, answers)
        self.head_user = nn.Linear(columns.user, answers, bias=False)
        self.head_item = nn.Linear(columns.item, answers, bias=False)
        self.dropout = nn.Dropout(shape.dropout)
        self.register_buffer("opened", torch.from_numpy(opened), persistent=False)
        self.register_buffer("gated", torch.from_numpy(gate_inputs(shape, self._names["user"])), persistent=False)
        self._begin(bias)

    @torch.no_grad()
    def _begin(self, bias: Tensor) -> None:
        """Parts that only add to what the others say begin at nothing."""
        quiet = [self.id_code, self.category_in, self.gate, self.head_user, self.head_item, *self.high]
        for layer in quiet if self.scale is None else [*quiet, self.scale]:
            assert isinstance(layer, nn.Linear | nn.Embedding)
            layer.weight.zero_()
        for layer in self.high if self.scale is None else [*self.high, self.scale]:
            assert isinstance(layer, nn.Linear)
            layer.bias.zero_()
        self.head.bias.copy_(bias)

    @torch.no_grad()
    def start_from_rates(
        self, scales: dict[str, tuple[NDArray, NDArray]], trust: float, heads: Sequence[str] = HEADS
    ) -> None:
        """Begins each head at the sum of its user's and its item's own rates, so that rare heads have little left to learn."""
        for layer, group in ((self.head_user, "user"), (self.head_item, "item")):
            columns = self._names[group]
            for name in heads:
                for source in {name, LEANS_ON.get(name, name)}:
                    at = columns.index(f"{group}_lift_{source}")
                    layer.weight[HEADS.index(name), at] = trust * float(scales[group][1][at])

    @torch.no_grad()
    def silence(self, taught: Sequence[str], bias: Tensor) -> None:
        """Puts every head that is not taught at its base rate, before training and after: its bias too is drawn to nothing.

        Args:
            taught: The heads that are.
            bias: The log odds of all answers' base rates.
        """
        names = [*HEADS, *[WATCH] * (self.columns.answers - len(HEADS))]
        quiet = torch.tensor([name not in taught for name in names])
        for layer in (self.head, self.head_user, self.head_item):
            layer.weight[quiet] = 0.0
        self.head.bias[quiet] = bias[quiet]

    @torch.no_grad()
    def forget(self, still: dict[str, NDArray[np.bool_]]) -> None:
        """Reads nothing of columns that never moved: a surface or a class that training never saw changes no score.

        Args:
            still: Which columns of each side; they are 0 in every row that is learned from, so that they stay forgotten.
        """
        layers = {
            "user": [self.user_in, self.gate, self.head_user, *([] if self.scale is None else [self.scale])],
            "item": [self.item_in, self.head_item],
            "cross": [self.cross_in],
        }
        for side, some in still.items():
            for layer in layers[side]:
                layer.weight[:, torch.from_numpy(some)] = 0.0

    def forward(
        self, user: Tensor, item: Tensor, cross: Tensor, static: Tensor, vector: Tensor, ids: Tensor, categories: Tensor
    ) -> Tensor:
        """Log odds of the heads, then of the watch time's thresholds, or log(1 + seconds). Shapes: [n, answers]."""
        if self.training:
            ids = ids * (torch.rand(len(ids)) >= self.shape.id_dropout)
        first = self.user_in(user) + self.item_in(item) + self.cross_in(cross) + self.static_in(static)
        first = first + self.vector_in(vector) + self.id_in(self.id_code(ids)) + self.category_in(categories)
        hidden = first
        for low, high in zip(self.low, self.high, strict=True):
            hidden = first * high(low(hidden)) + hidden
        if self.scale is not None:
            hidden = hidden * (2.0 * torch.sigmoid(self.scale(user * self.gated)))
        experts = torch.relu(self.experts(self.dropout(torch.relu(hidden))))
        return self._answers(experts, user) + self.head_user(user) + self.head_item(item)

    def _answers(self, experts: Tensor, user: Tensor) -> Tensor:
        """Every group's mix of the experts, read by the group's heads."""
        groups, each, _ = self.opened.shape
        experts = experts.view(len(user), each, -1)
        gates = self.gate(user * self.gated).view(len(user), groups, each)
        gates = torch.softmax(gates.masked_fill(self.opened.amax(dim=2) == 0, -torch.inf), dim=2)
        if groups == 1:
            return self.head(self.dropout((experts * gates[:, 0, :, None]).sum(dim=1)))
        mixed = self.dropout(torch.bmm(gates, experts))
        answers = mixed @ self.head.weight.T
        return (answers * self.opened.amax(dim=1)).sum(dim=1) + self.head.bias


def opened_experts(shape: TrunkShape, answers: int) -> NDArray[np.float32]:
    """Which experts each head reads: the shared ones and those of its group. Shapes: ``[groups, experts, answers]``."""
    names = [*HEADS, *[WATCH] * (answers - len(HEADS))]
    if not shape.group_experts:
        return np.ones((1, shape.experts, answers), np.float32)
    out = np.zeros((len(GROUPS), shape.experts + len(GROUPS) * shape.group_experts, answers), np.float32)
    for at, group in enumerate(GROUPS):
        own = shape.experts + at * shape.group_experts
        reads = np.zeros(out.shape[1], bool)
        reads[: shape.experts] = reads[own : own + shape.group_experts] = True
        out[at] = reads[:, None] & np.isin(names, group)[None]
    return out


def gate_inputs(shape: TrunkShape, user: Sequence[str]) -> NDArray[np.float32]:
    """1 for the user columns that the gates read."""
    reads = [shape.gated_by_all or name.startswith(GATED_BY) for name in user]
    return np.array(reads, np.float32)


def exported(net: Trunk, scales: dict[str, tuple[NDArray, NDArray]]) -> dict[str, NDArray[np.float32]]:
    """The weights for ``network.py``, with the standardisation of the inputs folded in."""
    w = {name: value.detach().numpy().astype(np.float64) for name, value in net.named_parameters()}
    shape, hidden = net.shape, net.shape.hidden
    out: dict[str, NDArray] = {}
    shift = np.zeros(hidden)
    for group, (mean, std) in scales.items():
        out[f"{group}_in"] = (w[f"{group}_in.weight"] / std).T
        shift += w[f"{group}_in.weight"] @ (mean / std)
    mean, std = scales["user"]
    gated = net.gated.numpy().astype(np.float64)
    out["user_bias"] = w["user_in.bias"] - shift
    for name in ("static_in", "vector_in"):
        out[name] = w[f"{name}.weight"].T
    out["id_in"] = w["id_code.weight"] @ w["id_in.weight"].T
    out["category_in"] = w["category_in.weight"]
    layers = range(shape.crosses)
    none = np.zeros((0, hidden, shape.cross_rank))
    out["low_w"] = np.array([w[f"low.{at}.weight"].T for at in layers]) if shape.crosses else none
    out["high_w"] = np.array([w[f"high.{at}.weight"].T for at in layers]) if shape.crosses else none.transpose(0, 2, 1)
    out["high_b"] = np.array([w[f"high.{at}.bias"] for at in layers]) if shape.crosses else np.zeros((0, hidden))
    for name in ("scale", "gate"):
        held = w.get(f"{name}.weight", np.zeros((0, len(mean)))) * gated
        out[f"{name}_w"] = (held / std).T
        out[f"{name}_b"] = w.get(f"{name}.bias", np.zeros(0)) - held @ (mean / std)
    out["expert_w"], out["expert_b"] = w["experts.weight"].T, w["experts.bias"]
    out["gate_open"] = net.opened.numpy()
    out["head_w"] = w["head.weight"].T
    out["head_b"] = w["head.bias"]
    for group in ("user", "item"):
        mean, std = scales[group]
        out[f"head_{group}_w"] = (w[f"head_{group}.weight"] / std).T
        out["head_b"] = out["head_b"] - w[f"head_{group}.weight"] @ (mean / std)
    return {name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}
