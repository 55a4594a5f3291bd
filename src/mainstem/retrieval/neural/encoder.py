"""The sequence encoder: what a user took, read by causal blocks, as query vectors beside item vectors.

An item is an id vector plus the mean of its marks' vectors; a user is the last position of a stack of blocks over the last
items. Sequences lie left in their rows and are padded right: under a causal mask no position sees padding, so no block
needs to know where a sequence ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import ItemContent

GAP_BUCKETS = 24
"""Powers of two of seconds between an event and the one before it; bucket 0 is "first or unknown"."""


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """How large an encoder is and of which parts; with a seed it decides every weight's first value.

    Attributes:
        length: Items read, the latest ones.
        dim, blocks, heads: Width of a vector, blocks on top of each other, attention heads a block.
        inner: Width inside a block's second half.
        block: Which class the blocks are: a key of ``BLOCKS``.
        queries: Query vectors a user; an item's score is that of the best of them.
        gaps: Reads the time between events, where the set knows it.
        content: Reads the items' marks, where the set knows them.
        cosine: Scores are cosines over the temperature, otherwise inner products.
    """

    length: int = 50
    dim: int = 64
    blocks: int = 2
    heads: int = 2
    inner: int = 256
    block: str = "transformer"
    queries: int = 1
    gaps: bool = False
    content: bool = True
    cosine: bool = False
    dropout: float = 0.2


class Block(Protocol):
    """What every block answers, so that kinds can be exchanged: a torch module from rows of vectors to rows of vectors.

    It is causal: position i of the answer may depend on positions up to i only. It adds its own residual.
    A kind is registered in ``BLOCKS`` under a name, and its torch-free twin in ``encoder_serving.FORWARDS`` under the same.

    Shapes: x [batch, length, dim]; ``times_ms`` [batch, length] int64 (padding repeats the last time), or None;
        the answer is shaped as x.
    """

    def __call__(self, x: Tensor, times_ms: Tensor | None) -> Tensor:
        """The rows after this block."""
        ...


class Noise:
    """Dropout whose bits come from numpy's generator: on one thread torch's own costs more than a block's products.

    Training sets the generator before each step, which makes a run depend on (seed, step) alone and so resumable.
    """

    def __init__(self) -> None:
        self.rng: np.random.Generator | None = None

    def drop(self, x: Tensor, share: float) -> Tensor:
        """The input with a share of its values zero, the others scaled up; unchanged outside training."""
        if self.rng is None or share <= 0.0:
            return x
        words = self.rng.integers(0, 2**64, size=(x.numel() + 7) // 8, dtype=np.uint64)
        bits = torch.from_numpy(words.view(np.uint8)[: x.numel()]).view(x.shape).to(x.device)
        threshold = round(share * 256)
        return x * (bits >= threshold).to(x.dtype).mul_(256.0 / (256 - threshold))


class TransformerBlock(nn.Module):
    """A pre-norm causal block as in SASRec: attention, then two layers with a rectifier between them."""

    def __init__(self, shape: EncoderShape, noise: Noise) -> None:
        super().__init__()
        self.heads, self.share, self.noise = shape.heads, shape.dropout, noise
        self.norm_in = nn.LayerNorm(shape.dim)
        self.qkv = nn.Linear(shape.dim, 3 * shape.dim)
        self.out = nn.Linear(shape.dim, shape.dim)
        self.norm_mid = nn.LayerNorm(shape.dim)
        self.up = nn.Linear(shape.dim, shape.inner)
        self.down = nn.Linear(shape.inner, shape.dim)

    def forward(self, x: Tensor, times_ms: Tensor | None) -> Tensor:
        """See ``Block``; this kind does not read the time."""
        n, length, dim = x.shape
        parts = self.qkv(self.norm_in(x)).view(n, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts.reshape(3, n * self.heads, length, dim // self.heads)
        # Plain products: torch's fused attention takes four times as long backwards for such short rows on a processor.
        marks = torch.softmax(
            torch.baddbmm(self.mask(length, q), q, k.transpose(1, 2), alpha=q.shape[2] ** -0.5), dim=2
        )
        mixed = torch.bmm(marks, v).view(n, self.heads, length, -1).transpose(1, 2).reshape(n, length, dim)
        x = x + self.noise.drop(self.out(mixed), self.share)
        return x + self.noise.drop(self.down(functional.relu(self.up(self.norm_mid(x)))), self.share)

    @staticmethod
    def mask(length: int, like: Tensor) -> Tensor:
        """Zero where a position may look, minus infinity ahead of it. Shapes: [1, length, length]."""
        ahead = torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device)
        return ahead.triu_(1)[None]


def _hstu(shape: EncoderShape, noise: Noise) -> nn.Module:
    from mainstem.retrieval.neural.hstu import HstuBlock

    return HstuBlock(shape, noise)


def _hstu_asked(shape: EncoderShape, noise: Noise) -> nn.Module:
    from mainstem.retrieval.neural.hstu import HstuBlock

    return HstuBlock(shape, noise, asked=True)


BLOCKS: dict[str, Callable[[EncoderShape, Noise], nn.Module]] = {
    "transformer": TransformerBlock,
    "hstu": _hstu,
    "hstu_asked": _hstu_asked,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Histories as rectangles: one a row, oldest first, left-aligned.

    Shapes: ``items[n, length]`` int64, padded with the number of items; ``times_ms[n, length]`` int64 or None;
        ``lengths[n]`` int64.
    """

    items: Tensor
    lengths: Tensor
    times_ms: Tensor | None = None


