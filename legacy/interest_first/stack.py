"""The running stack: rank, score, take feedback, reset. Arrays in, plain answers out; no HTTP here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from . import STACK, VERSION
from .catalogue import ENTITY, INTEREST, Catalogue, build_catalogue
from .codes import Codebook
from .finder import Finder, Pool
from .folder import Items, People, Rows
from .ledger import Ledger
from .memory import Memory, Shown
from .model import Model, interest_shares
from .plans import Plan
from .signals import Signals
from .slate import Contest, Slate, make_slate
from .wire import Ask, Feedback, RefusedError

UNORDERED_LIST = 0.0  # posts that came after training stand last in their lists


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model says of the candidates of one request."""

    shares: np.ndarray
    """[interests + 1] P(interest | user)."""
    interest: np.ndarray
    item: np.ndarray
    value: np.ndarray
    """P(interest)^a * P(item | interest)^b * exp(-fatigue), to nine decimals."""


class Stack:
    """One process's worth of interest-first. Not for two threads at once."""

    def __init__(
        self, model: Model, plans: dict[str, Plan], items: Items, people: People, rows: Rows, seed: int
    ) -> None:
        self.plans, self._model, self._people, self._seed = plans, model, people, seed
        self._catalogue, order = _serving_catalogue(model, items)
        self._finder = Finder(self._catalogue, order, _serving_neighbours(model, items), seed)
        self._memory = Memory(self._catalogue, people, rows)
        self._signals = Signals(self._memory)
        self._ledger = Ledger(int(self._catalogue.sizes[INTEREST]))
        names = {name: at for at, name in enumerate(model.cohorts.tolist())}
        self._cohort = [names.get(name, 0) for name in people.cohorts]
        self._prior = {name: at for at, name in enumerate(model.surfaces.tolist())}

    def health(self) -> dict:
        """What this stack is and can tell."""
        return {
            "stack": STACK,
            "version": VERSION,
            "ready": True,
            "heads": ["interest", "item"],
            "surfaces": list(self.plans),
            "describes": ["candidates", "heads", "rules", "timings", "propensities"],
            "events_seen": self._memory.events_seen,
        }

    def reset(self) -> None:
        """Back to the state right after training."""
        self._memory.reset()
        self._ledger.clear()

    def take(self, event: Feedback) -> bool:
        """Takes one feedback record; False when it was known."""
        row = self._catalogue.row_of.get(event.item_id, self._catalogue.unlisted)
        place = self._catalogue.place_key(event.surface, event.scenario)
        shown = Shown(event.user_id, row, place, event.time_ms, event.depth, event.long_view, event.joined)
        return self._memory.note(shown, event.known_as)

    def score(self, ask: Ask) -> dict:
        """The value of each item asked for, before any rule. Changes nothing."""
        plan = self._plan(ask.surface)
        verdict = self._judge(ask, plan, self._catalogue.rows(ask.item_ids or []))
        return {
            "request_id": ask.request_id,
            "scores": verdict.value.tolist(),
            "heads": {"interest": verdict.interest.tolist(), "item": verdict.item.tolist()},
        }

    def rank(self, ask: Ask) -> dict:
        """The slate of a request. The only call that changes what control remembers."""
        plan, started = self._plan(ask.surface), time.perf_counter()
        pool = self._pool(ask, plan)
        fetched = time.perf_counter()
        verdict = self._judge(ask, plan, pool.rows)
        judged = time.perf_counter()
        removed = self._removed(ask, plan, pool.rows)
        kept = np.flatnonzero(removed == "")
        slate = self._slate(ask, plan, pool, verdict, kept)
        picks = kept[slate.picks]
        removed[kept] = "rank"
        removed[picks] = ""
        done = time.perf_counter()
        item_ids, values = self._ids(ask, pool), verdict.value.tolist()
        rules = [(str(removed[at]), at, "removed") for at in np.flatnonzero((removed != "") & (removed != "rank"))]
        rules += [(rule, int(kept[at]), effect) for rule, at, effect in slate.rules]
        answer = {
            "request_id": ask.request_id,
            "stack": STACK,
            "items": [_placed(item_ids[kept[at]], values[kept[at]], slate.propensities.get(at)) for at in slate.picks],
            "rules": [{"rule": rule, "item_id": item_ids[at], "effect": effect} for rule, at, effect in rules],
            "timings_ms": _laps(started, fetched, judged, done),
            "degraded": sorted(set(ask.failures)),
        }
        if ask.explain:
            answer["candidates"] = _candidates(pool, item_ids, verdict, removed)
        return answer

    def _plan(self, surface: str) -> Plan:
        if surface not in self.plans:
            raise RefusedError(
                404, "unknown_surface", f"no plan for surface {surface[:60]!r}; there are {', '.join(self.plans)}"
            )
        return self.plans[surface]

    def _shares(self, ask: Ask, plan: Plan) -> np.ndarray:
        viewer = None if "features" in ask.failures else self._memory.viewer(ask.user_id)
        past = None if viewer is None else viewer.fresh_histogram(ask.now_ms)
        prior = self._model.prior[self._prior.get(ask.surface, -1)]
        cohort = self._model.cohort_interest[self._cohort[self._people.cohort_of(ask.user_id)]]
        return interest_shares(past, prior, plan.prior_strength, cohort)

    def _judge(self, ask: Ask, plan: Plan, rows: np.ndarray) -> Verdict:
        shares = self._shares(ask, plan)
        interest = self._catalogue.slots[rows, INTEREST]
        share = shares[interest]
        if not len(rows):
            return Verdict(shares, share, share, share)
        viewer = None if "features" in ask.failures else self._memory.viewer(ask.user_id)
        place = self._catalogue.place_key(ask.surface, ask.scenario)
        signals = self._signals.rows(viewer, rows, place, ask.now_ms, share)
        item = self._model.chance_of_item(signals, self._cohort[self._people.cohort_of(ask.user_id)])
        tired = self._ledger.fatigue(ask.user_id, interest, self._catalogue.slots[rows, ENTITY], ask.now_ms, plan)
        value = share**plan.interest_power * item**plan.item_power * np.exp(-tired)
        return Verdict(shares, *np.round((share, item, value), 9))

    def _pool(self, ask: Ask, plan: Plan) -> Pool:
        if ask.item_ids is None:
            viewer = None if "features" in ask.failures else self._memory.viewer(ask.user_id)
            return self._finder.fetch(viewer, self._shares(ask, plan), plan, ask.request_id)
        asked = np.unique(np.array(ask.item_ids, dtype=np.int64))
        return Pool(self._catalogue.rows_of(asked), np.zeros(len(asked), dtype=np.int64))

    def _ids(self, ask: Ask, pool: Pool) -> list[int]:
        """The item id of each candidate: asked for, it may be one that is not listed."""
        return self._catalogue.item_ids[pool.rows].tolist() if ask.item_ids is None else sorted(set(ask.item_ids))

    def _removed(self, ask: Ask, plan: Plan, rows: np.ndarray) -> np.ndarray:
        """Why each candidate must go; '' for those that may stay. What the safety check did not pass, fails it."""
        removed = np.full(len(rows), "", dtype=object)
        removed[self._ledger.cooling(ask.user_id, rows, ask.now_ms, plan)] = "cooldown"
        unsafe = np.ones(len(rows), dtype=bool) if "safety" in ask.failures else self._catalogue.integrity[rows] != 0
        removed[unsafe] = "safety"
        return removed

    def _slate(self, ask: Ask, plan: Plan, pool: Pool, verdict: Verdict, kept: np.ndarray) -> Slate:
        rows, sources = pool.rows[kept], pool.sources[kept]
        interest, entity = self._catalogue.slots[rows, INTEREST], self._catalogue.slots[rows, ENTITY]
        explore = 1 << 3
        strange = sources & explore > 0
        if ask.item_ids is not None:  # nothing was fetched: what the user was never shown may be explored
            strange = self._unfamiliar(ask, interest)
        contest = Contest(
            item_ids=np.array(self._ids(ask, pool), dtype=np.int64)[kept],
            interest=interest,
            value=verdict.value[kept],
            explore_only=sources == explore,
            strange=strange,
            debt=self._ledger.debt(ask.user_id)[interest],
        )
        floors = _floors(verdict.shares, plan, ask.count)
        slate = make_slate(contest, floors, plan, ask.count, self._seed, ask.request_id)
        missed = np.zeros(len(verdict.shares))
        missed[list(slate.missed)] = list(slate.missed.values())
        self._ledger.book(
            ask.user_id, rows[slate.picks], interest[slate.picks], entity[slate.picks], missed, ask.now_ms, plan
        )
        return slate

    def _unfamiliar(self, ask: Ask, interest: np.ndarray) -> np.ndarray:
        viewer = None if "features" in ask.failures else self._memory.viewer(ask.user_id)
        if viewer is None:
            return np.zeros(len(interest), dtype=bool)
        shown = viewer.past.keys[: viewer.used, INTEREST] - self._catalogue.offsets[INTEREST]
        return ~np.isin(interest, shown)


