"""A launch on a terminal: 80 columns, nothing told by colour alone, and nothing from data that a terminal would obey."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mainstem.cli.launch_status import status_text

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
import made_standing


@pytest.mark.parametrize("name", made_standing.EVERY)
def test_a_screen_is_80_columns_of_plain_words(name: str) -> None:
    text = status_text(made_standing.EVERY[name](), colour=False)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert all(one.isprintable() or one == "\n" for one in text)
    assert not any(line.endswith(" ") for line in text.splitlines())


@pytest.mark.parametrize("name", made_standing.EVERY)
def test_colour_adds_nothing_but_colour(name: str) -> None:
    standing = made_standing.EVERY[name]()
    coloured = status_text(standing, colour=True)
    assert "\x1b[" in coloured
    bare = re.sub(r"\x1b\[\d+m", "", coloured)
    assert [line.rstrip() for line in bare.splitlines()] == status_text(standing, colour=False).splitlines()


def test_the_screen_tells_every_gate_and_what_it_is_stopped_by() -> None:
    text = status_text(made_standing.rich(), colour=False)
    assert "autumn-3   HARM   made world" in text
    assert "groups  ●─●─✕─○─○─○    0 %  rolled back" in text
    for gate, verdict in (
        ("feed against content-first", "NON-INFERIOR"),
        ("feed against interest-first", "WIN"),
        ("groups against content-first", "HARM"),
        ("pages against content-first", "PAUSE"),
    ):
        assert f"{gate}   {verdict}   look 12 of 28" in text
    assert "value      −3.90 % (−4.50…−3.30)" in text
    assert "latency    −0.95 % (−1.35…−0.55)" in text
    assert "last acts (all 17: mainstem launch audit)" in text


def test_harm_lies_to_the_left_whichever_way_a_metric_points() -> None:
    groups = (
        status_text(made_standing.rich(), colour=False)
        .split("groups against content-first")[1]
        .split("groups against")[0]
    )
    reports = next(line for line in groups.splitlines() if "reports  " in line)
    assert "■ reports" in reports
    assert "◄·····┊·····│············  +18.4 %" in reports


def test_an_empty_launch_says_who_should_fly_it_and_has_no_bars() -> None:
    text = status_text(made_standing.begun(), colour=False)
    assert "nobody flies it: mainstem launch run" in text
    assert "┊" not in text
    assert "made world" not in text


def test_a_broken_split_and_unknown_days_are_said() -> None:
    half = made_standing.half()
    assert "split broken in all: 41,200 to 38,100" in status_text(half, colour=False)
    surface = half.surfaces[0]
    gate = surface.origins[0]
    lost = replace(gate, metrics=(replace(gate.metrics[0], days_left=None),))
    told = status_text(replace(half, surfaces=(replace(surface, origins=(lost,)),)), colour=False)
    assert "days to a verdict are not known of long_views" in told


def test_a_file_and_no_color_get_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in status_text(made_standing.rich())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in status_text(made_standing.rich())


def test_a_surface_that_ended_waits_for_nothing() -> None:
    text = status_text(made_standing.rich(), colour=False)
    groups, pages = text.split("pages against content-first")
    assert "more days to a verdict" not in groups
    assert "about 12 more days to a verdict, the last metric is latency_p95" in pages


def test_a_terminal_obeys_nothing_that_comes_from_data() -> None:
    told = made_standing.rich()
    bad = "x\x1b[2J\r\ny"
    gate = replace(told.surfaces[0].origins[0], legacy=bad, reasons=(bad,), left_out=(bad,))
    surface = replace(told.surfaces[0], surface=bad, reason=bad, origins=(gate,))
    acts = tuple(replace(one, surface=bad, reason=bad, actor=bad) for one in told.acts[:2])
    text = status_text(replace(told, launch=bad, pilot=bad, surfaces=(surface,), acts=acts), colour=False)
    assert "\x1b" not in text
    assert "\r" not in text
    assert not any(line.startswith("y") for line in text.splitlines())
