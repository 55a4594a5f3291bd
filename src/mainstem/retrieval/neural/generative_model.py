"""A trained generative retriever as a next-item model: asked, grown by new items, saved and read."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences
from mainstem.retrieval.code_trie import code_trie
from mainstem.retrieval.neural.checkpoint import read_state, write_state
from mainstem.retrieval.neural.device import Where, compute_on
from mainstem.retrieval.neural.encoder import EncoderShape
from mainstem.retrieval.neural.generative import GenerativeNet, Tree, beam_scores, exact_scores, tree
from mainstem.retrieval.neural.windows import Batch, latest
from mainstem.retrieval.semantic_ids import SemanticIds

_SHARE = 256
"""Users whose histories are read at once."""


@dataclass(frozen=True)
class GenerativeModel:
    """A trained net, the ids of its catalog, and what was noted about the training; it answers ``NextItem``.

    Attributes:
        card: Settings, data, validation curve, cost.
        beam: How many prefixes are followed; None scores every item exactly, through the tree of valid ids.
    """

    net: GenerativeNet
    ids: SemanticIds
    card: dict[str, Any]
    beam: int | None = None

    @property
    def name(self) -> str:
        """How tables call it."""
        return str(self.card["name"])

    @cached_property
    def tree(self) -> Tree:
        """The valid ids, ready for the net."""
        return tree(self.net, code_trie(self.ids))

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """See ``NextItem``: log p of each item as the next one; the time asked about is not read.

        Raises:
            RetrievalError: ``retrieval-051`` when the histories are of another catalog.
        """
        self.ids.check(histories.items, f"the histories of {histories.name!r}")
        out = np.empty((len(histories), len(self.ids)), np.float32)
        order = np.argsort(histories.lengths, kind="stable")
        for at in range(0, len(order), _SHARE):
            users = order[at : at + _SHARE]
            states = self.states(latest(histories, self.net.shape.length, users))
            if self.beam is None:
                out[users] = exact_scores(self.net, self.tree, states).cpu().numpy()
            else:
                out[users] = beam_scores(self.net, self.tree, states, self.beam).cpu().numpy()
        return out

    @torch.inference_mode()
    def states(self, batch: Batch) -> Tensor:
        """The state after the last item of each row. Shapes: [n, dim]."""
        codes = code_rows(self.ids)[batch.items]
        on = self.net.start.device
        states = self.net.states(torch.from_numpy(codes[:, :, : self.ids.levels]).to(on))
        return states[torch.arange(len(states)), torch.from_numpy(batch.lengths)]

    def with_items(self, vectors: NDArray[np.float32]) -> GenerativeModel:
        """The same model with new items behind the old: they get ids from their vectors, and nothing is trained.

        Args:
            vectors: As ``ContentMap.vectors`` makes them from content alone. Shapes: [new, d].
        """
        return replace(self, ids=self.ids.with_items(vectors))

    def on(self, where: Where) -> GenerativeModel:
        """The same model on another device."""
        return replace(self, net=self.net.to(compute_on(where)))

    def save(self, folder: Path) -> None:
        """Writes ``ids.npz`` and ``generative.bin``; the second names the first, so that halves of two models are told."""
        folder.mkdir(parents=True, exist_ok=True)
        self.ids.save(folder / "ids.npz")
        arrays = {name: value.cpu().numpy() for name, value in self.net.state_dict().items()}
        write_state(folder / "generative.bin", arrays, self.card | {"ids": self.ids.sha256})

    @staticmethod
    def load(folder: Path) -> GenerativeModel:
        """The model of a folder.

        Raises:
            RetrievalError: ``retrieval-051`` ids that the weights were not trained with; ``retrieval-053`` unreadable ids;
                ``retrieval-058`` weights that do not fit their card; ``retrieval-031`` and ``retrieval-032`` as in
                ``read_state``.
        """
        arrays, card = read_state(folder / "generative.bin")
        ids = SemanticIds.load(folder / "ids.npz")
        if card.get("ids") != ids.sha256:
            raise RetrievalError(
                f"found semantic ids {ids.sha256[:8]} in {folder}, expected the {str(card.get('ids'))[:8]} that the "
                "weights beside them were trained with",
                code="retrieval-051",
                hint="mainstem train",
            )
        try:
            net = GenerativeNet(EncoderShape(**card["shape"]), ids)
            net.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        except (KeyError, TypeError, RuntimeError) as error:
            raise RetrievalError(
                f"found weights in {folder} that do not fit their card ({error}), expected those of the shape "
                f"{json.dumps(card.get('shape'))}",
                code="retrieval-058",
                hint="mainstem train",
            ) from error
        return GenerativeModel(net, ids, {key: value for key, value in card.items() if key != "ids"})


def code_rows(ids: SemanticIds) -> NDArray[np.int64]:
    """The codes of each item, and a row of zeros for padding behind them. Shapes: [items + 1, levels + 1]."""
    return np.concatenate([ids.codes, np.zeros((1, ids.levels + 1), ids.codes.dtype)]).astype(np.int64)
