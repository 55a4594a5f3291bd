"""``connected`` is whether the viewer follows the creator, and nobody follows an unknown one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mainstem.base.errors import ConfigError
from mainstem.base.request import Request
from mainstem.base.settings import parse_settings
from mainstem.stacks.neutral import Connection, surface_values


def test_followed_creators_are_connected_and_unknown_ones_are_not():
    viewer = SimpleNamespace(followed_creators=np.array([0, 7]))
    connected = Connection(np.array([7, 8, 0, -1]))
    request = Request(request_id=1, user_id=1, surface="feed", now_ms=0, count=1)
    assert connected(request, viewer, np.array([0, 1, 2, 3, -1])).tolist() == [1, 0, 0, 0, 0]


def test_every_surface_has_its_own_inherited_weights():
    text = """
[surfaces.base]
value = "long_view + like_worth * like"
weights = { like_worth = 2 }
[surfaces.feed]
extends = "base"
weights.like_worth = 3
[surfaces.pages]
extends = "base"
"""
    values = surface_values(parse_settings(text))
    assert {name: one.weights["like_worth"].number for name, one in values.items()} == {"feed": 3, "pages": 2}


def test_a_surface_that_can_value_nothing_is_refused_when_it_is_read():
    with pytest.raises(ConfigError) as refused:
        surface_values(parse_settings('[surfaces.feed]\nvalue = "0 - hate"'))
    assert refused.value.code == "value-006"
