"""Two-level cluster codes: which interest a post belongs to, learned from who touched what and from tags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .folder import Items

WIDTH = 32
COARSE = 64
FINE = 16
TAG_TOUCHES = 12.0  # so many touches weigh as much as the tags
ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Codebook:
    """What turns a post into (interest, fine code); kept, so that posts of tomorrow get a code too."""

    coarse: np.ndarray
    fine: np.ndarray
    tags: np.ndarray
    tag_vectors: np.ndarray

    def codes(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest interest of each vector, and the nearest fine code of what is left over."""
        interest = _nearest(vectors, self.coarse)
        rest = _nearest(vectors - self.coarse[interest], self.fine)
        return interest, interest * len(self.fine) + rest

    def from_tags(self, items: Items) -> np.ndarray:
        """A vector for every post out of its tags alone; nothing known is the origin."""
        at = np.minimum(np.searchsorted(self.tags, items.tag), max(len(self.tags) - 1, 0))
        known = self.tags[at] == items.tag if len(self.tags) else np.zeros(len(items.tag), dtype=bool)
        return _unit(_pool(items.tag_item[known], self.tag_vectors[at[known]], len(items.item_id)))


def _pool(rows: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    """Sum of vectors by row."""
    out = np.empty((count, vectors.shape[1]))
    for column in range(vectors.shape[1]):
        out[:, column] = np.bincount(rows, vectors[:, column], minlength=count)
    return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Rounded, so that a tie is a tie on every machine; the lowest code wins it."""
    far = (centres**2).sum(axis=1)[None, :] - 2.0 * vectors @ centres.T
    return np.argmin(np.round(far, 9), axis=1)


def _k_means(vectors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Seeded k-means; a centre that lost its points moves to the point that is worst off."""
    centres = vectors[rng.choice(len(vectors), size=count, replace=False)]
    for _ in range(ROUNDS):
        at = _nearest(vectors, centres)
        size = np.bincount(at, minlength=count)
        worst = np.argsort(-((vectors - centres[at]) ** 2).sum(axis=1), kind="stable")
        centres = _pool(at, vectors, count) / np.maximum(size, 1)[:, None]
        centres[size == 0] = vectors[worst[: int((size == 0).sum())]]
    return centres


def co_touch_vectors(
    user: np.ndarray, item: np.ndarray, counts: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Singular vectors of the user x item touch matrix (both sides degree-normalised), by subspace iteration.

    Source: Halko, Martinsson, Tropp 2011, algorithm 4.4.
    """
    users, items = counts
    weight = 1.0 / np.sqrt(np.bincount(user, minlength=users)[user] * np.bincount(item, minlength=items)[item])
    basis = rng.standard_normal((items, WIDTH + 8))
    for _ in range(4):
        seen_by = _pool(user, basis[item] * weight[:, None], users)
        basis, _ = np.linalg.qr(_pool(item, seen_by[user] * weight[:, None], items))
    seen_by = _pool(user, basis[item] * weight[:, None], users)
    _, strength, turn = np.linalg.svd(seen_by, full_matrices=False)
    found = (basis @ turn.T)[:, 1 : WIDTH + 1] * strength[1 : WIDTH + 1]  # the first is popularity
    return np.pad(found, ((0, 0), (0, WIDTH - found.shape[1])))


def learn_codes(items: Items, user: np.ndarray, item: np.ndarray, seed: int) -> tuple[Codebook, np.ndarray]:
    """The codebook and the vector of every post, from touches (user row, item row) and from tags."""
    rng = np.random.default_rng(seed)
    count = len(items.item_id)
    touched = _unit(co_touch_vectors(user, item, (int(user.max(initial=-1)) + 1, count), rng))
    touches = np.bincount(item, minlength=count)
    share = (touches / (touches + TAG_TOUCHES))[:, None]
    tags, at = np.unique(items.tag, return_inverse=True)
    meaning = _pool(at, (touched * share)[items.tag_item], len(tags))
    tag_vectors = _unit(meaning) + 0.5 * _unit(rng.standard_normal((len(tags), touched.shape[1])))
    book = Codebook(np.zeros((1, 1)), np.zeros((1, 1)), tags, tag_vectors)
    vectors = share * touched + (1.0 - share) * book.from_tags(items)
    coarse = _k_means(vectors, max(1, min(COARSE, count // 4)), rng)
    rest = vectors - coarse[_nearest(vectors, coarse)]
    fine = _k_means(rest, max(1, min(FINE, count // 4)), rng)
    return Codebook(coarse, fine, tags, tag_vectors), vectors


def nearest_entities(entity: np.ndarray, vectors: np.ndarray, touches: np.ndarray, keep: int = 10) -> np.ndarray:
    """For every entity slot the slots of the entities touched by the same people most; -1 where there are fewer.

    Args:
        entity: Entity slot of each post, dense from 0.
        vectors: Vector of each post.
        touches: How often each post was touched.
    """
    count = int(entity.max(initial=-1)) + 1
    place = _unit(_pool(entity, vectors * (touches + 0.5)[:, None], count)).astype(np.float32)
    near = np.full((count, keep), -1, dtype=np.int32)
    for start in range(0, count, 512):
        alike = place[start : start + 512] @ place.T
        alike[np.arange(len(alike)), np.arange(start, start + len(alike))] = -np.inf
        alike = np.round(alike, 4)
        few = min(keep, count - 1)
        best = np.argsort(-alike, axis=1, kind="stable")[:, :few]
        near[start : start + 512, :few] = best
    return near
