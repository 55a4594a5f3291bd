"""The gauges of feature evidence: absent before it, as written after it, and as rewritten after that."""

from __future__ import annotations

from pathlib import Path

import httpx2
import msgspec
from tiny_live import AUTH, event, served, tiny

from mainstem.api.meters import Meters


def _write(folder: Path, matched: int, alarms: int) -> None:
    folder.mkdir(exist_ok=True)
    parity = {"stacks": [{"stack": "unified", "matched": matched, "cells": 10}]}
    drift = {"psi_worst": "age", "psi_max": 0.5, "alarms": [{}] * alarms}
    (folder / "feature_parity.json").write_bytes(msgspec.json.encode(parity))
    (folder / "feature_drift.json").write_bytes(msgspec.json.encode(drift))


def test_gauges_follow_the_evidence(tmp_path: Path) -> None:
    meters = Meters()
    meters.features.read(tmp_path / "none")
    assert b"match_ratio{" not in meters.page()[0]
    folder = tmp_path / "evidence"
    _write(folder, 10, 0)
    meters.features.read(folder)
    text = meters.page()[0].decode()
    assert 'mainstem_feature_parity_match_ratio{stack="unified"} 1.0' in text
    assert 'mainstem_feature_drift_psi_max{feature="age"} 0.5' in text
    assert "mainstem_feature_alarms 0.0" in text
    _write(folder, 9, 3)
    meters.features.read(folder)
    assert 'match_ratio{stack="unified"} 0.9' in meters.page()[0].decode()
    assert "mainstem_feature_alarms 3.0" in meters.page()[0].decode()


def test_broken_evidence_leaves_the_gauges(tmp_path: Path) -> None:
    meters = Meters()
    _write(tmp_path, 10, 2)
    meters.features.read(tmp_path)
    (tmp_path / "feature_drift.json").write_bytes(b'{"cut sho')
    meters.features.read(tmp_path)
    assert "mainstem_feature_alarms 2.0" in meters.page()[0].decode()


def test_a_server_tells_the_evidence_and_how_fresh_it_is(tmp_path: Path) -> None:
    _write(tmp_path / "evidence", 10, 1)
    whole = tiny(tmp_path / "live")
    with served(whole, evidence=tmp_path / "evidence") as client:
        assert "mainstem_feature_alarms 1.0" in _metrics(client)
        assert "mainstem_feature_freshness_seconds NaN" in _metrics(client)
        client.post("/v1/events", json={"events": [event()]}, headers=AUTH).raise_for_status()
        assert "mainstem_feature_freshness_seconds NaN" not in _metrics(client)


def _metrics(client: httpx2.Client) -> str:
    return client.get("/metrics").raise_for_status().text
