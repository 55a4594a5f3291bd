"""A small made workspace with a model, and a server on it that ranks while outcomes come in and is started anew in the middle."""

from __future__ import annotations

from pathlib import Path

from mainstem.data.log import read_log
from mainstem.data.records import Feedback
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import split
from mainstem.workspace.platform import open_live
from mainstem.workspace.train import train_unified

TOML = '[serve]\nclock = "log"\n[training]\nepochs = 1\n'


def made_workspace(folder: Path, trained: bool = True) -> Workspace:
    """A made log of five days, and a model that was shown it once."""
    (folder / "mainstem.toml").write_text(TOML)
    workspace = Workspace.open(folder, {})
    write_world_log(make_world(WorldSettings(users=80, items=500, days=5, impressions=2_500, seed=4)), workspace.log)
    if trained:
        log = read_log(workspace.log)
        train_unified(workspace, log, split(workspace, log), 3, lambda *told, **named: None)
    return workspace


def served(workspace: Workspace, first: int, requests: int) -> None:
    """Answers requests of some users, each followed by outcomes of what was shown, one of them late."""
    live = open_live(workspace)
    live.follower.start()
    try:
        for number in range(first, first + requests):
            request = live.request(number, 1 + number % 7, "feed", count=8)
            slate = live.rank(request)
            live.remember(request, slate)
            outcomes = [
                Feedback(
                    request_id=number, user_id=request.user_id, item_id=int(item), surface="feed", like=int(at == 0),
                    time_ms=request.now_ms - (90_000_000 if at == 3 else 0), long_view=at % 2, watch_ms=1_000 * at,
                )
                for at, item in enumerate(slate.item_ids[:5].tolist())
            ]  # fmt: skip
            live.log.submit(outcomes).result()
            live.follower.catch_up()
        live.log.flush()
        live.follower.save()
    finally:
        live.log.close()
