"""What would a request be shown if one layer were the new stack's and the others the old one's? Two stacks, layer by layer.

The parts of both make one stack, which answers, traces and explains as any other. With every layer from one side it is that stack,
slate for slate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Final

import numpy as np

from mainstem.base.errors import RequestError, did_you_mean
from mainstem.base.request import Request, Slate
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.stacks.swapped_parts import (
    Side,
    SideClaims,
    SideControl,
    SideFeatures,
    SideGuard,
    SideMemory,
    SideRanker,
    SideSource,
    SideUnion,
    SideValue,
)
from mainstem.stacks.why import Why, why

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
    """A stack whose layers are some of the old and some of the new one's.

    Args:
        old, new: The two stacks; both hear what is served and what became of it.
        from_new: The layers that are the new one's.

    Attributes:
        stack: The one stack that they make, for whatever takes a stack. Candidates are in the rows of retrieval's catalog; a slate
            is claimed where control's stack claims its own.

    Raises:
        RequestError: A name is no layer (``request-060``), or a value would lack its heads (``request-061``).
    """

    old: Stack
    new: Stack
    from_new: frozenset[str]
    stack: Stack = field(init=False)

    def __post_init__(self) -> None:
        for name in self.from_new:
            if name not in LAYERS:
                raise RequestError(f"{name!r} is no layer", code="request-060", hint=did_you_mean(name, LAYERS))
        model, value = self._of("model"), self._of("value")
        missing = [head for head in value.ranker.heads if head not in model.ranker.heads]
        if missing:
            raise RequestError(
                f"the value of {value.name!r} reads {', '.join(missing)}, which {model.name!r} does not predict",
                code="request-061",
                hint="swap model and value together",
            )
        self.stack = self._joined()

    @property
    def name(self) -> str:
        """The layers that are new, in order; the old stack's name where none is."""
        return "+".join(name for name in LAYERS if name in self.from_new) or self.old.name

    @property
    def layers(self) -> dict[str, str]:
        """Which stack each layer is from."""
        return {name: self._of(name).name for name in LAYERS}

    def rank(self, request: Request, *, explain: bool = False) -> Slate:
        """What this viewer is shown; the trace says which stack each layer is from.

        Raises:
            RequestError: One of the stacks does not serve the surface (``request-001``).
        """
        return self._told(run(self.stack, request, explain=explain))

    def explain(self, request: Request, item_id: int) -> Why:
        """Why the viewer is, or is not, shown this item; the arm says which layers are new. Changes no state."""
        dry = replace(self.stack, memories=(), claims=None)
        return replace(why(dry, self._told(run(dry, request)), request, item_id), arm=self.name)

    def apply(self, feedback: FeedbackBatch) -> None:
        """Lets every memory of both stacks see outcomes."""
        self.stack.apply(feedback)

    def _told(self, slate: Slate) -> Slate:
        return slate if slate.trace is None else replace(slate, trace=replace(slate.trace, layers=self.layers))

    def _of(self, layer: str) -> Stack:
        return self.new if layer in self.from_new else self.old

    def _joined(self) -> Stack:
        """Both stacks' parts as one stack in the rows of retrieval's catalog."""
        found = self._of("retrieval")
        both = {True: Side.of("new", self.new, found.catalog), False: Side.of("old", self.old, found.catalog)}
        sides = {name: both[name in self.from_new] for name in LAYERS}
        used = tuple(one for one in both.values() if one in sides.values())
        return Stack(
            name=self.name,
            catalog=found.catalog,
            sources=tuple(SideSource(one, sides["retrieval"]) for one in found.sources),
            union=SideUnion(found.union, np.all([one.rows_of >= 0 for one in used], axis=0)),
            features=SideFeatures(sides["model"], used),
            ranker=SideRanker(sides["model"]),
            value=_value(sides),
            control=_control(sides),
            memories=tuple(SideMemory(memory, one) for one in both.values() for memory in one.stack.memories),
            quotas=found.quotas,
            rank=found.rank,
            decimals=sides["value"].stack.decimals,
            surfaces=tuple(name for name in self.old.surfaces if name in self.new.surfaces),
            withdrawn=found.withdrawn,
            guards=_guards(sides["control"]),
            claims=_claims(sides["control"]),
        )


def _value(sides: Mapping[str, Side]) -> SideValue:
    heads = sides["model"].stack.ranker.heads
    return SideValue(sides["value"], [heads.index(head) for head in sides["value"].stack.ranker.heads])


def _control(sides: Mapping[str, Side]) -> SideControl:
    found = tuple(one.name for one in sides["retrieval"].stack.sources)
    return SideControl(sides["control"], sides["control"].stack.control, found)


def _guards(side: Side) -> dict[str, tuple[SideGuard, ...]]:
    return {name: tuple(SideGuard(one, side) for one in chain) for name, chain in side.stack.guards.items()}


def _claims(side: Side) -> SideClaims | None:
    return None if side.stack.claims is None else SideClaims(side.stack.claims, side)
