"""A made standing with every record filled: a surface that landed, one that was rolled back, one paused; two legacy stacks."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

from mainstem.evaluate.intervals import Interval
from mainstem.launch.standing import (
    Act,
    DaySince,
    LatencyPart,
    LayerPart,
    MetricStanding,
    OriginStanding,
    RatioStanding,
    SliceStanding,
    Spent,
    Standing,
    State,
    SurfaceStanding,
    WaitStanding,
)

START_MS = 1_793_005_200_000
DAY_MS = 86_400_000
STEPS = (0.0, 0.01, 0.05, 0.25, 0.5, 1.0)
RISKY = '<script>alert("surface")</script>'
"""May stand in any text: whatever shows a standing must show it as text."""
LEGACY = ("content-first", "interest-first")
ROLES = {
    "long_views": ("primary", "up", 0.01, 4.12),
    "likes": ("primary", "up", 0.03, 0.31),
    "reports": ("guardrail", "down", 0.05, 0.0094),
    "latency_p95": ("guardrail", "down", 0.10, 182.0),
    "comments": ("diagnostic", "up", 0.0, 0.058),
}
CHANGES = {
    ("feed", "content-first"): (0.004, 0.011, -0.008, 0.021, 0.002),
    ("feed", "interest-first"): (0.014, 0.021, -0.012, -0.030, 0.011),
    ("groups", "content-first"): (-0.041, -0.012, 0.184, 0.014, -0.06),
    ("groups", "interest-first"): (-0.006, 0.004, 0.092, 0.011, -0.02),
    ("pages", "content-first"): (-0.0135, 0.002, 0.004, 0.033, 0.004),
    ("pages", "interest-first"): (0.001, -0.004, 0.011, 0.041, 0.0),
}
REACH = {"feed": 0.55, "groups": 1.1, "pages": 0.9}
"""Half of an interval, as a share of the margin."""


def interval(mid: float, reach: float, n: int = 41_200) -> Interval:
    return Interval(mid - reach, mid, mid + reach, 0.9, n, "repeated, valid at every look")


def metric(surface: str, legacy: str, name: str, at: int) -> MetricStanding:
    role, direction, margin, old = ROLES[name]
    mid = CHANGES[surface, legacy][at]
    reach = REACH[surface] * (margin or 0.02)
    good = mid if direction == "up" else -mid
    shown = [
        word
        for word, holds in (
            ("not worse", margin and good - reach > -margin),
            ("not better", margin and good + reach < margin),
            ("better", good - reach > 0),
            ("worse", good + reach < 0),
        )
        if holds
    ]
    harm = max(-good / max(reach, 1e-9), -0.5)
    spent = (Spent(1.9 * harm, 4.8), Spent(1.6 * harm, 2.4)) if margin else (None, None)
    left = None if not margin else 0.0 if "not worse" in shown else 2.5 + 3.0 * at
    return MetricStanding(
        name, role, direction, margin, interval(mid, reach), old, old * (1 + mid), 41_200, 40_950 - 210 * at,
        tuple(shown), 0.74, *spent, left,
    )  # fmt: skip


def ratios(broken: bool = False) -> tuple[RatioStanding, ...]:
    days = [(f"day {n}", (1_500 + 3 * n, 1_490 + 2 * n), -1.4 + 0.2 * n) for n in range(1, 15)]
    parts = [*days, ("platform android", (25_010, 24_700), 0.7), ("platform ios", (16_190, 16_260), -1.1)]
    bound = math.log(2_000.0)
    whole = RatioStanding(
        "", (41_200, 38_100 if broken else 40_950), (0.5, 0.5), 61.0 if broken else -0.9, bound, broken
    )
    return (whole, *(RatioStanding(part, counts, (0.5, 0.5), e, bound + 2.8, False) for part, counts, e in parts))


def since(surface: str, legacy: str) -> tuple[DaySince, ...]:
    middle = CHANGES[surface, legacy][0]
    return tuple(
        DaySince(name, day, interval(scale * middle * (1 + 0.8 / (day + 1)), 0.006 + 0.001 * day, 9_000))
        for name, scale in (("long_views", 1.0), ("likes", 0.6))
        for day in range(7)
    )


def slices(surface: str, legacy: str) -> tuple[SliceStanding, ...]:
    middle = CHANGES[surface, legacy][0]
    parts = (("cohort", "days 1 to 7", 1.0), ("cohort", "days 8 to 14", 1.3), ("activity before", "lowest quarter", 0.2),
             ("activity before", "highest quarter", 2.0), ("creators", "large", 0.4), ("creators", "small", 1.7))  # fmt: skip
    found = (
        SliceStanding(by, part, "long_views", "up", 20_600, interval(scale * middle, 0.009))
        for by, part, scale in parts
    )
    return (*found, SliceStanding("cohort", "days 15 to 21", "long_views", "up", 84))


def waits() -> tuple[WaitStanding, ...]:
    found = ((0.5, 61.2, 48.9), (0.9, 104.0, 93.5), (0.99, 182.0, 201.3))
    return tuple(WaitStanding(q, interval(old, 2), interval(new, 2), interval(new - old, 3)) for q, old, new in found)


def origin(surface: str, legacy: str, verdict: str, *reasons: str) -> OriginStanding:
    return OriginStanding(
        legacy, verdict, reasons, 12, 28, tuple(metric(surface, legacy, name, at) for at, name in enumerate(ROLES)),
        ratios(), since(surface, legacy), ("12 units in two arms", "3 events from the future"),
        slices(surface, legacy), waits(),
    )  # fmt: skip


def latency() -> tuple[LatencyPart, ...]:
    return (
        LatencyPart("long_views", interval(-0.0135, 0.006), interval(-0.0095, 0.004), interval(-0.004, 0.005),
                    interval(-0.0061, 0.003), 0.41),
        LatencyPart("likes", interval(0.002, 0.011), interval(-0.004, 0.007), interval(0.006, 0.009)),
    )  # fmt: skip


def layers() -> tuple[LayerPart, ...]:
    changes = {"retrieval": -0.002, "model": 0.003, "value": -0.039, "control": -0.003}
    return tuple(LayerPart("long_views", layer, interval(mid, 0.006)) for layer, mid in changes.items())


def surface(name: str, state: State, step: int, reason: str, *origins: OriginStanding, **more: Any) -> SurfaceStanding:
    share = 0.0 if state in ("rolled back", "stopped", "shadow") else STEPS[step]
    shadow = (120_400, 3, 0.62)
    return SurfaceStanding(
        name, state, step, len(STEPS), share, START_MS + 12 * DAY_MS, reason, origins, shadow, **more
    )


PATHS = {
    "feed": [(0, "start", 0.0), (1, "forward", 0.01), (3, "forward", 0.05), (5, "hold", 0.05), (6, "forward", 0.25),
             (8, "forward", 0.5), (15, "forward", 1.0), (18, "land", 1.0)],
    "groups": [(0, "start", 0.0), (2, "forward", 0.01), (4, "forward", 0.05), (6.4, "roll back", 0.0)],
    "pages": [(0, "start", 0.0), (2, "forward", 0.01), (4, "forward", 0.05), (7, "forward", 0.25), (13, "pause", 0.25)],
}  # fmt: skip
WHY = {
    "start": "begun by the plan", "forward": "the step's hold is over and no bound was passed",
    "hold": "the log of day 5 was late", "land": "the holdback showed no harm in its time",
    "roll back": "reports is past the hourly bound of harm", "pause": "long_views is worse by the daily test",
}  # fmt: skip


def acts() -> tuple[Act, ...]:
    """The three surfaces' acts in the order of time, chained."""
    told = sorted((day, name, action, share) for name, path in PATHS.items() for day, action, share in path)
    found: list[Act] = []
    before, digest = dict.fromkeys(PATHS, 0.0), ""
    for number, (day, name, action, share) in enumerate(told, 1):
        digest = hashlib.sha256(f"{digest}{number}{name}".encode()).hexdigest()
        actor = "ana" if action == "start" else "pilot"
        at_ms = START_MS + int(day * DAY_MS)
        found.append(
            Act(number, at_ms, name, actor, action, before[name], share, WHY[action], {"harmed": ["reports"]}, digest)
        )
        before[name] = share
    return tuple(found)


