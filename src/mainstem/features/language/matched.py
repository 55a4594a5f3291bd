"""What a kept list says of a candidate: sums over the places that share a key with it.

``sum(where(kept.creator_id == creator_id, kept.watch_s, 0))`` says the same for one value, and looks at every pair of a place
and a candidate. Joined by the key, 600 candidates and a list of 512 cost one look at each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Matched:
    """Sums and largest values over the places of a list whose key equals another name's.

    All names are those of declared features, columns of lists or inputs. Keys are whole numbers: what is empty or below 0 is no
    key and matches nothing. Each part becomes the column ``name.part``.

    Attributes:
        key: The key of each place of the list.
        to: The key that is looked for: the candidate's, or the request's.
        sums: Parts that add up, newest place first; empty values add nothing, and without a place the sum is 0.
        largest: Parts whose largest value is read; empty without a known one.
    """

    key: str
    to: str
    sums: Mapping[str, str] = field(default_factory=dict)
    largest: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """The short names of what it gives: sums first."""
        return (*self.sums, *self.largest)

    @property
    def values(self) -> tuple[str, ...]:
        """The list values of the parts, in their order."""
        return (*self.sums.values(), *self.largest.values())
