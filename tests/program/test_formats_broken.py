"""Whatever is done to a file of another tool, it is read or refused with its place; nothing else is ever raised."""

from __future__ import annotations

import contextlib
import copy
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.exchange import items_of, program_of
from mainstem.program.formats import READERS, WRITERS
from mainstem.program.network import network_of
from mainstem.program.plan_file import parse_program
from mainstem.program.reading import with_ids

ITEMS = items_of(parse_program(SMALL))
ISSUE = {
    "identifier": "E-1",
    "title": "a",
    "assignee": {"displayName": "x"},
    "projectMilestone": {"id": "m", "name": "M", "targetDate": "2026-05-01"},
    "relations": {"nodes": [{"type": "blocks", "relatedIssue": {"identifier": "E-2"}}]},
    "inverseRelations": {"nodes": [{"type": "blocks", "issue": {"identifier": "E-3"}}]},
    "state": {"type": "started"},
}
TEXTS = {kind: write(ITEMS) for kind, write in WRITERS.items()} | {
    "linear": json.dumps({"issues": {"nodes": [ISSUE, *({"identifier": f"E-{at}"} for at in (2, 3))]}}),
    "taskjuggler": 'task a "A" {\n task b "B" { length 3d allocate x }\n}\ntask c { depends a.b { gaplength 1d }, a }\n',
}
ODD: list[Any] = [None, 3, -1, 1e400, "x", "", [], {}, [1], {"a": 1}, True, "2026-13-01", [None], ["a"], 10**30]


def _places(value: Any, place: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(one for key, held in inner for one in _places(held, (*place, key)))]


def _read(kind: str, text: str) -> None:
    with contextlib.suppress(ProgramError):
        found = with_ids(READERS[kind](text, "f", [1.0, 2.0, 4.0]))
        network_of(program_of(found.items, "x", date(2026, 1, 5), "f"))


@pytest.mark.parametrize("kind", sorted(kind for kind in TEXTS if TEXTS[kind].lstrip()[0] in "[{"))
@settings(max_examples=60)
@given(data=st.data())
def test_a_value_that_does_not_belong(kind, data):
    held = json.loads(TEXTS[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([one for one in _places(held) if one]))
        inner = held
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
    _read(kind, json.dumps(held))


@pytest.mark.parametrize("kind", sorted(TEXTS))
@settings(max_examples=40)
@given(data=st.data())
def test_text_that_was_cut_and_pasted(kind, data):
    text = TEXTS[kind]
    for _ in range(data.draw(st.integers(1, 4))):
        at, until = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        text = (
            text[:at]
            + data.draw(st.sampled_from(["", "{", '"', "\x00", ",", "é\n", text[at : at + 9] * 2]))
            + text[until:]
        )
    _read(kind, text)
