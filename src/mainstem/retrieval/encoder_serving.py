"""What a trained encoder answers, in plain matrix products without torch: query vectors of a user, scores of all items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences
from mainstem.retrieval.neural.checkpoint import read_state, write_state
from mainstem.retrieval.neural.windows import latest

Array = NDArray[np.float32]
Times = NDArray[np.int64] | None
Weights = Mapping[str, Array]
Forward = Callable[[Array, Times, Weights, int], Array]
"""A block without torch: rows, times, the block's weights by their torch names, heads; shapes as in ``neural.encoder.Block``."""

_PLACES: Final = 12_800
"""Places of users computed at once: their attention and the widest layer stay below some tens of megabytes."""


def norm(x: Array, weights: Weights, name: str) -> Array:
    """Layer normalisation. Shapes: any [..., dim]."""
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(1e-5))
    return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Array, weights: Weights, name: str) -> Array:
    """A linear layer. Shapes: [..., in] to [..., out]."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def transformer(x: Array, times_ms: Times, weights: Weights, heads: int) -> Array:
    """``neural.encoder.TransformerBlock`` without torch."""
    n, length, dim = x.shape
    parts = linear(norm(x, weights, "norm_in"), weights, "qkv").reshape(n, length, 3, heads, dim // heads)
    q, k, v = np.moveaxis(parts, (2, 3), (0, 2))
    marks = q @ np.swapaxes(k, 2, 3) * np.float32((dim // heads) ** -0.5)
    marks[:, :, np.triu(np.ones((length, length), bool), 1)] = -np.inf
    marks = np.exp(marks - marks.max(axis=-1, keepdims=True))
    marks /= marks.sum(axis=-1, keepdims=True)
    x = x + linear(np.swapaxes(marks @ v, 1, 2).reshape(n, length, dim), weights, "out")
    return x + linear(np.maximum(linear(norm(x, weights, "norm_mid"), weights, "up"), 0.0), weights, "down")


FORWARDS: Final[dict[str, Forward]] = {"transformer": transformer}
"""By the kinds of ``neural.encoder.BLOCKS``; another kind's module adds its own."""

GAP_BUCKETS: Final = 24


def forward_of(kind: str) -> Forward | None:
    """The block of a kind; None for one that nobody wrote."""
    if kind.startswith("hstu"):
        import mainstem.retrieval.hstu_serving  # noqa: F401 - it registers its kinds
    return FORWARDS.get(kind)


def gap_buckets(times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """As ``neural.encoder.gap_buckets``."""
    seconds = np.maximum(np.diff(times_ms, axis=1), 0).astype(np.float32) / np.float32(1000.0)
    buckets = np.minimum(np.log2(seconds + np.float32(1.0)).astype(np.int64) + 1, GAP_BUCKETS - 1)
    return np.pad(buckets, ((0, 0), (1, 0)))


@dataclass(frozen=True, slots=True)
class EncoderModel:
    """A trained encoder as arrays and a card; it answers ``NextItem``.

    Attributes:
        weights: ``vectors[items, dim]`` (id and marks together), ``counts[items]`` (how often each was learned from), and
            the layers by their torch names.
        card: Settings, data, validation curve, cost.
    """

    weights: dict[str, Array]
    card: dict[str, Any]

    @property
    def name(self) -> str:
        """How tables call it."""
        return str(self.card["name"])

    @property
    def shape(self) -> dict[str, Any]:
        """Size and parts, as ``EncoderShape`` has them."""
        return self.card["shape"]

    @property
    def keys(self) -> Array:
        """Item vectors as an index of inner products holds them. Shapes: [items, dim]."""
        return _unit(self.weights["vectors"]) if self.shape["cosine"] else self.weights["vectors"]

    def queries(self, items: NDArray[np.integer], times_ms: Times = None) -> Array:
        """One user's query vectors from what they took, oldest first; nobody's without events.

        Shapes: items [events], ``times_ms`` [events]; the answer [queries, dim].
        """
        kept = items[-self.shape["length"] :].astype(np.int64)[None]
        if not kept.size:
            return np.zeros((self.shape["queries"], self.shape["dim"]), np.float32)
        times = None if times_ms is None else times_ms[-self.shape["length"] :][None]
        return self._ask(self._states(kept, times)[:, -1])[0]

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> Array:
        """See ``NextItem``; the time asked about is not read."""
        keys = np.ascontiguousarray(self.keys.T)
        popular = np.log1p(self.weights["counts"])
        out = np.empty((len(histories), len(popular)), np.float32)
        order = np.argsort(histories.lengths, kind="stable")
        share = max(1, _PLACES // self.shape["length"])
        for at in range(0, len(order), share):
            users = order[at : at + share]
            batch = latest(histories, self.shape["length"], users)
            states = self._states(batch.items, batch.times_ms)
            asked = self._ask(states[np.arange(len(users)), np.maximum(batch.lengths, 1) - 1])
            best = asked[:, 0] @ keys
            for query in range(1, asked.shape[1]):
                np.maximum(best, asked[:, query] @ keys, out=best)
            out[users] = np.where(batch.lengths[:, None] > 0, best, popular)
        return out

    def _states(self, items: NDArray[np.int64], times_ms: Times) -> Array:
        shape, weights = self.shape, self.weights
        known = items < len(weights["vectors"])
        scale = np.where(known, shape["dim"] ** 0.5, 0.0).astype(np.float32)
        x: Array = (
            weights["vectors"][np.where(known, items, 0)] * scale[:, :, None] + weights["places"][: items.shape[1]]
        )
        if shape["gaps"] and times_ms is not None:
            x = x + weights["gaps"][gap_buckets(times_ms)]
        forward = forward_of(shape["block"])
        assert forward is not None, shape["block"]
        for number in range(shape["blocks"]):
            x = forward(x, times_ms, within(weights, f"stack.{number}."), shape["heads"])
        return norm(x, weights, "norm_out")

    def _ask(self, states: Array) -> Array:
        shape = self.shape
        out = states[:, None, :]
        if shape["queries"] > 1:
            more = linear(states, self.weights, "heads").reshape(len(states), -1, shape["dim"])
            out = np.concatenate([out, out + more], axis=1)
        return _unit(out) * np.exp(self.weights["log_scale"]) if shape["cosine"] else out

    def save(self, folder: Path) -> Path:
        """Writes ``encoder.bin``, the same bytes for the same weights and card; returns its place."""
        write_state(folder / "encoder.bin", self.weights, self.card)
        return folder / "encoder.bin"

    @classmethod
    def load(cls, folder: Path) -> EncoderModel:
        """The model of a folder.

        Raises:
            RetrievalError: ``retrieval-031`` and ``retrieval-032`` as in ``read_state``; ``retrieval-033`` weights that are
                not those the card's shape has.
        """
        arrays, card = read_state(folder / "encoder.bin")
        model = cls(weights=arrays, card=card)
        shape = card.get("shape", {})
        if forward_of(str(shape.get("block"))) is None or arrays["places"].shape != (shape["length"], shape["dim"]):
            raise RetrievalError(
                f"found weights in {folder} that do not fit their card (block {shape.get('block')!r}), "
                f"expected a block of {sorted(FORWARDS)} and as many places as the card says",
                code="retrieval-033",
                hint="train it again with this version",
            )
        return model


def within(weights: Weights, prefix: str) -> dict[str, Array]:
    """One part's weights, by their names inside it."""
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def _unit(x: Array) -> Array:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
