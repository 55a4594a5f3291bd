"""The demo's log: a real one when it is there, else a made world's, and it says which."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from mainstem.base.settings import FILE
from mainstem.data.importer import import_log
from mainstem.data.manifest import Manifest
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import real_pack
from mainstem.workspace.template import TEMPLATE

Progress = Callable[..., None]


def demo_workspace(folder: Path, seed: int | None) -> Workspace:
    """The demo's workspace, with its settings file when it has none yet. It serves a past log as of its own time."""
    if not (folder / FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        text = TEMPLATE.format(name="demo") + '\n[serve]\nclock = "log"\n'
        (folder / FILE).write_text(
            text if seed is None else text.replace("seed = 7", f"seed = {seed}"), encoding="utf-8"
        )
    return Workspace.open(folder)


def prepare_log(workspace: Workspace, source: Path | None, made: bool, seed: int, progress: Progress) -> Manifest:
    """Brings the demo's log in: the named source, else the real pack on this machine, else a made world."""
    found = None if made else source or real_pack()
    if found is None:
        world = make_world(WorldSettings(seed=seed))
        return write_world_log(world, workspace.log, progress=lambda what, share: progress(share, what))
    if not found.name.endswith(".tar.xz"):
        return import_log(found, workspace.log, workspace.settings.data, progress)
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(found) as archive:
            archive.extractall(scratch, filter="data")
        return import_log(next(Path(scratch).iterdir()), workspace.log, workspace.settings.data, progress)


def log_line(manifest: Manifest) -> str:
    """What the log is, in one line."""
    kind = "made" if manifest.made else "real"
    rows, dropped = manifest.rows, sum(manifest.dropped.values())
    said = f"{rows['impressions']:,} impressions · {rows['users']:,} users · {rows['items']:,} items · {len(manifest.days)} days"
    return f"{kind}: {manifest.name} · {said}" + (f" · {dropped:,} rows dropped" if dropped else "")
