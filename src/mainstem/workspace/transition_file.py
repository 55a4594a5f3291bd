"""What joins a program and a capacity plan: ``transition.toml``, read and checked.

Three files describe one migration: ``program.toml`` says when things end, ``capacity.toml`` what they hold, and this one which
milestone is a surface's landing, which pool is which resource, and the work of a request.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from mainstem.base.errors import CapacityError

FILE: Final = "transition.toml"


class SurfaceLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one surface stands in the program.

    Args:
        lands: The milestone at which its last stage begins.
        holds: Tasks that hold the new stack's capacity beside the old one's: the last all of it, the others the shadow's
            share.
        ramp: The task in whose working days the stages run: a world in which it takes longer has longer stages. Empty keeps
            the weeks of the capacity plan.
        shadow: The same of the task whose days are the shadow.
    """

    lands: str
    holds: tuple[str, ...] = ()
    ramp: str = ""
    shadow: str = ""

    @property
    def timed(self) -> tuple[str, ...]:
        """The tasks whose days count."""
        return tuple(task for task in (self.ramp, self.shadow) if task)


class PoolLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pool of the program that is a resource of the capacity plan.

    Args:
        resource: The resource.
        over_old: From a week on, units there are over what the old stacks hold in week 0; empty leaves the capacity
            plan's own pool.
    """

    resource: str
    over_old: dict[int, float] = {}


class SurfaceWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests a second at the peak, and the rankers that each request asks on either side, as measured shapes."""

    requests: float
    old: tuple[dict[str, float], ...]
    new: tuple[dict[str, float], ...]


class Joining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of ``transition.toml``; ``work`` by surface, in units of ``work_of`` at most ``busy``."""

    surfaces: dict[str, SurfaceLink]
    pools: dict[str, PoolLink] = {}
    work: dict[str, SurfaceWork] = {}
    resource: str = ""
    busy: float = 0.6


def read_joining(file: Path) -> Joining:
    """What a file joins.

    Raises:
        CapacityError: ``capacity-081`` for a file that is not there, no TOML, or with a key or value it cannot have.
    """
    try:
        return parse_joining(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as no:
        raise _wrong(str(file), str(no)) from no


def parse_joining(text: str, where: str = FILE) -> Joining:
    """What a text joins, as `read_joining` of a file."""
    try:
        found = msgspec.toml.decode(text, type=Joining, strict=False)
    except msgspec.DecodeError as no:
        raise _wrong(where, str(no)) from no
    if not found.surfaces or not 0.0 < found.busy <= 1.0:
        raise _wrong(
            where, f"{len(found.surfaces)} surfaces and busy {found.busy:g}, expected one at least, and 0 to 1"
        )
    for name, one in found.work.items():
        if not one.requests > 0.0 or not one.old or not one.new:
            raise _wrong(where, f"work.{name} without requests, or without a ranker on one side")
    return found


def _wrong(where: str, what: str) -> CapacityError:
    return CapacityError(
        f"found something else in {where}: {what}",
        code="capacity-081",
        hint="mainstem transition new FOLDER writes one",
    )
