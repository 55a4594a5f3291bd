"""What would a request be shown if one layer were the new stack's and the others the old one's? Two stacks, layer by layer.

Stages hand over item ids, because two catalogs number their rows differently, and each stage is given what its own stack knows of
the viewer. With every layer from one side it is that stack, slate for slate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

import numpy as np

from mainstem.base.errors import RequestError, did_you_mean
from mainstem.base.request import Floats, Ids, Pool, Request, Rows, Slate
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.run import pool_of, within_rank_budget
from mainstem.stacks.stage import Stack

LAYERS: Final = ("retrieval", "model", "value", "control")
"""In the order the water flows; the model is features and ranker."""
Group = tuple[str, ...]
"""Layers that can only be swapped together."""


def layer_groups(old: Stack, new: Stack) -> tuple[Group, ...]:
    """Which layers of two stacks can be swapped apart: a value needs the predictions it was written for.

    Model and value go together where one stack's value reads heads that the other's model does not predict.
    """
    apart = set(old.ranker.heads) == set(new.ranker.heads)
    return (("retrieval",), ("model",), ("value",), ("control",)) if apart else (
        ("retrieval",), ("model", "value"), ("control",),
    )  # fmt: skip


def swaps(groups: Iterable[Group]) -> list[frozenset[str]]:
    """Every combination of groups that are the new stack's: none first, all last."""
    named = list(groups)
    return [
        frozenset(layer for group, taken in zip(named, which, strict=True) if taken for layer in group)
        for which in product((False, True), repeat=len(named))
    ]


@dataclass(slots=True)
class Swapped:
    """A stack whose layers are some of the old and some of the new one's. Nothing is claimed: it is for experiments.

    Args:
        old, new: The two stacks; both hear what is served and what became of it.
        from_new: The layers that are the new one's.

    Raises:
        RequestError: A name is no layer (``request-060``), or a value would lack its heads (``request-061``).
    """

    old: Stack
    new: Stack
    from_new: frozenset[str]
    _sides: Mapping[str, Stack] = field(init=False)

    def __post_init__(self) -> None:
        for name in self.from_new:
            if name not in LAYERS:
                raise RequestError(f"{name!r} is no layer", code="request-060", hint=did_you_mean(name, LAYERS))
        self._sides = {name: self.new if name in self.from_new else self.old for name in LAYERS}
        model, value = self._sides["model"], self._sides["value"]
        missing = [head for head in value.ranker.heads if head not in model.ranker.heads]
        if missing:
            raise RequestError(
                f"the value of {value.name!r} reads {', '.join(missing)}, which {model.name!r} does not predict",
                code="request-061",
                hint="swap model and value together",
            )

    @property
    def name(self) -> str:
        """The layers that are new, in order; the old stack's name where none is."""
        return "+".join(name for name in LAYERS if name in self.from_new) or self.old.name

    def rank(self, request: Request) -> Slate:
        """What this viewer is shown.

        Raises:
            RequestError: A stack does not serve the surface (``request-001``).
        """
        users = {id(one): one.features.user(request) for one in self._both}
        ids, kept = self._candidates(request)
        model = self._rows("model", ids)
        features = self._sides["model"].features.items(request, users[id(self._sides["model"])], model)
        predictions = self._sides["model"].ranker.predict(request, users[id(self._sides["model"])], model, features)
        values = self._values(request, users, ids, predictions)
        control = self._sides["control"]
        rows = self._rows("control", ids)
        pool = Pool(rows, self._source_mask(kept), kept.fused)
        selection = control.control.select(request, users[id(control)], pool, values)
        shown = ids[selection.order]
        for one in self._both:
            for memory in one.memories:
                memory.served(request, one.catalog.item_rows(shown))
        return Slate(
            request_id=request.request_id,
            stack=self.name,
            surface=request.surface,
            item_ids=shown,
            scores=values[selection.order],
            propensities=selection.propensities,
            trace=None,
        )

    def apply(self, feedback: FeedbackBatch) -> None:
        """Lets every memory of both stacks see outcomes."""
        for one in self._both:
            one.apply(feedback)

    @property
    def _both(self) -> tuple[Stack, Stack]:
        return self.old, self.new

    def _candidates(self, request: Request) -> tuple[Ids, Pool]:
        """What one stack's retrieval finds, as far as both catalogs hold it, within that stack's budget of the ranker."""
        stack = self._sides["retrieval"]
        kept, _ = within_rank_budget(stack, request, pool_of(stack, request))
        held = kept.rows >= 0  # a request may name items that no catalog holds
        kept = Pool(kept.rows[held], kept.source_mask[held], kept.fused[held])
        ids = stack.catalog.items.ids[kept.rows]
        known = np.all([one.catalog.item_rows(ids) >= 0 for one in self._both], axis=0)
        return ids[known], Pool(kept.rows[known], kept.source_mask[known], kept.fused[known])

    def _values(self, request: Request, users: Mapping[int, Any], ids: Ids, predictions: Floats) -> Floats:
        model, stack = self._sides["model"], self._sides["value"]
        columns = [model.ranker.heads.index(head) for head in stack.ranker.heads]
        rows = self._rows("value", ids)
        values = stack.value.values(request, users[id(stack)], rows, predictions[:, columns])
        return values if stack.decimals is None else np.round(values, stack.decimals)

    def _rows(self, layer: str, ids: Ids) -> Rows:
        return self._sides[layer].catalog.item_rows(ids)

    def _source_mask(self, kept: Pool) -> np.ndarray:
        """Which of control's own sources found each candidate; a source it does not know is none of its own."""
        found, asked = self._sides["retrieval"], self._sides["control"]
        if found is asked:
            return kept.source_mask
        place = {one.name: at for at, one in enumerate(asked.sources)}
        mask = np.zeros_like(kept.source_mask)
        for at, one in enumerate(found.sources):
            if one.name in place:
                mask |= ((kept.source_mask >> np.uint32(at)) & np.uint32(1)) << np.uint32(place[one.name])
        return mask
