"""Made traffic for a launch: users who come back, arms from the book, outcomes with a planted effect, all in a real event log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from mainstem.base.clock import SetClock
from mainstem.data.records import Feedback, pack_impression
from mainstem.launch.assignment import OUTSIDE, launch_of
from mainstem.launch.decide import HOUR_MS, state_at
from mainstem.launch.pilot import Outside, Pilot
from mainstem.launch.plan_file import Metric, Plan, Rollback, Shadow, Step, plan_hash
from mainstem.launch.served_log import ServedLog, reader_of
from mainstem.store.event_log import IMPRESSION, EventLog
from mainstem.store.launch_book import LaunchBook, Started

START_MS = 1_700_000_000_000
PASS_HOURS = 6
CLICKS = Metric(role="primary", column="click", per="requests", kind="ratio", margin=0.1, looks=21, first_look_day=2)
HATES = Metric(
    role="guardrail",
    column="hate",
    per="requests",
    kind="ratio",
    margin=0.5,
    direction="down",
    looks=21,
    first_look_day=2,
)


def plan_for(*surfaces: str, **changes: object) -> Plan:
    """Shadow for a day, 5 %, 50 % to a verdict, a holdback of 5 % for a day."""
    plan = Plan(
        name="made",
        surfaces=list(surfaces),
        legacy=["content-first"],
        metrics={"clicks": CLICKS, "hates": HATES},
        steps=[Step(share=share, hold_hours=24) for share in (0.0, 0.05, 0.5, 0.95)],
        rollback=Rollback(),
        shadow=Shadow(least_requests=0),
    )
    return msgspec.structs.replace(plan, **changes)


@dataclass
class Made:
    """One launch in a folder.

    Args:
        folder: Where the log and the book lie.
        plan: What is promised.
        change: Surface = true relative change of clicks on the new stack.
        users: How many there are; each comes about once a day.
        lose_exposures: Share of users whose exposures are never logged.
        tilt: Share of the new arm's users who never reach it.
    """

    folder: Path
    plan: Plan
    change: dict[str, float]
    users: int = 1_500
    seed: int = 5
    lose_exposures: float = 0.0
    tilt: float = 0.0
    clock: SetClock = field(default_factory=lambda: SetClock(START_MS))

    def __post_init__(self) -> None:
        self.log = EventLog(self.folder / "events.sqlite")
        self.book = LaunchBook(self.folder / "launches.sqlite")
        self.rng = np.random.default_rng(self.seed)
        self.likes = self.rng.beta(6, 8, self.users)
        self.requests = 0
        audience = {surface: dict.fromkeys(self.plan.carried(surface), self.users) for surface in self.plan.surfaces}
        self.started = Started(
            self.plan.name, msgspec.json.encode(self.plan), plan_hash(self.plan), START_MS, {"audience": audience}
        )
        share = self.plan.steps[0].share
        self.book.start(self.started, dict.fromkeys(self.plan.surfaces, (share, state_at(self.plan, 0))), "test")

    def pilot(self, holder: str = "test", **outside: object) -> Pilot:
        """A pilot that starts from what is on disk."""
        log = ServedLog(reader_of(self.log.path), self.plan)
        return Pilot(self.book, self.started, self.plan, log, self.clock, holder, Outside(**outside))  # type: ignore[arg-type]

    def traffic(self) -> None:
        """A few hours of traffic on every surface, then the clock at their end."""
        span_ms = PASS_HOURS * HOUR_MS
        begin = self.clock.now_ms()
        shown, answered = [], []
        for place in self.book.placements(self.plan.name):
            users = np.flatnonzero(self.rng.random(self.users) < PASS_HOURS / 24)
            served = place.share > 0
            codes = launch_of(self.plan, place.step).assign(users) if served else np.full(len(users), OUTSIDE)
            for user, code in zip(users.tolist(), codes.tolist(), strict=True):
                arm = "" if code == OUTSIDE else ("treatment", "control")[code]
                if arm == "treatment" and self.likes[user] * 977 % 1 < self.tilt:
                    continue
                self._request(user, place.surface, arm, begin + int(self.rng.integers(span_ms)), shown, answered)
        self.log.append(shown, IMPRESSION)
        self.log.append(answered)
        self.clock.set(begin + span_ms)

    def _request(self, user: int, surface: str, arm: str, at_ms: int, shown: list, answered: list) -> None:
        self.requests += 1
        rate = self.likes[user] * (1 + self.change.get(surface, 0.0) * (arm == "treatment"))
        told = f"{self.plan.name}.{arm}" if arm and self.likes[user] * 991 % 1 >= self.lose_exposures else None
        shown.append(
            pack_impression(
                np.array([7]), {}, request_id=self.requests, user_id=user, surface=surface, time_ms=at_ms, stack="x", arm=told,
                timings_ms={"rank": 2.0},
            )
        )  # fmt: skip
        answered.append(
            Feedback(
                request_id=self.requests, user_id=user, item_id=7, surface=surface, time_ms=at_ms,
                click=int(self.rng.random() < rate), hate=int(self.rng.random() < 0.05),
            )
        )  # fmt: skip

    def fly(self, passes: int, pilot: Pilot | None = None) -> Pilot:
        """Traffic with a pass after each few hours, until every surface has ended."""
        pilot = pilot or self.pilot()
        seat = pilot.sit()
        for _ in range(passes):
            self.traffic()
            if pilot.once(seat):
                break
        return pilot

    def states(self) -> dict[str, str]:
        """How each surface stands."""
        return {one.surface: one.state for one in self.book.placements(self.plan.name)}

    def actions(self, surface: str) -> list[str]:
        """What was done with a surface, in order."""
        return [one.action for one in self.book.acts(self.plan.name) if one.surface == surface]

    def close(self) -> None:
        """Closes the log."""
        self.log.close()
