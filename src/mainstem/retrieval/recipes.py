"""Which settings suit which public set: chosen on the validation targets of models fitted without them, never on test.

Half-lives and ridges come from small grids on validation NDCG@10; the weights are ``blend.learn_weights`` on the same
targets (seed 0). A set without a recipe gets the general one, whose weights are a middle of the others'.
"""

from __future__ import annotations

from typing import Final

from mainstem.retrieval.linear_settings import LinearSettings

RECIPES: Final[dict[str, LinearSettings]] = {
    "beauty": LinearSettings(),
}


def recipe(data: str) -> LinearSettings:
    """The settings for a set by its name; general ones for any other."""
    return RECIPES.get(data, LinearSettings())
