"""A workspace's settings: inherited, checked, and a misspelt key is never silently ignored."""

from __future__ import annotations

import pytest

from mainstem.base.errors import ConfigError
from mainstem.base.settings import parse_settings, read_settings

INHERITED = """
[surfaces.base]
count = 20
[surfaces.base.rules]
creator_cap = 3
seen = 9
[surfaces.feed]
extends = "base"
[surfaces.feed.rules]
seen = 4
"""


def test_a_surface_inherits_key_by_key():
    feed = parse_settings(INHERITED).surfaces["feed"]
    assert (feed.count, feed.rules.creator_cap, feed.rules.seen) == (20, 3, 4)


def test_without_a_file_the_three_surfaces_are_there(tmp_path):
    assert set(read_settings(tmp_path, {}).served()) == {"feed", "groups", "pages"}


def test_base_is_not_served():
    assert set(parse_settings(INHERITED).served()) == {"feed"}


def test_the_environment_wins_over_the_file():
    assert parse_settings("[serve]\nport = 1\n", environment={"MAINSTEM_SERVE_PORT": "2"}).serve.port == 2


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("[surfaces.feed]\nvaleu = 'x'", "config-001", "mainstem.toml:2"),
        ("[surfaces.feed.rules]\nvarety = 1", "config-001", "varety"),
        ("[serv]\nport = 1", "config-001", "serv"),
        ("x = [", "config-002", "TOML"),
        ("[serve]\nport = 'a'", "config-003", "port"),
        ("[serve]\nshadow_share = 2.0", "config-003", "shadow_share"),
        ("[surfaces.feed.rules]\nintegrity = 'maybe'", "config-003", "integrity"),
        ("[surfaces.a]\nextends = 'b'\n[surfaces.b]\nextends = 'a'", "config-004", "circle"),
        ("[surfaces.a]\nextends = 'z'", "config-004", "'z'"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(text, code, told):
    with pytest.raises(ConfigError) as refused:
        parse_settings(text)
    assert refused.value.code == code
    assert told in refused.value.message


def test_a_misspelt_key_comes_with_what_was_meant():
    with pytest.raises(ConfigError) as refused:
        parse_settings("[surfaces.feed]\nvaleu = 'x'")
    assert refused.value.hint == "did you mean 'value'?"
