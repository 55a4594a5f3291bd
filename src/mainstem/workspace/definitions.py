"""Which features a workspace has: the unified stack's, those its own file declares, and what was accepted of both."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import polars as pl

from mainstem.base.errors import FeatureError, StoreError
from mainstem.features.attributes import AttributeTable
from mainstem.features.language.aggregate import Aggregate, Latest
from mainstem.features.language.feature import Feature
from mainstem.features.language.feature_set import FeatureSet, refuse_silent_change
from mainstem.features.language.plan import Plan, kind_of
from mainstem.features.unified import UNIFIED
from mainstem.workspace.layout import Workspace

_OWN_TABLES: Final = ("items", "users", "scenarios")
LOCK: Final = "features.lock.json"
"""What was accepted of every feature: its version and the fingerprint of its meaning."""


def feature_set(workspace: Workspace) -> FeatureSet:
    """The features of a workspace.

    Raises:
        FeatureError: Its definitions cannot be read or make no sense (``feature-001`` to ``feature-006``, ``feature-014``,
            ``feature-030`` and on), or one changed its meaning under an old version (``feature-005``).
    """
    own = declared_in(workspace)
    features = UNIFIED.with_more(own) if own else UNIFIED
    refuse_silent_change(features, accepted(workspace))
    if own:
        Plan(features)
    return features


def declared_in(workspace: Workspace) -> list[Feature]:
    """The features that the workspace's own file declares, in the order in which they stand there."""
    name = workspace.settings.features.definitions
    if not name:
        return []
    found = vars(_module(workspace.folder / name))
    own: dict[int, Feature] = {}
    for value in found.values():
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, Feature):
                own.setdefault(id(one), one)
    theirs = {id(feature) for feature in UNIFIED}
    return [feature for number, feature in own.items() if number not in theirs]


def attribute_tables(workspace: Workspace) -> dict[str, AttributeTable]:
    """The workspace's own tables of facts, by the name under which an ``Attribute`` names them.

    Raises:
        FeatureError: A file cannot be read, or a name is one of the unified stack's own (``feature-018``); or a table is not one
            of ids and facts (``feature-008``).
    """
    out: dict[str, AttributeTable] = {}
    for name, table in workspace.settings.features.tables.items():
        path = workspace.folder / table.path
        if name in _OWN_TABLES:
            raise _no_table(name, "is a name that the unified stack uses itself")
        try:
            frame = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise _no_table(name, f"cannot be read from {table.path}: {type(error).__name__}") from error
        out[name] = AttributeTable.from_frame(frame, table.key, table.valid_from, name)
    return out


def _no_table(name: str, what: str) -> FeatureError:
    return FeatureError(
        f"[features.tables.{name}] {what}",
        code="feature-018",
        hint="name a Parquet file of the workspace with a column of ids, under a name of your own",
    )


def accepted(workspace: Workspace) -> dict[str, tuple[int, str]]:
    """Version and fingerprint of every feature as last accepted; nothing in a new workspace.

    Raises:
        FeatureError: The file is not one that ``accept`` wrote (``feature-015``).
    """
    path = workspace.folder / LOCK
    if not path.is_file():
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {name: (int(entry["version"]), str(entry["fingerprint"])) for name, entry in held["features"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeatureError(
            f"{path.name} cannot be read: {type(error).__name__}: {error}",
            code="feature-015",
            hint="restore it from your version control, or delete it and run `mainstem features --accept`",
        ) from error


def accept(workspace: Workspace) -> dict[str, list[str]]:
    """Writes down the definitions as they are now; answers which are new, changed and gone.

    Raises:
        FeatureError: One changed its meaning under an old version (``feature-005``).
    """
    features, before = feature_set(workspace), accepted(workspace)
    now = {feature.name: (feature.version, features.fingerprints[feature.name]) for feature in features}
    entries = {name: {"version": version, "fingerprint": print_} for name, (version, print_) in sorted(now.items())}
    path = workspace.folder / LOCK
    scratch = path.with_name(f".{LOCK}.{os.getpid()}")
    try:
        workspace.folder.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps({"features": entries}, indent=1) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise StoreError(f"{LOCK} was not written: {error}", code="store-010") from None
    return {
        "new": sorted(set(now) - set(before)),
        "changed": sorted(name for name in set(now) & set(before) if now[name] != before[name]),
        "gone": sorted(set(before) - set(now)),
    }


def told(features: FeatureSet) -> list[dict[str, Any]]:
    """Every feature as a row of plain values: what it is, over what, who owns it, and how far parity is claimed."""
    return [
        {
            "name": feature.name,
            "kind": kind_of(feature),
            "role": feature.role,
            "over": " x ".join(feature.key),
            "windows": ", ".join(feature.windows) if isinstance(feature.of, Aggregate) else "",
            "source": feature.source.name if feature.source else "",
            "type": f"list of {feature.of.keep}" if isinstance(feature.of, Latest) else feature.dtype,
            "shape": len(feature.columns),
            "unit": feature.unit,
            "owner": feature.owner,
            "default": feature.default,
            "empty": feature.when_empty,
            "failed": feature.failed,
            "parity": feature.parity,
            "version": feature.version,
            "fingerprint": features.fingerprints[feature.name],
            "about": feature.about,
            "reads": ", ".join(features.reads(feature.name)),
        }
        for feature in features
    ]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("workspace_features", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise FeatureError(
            f"[features] definitions names {path.name}, which is no Python file of the workspace",
            code="feature-014",
            hint="write the file beside mainstem.toml, or take the setting out",
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except FeatureError:
        raise
    except Exception as error:
        raise FeatureError(
            f"{path.name} cannot be run: {type(error).__name__}: {error}",
            code="feature-014",
            hint="a definitions file imports from mainstem.features.language and declares Feature(...) objects",
        ) from error
    return module
