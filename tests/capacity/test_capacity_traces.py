"""Public traces: instances by day, arrivals with lengths, reuse of embedding rows, and the intervals they judge."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import CapacityError
from mainstem.capacity.arrivals import Lengths, dispersion, independent, least_workers, read_arrivals, waits
from mainstem.capacity.conformal import pooled, worst_day
from mainstem.capacity.fleet import instances, judged, week_ratios
from mainstem.capacity.load import Service, replay
from mainstem.capacity.locality import gather_bandwidth, hit_share, read_reuse, zipf_hit_share

REUSE = """made.pt
Locality stats after processing 1 batches of size 8
Avg # of indices: 100
Avg # of unique cols: 40
Histogram of col sizes:
(0, 1]: 0.75
(1, 2]: 0.20
(2+: 0.05
Ratio of index distribution at different column sizes:
(0, 1]: 0.3
(1, 2]: 0.2
(2+: 0.5
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    lines = ["app_name,creation_time,deletion_time"]
    lines += [f"steady,,{'' if at else 86_400 * 9}" for at in range(10)]
    lines += [f"grows,{86_400 * at},"[:40] for at in range(12)]
    (tmp_path / "trace.csv").write_text("\n".join(lines))
    return tmp_path / "trace.csv"


def test_instances_are_counted_at_noon_of_each_day(trace: Path):
    count = instances(trace, 12)
    assert count.shape == (2, 12)
    assert count[0].tolist() == list(range(1, 13))
    assert count[1].tolist() == [10.0] * 9 + [9.0] * 3
    assert week_ratios(count, 11).tolist() == pytest.approx([12 / 5, 0.9])


def test_an_interval_is_judged_on_days_it_did_not_see():
    draw = np.random.default_rng(0)
    count = np.round(100 * draw.lognormal(0, 0.1, (200, 31)))
    found = judged(count, range(28, 31), pooled)
    assert found.share == pytest.approx(0.8, abs=0.06)
    assert found.share + found.below + found.above == pytest.approx(1.0)
    assert judged(count, range(28, 31), worst_day).width > found.width


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6), st.floats(0.1, 0.9))
def test_the_worst_day_holds_its_share_of_every_past_day(seeds: list[int], share: float):
    days = [np.random.default_rng(seed).lognormal(0, 1 + seed % 3, 40) for seed in seeds]
    wide = worst_day(days, share)
    assert min(wide.holds(day).mean() for day in days) >= share - 2 / 40
    assert wide.values == 40 * len(days)


def test_a_batch_of_lengths_takes_its_longest_or_its_sum():
    seconds, tokens = np.array([0.0, 0.1, 0.1]), np.array([10.0, 1.0, 5.0])
    padded, packed = (Lengths(1.0, 0.1, batch=4, padded=one) for one in (True, False))
    assert waits(padded, seconds, tokens).tolist() == pytest.approx([2.0, 3.9, 3.9])
    assert waits(packed, seconds, tokens).tolist() == pytest.approx([2.0, 3.5, 3.5])


def test_equal_lengths_are_the_queue_without_lengths():
    seconds = np.cumsum(np.random.default_rng(1).exponential(1e-3, 2_000))
    took = waits(Lengths(1e-3, 1e-5, 2, 4, padded=False), seconds, np.full(2_000, 50.0))
    told = replay(Service(1e-3, 5e-4, workers=2, batch=4), seconds)
    assert np.quantile(took[200:], 0.99) == pytest.approx(told.p99, rel=1e-9)


def test_bursts_are_told_from_independent_arrivals_and_need_more_workers():
    burst = np.repeat(np.arange(100.0), 20)
    spread = independent(burst)
    assert dispersion(burst, 0.25) > 5 > 2 > dispersion(spread, 0.25) > 0.5
    service, tokens = Lengths(0.0, 1e-3, 1, 1), np.full(2_000, 10.0)
    assert least_workers(service, burst, tokens, 0.0501) == 4
    assert least_workers(service, spread, tokens, 0.0501) == 1


def test_arrivals_are_read_in_order(tmp_path: Path):
    (tmp_path / "a.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:02.5000000,7,1\n2023-11-16 18:00:01.0000000,3,2\n"
    )
    found = read_arrivals(tmp_path / "a.csv")
    assert found.seconds.tolist() == [0.0, 1.5]
    assert found.read.tolist() == [3.0, 7.0]
    assert found.written.tolist() == [2.0, 1.0]


def test_a_cache_answers_what_its_hottest_rows_are_asked_for(tmp_path: Path):
    (tmp_path / "r.txt").write_text(REUSE)
    (found,) = read_reuse(tmp_path / "r.txt")
    assert (found.lookups, found.rows) == (100.0, 40.0)
    assert [hit_share(found, kept) for kept in (0.0, 0.05, 0.25, 1.0)] == pytest.approx([0.0, 0.5, 0.7, 1.0])
    assert 0.0 < zipf_hit_share(1e6, 0.01) < zipf_hit_share(1e6, 0.1) < 1.0
    assert gather_bandwidth(0.5, 100.0, 25.0) == pytest.approx(40.0)


def test_what_is_no_trace_is_refused(tmp_path: Path):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bad.txt").write_text(REUSE.replace("(2+: 0.5\n", ""))
    (tmp_path / "ok.txt").write_text(REUSE)
    (reuse,) = read_reuse(tmp_path / "ok.txt")
    times = np.arange(5.0)
    for broken, code in (
        (lambda: worst_day([np.ones(3)]), "capacity-060"),
        (lambda: pooled([np.ones(30)], 1.0), "capacity-060"),
        (lambda: instances(tmp_path / "bad.csv"), "capacity-061"),
        (lambda: read_reuse(tmp_path / "bad.txt"), "capacity-062"),
        (lambda: hit_share(reuse, 1.5), "capacity-063"),
        (lambda: read_arrivals(tmp_path / "bad.csv"), "capacity-064"),
        (lambda: Lengths(0.0, 0.0), "capacity-065"),
        (lambda: dispersion(times, 1.0), "capacity-066"),
        (lambda: least_workers(Lengths(9.0, 0.0), times, times, 1.0), "capacity-067"),
    ):
        with pytest.raises(CapacityError) as refused:
            broken()
        assert refused.value.code == code


@pytest.mark.real
def test_the_public_traces_say_what_the_docs_say(pack):
    count = instances(pack("alibaba") / "cluster-trace-gpu-v2025" / "disaggregated_DLRM_trace.csv")
    assert judged(count, range(28, 31), pooled, 20).share == pytest.approx(0.670, abs=0.001)
    found = judged(count, range(28, 31), worst_day)
    assert found.actuals == 218
    assert 0.75 <= found.share <= 0.87
    code = read_arrivals(pack("azure_llm") / "AzureLLMInferenceTrace_code.csv")
    assert code.seconds.size == 8_819
    assert dispersion(code.seconds, 10.0) > 50.0
    old, new = (read_reuse(pack("dlrm_locality") / f"{year}.txt") for year in (2021, 2022))
    assert (len(old), len(new)) == (17, 16)
    assert 0.65 < hit_share(old[0], 0.1) < hit_share(new[0], 0.1) < 0.72
