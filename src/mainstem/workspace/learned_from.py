"""What a model says of the rows it was taught: which log and offsets, which definitions, which label, under one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from mainstem.data.log import Log
from mainstem.features.attributes import AttributeTable
from mainstem.ranking.lesson import Lesson
from mainstem.workspace.layout import Workspace
from mainstem.workspace.training_set import RULES, arrays_sha256, definitions_of, table_sha256


def learned_from(
    workspace: Workspace, log: Log, taught: Lesson, validation_day: int, tables: Mapping[str, AttributeTable]
) -> dict[str, Any]:
    """A lesson's identity, for the model's card: equal for two models that were taught the same rows and values.

    Offsets are places in the log: history first, oldest first, then the impressions.
    """
    features = taught.features
    columns = [name for role in ("user", "item", "cross") for name in features.columns_of(role)]
    last = log.history.height + int((log.impressions["day"] <= validation_day).sum()) - 1
    said: dict[str, Any] = {
        "feature_set": features.fingerprint,
        "definitions": {one.name: [one.version, one.fingerprint] for one in definitions_of(features, columns)},
        "inputs": {"learned constants": arrays_sha256(taught.statics.as_arrays())}
        | {f"table {name}": table_sha256(table) for name, table in sorted(tables.items())},
        "log": {"name": log.manifest.name, "sha256": log.manifest.sha256},
        "offsets": [last + 1 - len(taught.feedback), last],
        "rows": {"train": int(taught.train.sum()), "validation": int((~taught.train).sum())},
        "validation_day": validation_day,
        "label_rule": msgspec.to_builtins(RULES["own"]),
        "feedback_delay_ms": workspace.settings.training.feedback_delay_ms,
        "surfaces": list(workspace.settings.served()),
    }
    return said | {"sha256": hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()}
