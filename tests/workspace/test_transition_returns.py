"""Room that an earlier launch gives back is there for a later one, from when it is reclaimed, and every week is kept."""

import contextlib
from typing import Any

import numpy as np
import pytest

from mainstem.base.errors import ProgramError
from mainstem.capacity.elicited import exactly
from mainstem.capacity.transition import Need, Resource, SurfaceMove, Transition
from mainstem.program.plan_file import parse_program
from mainstem.workspace.transition import Joined, join
from mainstem.workspace.transition_file import Joining, PoolLink, SurfaceLink
from mainstem.workspace.transition_level import LevelledTransition, level_transition
from mainstem.workspace.transition_returns import given_back
from mainstem.workspace.transition_slips import delayed

WEEKS = 80
Sizes = dict[str, tuple[float, float]]


def migration(sizes: Sizes, *, days: int = 50, pool: dict[int, float] | None = None, **more: Any) -> Joined:
    """Surfaces of so many old and new units, each with a ramp of so many days that nothing holds up."""
    text = ['[program]\nname = "made"\nstart = 2026-01-05\n[pools.gpu]\nsize = 10000']
    for name in sizes:
        text.append(f"[tasks.{name}-ramp]\nduration = [{days}]\n[milestones.{name}-live]\nafter = ['{name}-ramp']")
    own: dict[str, Any] = {"lag": exactly(2.0)} | more
    moves = tuple(
        SurfaceMove(
            name, {"gpu": Need(old)}, {"gpu": Need(new)}, stages=((0.5, 2), (1.0, 0)), start=2,
            **own,
        )
        for name, (old, new) in sizes.items()
    )  # fmt: skip
    plan = Transition(moves, (Resource("gpu", "GPU", pool=pool or {}),), weeks=WEEKS)
    links = {name: SurfaceLink(f"{name}-live", (f"{name}-ramp",)) for name in sizes}
    return join(parse_program("\n".join(text)), plan, Joining(links, {"gpu": PoolLink("gpu")}))


def held_by_hand(sizes: Sizes, found: LevelledTransition, held: Joined, wait: int) -> np.ndarray:
    """Old and new units by week, from the dates alone."""
    out = np.zeros(WEEKS)
    bars = {bar.name: bar for bar in found.bars}
    for name, (old, new) in sizes.items():
        begins = (bars[f"{name}-ramp"].starts - held.monday).days // 7
        lands = (bars[f"{name}-ramp"].ends - held.monday).days // 7 + 1
        out[: lands + wait] += old
        out[begins:] += new
    return out


def test_a_cap_below_the_second_launch_holds_once_the_first_has_given_back() -> None:
    held, cap = migration({"feed": (90.0, 60.0), "pages": (100.0, 80.0)}), {"gpu": {0: 65.0}}
    with pytest.raises(ProgramError, match=r"expected 80\.0 for pages-ramp") as no:
        level_transition(held, cap, worlds=5, returns=False)
    assert no.value.code == "program-091"
    found = level_transition(held, cap, worlds=5)
    assert found.order == ("feed", "pages")
    assert all(one.held <= one.room + 1e-9 for one in found.weeks)
    # Feed lands at the end of week 9; two weeks later its 90 are back, and 30 of them are more than it took.
    assert [one.room for one in found.weeks[10:14]] == [65.0, 65.0, 95.0, 95.0]
    pages = next(bar for bar in found.bars if bar.name == "pages-ramp")
    assert (pages.starts - held.monday).days // 7 in (12, 13)


def test_until_then_both_stacks_are_held() -> None:
    held = migration({"feed": (90.0, 60.0), "pages": (100.0, 80.0)})
    found = level_transition(held, {"gpu": {0: 100.0}}, worlds=5)
    weeks = {one.week: one.held for one in found.weeks}
    assert weeks[9] == weeks[11] == 60.0 or weeks[9] == weeks[11] == 80.0  # landed, and still beside the old one
    kept = level_transition(held, {"gpu": {0: 100.0}}, worlds=5, returns=False)
    first, second = sorted(kept.bars, key=lambda bar: bar.starts)
    assert (second.starts - first.ends).days <= 3  # as before: nothing is held after a landing


@pytest.mark.parametrize("more", [{"reserve": 0.5, "reserve_weeks": 4}, {"holdback": 0.1, "holdback_weeks": 4}])
def test_what_must_be_able_to_come_back_is_not_given_back_yet(more: dict) -> None:
    back = given_back(migration({"feed": (90.0, 60.0)}, **more), ["gpu"])[0]
    assert (back.after, back.holds, back.gains) == (6, 60.0, True)
    np.testing.assert_allclose(back.net, 30.0)


def test_a_new_stack_that_is_larger_takes_from_the_pool_for_ever() -> None:
    held = migration({"feed": (40.0, 60.0), "pages": (100.0, 80.0)})
    found = level_transition(held, {"gpu": {0: 81.0}}, worlds=5)
    assert found.order == ("pages", "feed")  # feed first would leave 61 for the 80 of pages
    assert found.weeks[-1].room == 81.0


def test_launches_that_wait_for_each_other_are_refused() -> None:
    held = migration({"feed": (90.0, 60.0), "pages": (100.0, 70.0)})
    with pytest.raises(ProgramError) as no:
        level_transition(held, {"gpu": {0: 55.0}}, worlds=5)
    assert no.value.code == "program-093"


def test_what_is_given_back_fills_what_the_old_stacks_lack_first() -> None:
    held = migration({"feed": (90.0, 10.0), "pages": (100.0, 50.0)}, pool={0: 260.0, 40: 180.0})
    found = level_transition(held, worlds=5)
    assert found.weeks[-1].room == pytest.approx(180.0 - 10.0 - 50.0)


def test_a_landing_that_waits_after_its_ramp_holds_both_stacks_all_the_while() -> None:
    held = delayed(migration({"feed": (90.0, 60.0), "pages": (100.0, 80.0)}), "feed", 4)
    found = level_transition(held, {"gpu": {0: 100.0}}, worlds=5)
    assert all(one.held <= one.room + 1e-9 for one in found.weeks)
    feed = next(bar for bar in found.bars if bar.name == "feed-ramp")
    first = (feed.ends - held.monday).days // 7 + 1
    assert all(
        one.held >= 60.0 for one in found.weeks[first : first + 6]
    )  # four until it lands, two until it is reclaimed


def test_old_and_new_together_never_hold_more_than_the_pool() -> None:
    found = 0
    for seed in range(14):
        draw = np.random.default_rng(seed)
        names = ["a", "b", "c"][: int(draw.integers(2, 4))]
        units = draw.integers(20, 100, (len(names), 2)).astype(float).tolist()
        sizes = {name: (old, new) for name, (old, new) in zip(names, units, strict=True)}
        lag, size = int(draw.integers(0, 4)), sum(old for old, _ in sizes.values()) + float(draw.integers(30, 110))
        held = migration(sizes, days=int(draw.integers(8, 60)), pool={0: size}, lag=exactly(float(lag)))
        with contextlib.suppress(ProgramError):
            levelled = level_transition(held, worlds=5)
            assert (held_by_hand(sizes, levelled, held, lag) <= size + 1e-9).all()
            found += 1
    assert found >= 7
