"""A generative retriever: it says the next item's semantic id code by code, coarse to fine, and never one that is no item's.

A stack of causal blocks reads the history, an item being the sum of its codes' vectors; a small decoder then turns the state
after the last item into a distribution over first codes, after each first code over second ones, and so on. What it knows of
an item is its codes: a new item with codes made from content alone can be read and retrieved without training anything.

Source: TIGER (Rajput et al. 2023) for the retriever; two transformers, one over items and a small one over an item's codes,
    as in RQ-Transformer (Lee et al. 2022), because flattened codes make every sequence four times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mainstem.retrieval.code_trie import NONE, CodeTrie
from mainstem.retrieval.neural.encoder import BLOCKS, EncoderShape, Noise
from mainstem.retrieval.semantic_ids import SemanticIds

_AT_ONCE = 24_000_000
"""Numbers of the largest array while scoring: some 100 MB."""


class Voice(nn.Module):
    """One level's share of the decoder: a state to the logits of its codes."""

    def __init__(self, dim: int, size: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, inner)
        self.down = nn.Linear(inner, dim)
        self.out = nn.Linear(dim, size)
        nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)

    def turned(self, x: Tensor) -> Tensor:
        """The state as the codes' vectors are compared with it."""
        return x + self.down(functional.relu(self.up(self.norm(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every code. Shapes: [..., dim] to [..., codes]."""
        return self.out(self.turned(x))


class GenerativeNet(nn.Module):
    """Histories to states, states to codes.

    Args:
        shape: Of the stack that reads the history; ``gaps``, ``content``, ``cosine`` and ``queries`` are not used.
        ids: The catalog's codes; their centres are where the codes' vectors begin.
    """

    def __init__(self, shape: EncoderShape, ids: SemanticIds) -> None:
        super().__init__()
        self.shape, self.levels, self.noise = shape, ids.levels, Noise()
        spread = shape.dim**-0.5
        self.read = nn.ParameterList([_from_centres(centres, shape.dim) for centres in ids.centres])
        self.start = nn.Parameter(torch.randn(shape.dim) * spread)
        self.places = nn.Parameter(torch.randn(shape.length + 1, shape.dim) * spread * 0.5)
        self.stack = nn.ModuleList([BLOCKS[shape.block](shape, self.noise) for _ in range(shape.blocks)])
        self.norm_out = nn.LayerNorm(shape.dim)
        # What was said so far, added to the state before the next code is said.
        self.said = nn.ParameterList([nn.Parameter(torch.randn(len(c), shape.dim) * spread) for c in ids.centres])
        self.voices = nn.ModuleList([Voice(shape.dim, size, shape.inner // 2) for size in ids.sizes])

    def states(self, codes: Tensor) -> Tensor:
        """The state before the first item and after each. Shapes: codes [n, l, levels] to [n, l + 1, dim]."""
        n, length, _ = codes.shape
        x = torch.zeros(n, length, self.shape.dim, device=codes.device)
        for level, table in enumerate(self.read):
            x = x + functional.embedding(codes[:, :, level], table)
        x = torch.cat([self.start.expand(n, 1, -1), x * self.shape.dim**0.5], dim=1) + self.places[: length + 1]
        x = self.noise.drop(x, self.shape.dropout)
        for block in self.stack:
            x = block(x, None)
        return self.norm_out(x)

    def voice(self, level: int) -> Voice:
        """What says the codes of a level."""
        return cast(Voice, self.voices[level])

    def loss(self, states: Tensor, codes: Tensor, alone: Tensor) -> Tensor:
        """The mean of -log p(id), each code given the ones before it.

        Args:
            states: Of the places asked at.
            codes: Wanted, the digit included.
            alone: Items that no other shares its codes with: there is no digit to say.

        Shapes: states [p, dim], codes [p, levels + 1], alone [p] bool.
        """
        total = states.new_zeros(())
        for level in range(self.levels + 1):
            each = functional.cross_entropy(self.voice(level)(states), codes[:, level], reduction="none")
            total = total + (each if level < self.levels else each.masked_fill(alone, 0.0)).mean()
            if level < self.levels:
                states = states + functional.embedding(codes[:, level], self.said[level])
        return total


@dataclass(frozen=True, slots=True)
class Tree:
    """A catalog's trie beside a net's vectors, as scoring wants them.

    Attributes:
        said: Of each node of a depth the sum of what was said on the way: with a user's state the state there.
        children: As in ``CodeTrie``.
        branching: The nodes of a depth with a choice.
        choices: What may follow those: nodes of the next depth, which of the branching nodes they follow, and the code.
        lone: The other nodes, and their one child.
        widths: Nodes of each depth from the first codes on; the last are the items.
        items, fresh: As in ``CodeTrie``.
    """

    said: tuple[Tensor, ...]
    children: tuple[Tensor, ...]
    branching: tuple[Tensor, ...]
    choices: tuple[tuple[Tensor, Tensor, Tensor], ...]
    lone: tuple[tuple[Tensor, Tensor], ...]
    widths: tuple[int, ...]
    items: Tensor
    fresh: Tensor


def tree(net: GenerativeNet, trie: CodeTrie) -> Tree:
    """The trie of a catalog made ready for a net, on the net's device."""
    on = net.start.device
    said = []
    with torch.inference_mode():
        for depth in range(trie.depth):
            prefixes = torch.from_numpy(trie.prefixes[depth].astype(np.int64)).to(on)
            total = torch.zeros(len(prefixes), net.shape.dim, device=on)
            for level in range(depth):
                total = total + functional.embedding(prefixes[:, level], net.said[level])
            said.append(total)
    branching, choices, lone = [], [], []
    for depth, children in enumerate(trie.children):
        nodes = trie.branching(depth)
        single = np.setdiff1d(np.arange(len(children)), nodes)
        branching.append(torch.from_numpy(nodes).to(on))
        parents, codes = np.nonzero(children[nodes] != NONE)
        follow = children[nodes][parents, codes].astype(np.int64)
        choices.append(tuple(torch.from_numpy(part).to(on) for part in (follow, parents, codes)))
        only = children[single].max(axis=1, initial=NONE).astype(np.int64)
        lone.append((torch.from_numpy(single).to(on), torch.from_numpy(only).to(on)))
    return Tree(
        said=tuple(said),
        children=tuple(torch.from_numpy(children.astype(np.int64)).to(on) for children in trie.children),
        branching=tuple(branching),
        choices=tuple(choices),
        lone=tuple(lone),
        widths=tuple(len(prefixes) for prefixes in trie.prefixes[1:]),
        items=torch.from_numpy(trie.items).to(on),
        fresh=torch.from_numpy(trie.fresh).to(on),
    )


@torch.inference_mode()
def exact_scores(net: GenerativeNet, of: Tree, states: Tensor) -> Tensor:
    """log p of every item: each node's choice among what the catalog has, multiplied along the way.

    Shapes: states [n, dim] to [n, items].
    """
    share = max(1, _AT_ONCE // (net.shape.dim * max(len(children) for children, _, _ in of.choices) + 1))
    return torch.cat([_exact(net, of, states[at : at + share]) for at in range(0, len(states), share)])


def _exact(net: GenerativeNet, of: Tree, states: Tensor) -> Tensor:
    reached, last = states.new_zeros(len(states), 1), len(of.widths) - 1
    for depth in range(len(of.widths)):
        below = states.new_empty(len(states), of.widths[depth])
        single, only = of.lone[depth]
        below[:, only] = reached[:, single]
        nodes = of.branching[depth]
        if len(nodes):
            children, parents, codes = of.choices[depth]
            voice = net.voice(depth)
            here = voice.turned(states[:, None] + of.said[depth][nodes])
            chance = _among(voice, here, parents, codes, of.fresh[nodes] if depth == last else None)
            below[:, children] = reached[:, nodes[parents]] + chance
        reached = below
    out = torch.empty_like(reached)
    out[:, of.items] = reached
    return out


@torch.inference_mode()
def beam_scores(net: GenerativeNet, of: Tree, states: Tensor, width: int) -> Tensor:
    """log p of the items that a beam search finds; all others share a value below them.

    Shapes: states [n, dim] to [n, items].
    """
    share = max(1, _AT_ONCE // (width * max(children.shape[1] for children in of.children)))
    return torch.cat([_beam(net, of, states[at : at + share], width) for at in range(0, len(states), share)])


def _beam(net: GenerativeNet, of: Tree, states: Tensor, width: int) -> Tensor:
    n = len(states)
    nodes = torch.zeros(n, 1, dtype=torch.int64, device=states.device)
    reached = states.new_zeros(n, 1)
    for depth in range(len(of.widths)):
        chance = _chances(net, of, depth, states[:, None] + of.said[depth][nodes], nodes)
        total = (reached[:, :, None] + chance).flatten(1)
        reached, at = total.topk(min(width, total.shape[1]), dim=1)
        nodes = of.children[depth][nodes].flatten(1).gather(1, at)
        # A tree thinner than the beam leaves places over: they lead nowhere.
        nodes = nodes.clamp(min=0)
    floor = reached.masked_fill(reached.isinf(), 0.0).amin(dim=1, keepdim=True) - 1.0
    out = floor.expand(n, of.widths[-1]).contiguous()
    found = torch.where(reached.isinf(), floor, reached)
    out.scatter_reduce_(1, of.items[nodes], found, "amax")
    return out


def _among(voice: Voice, here: Tensor, parents: Tensor, codes: Tensor, fresh: Tensor | None) -> Tensor:
    """log p of each choice among its siblings, from what its parent's state was turned into.

    Most parents have two or three children: only their logits are computed, not those of all codes.

    Shapes: here [n, p, dim], parents [c] (0 to p - 1, rising), codes [c]; the answer [n, c].
    """
    known = codes < len(voice.out.bias)
    codes = torch.where(known, codes, 0)
    logits = torch.einsum("ncd,cd->nc", here[:, parents], voice.out.weight[codes]) + voice.out.bias[codes]
    if fresh is not None:
        # Digits that came with new items were never trained; their nodes' items count alike.
        logits = logits.masked_fill(fresh[parents], 0.0)
    at = parents.expand(len(here), -1)
    most = here.new_full(here.shape[:2], -torch.inf).scatter_reduce_(1, at, logits, "amax")
    total = here.new_zeros(here.shape[:2]).scatter_add_(1, at, (logits - most.gather(1, at)).exp())
    return logits - (most + total.log()).gather(1, at)


def _chances(net: GenerativeNet, of: Tree, depth: int, states: Tensor, nodes: Tensor) -> Tensor:
    """log p of each code after some nodes, among those that lead to an item. Shapes: [..., dim] to [..., codes]."""
    logits = net.voice(depth)(states)
    wide = of.children[depth].shape[1]
    logits = functional.pad(logits[..., :wide], (0, max(0, wide - logits.shape[-1])))
    if depth == len(of.widths) - 1:
        logits = logits.masked_fill(of.fresh[nodes][..., None], 0.0)
    return torch.log_softmax(logits.masked_fill(of.children[depth][nodes] == NONE, -torch.inf), dim=-1)


def _from_centres(centres: np.ndarray, dim: int) -> nn.Parameter:
    """The centres turned into the net's width, so that near codes begin near each other."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((max(centres.shape[1], dim), dim)))[0]
    turned = centres @ turn[: centres.shape[1]].astype(np.float32)
    length = np.sqrt(np.square(turned).sum(axis=1).mean())
    return nn.Parameter(torch.from_numpy((turned / max(float(length), 1e-12)).astype(np.float32)))
