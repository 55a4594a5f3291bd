"""A standing in JSON: what nothing can reach is kept."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mainstem.launch.standing import Spent
from mainstem.launch.standing_kept import standing_of_plain

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
import made_standing


@pytest.mark.parametrize("name", made_standing.EVERY)
def test_a_standing_survives_json(name: str) -> None:
    standing = made_standing.EVERY[name]()
    assert standing_of_plain(msgspec.json.decode(msgspec.json.encode(standing))) == standing


def test_a_bound_that_nothing_reaches_survives_json() -> None:
    told = made_standing.rich()
    gate = told.surfaces[0].origins[0]
    endless = replace(gate, metrics=(replace(gate.metrics[0], pause=Spent(0.3, math.inf)), *gate.metrics[1:]))
    standing = replace(told, surfaces=(replace(told.surfaces[0], origins=(endless,)), *told.surfaces[1:]))
    assert standing_of_plain(msgspec.json.decode(msgspec.json.encode(standing))) == standing


def test_what_is_no_standing_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        standing_of_plain({"launch": "old"})
