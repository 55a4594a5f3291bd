"""Takes the trained ranker out of a workspace as ONNX, in full or in 8 bits, with what was measured on real rows beside it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError, StoreError
from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.data.log import Log
from mainstem.evaluate.metrics import auc, log_loss
from mainstem.features.catalog import Catalog
from mainstem.features.timeline import Values
from mainstem.ranking.calibrate import Calibrators, RequestCalibrators
from mainstem.ranking.export_onnx import ranker_graph
from mainstem.ranking.int8 import quantised
from mainstem.ranking.lesson import timeline
from mainstem.ranking.model import Model, embedding_rows, feature_names, load_model
from mainstem.ranking.network import Network, item_first
from mainstem.ranking.onnx_network import OnnxRanker
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split

Progress = Callable[[float, str], None]

TOLERANCE: Final = 1e-5
"""How far an exported prediction may be from the served one; seconds by their share."""
LEAST: Final = 10
"""A head with fewer positives on the measured rows has no AUC to lose."""
REQUEST: Final = 500
"""Candidates of the request whose cost is measured."""


def silent(share: float, what: str = "") -> None:
    """Progress for nobody."""


@dataclass(frozen=True, slots=True)
class HeadLoss:
    """What one head loses in 8 bits, on the rows that were measured."""

    head: str
    positives: int
    auc: float | None
    auc_lost: float | None
    log_loss: float | None
    log_loss_lost: float | None
    most: float


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and what was measured.

    Attributes:
        rows: Logged rows of the validation day that both were asked for.
        difference: The largest difference of a probability to the served one.
        seconds_difference: The same of the seconds watched, as a share.
        cost_us: CPU microseconds a request of 500 candidates: ``numpy``, ``onnx``, and ``int8`` where it was made.
        losses: What each head loses in 8 bits; empty without.
    """

    file: str
    sha256: str
    bytes: int
    rows: int
    difference: float
    seconds_difference: float
    cost_us: dict[str, int]
    bytes_full: int
    losses: tuple[HeadLoss, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedInputs:
    """Logged impressions of one day as the ranker reads them, each as of its own moment, and what became of them."""

    values: Values
    surface: NDArray[np.int8]
    scenario: NDArray[Any]
    outcomes: NDArray[np.int8]
    catalog: Catalog


def logged_inputs(workspace: Workspace, log: Log, model: Model, day: int) -> LoggedInputs:
    """The rows of one day, with the state going on with the log."""
    settings = workspace.settings
    catalog = Catalog.from_tables(log.items, log.users)
    line = timeline(
        catalog,
        model.statics,
        log.impressions,
        log.history,
        tuple(settings.served()),
        settings.training.feedback_delay_ms,
        model.features,
        attribute_tables(workspace),
    )
    judged = np.flatnonzero(log.impressions["day"].to_numpy() == day)
    asked = len(line.feedback) - log.impressions.height + judged
    taken = line.feedback.take(asked)
    return LoggedInputs(line.values(asked), taken.surface, taken.scenario, taken.outcomes, catalog)


def items_table(model: Model, catalog: Catalog) -> NDArray[np.float32]:
    """The first layer's share of every item of a catalog, the unknown item last. Shapes: ``[items + 1, hidden]``."""
    vectors, _ = model.statics.on(catalog)
    ids = embedding_rows(model.ids, np.append(catalog.items.ids, -1))
    return item_first(model.weights, catalog, vectors, ids, embedding_rows(model.categories, catalog.items.category_id))


def export_onnx(
    workspace: Workspace, *, int8: bool = False, out: Path | None = None, progress: Progress = silent
) -> Exported:
    """Writes the unified model as ``ranker.onnx`` (or ``ranker-int8.onnx``) and a card beside it, after measuring it.

    Args:
        workspace: Where the model and its log lie.
        int8: Whether the widest products and the items' table are held in 8 bits.
        out: The folder; ``models/exported`` of the workspace when left out.
        progress: Told how far it is.

    Raises:
        ModelError: There is no model (``model-002``), ``onnx`` is missing (``model-060``), the graph says other things than
            the served network (``model-063``), or 8 bits lose more than ``[ranker] int8_loss`` (``model-064``). Nothing is
            written then.
        StoreError: The disk refused it (``store-010``).
    """
    log = open_log(workspace)
    parts = split(workspace, log)
    model = load_model(workspace.unified_model, feature_set(workspace))
    progress(0.1, "features of the validation day")
    rows = logged_inputs(workspace, log, model, parts.validation_day)
    network, calibrators = model.network(rows.catalog), model.calibrators()
    progress(0.6, "the graph")
    table = items_table(model, rows.catalog)
    facts = _facts(model, log, len(table) - 1)
    graph = ranker_graph(model.weights, table, calibrators, model.features)
    full = graph.in_bytes(facts)
    ranker = OnnxRanker(full)
    served, same = _served(network, calibrators, rows), _asked(ranker, rows)
    difference, seconds = _differences(served, same)
    _refuse_difference(difference, seconds)
    costs = {"numpy": _cost(_request_numpy(network, calibrators, rows)), "onnx": _cost(_request(ranker, rows))}
    data, losses, name = full, (), "ranker.onnx"
    if int8:
        progress(0.8, "8 bits")
        small = ranker_graph(model.weights, table, calibrators, model.features, small_items=True)
        with tempfile.TemporaryDirectory() as scratch:
            data, name = quantised(small, Path(scratch), facts), "ranker-int8.onnx"
        lesser = OnnxRanker(data)
        losses = tuple(_losses(served, _asked(lesser, rows), rows.outcomes))
        refuse_loss(losses, workspace.settings.ranker.int8_loss)
        costs["int8"] = _cost(_request(lesser, rows))
    folder = out or workspace.folder / "models" / "exported"
    digest = hashlib.sha256(data).hexdigest()
    made = Exported(str(folder / name), digest, len(data), len(served), difference, seconds, costs, len(full), losses)
    card = {
        "measured": asdict(made),
        "inputs": feature_names(model.features),
        "outputs": list(PREDICTIONS),
        "surfaces": list(workspace.settings.served()),
        "day": parts.validation_day,
        "facts": facts,
    }
    _write(folder, {name: data, f"{name}.json": json.dumps(card, indent=1, sort_keys=True, default=str).encode()})
    return made


def _refuse_difference(difference: float, seconds: float) -> None:
    """Refuses a graph that says other things than the served network (``model-063``)."""
    if max(difference, seconds) > TOLERANCE:
        raise ModelError(
            f"the exported graph differs by {difference:.2g} (seconds: {seconds:.2g} of them) from the served network, "
            f"expected at most {TOLERANCE:g}",
            code="model-063",
            hint="this is a fault of the exporter: nothing was written",
        )


def refuse_loss(losses: tuple[HeadLoss, ...], limit: float) -> None:
    """Refuses 8 bits that cost more than the limit.

    Raises:
        ModelError: A head loses more (``model-064``).
    """
    for one in losses:
        lost = {"AUC": one.auc_lost or 0.0, "of its log loss": (one.log_loss_lost or 0.0) / (one.log_loss or 1.0)}
        for what, much in lost.items():
            if much > limit:
                raise ModelError(
                    f"in 8 bits {one.head!r} loses {much:.4f} {what}, [ranker] int8_loss allows {limit:g}",
                    code="model-064",
                    hint="export without --int8, or allow more in mainstem.toml",
                )


def _facts(model: Model, log: Log, items: int) -> dict[str, str]:
    """What the file says of itself."""
    return {
        "heads": ",".join(PREDICTIONS),
        "features": model.features.fingerprint,
        "items": str(items),
        "catalog": hashlib.sha256(np.ascontiguousarray(log.items["item_id"].to_numpy()).tobytes()).hexdigest()[:12],
        "model": str(model.card.get("data", ""))[:12],
    }


def _served(network: Network, calibrators: Calibrators, rows: LoggedInputs) -> NDArray[np.float32]:
    values = rows.values
    raw = network.many(values.user, values.item_row, values.item, values.cross)
    return calibrators.apply_many(raw, rows.surface, rows.scenario)


def _asked(ranker: OnnxRanker, rows: LoggedInputs) -> NDArray[np.float32]:
    values = rows.values
    return ranker.scores(values.user, values.item_row, values.item, values.cross, rows.surface, rows.scenario)


def _differences(served: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[float, float]:
    gap = np.abs(served.astype(np.float64) - other)
    if not len(gap):
        return 0.0, 0.0
    return float(gap[:, : len(HEADS)].max()), float((gap[:, -1] / (1.0 + served[:, -1])).max())


def _losses(served: NDArray[np.float32], lesser: NDArray[np.float32], outcomes: NDArray[np.int8]) -> list[HeadLoss]:
    out = []
    for at, head in enumerate(HEADS):
        known = outcomes[:, at] >= 0
        label, before, after = outcomes[known, at], served[known, at], lesser[known, at]
        positives = int(label.sum())
        enough = positives >= LEAST
        was, now = (auc(before, label), auc(after, label)) if enough else (None, None)
        loss, lost = (log_loss(before, label), log_loss(after, label)) if enough else (None, None)
        most = float(np.abs(before - after).max()) if len(label) else 0.0
        out.append(
            HeadLoss(
                head,
                positives,
                was,
                None if was is None or now is None else was - now,
                loss,
                None if loss is None or lost is None else lost - loss,
                most,
            )
        )
    return out


def _request(ranker: OnnxRanker, rows: LoggedInputs) -> Callable[[], object]:
    v, n = rows.values, slice(0, REQUEST)
    return lambda: ranker.scores(v.user[0], v.item_row[n], v.item[n], v.cross[n], 0)


def _request_numpy(network: Network, calibrators: Calibrators, rows: LoggedInputs) -> Callable[[], object]:
    v, n, maps = rows.values, slice(0, REQUEST), RequestCalibrators(calibrators)
    return lambda: maps.of_logits(network.logits(v.user[0], v.item_row[n], v.item[n], v.cross[n]), 0)


def _cost(ask: Callable[[], object], times: int = 60) -> int:
    """CPU microseconds of one call."""
    for _ in range(10):
        ask()
    started = time.process_time()
    for _ in range(times):
        ask()
    return round((time.process_time() - started) / times * 1e6)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes each file whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            scratch = folder / f".{name}.{os.getpid()}"
            scratch.write_bytes(data)
            os.replace(scratch, folder / name)
    except OSError as error:
        raise StoreError(f"the exported ranker was not written to {folder}: {error}", code="store-010") from None
