"""A slip moves dual running by the closed form, a pool moves launches, and both stay one model."""

from dataclasses import replace
from datetime import date
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mainstem.base.errors import CapacityError, ProgramError
from mainstem.capacity.calibration import WORK, Calibration, Fitted, Hardware
from mainstem.capacity.elicited import Elicited, exactly
from mainstem.capacity.measuring import RANKERS
from mainstem.capacity.transition import Need, Resource, SurfaceMove, Transition
from mainstem.capacity.worlds import USES, draw_worlds, stage_begins
from mainstem.program.plan_file import parse_program
from mainstem.program.worlds import simulate
from mainstem.workspace.transition import (
    Joined,
    capacity_worlds,
    first_stages,
    join,
    landings_of,
    outcome,
    ramp_weeks,
    read_transition,
    with_work,
)
from mainstem.workspace.transition_file import Joining, PoolLink, SurfaceLink, parse_joining
from mainstem.workspace.transition_level import level_transition, room
from mainstem.workspace.transition_slips import delayed, late_dual_running, longer_ramp_dual_running, stretched

TODAY = date(2026, 11, 22)
PROGRAM = """
[program]
name = "two surfaces"
start = 2026-01-05
correlation = 0.3
[workstreams.feed]
[workstreams.pages]
[pools.gpu]
size = 1000
[tasks.feed-ramp]
workstream = "feed"
duration = DAYS_FEED
needs = { gpu = 1 }
[tasks.pages-ramp]
workstream = "pages"
duration = DAYS_PAGES
needs = { gpu = 1 }
[milestones.feed-live]
workstream = "feed"
after = ["feed-ramp"]
[milestones.pages-live]
workstream = "pages"
after = ["pages-ramp"]
"""


RAMPED = (
    PROGRAM.replace("[tasks.feed-ramp]", '[tasks.feed-port]\nduration = [60]\n[tasks.feed-ramp]\nafter = ["feed-port"]')
    .replace("DAYS_FEED", "[20]")
    .replace("DAYS_PAGES", "[60]")
)
STAGES = ((0.2, 1), (0.5, 2), (0.9, 1), (1.0, 0))


def ramped(old: float, new: float, days: str = "[20]", **more) -> Joined:
    """Feed's stages run in the days of its ramp, and all its capacity is there before they begin."""
    held = joined()
    (_, pages), own = held.capacity.surfaces, move("feed", 3, old, new, **more)
    plan = Transition((replace(own, stages=STAGES), pages), held.capacity.resources, weeks=60)
    link = msgspec.structs.replace(held.joining.surfaces["feed"], ramp="feed-ramp")
    joining = msgspec.structs.replace(held.joining, surfaces=held.joining.surfaces | {"feed": link})
    return join(parse_program(RAMPED.replace("[20]", days)), plan, joining)


def program(feed: str = "[50]", pages: str = "[60]"):
    return parse_program(PROGRAM.replace("DAYS_FEED", feed).replace("DAYS_PAGES", pages))


def move(name: str, start: int, old: float, new: float, **more) -> SurfaceMove:
    return SurfaceMove(
        name, {"gpu": Need(old)}, {"gpu": Need(new)}, stages=((0.2, 1), (0.5, 1), (1.0, 0)), start=start, **more
    )


def joined(feed: str = "[50]", pages: str = "[60]", *, pool: dict[int, float] | None = None, **more) -> Joined:
    plan = Transition(
        (move("feed", 8, 90.0, 60.0, lead=2, lag=exactly(1.0), **more), move("pages", 10, 40.0, 50.0)),
        (Resource("gpu", "GPU", pool=pool or {}, price=2.0),),
        weeks=60,
    )
    links = {"feed": SurfaceLink("feed-live", ("feed-ramp",)), "pages": SurfaceLink("pages-live", ("pages-ramp",))}
    return join(program(feed, pages), plan, Joining(links, {"gpu": PoolLink("gpu")}))


