"""The off-policy bench on small made copies of both public sets, and on the real ones."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import BenchError, DataError
from mainstem.bench.off_policy import bench_off_policy, shown_by_place
from mainstem.data.loaders.bandit import read_coat, read_open_bandit


@pytest.fixture
def made(tmp_path):
    """Both sets in their owners' layout, a few hundred rows."""
    rng = np.random.default_rng(3)
    for policy, p in (("random", np.full(4, 0.25)), ("bts", np.array([0.6, 0.3, 0.0998, 0.0002]))):
        folder = tmp_path / "open_bandit" / policy / "men"
        folder.mkdir(parents=True)
        n = 900
        item = rng.choice(4, n, p=p)
        click = (rng.random(n) < 0.1 + 0.1 * item).astype(int)
        stamp = [f"2019-11-24 00:{i // 60:02d}:{i % 60:02d}.000100+00:00" for i in range(n)]
        frame = {"": range(n), "timestamp": stamp, "item_id": item, "position": 1 + np.arange(n) % 3, "click": click,
                 "propensity_score": p[item], "user_feature_0": np.where(np.arange(n) % 2, "a", "b")}  # fmt: skip
        pl.DataFrame(frame).write_csv(folder / "men.csv")
        pl.DataFrame({"item_id": range(4)}).write_csv(folder / "item_context.csv")
    coat = tmp_path / "coat"
    coat.mkdir()
    taste = rng.integers(1, 6, (30, 20))
    chance = np.clip(taste / 8, 0.02, 1)
    np.savetxt(coat / "train.ascii", np.where(rng.random((30, 20)) < chance, taste, 0), fmt="%d")
    np.savetxt(coat / "test.ascii", np.where(rng.random((30, 20)) < 0.3, taste, 0), fmt="%d")
    np.savetxt(coat / "propensities.ascii", chance)
    return tmp_path


def test_made_copies_are_read_and_answered(made):
    rows = read_open_bandit(made / "open_bandit", "bts")
    assert (rows.count, len(rows.items), rows.contexts.shape[1]) == (4, 900, 1)
    assert shown_by_place(rows).sum(axis=1) == pytest.approx(np.ones(3))
    assert read_coat(made / "coat").chosen.shape == (30, 20)
    found = bench_off_policy("open-bandit", made, made / "scratch", resamples=5)
    refused = [one for one in found.answers if one.refused]
    assert refused
    assert len(found.refusals) == len(refused)
    assert {one.refused[:12] for one in refused} <= {"evidence-001", "evidence-004"}
    assert found.table()
    assert msgspec.json.decode(msgspec.json.encode(found))["rows"] == 1_800
    coat = bench_off_policy("coat", made, made / "scratch")
    naive, snips = (next(one for one in coat.answers if one.method == name) for name in ("naive mean", "snips"))
    assert naive.value > snips.value
    assert coat.missed == ()


def test_what_is_not_there_is_refused(made):
    with pytest.raises(BenchError) as unknown:
        bench_off_policy("open_bandits", made, made / "scratch")
    assert unknown.value.code == "bench-014"
    (made / "coat" / "test.ascii").unlink()
    with pytest.raises(BenchError):
        bench_off_policy("coat", made, made / "scratch")
    (made / "open_bandit" / "bts" / "men" / "men.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError) as refused:
        read_open_bandit(made / "open_bandit", "bts")
    assert refused.value.code == "data-003"


@pytest.mark.real
def test_open_bandit_as_research_found_it(pack, tmp_path):
    found = bench_off_policy("open-bandit", pack("open_bandit").parent, tmp_path, resamples=20)
    first = {one.method: one for one in found.answers if one.question.startswith("uniform")}
    assert first["ips"].value == pytest.approx(0.00301, abs=5e-6)
    assert first["snips"].value == pytest.approx(0.00319, abs=5e-6)
    assert first["ips"].effective_share == pytest.approx(0.0656, abs=5e-4)
    assert found.missed == ()
    assert sum(bool(one.refused) for one in found.answers) == 1
