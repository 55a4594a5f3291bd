"""One claim about why a feature diverges, and how claims are ranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BASES: Final = ("recomputed", "signature", "rows", "metadata")
"""How a claim is known, strongest first."""
_WEIGHT: Final = {"recomputed": 1.0, "signature": 0.95, "rows": 0.8, "metadata": 0.35}
_ACCEPTED: Final = 0.5
"""The least share of diverging rows a claim must explain, unless the two sides' own words make it."""
_BROKEN: Final = 0.5
"""How much is taken off a claim that would also change every row that agrees."""
_SAID: Final = 0.1
"""What a claim gains when the two sides' own words say the same."""
_ALIKE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Claim:
    """That a cause explains a share of the diverging rows and leaves a share of the agreeing rows as they are."""

    cause: str
    basis: str
    explained: float
    kept: float = 1.0
    amount: str = ""

    def score(self, said: frozenset[str]) -> float:
        """What claims are ranked by. ``said`` are the causes the two sides' words point to."""
        bonus = _SAID if self.cause in said else 0.0
        if self.basis == "metadata":
            return _WEIGHT["metadata"] - (_SAID if self.cause == "version" else 0.0)
        if self.explained < _ACCEPTED:
            return 0.0
        return _WEIGHT[self.basis] * self.explained * (1 - _BROKEN * (1 - self.kept)) + bonus


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best claim, the causes that explain as much, and everything else that points the same way."""

    best: Claim
    as_likely: tuple[str, ...]
    also: tuple[str, ...]


def ranked(claims: list[Claim]) -> Ranked:
    """Which claim wins: the one that explains most, less what it would break; then the stronger basis."""
    said = frozenset(claim.cause for claim in claims if claim.basis == "metadata")
    order = sorted(claims, key=lambda one: (-one.score(said), BASES.index(one.basis), one.cause))
    if not order or order[0].score(said) <= 0:
        tried = max(order, key=lambda one: one.explained, default=None)
        return Ranked(Claim("unknown", "none", 0.0), (), _words([tried] if tried and tried.explained else []))
    best = order[0]
    rest = [one for one in order[1:] if one.cause != best.cause and one.score(said) > 0]
    close = [one for one in rest if one.basis == best.basis and best.score(said) - one.score(said) <= _ALIKE]
    same = [one for one in order[1:] if one.cause == best.cause and one.basis != best.basis and one.score(said) > 0]
    likely = tuple(dict.fromkeys(one.cause for one in close))
    told = [one for one in rest if one.basis == "metadata" and one.cause not in likely]
    return Ranked(best, likely, _words([*same, *told]))


def _words(claims: list[Claim]) -> tuple[str, ...]:
    said = []
    for claim in claims:
        share = "" if claim.basis == "metadata" else f" {claim.explained:.0%}"
        said.append(f"{claim.basis}: {claim.cause}{share}{' (' + claim.amount + ')' if claim.amount else ''}")
    return tuple(dict.fromkeys(said))[:4]
