"""The interest-first stack's view of a viewer and of candidates as of now, and the memory behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, StoreError
from mainstem.base.heads import SURFACES
from mainstem.base.request import Floats, Ids, Request, Rows
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.held import HeldReading
from mainstem.features.interest_first import HALF_LIFE_MS, INTEREST_FIRST, PROGRAM, RUNS, SIGNALS, WINDOWS_DAYS
from mainstem.features.interest_first_artefacts import Artefacts
from mainstem.features.interest_first_ledger import Account, Ledger
from mainstem.features.interest_first_plan import Plan
from mainstem.features.interest_first_posts import INTEREST, KINDS, Posts
from mainstem.features.interest_first_snapshot import packed, read_snapshot, unpacked, write_snapshot
from mainstem.features.interest_first_tables import interest_first_tables, landmark_ms
from mainstem.features.kernel.match import distinct
from mainstem.features.language.plan import Plan as FeaturePlan
from mainstem.features.live import LiveState, state_fingerprint
from mainstem.features.mirror import Mirror
from mainstem.features.steps import Arrays

STREAM: Final = "feedback"
NOBODY: Final = -1
"""Whose history is read when a lookup failed: there is none."""
LONGEST_HALF_LIVES: Final = 8
"""So many half lives after the landmark events are taken in; until then sums have room for 1.7 million showings a day."""

_CHUNK: Final = 65_536
_WINDOWED: Final = tuple(f"{days}d" for days in WINDOWS_DAYS)
_OF_POST: Final = ("age", "length", "is_ad")
_OF_TOPIC: Final = "interest_share"
_OF_KIND: Final = {
    kind: tuple(name for name in SIGNALS if name.endswith(f"_{kind}") and name.split("_")[0] in ("crowd", "own"))
    for kind in KINDS
}
_OF_VIEWER: Final = (*_OF_KIND["all"], *_OF_KIND["place"], *(f"depth_last_{run}" for run in RUNS))
"""Signals that are the same for every candidate."""
_LISTS: Final = (
    *(f"kept_{kind}" for kind in KINDS),
    *(f"kept_{what}_{window}" for what in ("in", "tenths") for window in _WINDOWED),
    *("kept_depth", "kept_joined", "kept_shown_ms", "kept_touched_ms"),
)
_USUAL: Final = ("past_places", "usual_touched", "usual_viewed")
_SHARES: Final = "topic_share"
_STILL: Final = ("surface", "cohort", "topic", "everyone")


@dataclass(frozen=True, slots=True)
class Past:
    """What one user was served lately, oldest first. Shapes: [k]; ``kept`` are slots by kind."""

    kept: Mapping[int, Floats]
    time_ms: Ids
    depth: Floats
    joined: NDArray[np.bool_]

    def slots(self, kind: int, rows: NDArray[np.bool_] | slice = slice(None)) -> Rows:
        """Slots of one kind of some of the posts, oldest first."""
        return self.kept[kind][rows].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, as every part of the stack reads it.

    Attributes:
        past: None for somebody who was never shown anything, and when the lookup failed.
        shares: P(interest | viewer); the last is the interest of unlisted posts. Shapes: [interests + 1].
        account: What control remembers; it has no lookup that could fail.
        cohort: The row of the means that stand in for what is missing.
        held: What the candidates' features need not read again.
    """

    past: Past | None
    shares: Floats
    account: Account
    plan: Plan
    cohort: int
    held: Arrays = field(default_factory=dict)


