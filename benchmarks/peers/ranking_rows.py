"""The rows every ranking peer learns from and is asked about, as ``mainstem.bench.ranking_export`` wrote them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from measured import Job


@dataclass
class Held:
    """Judged rows of one part."""

    x: np.ndarray
    ids: np.ndarray
    label: np.ndarray
    user: np.ndarray


class Ranking:
    regimes = ("frozen", "daily", "continuous")
    untimed_weight = 0.4

    def __init__(self, job: Job) -> None:
        self._job = job
        about = json.loads((job.data / "about.json").read_text())
        self.columns, self.sizes, self.heads = about["columns"], about["sizes"], about["heads"]
        for name in ("train_x", "train_ids", "train_y", "train_user", "train_timed", "judged_ids"):
            setattr(self, name, job.array(name))
        self._test, self._user = job.array("judged_test"), job.array("judged_user")
        self._y = job.array("judged_y")

    def label(self, part: str, head: str = "long_view") -> np.ndarray:
        y = self.train_y if part == "train" else self._y
        return np.maximum(y[:, self.heads.index(head)], 0).astype(np.float32)

    def judged_x(self, regime: str) -> np.ndarray:
        return self._job.array(f"judged_x_{regime}")

    def validation(self, regime: str) -> Held:
        """Validation rows alone: no peer sees the test rows' outcomes."""
        kept = ~self._test
        return Held(self.judged_x(regime)[kept], self.judged_ids[kept], self.label("judged")[kept], self._user[kept])
