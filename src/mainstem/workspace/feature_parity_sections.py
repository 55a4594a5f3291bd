"""Beyond features: do scores, nearest items and slates agree too? Each a short section with its measure and its gate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS
from mainstem.base.request import Request
from mainstem.data.log import Log
from mainstem.data.records import Impression
from mainstem.ranking.model import Model, load_model, load_statics
from mainstem.retrieval.index import LARGE, vector_index
from mainstem.retrieval.learned_sources import ItemToItem
from mainstem.retrieval.search import nearest
from mainstem.retrieval.sources import Interests
from mainstem.stacks.follow import STEP, Kept
from mainstem.stacks.impression import impression_of
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.workspace.definitions import feature_set
from mainstem.workspace.feature_parity_again import Again, Sides, agreement
from mainstem.workspace.feature_parity_live import NAME as LIVE
from mainstem.workspace.feature_parity_live import LiveLog, live_section
from mainstem.workspace.feature_parity_results import Section
from mainstem.workspace.layout import Workspace
from mainstem.workspace.platform import open_stack

Progress = Callable[[float, str], None]
REQUESTS: Final = 200
"""Requests that are answered here for these sections, at most."""
TOLERANCE: Final = 1e-5
"""Largest difference of two predictions: float32 products in other batch shapes are summed in another order. Seconds are
compared relative to 1 + seconds."""
DEPTH: Final = 100
LEAST_RECALL: Final = 0.9
"""Of the true 100 nearest items that an approximate index must find, on average, where it serves; elsewhere it is told only."""
_STRANGER: Final = 2**62
_FIRST: Final = 2**61
_NAMES: Final = ("model", "index", "slate")


@dataclass(frozen=True, slots=True)
class Platform:
    """The workspace's stack as a server makes it at a start: after the log, then after the live log."""

    workspace: Workspace
    log: Log
    live: LiveLog
    model: Model
    stack: Stack
    asked: tuple[Request, ...]

    @classmethod
    def of(cls, workspace: Workspace, log: Log, live: LiveLog, requests: int, seed: int) -> Platform:
        """Opens the stack, and draws who asks.

        Raises:
            ModelError: There is no model for the workspace's features (``model-001``, ``model-002``).
        """
        model = load_model(workspace.unified_model, feature_set(workspace))
        return cls(
            workspace,
            log,
            live,
            model,
            started(workspace, log, live),
            requests_of(log, live, workspace, requests, seed),
        )

    def served(self, stack: Stack) -> list[Impression]:
        """What this stack answers, as it would be logged; how long each stage took is left out."""
        quiet = replace(stack, memories=())
        slates = ((one, run(quiet, one, explain=False)) for one in self.asked)
        return [msgspec.structs.replace(impression_of(one, slate), timings_ms={}) for one, slate in slates]


def started(workspace: Workspace, log: Log, live: LiveLog) -> Stack:
    """A stack after the log and the live log, as a follower without a snapshot brings it there."""
    stack = open_stack(workspace, log)
    for start in range(0, len(live.feedback), STEP):
        stack.apply(live.feedback.take(slice(start, start + STEP)))
    return stack


def requests_of(log: Log, live: LiveLog, workspace: Workspace, requests: int, seed: int) -> tuple[Request, ...]:
    """Requests after everything that is known: viewers of the log, and now and then one nobody has heard of."""
    draw = np.random.default_rng(seed)
    surfaces = workspace.settings.served()
    names, users = list(surfaces), log.users["user_id"].to_numpy()
    n = min(requests, REQUESTS)
    times = (int(log.impressions["time_ms"].max() or 0), int(live.feedback.time_ms.max(initial=0)))  # type: ignore[arg-type]
    who = np.where(draw.random(n) < 0.05, _STRANGER, draw.choice(users, n))
    where = draw.integers(0, len(names), n)
    return tuple(
        Request(
            _FIRST + at, int(who[at]), names[where[at]], max(times) + 1_000 * (at + 1), surfaces[names[where[at]]].count
        )
        for at in range(n)
    )


def sections(
    workspace: Workspace,
    log: Log,
    requests: int,
    seed: int,
    progress: Progress = lambda share, what="": None,
    live: LiveLog | None = None,
) -> tuple[Section, ...]:
    """What a running server logged, then model, index and slates of a stack opened here."""
    live = LiveLog.read(workspace) if live is None else live
    statics = load_statics(workspace.unified_model)
    if statics is None:
        why = "Not made: the workspace has no model; `mainstem train` makes one."
        return tuple(Section(name, None, why, {}) for name in (LIVE, *_NAMES))
    again = Again(workspace, log, live.feedback, statics)
    progress(0.2, "the live log")
    found = live_section(again, live, lambda share: progress(0.2 + 0.3 * share, "the live log"))
    progress(0.5, "answering requests")
    return (found, *_of_stack(workspace, log, live, again, requests, seed, progress))


