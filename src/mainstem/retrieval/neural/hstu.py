"""The HSTU block: attention without a softmax, gated, with biases of place and of time; one kind of encoder block.

Attention weights are SiLU of products plus biases over the length, so that how strongly a history speaks is kept, which a
softmax divides away. What time says is a matter of whose time it is. Two kinds are told apart, because published HSTU
figures on MovieLens are of the second:

* ``hstu`` reads the times of past events: at place i, how long before event i each earlier event was. Without times it
  does with places.
* ``hstu_asked`` reads the time asked about: how long before *the next* event each earlier one was. Serving knows that
  time, it is now. In an evaluation it is the target's, and where users enter many events in one second it nearly names
  them: a leak. It is fed shifted times (``asked_times``).

Source: Zhai et al. 2024, "Actions speak louder than words", equations 1 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences
from mainstem.retrieval.neural.encoder import BLOCKS, EncoderShape, Noise
from mainstem.retrieval.next_item import NextItem

TIME_BUCKETS = 40
"""Powers of two of seconds; bucket 0 is "in the same second"."""


class HstuBlock(nn.Module):
    """Pointwise aggregated attention under a gate, in place of both halves of a transformer block.

    Args:
        shape: Size; ``inner`` is not used, the gate is what a second half would be.
        noise: The encoder's.
        asked: The times are those asked about: ``asked_times``.
    """

    def __init__(self, shape: EncoderShape, noise: Noise, asked: bool = False) -> None:
        super().__init__()
        self.heads, self.share, self.noise, self.asked = shape.heads, shape.dropout, noise, asked
        self.length = shape.length
        self.norm_in = nn.LayerNorm(shape.dim, eps=1e-6)
        self.parts = nn.Linear(shape.dim, 4 * shape.dim)
        self.place_bias = nn.Parameter(torch.zeros(shape.length))
        self.time_bias = nn.Parameter(torch.zeros(TIME_BUCKETS))
        self.norm_mid = nn.LayerNorm(shape.dim, eps=1e-6)
        self.out = nn.Linear(shape.dim, shape.dim)

    def forward(self, x: Tensor, times_ms: Tensor | None) -> Tensor:
        """See ``Block``."""
        n, length, dim = x.shape
        parts = functional.silu(self.parts(self.norm_in(x)))
        gate, v, q, k = parts.view(n, length, 4, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        weights = torch.matmul(q, k.transpose(-1, -2)) + self.bias(length, times_ms)
        weights = functional.silu(weights).tril() / self.length
        mixed = torch.matmul(weights, v).transpose(1, 2).reshape(n, length, dim)
        gated = self.norm_mid(mixed) * gate.transpose(1, 2).reshape(n, length, dim)
        return x + self.out(self.noise.drop(gated, self.share))

    def bias(self, length: int, times_ms: Tensor | None) -> Tensor:
        """What place and time add to each pair, whatever the items. Shapes: [1 or n, 1, length, length]."""
        each = torch.arange(length, device=self.place_bias.device)
        back = (each[:, None] - each[None, :]).clamp_(min=0)
        bias = functional.embedding(back, self.place_bias[:, None])[None, :, :, 0]
        if times_ms is not None:
            buckets = time_buckets(times_ms, event_times(times_ms) if self.asked else times_ms)
            bias = bias + functional.embedding(buckets, self.time_bias[:, None])[..., 0]
        return bias[:, None]


def time_buckets(now_ms: Tensor, then_ms: Tensor) -> Tensor:
    """Which power of two of seconds lies between each place's now and each event's time. Shapes: [n, l] to [n, l, l]."""
    seconds = (now_ms[:, :, None] - then_ms[:, None, :]).clamp_(min=0).to(torch.float32) / 1000.0
    # The exponent of the number itself: exact, where a logarithm could fall on either side of a whole one.
    return torch.frexp(seconds.floor_())[1].clamp_(min=0, max=TIME_BUCKETS - 1).to(torch.int64)


def event_times(asked_ms: Tensor) -> Tensor:
    """The events' own times from the times asked about: each is what the place before it was asked about.

    The first of a window is not known any more; it is taken to be at the second event's time.
    """
    return torch.cat([asked_ms[:, :1], asked_ms[:, :-1]], dim=1)


def asked_times(sequences: Sequences, now_ms: NDArray[np.int64] | None = None) -> Sequences:
    """The same events, each with the time of the one after it: what a model that reads the time asked about is fed.

    Args:
        sequences: With times.
        now_ms: What each user's last event gets; None: its own time, as if asked at once.

    Raises:
        RetrievalError: ``retrieval-056`` when the set has no times.
    """
    if sequences.times_ms is None:
        raise RetrievalError(
            f"found no times in {sequences.name!r}, expected them for a model that reads the time asked about",
            code="retrieval-056",
            hint="train the kind 'hstu' or 'transformer', which do without",
        )
    times = np.append(sequences.times_ms[1:], 0)
    has = sequences.lengths > 0
    last = sequences.starts[1:][has] - 1
    # Asked before the last event (a log out of order) counts as asked at once.
    now = sequences.times_ms[last] if now_ms is None else np.maximum(now_ms[has], sequences.times_ms[last])
    times[last] = now
    return replace(sequences, times_ms=times[: len(sequences.rows)])


def without_times(sequences: Sequences) -> Sequences:
    """The same events with nothing known of when they were: their order only."""
    return replace(sequences, times_ms=None)


@dataclass(frozen=True, slots=True)
class Asked:
    """A model trained on asked times, as a next-item model: it puts the time asked about where it was trained to find it."""

    model: NextItem

    @property
    def name(self) -> str:
        """The model's own."""
        return self.model.name

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """See ``NextItem``; without a time asked about, each history is asked at its last event."""
        return self.model.scores(asked_times(histories, now_ms))


@dataclass(frozen=True, slots=True)
class Timeless:
    """A model trained without times, as a next-item model that never sees any."""

    model: NextItem

    @property
    def name(self) -> str:
        """The model's own."""
        return self.model.name

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """See ``NextItem``."""
        return self.model.scores(without_times(histories))


def _asked(shape: EncoderShape, noise: Noise) -> HstuBlock:
    return HstuBlock(shape, noise, asked=True)


BLOCKS.setdefault("hstu_asked", _asked)