@pytest.mark.parametrize("weeks", [1, 3, 7])
@pytest.mark.parametrize(("surface", "old", "new"), [("feed", 90.0, 60.0), ("pages", 40.0, 50.0)])
def test_a_delay_changes_dual_running_by_the_closed_form(weeks: int, surface: str, old: float, new: float) -> None:
    held = joined()
    before, after = (outcome(one, worlds=3) for one in (held, delayed(held, surface, weeks)))
    change = after.timeline.dual[surface]["gpu"].p50 - before.timeline.dual[surface]["gpu"].p50
    assert change == pytest.approx(late_dual_running(weeks, old, new), abs=1e-9)
    assert after.timeline.money.p50 - before.timeline.money.p50 == pytest.approx(2.0 * change, abs=1e-9)


@pytest.mark.parametrize(("old", "new"), [(90.0, 60.0), (40.0, 50.0), (70.0, 10.0)])
@pytest.mark.parametrize(
    ("weeks", "more"),
    [
        *((weeks, {}) for weeks in (-3, -1, 1, 2, 4, 8)),
        *((weeks, {"reserve": 0.4, "reserve_weeks": 3}) for weeks in (-3, 2, 8)),
        *((weeks, {"lag": exactly(3.0)}) for weeks in (-2, 1, 4)),
    ],
)
def test_a_longer_ramp_changes_dual_running_by_the_closed_form(weeks: int, old: float, new: float, more: dict) -> None:
    held = ramped(old, new, **more)
    before, after = (outcome(one, worlds=2) for one in (held, stretched(held, "feed", weeks)))
    was, now = (held_weeks(4), held_weeks(4 + weeks))
    extra = [(share, now[at] - was[at]) for at, (share, _) in enumerate(STAGES[:-1])]
    assert sum(of for _, of in extra) == weeks
    change = after.timeline.dual["feed"]["gpu"].p50 - before.timeline.dual["feed"]["gpu"].p50
    assert change == pytest.approx(longer_ramp_dual_running(extra, old, new, more.get("reserve", 0.0)), abs=1e-9)


def held_weeks(ramp: int) -> list[int]:
    return np.diff(stage_begins(STAGES, ramp)).tolist()


def test_week_by_week_the_old_stack_is_held_as_the_stretched_stages_say() -> None:
    held = stretched(ramped(90.0, 60.0), "feed", 4)
    landings = landings_of(held, 1)
    starts = first_stages(held, landings.landings, landings.lasted)
    drawn = capacity_worlds(held, starts, 1, lasted=landings.lasted)
    assert (starts["feed"][0], landings.lasted["feed-ramp"][0]) == (12.0, 40.0)  # the port takes weeks 0 to 11
    old = 90.0 * (1.0 - np.repeat([0.0, 0.2, 0.5, 0.9, 1.0], [12, 2, 4, 2, 40]))
    others = capacity_worlds(_without(held, "feed"), {"pages": starts["pages"]}, 1).held[0, :, 0]
    np.testing.assert_allclose(drawn.held[0, 7:, 0] - others[7:], old[7:] + 60.0)


def _without(held: Joined, surface: str) -> Joined:
    kept = tuple(one for one in held.capacity.surfaces if one.name != surface)
    return replace(held, capacity=replace(held.capacity, surfaces=kept))


def test_in_each_world_a_ramp_takes_the_weeks_of_its_task() -> None:
    held = ramped(90.0, 60.0, "[10, 20, 45]")
    landings = landings_of(held, 400)
    ramps = ramp_weeks(held, landings.lasted)["feed"]
    assert ramps.min() < 3 < 7 < ramps.max()
    starts = first_stages(held, landings.landings, landings.lasted)["feed"]
    assert set(starts) == {12.0}  # the port is certain, and the ramp begins when it has ended
    drawn = capacity_worlds(held, {"feed": starts, "pages": np.full(400, 20.0)}, 400, lasted=landings.lasted)
    paper = [
        longer_ramp_dual_running(
            [(STAGES[at][0], held_weeks(int(n))[at] - held_weeks(4)[at]) for at in range(3)], 90, 60
        )
        for n in ramps
    ]
    base = drawn.dual[0, 0][ramps == 4][0]
    np.testing.assert_allclose(drawn.dual[0, 0] - base, paper, atol=1e-9)


