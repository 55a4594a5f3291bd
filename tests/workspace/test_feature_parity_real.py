"""The KuaiRand pack in both worlds: three hundred requests, every declared value the same, through the verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mainstem.cli.verbs import app
from mainstem.data.importer import import_log

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]


def test_three_hundred_requests_agree_in_every_bit(pack: Callable[[str], Path], tmp_path: Path) -> None:
    import_log(pack("kuairand_pure"), tmp_path / "log")
    done = CliRunner().invoke(app, ["parity", "verify", "--requests", "300", "-w", str(tmp_path), "--json", "-q"])
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["passed"]) == (0, True), answer["sentence"]
    verified = {one["stack"]: one for one in answer["stacks"]}
    assert {"unified", "content-first"} <= verified.keys()
    assert answer["skipped"] == ["interest-first"]  # its features need what its own training writes
    for one in verified.values():
        assert one["cells"] == one["matched"] > 10_000
        assert one["requests"] > 250
        assert one["counterfactual"]["wrong"] > 0  # joined by event time some of them would be wrong
