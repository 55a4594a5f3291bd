"""A workspace trains its retrieval, tells what each source is worth, and serves with it; without it, it serves all the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from served_world import made_workspace

from mainstem.data.log import read_log
from mainstem.evaluate.recall import UNION
from mainstem.ranking.model import load_model
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.run import run
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import split
from mainstem.workspace.platform import open_live, open_stack
from mainstem.workspace.retrieval import Judged, open_retrieval, train_retrieval
from mainstem.workspace.retrieval_models import taken


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return made_workspace(tmp_path_factory.mktemp("retrieval"))


@pytest.fixture(scope="module")
def judged(workspace: Workspace) -> Judged:
    log = read_log(workspace.log)
    told: list[float] = []
    model = load_model(workspace.unified_model)
    found = train_retrieval(workspace, log, split(workspace, log), model, 3, lambda share, what="": told.append(share))
    assert told == sorted(told)
    return found


def test_only_days_before_the_validation_day_are_learned_from(workspace: Workspace) -> None:
    log = read_log(workspace.log)
    parts = split(workspace, log)
    sequences = taken(log, parts.validation_day)
    before = log.impressions.filter(log.impressions["day"] < parts.validation_day)
    long = int((before["long_view"] == 1).sum()) + int((log.history["long_view"] == 1).sum())
    assert len(sequences.rows) == long
    assert (sequences.lengths > 0).all()
    assert len(np.unique(sequences.user_ids)) == len(sequences)


def test_every_source_and_the_union_are_told_and_kept_as_evidence(workspace: Workspace, judged: Judged) -> None:
    names = {row.what for row in judged.table.rows}
    assert {UNION, "next_item", "item_to_item", "interests", "popular", "fresh", "exploration"} <= names
    assert "recall@500" in judged.as_line()
    evidence = workspace.read_evidence("retrieval")
    assert evidence is not None
    assert evidence["card"]["split"] in evidence["table"]["protocol"]
    assert evidence["card"]["choice"]["chosen"] in ("fitted curves", "reciprocal rank")


def test_the_platform_serves_with_what_was_learned_and_without(workspace: Workspace, judged: Judged) -> None:
    stack = open_stack(workspace)
    assert stack.sources[0].name == "next_item"
    folder = workspace.folder / "models" / "retrieval"
    away = folder.with_name("away")
    shutil.move(folder, away)
    try:
        assert open_retrieval(workspace) is None
        old = open_stack(workspace)
        assert "next_item" not in [one.name for one in old.sources]
        assert isinstance(old.union, RankFusion)
        live = open_live(workspace)
        slate = live.rank(live.request(1, 3, "feed", count=5))
        live.log.close()
        assert len(slate.item_ids) == 5
        assert not slate.degraded
    finally:
        shutil.move(away, folder)


def test_feedback_moves_the_candidates(workspace: Workspace, judged: Judged) -> None:
    stack = open_stack(workspace)
    log = read_log(workspace.log)
    now_ms = int(log.impressions["time_ms"].max()) + 1_000
    live_request = open_live(workspace)
    try:
        request = live_request.request(5, 11, "feed", now_ms=now_ms)
    finally:
        live_request.log.close()
    source, before = stack.sources[0], stack.features.user(request)
    from mainstem.features.feedback import FeedbackBatch

    rows = log.impressions.filter((log.impressions["long_view"] == 1) & (log.impressions["user_id"] != 11)).tail(5)
    batch = FeedbackBatch.from_frame(
        rows.with_columns(user_id=np.full(rows.height, 11), time_ms=np.full(rows.height, now_ms - 10))
    )
    stack.apply(batch)
    after = stack.features.user(request)
    assert len(after.liked_rows) > len(before.liked_rows)
    moved = source.retrieve(request, after, 50).rows.tolist()
    assert moved != source.retrieve(request, before, 50).rows.tolist()
    assert len(run(stack, request).item_ids)


def test_the_same_seed_writes_the_same_bytes(workspace: Workspace, judged: Judged, tmp_path: Path) -> None:
    held = open_retrieval(workspace)
    assert held is not None
    for folder in (tmp_path / "a", tmp_path / "b"):
        held.save(folder)
    assert (tmp_path / "a" / "retrieval.npz").read_bytes() == (tmp_path / "b" / "retrieval.npz").read_bytes()
    assert np.array_equal(held.followers, judged.retrieval.followers)
