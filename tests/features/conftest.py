"""The small made log, once a session."""

from __future__ import annotations

import pytest
from feature_log import Tables, small_log


@pytest.fixture(scope="session")
def small() -> Tables:
    return small_log()
