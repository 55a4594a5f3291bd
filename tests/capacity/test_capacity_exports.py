"""Exports that other tools read, throughput carried to other accelerators, and the verbs."""

import csv
import io
import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mainstem.base.errors import CapacityError
from mainstem.capacity.exports import FOCUS, exported
from mainstem.capacity.plan_file import EXAMPLE, read_plan
from mainstem.capacity.timeline import Timeline, timeline
from mainstem.capacity.transfer import ACCELERATORS, Accelerator, leave_one_out, mlperf, transfer
from mainstem.capacity.transition import Transition
from mainstem.capacity.worlds import draw_worlds
from mainstem.cli.capacity import app

DAY = date(2026, 11, 23)
RUN = CliRunner()


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("capacity") / "capacity.toml"
    file.write_text(EXAMPLE)
    return file


@pytest.fixture(scope="module")
def planned(plan_file: Path) -> tuple[Transition, Timeline]:
    plan = read_plan(plan_file)
    return plan, timeline(draw_worlds(plan, 50, 1))


def test_focus_rows_are_weeks_of_which_nothing_is_billed(planned: tuple[Transition, Timeline]):
    plan, found = planned
    rows = list(csv.DictReader(io.StringIO(exported("focus", plan, found, first=DAY))))
    assert len(rows) == 3 * plan.weeks * 3
    assert tuple(rows[0]) == FOCUS
    assert {row["BilledCost"] for row in rows} == {"0"}
    assert rows[3]["ChargePeriodStart"] == rows[0]["ChargePeriodEnd"] == "2026-11-30T00:00:00Z"
    assert rows[1]["x_ForecastQuantile"] == "P50"
    assert float(rows[1]["EffectiveCost"]) == pytest.approx(float(rows[1]["ConsumedQuantity"]) * 420.0, abs=1e-3)
    assert (rows[0]["x_PoolQuantity"], rows[-1]["x_PoolQuantity"]) == ("270.000000", "")


def test_open_metrics_end_and_json_is_read_back(planned: tuple[Transition, Timeline]):
    plan, found = planned
    lines = exported("openmetrics", plan, found, first=DAY).splitlines()
    assert lines[-1] == "# EOF"
    assert sum(line.startswith("mainstem_capacity_units{") for line in lines) == 3 * 2 * plan.weeks * 3
    told = json.loads(exported("json", plan, found, first=DAY))
    assert told["resources"][0]["peak"]["p50"] == found.resources[0].peak.p50
    with pytest.raises(CapacityError) as refused:
        exported("excel", plan, found, first=DAY)
    assert refused.value.code == "capacity-056"


def test_throughput_of_a_law_is_carried_over_exactly_and_far_targets_are_refused():
    law = {name: 1.0 / (10 / a.tflops + 0.02 / a.tbytes_s + 3 / a.watts) for name, a in ACCELERATORS.items()}
    found = leave_one_out(law)
    assert found.error < 1e-9
    assert (found.ordered, found.pairs) == (15, 15)
    with pytest.raises(CapacityError) as refused:
        transfer(law, Accelerator("a processor", 5, 0.3, 350))
    assert refused.value.code == "capacity-051"
    with pytest.raises(CapacityError) as few:
        transfer({"L40S": 1.0}, ACCELERATORS["GH200"])
    assert few.value.code == "capacity-055"


def test_published_results_are_the_median_of_an_accelerators_submissions(tmp_path: Path):
    file = tmp_path / "mlperf.csv"
    head = (
        "division,model,scenario,result,system,accelerator,samples_per_s,completed_samples_per_s,accel_per_node,nodes"
    )
    rows = [f"closed,dlrm-v2-99,Offline,VALID,x,NVIDIA H100-SXM-80GB,{v},,8,1" for v in (80, 160, 800)]
    rows.append("closed,dlrm-v2-99,Offline,VALID,x_MaxQ,NVIDIA H200-SXM,80,,8,1")
    rows.append("open,dlrm-v2-99,Offline,VALID,x,NVIDIA L40S,80,,8,1")
    file.write_text("\n".join([head, *rows]) + "\n")
    assert mlperf(file, "Offline") == {"H100-SXM": 20.0}
    with pytest.raises(CapacityError) as refused:
        mlperf(file, "Server")
    assert refused.value.code == "capacity-054"


def test_the_verbs_answer(plan_file: Path, tmp_path: Path):
    assert "[[surfaces]]" in RUN.invoke(app, ["plan", "--example"]).stdout
    shown = RUN.invoke(app, ["plan", str(plan_file), "--worlds", "50", "--json", "-q"])
    assert shown.exit_code in (0, 3)
    assert json.loads(shown.stdout)["worlds"] == 50
    assert "paid back" in RUN.invoke(app, ["plan", str(plan_file), "--worlds", "50", "-q"]).stdout
    sized = RUN.invoke(app, ["size", str(plan_file), "inference", "--worlds", "200", "--json"])
    assert json.loads(sized.stdout)["size"] > 100
    ordered = RUN.invoke(app, ["order", str(plan_file), "--worlds", "20", "--json", "-q"])
    assert set(json.loads(ordered.stdout)["starts"]) == {"feed", "groups", "pages"}
    out = tmp_path / "costs.csv"
    RUN.invoke(app, ["export", str(plan_file), "--out", str(out), "--first", "2026-11-23", "--worlds", "20"])
    assert out.read_text().startswith("BilledCost")
    queue = RUN.invoke(app, ["latency", "--request-ms", "5", "--slo-ms", "50", "--json"])
    assert json.loads(queue.stdout)["knee"]["p99"] <= 0.05


def test_the_ledger_verbs_write_and_read(tmp_path: Path):
    file = str(tmp_path / "ledger.jsonl")
    body = json.dumps({"title": "fewer candidates", "scope": "feed/rank"})
    added = RUN.invoke(app, ["record", file, "idea", "S1", "--by", "ann", "--body", body, "--json"])
    head = json.loads(added.stdout)["head"]
    read = RUN.invoke(app, ["ledger", file, "--head", head, "--json"])
    assert json.loads(read.stdout)["claims"][0]["state"] == "idea"
    assert isinstance(
        RUN.invoke(app, ["record", file, "idea", "S2", "--by", "a", "--body", "["]).exception, CapacityError
    )
    assert isinstance(RUN.invoke(app, ["export", file, "--first", "monday"]).exception, CapacityError)
