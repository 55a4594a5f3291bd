"""A migration's ramp as pages show it: which rungs a surface passed, and how much of each margin was left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Found = Mapping[str, Any]


def rungs(verdict: Found, plan: Found) -> list[dict[str, Any]]:
    """Every declared step of one surface's ramp, with its last look; steps it never came to have no decision."""
    last: dict[float, Found] = {}
    for step in verdict["steps"]:
        last[step["share"]] = step
    return [
        {
            "share": step["share"],
            "widened": step["widened"],
            "decision": last[step["share"]]["decision"] if step["share"] in last else "",
            "looks": last[step["share"]]["look"] if step["share"] in last else 0,
            "users": last[step["share"]]["users"] if step["share"] in last else 0,
        }
        for step in plan["steps"]
    ]


def margin_left(reading: Found) -> dict[str, float] | None:
    """How much of the margin is left, as its multiple: 1 means unchanged, 0 just at the limit, below 0 beyond it.

    None where the margin is a share of a figure that was 0.
    """
    margin = reading["margin"]
    allowed = margin["loss"] * reading["widened"] * (reading["old"] if margin["relative"] else 1.0)
    if not allowed > 0:
        return None
    return {name: reading["clearance"][name] / allowed for name in ("low", "mid", "high")}


def readings(found: Found) -> list[dict[str, Any]]:
    """One row a surface, step, look and metric."""
    return [
        {
            "surface": step["surface"],
            "share": step["share"],
            "look": step["look"],
            "users": step["users"],
            "requests": step["requests"],
            "metric": reading["margin"]["metric"],
            "margin": margin_words(reading["margin"], reading["widened"]),
            "old": reading["old"],
            "new": reading["new"],
            "change": reading["change"],
            "left": margin_left(reading),
            "state": reading["state"],
            "decision": step["decision"],
        }
        for verdict in found["verdicts"]
        for step in verdict["steps"]
        for reading in step["readings"]
    ]


def margin_words(margin: Found, widened: float) -> str:
    """A declared margin in words, as it counts at this step."""
    loss = margin["loss"] * widened
    direction = "above" if margin["lower_is_better"] else "below"
    return f"{100 * loss:g} % {direction}" if margin["relative"] else f"{loss:g} a request {direction}"
