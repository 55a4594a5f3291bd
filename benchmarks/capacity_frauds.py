"""Twenty-five ways to flatter a savings ledger, each a change to an honest claim, and the refusal each must meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mainstem.capacity.ledger import append
from mainstem.capacity.savings import Baseline

BASE = Baseline("feed ranking", "GPU-h/wk", {"requests": 100.0}, {"candidates": 5.0, "cost": 2.0})
MEASURED = {"requests": 120.0, "candidates": 4.0, "cost": 1.5}
NET = 120 * 5 * 2 - 120 * 4 * 1.5 - 30 - 10

Row = tuple[str, str, str, str, dict[str, Any]]


def held(baseline: Baseline = BASE) -> dict[str, Any]:
    """A baseline as an entry holds it."""
    return {"drivers": asdict(baseline), "sha256": baseline.sha256}


def honest(claim: str = "S1", scope: str = "feed/rank", receipt: str = "R-1") -> list[Row]:
    """A claim that is right in every entry."""
    return [
        ("idea", claim, "ann", "2026-01-05", {"title": "fewer candidates", "scope": scope}),
        ("forecast", claim, "ann", "2026-01-12", {"p50": 450, "p80": 380, "unit": "GPU-h/wk"}),
        (
            "committed",
            claim,
            "ann",
            "2026-02-02",
            {"owner": "ann", "due": "2026-06-30", "unit": "GPU-h/wk", "amount": 380, "baseline": held()},
        ),
        ("in flight", claim, "ann", "2026-03-02", {"launch": "feed-unified"}),
        (
            "delivered",
            claim,
            "ann",
            "2026-05-04",
            {
                "measured": MEASURED,
                "dual": 30,
                "migration": 10,
                "unit": "GPU-h/wk",
                "amount": NET,
                "weeks": ["2026-W14", "2026-W17"],
                "source": "usage export",
                "baseline_sha256": BASE.sha256,
            },
        ),
        (
            "verified",
            claim,
            "bob",
            "2026-06-01",
            {
                "receipt": {"id": receipt, "kind": "reclaimed", "units": NET},
                "units": NET,
                "unit": "GPU-h/wk",
                "weeks": ["2026-W14", "2026-W17"],
            },
        ),
    ]


def write(file: Path, rows: list[Row]) -> None:
    """Appends rows one by one."""
    for kind, claim, by, day, body in rows:
        append(file, kind, claim, by, day, body)


def changed(at: int, *, by: str = "", day: str = "", **more: Any) -> Callable[[list[Row]], list[Row]]:
    """The rows with one entry changed."""

    def change(rows: list[Row]) -> list[Row]:
        kind, claim, who, when, body = rows[at]
        return [*rows[:at], (kind, claim, by or who, day or when, body | more), *rows[at + 1 :]]

    return change


def second(**of: str) -> Callable[[list[Row]], list[Row]]:
    """The rows and a second claim."""
    other = honest("S2", of.get("scope", "groups/rank"), of.get("receipt", "R-2"))
    return lambda rows: [*rows, *((k, c, b, "2026-07-01", body) for k, c, b, _, body in other)]


def rebased(**of: str) -> Callable[[list[Row]], list[Row]]:
    """The rows with a softer baseline put in."""
    softer = held(replace(BASE, efficiency={"candidates": 9.0, "cost": 2.0}))
    body = {
        "change": of.get("change", "CR-7"),
        "approved_by": of.get("approved_by", "bob"),
        "baseline": softer,
        "reason": "r",
    }
    at = int(of.get("at", 4))
    return lambda rows: [*rows[:at], ("rebaseline", "S1", "ann", rows[at - 1][3], body), *rows[at:]]


FRAUDS: dict[str, tuple[Callable[[list[Row]], list[Row]], str]] = {
    "demand fell and is called efficiency": (changed(4, amount=1_000.0 - 120 * 4 * 1.5 - 40), "capacity-039"),
    "gross is claimed, dual running forgotten": (changed(4, amount=NET + 40), "capacity-039"),
    "a negative cost of the migration": (changed(4, migration=-200, amount=NET + 210), "capacity-033"),
    "a forecast is delivered unmeasured": (changed(4, measured={}, amount=450), "capacity-032"),
    "a driver is left out": (changed(4, measured={"requests": 120.0, "cost": 1.5}), "capacity-032"),
    "measured against an edited baseline": (changed(4, baseline_sha256="f" * 64), "capacity-037"),
    "the baseline is edited, its hash is not": (
        changed(2, baseline={"drivers": asdict(replace(BASE, demand={"requests": 200.0})), "sha256": BASE.sha256}),
        "capacity-037",
    ),
    "a new baseline without a change request": (rebased(change=""), "capacity-034"),
    "a new baseline approved by its owner": (rebased(approved_by="ann"), "capacity-040"),
    "a new baseline after the measurement": (rebased(at="5"), "capacity-037"),
    "verified by its owner": (changed(5, by="ann"), "capacity-040"),
    "verified without a receipt": (changed(5, receipt=None), "capacity-034"),
    "GPUs not given back": (changed(5, receipt={"id": "R-1", "kind": "reclaimed", "units": 100}), "capacity-039"),
    "a receipt over no number": (
        changed(5, receipt={"id": "R-1", "kind": "reclaimed", "units": "nan"}),
        "capacity-034",
    ),
    "a number that is none": (changed(4, amount=float("nan")), "capacity-034"),
    "weeks that are none": (changed(4, weeks=["2026-W14"]), "capacity-034"),
    "a purchase counted as a reclaim": (
        changed(5, receipt={"id": "R-1", "kind": "purchase", "units": NET}),
        "capacity-039",
    ),
    "one receipt for two claims": (second(receipt="R-1"), "capacity-036"),
    "two claims on one saving": (second(scope="feed/rank"), "capacity-036"),
    "another unit": (changed(4, unit="A100-h/wk"), "capacity-038"),
    "verified before delivered": (lambda rows: [*rows[:4], rows[5]], "capacity-035"),
    "backdated": (changed(5, day="2026-04-01"), "capacity-034"),
    "verified for other weeks": (changed(5, weeks=["2026-W01", "2026-W52"]), "capacity-039"),
    "somebody else commits": (changed(2, owner="eve"), "capacity-040"),
    "corrected upwards": (
        lambda rows: [*rows, ("correction", "S1", "ann", "2026-06-02", {"of": 4, "amount": 900, "reason": "r"})],
        "capacity-039",
    ),
}
