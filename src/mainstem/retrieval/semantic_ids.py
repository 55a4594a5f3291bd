"""An item's name made of its meaning: a few codes, coarse to fine, that near items share from the front."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError

Vectors = NDArray[np.float32]
Codes = NDArray[np.int32]

LARGEST_LEVEL = 256
SMALLEST_CATALOG = 4
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class SemanticIds:
    """The codes of a catalog's items and the centres that gave them.

    Attributes:
        codes: Of each item, coarse to fine; the last digit tells apart items whose other codes are all the same.
        centres: Of each quantised level.
        trained: How many of the items (the first ones) were there when the centres were learned; later ones are new.
        digits: How many last digits there were then.

    Shapes: ``codes[items, levels + 1]``, ``centres``: ``levels`` arrays [size, d].
    """

    codes: Codes
    centres: tuple[Vectors, ...]
    trained: int
    digits: int

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def levels(self) -> int:
        """Quantised levels, without the digit."""
        return len(self.centres)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each level has, the digit's included."""
        return (*(len(level) for level in self.centres), self.digits)

    @property
    def sha256(self) -> str:
        """Of centres and codes: which ids a model was trained with."""
        digest = hashlib.sha256()
        for part in (self.codes[: self.trained], *self.centres):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def prefix(self, depth: int) -> NDArray[np.int64]:
        """Which cluster each item is in when only the first ``depth`` codes count: one number an item, 0 upward and dense."""
        _, cluster = np.unique(self.codes[:, :depth], axis=0, return_inverse=True)
        return cluster.reshape(-1).astype(np.int64)

    def with_items(self, vectors: Vectors) -> SemanticIds:
        """The same ids with new items after the old: no centre moves and no old item's code changes.

        Args:
            vectors: Of the new items, made like those of the old (``ContentMap.vectors`` makes them from content alone).
        """
        if not len(vectors):
            return self
        if vectors.shape[1] != self.centres[0].shape[1]:
            raise _foreign(
                f"vectors of {vectors.shape[1]} numbers", f"the {self.centres[0].shape[1]} of the learned centres"
            )
        codes = np.concatenate([self.codes[:, : self.levels], quantise(vectors, self.centres)])
        return replace(self, codes=np.column_stack([codes, _digits(codes)]).astype(np.int32))

    def check(self, items: int, where: str) -> None:
        """Refuses when these are the ids of another catalog.

        Raises:
            RetrievalError: ``retrieval-051`` when the number of items differs.
        """
        if len(self) != items:
            raise _foreign(f"semantic ids of {len(self)} items", f"the {items} items of {where}")

    def save(self, path: Path) -> None:
        """One file, complete or absent: it is written beside and renamed."""
        scratch = path.with_name(path.name + ".part")
        levels = {f"centres_{level}": centres for level, centres in enumerate(self.centres)}
        with scratch.open("wb") as file:
            np.savez(
                file,
                format=np.int64(_FORMAT),
                codes=self.codes,
                trained=np.int64(self.trained),
                digits=np.int64(self.digits),
                sha256=np.array(self.sha256),
                allow_pickle=False,
                **levels,
            )
        scratch.replace(path)

    @staticmethod
    def load(path: Path) -> SemanticIds:
        """The ids as saved.

        Raises:
            RetrievalError: ``retrieval-053`` when the file is missing, torn, changed or of another format.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                if int(file["format"]) != _FORMAT:
                    raise ValueError(f"format {int(file['format'])}, not {_FORMAT}")
                levels = sum(name.startswith("centres_") for name in file.files)
                ids = SemanticIds(
                    codes=file["codes"],
                    centres=tuple(file[f"centres_{level}"] for level in range(levels)),
                    trained=int(file["trained"]),
                    digits=int(file["digits"]),
                )
                if ids.sha256 != str(file["sha256"]):
                    raise ValueError("the content does not match its hash")
                return ids
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise RetrievalError(
                f"found no readable semantic ids in {path} ({error}), expected a file that SemanticIds.save wrote",
                code="retrieval-053",
                hint="mainstem train",
            ) from error


def learn_ids(
    vectors: Vectors, levels: int = 3, size: int | None = None, seed: int = 0, rounds: int = 15, room: float = 2.0
) -> SemanticIds:
    """Codes by residual quantisation: each level clusters what the levels before left unexplained.

    Args:
        vectors: [items, d].
        levels: Quantised levels; one digit follows.
        size: Codes a level; None takes it from the size of the catalog (``level_size``).
        seed: Chooses the first centres.
        rounds: Of assignment and averaging; fixed, so that the answer does not depend on a tolerance.
        room: While centres are learned, no code may hold more than so many times its fair share of items: a code that holds
            half the catalog says nothing. Items are then given the nearest centre, so that a code depends on the vector alone.

    Raises:
        RetrievalError: ``retrieval-050`` when there are fewer distinct vectors than codes a level.

    Source: residual k-means as in OneRec (Deng et al. 2025), after TIGER's residual codes (Rajput et al. 2023).
    """
    distinct = len(np.unique(vectors, axis=0)) if len(vectors) else 0
    size = level_size(distinct) if size is None else size
    if distinct < max(size, SMALLEST_CATALOG):
        raise RetrievalError(
            f"found {distinct} distinct item vectors, expected at least {max(size, SMALLEST_CATALOG)} to learn codes of "
            f"{size} values",
            code="retrieval-050",
            hint="ask for a smaller size, or retrieve such a catalog whole",
        )
    random = np.random.default_rng(seed)
    left = vectors.astype(np.float32)
    centres: list[Vectors] = []
    for _ in range(levels):
        centres.append(balanced_centres(left, size, random, rounds, room))
        left = left - centres[-1][_nearest(left, centres[-1])]
    codes = quantise(vectors, tuple(centres))
    digit = _digits(codes)
    return SemanticIds(
        codes=np.column_stack([codes, digit]).astype(np.int32),
        centres=tuple(centres),
        trained=len(vectors),
        digits=int(digit.max()) + 1,
    )


def level_size(items: int) -> int:
    """How many codes a level a catalog of so many items deserves: the power of two above 1.5 √items, 256 at most."""
    return min(LARGEST_LEVEL, 1 << max(1, int(np.ceil(np.log2(1.5 * np.sqrt(max(items, 1)))))), max(items, 1))


def quantise(vectors: Vectors, centres: tuple[Vectors, ...]) -> Codes:
    """The nearest centre at each level, of what the levels before left. Shapes: [items, levels]."""
    left = vectors.astype(np.float32)
    codes = np.empty((len(vectors), len(centres)), np.int32)
    for level, of_level in enumerate(centres):
        codes[:, level] = _nearest(left, of_level)
        left = left - of_level[codes[:, level]]
    return codes


def evenness(codes: NDArray[np.integer], size: int) -> float:
    """How evenly items are spread over a level's codes: 1 when evenly, 0 when one code holds all (entropy over its most)."""
    share = np.bincount(codes, minlength=size) / max(len(codes), 1)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() / np.log(size)) if size > 1 else 1.0


