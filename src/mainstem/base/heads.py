"""Which actions are predicted, and in which column each stands."""

from __future__ import annotations

from typing import Final

HEADS: Final[tuple[str, ...]] = ("click", "like", "follow", "comment", "forward", "hate", "long_view")
"""The binary outcomes of one shown item, in the order of every ``predictions[n, heads]`` array."""

WATCH: Final = "watch"
"""The head that predicts a time; it stands after the binary heads and is in seconds."""

PREDICTIONS: Final[tuple[str, ...]] = (*HEADS, WATCH)
"""Every column of a prediction array: seven probabilities, then expected watch time in seconds."""

SURFACES: Final[tuple[str, ...]] = ("feed", "groups", "pages")
"""The surfaces of the built-in configuration. A workspace may name others."""
