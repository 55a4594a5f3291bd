"""Trains the networks, the user tower and the calibration from a log folder."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from content_first import VERSION, flags, folder
from content_first.catalogue import Items, Users, load_items, load_users
from content_first.flags import OUTCOMES, PREDICTED
from content_first.isotonic import Curve, isotonic_curve
from content_first.memory import ENGAGED, HOUR_MS, Memory
from content_first.network import LAYERS, WATCH, Model, Network, save_model, squash
from content_first.rehearsal import live_through
from content_first.signals import Moments, model_inputs

Matrix = NDArray[np.float64]
HIDDEN = (48, 24)
ROWS_AT_ONCE = 4096
CALIBRATION_SHARE = 0.25
PROFILE_SHARE = 0.5
"""Without a history the older half of the log makes the profiles, and the networks learn from the rest: a profile must
never hold the outcomes that it is used to predict."""
TOWER_RIDGE = 50.0
WATCH_LOSS_WEIGHT = 0.05


@dataclass(slots=True)
class Lessons:
    """The viewable impressions to learn from, oldest first."""

    inputs: Matrix
    surface: NDArray[np.int64]
    targets: Matrix
    tower: Matrix
    median_age_h: float


def train(log: Path, until_day: int | None, out: Path, seed: int = 7) -> Model:
    """Learns from everything before the day and leaves ``model.npz``, ``about.json`` and ``flags.json`` in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    settings = flags.read_flags()
    torch.set_num_threads(1)
    items, users = load_items(log), load_users(log)
    lessons = study(log, until_day, items, users, settings)
    centre, spread = lessons.inputs.mean(axis=0), lessons.inputs.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    scaled = (lessons.inputs - centre) / spread
    curves = _calibrate(scaled, lessons, settings, seed)
    networks = _fit_surfaces(scaled, lessons.targets, lessons.surface, settings, seed)
    about = {
        "stack": "content-first", "version": VERSION, "until_day": until_day, "seed": seed, "rows": len(scaled),
        "networks": sorted(networks), "median_item_age_h": round(lessons.median_age_h, 3),
    }  # fmt: skip
    model = Model(centre, spread, networks, curves, lessons.tower, about)
    save_model(model, out)
    flags.write_flags(flags.age_limits_that_fit(settings, lessons.median_age_h), out / "flags.json")
    return model


def study(log: Path, until_day: int | None, items: Items, users: Users, settings: dict[str, Any]) -> Lessons:
    """Lives through the log and notes, for each viewable impression, what was known before it and what became of it."""
    shown = folder.shown_before_day(log, until_day)
    memory, before = Memory(items, users.row_of), folder.before_log(log)
    if before is not None:
        memory.load_before(before)
    names = {name: code for code, name in enumerate(settings["surfaces"])}
    codes = np.array([names.get(name, -1) for name in shown.surface], dtype=np.int64)
    profiles_until = 0 if before is not None else int(len(codes) * PROFILE_SHARE)
    first_kept = max(profiles_until, len(codes) - int(settings["train.max_rows"]))
    item_rows = items.rows(shown.item_id.tolist())
    times, user_ids = shown.time_ms.tolist(), shown.user_id.tolist()
    moments, parts, tower = Moments(), [], _Tower(items)

    def note(first: int, last: int) -> None:
        nonlocal moments
        if first >= profiles_until and memory.profiles_open:
            memory.close_profiles()
        if first < first_kept:
            return
        user = memory.row_of(user_ids[first])
        moments.copy_now(memory, items, user, item_rows[first:last], int(codes[first]), times[first])
        if len(moments) >= ROWS_AT_ONCE:
            parts.append(model_inputs(moments, items, users.about))
            tower.collect(moments)
            moments = Moments()

    credits = live_through(memory, items, shown, note)
    if len(moments):
        parts.append(model_inputs(moments, items, users.about))
        tower.collect(moments)
    kept_from = len(codes) - sum(len(p) for p in parts)
    keep = np.flatnonzero(shown.viewed & (codes >= 0) & (np.arange(len(codes)) >= kept_from))
    if not len(keep):
        raise folder.FolderError(f"{log}: no viewable impression before day {until_day}; nothing to learn from")
    ages = (shown.time_ms - items.created_ms[item_rows])[keep] / HOUR_MS
    return Lessons(
        inputs=np.concatenate(parts)[keep - kept_from],
        surface=codes[keep],
        targets=_targets(credits[keep], shown.known[keep], shown.watch_ms[keep]),
        tower=tower.solve(credits[kept_from:]),
        median_age_h=float(np.median(ages)),
    )


def _targets(credits: NDArray[np.int64], known: NDArray[np.int64], watch_ms: Matrix) -> Matrix:
    bits = np.arange(len(OUTCOMES))
    did = ((credits[:, None] >> bits) & 1).astype(np.float64)
    told = ((known | credits)[:, None] >> bits) & 1
    return np.concatenate([np.where(told > 0, did, np.nan), watch_ms[:, None] / 1000.0], axis=1)


