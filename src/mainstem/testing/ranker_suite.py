"""Does a ranker keep its promises: tests that the author of a ranker runs against it.

Example:
    A file ``test_ours.py`` beside the ranker::

        from mainstem.testing.ranker_suite import Asked, RankerSuite

        class TestOurs(RankerSuite):
            @pytest.fixture
            def ranker(self):
                return OurRanker()

            @pytest.fixture
            def asked(self):
                return Asked(request, viewer, rows, features)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.base.request import Floats, Request, Rows
from mainstem.stacks.stage import Ranker


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as a ranker is asked it. Shapes: ``rows[n]``, ``features[n, f]``; at least 8 candidates that differ."""

    request: Request
    viewer: Any
    rows: Rows
    features: Floats

    def of(self, ranker: Ranker, which: Any = slice(None)) -> NDArray[Any]:
        """The ranker's predictions of some of the candidates."""
        return np.asarray(ranker.predict(self.request, self.viewer, self.rows[which], self.features[which]))


class RankerSuite:
    """One test for each promise of ``Ranker``. Subclass it and override ``ranker`` and ``asked``."""

    tolerance: ClassVar[float] = 1e-5
    """How far a candidate's prediction may be from its prediction in other company; seconds by their share."""

    @pytest.fixture
    def ranker(self) -> Ranker:
        """The ranker."""
        raise NotImplementedError("override ranker")

    @pytest.fixture
    def asked(self) -> Asked:
        """A request it is asked."""
        raise NotImplementedError("override asked")

    def test_every_head_has_a_column(self, ranker: Ranker, asked: Asked) -> None:
        """The columns are the heads the platform knows, in its order; rows are candidates."""
        assert tuple(ranker.heads) == PREDICTIONS
        assert asked.of(ranker).shape == (len(asked.rows), len(PREDICTIONS))

    def test_probabilities_are_probabilities(self, ranker: Ranker, asked: Asked) -> None:
        """Finite, 0 to 1, and seconds not below 0."""
        told = asked.of(ranker)
        assert np.isfinite(told).all()
        assert ((told[:, : len(HEADS)] >= 0) & (told[:, : len(HEADS)] <= 1)).all()
        assert (told[:, -1] >= 0).all()

    def test_candidates_are_told_apart(self, ranker: Ranker, asked: Asked) -> None:
        """At least one head orders something."""
        assert max(len(np.unique(column)) for column in asked.of(ranker).T) > 1

    def test_the_same_question_gets_the_same_answer(self, ranker: Ranker, asked: Asked) -> None:
        """To the last bit."""
        np.testing.assert_array_equal(asked.of(ranker), asked.of(ranker))

    def test_a_candidate_does_not_depend_on_the_others(self, ranker: Ranker, asked: Asked) -> None:
        """Alone, in half of them, and in another order: the same prediction."""
        whole, n = asked.of(ranker), len(asked.rows)
        for which in (slice(0, 1), slice(n - 1, n), slice(0, n // 2), np.arange(n)[::-1]):
            self.close(asked.of(ranker, which), whole[which])

    def test_no_candidates_are_no_predictions(self, ranker: Ranker, asked: Asked) -> None:
        """An empty request has an empty answer."""
        assert asked.of(ranker, slice(0, 0)).shape == (0, len(PREDICTIONS))

    def test_an_item_nobody_knows_is_scored(self, ranker: Ranker, asked: Asked) -> None:
        """Row -1 is an unknown item."""
        rows = np.full(len(asked.rows), -1, np.int64)
        told = np.asarray(ranker.predict(asked.request, asked.viewer, rows, asked.features))
        assert np.isfinite(told).all()

    def test_a_value_that_is_no_number_is_survived(self, ranker: Ranker, asked: Asked) -> None:
        """Neither its own candidate nor the others get a prediction that is not finite; the others keep theirs."""
        features = asked.features.copy()
        features[0, ::2], features[1, ::3] = np.nan, np.inf
        told = np.asarray(ranker.predict(asked.request, asked.viewer, asked.rows, features))
        assert np.isfinite(told).all()
        self.close(told[2:], asked.of(ranker)[2:])

    def test_asking_changes_nothing_it_was_given(self, ranker: Ranker, asked: Asked) -> None:
        """Features and rows are the caller's."""
        before = asked.features.copy(), asked.rows.copy()
        asked.of(ranker)
        np.testing.assert_array_equal(asked.features, before[0])
        np.testing.assert_array_equal(asked.rows, before[1])

    def test_many_threads_get_what_one_gets(self, ranker: Ranker, asked: Asked) -> None:
        """A server asks from several threads at once."""
        wanted, n = asked.of(ranker), len(asked.rows)
        wrong: list[str] = []

        def ask(start: int) -> None:
            try:
                for turn in range(6):
                    which = slice((start + turn) % (n // 2), n)
                    self.close(asked.of(ranker, which), wanted[which])
            except BaseException as error:
                wrong.append(repr(error)[:300])

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not wrong

    def close(self, told: NDArray[Any], wanted: NDArray[Any]) -> None:
        """Whether predictions are the same within ``tolerance``."""
        heads = len(HEADS)
        np.testing.assert_allclose(told[:, :heads], wanted[:, :heads], rtol=0, atol=self.tolerance)
        np.testing.assert_allclose(told[:, heads:], wanted[:, heads:], rtol=self.tolerance, atol=self.tolerance)
