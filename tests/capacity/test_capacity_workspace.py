"""A surface's footprint from a workspace's own settings, weights and constants."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import CapacityError
from mainstem.capacity.calibration import Fitted, Hardware, calibration, load, save
from mainstem.capacity.hardware import Machine
from mainstem.capacity.measuring import made_weights
from mainstem.cli.capacity import app
from mainstem.workspace.capacity import surface_footprint
from mainstem.workspace.layout import Workspace

TODAY = date(2026, 11, 22)
BOX = Machine("box", 16, 6.4e10, 0.0)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    (tmp_path / "mainstem.toml").write_text("[surfaces.feed]\nrank = 200\n")
    folder = Workspace.open(tmp_path).unified_model
    folder.mkdir(parents=True)
    weights = made_weights(169, 192, 3, 0, np.random.default_rng(0))
    np.savez(
        folder / "model.npz",
        allow_pickle=False,
        static_item_ids=np.arange(9),
        **{f"weight_{k}": v for k, v in weights.items()},
    )
    (folder / "model.json").write_text(json.dumps({"rows": {"train": 1_000}, "epochs": 2}))
    low = {"candidates": 10.0, "user": 120.0, "hidden": 96.0, "experts": 2.0, "rank": 0.0}
    high = {"candidates": 1_000.0, "user": 240.0, "hidden": 192.0, "experts": 3.0, "rank": 64.0}
    parts = {"request": 1e-4, "user": 0.0, "candidates": 1e-6, "hidden": 0.0, "experts": 0.0, "crosses": 0.0}
    parts["crossed"] = 0.0
    ranker = Fitted(parts, low, high, 20, 10, 0.05, 0.1, 0.9, 1.1)
    held = calibration(
        {"ranker": ranker}, {"training rows a CPU second": 100.0}, today=TODAY, hardware=Hardware("x", 1, {})
    )
    save(held, tmp_path / "capacity" / "constants.json")
    return Workspace.open(tmp_path)


def test_a_footprint_follows_settings_weights_and_constants(place: Workspace):
    found = surface_footprint(place, "feed", 8.64e8, 2.0, BOX, today=TODAY)
    assert found["ranker seconds a request"] == pytest.approx(3e-4)
    assert found["ranker cores at the peak, spares included"] >= 20_000 * 3e-4 / 0.7
    assert found["training hours a week, daily"] == pytest.approx(1_000 * 2 * 7 / 100 / 0.9 / 3_600)
    assert found["features logged"] == 169 + 22 + 15


@pytest.mark.parametrize(
    ("surface", "day", "code"),
    [("fed", TODAY, "capacity-058"), ("feed", TODAY + timedelta(days=100), "capacity-049")],
)
def test_a_footprint_is_refused_without_a_surface_or_with_old_constants(
    place: Workspace, surface: str, day: date, code: str
):
    with pytest.raises(CapacityError) as refused:
        surface_footprint(place, surface, 1e6, 2.0, BOX, today=day)
    assert refused.value.code == code


def test_constants_of_another_version_are_refused(place: Workspace):
    held = load(place.folder / "capacity" / "constants.json")
    del held.fitted["ranker"].seconds["crossed"]
    save(held, place.folder / "capacity" / "constants.json")
    with pytest.raises(CapacityError) as refused:
        surface_footprint(place, "feed", 1e6, 2.0, BOX, today=TODAY)
    assert refused.value.code == "capacity-053"


def test_a_footprint_with_mixed_units_is_refused(place: Workspace):
    asked = CliRunner().invoke(app, ["footprint", "-w", str(place.folder), "--memory", "128 ms"])
    assert isinstance(asked.exception, CapacityError)
    assert asked.exception.code == "capacity-013"
