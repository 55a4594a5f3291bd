"""Training: codes, then a replay of the log through the serving state, then a listwise fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .catalogue import INTEREST, ITEM, Catalogue, build_catalogue, list_order
from .codes import Codebook, learn_codes, nearest_entities
from .fit import fit_listwise
from .folder import FolderError, Items, People, Rows
from .labels import touched_within_day
from .memory import Memory, Shown
from .model import Model, interest_shares
from .plans import Plan
from .signals import NAMES, Signals

RANK_DAYS = 4  # the item model learns from the newest days; older ones only fill the memory


@dataclass(frozen=True, slots=True)
class Log:
    """A log folder, read."""

    impressions: Rows
    history: Rows
    items: Items
    people: People


def train(log: Log, plans: dict[str, Plan], seed: int) -> Model:
    """Everything that serving needs, from the log alone."""
    if not len(log.impressions):
        raise FolderError("no impressions before the day given: nothing to train on")
    surfaces = tuple(plans)
    book, vectors = _codes(log, seed)
    catalogue = coded_catalogue(log.items, book, vectors, surfaces)
    prior = surface_prior(log, catalogue, plans)
    cohort_interest = np.tile(prior[-1], (len(log.people.cohorts), 1))
    memory, lesson = _replay(log, catalogue, prior, plans)
    cohort_signals = _cohort_means(lesson.signals, lesson.cohort, len(log.people.cohorts))
    filled = np.where(np.isnan(lesson.signals), cohort_signals[lesson.cohort], lesson.signals)
    net = fit_listwise(filled, lesson.lists, lesson.label, lesson.known, seed)
    cohort_interest = _cohort_interest(log, memory, cohort_interest)
    sums = memory.rates.sums[catalogue.keys[:-1, ITEM]]
    entities, entity = np.unique(log.items.entity_id, return_inverse=True)
    return Model(
        item_ids=log.items.item_id,
        interest=catalogue.slots[:-1, INTEREST],
        fine=catalogue.slots[:-1, INTEREST + 1],
        coarse_centres=book.coarse,
        fine_centres=book.fine,
        tags=book.tags,
        tag_vectors=book.tag_vectors,
        list_order=list_order(sums[:, 1], sums[:, 0]),
        entity_ids=entities,
        near_entities=nearest_entities(entity, vectors, sums[:, 1]),
        surfaces=np.array(surfaces),
        prior=prior,
        cohorts=np.array(log.people.cohorts),
        cohort_interest=cohort_interest,
        cohort_signals=cohort_signals,
        **net,
    )


def coded_catalogue(items: Items, book: Codebook, vectors: np.ndarray, surfaces: tuple[str, ...]) -> Catalogue:
    """The catalogue of posts under a codebook."""
    interest, fine = book.codes(vectors)
    return build_catalogue(items, interest, fine, (len(book.coarse), len(book.fine)), surfaces)


def _codes(log: Log, seed: int) -> tuple[Codebook, np.ndarray]:
    """Codes come from what lies before the ranked days, so that no ranked row is explained by itself."""
    rows = log.impressions
    days = np.unique(rows.day)
    first = days[-RANK_DAYS:][0] if len(days) > RANK_DAYS or len(log.history) else days[len(days) // 2]
    earlier = rows.day < first
    user = np.concatenate([log.history.user_id, rows.user_id[earlier]])
    item = np.concatenate([log.history.item_id, rows.item_id[earlier]])
    depth = np.concatenate([log.history.depth, rows.depth[earlier]])
    row = np.minimum(np.searchsorted(log.items.item_id, item), len(log.items.item_id) - 1)
    kept = (depth > 0) & (log.items.item_id[row] == item)
    _, user_row = np.unique(user[kept], return_inverse=True)
    return learn_codes(log.items, user_row, row[kept], seed)


def surface_prior(log: Log, catalogue: Catalogue, plans: dict[str, Plan]) -> np.ndarray:
    """P(interest) of each surface's touches; a thin surface leans on the mix of surfaces our traffic has."""
    rows = log.impressions
    interest = catalogue.slots[catalogue.rows_of(rows.item_id), INTEREST]
    width = int(catalogue.sizes[INTEREST])
    counts = np.stack([np.bincount(interest, rows.depth * (rows.surface == name), width) for name in plans])
    traffic = np.array([plan.traffic_share for plan in plans.values()])
    shares = (counts + 1.0) / (counts + 1.0).sum(axis=1, keepdims=True)
    mix = traffic @ shares / traffic.sum()
    leaned = (counts + 200.0 * mix) / (counts.sum(axis=1, keepdims=True) + 200.0)
    return np.vstack([leaned, mix])


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row per shown item of the ranked days, as the stack knew it just before."""

    signals: np.ndarray
    known: np.ndarray
    """a * log P(interest): the part of the score that the item model does not learn."""
    label: np.ndarray
    lists: np.ndarray
    cohort: np.ndarray


def _replay(log: Log, catalogue: Catalogue, prior: np.ndarray, plans: dict[str, Plan]) -> tuple[Memory, Lesson]:
    ranked = np.isin(log.impressions.day, np.unique(log.impressions.day)[-RANK_DAYS:])
    memory = Memory(catalogue, log.people, log.history.then(log.impressions.take(~ranked)))
    rows = log.impressions.take(ranked)
    signals = Signals(memory)
    items = catalogue.rows_of(rows.item_id)
    interest = catalogue.slots[items, INTEREST]
    inputs = np.full((len(rows), len(NAMES)), np.nan)
    known, cohort = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    surfaces = {name: at for at, name in enumerate(plans)}
    strangers = np.full(prior.shape[1], 0.0)
    fallback = max(plans.values(), key=lambda plan: plan.traffic_share)
    change = np.flatnonzero(np.diff(rows.request_id) != 0) + 1
    request, user_of, time_of, item_of = (
        c.tolist() for c in (rows.request_id, rows.user_id, rows.time_ms, rows.item_id)
    )
    outcome = list(zip(items.tolist(), rows.depth.tolist(), rows.long_view.tolist(), rows.joined.tolist(), strict=True))
    for start, end in zip([0, *change.tolist()], [*change.tolist(), len(rows)], strict=True):
        user, now_ms, surface = user_of[start], time_of[start], rows.surface[start]
        place = catalogue.place_key(surface, int(rows.scenario[start]))
        plan, viewer = plans.get(surface, fallback), memory.viewer(user)
        past = None if viewer is None else viewer.fresh_histogram(now_ms)
        shares = interest_shares(past, prior[surfaces.get(surface, -1)], plan.prior_strength, strangers)
        share = shares[interest[start:end]]
        inputs[start:end] = signals.rows(viewer, items[start:end], place, now_ms, share)
        known[start:end] = plan.interest_power * np.log(share)
        cohort[start:end] = log.people.cohort_of(user)
        for at in range(start, end):
            row, depth, long_view, joined = outcome[at]
            memory.note(Shown(user, row, place, now_ms, depth, long_view, joined), (request[at], item_of[at]))
    label = touched_within_day(rows.user_id, interest, rows.time_ms, rows.depth)
    _, user_row = np.unique(rows.user_id, return_inverse=True)
    _, lists = np.unique(user_row * 100_000_000 + rows.day, return_inverse=True)
    return memory, Lesson(inputs, known, label, lists, cohort)


def _cohort_means(signals: np.ndarray, cohort: np.ndarray, cohorts: int) -> np.ndarray:
    """Mean of each input over a cohort's rows; a cohort without any takes the mean of all."""
    there = ~np.isnan(signals)
    value = np.where(there, signals, 0.0)
    everybody = value.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    means = np.empty((cohorts, signals.shape[1]))
    for name in range(cohorts):
        mine = cohort == name
        means[name] = (value[mine].sum(axis=0) + 20.0 * everybody) / (there[mine].sum(axis=0) + 20.0)
    return means


def _cohort_interest(log: Log, memory: Memory, start: np.ndarray) -> np.ndarray:
    """P(interest) of each cohort: the mean histogram of its users, each counted once."""
    total = start * 5.0
    for user in np.unique(log.impressions.user_id).tolist():
        viewer = memory.viewer(user)
        if viewer is not None and viewer.histogram.any():
            total[log.people.cohort_of(user)] += viewer.histogram / viewer.histogram.sum()
    return total / total.sum(axis=1, keepdims=True)
