"""An SLO measured on what a real server answered over loopback: in time, and with nothing left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tiny_live import NOW_MS, served, tiny

from mainstem.base.settings import parse_settings
from mainstem.workspace.evidence_slo import measure_slo, slo_measured
from mainstem.workspace.layout import Workspace

pytest.importorskip("yaml")

SLO = """apiVersion: openslo/v1
kind: SLO
metadata: {name: feed}
spec:
  budgetingMethod: Occurrences
  timeWindow: [{duration: 1m, isRolling: true}]
  indicator:
    spec:
      ratioMetric:
        good: {metricSource: {type: mainstem, spec: {surface: feed, below_ms: 60000, whole: true}}}
        total: {metricSource: {type: mainstem, spec: {surface: feed}}}
  objectives: [{target: 0.8}]
"""


def test_what_a_server_answered_is_what_is_measured(tmp_path: Path) -> None:
    whole = tiny(tmp_path)
    with served(whole) as client:
        for at in range(30):
            whole.far.broken = at >= 27
            body = {"user_id": 1, "now_ms": NOW_MS + 2_000 * at}
            assert client.post("/v1/surfaces/feed/rank", json=body).status_code == 200
    (tmp_path / "live").mkdir()
    (tmp_path / "events.db").rename(tmp_path / "live" / "events.sqlite")
    (tmp_path / "slo.yaml").write_text(SLO)
    place = Workspace(tmp_path, parse_settings(""))
    ends = datetime.fromtimestamp(NOW_MS / 1e3, UTC) + timedelta(seconds=59)
    (found,) = measure_slo(place, tmp_path / "slo.yaml", now=ends)
    assert (found.answers, found.good, found.met) == (30, 27, True)
    assert found.budget_left == pytest.approx(0.5)
    (record,) = slo_measured(place, tmp_path / "slo.yaml", [found])
    assert (record.value, record.at, record.file) == (0.9, ends, "slo.yaml")