def balanced_centres(vectors: Vectors, size: int, random: np.random.Generator, rounds: int, room: float) -> Vectors:
    """k-means centres where no centre may hold more than ``room`` times its fair share. Shapes: [size, d]."""
    centres = vectors[random.choice(len(vectors), size, replace=False)]
    most = int(np.ceil(room * len(vectors) / size))
    for _ in range(rounds):
        of = _within_room(_distances(vectors, centres), most)
        count = np.bincount(of, minlength=size)
        order = np.argsort(of, kind="stable")
        held = np.flatnonzero(count)
        starts = (np.cumsum(count) - count)[held]
        centres[held] = np.add.reduceat(vectors[order], starts, axis=0) / count[held, None]
        empty = np.flatnonzero(count == 0)
        # An empty centre moves to where items are worst explained.
        gone = np.square(vectors - centres[of]).sum(axis=1)
        centres[empty] = vectors[np.argsort(-gone, kind="stable")[: len(empty)]]
    return centres


def _within_room(distance: Vectors, most: int) -> NDArray[np.int64]:
    """The nearest centre that still has room; the nearest items of a full centre keep their place."""
    chosen = np.full(len(distance), -1, np.int64)
    room = np.full(distance.shape[1], most)
    left = np.arange(len(distance))
    while len(left):
        wanted = distance[left].argmin(axis=1)
        order = np.lexsort((distance[left, wanted], wanted))
        ordered = wanted[order]
        rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
        stays = order[rank < room[ordered]]
        chosen[left[stays]] = wanted[stays]
        room -= np.bincount(wanted[stays], minlength=len(room))
        left = left[np.setdiff1d(np.arange(len(left)), stays, assume_unique=True)]
        distance[:, room == 0] = np.inf
    return chosen


def _distances(vectors: Vectors, centres: Vectors) -> Vectors:
    return np.square(centres).sum(axis=1) - 2 * (vectors @ centres.T)


def _nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    return _distances(vectors, centres).argmin(axis=1)


def _digits(codes: Codes) -> NDArray[np.int64]:
    """How many earlier items have the same codes."""
    _, same = np.unique(codes, axis=0, return_inverse=True)
    same = same.reshape(-1)
    order = np.argsort(same, kind="stable")
    ordered = same[order]
    digit = np.empty(len(codes), np.int64)
    digit[order] = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    return digit


def _foreign(found: str, expected: str) -> RetrievalError:
    return RetrievalError(f"found {found}, expected {expected}", code="retrieval-051", hint="mainstem train")
