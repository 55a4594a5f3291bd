"""Trains what a workspace's log can train: the unified model here, the legacy programs as processes of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mainstem.base.errors import ModelError
from mainstem.data.log import Log, Split
from mainstem.ranking.lesson import lesson
from mainstem.ranking.model import Model
from mainstem.ranking.rows import SIDES
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.learned_from import learned_from
from mainstem.workspace.programs import train

Progress = Callable[..., None]
LOG = logging.getLogger("mainstem.training")


@contextmanager
def legacy_in_training(workspace: Workspace, until: int, seed: int) -> Iterator[dict[str, Future[None]]]:
    """Both legacy programs train themselves in the background; each future ends when its artefacts are written."""
    with ThreadPoolExecutor(len(LEGACY)) as pool:
        yield {
            name: pool.submit(train, name, workspace.log, workspace.legacy_model(name), until, seed) for name in LEGACY
        }


def train_legacy(workspace: Workspace, until: int, seed: int) -> str:
    """Trains both legacy programs and waits for them; says what was trained."""
    with legacy_in_training(workspace, until, seed) as training:
        for done in training.values():
            done.result()
    return "content-first and interest-first, each by its own program"


def train_unified(
    workspace: Workspace, log: Log, parts: Split, seed: int, progress: Progress, scratch: Path | None = None
) -> Model:
    """Trains the unified model on everything before the validation day and takes it in as the version that serves.

    Args:
        workspace: Where the model goes.
        log: What it learns from.
        parts: Which days are learned from, and which one it is stopped and calibrated by.
        seed: Same seed, same bytes.
        progress: Told the share that is done.
        scratch: A folder for the features of more rows than memory holds; emptied at the end.
    """
    # PyTorch takes seconds to import and only training needs it.
    from mainstem.ranking.train import TrainSettings
    from mainstem.ranking.train import train as learn

    settings, tables = workspace.settings, attribute_tables(workspace)
    taught = lesson(
        log.items,
        log.users,
        log.impressions,
        log.history,
        parts.validation_day,
        tuple(settings.served()),
        settings.training.feedback_delay_ms,
        feature_set(workspace),
        tables,
        scratch,
    )
    chosen = TrainSettings(seed=seed)
    if settings.training.epochs:
        chosen = replace(chosen, epochs=settings.training.epochs)
    model = _resumed(lambda folder: learn(taught, chosen, progress, folder), workspace)
    identity = learned_from(workspace, log, taught, parts.validation_day, tables)
    said = {"data": log.manifest.sha256, "split": parts.sha256, "log": log.manifest.name, "learned_from": identity}
    model = replace(model, card=model.card | said)
    workspace.models().add(model.save, model.card)
    if scratch is not None:
        for side in SIDES:
            (scratch / f"{side}.npy").unlink(missing_ok=True)
    return model


def _resumed(learn: Callable[[Path], Model], workspace: Workspace) -> Model:
    """Trains, going on where the same training was killed; what is left of another one is put away."""
    from mainstem.ranking.checkpoint import drop_checkpoints

    folder = workspace.models().folder / ".training"
    try:
        return learn(folder)
    except ModelError as error:
        if error.code != "model-040":
            raise
        LOG.warning("the training that was stopped here was of other rows or settings; this one begins anew")
        drop_checkpoints(folder)
        return learn(folder)


def model_line(model: Model) -> str:
    """What was trained, in one line."""
    card = model.card
    rows, memory = card["rows"]["train"], card["peak_memory_bytes"]
    return f"{card['parameters']:,} parameters · {rows:,} rows · {card['epochs']} epochs · peak {memory / 1e9:.1f} GB"
