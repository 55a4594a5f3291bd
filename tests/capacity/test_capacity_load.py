"""Queues that textbooks know, a knee, and constants that refuse what they do not know."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import CapacityError
from mainstem.capacity.calibration import Hardware, Shape, calibration, fit, load, predict, save
from mainstem.capacity.load import Service, bracket, curve, erlang_c, fit_service, knee, replay, simulate
from mainstem.capacity.measuring import least, logged_row_bytes, measure, training_rate

TODAY = date(2026, 11, 22)
HERE = Hardware("made", 2, {"numpy": "2"})
ONE = Service(0.0, 1e-3, cv=1.0)


@pytest.mark.parametrize("load_of", [0.3, 0.7])
@pytest.mark.parametrize("cv", [0.0, 0.5, 1.0])
def test_one_worker_waits_as_pollaczek_and_khinchine_say(load_of: float, cv: float):
    found = simulate(Service(0.0, 1e-3, cv=cv), load_of * 1e3, requests=200_000)
    wait = load_of * 1e-3 * (1 + cv * cv) / 2 / (1 - load_of)
    assert found.mean == pytest.approx(1e-3 + wait, rel=0.04)
    assert found.utilisation == pytest.approx(load_of, rel=0.02)


def test_erlang_c_of_known_values():
    assert erlang_c(1, 0.6) == pytest.approx(0.6)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(3, 3.0) == 1.0


@given(
    rate=st.floats(50, 1_500),
    workers=st.integers(1, 4),
    batch=st.sampled_from((1, 4, 16)),
    cv=st.floats(0, 0.5),
)
@settings(max_examples=25, deadline=None)
def test_the_simulated_mean_lies_in_the_bracket(rate: float, workers: int, batch: int, cv: float):
    service = Service(1e-3, 5e-4, 2e-3, cv, workers, batch)
    low, high = bracket(service, rate)
    mean = simulate(service, rate, requests=20_000).mean
    assert low * 0.97 <= mean
    if rate < 0.9 * service.ceiling:
        assert mean <= high * 1.15


def test_the_knee_keeps_the_objective_and_a_little_more_does_not():
    service = Service(3e-3, 5e-4, 2e-3, 0.1, 2, 8)
    found = knee(service, 0.03, requests=20_000)
    assert found.p99 <= 0.03
    assert simulate(service, found.rate * 1.05, requests=20_000).p99 > 0.03
    assert 0.5 * service.ceiling < found.rate < service.ceiling
    light, heavy = curve(service, [200.0, 1_500.0], requests=20_000)
    assert light.p99 < heavy.p99
    assert light.batch < heavy.batch


def test_a_worker_that_waits_for_a_full_batch_serves_larger_ones():
    eager, patient = Service(1e-3, 1e-4, batch=8), Service(1e-3, 1e-4, batch=8, delay_s=5e-3)
    assert simulate(patient, 500, requests=5_000).batch > 1.5 * simulate(eager, 500, requests=5_000).batch
    assert simulate(patient, 10, requests=1_000).p50 == pytest.approx(5e-3 + 1.1e-3, rel=1e-6)


def test_measured_arrivals_in_a_burst_wait_longer_than_evenly_spread_ones():
    even, burst = np.arange(2_000, dtype=np.float64) * 2e-3, np.repeat(np.arange(200) * 2e-2, 10).astype(float)
    assert replay(Service(0.0, 1e-3), even).p99 == pytest.approx(1e-3)
    assert replay(Service(0.0, 1e-3), burst).p99 == pytest.approx(1e-2)


def test_time_a_batch_and_time_a_request_are_told_apart():
    sizes = np.repeat([1.0, 4.0, 16.0], 200)
    seconds = (3e-3 + 5e-4 * sizes) * np.random.default_rng(0).lognormal(0, 0.05, sizes.size)
    found = fit_service(sizes, seconds, batch=16)
    assert found.launch_s == pytest.approx(3e-3, rel=0.03)
    assert found.request_s == pytest.approx(5e-4, rel=0.03)
    assert found.cv == pytest.approx(0.05, rel=0.1)


def made_shapes(count: int = 60) -> tuple[list[Shape], np.ndarray]:
    draw = np.random.default_rng(1)
    shapes = [{key: float(draw.integers(8, 900)) for key in ("m", "k", "n")} for _ in range(count)]
    seconds = np.array([1e-6 + 5e-12 * s["m"] * s["k"] * s["n"] + 1e-10 * s["k"] * s["n"] for s in shapes])
    return shapes, seconds * draw.lognormal(0, 0.03, count)


def test_constants_are_found_and_judged_on_shapes_that_were_held_out():
    found = fit("gemm", *made_shapes())
    assert found.seconds["operations"] * 2 == pytest.approx(5e-12, rel=0.1)
    assert (found.shapes, found.held_out) == (40, 20)
    assert 0.0 < found.error_p50 <= found.error_p90 < 0.15
    assert found.factor_low < 1.0 < found.factor_high


def test_a_prediction_carries_its_evidence_and_comes_back_from_a_file(tmp_path: Path):
    held = calibration({"gemm": fit("gemm", *made_shapes())}, {"log bytes": 99.0}, today=TODAY, hardware=HERE)
    save(held, tmp_path / "constants.json")
    again = load(tmp_path / "constants.json")
    assert again == held
    found = predict(again, "gemm", {"m": 100.0, "k": 100.0, "n": 100.0}, today=TODAY, hardware=HERE)
    assert found.low < found.seconds < found.high
    assert (found.held_out, found.measured, found.processor) == (20, TODAY, "made")
    assert found.expires == TODAY + timedelta(days=90)


def test_a_small_measurement_of_this_machine():
    held = measure(today=TODAY, kinds=("gather",), every=2, turns=1)
    shape = {"table": 20_000.0, "width": 96.0, "rows": 256.0}
    assert predict(held, "gather", shape, today=TODAY).seconds > 0.0
    assert least(lambda: sum(range(1_000)), blocks=2, block_s=1e-4) > 0.0


def test_single_numbers():
    before, after = logged_row_bytes(12, rows=1_000)
    assert before > after > 1.0
    card = {"train_cpu_s": 10.0, "rows": {"train": 1_000}, "validation_loss": [0.2, 0.1]}
    assert training_rate(card) == 200.0
    assert training_rate({}) == 0.0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "gem"}, "capacity-047"),
        ({"kind": "gather"}, "capacity-047"),
        ({"today": TODAY + timedelta(days=91)}, "capacity-049"),
        ({"hardware": replace(HERE, processor="another")}, "capacity-050"),
        ({"shape": {"m": 1e6, "k": 100.0, "n": 100.0}}, "capacity-051"),
        ({"shape": {"m": 100.0}}, "capacity-052"),
    ],
)
def test_constants_refuse_what_they_were_not_measured_for(change: dict, code: str):
    held = calibration({"gemm": fit("gemm", *made_shapes())}, {}, today=TODAY, hardware=HERE)
    asked = {"kind": "gemm", "shape": {"m": 100.0, "k": 100.0, "n": 100.0}, "today": TODAY, "hardware": HERE} | change
    with pytest.raises(CapacityError) as refused:
        predict(held, asked["kind"], asked["shape"], today=asked["today"], hardware=asked["hardware"])
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (lambda: Service(0, 0), "capacity-043"),
        (lambda: Service(1, 1, workers=0), "capacity-043"),
        (lambda: simulate(ONE, 0), "capacity-044"),
        (lambda: simulate(ONE, 10, requests=10), "capacity-044"),
        (lambda: knee(ONE, 1e-4, requests=1_000), "capacity-045"),
        (lambda: fit_service(np.ones(5), np.ones(5)), "capacity-046"),
        (lambda: fit("gemm", *made_shapes(6)), "capacity-048"),
        (lambda: load(Path("nowhere.json")), "capacity-053"),
    ],
)
def test_what_cannot_be_measured_is_refused(broken, code: str):
    with pytest.raises(CapacityError) as refused:
        broken()
    assert refused.value.code == code


def test_measured_times_are_drawn_as_they_are():
    few_slow = np.repeat([0.5, 5.5], [90, 10])
    service = Service(0.0, 1e-3, workers=1)
    found = simulate(service, 10.0, requests=20_000, factors=few_slow)
    assert (found.p50, found.p99) == pytest.approx((0.5e-3, 5.5e-3), rel=0.02)
    even = knee(service, 0.02, requests=5_000, factors=np.ones(3)).rate
    assert knee(service, 0.02, requests=5_000, factors=few_slow).rate < even
