"""The content-first stack in one piece: retrieve, score, add up, apply caps."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from content_first import VERSION, caps, folder, sources
from content_first.catalogue import Items, Users, load_items, load_users
from content_first.flags import PREDICTED, SurfaceFlags, read_flags, surface_flags
from content_first.memory import Memory
from content_first.network import Model, load_model
from content_first.rehearsal import live_through
from content_first.signals import Moments, followed_creators, model_inputs
from content_first.wire import Ask, Told, WireError, ask_from, parse, told_from

Matrix = NDArray[np.float64]
SCORE_DECIMALS = 9
REQUESTS_AT_ONCE = 2048
DESCRIBES = ("candidates", "heads", "rules", "timings")


@dataclass(frozen=True, slots=True)
class Scored:
    """Predictions ``[n, heads]``, their weighted sum, and the number that items are ordered by."""

    heads: Matrix
    values: Matrix
    scores: Matrix


class ContentFirst:
    """Answers everything the wire can ask. One caller at a time."""

    def __init__(self, items: Items, users: Users, memory: Memory, model: Model, flags: dict[str, Any]) -> None:
        self.items, self.users, self.memory, self.model = items, users, memory, model
        self.surface_names: list[str] = list(flags["surfaces"])
        self.surfaces = {name: code for code, name in enumerate(self.surface_names)}
        self.flags: list[SurfaceFlags] = [surface_flags(flags, name) for name in self.surface_names]
        self._after_training = memory.copy()

    # -- small answers -------------------------------------------------------------------------------------------
    def health(self) -> dict[str, Any]:
        """What this stack is and what it can tell."""
        return {
            "stack": "content-first", "version": VERSION, "ready": True, "heads": list(PREDICTED),
            "surfaces": self.surface_names, "describes": list(DESCRIBES), "events_seen": self.memory.events_seen,
        }  # fmt: skip

    def reset(self) -> dict[str, Any]:
        """Back to the state right after training."""
        self.memory.go_back(self._after_training)
        return {"ready": True}

    def events(self, body: dict[str, Any]) -> dict[str, int]:
        """Takes feedback records; all of them or, when one is malformed, none."""
        records = body.get("events")
        if type(records) is not list:
            raise WireError("events: expected a list")
        fresh = [self._take(told) for told in [told_from(r) for r in records]]
        return {"accepted": sum(fresh), "duplicates": len(fresh) - sum(fresh)}

    def _take(self, told: Told) -> bool:
        if not self.memory.first_time(told.key):
            return False
        row = self.items.row_of.get(told.item_id, 0)
        self.memory.take(told.user_id, row, told.time_ms, told.viewed, told.did, told.watch_ms)
        return True

    # -- ranking -------------------------------------------------------------------------------------------------
    def rank(self, body: dict[str, Any]) -> dict[str, Any]:
        """A slate for one request."""
        return self._rank(ask_from(body, self.surfaces, ranking=True))

    def _rank(self, ask: Ask) -> dict[str, Any]:
        clock = [time.perf_counter()]
        self.memory.catch_up(ask.now_ms)
        user, flags = self.memory.row_of(ask.user_id), self.flags[ask.surface]
        ids, rows, found = self._candidates(ask, user, flags)
        out = caps.Removals([None] * len(rows))
        _fold_reposts(rows, ids, self.items, out)
        clock.append(time.perf_counter())
        caps.before_scoring(self.memory, self.items, flags, user, rows, ask.now_ms, "safety" in ask.failures, out)
        scored = self._score_one(ask, user, rows)
        clock.append(time.perf_counter())
        inside = np.array([k for k, rule in enumerate(out.rules) if rule is None], dtype=np.intp)
        order = inside[np.lexsort((ids[inside], -scored.scores[inside]))].tolist()
        slate = caps.fill_slate(self.items, flags, rows, order, ask.count, out)
        clock.append(time.perf_counter())
        return self._rank_answer(
            ask,
            ids,
            scored,
            found,
            slate,
            out,
            clock,
            flags,
            followed_creators(self.memory, user, self.items.creator[rows]),
        )

    def _candidates(
        self, ask: Ask, user: int, flags: SurfaceFlags
    ) -> tuple[NDArray[np.int64], NDArray[np.intp], sources.Found | None]:
        if ask.item_ids is not None:
            return np.array(ask.item_ids, dtype=np.int64), self.items.rows(ask.item_ids), None
        found = sources.find_candidates(self.memory, self.items, self.model.user_tower, user, flags.quotas, ask.now_ms)
        return self.items.ids[found.rows], found.rows, found

    def _score_one(self, ask: Ask, user: int, rows: NDArray[np.intp]) -> Scored:
        moments = Moments()
        self._copy(moments, ask, user, rows)
        return self._score(moments)

    def _copy(self, moments: Moments, ask: Ask, user: int, rows: NDArray[np.intp]) -> None:
        moments.copy_now(self.memory, self.items, user, rows, ask.surface, ask.now_ms, "features" in ask.failures)

    def _score(self, moments: Moments) -> Scored:
        """Predictions and final scores for every copied request, rounded so that equal inputs give equal answers."""
        inputs = model_inputs(moments, self.items, self.users.about)
        surface = np.repeat(np.array(moments.surfaces, dtype=np.intp), moments.sizes)
        followed = np.concatenate(moments.followed)
        heads, values = np.zeros((len(inputs), len(PREDICTED))), np.zeros(len(inputs))
        factor = np.ones(len(inputs))
        for code in np.unique(surface).tolist():
            rows, flags = surface == code, self.flags[code]
            heads[rows] = self.model.predict(inputs[rows], flags.name)
            values[rows] = (heads[rows] * flags.weights).sum(axis=1)
            factor[rows] = np.where(followed[rows], 1.0, flags.unconnected_factor)
        return Scored(
            np.round(heads, SCORE_DECIMALS), np.round(values, SCORE_DECIMALS), np.round(values * factor, SCORE_DECIMALS)
        )

    def _rank_answer(
        self, ask: Ask, ids: NDArray[np.int64], scored: Scored, found: sources.Found | None, slate: list[int],
        out: caps.Removals, clock: list[float], flags: SurfaceFlags, followed: NDArray[np.bool_],
    ) -> dict[str, Any]:  # fmt: skip
        rules = [{"rule": rule, "item_id": int(ids[place]), "effect": "removed"} for rule, place in out.fired]
        if flags.unconnected_factor != 1.0:
            effect = f"x{flags.unconnected_factor:g}"
            rules += [
                {"rule": "unconnected", "item_id": int(ids[p]), "effect": effect} for p in slate if not followed[p]
            ]
        degraded = [f"{name}:{'open' if name == 'safety' else 'zero'}" for name in ask.failures]
        spent = {
            name: round((b - a) * 1000.0, 3)
            for name, a, b in zip(("retrieve", "rank", "control"), clock, clock[1:], strict=False)
        }
        answer = {
            "request_id": ask.request_id, "stack": "content-first",
            "items": [{"item_id": int(ids[p]), "score": float(scored.scores[p])} for p in slate],
            "rules": rules, "timings_ms": spent, "degraded": degraded,
        }  # fmt: skip
        if ask.explain:
            answer["candidates"] = _considered(ids, scored, found, set(slate), out)
        return answer

    # -- scoring -------------------------------------------------------------------------------------------------
    def replay(self, body: bytes) -> list[str]:
        """Applies lines strictly in order; every score and rank line gets an answer line.

        Raw counters are copied when a score line's turn comes, so that the network may run for many requests at once.
        """
        steps = [self._step(line) for line in body.splitlines() if line.strip()]
        answers: list[str] = []
        moments, asks = Moments(), []
        for kind, what in steps:
            if kind == "event":
                self._take(what)
                continue
            if kind == "score":
                self.memory.catch_up(what.now_ms)
                self._copy(moments, what, self.memory.row_of(what.user_id), self.items.rows(what.item_ids))
                asks.append(what)
            if asks and (kind == "rank" or len(asks) >= REQUESTS_AT_ONCE):
                answers += self._score_lines(asks, moments)
                moments, asks = Moments(), []
            if kind == "rank":
                answers.append(json.dumps(self._rank(what)))
        return answers + self._score_lines(asks, moments)

    def _step(self, line: bytes) -> tuple[str, Any]:
        step = parse(line)
        if "event" in step:
            return "event", told_from(step["event"])
        if "score" in step:
            return "score", ask_from(step["score"], self.surfaces, ranking=False)
        if "rank" in step:
            return "rank", ask_from(step["rank"], self.surfaces, ranking=True)
        raise WireError("a line is an event, a score or a rank")

    def _score_lines(self, asks: list[Ask], moments: Moments) -> list[str]:
        if not asks:
            return []
        scored, at, lines = self._score(moments), 0, []
        scores, heads = scored.scores.tolist(), scored.heads.T.tolist()
        for ask, size in zip(asks, moments.sizes, strict=True):
            told = {name: heads[k][at : at + size] for k, name in enumerate(PREDICTED)}
            lines.append(json.dumps({"request_id": ask.request_id, "scores": scores[at : at + size], "heads": told}))
            at += size
        return lines


def _fold_reposts(rows: NDArray[np.intp], ids: NDArray[np.int64], items: Items, out: caps.Removals) -> None:
    """One candidate a canonical item: the original when it was asked for, else the first repost in the list."""
    chosen: dict[int, int] = {}
    for place, row in enumerate(rows.tolist()):
        if row and (row not in chosen or (ids[chosen[row]] != items.ids[row] and ids[place] == items.ids[row])):
            chosen[row] = place
    for place, row in enumerate(rows.tolist()):
        if row and chosen[row] != place:
            out.remove(place, "same_canonical")


def _considered(
    ids: NDArray[np.int64], scored: Scored, found: sources.Found | None, slate: set[int], out: caps.Removals
) -> list[dict[str, Any]]:
    heads, values = scored.heads.tolist(), scored.values.tolist()
    return [
        {
            "item_id": int(ids[k]),
            "sources": found.names(k) if found is not None else ["asked"],
            "heads": dict(zip(PREDICTED, heads[k], strict=True)),
            "value": values[k],
            "removed_by": rule if rule is not None or k in slate else "rank",
        }
        for k, rule in enumerate(out.rules)
    ]


def load_stack(log: Path, model_folder: Path, until_day: int | None = None) -> ContentFirst:
    """Loads a trained model and lives through the log up to the day (the model's own when none is given)."""
    model, flags = load_model(model_folder), read_flags(model_folder / "flags.json")
    trained_until = model.about.get("until_day")
    until = until_day if until_day is not None else (int(str(trained_until)) if trained_until is not None else None)
    items, users = load_items(log), load_users(log)
    memory, before = Memory(items, users.row_of), folder.before_log(log)
    if before is not None:
        memory.load_before(before)
    live_through(memory, items, folder.shown_before_day(log, until))
    memory.close_profiles()
    return ContentFirst(items, users, memory, model, flags)
