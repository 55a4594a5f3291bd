"""What training leaves behind, and P(interest), P(item | interest) from it."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from .folder import FolderError


@dataclass(frozen=True, slots=True)
class Model:
    """Every learned array. Saved as one file; the same training gives the same bytes."""

    item_ids: np.ndarray
    interest: np.ndarray
    fine: np.ndarray
    coarse_centres: np.ndarray
    fine_centres: np.ndarray
    tags: np.ndarray
    tag_vectors: np.ndarray
    list_order: np.ndarray
    entity_ids: np.ndarray
    near_entities: np.ndarray
    """[entities, 10] rows of `entity_ids`; -1 none."""
    surfaces: np.ndarray
    prior: np.ndarray
    """[surfaces + 1, interests + 1] P(interest) on a surface; the last row is for surfaces it never saw."""
    cohorts: np.ndarray
    cohort_interest: np.ndarray
    """[cohorts, interests + 1] mean P(interest) of a cohort's histograms."""
    cohort_signals: np.ndarray
    """[cohorts, signals] means that stand in for what is missing."""
    centre: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    out: np.ndarray
    out_bias: np.ndarray

    def chance_of_item(self, signals: np.ndarray, cohort: int) -> np.ndarray:
        """P(item | interest): the chance that the item wins against the typical post of its interest.

        An ordered score, trained listwise and never calibrated.
        """
        filled = np.where(np.isnan(signals), self.cohort_signals[cohort], signals)
        scaled = np.clip((filled - self.centre) / self.scale, -4.0, 4.0)
        merit = np.tanh(scaled @ self.hidden + self.hidden_bias) @ self.out + self.out_bias[0]
        return 1.0 / (1.0 + np.exp(-merit))

    def save(self, path: Path) -> None:
        """Writes the model so that a reader never sees half of it."""
        buffer = io.BytesIO()
        np.savez(buffer, **{field.name: getattr(self, field.name) for field in fields(self)})
        half = path.with_suffix(".half")
        half.write_bytes(buffer.getvalue())
        os.replace(half, path)


def load_model(path: Path) -> Model:
    """The model that training left at a path."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Model(**{field.name: file[field.name] for field in fields(Model)})
    except (OSError, ValueError, KeyError) as error:
        raise FolderError(f"no interest-first model at {path}: {error}") from error


def interest_shares(histogram: np.ndarray | None, prior: np.ndarray, strength: float, cohort: np.ndarray) -> np.ndarray:
    """P(interest | user): the decayed histogram, smoothed by what the surface's users like.

    Args:
        histogram: [interests + 1] decayed touches; None when there is no memory or it cannot be read.
        prior: P(interest) on this surface.
        strength: How many touches the prior counts for.
        cohort: P(interest) of the user's cohort: it stands in for a missing histogram, as one touch.
    """
    own = cohort if histogram is None or not histogram.any() else histogram
    return (own + strength * prior) / (own.sum() + strength)
