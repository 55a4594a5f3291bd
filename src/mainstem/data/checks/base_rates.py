"""Are the rates those that this log is known to have."""

from __future__ import annotations

from typing import Final

import polars as pl

from mainstem.data.checks.finding import Finding
from mainstem.data.checks.subject import Subject

KNOWN: Final[dict[str, dict[str, float]]] = {
    "kuairand": {
        "click": 0.44,
        "long_view": 0.31,
        "like": 0.017,
        "comment": 0.0025,
        "follow": 0.0013,
        "forward": 0.0009,
        "hate": 0.0008,
    }
}
"""Rates over the whole period of a log, by loader."""

FACTOR: Final = 2.0
"""A part of the log may differ from the whole by this factor."""


class BaseRates:
    """A rate far from the published one says that rows were lost, joined twice, or are another policy's."""

    name = "base rates"

    def look(self, subject: Subject) -> list[Finding]:
        """Heads whose rate is off the known one by more than a factor of two."""
        known = KNOWN.get(subject.manifest.loader)
        if known is None:
            return [Finding(self.name, "PASS", "no rates are known for this kind of log")]
        found = {head: subject.known(head).select(pl.col(head).mean()).item() or 0.0 for head in known}
        off = [head for head in known if not known[head] / FACTOR <= found[head] <= known[head] * FACTOR]
        examples = tuple({"head": head, "found": round(found[head], 5), "known": known[head]} for head in off)
        if off:
            sentence = f"heads are off their known rate by more than {FACTOR:g} times: {', '.join(off)}"
            return [Finding(self.name, "WARN", sentence, len(off), len(known), examples)]
        return [Finding(self.name, "PASS", f"every head is within {FACTOR:g} times of its known rate", 0, len(known))]
