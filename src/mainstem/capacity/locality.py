"""How often embedding lookups repeat, from published histograms: what a cache of the hottest rows holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError

_BAND = re.compile(r"^\((\d+)(?:, (\d+)\]|\+): ([0-9.]+)$")


@dataclass(frozen=True, slots=True)
class Reuse:
    """Lookups of one batch: how many rows, how often each.

    Args:
        name: Which file of the publisher.
        lookups: Lookups of the batch.
        rows: Different rows among them.
        least: A row's lookups, lower end of each band, not included.
        row_share: Share of the rows in each band.
        lookup_share: Share of the lookups that go to rows of each band.
    """

    name: str
    lookups: float
    rows: float
    least: NDArray[np.float64]
    row_share: NDArray[np.float64]
    lookup_share: NDArray[np.float64]


def read_reuse(file: Path) -> tuple[Reuse, ...]:
    """Every batch of a published file (facebookresearch/dlrm_datasets, the pack ``dlrm_locality``).

    Raises:
        CapacityError: ``capacity-062`` for a file that is not there or in which a batch lacks one of its parts.
    """
    try:
        blocks = re.split(r"\n\s*\n(?=fbgemm)", file.read_text().strip())
        return tuple(_block(block.splitlines()) for block in blocks)
    except (OSError, ValueError, IndexError) as no:
        raise CapacityError(
            f"found no histograms of reuse in {file}: {no}",
            code="capacity-062",
            hint="expected 2021.txt or 2022.txt of dlrm_datasets",
        ) from no


def _block(lines: list[str]) -> Reuse:
    bands = [(float(found[1]), float(found[3])) for line in lines if (found := _BAND.match(line))]
    half = len(bands) // 2
    if half == 0 or len(bands) != 2 * half or [b[0] for b in bands[:half]] != [b[0] for b in bands[half:]]:
        raise ValueError(f"{lines[0]!r} has {len(bands)} bands, expected the same ones twice")
    numbers = {line.split(":")[0]: float(line.split(":")[1]) for line in lines if line.startswith("Avg #")}
    shares = np.array([share for _, share in bands])
    return Reuse(
        name=lines[0],
        lookups=numbers.get("Avg # of indices", 0.0),
        rows=numbers.get("Avg # of unique cols", 0.0),
        least=np.array([least for least, _ in bands[:half]]),
        row_share=shares[:half] / shares[:half].sum(),
        lookup_share=shares[half:] / shares[half:].sum(),
    )


def hit_share(reuse: Reuse, kept: float) -> float:
    """The share of lookups that a cache answers when it keeps this share of the batch's rows, the hottest first.

    Between two bands the curve is a straight line. What the first look at a row costs is left out, so this is the most
    that any cache of that size can answer once it is warm.

    Raises:
        CapacityError: ``capacity-063`` for a share outside [0, 1].
    """
    if not 0.0 <= kept <= 1.0:
        raise CapacityError(
            f"found a cache of {kept} of the rows, expected a share in [0, 1]",
            code="capacity-063",
            hint="0.1 keeps a tenth of the rows",
        )
    rows = np.concatenate([[0.0], np.cumsum(reuse.row_share[::-1])])
    found = np.concatenate([[0.0], np.cumsum(reuse.lookup_share[::-1])])
    return float(np.interp(kept, rows, found))


def zipf_hit_share(rows: float, kept: float) -> float:
    """The same if popularity followed Zipf's law with exponent 1, which is what one assumes without a histogram."""
    whole = float(np.log(rows) + np.euler_gamma)
    return float((np.log(max(kept * rows, 1.0)) + np.euler_gamma) / whole) if kept > 0.0 else 0.0


def gather_bandwidth(hits: float, near: float, far: float) -> float:
    """Bytes a second of lookups of which this share comes from the near store and the rest from the far one."""
    return 1.0 / (hits / near + (1.0 - hits) / far)