def rich() -> Standing:
    """Three surfaces, two legacy stacks, every part filled."""
    feed = surface(
        "feed", "landed", 5, "wholly on the new stack",
        origin("feed", "content-first", "NON-INFERIOR", "every primary and guardrail is shown not to be worse by its margin"),
        origin("feed", "interest-first", "WIN", "long_views is better"),
    )  # fmt: skip
    groups = surface(
        "groups", "rolled back", 2, "reports is past the hourly bound of harm against content-first",
        origin("groups", "content-first", "HARM", "reports is past the hourly bound of harm"),
        origin("groups", "interest-first", "INCONCLUSIVE", "long_views is not shown", "reports is not shown"),
        layers=layers(),
    )  # fmt: skip
    pages = surface(
        "pages", "paused", 3, "long_views is worse than before by the daily test; a person decides",
        origin("pages", "content-first", "PAUSE", "long_views is worse by the daily test"),
        origin("pages", "interest-first", "INCONCLUSIVE", "likes is not shown"),
        latency=latency(),
    )  # fmt: skip
    return Standing(
        "autumn-3", "3f2a91c0be11d2e47a55", True, START_MS, START_MS + 19 * DAY_MS, "pilot-7f (4242 on desk)", "HARM",
        "feed landed at 100%, groups rolled back at 0%, pages paused at 25%", (feed, groups, pages), acts(),
    )  # fmt: skip


