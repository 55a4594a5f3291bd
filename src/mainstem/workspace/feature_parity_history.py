"""Since when does each feature agree, and where did it first break: what past verdicts said, kept beside the evidence."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from mainstem.base.errors import DataError
from mainstem.workspace.feature_parity_results import Verified
from mainstem.workspace.layout import Workspace

LOG = logging.getLogger("mainstem.features")
NAME: Final = "feature_parity_history"
_FIELDS: Final = frozenset(("checks", "since", "broken", "last_broken"))


def commit() -> str:
    """The commit of the checkout this package runs from, or its version."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5, check=False
        )
        if found.returncode == 0:
            return found.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        pass
    try:
        return version("mainstem")
    except PackageNotFoundError:
        return "unknown"


def noted(workspace: Workspace, verdict: Verified) -> Mapping[str, Any]:
    """Adds a verdict to the history: by stack and feature, since when it agrees and where it first broke.

    A feature that breaks keeps the commit and feature set at which it was first seen broken until it agrees again; then this
    stays as ``last_broken``. A history that cannot be read is put aside and begun anew: a verdict is never lost for its sake.
    """
    held = _before(workspace)
    for stack in verdict.stacks:
        here = {"at_ms": verdict.made_at_ms, "commit": verdict.commit, "feature_set": stack.feature_set}
        features: dict[str, Any] = dict(held.get(stack.stack, {}))
        for row in stack.features:
            features[row.name] = _after(features.get(row.name), row.agrees, here | {"version": row.version})
        known = {row.name for row in stack.features}
        held[stack.stack] = {name: entry for name, entry in features.items() if name in known}
    workspace.write_evidence(NAME, held)
    return held


def _before(workspace: Workspace) -> dict[str, Any]:
    """The history as it stands; none when there is none yet, or when it is damaged."""
    try:
        held = workspace.read_evidence(NAME)
        if held is None:
            return {}
        if _is_history(held):
            return dict(held)
        reason = "it is no history of features"
    except DataError as error:
        reason = str(error)
    path = workspace.evidence(NAME)
    aside = path.with_suffix(".damaged")
    path.replace(aside)
    LOG.warning("the history of features begins anew, the damaged one is kept as %s: %s", aside.name, reason)
    return {}


def _is_history(held: Any) -> bool:
    """Whether every entry has what the next verdict reads."""
    if not isinstance(held, dict) or not all(isinstance(stack, dict) for stack in held.values()):
        return False
    entries = [entry for stack in held.values() for entry in stack.values()]
    return all(isinstance(one, dict) and one.keys() >= _FIELDS and isinstance(one["checks"], int) for one in entries)


def _after(before: Mapping[str, Any] | None, agrees: bool, here: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a feature after one more verdict."""
    past = dict(before or {"checks": 0, "since": None, "broken": None, "last_broken": None})
    past["checks"] = past["checks"] + 1
    if agrees:
        past["last_broken"] = past["broken"] or past["last_broken"]
        past["broken"] = None
        past["since"] = past["since"] or dict(here)
    else:
        past["broken"] = past["broken"] or dict(here)
        past["since"] = None
    return past
