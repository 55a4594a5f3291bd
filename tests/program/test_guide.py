from __future__ import annotations

import re
from pathlib import Path

import pytest

from mainstem.program.formats import READERS, WRITERS
from mainstem.program.network import network_of
from mainstem.program.openslo import gates_of_slo
from mainstem.program.plan_file import parse_program

ROOT = Path(__file__).resolve().parents[2]


def test_the_plan_of_the_guide_is_a_plan():
    page = (ROOT / "docs" / "guides" / "program-as-code.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    assert network_of(parse_program(text)).names[-1] == "feed-live"


def test_the_openslo_file_of_the_guide_is_a_gate():
    pytest.importorskip("yaml")
    page = (ROOT / "docs" / "guides" / "program-as-code.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    assert gates_of_slo(text, "guide") == [{"about": "feed-availability", "at_least": 0.999}]


def test_every_format_stands_on_its_page():
    page = (ROOT / "docs" / "reference" / "plan-formats.md").read_text()
    for kind in READERS | WRITERS:
        (row,) = re.findall(rf"^\| `{kind}` \|([^|]*)\|([^|]*)\|", page, re.M)
        assert [bool(cell.strip()) for cell in row] == [kind in WRITERS, kind in READERS]
