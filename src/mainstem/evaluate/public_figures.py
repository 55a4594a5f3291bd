"""What others reached on KuaiRand-Pure, to stand beside our numbers, and when they may not be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OFFICIAL_TEST_DAYS: Final = (20220429, 20220508)


@dataclass(frozen=True, slots=True)
class PublicFigure:
    """A published result on the official test days: the mean of GAUC and nDCG@5 for long view.

    ``skill`` is the share of the way from the published random order to the published perfect one.
    """

    name: str
    primary: float
    skill: float
    told_by: str


_RANDOM, _PERFECT = 0.4753, 0.8645


def _figure(name: str, primary: float, told_by: str) -> PublicFigure:
    return PublicFigure(name, primary, round((primary - _RANDOM) / (_PERFECT - _RANDOM), 4), told_by)


KUAIRAND_PURE: Final = (
    _figure("random order", _RANDOM, "the organisers"),
    _figure("item popularity", 0.5715, "a team's report"),
    _figure("factorisation machine", 0.5946, "the organisers (5 seeds, sd .0008)"),
    _figure("best report", 0.6143, "a team's report (one run, not audited)"),
    _figure("perfect order", _PERFECT, "the organisers"),
)
"""TechJam 2026 track 2, KuaiRand-Pure, trained on 04-08 to 04-21, tested on 04-29 to 05-08."""


def public_note(test_days: tuple[int, ...]) -> str:
    """Whether these test days are the ones of the public figures, in one sentence for the reader."""
    first, last = min(test_days), max(test_days)
    if (first, last) == OFFICIAL_TEST_DAYS:
        return "The same test days as the public figures (04-29 to 05-08)."
    return (
        f"The public figures are for the test days {OFFICIAL_TEST_DAYS[0]} to {OFFICIAL_TEST_DAYS[1]}, ours for {first} to "
        f"{last}: with fewer days a user has fewer rows and the primary number is lower for every arm, the perfect order "
        "included. Compare the skill column (share of the way from a random to a perfect order), not the primary number."
    )
