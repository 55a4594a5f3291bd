"""Which settings suit which public set: chosen on the validation targets of models fitted without them, never on test.

Half-lives and ridges come from small grids on validation NDCG@10; the weights are those of ``LinearNextItem.tuned`` (listwise
likelihood of the validation targets, seed 0). A set without a recipe gets the general settings, whose weights are rough:
use ``LinearNextItem.tuned`` where there is a validation target.
"""

from __future__ import annotations

from typing import Final

from mainstem.retrieval.linear_settings import ExpertSettings, Horizon, LinearSettings, PopularitySettings
from mainstem.retrieval.pair_sums import Decay

_MOVIELENS: Final = LinearSettings(
    name="linear",
    horizons=(
        Horizon("next", Decay(1, 0.1), 100.0),
        Horizon("near", Decay(3, 0.5), 200.0),
        Horizon("far", Decay(20, 5), 400.0),
    ),
    experts=(
        ExpertSettings("next", "each", 1, 0.363),
        ExpertSettings("near", "each", 8, 0.038),
        ExpertSettings("near", "sum", 3, 0.557),
        ExpertSettings("far", "sum", 20, 0.686),
        ExpertSettings("far", "sum", 60, 0.610),
    ),
    # Popular films are what every history predicts a little; taking some of it back makes room for what only this one does.
    popularity=PopularitySettings(None, -0.714),
)

RECIPES: Final[dict[str, LinearSettings]] = {
    "ml-1m": _MOVIELENS,
    "ml-100k": _MOVIELENS,
    "ml-latest-small": _MOVIELENS,
    "lastfm": LinearSettings(name="linear").weighted((0.24, 0.08, 0.34, 1.34, 0.16, 0.02, -0.19)),
}


def recipe(data: str) -> LinearSettings:
    """The settings for a set by its name; general ones for any other."""
    return RECIPES.get(data, LinearSettings())
