"""A made workspace of the program and the capacity desk: a plan with a past, evidence in every colour, a ledger, constants."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

from benchmarks.capacity_frauds import honest, write

from mainstem.base.evidence import Evidence
from mainstem.capacity.calibration import Calibration, Fitted, Hardware, save
from mainstem.capacity.plan_file import EXAMPLE
from mainstem.capacity.stacks import METRICS, Needs, Saving
from mainstem.workspace.capacity_told import Stacks
from mainstem.workspace.evidence_log import append_evidence
from mainstem.workspace.layout import Workspace
from mainstem.workspace.program_desk import MOVED

TODAY = date(2026, 7, 20)
BLOCKER = """
[blockers.no-gpus]
blocks = ["groups-ramp"]
owner = "bo"
since = 2026-07-13
"""
FOOTPRINT = {
    "feed": {
        "operations a request": 4.1e8, "ranker seconds a request": 0.0121, "machines": 61,
        "ranker seconds, 5th to 95th percentile": [0.0113, 0.0133], "constants expire": "2026-09-01",
    },
    "pages": {"operations a request": 2.2e8, "ranker seconds a request": 0.0074, "machines": 9},
}  # fmt: skip


def plan_text() -> str:
    """The plan to begin from, half a year later."""
    text = files("mainstem.program").joinpath("example.toml").read_text(encoding="utf-8")
    text = text.replace("correlation = 0.3", f"correlation = 0.3\nas_of = {TODAY}")
    for name, started, done in (
        ("one-log", "2026-01-05", "2026-02-06"),
        ("one-feature-set", "2026-02-09", "2026-03-27"),
        ("one-model", "2026-03-30", "2026-05-08"),
        ("feed-port", "2026-02-09", "2026-03-06"),
        ("feed-shadow", "2026-05-11", "2026-06-05"),
    ):
        head = f"[tasks.{name}]\n"
        assert head in text
        text = text.replace(head, f"{head}started = {started}\ndone = {done}\n")
    return text + BLOCKER


def fill_program(workspace: Workspace) -> None:
    """The plan, evidence in three colours and one in doubt, and what moved."""
    (workspace.folder / "program.toml").write_text(plan_text())
    noon = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)
    for name in ("feature_parity", "slo", "launch"):
        workspace.write_evidence(f"made_{name}", {"name": name})

    def record(kind: str, about: str, value: float, days: float, file: str = "", *, made: bool = False) -> Evidence:
        at = noon - timedelta(days=days)
        path = f"evidence/made_{file}.json" if file else ""
        return Evidence(kind=kind, about=about, value=value, at=at, file=path, source=f"mainstem {kind}", made=made)

    append_evidence(
        workspace,
        record("parity", "feed", 1.0, 2, "feature_parity"),
        record("slo", "feed", 0.9971, 1, "slo"),
        record("launch", "feed", 1.0, 3, "launch", made=True),
        record("rollback", "feed", 1.0, 12),
        record("responsible", "feed", 1.0, 120),
        record("parity", "groups", 0.95, 4),
    )
    workspace.write_evidence("made_launch", {"name": "launch", "edited": True})
    edits = [
        {"record": "tasks.groups-ramp", "field": "duration", "was": "[15, 20, 30]", "now": "[15, 25, 40]", "who": "bo",
         "why": "groups needs a second look at small creators"},
    ]  # fmt: skip
    moves = [
        {"what": "milestones.groups-live P80", "was": "2026-09-14", "now": "2026-09-21", "by": 7.0, "unit": "days"},
        {"what": "pools.gpu peak", "was": "88", "now": "96", "by": 8.0, "unit": "GPU"},
    ]
    workspace.write_evidence(MOVED, {"since": "HEAD~5", "until": "", "edits": edits, "moves": moves})


def made_stacks() -> Stacks:
    """Three stacks, told a little wrong."""
    names = ("content-first", "interest-first", "unified")
    took = {
        name: Needs({"feed": 0.01 * at}, 200.0 / at, 3e8 + 1e7 * at, 2_100.0, 60.0, 51_000.0 / at)
        for at, name in enumerate(names, 1)
    }
    told = {name: replace(one, knee=1.04 * one.knee) for name, one in took.items()}
    errors = {f"{name}: {what}": 0.04 if what.startswith("requests") else 0.0 for name in names for what in METRICS}
    machine = Hardware("A made processor", 2, {})
    saved = [Saving("CPU seconds", 0.31, 0.33)]
    return Stacks(told, took, errors, 0.02, saved, machine, 2, 0.25, 120, "2026-06-03", 300.0, "ab" * 32, [])


def fill_capacity(workspace: Workspace, expires: date = date(2099, 1, 1)) -> None:
    """A transition, a footprint, a verified saving and measured constants."""
    (workspace.folder / "capacity.toml").write_text(EXAMPLE)
    write(workspace.folder / "savings.jsonl", honest())
    workspace.write_evidence("footprint", FOOTPRINT)
    workspace.write_evidence("capacity_stacks", made_stacks())
    fitted = Fitted({"call": 1e-6}, {"rows": 1.0}, {"rows": 9.0}, 24, 12, 0.041, 0.106, 0.93, 1.1)
    machine = Hardware("A made processor at 2.0 GHz", 2, {"numpy": "2.4"})
    single = {"bytes a logged row of 206 made features": 824.0, "training rows a CPU second": 51_200.0}
    held = Calibration(machine, date(2026, 6, 3), expires, {"ranker": fitted, "gather": fitted}, single)
    save(held, workspace.folder / "capacity" / "constants.json")
