"""What one side of a surface diff may be, and a whole replay on a made workspace."""

from __future__ import annotations

import subprocess

import pytest

from mainstem.base.errors import ConfigError
from mainstem.workspace.blast_radius import settings_of
from mainstem.workspace.layout import Workspace

FILE = """
[surfaces.base]
value = "long_view"
[surfaces.feed]
extends = "base"
[surfaces.pages]
extends = "base"
rules.seen = 3
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "mainstem.toml").write_text(FILE)
    return Workspace.open(tmp_path)


def test_a_change_is_a_setting_of_one_surface(place):
    side = settings_of(place, "feed.rules.seen=9, pages.value=click + 2*like")
    assert side.surfaces["feed"].rules.seen == 9
    assert side.surfaces["pages"].value == "click + 2*like"
    assert side.surfaces["pages"].rules.seen == 3
    assert settings_of(place, "now") == place.settings


def test_a_change_of_base_is_inherited(place):
    side = settings_of(place, "base.value=click")
    assert {one.value for one in side.served().values()} == {"click"}


def test_a_change_without_surfaces_in_the_file_changes_one_of_the_built_in(tmp_path):
    side = settings_of(Workspace.open(tmp_path), "groups.count=4")
    assert {name: one.count for name, one in side.served().items()} == {"feed": 10, "groups": 4, "pages": 10}


def test_a_side_may_be_a_file_or_a_revision(place, tmp_path):
    (tmp_path / "proposed.toml").write_text(FILE.replace("long_view", "like"))
    assert settings_of(place, str(tmp_path / "proposed.toml")).surfaces["feed"].value == "like"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    for step in (["init", "-q"], ["add", "mainstem.toml"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *step], check=True)
    (tmp_path / "mainstem.toml").write_text(FILE.replace("long_view", "hate"))
    assert settings_of(Workspace.open(tmp_path), "HEAD").surfaces["feed"].value == "long_view"


@pytest.mark.parametrize("side", ["nowhere.toml", "--output=x", "fed.count=3", "count=3", "main:other"])
def test_what_names_no_side_is_refused(place, side):
    with pytest.raises(ConfigError) as refused:
        settings_of(place, side)
    assert refused.value.code == "config-020"
    assert refused.value.hint


def test_a_change_that_is_no_setting_is_refused_like_in_the_file(place):
    with pytest.raises(ConfigError) as refused:
        settings_of(place, "feed.rules.seeen=9")
    assert refused.value.code == "config-001"