def test_no_stage_of_a_shorter_ramp_comes_before_its_capacity() -> None:
    held = ramped(90.0, 60.0)
    landed = {"feed-live": np.array([30.0]), "pages-live": np.array([60.0])}
    # Ordered for weeks 3, 4, 6 and 7. Of two weeks the last stage would be two sooner: it waits for what was ordered.
    assert first_stages(held, landed, {"feed-ramp": np.array([10.0])})["feed"] == 5.0
    assert first_stages(held, landed, {"feed-ramp": np.array([20.0])})["feed"] == 3.0


def test_a_shadow_takes_the_weeks_of_its_task() -> None:
    held = ramped(90.0, 60.0, shadow=0.5, shadow_weeks=1)
    link = msgspec.structs.replace(held.joining.surfaces["feed"], shadow="feed-port")
    joining = msgspec.structs.replace(held.joining, surfaces=held.joining.surfaces | {"feed": link})
    told = join(held.program, held.capacity, joining)
    landings = landings_of(told, 1)
    starts = first_stages(told, landings.landings, landings.lasted)
    uses = capacity_worlds(told, starts, 1, lasted=landings.lasted).uses[0, USES.index("shadow"), 0]
    assert uses == pytest.approx(12 * 0.5 * 60.0)


def test_a_ramp_that_no_task_is_cannot_be_stretched() -> None:
    for held, weeks in ((joined(), 1), (ramped(90.0, 60.0), -4)):
        with pytest.raises(ProgramError) as no:
            stretched(held, "feed", weeks)
        assert no.value.code == "program-092"
    with pytest.raises(CapacityError):
        stretched(joined(), "fed", 1)


def test_in_doubt_a_delay_changes_the_mean_of_dual_running_by_the_mean_of_the_closed_form() -> None:
    held = joined(
        "[50, 55, 75]", "[60, 65, 80]", efficiency=Elicited(0.8, 1.0, 1.3), slip=Elicited(0.0, 2.0, 5.0, scale="linear")
    )
    drawn = []
    for one in (held, delayed(held, "feed", 4)):
        landings = simulate(one.program, worlds=2_000).landings
        drawn.append(capacity_worlds(one, first_stages(one, landings), 2_000))
    change = drawn[1].dual[0, 0] - drawn[0].dual[0, 0]
    need = np.minimum(90.0, 60.0 * _efficiency(held))
    begun = first_stages(held, simulate(held.program, worlds=2_000).landings)["feed"]
    late = begun >= 8  # the others wait for what was ordered: some of the four weeks were there to be lost
    np.testing.assert_allclose(change[late], 4.0 * need[late], atol=1e-9)
    assert late.mean() > 0.85
    assert change[late].mean() == pytest.approx(late_dual_running(4, 90.0, float(need[late].mean())))


def _efficiency(held: Joined) -> np.ndarray:
    from mainstem.capacity.elicited import joint

    return joint(held.capacity.unknowns(), held.capacity.loadings, 2_000, 0)["feed.efficiency"]


def test_a_launch_does_not_begin_before_its_capacity_is_there() -> None:
    held = joined("[5]")
    starts = first_stages(held, {"feed-live": np.array([5.0]), "pages-live": np.array([60.0])})
    assert starts["feed"] == 6.0  # ordered for week 8, there two weeks ahead


def test_the_doubt_of_the_schedule_is_the_doubt_of_dual_running() -> None:
    sure, unsure = outcome(joined("[80]"), worlds=500), outcome(joined("[50, 80, 140]"), worlds=500)
    band = unsure.timeline.dual["feed"]["gpu"]
    assert sure.timeline.dual["feed"]["gpu"].p10 == sure.timeline.dual["feed"]["gpu"].p90
    assert band.p10 < sure.timeline.dual["feed"]["gpu"].p50 < band.p90