def _of_stack(
    workspace: Workspace, log: Log, live: LiveLog, again: Again, requests: int, seed: int, progress: Progress
) -> tuple[Section, ...]:
    """The sections that need the whole stack; why not, where it cannot be opened."""
    try:
        platform = Platform.of(workspace, log, live, requests, seed)
    except ModelError as error:
        return tuple(Section(name, None, f"Not made: {error}; `mainstem train` makes a model.", {}) for name in _NAMES)
    served = platform.served(platform.stack)
    progress(0.7, "predictions")
    model = model_section(platform, again, served)
    progress(0.8, "nearest items")
    index = index_section(platform)
    progress(0.9, "slates")
    return model, index, slate_section(platform, served)


def model_section(platform: Platform, again: Again, served: Sequence[Impression]) -> Section:
    """Served predictions against those of the exported network on features computed again, and the trained one's."""
    logged = [] if platform.live.stale else platform.live.impressions
    mine = [one for one in logged if one.feature_set == again.features.fingerprint and one.as_of <= again.events]
    step = max(1, len(mine) // REQUESTS)
    told = [one for one in (*served, *mine[::step]) if one.predictions and one.heads]
    if not told:
        return Section("model", None, "Not made: no prediction was logged.", {})
    features = agreement(again, told)
    sides = again.sides(told)
    rows = np.asarray(platform.stack.catalog.item_rows(np.concatenate([one.ids() for one in told])), np.int64)
    offline = _predicted(platform, again, sides, rows, told)
    online = np.concatenate([one.array("predictions") for one in told])
    largest = _largest(online, offline[1])
    trained = _trained(platform, again, sides, rows, offline[0])
    measured = {
        "rows": len(rows), "largest": largest, "tolerance": TOLERANCE, "logged_requests": len(told) - len(served),
        "features_differing": features.cells - features.matched,
    }  # fmt: skip
    text = (
        f"{len(rows):,} served rows of {len(told):,} requests ({len(told) - len(served):,} of the running platform): served and"
        f" recomputed predictions differ by at most {largest:.1e}"
    )
    if trained is None:
        text += "; torch is not installed, so the trained network was not asked"
    else:
        measured["torch_largest"] = trained
        text += f", the network in torch from its export by at most {trained:.1e}"
    ok = largest <= TOLERANCE and (trained is None or trained <= TOLERANCE)
    text += f"; {TOLERANCE:.0e} is allowed, since products in other batch shapes are summed in another order."
    if not ok and len(told) > len(served):
        text += " An impression does not name its model: one that was trained since predicts otherwise."
    return Section("model", ok, text, measured)


def _predicted(
    platform: Platform, again: Again, sides: Sides, rows: np.ndarray, told: Sequence[Impression]
) -> tuple[np.ndarray, np.ndarray]:
    """The exported network the way training sets are scored, before and after calibration."""
    network = platform.model.network(platform.stack.catalog)
    items = network.item_columns
    raw = network.many(
        sides.user[sides.request], rows.astype(np.int32), sides.candidates[:, :items], sides.candidates[:, items:]
    )
    codes = np.array(
        [again.surfaces.index(one.surface) if one.surface in again.surfaces else -1 for one in told], np.int8
    )
    return raw, platform.model.calibrators().apply_many(raw, codes[sides.request])


def _trained(platform: Platform, again: Again, sides: Sides, rows: np.ndarray, raw: np.ndarray) -> float | None:
    """How far the network in torch is from its export; None without torch."""
    try:
        from mainstem.ranking.trunk_again import trunk_predictions
    except ImportError:
        return None
    items = len(again.features.columns_of("item"))
    user, parts = sides.user[sides.request], (sides.candidates[:, :items], sides.candidates[:, items:])
    found = trunk_predictions(platform.model, platform.stack.catalog, user, rows, *parts)
    return _largest(found, raw[:, : len(HEADS)])


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    gap = np.abs(one.astype(np.float64) - other.astype(np.float64))
    if one.shape[1] > len(HEADS):
        gap[:, -1] /= 1.0 + np.abs(other[:, -1].astype(np.float64))
    return float(gap.max(initial=0.0))


def index_section(platform: Platform) -> Section:
    """Recall of the true nearest items: of the source that serves, and of the approximate index over the same vectors."""
    stack = platform.stack
    vectors = np.ascontiguousarray(platform.model.statics.on(stack.catalog)[0][:-1], np.float32)
    users = [(one, stack.features.user(one)) for one in platform.asked]
    # With one enjoyed item the source's query is that item's vector, whatever its weights are.
    # What the viewer has seen is nobody's neighbour at a source, so here they have seen nothing.
    unseen = {"seen_rows": np.empty(0, np.int64)}
    users = [
        (one, replace(user, liked_rows=user.liked_rows[:1], **unseen)) for one, user in users if len(user.liked_rows)
    ]
    source = next((one for one in stack.sources if isinstance(one, ItemToItem)), None)
    interests = next((one for one in stack.sources if isinstance(one, Interests)), None)
    if source is None or not users:
        return Section("index", None, "Not made: no viewer has enjoyed anything, so nothing is looked for.", {})
    lists = vector_index(vectors, large=0)
    exact, direct, approximate, drawn = [], [], [], []
    for request, user in users:
        query = vectors[user.liked_rows[0]]
        scores = vectors.astype(np.float64) @ query.astype(np.float64)
        exact.append(_recall(scores, source.retrieve(request, user, DEPTH).rows))
        direct.append(_recall(scores, nearest(vectors, query, DEPTH).rows))
        approximate.append(_recall(scores, lists.search(query, DEPTH).rows))
        if interests is not None:
            drawn.append(_recall(scores, interests.retrieve(request, user, 400).rows))
    is_exact = source.index.exact
    serving = "exact" if is_exact else "approximate"
    measured = {
        "queries": len(users), "items": len(vectors), "source": float(np.mean(exact)), "exact": float(np.mean(direct)),
        "approximate": float(np.mean(approximate)), "interests": float(np.mean(drawn)) if drawn else 0.0,
    }  # fmt: skip
    wanted = 1.0 if is_exact else LEAST_RECALL
    ok = min(direct) == 1.0 and measured["source"] >= wanted
    text = (
        f"{len(users):,} viewers' last enjoyed items, {DEPTH} nearest of {len(vectors):,}: the exact pass finds"
        f" {measured['exact']:.2%} (it must find all), the {serving} search that serves {measured['source']:.2%}"
        f" (at least {wanted:.0%}), the approximate one, which serves from {LARGE:,} items on, {measured['approximate']:.2%}."
        f" Interest lists rank by quality, not by nearness: {measured['interests']:.0%} of those are among their 400."
    )
    return Section("index", ok, text, measured)


def _recall(scores: np.ndarray, rows: np.ndarray) -> float:
    """The share of the top that was found; what scores as high as the last of the top, but for rounding, is as good."""
    k = min(DEPTH, len(scores))
    bound = np.partition(scores, len(scores) - k)[len(scores) - k]
    return min(1.0, float((scores[rows] >= bound - 1e-6 * max(1.0, abs(bound))).sum()) / k)


def slate_section(platform: Platform, first: Sequence[Impression]) -> Section:
    """The same requests twice, and once more by a stack whose memories were written down and read back."""
    twice = _differing(first, platform.served(platform.stack))
    kept = [memory for memory in platform.stack.memories if isinstance(memory, Kept)]
    restored: int | None = None
    if len(kept) == len(platform.stack.memories):
        restored = _differing(first, platform.served(_restored(platform, kept)))
    degraded = sum(bool(one.degraded) for one in first)
    measured: dict[str, float] = {"requests": len(first), "differing_again": twice, "degraded": degraded}
    text = f"{len(first):,} requests answered twice: {len(first) - twice:,} slates the same, with every score and feature logged"
    if restored is None:
        text += "; the memories cannot be written down, so no restart was tried"
    else:
        measured["differing_restored"] = restored
        text += f"; by a stack restored from a snapshot: {len(first) - restored:,}"
    return Section("slate", not twice and not restored and not degraded, text + ".", measured)


def _restored(platform: Platform, kept: Sequence[Kept]) -> Stack:
    """Another stack, started on the log alone, with the memories of this one."""
    other = open_stack(platform.workspace, platform.log)
    with tempfile.TemporaryDirectory(prefix="mainstem-parity-") as folder:
        for number, memory in enumerate(kept):
            path = Path(folder) / f"{number}.npz"
            memory.save(path)
            taking = other.memories[number]
            assert isinstance(taking, Kept)
            taking.load(path)
    return other


def _differing(one: Sequence[Impression], other: Sequence[Impression]) -> int:
    return sum(a.payload() != b.payload() for a, b in zip(one, other, strict=True))
