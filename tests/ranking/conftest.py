"""The small made log of tests/features, and one model trained on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "features"))

from feature_log import Tables, small_log
from small_training import SMALL

from mainstem.ranking.lesson import Lesson, lesson
from mainstem.ranking.model import Model
from mainstem.ranking.train import train


@pytest.fixture(scope="session")
def small() -> Tables:
    return small_log(rows=2500)


@pytest.fixture(scope="session")
def small_lesson(small: Tables) -> Lesson:
    return lesson(small.items, small.users, small.impressions, small.history, validation_day=20220429)


@pytest.fixture(scope="session")
def small_model(small_lesson: Lesson) -> Model:
    return train(small_lesson, SMALL)
