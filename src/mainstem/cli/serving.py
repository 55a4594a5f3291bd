"""``mainstem serve``: API, pages and shadow mode put together over one workspace."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
from starlette.applications import Starlette

from mainstem.api.app import create_app
from mainstem.api.differences import stage_diff
from mainstem.api.mirror import Mirror, RemoteTarget
from mainstem.api.serve import serve
from mainstem.base.settings import Remote
from mainstem.stacks.live import Live
from mainstem.web.routes import routes
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.piloting import piloted
from mainstem.workspace.platform import open_live
from mainstem.workspace.programs import serving

EVER = 99_999_999
"""A day after every log: the legacy programs start with all of it."""


def serve_workspace(folder: Path, host: str | None, port: int | None, *, with_legacy: bool) -> None:
    """Serves until told to stop; with the legacy programs started beside it when asked."""
    workspace = Workspace.open(folder)
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = msgspec.structs.replace(workspace.settings.serve, **changes)
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        if with_legacy:
            models = {name: workspace.legacy_model(name) for name in LEGACY}
            running = stack.enter_context(serving(LEGACY, workspace.log, models, until=EVER))
            urls = {name: one.url for name, one in running.items()}
        stack.enter_context(piloted(folder, settings.pilot_every_s))
        serve(
            partial(build, folder, urls),
            settings,
            lambda address: _say(f"serving {workspace.settings.name} at {address}  (stop with Ctrl-C)"),
            lambda token: _say(f"token for writes: {token}"),
        )


def build(folder: Path, urls: dict[str, str], worker: int, token: str) -> Starlette:
    """The application of one process.

    Args:
        folder: The workspace.
        urls: Legacy programs started beside it, by name; they join the remotes of the settings.
        worker: Number of the process.
        token: Asked for on writes.
    """
    workspace = Workspace.open(folder)
    remotes = {**workspace.settings.remote, **{name: Remote(url=url) for name, url in urls.items()}}
    workspace = replace(workspace, settings=msgspec.structs.replace(workspace.settings, remote=remotes))
    live = open_live(workspace)
    pages = routes(live, workspace, lambda work: app.state.service.lane.do(work))
    told = workspace.evidence("feature_drift").parent
    app = create_app(live, pages, mirror=_mirror(live, workspace), token=token, worker=worker, evidence=told)
    return app


def _mirror(live: Live, workspace: Workspace) -> Mirror | None:
    settings = workspace.settings.serve
    names = settings.shadow_to or list(live.remotes)
    targets = [RemoteTarget(live.remotes[name]) for name in names if name in live.remotes]
    if not targets or settings.shadow_share == 0:
        return None
    return Mirror(targets, stage_diff, workspace.folder / "evidence" / "shadow.jsonl", settings.shadow_share)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
