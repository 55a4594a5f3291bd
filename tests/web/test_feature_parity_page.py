"""The parity page from evidence: all agreed, one broken, and nothing verified yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mainstem.base.settings import Settings
from mainstem.web.routes import routes
from mainstem.workspace.layout import Workspace


def _row(name: str, agrees: bool) -> dict[str, Any]:
    matched = 10 if agrees else 7
    return {
        "name": name, "window": "ever", "stage": "read", "version": "1-abc", "owner": "ranking", "agrees": agrees,
        "cells": 10, "matched": matched, "differing": 10 - matched, "missing": 0, "extra": 0, "state_differing": 0,
        "largest_ulp": 0 if agrees else 12, "p50": None, "p99": None, "largest": None, "edit_largest": None, "first": None,
        "days": [{"day": 19_107, "cells": 10, "matched": matched}],
    }  # fmt: skip


def _evidence(agrees: bool) -> dict[str, Any]:
    value = {
        "name": "a",
        "served": "1.0",
        "recomputed": "1.0" if agrees else "<b>2</b>",
        "state": "known",
        "agrees": agrees,
    }
    stack = {
        "stack": "unified", "feature_set": "f" * 12, "passed": agrees, "sentence": "said", "requests": 10, "events": 99,
        "cells": 20, "matched": 20 if agrees else 17, "rows": {}, "features": [_row("a", agrees), _row("b", True)],
        "causes": [{"sentence": "'a' parts in read."}] if not agrees else [],
        "lag": [{"from_events": 0, "to_events": 0, "requests": 10}],
        "counterfactual": {"requests": 5, "cells": 10, "wrong": 1, "worst": [["a", 0.5]]},
        "example": {"request_id": "1", "time_ms": 1, "offset": 5, "user_id": 2, "item_id": 3, "values": [value]},
    }  # fmt: skip
    return {
        "passed": agrees,
        "sentence": "s",
        "source": "real",
        "commit": "abc",
        "stacks": [stack],
        "sections": [],
        "skipped": [],
    }


def _client(tmp_path: Path, evidence: dict[str, Any] | None) -> TestClient:
    workspace = Workspace(tmp_path, Settings())
    if evidence is not None:
        workspace.write_evidence("feature_parity", evidence)
        past = {"since": None, "broken": {"at_ms": 1_650_000_000_000, "commit": "c0ffee"}, "last_broken": None}
        workspace.write_evidence("feature_parity_history", {"unified": {"a": past}})
    return TestClient(Starlette(routes=routes(None, workspace)))


def test_the_page_says_what_is_missing_and_how_it_is_made(tmp_path: Path) -> None:
    body = _client(tmp_path, None).get("/feature-parity").text
    assert "mainstem parity verify" in body


@pytest.mark.parametrize("agrees", [True, False])
def test_page_json_and_csv_tell_the_same(tmp_path: Path, agrees: bool) -> None:
    client = _client(tmp_path, _evidence(agrees))
    body = client.get("/feature-parity")
    assert body.status_code == 200
    assert ("All 2 features are the same" in body.text) is agrees
    assert "<b>2</b>" not in body.text
    told = msgspec.json.decode(client.get("/feature-parity.json").content)
    first = told["tables"]["features"]["rows"][0]
    assert first["name"] == "a"
    assert first["answer"] == ("holds" if agrees else "does not hold")
    assert "c0ffee" in first["broken"]
    assert client.get("/feature-parity.csv?table=example").text.splitlines()[1].startswith("a,1.0,")
