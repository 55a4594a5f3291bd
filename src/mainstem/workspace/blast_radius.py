"""The blast radius of a change of settings, replayed over a workspace's logged requests before it ships."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from mainstem.base.errors import ConfigError, did_you_mean
from mainstem.base.request import Request
from mainstem.base.settings import FILE, Settings, parse_settings, settings_from
from mainstem.data.log import Log
from mainstem.evaluate.blast_radius import Asked, BlastRadius, blast_radius
from mainstem.stacks.run import run
from mainstem.stacks.viewer import LiveFeatures
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log
from mainstem.workspace.platform import open_stack
from mainstem.workspace.shadow import sample_requests, silent

NOW: Final = "now"
"""Names the workspace's settings as they are."""
_BUDGET_S: Final = 10.0
"""Sources may take their time in a replay: a slow machine must not look like a change."""


def settings_of(workspace: Workspace, side: str) -> Settings:
    """The settings one side of a comparison names.

    Args:
        workspace: Whose.
        side: ``now``; a TOML file; a git revision of the workspace's file; or a change such as ``feed.weights.like=3``,
            several joined by commas.

    Raises:
        ConfigError: It is none of these (``config-020``), or the settings are refused (``config-00N``, ``value-00N``).
    """
    if side == NOW:
        return workspace.settings
    if Path(side).is_file():
        return parse_settings(Path(side).read_text(encoding="utf-8"), side)
    if "=" in side:
        return _changed(workspace, side)
    text = _at_revision(workspace, side)
    if text is None:
        raise ConfigError(
            f"{side!r} is no file, no git revision that holds {FILE}, and no change of a setting",
            code="config-020",
            hint="mainstem surface diff now feed.weights.like=3, or now proposed.toml, or HEAD~1 now",
        )
    return parse_settings(text, f"{side}:{FILE}")


def _at_revision(workspace: Workspace, revision: str) -> str | None:
    if revision.startswith("-"):
        return None
    command = ["git", "-C", str(workspace.folder), "show", f"{revision}:./{FILE}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _changed(workspace: Workspace, changes: str) -> Settings:
    """The settings with ``SURFACE.key=value`` written into each surface that is named."""
    file = workspace.file
    given = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    surfaces = given.setdefault("surfaces", {})
    served = workspace.settings.served()
    if not surfaces.keys() & served.keys():
        surfaces.update({name: {} for name in served} | ({"base": {}} if "base" not in surfaces else {}))
        given["surfaces"] = surfaces = {
            name: {"extends": "base"} | table if name != "base" else table for name, table in surfaces.items()
        }
    for change in changes.split(","):
        path, _, text = change.partition("=")
        surface, *keys = path.strip().split(".")
        if surface not in surfaces or not keys:
            raise ConfigError(
                f"{change.strip()!r} names no surface of this workspace",
                code="config-020",
                hint=did_you_mean(surface, surfaces),
            )
        table = surfaces[surface]
        for key in keys[:-1]:
            table = table.setdefault(key, {})
        table[keys[-1]] = _value(text.strip())
    return settings_from(given, f"{FILE} with {changes}")


def _value(text: str) -> Any:
    """A value as TOML writes it; anything else is a text."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def surface_diff(
    workspace: Workspace,
    before: str,
    after: str,
    requests: int = 500,
    by: tuple[str, ...] = (),
    progress: Callable[[float], None] = silent,
) -> BlastRadius:
    """What the settings ``after`` would change for logged requests, against ``before``; evidence ``blast_radius``.

    Requests are drawn over the whole log and asked as of its end, by both sides from one and the same state.

    Args:
        workspace: Whose log and model.
        before: See ``settings_of``.
        after: The same.
        requests: How many logged requests are asked again.
        by: Columns of the users table to slice by, besides surface and activity.
        progress: Told the share that is done.

    Raises:
        ConfigError: A side cannot be read (``config-020``), or a column is not there (``config-021``).
    """
    sides = [settings_of(workspace, side) for side in (before, after)]
    log = open_log(workspace)
    asked = _on_both(sample_requests(log, requests, workspace.settings.seed), sides)
    labels = _labels(log, asked, by)
    first = open_stack(Workspace(workspace.folder, sides[0]), log)
    assert isinstance(first.features, LiveFeatures)
    second = open_stack(Workspace(workspace.folder, sides[1]), log, state=first.features.state)
    stacks = [replace(stack, memories=()) for stack in (first, second)]
    pairs = []
    for at, request in enumerate(asked):
        both = [
            run(stack, _counted(request, side), source_budget_s=_BUDGET_S)
            for stack, side in zip(stacks, sides, strict=True)
        ]
        pairs.append((both[0], both[1]))
        progress((at + 1) / len(asked))
    radius = blast_radius(pairs, labels, _creators(log), before=before, after=after, seed=workspace.settings.seed)
    workspace.write_evidence("blast_radius", radius)
    return radius


def _creators(log: Log) -> dict[int, int]:
    if "creator_id" not in log.items.columns:
        return {}
    known = log.items.filter(pl.col("creator_id") >= 0)
    return dict(zip(known["item_id"].to_list(), known["creator_id"].to_list(), strict=True))


def _on_both(asked: list[Request], sides: list[Settings]) -> list[Request]:
    """The requests, when both sides serve the same surfaces: a code of a surface means the same to one shared state."""
    names = [tuple(side.served()) for side in sides]
    if names[0] != names[1]:
        raise ConfigError(
            f"one side serves {', '.join(names[0])}, the other {', '.join(names[1])}: expected the same surfaces, in one order",
            code="config-022",
            hint="a new surface moves nobody's slate; compare the surfaces that are there",
        )
    return [request for request in asked if request.surface in names[0]]


def _counted(request: Request, side: Settings) -> Request:
    return replace(request, count=side.served()[request.surface].count)


def _labels(log: Log, asked: list[Request], by: tuple[str, ...]) -> list[Asked]:
    """Each request's groups: surface, how much its viewer is in the log, and the named columns of the users table."""
    for column in by:
        if column not in log.users.columns:
            raise ConfigError(
                f"{column!r} is no column of the users table",
                code="config-021",
                hint=did_you_mean(column, log.users.columns),
            )
    seen = dict(log.impressions.group_by("user_id").len().iter_rows())
    cuts = np.quantile(np.array(list(seen.values())), [1 / 3, 2 / 3])
    known = {
        row["user_id"]: {column: str(row[column]) for column in by}
        for row in log.users.select("user_id", *by)
        .filter(pl.col("user_id").is_in(list({r.user_id for r in asked})))
        .to_dicts()
    }
    nobody = dict.fromkeys(by, "unknown")
    return [
        Asked(
            request.user_id,
            {"surface": request.surface, "activity": _activity(seen.get(request.user_id, 0), cuts)}
            | known.get(request.user_id, nobody),
        )
        for request in asked
    ]


def _activity(rows: int, cuts: np.ndarray) -> str:
    """A third of the log's viewers each, by how many impressions they have."""
    return ("light", "middle", "heavy")[int(rows > cuts[0]) + int(rows > cuts[1])]