class _Tower:
    """Learns the linear map from a user's taste to the next item they enjoy (ridge, closed form)."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._tastes: list[NDArray[np.float32]] = []
        self._rows: list[NDArray[np.intp]] = []

    def collect(self, moments: Moments) -> None:
        self._tastes.append(np.repeat(np.array(moments.user_taste)[:, 0], moments.sizes, axis=0).astype(np.float32))
        self._rows.append(np.concatenate(moments.items))

    def solve(self, credits: NDArray[np.int64]) -> Matrix:
        taste, rows = np.concatenate(self._tastes).astype(np.float64), np.concatenate(self._rows)
        norm = np.linalg.norm(taste, axis=1)
        chosen = ((credits & ENGAGED) > 0) & (norm > 0) & (rows > 0)
        asked, wanted = taste[chosen] / norm[chosen, None], self._items.vectors[rows[chosen]]
        width = taste.shape[1]
        return np.linalg.solve(
            asked.T @ asked + TOWER_RIDGE * np.eye(width), asked.T @ wanted + TOWER_RIDGE * np.eye(width)
        )


def _calibrate(scaled: Matrix, lessons: Lessons, settings: dict[str, Any], seed: int) -> tuple[Curve, ...]:
    """One curve a head for all surfaces, from the newest quarter, predicted by networks that have not seen it."""
    cut = int(len(scaled) * (1 - CALIBRATION_SHARE))
    networks = _fit_surfaces(scaled[:cut], lessons.targets[:cut], lessons.surface[:cut], settings, seed)
    names = settings["surfaces"]
    said = np.zeros((len(scaled) - cut, len(PREDICTED)))
    for code, name in enumerate(names):
        rows = lessons.surface[cut:] == code
        said[rows] = squash((networks.get(name) or networks["feed"]).outputs(scaled[cut:][rows]))
    curves = []
    for head in range(len(PREDICTED)):
        told = np.isfinite(lessons.targets[cut:, head])
        top = float(np.expm1(9.0)) if head == WATCH else 1.0
        curves.append(
            isotonic_curve(said[told, head], np.minimum(lessons.targets[cut:, head][told], top), 0.0, top, top)
        )
    return tuple(curves)


def _fit_surfaces(
    scaled: Matrix, targets: Matrix, surface: NDArray[np.int64], settings: dict[str, Any], seed: int
) -> dict[str, Network]:
    """One network a surface that has rows enough; the feed's, learned from whatever there is, stands in for the others."""
    networks = {}
    for code, name in enumerate(settings["surfaces"]):
        rows = np.flatnonzero(surface == code)
        enough = len(rows) >= int(settings[f"{name}.min_rows"])
        if name == "feed" and not enough:
            rows, enough = np.arange(len(surface)), True
        if enough:
            networks[name] = _fit_network(scaled[rows], targets[rows], settings, seed + code)
    return networks


def _fit_network(scaled: Matrix, targets: Matrix, settings: dict[str, Any], seed: int) -> Network:
    torch.manual_seed(seed)
    sizes = (scaled.shape[1], *HIDDEN, len(PREDICTED))
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    with torch.no_grad():
        layers[2].bias.copy_(torch.tensor(_base_outputs(targets), dtype=torch.float32))
    x, y = torch.tensor(scaled, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)
    told = torch.isfinite(y).float()
    y = torch.nan_to_num(y)
    y[:, WATCH] = torch.log1p(y[:, WATCH].clamp(0, 8000))
    batch, epochs = int(settings["train.batch_rows"]), int(settings["train.epochs"])
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings["train.learning_rate"], weight_decay=settings["train.weight_decay"]
    )
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.0, 1.0 - step / steps))
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimiser.zero_grad()
            _loss(net(x[rows]), y[rows], told[rows]).backward()
            optimiser.step()
            schedule.step()
    arrays = [a.detach().double().numpy() for layer in layers for a in (layer.weight.T.contiguous(), layer.bias)]
    return Network(**dict(zip(LAYERS, arrays, strict=True)))


def _loss(outputs: torch.Tensor, wanted: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """Pointwise: each head of each row by itself. Heads that the log does not know teach nothing."""
    shares = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs[:, :WATCH], wanted[:, :WATCH], reduction="none"
    )
    seconds = torch.nn.functional.smooth_l1_loss(outputs[:, WATCH], wanted[:, WATCH], reduction="none")
    return ((shares * told[:, :WATCH]).sum() + WATCH_LOSS_WEIGHT * (seconds * told[:, WATCH]).sum()) / len(outputs)


def _base_outputs(targets: Matrix) -> Matrix:
    """Each head's base rate as a raw output: where it starts, so that rare outcomes start rare."""
    told = np.isfinite(targets)
    sums = np.where(told, targets, 0.0).sum(axis=0)
    mean = (sums + 0.5) / (told.sum(axis=0) + 1.0)
    start = np.log(np.clip(mean, 1e-5, 1 - 1e-5) / (1 - np.clip(mean, 1e-5, 1 - 1e-5)))
    start[WATCH] = np.log1p(mean[WATCH])
    return start
