"""A training that is stopped anywhere goes on to the same bytes; one of other settings is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import SMALL

from mainstem.base.errors import ModelError
from mainstem.ranking import train as training
from mainstem.ranking.checkpoint import save_checkpoint
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.train import train

SHORT = replace(SMALL, epochs=2, checkpoint_every=3)


def test_a_stopped_training_goes_on_to_the_same_bytes(
    small_lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(small_lesson, SHORT)
    saved: list[int] = []

    def stops(folder: Path, state: dict[str, Any], identity: Any = None) -> Path:
        path = save_checkpoint(folder, state, identity)
        saved.append(state["step"])
        if len(saved) in (2, 5):
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(training, "save_checkpoint", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(small_lesson, SHORT, checkpoint=tmp_path / "run")
    with pytest.raises(ModelError) as refused:
        train(small_lesson, replace(SHORT, rate=1e-3), checkpoint=tmp_path / "run")
    assert refused.value.code == "model-040"
    model = train(small_lesson, SHORT, checkpoint=tmp_path / "run")
    assert saved == sorted(saved), "it went on, and did not begin again"
    for name, weight in whole.weights.items():
        np.testing.assert_array_equal(weight, model.weights[name])
    assert model.calibration == whole.calibration
    assert model.card["validation_loss"] == whole.card["validation_loss"]
    assert not (tmp_path / "run").exists()
