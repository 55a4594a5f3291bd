"""Which layer of a new stack harms a surface? Made users served by every combination of the old and the new stack's layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import LaunchError, did_you_mean
from mainstem.base.heads import HEADS
from mainstem.base.request import Request
from mainstem.data.log import Log, read_log
from mainstem.data.world import World
from mainstem.launch.assignment import Launch, shares
from mainstem.launch.layer_design import LayerDesign
from mainstem.launch.layers import Blame, LayerEffects, blame, layer_effects
from mainstem.launch.standing import LayerPart
from mainstem.stacks.stage import Stack
from mainstem.stacks.swapped import Swapped, layer_groups
from mainstem.workspace.layout import Workspace
from mainstem.workspace.platform import open_stack
from mainstem.workspace.students import PORTS, day_after

REQUESTS: Final = 2
"""Requests of each user."""
STEP_MS: Final = 60_000
FEW: Final = 10.0
"""Items of the average user that are added to each user's own, so that who was shown little is taken to be like the others."""


@dataclass(frozen=True, slots=True)
class LayersTold:
    """What each layer changed on a surface, and which one is to blame.

    Attributes:
        groups: Layers that were swapped together.
        effects: By metric, with what users did before the experiment as a covariate.
        blame: By the first metric.
    """

    surface: str
    legacy: str
    groups: tuple[str, ...]
    effects: dict[str, LayerEffects]
    blame: Blame

    @property
    def sentence(self) -> str:
        """Who is to blame, and how much of the noise was known before."""
        first = next(iter(self.effects.values()))
        if first.ratio.alarm:
            return self.blame.sentence
        return f"{self.blame.sentence} (what users did before explained {first.explained:.0%} of the noise)"

    @property
    def parts(self) -> tuple[LayerPart, ...]:
        """As pages show them."""
        return tuple(
            LayerPart(metric, layer, change)
            for metric, found in self.effects.items()
            for layer, change in found.layers.items()
        )


def layers_of(
    workspace: Workspace,
    world: World,
    surface: str,
    legacy: str,
    seed: int,
    progress: Callable[[float, str], None],
    *,
    metrics: Sequence[str] = ("long_view", "click"),
    users: int = 1_600,
    half: bool = False,
) -> LayersTold:
    """What did each layer of the workspace's new stack change on a surface?

    Args:
        workspace: With the new stack's settings and model, and the legacy stack's artefacts.
        world: Whose users answer.
        surface: Where.
        legacy: The old stack.
        seed: Of which users.
        progress: Told how much is done, and what.
        metrics: Heads, counted a request, so that showing less is no gain; the first one names the layer.
        users: Each is served by one combination.
        half: Serve only the half of all combinations that tells layers apart.

    Raises:
        LaunchError: There is no such legacy stack to port (``launch-083``), the arms are too small (``launch-101``), or a half of
            them cannot tell this pair of stacks' layers apart (``launch-140``).
    """
    log = read_log(workspace.log)
    old, new = _port(workspace, legacy, log), open_stack(workspace, log)
    groups = layer_groups(old, new)
    names = tuple(" and ".join(group) for group in groups)
    design = LayerDesign.half(names) if half else LayerDesign.full(names)
    arms = [
        Swapped(
            old, new, frozenset(layer for group, taken in zip(groups, arm, strict=True) if taken for layer in group)
        )
        for arm in design.arms
    ]
    asked = np.random.default_rng(seed).permutation(world.people.user_ids)[:users]
    arm_of = Launch(f"layers-{surface}", shares({f"{n}": 1 / len(arms) for n in range(len(arms))}), layer="layers")
    codes = np.maximum(arm_of.assign(asked), 0)
    begin_ms = int(log.impressions["time_ms"].max() or 0) + STEP_MS  # type: ignore[arg-type]
    sums = np.zeros((len(asked), len(HEADS)))
    for row, (user, code) in enumerate(zip(asked.tolist(), codes.tolist(), strict=True)):
        for number in range(row * REQUESTS, (row + 1) * REQUESTS):
            request = Request(number, user, surface, begin_ms + number * STEP_MS // 60, 10)
            sums[row] += _answered(world, arms[code], request)
        if row % 50 == 0:
            progress(row / len(asked), f"layers of {surface}")
    which = np.array(design.arms)[codes]
    known = {one: before(log.impressions, asked, surface, one) for one in metrics}
    effects = {one: layer_effects(design, which, sums[:, HEADS.index(one)] / REQUESTS, known[one]) for one in metrics}
    return LayersTold(surface, legacy, names, effects, blame(effects[metrics[0]]))


def before(impressions: pl.DataFrame, users: NDArray[np.int64], surface: str, head: str) -> NDArray[np.float64]:
    """How much of what they were shown did users act on, on the surface and on all of them?

    Args:
        impressions: Of a log that ends before the experiment.
        users: Any; one that the log does not know is taken for the average.
        surface: Where.
        head: Which act.

    Shapes: answer ``[users, 2]``.
    """
    told = impressions.filter(pl.col(head).is_not_null())
    return np.column_stack(
        [_shares(told.filter(pl.col("surface") == surface), users, head), _shares(told, users, head)]
    )


def _shares(told: pl.DataFrame, users: NDArray[np.int64], head: str) -> NDArray[np.float64]:
    mean = float(told[head].mean() or 0.0)  # type: ignore[arg-type]
    mine = told.group_by(pl.col("user_id").cast(pl.Int64)).agg(done=pl.col(head).sum().cast(pl.Float64), items=pl.len())
    asked = pl.DataFrame({"user_id": users}).join(mine, on="user_id", how="left", maintain_order="left").fill_null(0)
    return ((asked["done"] + FEW * mean) / (asked["items"] + FEW)).to_numpy()


def _answered(world: World, arm: Swapped, request: Request) -> NDArray[np.float64]:
    """What the user did with the slate, by head."""
    items = arm.rank(request).item_ids
    if not len(items):
        return np.zeros(len(HEADS))
    found = world.respond(request.user_id, items, np.arange(len(items)), request.surface, request.now_ms)
    return found.heads.sum(axis=0).astype(np.float64)


def _port(workspace: Workspace, legacy: str, log: Log) -> Stack:
    if legacy not in PORTS:
        raise LaunchError(
            f"found no port of {legacy!r}, expected one of {', '.join(PORTS)}",
            code="launch-083",
            hint=did_you_mean(legacy, PORTS),
        )
    return PORTS[legacy](workspace.legacy_model(legacy), log, day_after(log))