def test_a_pool_that_opens_late_changes_the_order_and_no_week_is_overdrawn() -> None:
    held = joined()
    free, tight = level_transition(held, worlds=20), level_transition(held, {"gpu": {0: 55.0, 14: 70.0}}, worlds=20)
    assert free.order == free.free_order == tight.free_order == ("feed", "pages")
    assert tight.order == ("pages", "feed")
    assert all(one.held <= one.room + 1e-9 for one in tight.weeks)
    assert tight.lands["feed"] > free.lands["feed"]
    assert max(one.held for one in tight.weeks) == 60.0


def test_what_the_old_stacks_leave_of_the_pool_is_the_room() -> None:
    held = joined(pool={0: 150.0, 20: 200.0})
    found = room(held)["gpu"]
    assert (found[0], found[30]) == pytest.approx((20.0, 70.0))
    assert level_transition(held, worlds=20).lands["feed"] >= date(2026, 5, 25)


def test_a_cap_below_one_launch_is_refused_with_its_bottleneck() -> None:
    with pytest.raises(
        ProgramError, match=r"room for 30\.0 of gpu from week 5 on.*60\.0 for feed-ramp.*bottleneck"
    ) as no:
        level_transition(joined(), {"gpu": {0: 90.0, 5: 30.0}}, worlds=5)
    assert no.value.code == "program-091"
    with pytest.raises(ProgramError) as no:
        level_transition(joined(), {"cpu": {0: 90.0}}, worlds=5)
    assert no.value.code == "program-090"


def test_weeks_of_a_stranger_are_refused() -> None:
    with pytest.raises(CapacityError) as no:
        draw_worlds(joined().capacity, 3, starts={"fed": np.zeros(3)})
    assert no.value.code == "capacity-080"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"surfaces": {"feed": SurfaceLink("feed-live")}}, "capacity-082"),
        ({"surfaces": {"feed": SurfaceLink("feed-life"), "pages": SurfaceLink("pages-live")}}, "program-090"),
        ({"pools": {"gpu": PoolLink("cpu")}}, "program-090"),
        ({"pools": {"gpus": PoolLink("gpu")}}, "program-090"),
    ],
)
def test_two_plans_that_do_not_fit_are_refused(change: dict, code: str) -> None:
    held = joined()
    with pytest.raises((CapacityError, ProgramError)) as no:
        join(held.program, held.capacity, msgspec.structs.replace(held.joining, **change))
    assert no.value.code == code


@pytest.mark.parametrize(
    "text", ["", "[surfaces.feed]\nland = 'x'", "surfaces = 3", "busy = 0.0\n[surfaces.feed]\nlands='x'", "[["]
)
def test_a_joining_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(CapacityError) as no:
        parse_joining(text)
    assert no.value.code == "capacity-081"


def made_constants() -> Calibration:
    parts = dict.fromkeys(WORK["ranker"], 1e-12)
    low, high = ({key: edge(one[key] for one in RANKERS) for key in RANKERS[0]} for edge in (min, max))
    fitted = Fitted(parts, low, high, 30, 15, 0.04, 0.1, 0.9, 1.1)
    return Calibration(Hardware.here(), TODAY, date(2027, 2, 20), {"ranker": fitted}, {})


def test_the_bundled_migration_fits_and_needs_what_was_measured() -> None:
    folder = Path(str(files("mainstem.program") / "migration"))
    held = read_transition(folder, made_constants(), today=TODAY)
    assert [one.name for one in held.capacity.surfaces] == ["feed", "groups", "pages"]
    slower = replace(made_constants().fitted["ranker"], seconds=dict.fromkeys(WORK["ranker"], 2e-12))
    twice = read_transition(folder, replace(made_constants(), fitted={"ranker": slower}), today=TODAY)
    for one, other in zip(held.capacity.surfaces, twice.capacity.surfaces, strict=True):
        assert one.new["serving"].by_traffic > 0
        assert other.old["serving"].by_traffic == pytest.approx(2 * one.old["serving"].by_traffic)
        assert other.old["data"] == one.old["data"]
    assert held.program.tasks["feed-ramp"].needs["serving"] == held.capacity.surfaces[0].new["serving"].by_traffic
    with pytest.raises(CapacityError) as no:
        with_work(held.capacity, held.joining, None, None)
    assert no.value.code == "capacity-053"
