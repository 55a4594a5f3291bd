"""Brings another team's model into a workspace: checked, calibrated on the validation day, and used when the settings say so."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError, StoreError
from mainstem.base.heads import HEADS
from mainstem.evaluate.metrics import auc, log_loss
from mainstem.features.language.feature_set import FeatureSet
from mainstem.parity.results import ShadowDiff
from mainstem.parity.shadow import diff_traces
from mainstem.parity.trace import from_slate
from mainstem.ranking.brought import (
    BroughtRanker,
    Fitted,
    nothing_fitted,
    read_brought,
)
from mainstem.ranking.calibrate import Calibrators, fit_calibrators
from mainstem.ranking.model import load_model
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.workspace.brought import DECLARED, LEARNED, brought_folder, fingerprints_of, load_brought
from mainstem.workspace.definitions import feature_set
from mainstem.workspace.export import LoggedInputs, logged_inputs, silent
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.shadow import sample_requests

Progress = Callable[[float, str], None]

_WIDTH: Final = 1.5
"""Log odds that one standard deviation of a score becomes before calibration: well inside the tabulated maps."""


@dataclass(frozen=True, slots=True)
class BroughtHead:
    """How one head of a brought model did on the validation day: the row's own outcomes, ours beside it."""

    head: str
    positives: int
    auc: float | None
    auc_ours: float | None
    log_loss_before: float | None
    log_loss_after: float | None


@dataclass(frozen=True, slots=True)
class Brought:
    """What was brought. ``missing`` heads are the base rate for every candidate: they cannot order anything."""

    name: str
    folder: str
    format: str
    sha256: str
    inputs: int
    missing: tuple[str, ...]
    rows: int
    heads: tuple[BroughtHead, ...]


def bring(workspace: Workspace, declaration: Path, progress: Progress = silent) -> Brought:
    """Takes a declared model in: checks it, calibrates it on the validation day, and copies it into the workspace.

    Args:
        workspace: With a log and a trained model, whose features the brought one reads.
        declaration: The TOML or JSON file beside the model.
        progress: Told how far it is.

    Raises:
        ModelError: It does not fit (``model-060`` to ``model-073``), or its name is none for a folder (``model-075``).
        StoreError: The disk refused it (``store-010``).
    """
    features = feature_set(workspace)
    ranker = read_brought(declaration, features)
    said = ranker.declaration
    name = said.name or Path(said.file).stem
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ModelError(
            f"{name!r} is no name for a brought model: letters, digits, '.', '_' and '-'",
            code="model-075",
            hint='[ranker] name = "..." in the declaration',
        )
    progress(0.1, "features of the validation day")
    log = open_log(workspace)
    model = load_model(workspace.unified_model, features)
    rows = logged_inputs(workspace, log, model, split(workspace, log).validation_day)
    progress(0.8, "calibration")
    rates = np.append(model.statics.rates.overall, 0.0).astype(np.float32)
    fitted = fit_brought(ranker, rows, features, rates, workspace.settings.seed)
    network, values = model.network(rows.catalog), rows.values
    ours = network.many(values.user, values.item_row, values.item, values.cross)
    final = ranker.with_fitted(fitted, features)
    heads = tuple(_head(head, final, ranker, rows, ours) for head in said.outputs if head in HEADS)
    file = declaration.parent / said.file
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    folder = brought_folder(workspace, name)
    made = Brought(
        name, str(folder), final.format, digest, len(final.columns), final.missing, len(rows.outcomes), heads
    )
    learned = {
        "fill": fitted.fill.tolist(),
        "scales": fitted.scales.tolist(),
        "calibration": fitted.calibrators.as_dict() if fitted.calibrators else {},
        "sha256": digest,
        "features": fingerprints_of(ranker.columns, features),
        "card": asdict(made),
    }
    _store(folder, file, msgspec.structs.replace(said, name=name), learned)
    return made


def fit_brought(
    ranker: BroughtRanker,
    rows: LoggedInputs,
    features: FeatureSet,
    rates: NDArray[np.float32],
    seed: int = 0,
) -> Fitted:
    """What logged outcomes teach of a brought model: how wide its scores are, and what its probabilities mean.

    Args:
        ranker: As it was read, nothing fitted.
        rows: Logged impressions with their outcomes.
        features: The features it reads.
        rates: What stands for each prediction it does not make. Shapes: [8].
        seed: Of the calibration's folds.
    """
    start = replace(nothing_fitted(), fill=rates)
    values = rows.values
    if ranker.declaration.kind == "score":
        start = replace(start, scales=ranker.spread(values.user, values.item, values.cross, _WIDTH))
    raw = ranker.with_fitted(start, features).raw(values.user, values.item, values.cross)
    outcomes = rows.outcomes.copy()
    outcomes[:, [HEADS.index(head) for head in ranker.missing if head in HEADS]] = -1
    held = fit_calibrators(raw, outcomes, rows.surface, seed, rows.scenario)
    return replace(start, calibrators=Calibrators.from_dict(held))


def shadow_brought(workspace: Workspace, stack: Stack, name: str, requests: int = 300) -> ShadowDiff:
    """Where slates of the stack as it is and with a brought model part, on logged requests as of the end of the log."""
    log = open_log(workspace)
    asked = sample_requests(log, requests, workspace.settings.seed)
    dry = replace(stack, memories=())
    other = replace(dry, ranker=load_brought(workspace, name))
    pairs = [(from_slate(run(dry, one)), from_slate(run(other, one))) for one in asked]
    return diff_traces(pairs, left=stack.name, right=name)


def _head(
    head: str, final: BroughtRanker, before: BroughtRanker, rows: LoggedInputs, ours: NDArray[np.float32]
) -> BroughtHead:
    """How one head did on the rows it was calibrated on: the AUC is untouched by that, the log loss flattered by a little."""
    at, v = HEADS.index(head), rows.values
    known = rows.outcomes[:, at] >= 0
    label = rows.outcomes[known, at]
    first = before.raw(v.user, v.item, v.cross)[known, at]
    last = final.scores(v.user, v.item_row, v.item, v.cross, rows.surface, rows.scenario)[known, at]
    both = 0 < label.sum() < len(label)
    return BroughtHead(
        head,
        int(label.sum()),
        auc(first, label) if both else None,
        auc(ours[known, at], label) if both else None,
        log_loss(first, label) if both else None,
        log_loss(last, label) if both else None,
    )


def _store(folder: Path, file: Path, said: Any, learned: dict[str, Any]) -> None:
    """Puts model, declaration and what was learned into a folder; it is whole or as it was."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        shutil.copyfile(file, scratch / file.name)
        (scratch / DECLARED).write_bytes(msgspec.json.format(msgspec.json.encode({"ranker": said}), indent=1))
        (scratch / LEARNED).write_text(json.dumps(learned, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(scratch, folder)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise StoreError(f"the brought model was not written to {folder}: {error}", code="store-010") from None