def gap_buckets(times_ms: Tensor) -> Tensor:
    """Which bucket the time since the event before falls into. Shapes: [n, length] to [n, length]."""
    seconds = torch.diff(times_ms, dim=1).clamp_(min=0).to(torch.float32) / 1000.0
    buckets = (torch.log2(seconds + 1.0).to(torch.int64) + 1).clamp_(max=GAP_BUCKETS - 1)
    return functional.pad(buckets, (1, 0))


class SequenceEncoder(nn.Module):
    """Item vectors and user vectors in one space.

    Args:
        shape: Size and parts.
        items: How many items there are.
        content: Their marks; None trains on ids alone.
    """

    def __init__(self, shape: EncoderShape, items: int, content: ItemContent | None = None) -> None:
        super().__init__()
        if shape.block not in BLOCKS:
            raise RetrievalError(
                f"found block kind {shape.block!r}, expected one of {sorted(BLOCKS)}",
                code="retrieval-030",
                hint="name a kind of BLOCKS in the recipe",
            )
        self.shape, self.items, self.noise = shape, items, Noise()
        spread = shape.dim**-0.5
        self.ids = nn.Parameter(torch.randn(items, shape.dim) * spread)
        self.places = nn.Parameter(torch.randn(shape.length, shape.dim) * spread * 0.5)
        self.marks = (
            nn.Parameter(torch.randn(content.vocabulary, shape.dim) * spread * 0.5)
            if content is not None and shape.content
            else None
        )
        self.gaps = nn.Parameter(torch.zeros(GAP_BUCKETS, shape.dim)) if shape.gaps else None
        self.stack = nn.ModuleList([BLOCKS[shape.block](shape, self.noise) for _ in range(shape.blocks)])
        self.norm_out = nn.LayerNorm(shape.dim)
        self.heads = nn.Linear(shape.dim, (shape.queries - 1) * shape.dim) if shape.queries > 1 else None
        self.log_scale = nn.Parameter(torch.tensor(np.log(20.0) if shape.cosine else 0.0))
        if self.marks is not None and content is not None:
            self.register_buffer(
                "mark_starts", torch.from_numpy(content.starts[:-1].astype(np.int64)), persistent=False
            )
            self.register_buffer("mark_rows", torch.from_numpy(content.marks.astype(np.int64)), persistent=False)
        _calm(self)

    def item_vectors(self, keep_id: Tensor | None = None) -> Tensor:
        """Every item's vector. Shapes: ``keep_id`` [items] in {0, 1} or None; the answer [items, dim]."""
        ids = self.ids if keep_id is None else self.ids * keep_id[:, None]
        if self.marks is not None:
            starts, rows = self.get_buffer("mark_starts"), self.get_buffer("mark_rows")
            ids = ids + functional.embedding_bag(rows, self.marks, starts, mode="mean")
        return ids

    def forward(self, rows: Rows, vectors: Tensor) -> Tensor:
        """The user's vector after every position. Shapes: vectors [items, dim]; the answer [n, length, dim]."""
        length = rows.items.shape[1]
        table = functional.pad(vectors, (0, 0, 0, 1))
        x = functional.embedding(rows.items, table) * self.shape.dim**0.5 + self.places[:length]
        if self.gaps is not None and rows.times_ms is not None:
            x = x + functional.embedding(gap_buckets(rows.times_ms), self.gaps)
        x = self.noise.drop(x, self.shape.dropout)
        for block in self.stack:
            x = block(x, rows.times_ms)
        return self.norm_out(x)

    def queries(self, states: Tensor) -> Tensor:
        """The query vectors of user vectors, ready for an inner product with ``keys``. Shapes: [n, dim] to [n, queries, dim]."""
        out = states[:, None, :]
        if self.heads is not None:
            out = torch.cat([out, out + self.heads(states).view(len(states), -1, self.shape.dim)], dim=1)
        return functional.normalize(out, dim=-1) * self.log_scale.exp() if self.shape.cosine else out

    def keys(self, vectors: Tensor) -> Tensor:
        """Item vectors as scores read them. Shapes: [items, dim] to [items, dim]."""
        return functional.normalize(vectors, dim=-1) if self.shape.cosine else vectors


def _calm(model: nn.Module) -> None:
    """Linear layers start small, so that the first states are the items' own vectors."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


def mean_of_marks(content: ItemContent, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same mean without torch, for the serving twin. Shapes: table [vocabulary, dim] to [items, dim]."""
    out = np.zeros((len(content.starts) - 1, table.shape[1]), np.float32)
    counts = np.diff(content.starts)
    np.add.at(out, np.repeat(np.arange(len(out)), counts), table[content.marks])
    return out / np.maximum(counts, 1)[:, None].astype(np.float32)
