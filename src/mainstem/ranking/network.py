"""What the ranker predicts for candidates: the trained network as plain matrix products, without torch."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.features.catalog import DURATION_BUCKETS, KIND_SLOTS, Catalog
from mainstem.features.language.feature import Role
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.unified import UNIFIED

Array = NDArray[np.float32]

EXPERTS: Final = 3
"""Experts of a model that was written before heads had groups."""

_PART: Final = 32_768
_TILE: Final = 168
STATIC_DIM: Final = DURATION_BUCKETS + KIND_SLOTS + 1
WEIGHTS: Final = (
    "user_in", "user_bias", "item_in", "cross_in", "static_in", "vector_in", "id_in", "category_in",
    "low_w", "high_w", "high_b", "scale_w", "scale_b",
    "expert_w", "expert_b", "gate_w", "gate_b", "gate_open", "head_w", "head_user_w", "head_item_w", "head_b",
    "watch_at", "watch_width", "moment_in", "moment_bias", "moment_out",
)  # fmt: skip
"""Every weight, in the order they are used. The standardisation of the inputs is folded into the first layer.

Shapes, for u, i and x columns of the user, the item and the pair, h hidden, e experts of width w, g groups of heads, l crosses of
rank r, and c answers (seven heads, then one a threshold of the watch time, or one for its logarithm):
    ``low_w[l, h, r]``, ``high_w[l, r, h]`` and ``high_b[l, h]`` the crosses; ``scale_w[u, h]`` and ``scale_b[h]`` what surface and
    activity multiply the hidden layer by, or ``[u, 0]`` and ``[0]``; ``expert_w[h, e · w]``; ``gate_w[u, g · e]``;
    ``gate_open[g, e, c]`` is 1 where a head of the group reads an expert; ``head_w[w, c]``; ``watch_at[c - 7]`` the thresholds of
    the watch time and ``watch_width[c - 7]`` the seconds passing each stands for, or ``[0]``.
