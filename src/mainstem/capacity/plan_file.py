"""A transition as a TOML file: resources, surfaces, what they need, and what is in doubt."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from mainstem.base.errors import CapacityError, did_you_mean
from mainstem.capacity.elicited import Elicited
from mainstem.capacity.transition import Need, Resource, SurfaceMove, Transition

_DOUBTED = {"slip", "lag", "growth", "level", "efficiency", "cost"}


def read_plan(file: Path) -> Transition:
    """The transition a file describes. An estimate is a number, or three: P10, P50, P90, or a table of `Elicited`.

    Raises:
        CapacityError: ``capacity-023`` for a file that is not there or no TOML, ``capacity-024`` for an unknown key or a
            value of the wrong kind, with its place; and every refusal of `Transition`.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as no:
        raise CapacityError(
            f"found no readable TOML in {file}: {no}",
            code="capacity-023",
            hint="mainstem capacity plan --example shows one",
        ) from no
    return parse_plan(text, str(file))


def parse_plan(text: str, file: str = "capacity.toml") -> Transition:
    """The transition a text describes, as `read_plan` of a file; ``file`` is what errors call it."""
    try:
        held = tomllib.loads(text)
    except tomllib.TOMLDecodeError as no:
        raise CapacityError(
            f"found no readable TOML in {file}: {no}",
            code="capacity-023",
            hint="mainstem capacity plan --example shows one",
        ) from no
    _known(held, Transition, file)
    for kind, record in (("resources", Resource), ("surfaces", SurfaceMove)):
        rows = held.get(kind)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _wrong(f"{file}: {kind}", "a list of tables", f"write [[{kind}]]")
        held[kind] = [_row(row, record, f"{file}: {kind}[{at}]") for at, row in enumerate(rows)]
    try:
        return msgspec.convert(held, Transition, strict=False)
    except msgspec.ValidationError as no:
        if isinstance(no.__cause__, CapacityError):
            raise no.__cause__ from no
        raise _wrong(file, str(no), "mainstem capacity plan --example shows every key") from no


def _row(row: dict[str, Any], record: type, where: str) -> dict[str, Any]:
    _known(row, record, where)
    for side in ("old", "new"):
        for name, need in (row.get(side) or {}).items():
            if isinstance(need, dict):
                _known(need, Need, f"{where}.{side}.{name}")
    return {key: _estimate(value, f"{where}.{key}") if key in _DOUBTED else value for key, value in row.items()}


def _estimate(value: Any, where: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
        raise _wrong(where, "a number, three numbers or a table", "three numbers are P10, P50 and P90")
    if isinstance(value, int | float):
        return {"low": value, "middle": value, "high": value, "scale": "linear"}
    if isinstance(value, list):
        if len(value) != 3 or not all(isinstance(x, int | float) for x in value):
            raise _wrong(where, "three numbers", "three numbers are P10, P50 and P90")
        scale = "linear" if min(value) <= 0 else "ratio"
        return {"low": value[0], "middle": value[1], "high": value[2], "scale": scale}
    _known(value, Elicited, where)
    return value


def _known(held: dict[str, Any], record: type, where: str) -> None:
    names = {one.name for one in fields(record)}
    for key in held:
        if key not in names:
            raise _wrong(f"{where}: {key!r}", "a known key", did_you_mean(key, names))


def _wrong(where: str, expected: str, hint: str) -> CapacityError:
    return CapacityError(f"found something else at {where}, expected {expected}", code="capacity-024", hint=hint)


EXAMPLE = """\
weeks = 104

[[resources]]
name = "inference"
unit = "GPU"
pool = { 0 = 270.0, 52 = 420.0 }   # units from a week on
price = 420.0                      # money a unit and week
cost = [0.9, 1.0, 1.25]            # P10, P50, P90 of a factor nobody knows yet

[[resources]]
name = "training"
unit = "GPU"
price = 420.0

[[resources]]
name = "data"
unit = "TB"
price = 5.0
retention = 13                     # weeks an old log is kept

[[surfaces]]
name = "feed"
start = 10
stages = [[0.01, 1], [0.05, 1], [0.2, 2], [0.5, 2], [1.0, 0]]
slip = [-1.0, 1.0, 8.0]
shadow = 0.1
shadow_weeks = 4
holdback = 0.02
holdback_weeks = 12
reserve = 0.5
reserve_weeks = 4
lead = 3
lag = [1.0, 3.0, 6.0]
growth = [1.0, 1.2, 1.5]
efficiency = [0.85, 1.0, 1.3]
old = { inference = { by_traffic = 90.0, whole = 4.0 }, training = { whole = 24.0 }, data = { whole = 300.0 } }
new = { inference = { by_traffic = 62.0, whole = 4.0 }, training = { whole = 16.0 }, data = { whole = 210.0 } }

[[surfaces]]
name = "groups"
start = 22
slip = [-1.0, 2.0, 10.0]
shadow = 0.1
shadow_weeks = 4
lead = 3
lag = [1.0, 3.0, 6.0]
growth = [1.0, 1.1, 1.4]
efficiency = [0.85, 1.0, 1.3]
old = { inference = { by_traffic = 40.0, whole = 4.0 }, training = { whole = 12.0 }, data = { whole = 110.0 } }
new = { inference = { by_traffic = 27.0, whole = 2.0 }, training = { whole = 6.0 }, data = { whole = 80.0 } }

[[surfaces]]
name = "pages"
start = 30
slip = [-1.0, 2.0, 10.0]
lead = 3
lag = [1.0, 3.0, 6.0]
growth = [0.9, 1.05, 1.3]
efficiency = [0.85, 1.0, 1.3]
old = { inference = { by_traffic = 25.0, whole = 3.0 }, training = { whole = 8.0 }, data = { whole = 70.0 } }
new = { inference = { by_traffic = 16.0, whole = 2.0 }, training = { whole = 4.0 }, data = { whole = 50.0 } }

[loadings]
"feed.growth" = { market = 0.6 }
"groups.growth" = { market = 0.6 }
"pages.growth" = { market = 0.6 }
"feed.efficiency" = { model = 0.5 }
"groups.efficiency" = { model = 0.5 }
"pages.efficiency" = { model = 0.5 }
"""
