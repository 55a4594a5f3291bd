"""Which codes may follow which: the prefixes of a catalog's semantic ids as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.retrieval.semantic_ids import SemanticIds

NONE = -1
"""No item of the catalog goes on like this."""


@dataclass(frozen=True, slots=True)
class CodeTrie:
    """The tree of valid ids: nodes of depth l are the distinct prefixes of l codes, in the order of their codes.

    Attributes:
        children: Of each node of depth l and each code that may follow, the node of depth l + 1, or ``NONE``. Depth 0 is the
            root. The nodes of the last depth are the items, in ``items``.
        prefixes: The codes of each node of depth l.
        items: Item row of each leaf.
        fresh: Whether a node of the depth before the leaves holds an item that came after the centres were learned: its
            last digit was never trained, so all of the node's items count alike.

    Shapes: ``children[l][nodes of depth l, codes]``, ``prefixes[l][nodes of depth l, l]``, ``items[leaves]``.
    """

    children: tuple[NDArray[np.int32], ...]
    prefixes: tuple[NDArray[np.int32], ...]
    items: NDArray[np.int64]
    fresh: NDArray[np.bool_]

    @property
    def depth(self) -> int:
        """Codes of an id, the last digit included."""
        return len(self.children)

    def branching(self, depth: int) -> NDArray[np.int64]:
        """The nodes of a depth with a choice of what follows: a model need not be asked about the others."""
        return np.flatnonzero((self.children[depth] != NONE).sum(axis=1) > 1)


def code_trie(ids: SemanticIds) -> CodeTrie:
    """The tree of a catalog's ids."""
    codes = ids.codes
    order = np.lexsort(codes.T[::-1])
    codes = codes[order]
    widths = [len(level) for level in ids.centres] + [int(codes[:, -1].max(initial=0)) + 1]
    node = np.zeros(len(codes), np.int64)
    children: list[NDArray[np.int32]] = []
    prefixes = [np.empty((1, 0), np.int32)]
    fresh = np.zeros(1, bool)
    for level, width in enumerate(widths):
        new = np.ones(len(codes), bool)
        new[1:] = (codes[1:, : level + 1] != codes[:-1, : level + 1]).any(axis=1)
        below = np.cumsum(new) - 1
        table = np.full((len(prefixes[-1]), width), NONE, np.int32)
        table[node[new], codes[new, level]] = below[new]
        if level + 1 == len(widths):
            fresh = np.zeros(len(table), bool)
            fresh[node[order >= ids.trained]] = True
        children.append(table)
        prefixes.append(codes[new, : level + 1])
        node = below
    return CodeTrie(tuple(children), tuple(prefixes), order.astype(np.int64), fresh)
