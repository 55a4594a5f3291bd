"""How a feature is declared: everything a definitions file imports (docs/guides/add-a-feature.md)."""

from mainstem.features.language.aggregate import (
    count,
    distinct,
    fading,
    largest,
    last,
    mean,
    ratio,
    smallest,
    time_since,
    total,
)
from mainstem.features.language.feature import Attribute, Context, Feature, Listed, PythonFunction
from mainstem.features.language.source import Source

__all__ = [
    "Attribute",
    "Context",
    "Feature",
    "Listed",
    "PythonFunction",
    "Source",
    "count",
    "distinct",
    "fading",
    "largest",
    "last",
    "mean",
    "ratio",
    "smallest",
    "time_since",
    "total",
]
