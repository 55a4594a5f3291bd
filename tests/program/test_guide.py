from __future__ import annotations

import re
from pathlib import Path

from mainstem.program.network import network_of
from mainstem.program.plan_file import parse_program


def test_the_plan_of_the_guide_is_a_plan():
    page = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "program-as-code.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    assert network_of(parse_program(text)).names[-1] == "feed-live"
