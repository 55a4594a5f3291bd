"""Which combinations of old and new layers are served? Every one of them, or a half that still tells single layers apart.

In a fraction some effects are one number: those of two pairs, say. A design knows which, and one in which a layer's own effect
would be mixed with another layer's, or with a pair's, is refused before anybody is served by it.

Source: fractions of factorial designs and their resolution (Box, Hunter and Hunter, Statistics for Experimenters, 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.base.errors import LaunchError

Pair = tuple[str, str]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerDesign:
    """Combinations of layers, each an arm.

    Args:
        layers: Their names.
        arms: For each arm and layer, whether it is the new stack's.

    Raises:
        LaunchError: No arm is the old stack whole, an arm stands twice, or a layer's own effect would be mixed with another's or
            with a pair's (``launch-140``).
    """

    layers: tuple[str, ...]
    arms: tuple[tuple[bool, ...], ...]
    mixed: tuple[tuple[Pair, ...], ...] = field(init=False)
    """Pairs of layers that are one number, the sum of theirs; a pair alone when it is told apart."""
    matrix: Floats = field(init=False, repr=False, compare=False)
    """What stands for the mean, each layer and each of ``mixed`` in each arm. Shapes: ``[arms, 1 + layers + mixed]``."""

    def __post_init__(self) -> None:
        arms = np.array(self.arms, bool)
        good = len(self.layers) > 0 and arms.shape == (len(self.arms), len(self.layers))
        if not good or len(set(self.arms)) < len(self.arms) or arms.any(axis=1).all():
            raise _cannot(
                f"{len(self.arms)} arms of {len(self.layers)} layers", "different arms, one of them with no new layer"
            )
        sides = np.where(arms, 0.5, -0.5)
        mixed = _mixed(self.layers, sides)
        columns = [_together(sides, self._places(one[0])) for one in mixed]
        matrix = np.column_stack([np.ones(len(arms)), sides, *columns])
        object.__setattr__(self, "mixed", mixed)
        object.__setattr__(self, "matrix", matrix)
        self._check_apart()

    @classmethod
    def full(cls, layers: Sequence[str]) -> LayerDesign:
        """Every combination: nothing is mixed with anything."""
        return cls(tuple(layers), tuple(product((False, True), repeat=len(layers))))

    @classmethod
    def half(cls, layers: Sequence[str]) -> LayerDesign:
        """The combinations with an even number of new layers, half of all; the old stack is one of them.

        Of four layers, 8 arms, the new stack among them (I = ABCD): a layer's effect is mixed with that of the three others
        together and with nothing else, and pairs are mixed two by two.

        Raises:
            LaunchError: There are fewer than four layers, so that a layer would be mixed with a pair (``launch-140``).
        """
        every = product((False, True), repeat=len(layers))
        return cls(tuple(layers), tuple(one for one in every if sum(one) % 2 == 0))

    @property
    def whole(self) -> bool:
        """Whether every combination is served."""
        return len(self.arms) == 1 << len(self.layers)

    @property
    def not_told_apart(self) -> tuple[str, ...]:
        """In words, which effects are one number: the pairs."""
        return tuple(" = ".join(" and ".join(pair) for pair in one) for one in self.mixed if len(one) > 1)

    def arm_of(self, new: ArrayLike) -> NDArray[np.int64]:
        """The arm of each unit, by which layers were new; -1 where the design has no such arm.

        Shapes: new ``[units, layers]``, answer ``[units]``.
        """
        weights = 1 << np.arange(len(self.layers))
        place = np.full(1 << len(self.layers), -1, np.int64)
        place[np.array(self.arms, bool) @ weights] = np.arange(len(self.arms))
        return place[np.asarray(new, bool) @ weights]

    def _places(self, pair: Pair) -> tuple[int, int]:
        return self.layers.index(pair[0]), self.layers.index(pair[1])

    def _check_apart(self) -> None:
        rank = int(np.linalg.matrix_rank(self.matrix))
        if rank == self.matrix.shape[1]:
            return
        told = range(1, len(self.layers) + 1)
        lost = [at for at in told if np.linalg.matrix_rank(np.delete(self.matrix, at, axis=1)) == rank]
        names = ", ".join(self.layers[at - 1] for at in lost) or "pairs"
        raise _cannot(
            f"{len(self.arms)} arms of {len(self.layers)} layers, in which {names} cannot be told from other layers or from pairs",
            "arms in which each layer is clear of the others and of every pair",
        )


def _mixed(layers: Sequence[str], sides: Floats) -> tuple[tuple[Pair, ...], ...]:
    """Pairs whose columns are the same; no two are opposite, because all stand alike in the arm of the old stack."""
    groups: dict[bytes, list[Pair]] = {}
    for a, b in combinations(range(len(layers)), 2):
        groups.setdefault(_together(sides, (a, b)).tobytes(), []).append((layers[a], layers[b]))
    return tuple(tuple(pairs) for pairs in groups.values())


def _together(sides: Floats, places: tuple[int, int]) -> Floats:
    """Half where two layers are alike, minus half where they are not."""
    return 2 * sides[:, places[0]] * sides[:, places[1]]


def _cannot(found: str, expected: str) -> LaunchError:
    return LaunchError(
        f"found {found}, expected {expected}",
        code="launch-140",
        hint="serve every combination, or a half of those of four layers or more",
    )
