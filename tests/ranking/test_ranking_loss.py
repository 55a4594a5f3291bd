"""What is minimised: unknown outcomes cost nothing, lists are compared inside themselves only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mainstem.base.heads import HEADS
from mainstem.ranking.loss import Objective, Outcomes, within_lists

LONG_VIEW = HEADS.index("long_view")


def _outcomes(long_view: list[int], lists: list[int] | None = None, columns: int = 1) -> Outcomes:
    heads = torch.full((len(long_view), len(HEADS)), -1.0)
    heads[:, LONG_VIEW] = torch.tensor(long_view, dtype=torch.float32)
    watch = torch.full((len(long_view), columns), float("nan"))
    return Outcomes(heads, watch, torch.ones(len(long_view)), None if lists is None else torch.tensor(lists))


@pytest.mark.parametrize("ordinal", [False, True])
def test_what_is_not_known_moves_nothing(ordinal: bool) -> None:
    answers = torch.randn(4, len(HEADS) + 3, requires_grad=True)
    Objective(ordinal=ordinal)(answers, _outcomes([1, 0, -1, 1], columns=3)).backward()
    moved = answers.grad
    assert moved is not None
    assert (moved[:, LONG_VIEW] != 0).tolist() == [True, True, False, True]
    moved[:, LONG_VIEW] = 0.0
    assert not moved.any()


def test_an_order_is_compared_inside_its_list_only() -> None:
    score = torch.tensor([2.0, 1.0, 0.0, 3.0, -1.0])
    two = _outcomes([1, 0, 0, 1, -1], [0, 0, 0, 1, 1])
    wanted = np.log1p((np.exp(1.0) + np.exp(0.0)) / np.exp(2.0)) / 5
    assert float(within_lists(score, two)) == pytest.approx(wanted, rel=1e-5)
    moved = replace(two, lists=torch.tensor([0, 0, 0, 0, 1]))
    assert float(within_lists(score, moved)) > wanted


def test_adding_the_same_to_a_whole_list_changes_no_order() -> None:
    score, held = torch.randn(6), _outcomes([1, 0, 1, 0, 0, 1], [0, 0, 0, 1, 1, 1])
    shifted = score + torch.tensor([4.0, 4.0, 4.0, -2.0, -2.0, -2.0])
    assert float(within_lists(score, held)) == pytest.approx(float(within_lists(shifted, held)), rel=1e-4)


def test_the_order_counts_only_where_lists_are_given() -> None:
    answers = torch.randn(3, len(HEADS) + 1)
    plain, ordered = Objective(), Objective(within=1.0)
    assert float(plain(answers, _outcomes([1, 0, 1]))) == float(ordered(answers, _outcomes([1, 0, 1])))
    listed = _outcomes([1, 0, 1], [0, 0, 0])
    assert float(ordered(answers, listed)) > float(plain(answers, listed))