class InterestFirstReader:
    """Feature values as declared; NaN where a thing is not known, which the ranker fills with the cohort's mean.

    Args:
        posts: Slots of posts.
        artefacts: Priors, cohorts and plans.
        cohort_of: Cohort row of each user row, with 0 in a last row for users the catalog does not hold.
        log: What happened before serving begins, each user's oldest first.
        until: The first day (yyyymmdd) the log does not hold.
        surfaces: The names whose position is a surface's code in feedback.
    """

    names: tuple[str, ...] = SIGNALS

    def __init__(
        self,
        posts: Posts,
        artefacts: Artefacts,
        cohort_of: NDArray[np.int64],
        log: FeedbackBatch,
        until: int,
        surfaces: tuple[str, ...] = SURFACES,
    ) -> None:
        self._posts, self._artefacts, self._cohort_of = posts, artefacts, cohort_of
        self._codes = {name: code for code, name in enumerate(dict.fromkeys((*surfaces, *artefacts.plans)))}
        self._landmark_ms = landmark_ms(until)
        tables = interest_first_tables(posts, artefacts, cohort_of, self._codes, until)
        self.state = LiveState(FeaturePlan(INTEREST_FIRST), tables)
        self._viewer = HeldReading(self.state, (*_LISTS, *_USUAL, _OF_TOPIC, _SHARES), _STILL)
        self._same = HeldReading(self.state, _OF_VIEWER)
        self._shares, self._post = HeldReading(self.state, (_SHARES,), _STILL), HeldReading(self.state, _OF_POST)
        self._kinds = [(at, HeldReading(self.state, _OF_KIND[KINDS[at]])) for at in range(INTEREST, len(KINDS))]
        self._columns = {kind: [SIGNALS.index(name) for name in names] for kind, names in _OF_KIND.items()}
        self._of_viewer = [SIGNALS.index(name) for name in _OF_VIEWER]
        self._item_ids = np.append(posts.catalog.items.ids, np.int64(-1))
        self._topics = np.arange(artefacts.interests + 1)[None, :]
        self._ledger = Ledger(posts)
        self._latest: tuple[Request | None, Floats] = (None, np.empty(0))
        for start in range(0, len(log), _CHUNK):
            self._take_in(log.take(slice(start, start + _CHUNK)), logged=True)
        self._mirrors = self._mirrored()

    def user(self, request: Request) -> Viewer:
        """The viewer's side. A failed lookup (``features``) leaves the cohort, which is static, and the account."""
        held = self._viewer.values(self._given(request), self._topics.shape[1])
        places, shares = int(held["past_places"][0]), held.pop(_SHARES)[0]
        self._latest = (request, shares)
        return Viewer(
            past=_past(held, places) if places else None,
            shares=shares,
            account=self._ledger.of(request.user_id),
            plan=self._artefacts.plans[request.surface],
            cohort=int(held["cohort"][0]),
            held=held,
        )

    def items(self, request: Request, user: Viewer, rows: Rows) -> Floats:
        """Features of each candidate, computed once for each different key they share. Shapes: [n, f]."""
        at, held = np.asarray(rows, np.int64), user.held
        out = np.empty((len(at), len(SIGNALS)))
        if not len(at):
            return out
        given = {**held, "item_id": self._item_ids[at][None, :]}
        out[:, : len(_OF_POST)] = self._post.matrix(given, len(at), {"posts/item_id": at[None, :]})
        slots = self._posts.slots[at]
        out[:, SIGNALS.index(_OF_TOPIC)] = held[_OF_TOPIC][0, slots[:, INTEREST]]
        out[:, self._of_viewer] = self._same.matrix(held, 1)
        for kind, reading in self._kinds:
            different, places = distinct(slots[:, kind])
            crowd = self._mirrors[kind].read(different)
            given = {name: held[name] for name in reading.needs if name in held}
            given |= crowd | {f"{KINDS[kind]}_slot": different[None, :]}
            out[:, self._columns[KINDS[kind]]] = reading.matrix(given, len(different))[places]
        return out

    def apply(self, feedback: FeedbackBatch) -> None:
        """Takes in outcomes, each user's oldest first. That a record comes once is seen to before it comes here.

        Raises:
            FeatureError: Training is too long ago for its landmark (``feature-093``); nothing was taken in.
        """
        if not len(feedback):
            return
        newest = int(feedback.time_ms.max())
        if newest > self._landmark_ms + LONGEST_HALF_LIVES * HALF_LIFE_MS:
            days = (newest - self._landmark_ms) // 86_400_000
            raise FeatureError(
                f"an event is {days} days after training's last day, expected at most "
                f"{LONGEST_HALF_LIVES * HALF_LIFE_MS // 86_400_000}: fading sums are kept in steps of that day",
                code="feature-093",
                hint="`mainstem train` again; the next start then replays the log under the new day",
            )
        self._take_in(feedback, logged=False)
        touched = self._posts.slots[self._posts.catalog.item_rows(feedback.item_id)]
        for kind, mirror in self._mirrors.items():
            mirror.refresh(np.unique(touched[:, kind]))

    def served(self, request: Request, rows: Rows) -> None:
        """Books what was shown, and what the viewer's first interests are owed now."""
        plan = self._artefacts.plans[request.surface]
        asked, shares = self._latest
        if asked is not request:
            shares = self._shares.values(self._given(request), self._topics.shape[1])[_SHARES][0]
        floors = plan.slate.floors(shares, request.count)
        self._ledger.book(request.user_id, rows, floors, request.now_ms, plan)

    def save(self, path: Path) -> None:
        """Writes the memory for a restart."""
        arrays = self.state.arrays() | packed("accounts", self._ledger.accounts)
        write_snapshot(path, self._posts.catalog.items.ids, arrays)

    def load(self, path: Path) -> None:
        """Takes the memory from a file that ``save`` wrote.

        Raises:
            StoreError: It belongs to another catalog or other definitions (``store-040``).
        """
        arrays = read_snapshot(path, self._posts.catalog.items.ids)
        head = json.loads(arrays["head"].tobytes()) if "head" in arrays else {}
        if head.get("features") != state_fingerprint(self.state.plan):
            raise StoreError(
                f"the state in {path.name} is of other definitions than these",
                code="store-040",
                hint="delete the file; the next start replays the log from its beginning",
            )
        self.state.restore(arrays, head)
        self._ledger.accounts = unpacked("accounts", Account, arrays)
        self._mirrors = self._mirrored()

    def _given(self, request: Request) -> Arrays:
        """The request's context, and every interest in turn."""
        history = NOBODY if "features" in request.failures else request.user_id
        numbers = {
            "user_id": request.user_id,
            "history_id": history,
            "now_ms": request.now_ms,
            "surface": self._codes.get(request.surface, -1),
            "scenario": request.scenario,
            "cohort": self._cohort(request.user_id),
            "everyone": PROGRAM,
        }
        given: Arrays = {name: np.array([number], np.int64) for name, number in numbers.items()}
        return given | {"topic": self._topics}

    def _take_in(self, feedback: FeedbackBatch, logged: bool) -> None:
        self.state.apply(STREAM, served_events(feedback, self.state.applied + 1, logged))

    def _mirrored(self) -> dict[int, Mirror]:
        """What everybody did by slot of each kind of key: a request picks what it would search for."""
        sizes = self._posts.sizes
        return {
            kind: Mirror(self.state, reading.reading, f"{KINDS[kind]}_slot", int(sizes[kind]))
            for kind, reading in self._kinds
        }

    def _cohort(self, user_id: int) -> int:
        return int(self._cohort_of[self._posts.catalog.user_rows(np.array([user_id], np.int64))[0]])


def served_events(feedback: FeedbackBatch, first_offset: int, logged: bool) -> Events:
    """Feedback as events of the source of served posts.

    Args:
        feedback: In log order.
        first_offset: Where the first of them stands in the log.
        logged: Whether training read them.
    """
    events = Events.from_feedback(feedback, first_offset)
    return Events(events.offset, {**events.columns, "logged": np.full(len(feedback), int(logged), np.int64)})


def _past(held: Arrays, places: int) -> Past:
    """The kept posts, oldest first."""

    def oldest_first(name: str) -> Floats:
        return held[f"kept_{name}"][0, :places][::-1]

    return Past(
        kept={at: oldest_first(kind) for at, kind in enumerate(KINDS)},
        time_ms=oldest_first("shown_ms").astype(np.int64),
        depth=oldest_first("depth"),
        joined=oldest_first("joined") > 0,
    )
