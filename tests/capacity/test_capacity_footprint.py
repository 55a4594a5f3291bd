"""Footprints from a stack's definition, hardware tables, units, and plans as files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mainstem.base.errors import CapacityError
from mainstem.base.settings import Surface
from mainstem.capacity.footprint import (
    Logging,
    Serving,
    Traffic,
    Training,
    dataset_bytes,
    dual_logging_bytes,
    inference,
    log_rows_day,
    readers,
    stack_shape,
    training_hours,
    with_spares,
)
from mainstem.capacity.hardware import SHAPES, Machine, netflix_shapes
from mainstem.capacity.plan_file import EXAMPLE, read_plan
from mainstem.capacity.units import quantity

WEIGHTS = {
    name: np.zeros(shape, np.float32)
    for name, shape in {
        "user_in": (10, 8),
        "item_in": (3, 8),
        "cross_in": (2, 8),
        "expert_w": (8, 12),
        "head_w": (4, 5),
        "id_in": (100, 8),
    }.items()
}
STACK = stack_shape("unified", Surface(sources={"two_tower": 300, "popular": 50}, rank=100), WEIGHTS, 99)
MACHINE = Machine("box", 8, 8e9, 1e9, price_week=10.0)
SERVING = Serving(1e-3, 1e-5, utilisation=0.5, out=0.0)


def test_a_stacks_work_follows_from_its_settings_and_weights():
    assert (STACK.retrieved, STACK.ranked, STACK.features) == (350, 100, 15)
    assert STACK.user_flops == 2 * 80
    assert STACK.candidate_flops == 2 * (24 + 16 + 96 + 20 * 3)
    assert STACK.model_bytes == 4 * sum(one.size for one in WEIGHTS.values()) + 4 * 8 * 100
    assert STACK.request_flops == 160 + 100 * STACK.candidate_flops


def test_serving_takes_the_peaks_seconds_over_the_load_a_worker_may_carry():
    found = inference(STACK, Traffic(8_640_000, peak=2.0), SERVING, MACHINE)  # 200 a second, 2 ms each, half loaded
    assert (found.cores, found.machines, found.bound_by, found.price_week) == (1, 1, "cores", 10.0)
    larger = inference(STACK, Traffic(8_640_000_000, peak=2.0), SERVING, MACHINE)
    assert (larger.cores, larger.machines) == (800, 100)


def test_a_region_that_may_be_lost_is_carried_by_the_others():
    found = inference(STACK, Traffic(8_640_000_000), replace(SERVING, regions=3, lost=1), MACHINE)
    assert found.cores == 3 * 400


def test_kept_user_states_can_bind_the_memory_and_save_the_encoding():
    serving = replace(SERVING, user_s=2e-3, hit=0.75, cached_users=1e6, state_bytes=4e4)
    found = inference(STACK, Traffic(8_640_000), serving, MACHINE)
    assert found.request_s == pytest.approx(2.5e-3)
    assert found.bound_by == "memory"
    assert found.machines == 6


@pytest.mark.parametrize(("needed", "there"), [(64, 70), (512, 534)])
def test_spares_are_those_that_the_chance_asks_for(needed: int, there: int):
    assert with_spares(needed, 0.02, 0.999) == there


def test_training_hours_and_readers():
    stack = Training(rows=3.6e6, epochs=2, weekly=7, rows_s=1_000, experiments=3, goodput=0.5, reader_bytes_s=5e4)
    assert training_hours(stack) == pytest.approx(40.0)
    assert readers(stack, 100.0, 2.0) == 4


def test_a_log_is_rows_times_bytes_times_days_and_two_logs_share_columns():
    traffic = Traffic(1_000, shown=10, kept=0.1)
    assert log_rows_day(STACK, traffic) == pytest.approx(19_000)
    assert dataset_bytes(STACK, traffic, Logging(100, compression=4, repeats=2, days=10, copies=3)) == pytest.approx(
        7.125e6
    )
    assert dual_logging_bytes({"old": 40.0, "new": 100.0}, 0.5) == 120.0
    assert dual_logging_bytes({}, 0.5) == 0.0


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("1.5 TB", "bytes", 1.5e12),
        ("900 / s", "rate", 900.0),
        ("8.64e4 / day", "rate", 1.0),
        ("80 ms", "seconds", 0.08),
    ],
)
def test_a_quantity_is_read_with_its_unit(text: str, dimension: str, value: float):
    assert quantity(text, dimension) == pytest.approx(value)


def test_public_shapes_are_read(tmp_path: Path):
    for name, held in (
        (
            "shapes/aws/auto_p5.json",
            {"instances": {"p5.4xlarge": {"cpu": 16, "cpu_cores": 8, "ram_gib": 2.0, "net_mbps": 8.0}}},
        ),
        ("pricing/aws/3yr-reserved_ec2.json", {"us-east-1": {"instances": {"p5.4xlarge": {"annual_cost": 520.0}}}}),
    ):
        file = tmp_path / SHAPES / name
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(held))
    shapes = netflix_shapes(tmp_path).with_own([MACHINE])
    found = shapes.of("p5.4xlarge")
    assert (found.cores, found.accelerator, found.accelerators, found.price_week) == (8, "H100", 1, 10.0)
    assert found.network_bytes_s == 1e6
    with pytest.raises(CapacityError, match="bax"):
        shapes.of("bax")


def test_the_example_plan_is_read(tmp_path: Path):
    file = tmp_path / "capacity.toml"
    file.write_text(EXAMPLE)
    plan = read_plan(file)
    assert [s.name for s in plan.surfaces] == ["feed", "groups", "pages"]
    assert plan.surfaces[0].growth.high == 1.5
    assert plan.resources[0].pool == {0: 270.0, 52: 420.0}


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (("start = 10", "strat = 10"), "capacity-024"),
        (("by_traffic = 90.0", "by_trafic = 90.0"), "capacity-024"),
        (("start = 10", "start = 'ten'"), "capacity-024"),
        (("lag = [1.0, 3.0, 6.0]", "lag = [1.0, 3.0]"), "capacity-024"),
        (("lag = [1.0, 3.0, 6.0]", "lag = 'long'"), "capacity-024"),
        (("growth = [1.0, 1.2, 1.5]", "growth = [1.5, 1.2, 1.0]"), "capacity-001"),
        (("weeks = 104", "weeks = "), "capacity-023"),
        (('name = "groups"', 'name = "feed"'), "capacity-006"),
    ],
)
def test_a_plan_that_cannot_be_read_says_where(tmp_path: Path, edit: tuple[str, str], code: str):
    file = tmp_path / "capacity.toml"
    file.write_text(EXAMPLE.replace(*edit))
    with pytest.raises(CapacityError) as refused:
        read_plan(file)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (lambda: quantity("5 parsecs", "seconds"), "capacity-013"),
        (lambda: quantity("5 TB", "seconds"), "capacity-013"),
        (lambda: quantity("1e / s", "rate"), "capacity-013"),
        (lambda: Machine("box", 0, 1, 1), "capacity-014"),
        (lambda: netflix_shapes(Path("nowhere")), "capacity-016"),
        (lambda: stack_shape("legacy", Surface(), {}, 3), "capacity-017"),
        (lambda: Traffic(-1), "capacity-018"),
        (lambda: Serving(1e-3, 0, regions=1, lost=1), "capacity-019"),
        (lambda: inference(replace(STACK, model_bytes=1e12), Traffic(1), SERVING, MACHINE), "capacity-020"),
        (lambda: training_hours(Training(1, 1, 1, 0)), "capacity-021"),
        (lambda: Logging(1, compression=0.5), "capacity-022"),
        (lambda: dual_logging_bytes({"a": 1}, 2), "capacity-022"),
    ],
)
def test_what_has_no_sense_is_refused(broken, code: str):
    with pytest.raises(CapacityError) as refused:
        broken()
    assert refused.value.code == code
