"""A slow correction of served probabilities from what became of them: days shift, weights and maps stand still.

Per head one intercept, and per surface one more on top, in log odds. Each outcome moves them by a damped Newton step on the
log loss; what was learned fades with a half-life, so the correction follows a shift within a day or two and no faster. All
candidates of a request get the same amount, so no order within a head ever changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS

HALF_LIFE_MS: Final = 86_400_000.0
"""After how long an outcome counts half."""

TRUST: Final = 50.0
"""How much information (the sum of p(1 - p)) "nothing has shifted" weighs."""

MOST: Final = 2.0
"""The intercepts of a head and of a surface stay within this many log odds: beyond it something is broken, not adrift."""

_STEP: Final = 0.25


@dataclass(slots=True)
class DriftIntercept:
    """What is added to the log odds of each head on each surface now.

    Args:
        surfaces: How many there are; any other code gets the head's own intercept only.
        half_life_ms: After how long an outcome counts half.
        trust: How much information weighs as much as "nothing has shifted".

    Shapes:
        ``heads[7]`` and ``places[surfaces + 1, 7]`` intercepts; ``known`` and ``known_places`` the information behind them.
    """

    surfaces: int
    half_life_ms: float = HALF_LIFE_MS
    trust: float = TRUST

    def __post_init__(self) -> None:
        """Starts with nothing learned."""
        self.heads = np.zeros(len(HEADS))
        self.places = np.zeros((self.surfaces + 1, len(HEADS)))
        self.known = np.zeros(len(HEADS))
        self.known_places = np.zeros((self.surfaces + 1, len(HEADS)))
        self.until_ms: int | None = None

    heads: NDArray[np.float64] = None  # type: ignore[assignment]
    places: NDArray[np.float64] = None  # type: ignore[assignment]
    known: NDArray[np.float64] = None  # type: ignore[assignment]
    known_places: NDArray[np.float64] = None  # type: ignore[assignment]
    until_ms: int | None = None

    @property
    def learned(self) -> bool:
        """Whether there is anything to correct yet."""
        return bool(self.heads.any() or self.places.any())

    def added(self, surface: int) -> NDArray[np.float32]:
        """What a request on this surface adds to each head's log odds. Shapes: [7]."""
        return (self.heads + self.places[self._place(np.array([surface]))[0]]).astype(np.float32)

    def corrected(self, predictions: NDArray[np.float32], surface: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Predictions with the correction of now; the seconds stay. Shapes: ``[n, 8]`` to ``[n, 8]``."""
        out = predictions.astype(np.float32, copy=True)
        odds = _odds(predictions) + self.heads + self.places[self._place(surface)]
        out[:, : len(HEADS)] = 1.0 / (1.0 + np.exp(-odds))
        return out

    def learn(
        self,
        predictions: NDArray[np.float32],
        outcomes: NDArray[np.int8],
        surface: NDArray[np.integer[Any]],
        now_ms: int,
    ) -> None:
        """Takes in what became of some rows.

        Args:
            predictions: What was predicted *before* this correction; rows that are not finite are left out.
            outcomes: 0, 1, or below 0 where it is not known.
            surface: Where each was shown.
            now_ms: When the outcomes were known.

        Shapes: ``predictions[n, 8]``, ``outcomes[n, 7]``, ``surface[n]``.
        """
        self._fade(now_ms)
        usable = np.isfinite(predictions[:, : len(HEADS)]).all(axis=1)
        odds, place = _odds(predictions[usable]), self._place(surface[usable])
        known = outcomes[usable] >= 0
        p = 1.0 / (1.0 + np.exp(-(odds + self.heads + self.places[place])))
        missed = np.where(known, outcomes[usable] - p, 0.0)
        told = np.where(known, p * (1.0 - p), 0.0)
        self.known += told.sum(axis=0)
        self.heads = _moved(self.heads, missed.sum(axis=0) / (self.known + self.trust))
        # The surfaces take only what the head's own step leaves over.
        left = missed - told * (missed.sum(axis=0) / np.maximum(told.sum(axis=0), 1e-12))
        for at in np.unique(place):
            here = place == at
            self.known_places[at] += told[here].sum(axis=0)
            step = left[here].sum(axis=0) / (self.known_places[at] + self.trust)
            self.places[at] = _moved(self.places[at], step)

    def as_dict(self) -> dict[str, Any]:
        """What has to be kept over a restart."""
        return {
            "heads": self.heads.tolist(),
            "places": self.places.tolist(),
            "known": self.known.tolist(),
            "known_places": self.known_places.tolist(),
            "until_ms": self.until_ms,
        }

    def load(self, held: dict[str, Any]) -> None:
        """Goes on from what ``as_dict`` gave; of another number of surfaces nothing is taken."""
        if np.shape(held["places"]) != self.places.shape:
            return
        for name in ("heads", "places", "known", "known_places"):
            setattr(self, name, np.array(held[name], np.float64))
        self.until_ms = held["until_ms"]

    def _fade(self, now_ms: int) -> None:
        """Old information counts less, and what it taught goes back toward nothing with it."""
        if self.until_ms is not None and now_ms > self.until_ms:
            share = 0.5 ** ((now_ms - self.until_ms) / self.half_life_ms)
            for known, taught in ((self.known, self.heads), (self.known_places, self.places)):
                taught *= (known * share + 1e-9) / (known * share + self.trust * (1.0 - share) + 1e-9)
                known *= share
        self.until_ms = now_ms if self.until_ms is None else max(now_ms, self.until_ms)

    def _place(self, surface: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        return np.where((surface >= 0) & (surface < self.surfaces), surface, self.surfaces).astype(np.int64)


def _moved(intercept: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(intercept + np.clip(step, -_STEP, _STEP), -MOST, MOST)


def _odds(predictions: NDArray[np.float32]) -> NDArray[np.float64]:
    p = np.clip(predictions[:, : len(HEADS)].astype(np.float64), 1e-9, 1.0 - 1e-7)
    return np.log(p / (1.0 - p))