def _floors(shares: np.ndarray, plan: Plan, count: int) -> dict[int, int]:
    """Places that the user's first interests should get."""
    places = int(count * plan.quota_share)
    first = np.argsort(-np.round(shares[:-1], 9), kind="stable")[: plan.quota_interests]
    return dict.fromkeys(first.tolist(), places) if places else {}


def _placed(item_id: int, value: float, propensity: float | None) -> dict:
    placed: dict = {"item_id": item_id, "score": value}
    return placed if propensity is None else placed | {"propensity": propensity}


def _laps(started: float, fetched: float, judged: float, done: float) -> dict[str, float]:
    laps = {"retrieve": fetched - started, "rank": judged - fetched, "control": done - judged}
    return {name: round(1000.0 * lap, 3) for name, lap in laps.items()}


def _candidates(pool: Pool, item_ids: list[int], verdict: Verdict, removed: np.ndarray) -> list[dict]:
    """Everything considered, best value first, equal values by item id."""
    order = np.lexsort((np.arange(len(item_ids)), -verdict.value)).tolist()
    interest, item, value = verdict.interest.tolist(), verdict.item.tolist(), verdict.value.tolist()
    return [
        {
            "item_id": item_ids[at],
            "sources": pool.names(at),
            "heads": {"interest": interest[at], "item": item[at]},
            "value": value[at],
            "removed_by": removed[at] or None,
        }
        for at in order
    ]


