from __future__ import annotations

from pathlib import Path

from mainstem.program.records import Program
from mainstem.program.schema_page import schema_page


def test_the_page_that_is_kept_is_the_one_that_would_be_made_now():
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "program-schema.md").read_text()
    assert page == schema_page()
    for kind in Program.__struct_fields__:
        assert f"[{kind}" in page
    assert "needed" in page