def begun() -> Standing:
    """What the book alone knows on the first day: one surface in shadow, nothing seen, nobody flying."""
    first = SurfaceStanding("feed", "shadow", 0, 6, 0.0, START_MS, "", ())
    return Standing(
        "autumn-3",
        "3f2a91c0be11d2e47a55",
        False,
        START_MS,
        START_MS,
        "",
        "INCONCLUSIVE",
        "feed shadow at 0%",
        (first,),
        (),
    )


def half() -> Standing:
    """A pass within the first hours: counts and an hourly bound, no look, no days since exposure, one metric only."""
    whole = rich().surfaces[0]
    gate = replace(whole.origins[0], verdict="INCONCLUSIVE", reasons=("before the first legal look",), looks=0, since=(),
                   slices=(), waits=(),
                   ratios=ratios(broken=True)[:1], metrics=whole.origins[0].metrics[:1], left_out=())  # fmt: skip
    one = replace(whole, state="ramp", step=1, share=0.01, reason="", origins=(gate,), shadow=None)
    return replace(rich(), verdict="INVALID", made=False, surfaces=(one,), acts=acts()[:3], at_ms=START_MS + 40_000_000)


def hostile() -> Standing:
    """Names that are markup, pipes and line breaks."""
    told = rich()
    bad = RISKY + "|\n`x`"
    first = replace(told.surfaces[0], surface=bad, reason=bad)
    acts_ = tuple(replace(one, surface=bad, reason=bad, actor=bad) for one in told.acts[:2])
    return replace(told, launch=bad, pilot=bad, sentence=bad, surfaces=(first,), acts=acts_)


def compact() -> Standing:
    """Every kind of figure once or twice: two surfaces, one legacy stack each."""
    told = rich()
    kept = [
        replace(one, origins=(replace(one.origins[0], ratios=one.origins[0].ratios[:3]),)) for one in told.surfaces[1:]
    ]
    return replace(told, surfaces=tuple(kept), acts=tuple(one for one in told.acts if one.surface != "feed"))


EVERY = {"rich": rich, "begun": begun, "half": half, "hostile": hostile}
