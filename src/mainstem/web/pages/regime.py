"""What a stack knew when it was compared: the two regimes, their evidence, and the choice between them on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request

from mainstem.base.errors import RequestError, did_you_mean
from mainstem.web.render import address
from mainstem.web.site import Site
from mainstem.workspace.compare import SCORE, Regime

REGIMES: Final[tuple[Regime, ...]] = ("frozen", "continuous")
"""In the order of the page; the first is the fair test and the one that is shown unless another is asked for."""

TITLE: Final[Mapping[Regime, str]] = {"frozen": "Frozen state", "continuous": "Continuous state"}

_ORDERED_BY: Final = {
    "head": "The unified stack's claims are about its long-view prediction.",
    "order": "The unified stack's claims are about its final order.",
}
_TEXT: Final[Mapping[Regime, str]] = {
    "frozen": "Nothing that happened after training is known: every stack scores all held-out days with what it knew when "
    "training ended. This is the fair test of an order.",
    "continuous": "Every outcome up to a minute ago is known. That is closer to serving, and it is no fair test of an order: in "
    "a window whose total is fixed, each long view that came leaves fewer to come, so an order that counts a user's luck "
    "so far downwards scores high on GAUC although nothing was learned. The pooled AUC gives it away: such an order is "
    "below 0.5 over all users.",
}


def evidence_name(regime: Regime) -> str:
    """Which evidence holds the comparison in this regime."""
    return f"side_by_side_{regime}"


def asked_regime(request: Request) -> Regime:
    """The regime an address asks for, the first one when it asks for none.

    Raises:
        RequestError: There is no such regime (``web-002``).
    """
    asked = request.query_params.get("regime", "") or REGIMES[0]
    for regime in REGIMES:
        if asked == regime:
            return regime
    hint = did_you_mean(asked, REGIMES) or f"one of {', '.join(REGIMES)}"
    raise RequestError(f"there is no regime {asked[:40]!r}", code="web-002", hint=hint)


async def choice(site: Site, here: Regime) -> dict[str, Any]:
    """What the page says of the regime it shows, and the way to the other one."""
    options = [
        {
            "name": TITLE[regime],
            "address": address("/side-by-side", regime=regime),
            "here": regime == here,
            "measured": await site.off_loop(site.workspace.evidence(evidence_name(regime)).is_file),
        }
        for regime in REGIMES
    ]
    return {"regime": here, "regime_text": f"{_TEXT[here]} {_ORDERED_BY[SCORE[here]]}", "regimes": options}
