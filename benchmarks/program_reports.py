"""How long each report takes, whole: 500 tasks, twenty gated milestones, ten thousand worlds, what moved, and the file.

    .venv/bin/python benchmarks/program_reports.py

PDF is measured where the extra `pdf` is installed, and said to be absent where it is not. CPU seconds of one core.
"""

from __future__ import annotations

import importlib.util
import time
from datetime import UTC, datetime, timedelta

import msgspec
from program_worlds import made_plan

from mainstem.program.deck import deck_html, deck_markdown
from mainstem.program.evidence import Evidence, gate_states
from mainstem.program.moved import what_moved
from mainstem.program.pdf import as_pdf
from mainstem.program.plan_file import convert_program
from mainstem.program.records import FORMS, Program
from mainstem.program.status import write_report
from mainstem.program.timeline import landings_of
from mainstem.program.worlds import simulate

TARGET_S, STONES = 2.0, 20


def plan(seed: int) -> Program:
    """A made plan with milestones, gates, blockers and decisions."""
    plain = msgspec.to_builtins(made_plan(500, 3))
    plain["tasks"]["t0"]["duration"] = [float(3 + seed), float(5 + seed), float(9 + seed)]
    plain["owners"] = {f"o{i}": {} for i in range(5)}
    plain["milestones"] = {
        f"m{i}": {
            "after": [f"t{499 - i}"],
            "owner": f"o{i % 5}",
            "due": str(made_plan(5, 0).program.start + timedelta(days=400 + i)),
            "gates": [{"kind": kind, "about": f"s{i}"} for kind in ("parity", "launch", "slo")],
        }
        for i in range(STONES)
    }
    plain["decisions"] = {f"d{i}": {"title": f"decision {i}", "owner": "o0"} for i in range(5)}
    start = str(made_plan(5, 0).program.start)
    plain["blockers"] = {f"b{i}": {"blocks": [f"t{i}"], "owner": f"o{i}", "since": start} for i in range(5)}
    return convert_program(plain, "made")


def report_s(form: str, ending: str, size: list[int]) -> float:
    """CPU seconds of one report from the plan to the file's bytes."""
    was, now = plan(0), plan(2)
    today = now.program.start + timedelta(days=100)
    moment = datetime.combine(today, datetime.min.time(), UTC)
    shown = [Evidence(id=f"e{i}", kind="parity", about=f"s{i}", value=1.0, at=moment) for i in range(STONES)]
    began = time.process_time()
    worlds = simulate(now)
    moved = what_moved(was, now)
    made = write_report(now, form, today, worlds, shown, moved, "m0")
    rows = landings_of(now, worlds, gate_states(now, shown, today), sorted(now.milestones)[:10])
    if ending == "pdf":
        text = as_pdf(made, today, rows, slides=form == "deck")
    elif form == "deck":
        text = deck_html(made, rows, today) if ending == "html" else deck_markdown(made, rows)
    else:
        text = made.as_html() if ending == "html" else made.as_markdown()
    took = time.process_time() - began
    size.append(len(text))
    return took


def main() -> None:
    simulate(plan(0), worlds=10)
    endings = ["md", "html", *(["pdf"] if importlib.util.find_spec("typst") else [])]
    for form in FORMS:
        told = []
        for ending in endings:
            size: list[int] = []
            took = report_s(form, ending, size)
            told.append(f"{ending} {took:.2f} s ({'met' if took <= TARGET_S else 'missed'}), {size[0] / 1000:.0f} kB")
        print(f"{form:12} {'; '.join(told)} (target {TARGET_S:g} s CPU)", flush=True)
    if "pdf" not in endings:
        print("pdf: absent, the extra `pdf` is not installed")


if __name__ == "__main__":
    main()
