"""Which settings suit which public set: chosen on the validation targets of models fitted without them, never on test.

Half-lives and ridges come from small grids on validation NDCG@10; the weights are those of ``LinearNextItem.tuned`` (listwise
likelihood of the validation targets, seed 0; 3,000 users, 2,200 for Beauty and Toys). A set without a recipe gets the
general settings, whose weights are rough: use ``LinearNextItem.tuned`` where there is a validation target.
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

_SHOP: Final = LinearSettings(
    name="linear",
    # Histories are short and pairs rare: a ridge of 100 is above what most items have on the diagonal.
    horizons=(Horizon("near", Decay(3, 0.5), 100.0),),
    experts=(
        ExpertSettings("near", "sum", 3),
        ExpertSettings("near", "each", 1),
        ExpertSettings("near", "each", 6),
        ExpertSettings("alike", "sum", 6),
        ExpertSettings("alike", "sum", 1),
        ExpertSettings("marks/near", "sum", 6),
        ExpertSettings("items/near", "sum", 6),
        ExpertSettings("around/near", "each", 1),
        ExpertSettings("around/near", "sum", 3),
    ),
    popularity=PopularitySettings(None),
    marks_ridge=30.0,
)

RECIPES: Final[dict[str, LinearSettings]] = {
    "ml-1m": _MOVIELENS,
    "ml-100k": _MOVIELENS,
    "ml-latest-small": _MOVIELENS,
    "beauty": _SHOP.weighted((0.126, 0.158, 0.121, 0.247, 0.166, 0.074, 0.357, 0.061, 0.025, 0.374)),
    "toys": _SHOP.weighted((0.222, 0.136, 0.096, 0.076, 0.3, 0.131, 0.278, 0.211, -0.01, 0.487)),
    "lastfm": LinearSettings(name="linear").weighted((0.24, 0.08, 0.34, 1.34, 0.16, 0.02, -0.19)),
}


def recipe(data: str) -> LinearSettings:
    """The settings for a set by its name; general ones for any other."""
    return RECIPES.get(data, LinearSettings())