"""

LATER: Final = ("low_w", "high_w", "high_b", "scale_w", "scale_b", "gate_open", "watch_at", "watch_width")
"""Weights that models did not always have: without them nothing is crossed and all heads are one group."""


def completed(weights: dict[str, Array]) -> dict[str, Array]:
    """Weights with the parts that an older model lacks, so that it predicts what it always did."""
    (users, hidden), answers = weights["user_in"].shape, len(weights["head_b"])
    plain = {
        "low_w": (0, hidden, 1), "high_w": (0, 1, hidden), "high_b": (0, hidden), "scale_w": (users, 0), "scale_b": (0,),
        "watch_at": (0,), "watch_width": (0,),
    }  # fmt: skip
    added = {name: np.zeros(shape, np.float32) for name, shape in plain.items()}
    return added | {"gate_open": np.ones((1, len(weights["gate_b"]), answers), np.float32)} | weights


def static_inputs(catalog: Catalog) -> Array:
    """What the network reads of an item that never changes: length and kind, one column a value."""
    items = catalog.items
    out = np.zeros((len(items) + 1, STATIC_DIM), np.float32)
    each = np.arange(len(out))
    out[each, items.duration_bucket.astype(np.int64)] = 1.0
    out[each, DURATION_BUCKETS + items.kind.astype(np.int64)] = 1.0
    out[:, -1] = np.log(np.maximum(items.duration_s, 1.0)) / 4.0
    return out


@dataclass(frozen=True, slots=True)
class _Working:
    """What one request is computed in. The last column of ``inputs`` is 1, the last row of both weights the user's share.

    Shapes: ``inputs[n, i + x + 1]``; of a tile of t candidates ``hidden[t, h]``, ``first[t, h]``, ``second[t, h]``,
    ``low[t, r]``, ``experts[t, e · w]``;
    ``first_w[i + x + 1, h]``, ``head_w[i + x + 1, c]``.
    """

    inputs: Array
    hidden: Array
    first: Array
    second: Array
    low: Array
    experts: Array
    first_w: Array
    head_w: Array


@dataclass(slots=True)
class Counters:
    """What had to be replaced while predicting."""

    not_finite: int = 0


class Network:
    """The trained network bound to a catalog: item inputs are multiplied once, the user side once a request.

    Shapes:
        first = user · user_in + item_first[row] + item · item_in + cross · cross_in; each cross adds first times a low-rank product
        of what stands so far; experts on top, mixed for each group of heads by a gate that reads the user side only; then one
        linear head a prediction, with the user's and the item's own columns read straight.
    """

    def __init__(self, weights: dict[str, Array], item_first: Array, features: FeatureSet = UNIFIED) -> None:
        whole = completed(weights)
        self._w = {name: np.ascontiguousarray(whole[name], np.float32) for name in WEIGHTS}
        self._item_first = np.ascontiguousarray(item_first, np.float32)
        roles: tuple[Role, ...] = ("user", "item", "cross")
        self._defaults = {role: np.array(features.defaults_of(role), np.float32) for role in roles}
        self._groups, self._experts, _ = self._w["gate_open"].shape
        self._shut = np.where(self._w["gate_open"].max(axis=2) > 0, 0.0, -np.inf).astype(np.float32)
        self._head_tiled = np.tile(self._w["head_w"], (self._experts, 1))
        self._crosses, self._scales = len(self._w["low_w"]), bool(len(self._w["scale_b"]))
        self._items = len(self._w["item_in"])
        self._local = threading.local()
        self.counters = Counters()

    @property
    def item_columns(self) -> int:
        """How many of the candidates' columns are the item's own."""
        return self._items

    @property
    def parameters(self) -> int:
        """How many numbers a prediction depends on, embeddings not counted."""
        return sum(self._w[name].size for name in WEIGHTS if name not in ("id_in", "category_in"))

    def predict(self, user: Array, item_rows: NDArray[np.int32], item: Array, cross: Array, surface: int = -1) -> Array:
        """Seven probabilities and the expected seconds watched, uncalibrated.

        Args:
            user: the viewer's side of the request.
            item_rows: Catalog rows of the candidates, -1 for an unknown item.
            item: the item columns of the candidates.
            cross: the cross columns of the candidates.
            surface: Not read here (the user side holds it); calibration needs it.

        Shapes:
            ``user`` is ``[u]``, ``item`` ``[n, i]``, ``cross`` ``[n, x]``; the answer is ``[n, 8]``.
        """
        del surface
        return _outputs(self.logits(user, item_rows, item, cross))

    def logits(self, user: Array, item_rows: NDArray[np.int32], item: Array, cross: Array) -> Array:
        """The heads before their last function: log odds, and log(1 + seconds).

        The user side is one more row of the stacked first layer, which a column of ones picks up: one product of the
        inputs, one gather of what never changes, the crosses, one product of the experts.
        """
        w, work = self._w, self._working(len(item_rows))
        user = self._finite("user", user)
        work.inputs[:, : self._items] = item
        work.inputs[:, self._items : -1] = cross
        self._finite_inputs(work.inputs)
        np.add(user @ w["user_in"], w["user_bias"], out=work.first_w[-1])
        np.add(user @ w["head_user_w"], w["head_b"], out=work.head_w[-1])
        scale = self._scale(user) if self._scales else None
        width = work.experts.shape[1] // self._experts
        mixed = np.repeat(self._gates(user[None])[0], width, axis=0) * self._head_tiled
        logits = work.inputs @ work.head_w
        for start in range(0, len(item_rows), _TILE):
            at = slice(start, start + _TILE)
            logits[at] += self._tile(work, work.inputs[at], item_rows[at], scale) @ mixed
        return self._told(logits)

    def _tile(self, work: _Working, inputs: Array, item_rows: NDArray[np.int32], scale: Array | None) -> Array:
        """What the experts say of some candidates. As many as leave the processor's second cache room for the weights."""
        w, n = self._w, len(inputs)
        hidden, first, experts = work.hidden[:n], work.first[:n], work.experts[:n]
        np.matmul(inputs, work.first_w, out=hidden)
        np.take(self._item_first, item_rows, axis=0, out=first, mode="wrap")
        np.add(hidden, first, out=hidden)
        if self._crosses:
            hidden = self._crossed(work, n)
        if scale is not None:
            np.multiply(hidden, scale, out=hidden)
        np.maximum(hidden, 0.0, out=hidden)
        np.matmul(hidden, w["expert_w"], out=experts)
        np.add(experts, w["expert_b"], out=experts)
        return np.maximum(experts, 0.0, out=experts)

    def _crossed(self, work: _Working, n: int) -> Array:
        """Each cross adds the first layer times a low-rank product of what stands so far.

        Source: DCN V2, Wang et al., WWW 2021, equation 2 with a low-rank matrix.
        """
        w, low, first = self._w, work.low[:n], work.hidden[:n]
        now, other = first, work.first[:n]
        for layer in range(self._crosses):
            np.matmul(now, w["low_w"][layer], out=low)
            np.matmul(low, w["high_w"][layer], out=other)
            np.add(other, w["high_b"][layer], out=other)
            np.multiply(other, first, out=other)
            np.add(now, other, out=other)
            now, other = other, (work.second[:n] if now is first else now)
        return now

    def _scale(self, user: Array) -> Array:
        """What the hidden layer is multiplied by: 0 to 2. Shapes: ``[..., u]`` to ``[..., h]``."""
        odds = np.clip(user @ self._w["scale_w"] + self._w["scale_b"], -30.0, 30.0)
        return np.asarray(2.0 / (1.0 + np.exp(-odds)), np.float32)

    def _gates(self, user: Array) -> Array:
        """How much of each expert each head reads. Shapes: ``[n, u]`` to ``[n, e, c]``."""
        w = self._w
        chosen = (user @ w["gate_w"] + w["gate_b"]).reshape(len(user), self._groups, self._experts)
        chosen = _softmax(chosen + self._shut)
        return np.asarray(np.einsum("nge,gec->nec", chosen, w["gate_open"]), np.float32)

    def _told(self, logits: Array) -> Array:
        """Seven log odds and log(1 + seconds); thresholds of the watch time become the seconds they stand for."""
        width = self._w["watch_width"]
        if not len(width):
            return np.asarray(logits, np.float32)
        out = np.empty((len(logits), len(PREDICTIONS)), np.float32)
        out[:, : len(HEADS)] = logits[:, : len(HEADS)]
        passed = 1.0 / (1.0 + np.exp(-np.clip(logits[:, len(HEADS) :], -30.0, 30.0)))
        np.log1p(passed @ width, out=out[:, -1])
        return out

    def _working(self, n: int) -> _Working:
        """Working arrays of this thread, kept between requests: fresh ones would cost a page fault every 4 kB."""
        held: _Working | None = getattr(self._local, "arrays", None)
        if held is None or len(held.inputs) < n:
            w, size = self._w, max(n, 512)
            ones = np.ones((size, self._items + len(w["cross_in"]) + 1), np.float32)
            hidden, experts = w["expert_w"].shape
            held = self._local.arrays = _Working(
                inputs=ones,
                hidden=np.empty((_TILE, hidden), np.float32),
                first=np.empty((_TILE, hidden), np.float32),
                second=np.empty((_TILE, hidden), np.float32),
                low=np.empty((_TILE, w["low_w"].shape[2]), np.float32),
                experts=np.empty((_TILE, experts), np.float32),
                first_w=np.concatenate([w["item_in"], w["cross_in"], w["user_bias"][None]]),
                head_w=np.concatenate(
                    [w["head_item_w"], np.zeros((len(w["cross_in"]), len(w["head_b"])), np.float32), w["head_b"][None]]
                ),
            )
        return replace(held, inputs=held.inputs[:n])

    def many(self, user: Array, item_rows: NDArray[np.int32], item: Array, cross: Array) -> Array:
        """The same for n requests with one candidate each. Shapes: ``user`` is ``[n, u]``, the answer ``[n, 8]``."""
        parts = [slice(start, start + _PART) for start in range(0, max(1, len(user)), _PART)]
        return np.concatenate([self._many(user[at], item_rows[at], item[at], cross[at]) for at in parts])

    def _many(self, user: Array, item_rows: NDArray[np.int32], item: Array, cross: Array) -> Array:
        w = self._w
        user, item, cross = self._finite("user", user), self._finite("item", item), self._finite("cross", cross)
        first = user @ w["user_in"] + w["user_bias"] + item @ w["item_in"] + cross @ w["cross_in"]
        first += self._item_first[item_rows]
        hidden = first
        for low, high, bias in zip(w["low_w"], w["high_w"], w["high_b"], strict=True):
            hidden = first * (hidden @ low @ high + bias) + hidden
        hidden = np.maximum(hidden * self._scale(user) if self._scales else hidden, 0.0)
        experts = np.maximum(hidden @ w["expert_w"] + w["expert_b"], 0.0).reshape(len(user), self._experts, -1)
        heads: Array = np.asarray(item @ w["head_item_w"] + user @ w["head_user_w"] + w["head_b"], np.float32)
        gates = self._gates(user)
        for at in range(self._experts):
            heads += np.asarray((experts[:, at] @ w["head_w"]) * gates[:, at], np.float32)
        return _outputs(self._told(heads))

    def moment(self, user: Array) -> Array:
        """What is added to the log odds of a long view when moments of one user are ordered; the same for all candidates.

        Shapes:
            ``user`` is ``[n, u]``, the answer ``[n]``.
        """
        w = self._w
        hidden = np.maximum(self._finite("user", user) @ w["moment_in"] + w["moment_bias"], 0.0)
        return np.asarray(hidden @ w["moment_out"], np.float32)

    def _finite_inputs(self, inputs: Array) -> None:
        """The same for the candidates' inputs, in place."""
        with np.errstate(all="ignore"):
            if np.isfinite(inputs.sum()):
                return
        parts = {"item": inputs[:, : self._items], "cross": inputs[:, self._items : -1]}
        for group, part in parts.items():
            part[:] = self._finite(group, part)

    def _finite(self, group: str, values: Array) -> Array:
        """Replaces what is not finite by the declared default, and counts it."""
        with np.errstate(all="ignore"):
            if np.isfinite(values.sum()):
                return values
        bad = ~np.isfinite(values)
        self.counters.not_finite += int(bad.sum())
        return np.where(bad, self._defaults[group], values)


def item_first(
    weights: dict[str, Array], catalog: Catalog, vectors: Array, id_rows: NDArray, category_rows: NDArray
) -> Array:
    """The first layer's share of every item, computed when a model meets a catalog. Shapes: ``[items + 1, hidden]``."""
    return (
        static_inputs(catalog) @ weights["static_in"]
        + vectors @ weights["vector_in"]
        + weights["id_in"][id_rows]
        + weights["category_in"][category_rows]
    ).astype(np.float32)


def _softmax(x: Array) -> Array:
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def _outputs(logits: Array) -> Array:
    out = np.clip(logits, -30.0, 30.0)
    heads = out[:, : len(HEADS)]
    np.negative(heads, out=heads)
    np.exp(heads, out=heads)
    heads += 1.0
    np.reciprocal(heads, out=heads)
    out[:, -1] = np.expm1(np.clip(out[:, -1], 0.0, 10.0))
    return out
