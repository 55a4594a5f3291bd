"""An order of launches that asks for the least room at once, for when levelling finds no schedule by itself.

Levelling makes a plan short and looks at one schedule a round; of launches that take room for ever it may place one before
another that would have made room for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import msgspec

from mainstem.workspace.transition import WORKING_DAYS, Joined
from mainstem.workspace.transition_returns import GivenBack


def least_room_order(held: Joined, back: Sequence[GivenBack]) -> tuple[str, ...]:
    """Surfaces in an order that needs no more room than any other, if each waits for what the one before gives back.

    Those that give room back come first, the smallest new stack first; then those that take room, the largest old stack first.
    What has begun stands before both. Over several pools sums decide, and the order is a good one only.

    Source: exchange of neighbours, as in sequencing to minimise the maximum cumulative cost (Abdel-Wahab and Kameda 1978).
    """
    tasks = held.program.tasks

    def key(surface: str) -> tuple[bool, bool, float, str]:
        own = [one for one in back if one.surface == surface]
        begun = any(tasks[one.task].started or tasks[one.task].done for one in own)
        holds, net = sum(one.holds for one in own), sum(float(one.net[-1]) for one in own)
        return (not begun, net < 0.0, holds if net >= 0.0 else -(holds + net), surface)

    return tuple(sorted({one.surface for one in back}, key=key))


def one_by_one(held: Joined, back: Sequence[GivenBack]) -> Joined:
    """The migration in which each launch waits until the one before it, in `least_room_order`, has given back its old stack."""
    tasks, order = dict(held.program.tasks), least_room_order(held, back)
    for earlier, later in pairwise(order):
        days = WORKING_DAYS * (1 + max(one.after for one in back if one.surface == earlier))
        link = f"{held.joining.surfaces[earlier].lands}+{days}"
        for name in {one.task for one in back if one.surface == later}:
            tasks[name] = msgspec.structs.replace(tasks[name], after=[*tasks[name].after, link])
    return replace(held, program=msgspec.structs.replace(held.program, tasks=tasks))
