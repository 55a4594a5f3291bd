"""What can go wrong between raw content and a stored vector (codes feature-060 to feature-079)."""

from __future__ import annotations

from mainstem.base.errors import FeatureError


class ExtractionError(FeatureError):
    """An extractor, its input or its stored results cannot be used as asked (codes ``feature-060`` to ``feature-079``)."""


class UnfitValueError(ExtractionError):
    """A value has no fixed-point form (``feature-060``): in a run, the row's failure and not the run's."""

    code = "feature-060"