def _serving_catalogue(model: Model, items: Items) -> tuple[Catalogue, np.ndarray]:
    """Today's posts: those that training saw keep their code, newer ones get one from their tags."""
    book = Codebook(model.coarse_centres, model.fine_centres, model.tags, model.tag_vectors)
    interest, fine = book.codes(book.from_tags(items))
    at = np.minimum(np.searchsorted(model.item_ids, items.item_id), max(len(model.item_ids) - 1, 0))
    seen = model.item_ids[at] == items.item_id
    interest, fine = np.where(seen, model.interest[at], interest), np.where(seen, model.fine[at], fine)
    shape = (len(book.coarse), len(book.fine))
    catalogue = build_catalogue(items, interest, fine, shape, tuple(model.surfaces.tolist()))
    return catalogue, np.where(seen, model.list_order[at], UNORDERED_LIST)


def _serving_neighbours(model: Model, items: Items) -> np.ndarray:
    """The entity neighbours under today's entity slots; an entity that training did not see has none."""
    entities = np.unique(items.entity_id)
    slot = np.minimum(np.searchsorted(entities, model.entity_ids), max(len(entities) - 1, 0))
    slot = np.where(entities[slot] == model.entity_ids, slot, -1)
    near = np.full((len(entities) + 1, model.near_entities.shape[1]), -1, dtype=np.int64)
    near[slot] = np.where(model.near_entities >= 0, slot[model.near_entities], -1)
    return near[:-1]
