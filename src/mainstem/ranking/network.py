"""What the ranker predicts for candidates: the trained network as plain matrix products, without torch."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.features import define
from mainstem.features.catalog import DURATION_BUCKETS, KIND_SLOTS, Catalog

Array = NDArray[np.float32]

EXPERTS: Final = 3
_PART: Final = 32_768
STATIC_DIM: Final = DURATION_BUCKETS + KIND_SLOTS + 1
WEIGHTS: Final = (
    "user_in", "user_bias", "item_in", "cross_in", "static_in", "vector_in", "id_in", "category_in",
    "expert_w", "expert_b", "gate_w", "gate_b", "head_w", "head_user_w", "head_item_w", "head_b",
    "moment_in", "moment_bias", "moment_out",
)  # fmt: skip
"""Every weight, in the order they are used. The standardisation of the inputs is folded into the first layer."""


def static_inputs(catalog: Catalog) -> Array:
    """What the network reads of an item that never changes: length and kind, one column a value."""
    items = catalog.items
    out = np.zeros((len(items) + 1, STATIC_DIM), np.float32)
    each = np.arange(len(out))
    out[each, items.duration_bucket.astype(np.int64)] = 1.0
    out[each, DURATION_BUCKETS + items.kind.astype(np.int64)] = 1.0
    out[:, -1] = np.log(np.maximum(items.duration_s, 1.0)) / 4.0
    return out


@dataclass(slots=True)
class Counters:
    """What had to be replaced while predicting."""

    not_finite: int = 0


class Network:
    """The trained network bound to a catalog: item inputs are multiplied once, the user side once a request.

    Shapes:
        hidden = act(user · user_in + item_first[row] + item · item_in + cross · cross_in), three experts on top, mixed by
        a gate that reads the user side only, then one linear head a prediction.
    """

    def __init__(self, weights: dict[str, Array], item_first: Array) -> None:
        self._w = {name: np.ascontiguousarray(weights[name], np.float32) for name in WEIGHTS}
        self._item_first = np.ascontiguousarray(item_first, np.float32)
        self._defaults = {
            "user": np.array(define.defaults(define.USER), np.float32),
            "item": np.array(define.defaults(define.ITEM), np.float32),
            "cross": np.array(define.defaults(define.CROSS), np.float32),
        }
        self._head_tiled = np.tile(self._w["head_w"], (EXPERTS, 1))
        self._local = threading.local()
        self.counters = Counters()

    @property
    def parameters(self) -> int:
        """How many numbers a prediction depends on, embeddings not counted."""
        return sum(self._w[name].size for name in WEIGHTS if name not in ("id_in", "category_in"))

    def predict(self, user: Array, item_rows: NDArray[np.int32], item: Array, cross: Array, surface: int = -1) -> Array:
        """Seven probabilities and the expected seconds watched, uncalibrated.

        Args:
            user: ``FeatureState.user_side`` of the request.
            item_rows: Catalog rows of the candidates, -1 for an unknown item.
            item: ``FeatureState.item_side`` of the candidates.
            cross: ``FeatureState.cross`` of the candidates.
            surface: Not read here (the user side holds it); calibration needs it.

        Shapes:
            ``user`` is ``[u]``, ``item`` ``[n, i]``, ``cross`` ``[n, x]``; the answer is ``[n, 8]``.
        """
        del surface
        return _outputs(self.logits(user, item_rows, item, cross))

    def logits(self, user: Array, item_rows: NDArray[np.int32], item: Array, cross: Array) -> Array:
        """The heads before their last function: log odds, and log(1 + seconds)."""
        w = self._w
        user, item, cross = self._finite("user", user), self._finite("item", item), self._finite("cross", cross)
        hidden, first, experts = self._scratch(len(item_rows))
        np.matmul(item, w["item_in"], out=hidden)
        np.matmul(cross, w["cross_in"], out=first)
        hidden += first
        np.take(self._item_first, item_rows, axis=0, out=first, mode="wrap")
        hidden += first
        hidden += user @ w["user_in"] + w["user_bias"]
        np.maximum(hidden, 0.0, out=hidden)
        np.matmul(hidden, w["expert_w"], out=experts)
        experts += w["expert_b"]
        np.maximum(experts, 0.0, out=experts)
        gate = _softmax(user @ w["gate_w"] + w["gate_b"])
        mixed = np.repeat(gate, experts.shape[1] // EXPERTS)[:, None] * self._head_tiled
        logits = experts @ mixed
        logits += item @ w["head_item_w"]
        logits += user @ w["head_user_w"] + w["head_b"]
        return np.asarray(logits, np.float32)

    def _scratch(self, n: int) -> tuple[Array, Array, Array]:
        """Working arrays of this thread, kept between requests: fresh ones would cost a page fault every 4 kB."""
        held: tuple[Array, Array, Array] | None = getattr(self._local, "arrays", None)
        if held is None or len(held[0]) < n:
            hidden, experts = self._w["expert_w"].shape
            size = max(n, 512)
            held = (
                np.empty((size, hidden), np.float32),
                np.empty((size, hidden), np.float32),
                np.empty((size, experts), np.float32),
            )
            self._local.arrays = held
        return held[0][:n], held[1][:n], held[2][:n]

    def many(self, user: Array, item_rows: NDArray[np.int32], item: Array, cross: Array) -> Array:
        """The same for n requests with one candidate each. Shapes: ``user`` is ``[n, u]``, the answer ``[n, 8]``."""
        parts = [slice(start, start + _PART) for start in range(0, max(1, len(user)), _PART)]
        return np.concatenate([self._many(user[at], item_rows[at], item[at], cross[at]) for at in parts])

    def _many(self, user: Array, item_rows: NDArray[np.int32], item: Array, cross: Array) -> Array:
        w = self._w
        user, item, cross = self._finite("user", user), self._finite("item", item), self._finite("cross", cross)
        hidden = user @ w["user_in"] + w["user_bias"] + item @ w["item_in"] + cross @ w["cross_in"]
        hidden = np.maximum(hidden + self._item_first[item_rows], 0.0)
        experts = np.maximum(hidden @ w["expert_w"] + w["expert_b"], 0.0)
        gate = _softmax(user @ w["gate_w"] + w["gate_b"])
        mixed = (experts.reshape(len(user), EXPERTS, -1) * gate[:, :, None]).sum(axis=1)
        return _outputs(mixed @ w["head_w"] + item @ w["head_item_w"] + user @ w["head_user_w"] + w["head_b"])

    def moment(self, user: Array) -> Array:
        """What is added to the log odds of a long view when moments of one user are ordered; the same for all candidates.

        Shapes:
            ``user`` is ``[n, u]``, the answer ``[n]``.
        """
        w = self._w
        return np.maximum(self._finite("user", user) @ w["moment_in"] + w["moment_bias"], 0.0) @ w["moment_out"]

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
