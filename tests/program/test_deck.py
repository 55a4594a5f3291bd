from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from datetime import date

import pytest
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.deck import FULL, deck_html, deck_markdown, slides_of
from mainstem.program.evidence import gate_states
from mainstem.program.pdf import as_pdf
from mainstem.program.plan_file import parse_program
from mainstem.program.sentences import Report, Sentence
from mainstem.program.status import write_report
from mainstem.program.timeline import HEAD, PLAIN, Landing, as_svg, landings_of
from mainstem.program.worlds import simulate

EVIL = "</svg><script>*x*|#evil"
PLAN = parse_program(SMALL.replace("One platform", EVIL))
TODAY = date(2026, 1, 20)
WORLDS = simulate(PLAN, worlds=300)
ROWS = landings_of(PLAN, WORLDS, gate_states(PLAN, [], TODAY), ["feed"])
DECK = write_report(PLAN, "deck", TODAY, WORLDS)


def test_every_sentence_is_on_a_slide_and_no_slide_overflows():
    slides = slides_of(DECK)
    assert [one for slide in slides for one in slide.sentences] == DECK.sentences()
    many = Report("t", (("h", tuple(Sentence(f"s{at}", "program", "1") for at in range(2 * FULL + 1))),))
    assert [one.heading for one in slides_of(many)] == ["h (1 of 3)", "h (2 of 3)", "h (3 of 3)"]
    assert max(len(one.sentences) for one in slides_of(many)) == FULL


def test_markdown_slides_hold_the_table_and_the_sentences():
    text = deck_markdown(DECK, ROWS)
    slides = text.split("\n\n---\n\n")
    assert len(slides) == len(slides_of(DECK)) + 2
    assert slides[1].splitlines()[2] == f"| {' | '.join(HEAD)} |"
    assert slides[1].splitlines()[4].count("|") == len(HEAD) + 1
    assert "<script>" not in text.replace("\\<", "")
    for one in DECK.sentences():
        assert f"`[{one.record}]`" in text


def test_the_page_runs_nothing_loads_nothing_and_every_step_leads_somewhere():
    page = deck_html(DECK, ROWS, TODAY)
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)', page)
    ids = set(re.findall(r'<section id="(s\d+)"', page))
    assert len(ids) == len(slides_of(DECK)) + 3
    assert set(re.findall(r'href="#(s\d+)"', page)) == ids
    for one in DECK.sentences():
        assert f'data-record="{one.record}"' in page


def test_the_picture_is_whole_and_says_what_its_table_says():
    tree = ET.fromstring(as_svg(ROWS, TODAY))
    words = [one.text for one in tree.iter("{http://www.w3.org/2000/svg}text")]
    (row,) = ROWS
    assert row.kept is not None
    assert f"kept {row.kept:.0%}" in words
    assert row.cells() == (
        "feed",
        str(row.p10),
        str(row.p50),
        str(row.p80),
        str(row.p90),
        "2026-02-06",
        f"{row.kept:.0%}",
        "grey",
    )
    assert row.p10 <= row.p50 <= row.p80 <= row.p90
    assert as_svg((), TODAY) == ""
    late = as_svg((Landing("x" * 60, TODAY, TODAY, TODAY, TODAY, TODAY, 0.79, "green"),), TODAY)
    assert f'fill="{PLAIN["red"]}"' in late
    assert "x" * 23 + "…" in late
    kept = as_svg((Landing("x", TODAY, TODAY, TODAY, TODAY, TODAY, 0.8, "green"),), TODAY)
    assert f'fill="{PLAIN["red"]}"' not in kept
    ET.fromstring(as_svg((Landing(EVIL, TODAY, TODAY, TODAY, date(2036, 1, 1), None, None, ""),), TODAY))


@pytest.mark.parametrize("slides", [True, False])
def test_a_pdf_is_the_same_twice(slides):
    pytest.importorskip("typst")
    made = as_pdf(DECK, TODAY, ROWS, slides=slides)
    assert made.startswith(b"%PDF-")
    assert made == as_pdf(DECK, TODAY, ROWS, slides=slides)
    assert b"StructTreeRoot" in made


def test_without_typst_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(ProgramError) as caught:
        as_pdf(DECK, TODAY)
    assert caught.value.code == "program-062"
