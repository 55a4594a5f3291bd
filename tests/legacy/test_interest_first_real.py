"""The interest-first program on the real KuaiRand-Pure log: trained before 29 April, replayed over the week after it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import fixture_interest_first  # noqa: F401  (puts the program on the path)
import numpy as np
import polars as pl
import pytest
from interest_first.__main__ import load_stack, run_train
from interest_first.web import Desk

from mainstem.data.importer import import_log

UNTIL = 20220429
SCORED = 3  # one user in so many is scored; the feedback of all is told
HEADS = ("click", "like", "follow", "comment", "forward", "hate", "long_view")


def replay_lines(log: pl.DataFrame) -> Iterator[str]:
    """A score line for each request of a scored user, before the feedback on its own items."""
    for _, rows in itertools.groupby(log.to_dicts(), key=lambda row: row["request_id"]):
        shown = list(rows)
        if shown[0]["user_id"] % SCORED == 0:
            head = {name: shown[0][name] for name in ("request_id", "user_id", "surface", "scenario")}
            head |= {"now_ms": shown[0]["time_ms"], "item_ids": [row["item_id"] for row in shown]}
            yield json.dumps({"score": head})
        yield from (json.dumps({"event": row}) for row in shown)


def gauc(user: np.ndarray, score: np.ndarray, hit: np.ndarray) -> float:
    """Within-user AUC, ties counted half, users weighted by positives."""
    frame = pl.DataFrame({"user": user, "score": score, "hit": hit.astype(np.float64)})
    frame = frame.with_columns(rank=pl.col("score").rank("average").over("user"))
    users = frame.group_by("user").agg(
        hits=pl.col("hit").sum(), rows=pl.len(), ranks=(pl.col("rank") * pl.col("hit")).sum()
    )
    users = users.filter((pl.col("hits") > 0) & (pl.col("hits") < pl.col("rows")))
    hits, rows, ranks = (users[name].to_numpy().astype(np.float64) for name in ("hits", "rows", "ranks"))
    return float(((ranks - hits * (hits + 1) / 2) / (rows - hits)).sum() / hits.sum())


def ndcg_at_5(user: np.ndarray, score: np.ndarray, hit: np.ndarray) -> float:
    """Mean over all users; one without a positive counts 0. The order is worst case among equal scores."""
    frame = pl.DataFrame({"user": user, "score": score, "hit": hit.astype(np.float64)})
    frame = frame.sort("user", "score", "hit", descending=[False, True, False])
    discount = 1.0 / (pl.col("place") + 1.0).log(2.0)
    frame = frame.with_columns(place=pl.int_range(1, pl.len() + 1).over("user"))
    users = frame.group_by("user").agg(
        gain=(pl.col("hit") * discount).filter(pl.col("place") <= 5).sum(),
        best=discount.filter(pl.col("place") <= pl.min_horizontal(pl.col("hit").sum(), 5)).sum(),
    )
    return float((users["gain"] / users["best"].replace(0.0, 1.0)).mean())  # type: ignore[arg-type]


@pytest.mark.real
@pytest.mark.slow
def test_it_is_credible_on_the_week_it_was_not_trained_on(pack: Callable[[str], Path], tmp_path: Path) -> None:
    import_log(pack("kuairand_pure"), tmp_path / "log")
    run_train(tmp_path / "log", UNTIL, tmp_path / "model", 7)
    desk = Desk(load_stack(tmp_path / "log", tmp_path / "model"))
    week = pl.read_parquet(tmp_path / "log" / "impressions.parquet").filter(pl.col("day").is_between(UNTIL, 20220505))
    week = week.select("request_id", "user_id", "item_id", "surface", "scenario", "time_ms", "viewed", *HEADS)
    lines, scores = list(replay_lines(week)), []
    for start in range(0, len(lines), 100_000):
        answer = desk.call("POST", "/v1/replay", "\n".join(lines[start : start + 100_000]).encode())
        scores += [score for line in answer.splitlines() for score in json.loads(line)["scores"]]
    scored = week.filter(pl.col("user_id") % SCORED == 0)
    columns = scored["user_id"].to_numpy(), np.array(scores), scored["long_view"].to_numpy()
    figures = gauc(*columns), ndcg_at_5(*columns)
    assert len(scores) == scored.height
    assert sum(figures) / 2 > 0.60, figures
    assert gauc(columns[0], -columns[1], columns[2]) < 0.40  # the measure can tell a bad order
