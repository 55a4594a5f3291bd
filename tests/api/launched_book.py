"""A book of launches for tests: a plan of two legacy stacks, started and moved by hand."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mainstem.launch.plan_file import Latency, Metric, Plan, Step, plan_hash
from mainstem.store.launch_book import LaunchBook, Move, Started

LEGACY = ("old-a", "old-b")


def plan_of(name: str = "one", **changes) -> Plan:
    known = {
        "surfaces": ["feed"],
        "legacy": list(LEGACY),
        "metrics": {"clicks": Metric(role="primary", column="click", margin=0.01)},
        "steps": [Step(share=share, hold_hours=1) for share in (0.0, 0.05, 0.25, 0.5, 0.95)],
    }
    return Plan(name=name, **(known | changes))


def started(folder: Path, plan: Plan | None = None, share: float = 0.0, **more) -> LaunchBook:
    """A book with one launch, taken to a share at once."""
    plan = plan or plan_of()
    book = LaunchBook(folder / "launches.sqlite")
    told = msgspec.json.encode(plan)
    book.start(
        Started(plan.name, told, plan_hash(plan), 1_000, {}), dict.fromkeys(plan.surfaces, (0.0, "shadow")), "ana"
    )
    if share:
        move(book, share, **more)
    return book


def move(
    book: LaunchBook, share: float, state: str = "ramp", *, launch: str = "", surface: str = "feed", at_ms: int = 2_000
):
    """Takes a surface to a share."""
    place = [one for one in book.placements(launch) if one.surface == surface][-1]
    act = Move(surface, "ana", "forward", at_ms, place.number, place.step + 1, share, state, "a test", {})
    assert book.act(place.launch, act)


SLOWED = Latency(share=0.1, days=2.0, dose_ms=40.0)
