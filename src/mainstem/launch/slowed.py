"""Which units wait on purpose: arms of the old ranking with a delay, so that latency can be told from ranking.

They stand around the middle of a launch's line, the last place that the new stack from below and its control from above come to.
So a slowed unit was in neither arm before, and when a step needs its place the slowed arms are gone.
"""

from __future__ import annotations

from typing import Final

from mainstem.launch.assignment import Segment
from mainstem.launch.plan_file import Latency

MATCHED: Final = "matched"
"""The old stack, as slow as the new one."""
DOSE: Final = "dose"
"""The old stack, slowed by the plan's ``dose_ms``."""
SLOWED: Final = (MATCHED, DOSE)
MS_PER_DAY: Final = 86_400_000
_MIDDLE: Final = 0.5


def slowed_arms(share: float, latency: Latency, since_ms: int | None, now_ms: int) -> tuple[Segment, ...]:
    """The slowed arms beside a step's own arms; none when the plan has none, when their days are over or there is no room.

    Args:
        share: The step's share of units on the new stack; 0, as after a rollback, slows nobody.
        latency: What was promised.
        since_ms: When the surface first had units on the new stack; None if it never had.
        now_ms: On the same clock. A time before ``since_ms`` is another clock, and slows nobody.

    Raises:
        LaunchError: More units or more days than anybody may be slowed (``launch-015``).
    """
    if latency.share <= 0 or share <= 0 or since_ms is None:
        return ()
    # Brings scipy, which a server without such arms need not load.
    from mainstem.launch.latency_split import check_slowdown

    check_slowdown(latency.share, latency.days)
    if not 0 <= now_ms - since_ms < latency.days * MS_PER_DAY or share + latency.share > _MIDDLE:
        return ()
    matched = Segment(MATCHED, _MIDDLE, _MIDDLE + latency.share)
    return (matched, Segment(DOSE, _MIDDLE - latency.share, _MIDDLE)) if latency.dose_ms > 0 else (matched,)
