"""A small made log, features that count what a user did before, and a build that is cut off."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from mainstem.features.dataset.build import Options, build
from mainstem.features.dataset.dataset import Dataset
from mainstem.features.dataset.label_rule import LabelRule
from mainstem.features.dataset.split import Split

RULE = LabelRule(name="touch", window_ms=50, join="last_touch", by=("user_id", "item_id"), outcomes=("click", "like"))
SPLIT = Split(("train", "validation", "test"), (3_000, 4_000))


def table(rows: int = 600, seed: int = 1) -> pa.Table:
    """Impressions, three a request, over 5,000 ms."""
    rng = np.random.default_rng(seed)
    request = np.arange(rows) // 3
    time_ms = np.sort(rng.integers(0, 5_000, request[-1] + 1))[request]
    return pa.table(
        {
            "request_id": request,
            "user_id": rng.integers(0, 9, request[-1] + 1)[request],
            "item_id": rng.integers(0, 30, rows),
            "time_ms": time_ms,
            "surface": pa.array(["feed", "pages"] * (rows // 2), pa.large_string()),
            "viewed": rng.integers(0, 4, rows).clip(0, 1),
            "click": rng.integers(0, 5, rows) // 4,
            "like": pa.array(np.zeros(rows, np.int8), mask=rng.random(rows) < 0.1),
        }
    )


def counts(log: pa.Table):
    """For every request: how many impressions its user had before ``as_of``, and how many items are asked for."""
    user = np.asarray(log.column("user_id"))

    def features(requests: pa.Table) -> pa.Table:
        asked, as_of = np.asarray(requests.column("user_id")), np.asarray(requests.column("as_of"))
        before = [int((user[:end] == one).sum()) for one, end in zip(asked, as_of, strict=True)]
        newest = [
            int(np.flatnonzero(user[:e] == u)[-1]) if n else -1 for u, e, n in zip(asked, as_of, before, strict=True)
        ]
        _, at, size = np.unique(np.asarray(requests.column("request_id")), return_inverse=True, return_counts=True)
        return pa.table({"before": np.array(before, np.float64), "asked": size[at], "newest_offset": newest})

    return features


def made(out: Path, log: pa.Table | None = None, version: str = "v1", **more: object) -> Dataset:
    """A training set of the small log."""
    log = table() if log is None else log
    options = Options(**{name: more.pop(name) for name in list(more) if name in Options.__slots__})  # type: ignore[arg-type]
    given = {"rules": RULE, "feature_values": counts(log), "split": SPLIT} | more
    return build(log, out=out, features_version=version, options=options, **given)  # type: ignore[arg-type]


if __name__ == "__main__":
    calls = 0
    inner = counts(table())

    def dying(requests: pa.Table) -> pa.Table:
        global calls
        calls += 1
        if calls == 5:
            os._exit(9)
        return inner(requests)

    made(Path(sys.argv[1]), chunk_rows=60, feature_values=dying)
