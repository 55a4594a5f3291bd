"""Where one order of launches fits, levelling finds a schedule, and where none does it refuses."""

from itertools import permutations

import numpy as np
import pytest

from mainstem.base.errors import ProgramError
from mainstem.capacity.elicited import exactly
from mainstem.capacity.transition import Need, Resource, SurfaceMove, Transition
from mainstem.program.plan_file import parse_program
from mainstem.workspace.transition import Joined, join
from mainstem.workspace.transition_file import Joining, PoolLink, SurfaceLink
from mainstem.workspace.transition_level import level_transition
from mainstem.workspace.transition_order import least_room_order, one_by_one
from mainstem.workspace.transition_returns import given_back

Sizes = dict[str, tuple[float, float]]


def migration(sizes: Sizes, room: float, *, weeks: int = 80, lag: int = 2, started: str = "") -> Joined:
    """Surfaces of so many old and new units, each with a ramp of four weeks, beside so much room."""
    text = ['[program]\nname = "made"\nstart = 2026-01-05\n[pools.gpu]\nsize = 10000']
    if started:
        text[0] = text[0].replace("start =", "as_of = 2026-01-12\nstart =")
    for name in sizes:
        begun = "started = 2026-01-05\n" if name == started else ""
        text.append(f"[tasks.{name}-ramp]\n{begun}duration = [20]\n[milestones.{name}-live]\nafter = ['{name}-ramp']")
    moves = tuple(
        SurfaceMove(name, {"gpu": Need(old)}, {"gpu": Need(new)}, stages=((1.0, 0),), lag=exactly(float(lag)))
        for name, (old, new) in sizes.items()
    )
    gpu = Resource("gpu", "GPU", pool={0: sum(old for old, _ in sizes.values()) + room})
    links = {name: SurfaceLink(f"{name}-live", (f"{name}-ramp",)) for name in sizes}
    return join(
        parse_program("\n".join(text)), Transition(moves, (gpu,), weeks), Joining(links, {"gpu": PoolLink("gpu")})
    )


def most_at_once(sizes: Sizes, order: tuple[str, ...]) -> float:
    """The room that launches one by one ask for, by hand."""
    asked, taken = 0.0, 0.0
    for name in order:
        old, new = sizes[name]
        asked, taken = max(asked, taken + new), taken + new - old
    return asked


def made(seed: int) -> tuple[Sizes, float]:
    draw = np.random.default_rng(seed)
    names = "abcd"[: int(draw.integers(2, 5))]
    units = draw.integers(20, 100, (len(names), 2)).astype(float).tolist()
    return {name: (old, new) for name, (old, new) in zip(names, units, strict=True)}, float(draw.integers(30, 110))


def test_no_order_asks_for_less_room() -> None:
    for seed in range(60):
        sizes, room = made(seed)
        held = migration(sizes, room)
        order = least_room_order(held, given_back(held, ["gpu"]))
        assert most_at_once(sizes, order) == min(most_at_once(sizes, one) for one in permutations(sizes))


@pytest.mark.parametrize("seed", range(8))
def test_levelling_finds_what_some_order_finds_and_nothing_else(seed: int) -> None:
    sizes, room = made(seed)
    held = migration(sizes, room)
    if min(most_at_once(sizes, one) for one in permutations(sizes)) <= room:
        assert all(one.held <= one.room + 1e-9 for one in level_transition(held, worlds=2).weeks)
    else:
        with pytest.raises(ProgramError):
            level_transition(held, worlds=2)


def test_launches_that_levelling_alone_puts_the_wrong_way_round_are_put_in_order() -> None:
    held = migration({"a": (54.0, 56.0), "b": (66.0, 96.0), "c": (91.0, 38.0)}, 43.0, lag=3)
    assert level_transition(held, worlds=2).order == ("c", "b", "a")


def test_a_launch_behind_the_weeks_looked_at_takes_from_the_room_too() -> None:
    held = migration({"a": (50.0, 82.0), "b": (48.0, 91.0), "c": (79.0, 68.0)}, 91.0, weeks=12)
    with pytest.raises(ProgramError) as no:
        level_transition(held, worlds=2)
    assert no.value.code == "program-093"


def test_what_has_begun_stands_before_what_gives_more() -> None:
    held = migration({"a": (20.0, 60.0), "b": (90.0, 30.0)}, 200.0, started="a")
    assert least_room_order(held, given_back(held, ["gpu"])) == ("a", "b")


def test_each_launch_waits_for_what_the_one_before_gives_back() -> None:
    held = migration({"a": (90.0, 30.0), "b": (20.0, 60.0)}, 60.0)
    told = one_by_one(held, given_back(held, ["gpu"]))
    assert told.program.tasks["a-ramp"].after == []
    assert told.program.tasks["b-ramp"].after == [
        "a-live+15"
    ]  # two weeks of lag, and what is left of the landing's week
