"""The interest-first stack's view of a viewer and of candidates as of now, and the memory behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import SURFACES
from mainstem.base.request import Floats, Request, Rows
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.interest_first_artefacts import Artefacts
from mainstem.features.interest_first_crowd import Crowd
from mainstem.features.interest_first_ledger import Account, Ledger
from mainstem.features.interest_first_own import RUNS, WINDOWS_DAYS, OwnCounts, recent_depth
from mainstem.features.interest_first_past import DAY_MS, Past, Pasts
from mainstem.features.interest_first_plan import Plan
from mainstem.features.interest_first_posts import INTEREST, KINDS, Keys, Posts
from mainstem.features.interest_first_snapshot import packed, read_snapshot, unpacked, write_snapshot
from mainstem.features.interest_first_touch import touches_of

_POST: Final = ("age", "length", "is_ad", "interest_share")
_CROWD: Final = tuple(f"crowd_{what}_{kind}" for what in ("touch", "long_view", "served") for kind in KINDS[1:])
_LIFTS: Final = tuple(f"lift_{days}d" for days in WINDOWS_DAYS)
_OWN: Final = tuple(
    f"own_{what}_{kind}" for kind in KINDS for what in (*_LIFTS, "served", "since_shown", "since_touched")
)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, as every part of the stack reads it.

    Attributes:
        past: None for somebody who was never shown anything, and when the lookup failed.
        shares: P(interest | viewer); the last is the interest of unlisted posts. Shapes: [interests + 1].
        account: What control remembers; it has no lookup that could fail.
        cohort: The row of the means that stand in for what is missing.
        place: The key of (surface, scenario).
    """

    past: Past | None
    shares: Floats
    account: Account
    plan: Plan
    cohort: int
    place: int


class InterestFirstReader:
    """Feature values; NaN where a thing is not known, which the ranker fills with the cohort's mean.

    Args:
        posts: Slots and keys of posts.
        artefacts: Priors, cohorts and plans.
        cohort_of: Cohort row of each user row, with 0 in a last row for users the catalog does not hold.
        log: What happened before serving begins, each user's oldest first.
        surfaces: The names whose position is a surface's code in feedback.
    """

    names: tuple[str, ...] = (*_POST, *_CROWD, *_OWN, *(f"depth_last_{run}" for run in RUNS))

    def __init__(
        self,
        posts: Posts,
        artefacts: Artefacts,
        cohort_of: NDArray[np.int64],
        log: FeedbackBatch,
        surfaces: tuple[str, ...] = SURFACES,
    ) -> None:
        self._posts, self._artefacts, self._cohort_of = posts, artefacts, cohort_of
        known = {name: code for code, name in enumerate(artefacts.surfaces)}
        self._prior_row = known
        self._surface_code = np.array([*(known.get(name, -1) for name in surfaces), -1])
        self._crowd, self._own = Crowd(int(posts.sizes.sum())), OwnCounts(int(posts.sizes.sum()))
        touches, (keys, _) = touches_of(log), self._keys(log)
        self._crowd.start(touches, keys)
        self._pasts = Pasts(posts, touches, keys)
        self._ledger = Ledger(posts)

    def user(self, request: Request) -> Viewer:
        """The viewer's side. A failed lookup (``features``) leaves the cohort, which is static, and the account."""
        plan = self._artefacts.plans[request.surface]
        past = None if "features" in request.failures else self._pasts.of(request.user_id)
        cohort = self._cohort(request.user_id)
        return Viewer(
            past=past,
            shares=self._shares(past, cohort, request, plan),
            account=self._ledger.of(request.user_id),
            plan=plan,
            cohort=cohort,
            place=self._posts.place(request.surface, request.scenario),
        )

    def items(self, request: Request, user: Viewer, rows: Rows) -> Floats:
        """Features of each candidate. Shapes: [n, f]."""
        keys = self._posts.keys(rows, user.place)
        crowd = self._crowd.read(keys, request.now_ms)
        own = np.full((len(rows), len(_OWN) + len(RUNS)), np.nan)
        share = np.log(user.shares[self._posts.slots[rows, INTEREST]])
        if user.past is not None:
            mine = self._own.of(user.past, keys, request.now_ms, crowd[..., 0])
            own[:, : len(_OWN)] = mine.reshape(len(rows), len(_OWN))
            own[:, len(_OWN) :] = recent_depth(user.past)
        everybody = crowd[:, 1:].transpose(0, 2, 1).reshape(len(rows), len(_CROWD))
        return np.concatenate([self._post(rows, request.now_ms), share[:, None], everybody, own], axis=1)

    def apply(self, feedback: FeedbackBatch) -> None:
        """Takes in outcomes, each user's oldest first. That a record comes once is seen to before it comes here."""
        if not len(feedback):
            return
        touches, (keys, listed) = touches_of(feedback), self._keys(feedback)
        self._pasts.add(touches, keys)
        self._crowd.add(touches, keys, listed)

    def served(self, request: Request, rows: Rows) -> None:
        """Books what was shown, and what the viewer's first interests are owed now."""
        viewer = self.user(request)
        floors = viewer.plan.slate.floors(viewer.shares, request.count)
        self._ledger.book(request.user_id, rows, floors, request.now_ms, viewer.plan)

    def save(self, path: Path) -> None:
        """Writes the memory for a restart."""
        arrays = {"crowd/sums": self._crowd.sums, "crowd/as_of_ms": self._crowd.as_of_ms}
        arrays |= packed("pasts", self._pasts.held) | packed("accounts", self._ledger.accounts)
        write_snapshot(path, self._posts.catalog.items.ids, arrays)

    def load(self, path: Path) -> None:
        """Takes the memory from a file that ``save`` wrote.

        Raises:
            StoreError: It belongs to another catalog (``store-040``).
        """
        arrays = read_snapshot(path, self._posts.catalog.items.ids)
        self._crowd.sums, self._crowd.as_of_ms = arrays["crowd/sums"], arrays["crowd/as_of_ms"]
        self._pasts.held = unpacked("pasts", Past, arrays)
        self._ledger.accounts = unpacked("accounts", Account, arrays)

    def _shares(self, past: Past | None, cohort: int, request: Request, plan: Plan) -> Floats:
        """The viewer's own histogram, or the cohort's mean one, smoothed by what the surface's users like."""
        arrays = self._artefacts.arrays
        touched = past is not None and past.histogram.any()
        own = past.strength(request.now_ms) if past is not None and touched else arrays["cohort_interest"][cohort]
        prior = arrays["prior"][self._prior_row.get(request.surface, -1)]
        return (own + plan.prior_strength * prior) / (own.sum() + plan.prior_strength)

    def _cohort(self, user_id: int) -> int:
        return int(self._cohort_of[self._posts.catalog.user_rows(np.array([user_id], np.int64))[0]])

    def _post(self, rows: Rows, now_ms: int) -> Floats:
        """What is known of the post alone. Shapes: [n, 3]."""
        created_ms, length_s = self._posts.catalog.items.created_ms[rows], self._posts.length_s[rows]
        age = np.where(created_ms > 0, np.log1p(np.maximum(now_ms - created_ms, 0) / DAY_MS), np.nan)
        length = np.where(length_s > 0, np.log1p(length_s), np.nan)
        return np.stack([age, length, self._posts.is_ad[rows]], axis=1)

    def _keys(self, feedback: FeedbackBatch) -> tuple[Keys, NDArray[np.bool_]]:
        rows = self._posts.catalog.item_rows(feedback.item_id)
        places = self._posts.places(self._surface_code[feedback.surface], feedback.scenario)
        return self._posts.keys(rows, places), rows >= 0
