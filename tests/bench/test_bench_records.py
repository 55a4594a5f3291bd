"""Results survive what kills a run, and figures of other code or other data are not taken for these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mainstem.base.errors import BenchError
from mainstem.bench.records import Record, Records

RECORD = Record("ml-1m", "closed form", "ours", 3, "abc", "measured", fit_cpu_s=1.5, peak_mb=90.0)


def test_a_record_is_found_again_with_its_arrays(tmp_path: Path) -> None:
    kept = Records(tmp_path).keep(RECORD, {"test": np.arange(4.0)})
    again = Records(tmp_path, resume=True)
    again.begin("ml-1m")
    found = again.find("ml-1m", "closed form", 3, "abc")
    assert found == kept
    assert found is not None
    assert found.made_at
    np.testing.assert_array_equal(again.arrays(found)["test"], np.arange(4.0))


def test_another_identity_or_a_failure_is_measured_again(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.keep(RECORD)
    assert records.find("ml-1m", "closed form", 3, "other") is None
    assert records.find("ml-1m", "closed form", 4, "abc") is None
    records.keep(replace(RECORD, status="failed"))
    assert records.find("ml-1m", "closed form", 3, "abc") is None


def test_a_new_run_throws_away_its_protocol_only(tmp_path: Path) -> None:
    Records(tmp_path).keep(RECORD)
    Records(tmp_path).keep(replace(RECORD, protocol="toys"))
    fresh = Records(tmp_path)
    fresh.begin("ml-1m")
    assert fresh.find("ml-1m", "closed form", 3, "abc") is None
    assert fresh.find("toys", "closed form", 3, "abc") is not None


def test_a_half_written_record_is_no_record(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.keep(RECORD)
    path = tmp_path / f"{RECORD.key}.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert records.find("ml-1m", "closed form", 3, "abc") is None


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.keep(RECORD, {"test": np.arange(400.0)})
    path = tmp_path / f"{RECORD.key}.npz"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BenchError) as caught:
        records.arrays(RECORD)
    assert caught.value.code == "bench-010"
