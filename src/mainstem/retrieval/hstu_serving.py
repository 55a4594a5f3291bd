"""The HSTU block in plain matrix products without torch: importing this lets ``encoder_serving`` answer for its kinds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mainstem.retrieval.encoder_serving import FORWARDS, Array, Times, Weights, linear

TIME_BUCKETS = 40


def hstu(x: Array, times_ms: Times, weights: Weights, heads: int) -> Array:
    """``neural.hstu.HstuBlock`` without torch."""
    return _block(x, weights, heads, times_ms, times_ms)


def hstu_asked(x: Array, times_ms: Times, weights: Weights, heads: int) -> Array:
    """``neural.hstu.HstuBlock`` of asked times (``neural.hstu.asked_times``) without torch."""
    events = None if times_ms is None else np.concatenate([times_ms[:, :1], times_ms[:, :-1]], axis=1)
    return _block(x, weights, heads, times_ms, events)


def time_buckets(now_ms: NDArray[np.int64], then_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """As ``neural.hstu.time_buckets``. Shapes: [n, l] to [n, l, l]."""
    seconds = np.maximum(now_ms[:, :, None] - then_ms[:, None, :], 0).astype(np.float32) / np.float32(1000.0)
    return np.clip(np.frexp(np.floor(seconds))[1], 0, TIME_BUCKETS - 1).astype(np.int64)


def _block(x: Array, weights: Weights, heads: int, now_ms: Times, then_ms: Times) -> Array:
    n, length, dim = x.shape
    parts = _silu(linear(_norm(x, weights, "norm_in"), weights, "parts")).reshape(n, length, 4, heads, dim // heads)
    gate, v, q, k = np.moveaxis(parts, (2, 3), (0, 2))
    each = np.arange(length)
    bias = weights["place_bias"][np.maximum(each[:, None] - each, 0)][None]
    if now_ms is not None and then_ms is not None:
        bias = bias + weights["time_bias"][time_buckets(now_ms, then_ms)]
    attention = np.tril(_silu(q @ np.swapaxes(k, 2, 3) + bias[:, None])) / np.float32(len(weights["place_bias"]))
    mixed = np.swapaxes(attention @ v, 1, 2).reshape(n, length, dim)
    gated = _norm(mixed, weights, "norm_mid") * np.swapaxes(gate, 1, 2).reshape(n, length, dim)
    return x + linear(gated, weights, "out")


def _silu(x: Array) -> Array:
    # exp of a large number overflows to infinity and the quotient to 0, which is right: clipped only to keep numpy quiet.
    return x / (np.float32(1.0) + np.exp(-np.maximum(x, np.float32(-80.0))))


def _norm(x: Array, weights: Weights, name: str) -> Array:
    """As ``encoder_serving.norm``, with a smaller floor: unscaled attention starts near zero."""
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(1e-6))
    return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]


FORWARDS.setdefault("hstu", hstu)
FORWARDS.setdefault("hstu_asked", hstu_asked)
