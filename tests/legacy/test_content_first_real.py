"""The content-first program on the real KuaiRand-Pure log: trained before 29 April, replayed over the week after it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from builder_content_first import HEADS
from content_first.stack import load_stack
from content_first.trainer import train

from mainstem.data.loaders.kuairand import load
from mainstem.data.log import write_log

UNTIL = 20220429
LINES_A_CALL = 20_000


def replay_lines(shown: pl.DataFrame) -> list[bytes]:
    """Every request asks for scores, and only then sends its own feedback."""
    rows = shown.drop("day", "stack", "arm", "propensity").to_dicts()
    lines: list[bytes] = []
    for _, group in groupby(rows, key=itemgetter("request_id")):
        part = list(group)
        plain = {name: part[0][name] for name in ("request_id", "user_id", "surface", "scenario")}
        asked = plain | {"now_ms": part[0]["time_ms"], "item_ids": [row["item_id"] for row in part]}
        lines += [json.dumps({"score": asked}).encode(), *(json.dumps({"event": row}).encode() for row in part)]
    return lines


def primary(shown: pl.DataFrame, scores: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """GAUC (weighted by positives), nDCG@5 and their mean for long view, ranking each user's own impressions."""
    user = pl.col("user_id")
    frame = shown.select(user, y=pl.col("long_view").cast(pl.Int64), s=pl.Series(scores))
    frame = frame.with_columns(
        rank=pl.col("s").rank().over(user), n=pl.len().over(user), pos=pl.col("y").sum().over(user)
    )
    both = frame.filter(pl.col("pos").is_between(1, pl.col("n").cast(pl.Int64) - 1))
    users = both.group_by(user).agg(hit=(pl.col("rank") * pl.col("y")).sum(), pos=pl.first("pos"), n=pl.first("n"))
    auc = (pl.col("hit") - pl.col("pos") * (pl.col("pos") + 1) / 2) / (pl.col("pos") * (pl.col("n") - pl.col("pos")))
    gauc = users.select((auc * pl.col("pos")).sum() / pl.col("pos").sum()).item()
    top = frame.sort("user_id", "s", descending=[False, True], maintain_order=True)
    top = top.with_columns(place=pl.int_range(pl.len()).over(user)).filter(pl.col("place") < 5)
    gains = top.group_by(user).agg(gain=(pl.col("y") / (pl.col("place") + 2).log(2)).sum(), pos=pl.first("pos"))
    ideal = np.cumsum(1 / np.log2(np.arange(5) + 2))
    pos = gains["pos"].to_numpy()
    ndcg = float(np.where(pos > 0, gains["gain"].to_numpy() / ideal[np.clip(pos, 1, 5) - 1], 0.0).mean())
    return gauc, ndcg, (gauc + ndcg) / 2


@pytest.mark.real
@pytest.mark.slow
def test_it_beats_popularity_on_the_week_after_training(pack: Callable[[str], Path], tmp_path: Path) -> None:
    loaded = load(pack("kuairand_pure"))
    write_log(loaded.tables, tmp_path / "log", loaded.manifest)
    began = time.process_time()
    train(tmp_path / "log", UNTIL, tmp_path / "model")
    trained_s = time.process_time() - began
    stack = load_stack(tmp_path / "log", tmp_path / "model")
    shown = pl.read_parquet(tmp_path / "log" / "impressions.parquet").filter(pl.col("day") >= UNTIL)
    lines, popular = replay_lines(shown), _popularity(tmp_path / "log", shown)
    began = time.process_time()
    answers = [
        json.loads(a)
        for k in range(0, len(lines), LINES_A_CALL)
        for a in stack.replay(b"\n".join(lines[k : k + LINES_A_CALL]))
    ]
    replayed_s = time.process_time() - began
    heads = {name: np.array([p for a in answers for p in a["heads"][name]]) for name in HEADS}
    by_head = primary(shown, heads["long_view"])
    by_score = primary(shown, np.array([s for a in answers for s in a["scores"]]))
    _say(f"long-view head {by_head}, final score {by_score}, popularity {primary(shown, popular)}")
    _say(f"trained in {trained_s:.1f} CPU-s, {len(answers) / replayed_s:.0f} score lines a CPU-second")
    assert by_head[2] > primary(shown, popular)[2] + 0.003
    assert by_score[2] > primary(shown, popular)[2]
    viewed = shown["viewed"].to_numpy() > 0
    for name in ("click", "like", "long_view"):
        assert heads[name][viewed].mean() / shown[name].to_numpy()[viewed].mean() == pytest.approx(1, abs=0.2)


def _popularity(log: Path, shown: pl.DataFrame) -> np.ndarray[Any, Any]:
    """Long views over impressions of each item, up to the day training ends."""
    before = pl.read_parquet(log / "impressions.parquet").filter(pl.col("day") < UNTIL)
    rows = pl.concat(
        [before.select("item_id", "long_view"), pl.read_parquet(log / "history.parquet").select("item_id", "long_view")]
    )
    rate = rows.group_by("item_id").agg(rate=(pl.col("long_view").sum() + 6.0) / (pl.len() + 20))
    return shown.join(rate, on="item_id", how="left", maintain_order="left")["rate"].fill_null(0.3).to_numpy()


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
