"""How long a plan of 10,000 items takes into and out of each format, and whether it comes back whole.

    .venv/bin/python benchmarks/program_formats.py

Each format's file is made from one plan, read, turned into a checked plan with its network. CPU seconds of one core.
"""

from __future__ import annotations

import json
import time

from program_worlds import made_plan

from mainstem.program.exchange import Item, items_of, program_of
from mainstem.program.formats import READERS, WRITERS
from mainstem.program.network import network_of
from mainstem.program.plan_file import parse_program, write_program
from mainstem.program.reading import with_ids

ITEMS, TARGET_S = 10_000, 2.0


def as_linear(items: list[Item]) -> str:
    nodes = [
        {
            "identifier": one.id,
            "title": one.name,
            "inverseRelations": {
                "nodes": [{"type": "blocks", "issue": {"identifier": link.split("+")[0]}} for link in one.after]
            },
        }
        for one in items
    ]
    return json.dumps({"data": {"issues": {"nodes": nodes}}}, indent=1)


def as_taskjuggler(items: list[Item]) -> str:
    return "".join(
        f'task {one.id.replace("-", "_")} "{one.name}" {{\n'
        + (f"  length {one.days[len(one.days) // 2]:.3f}d\n" if one.days else "  milestone\n")
        + (f"  depends {', '.join(link.split('+')[0].replace('-', '_') for link in one.after)}\n" if one.after else "")
        + "}\n"
        for one in items
    )


def main() -> None:
    program = made_plan(ITEMS, 2)
    items = items_of(program)
    text = write_program(program)
    began = time.process_time()
    network_of(parse_program(text))
    said("plan as TOML", time.process_time() - began, len(items), "whole")
    texts = {kind: write(items) for kind, write in WRITERS.items()}
    texts |= {"linear": as_linear(items), "taskjuggler": as_taskjuggler(items)}
    for kind, text in texts.items():
        began = time.process_time()
        found = with_ids(READERS[kind](text, kind, [1.0, 2.0, 4.0]))
        network_of(program_of(found.items, "x", program.program.start, kind))
        took_s = time.process_time() - began
        back = "whole" if found.items == items else "read only" if kind not in WRITERS else "NOT the same"
        said(kind, took_s, len(found.items), back)


def said(kind: str, took_s: float, count: int, back: str) -> None:
    met = "met" if took_s <= TARGET_S and back != "NOT the same" else "missed"
    print(
        f"{kind:14} {count:,} items read, checked and linked: {took_s:.2f} s CPU ({met}: target {TARGET_S:g} s), {back}"
    )


if __name__ == "__main__":
    main()
