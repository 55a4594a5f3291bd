"""Models of other teams that were brought into a workspace before: read, checked against what they learned, and put to use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mainstem.base.errors import ModelError, did_you_mean
from mainstem.features.language.feature_set import FeatureSet
from mainstem.ranking.brought import BroughtRanker, Fitted, input_columns, read_brought, read_declaration
from mainstem.ranking.calibrate import Calibrators
from mainstem.stacks.stage import Stack
from mainstem.workspace.definitions import feature_set
from mainstem.workspace.layout import Workspace

DECLARED: Final = "ranker.json"
LEARNED: Final = "learned.json"


def brought_folder(workspace: Workspace, name: str) -> Path:
    """Where a brought model lies."""
    return workspace.folder / "models" / "brought" / name


def load_brought(workspace: Workspace, name: str) -> BroughtRanker:
    """A model that was brought before, with what was learned then.

    Raises:
        ModelError: There is none of this name (``model-074``), its file or a feature it reads has changed since
            (``model-076``), or it no longer fits (``model-060`` to ``model-073``).
    """
    folder, features = brought_folder(workspace, name), feature_set(workspace)
    try:
        held: dict[str, Any] = json.loads((folder / LEARNED).read_text(encoding="utf-8"))
        fitted = Fitted(
            np.array(held["fill"], np.float32),
            np.array(held["scales"], np.float32),
            Calibrators.from_dict(held["calibration"]) if held["calibration"] else None,
        )
        digest, fingerprints = held["sha256"], held["features"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        there = folder.parent.iterdir() if folder.parent.is_dir() else ()
        raise ModelError(
            f"no brought model {name!r} can be read ({type(error).__name__})",
            code="model-074",
            hint=did_you_mean(name, [one.name for one in there]) + "; bring it with `mainstem bring`",
        ) from None
    said = read_declaration(folder / DECLARED)
    now = fingerprints_of(input_columns(said, features), features)
    changed = sorted(one for one in fingerprints if fingerprints[one] != now.get(one))
    if changed or hashlib.sha256((folder / said.file).read_bytes()).hexdigest() != digest:
        what = f"the features {', '.join(changed[:5])}" if changed else f"the file {said.file!r}"
        raise ModelError(
            f"{what} of the brought model {name!r} changed since it was brought",
            code="model-076",
            hint="train it on the features of now and bring it again: `mainstem bring`",
        )
    return read_brought(folder / DECLARED, features, fitted)


def with_brought(workspace: Workspace, stack: Stack) -> Stack:
    """The stack with the brought model that ``[ranker] brought`` names in place of the network; as it is without one."""
    name = workspace.settings.ranker.brought
    return replace(stack, ranker=load_brought(workspace, name)) if name else stack


def fingerprints_of(columns: tuple[str, ...], features: FeatureSet) -> dict[str, str]:
    """The meaning of each feature that a model reads."""
    owners = {features.owner_of[column].name for column in columns}
    return {name: features.fingerprints[name] for name in sorted(owners)}
