"""Which models of other people's packages stand in the tables of sequences, and how they get their data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mainstem.bench.context import Arrays, load_array
from mainstem.bench.ranked_lists import ranks_in_lists
from mainstem.data.sequences import LeaveOneOut

LISTED: Final = 200
"""How many items a peer is asked for a user: as deep as the deepest metric."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One model of one package.

    Attributes:
        environment: Which environment runs it.
        most_items: Not run on larger catalogues, and the row says so.
        sets: Only these; every set when empty.
        note: What a reader of the row should know.
    """

    name: str
    environment: str
    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    most_items: int | None = None
    sets: tuple[str, ...] = ()
    note: str = ""

    @property
    def script(self) -> str:
        """Its file under ``benchmarks/peers``."""
        return f"sequences_{self.environment}"


PEERS: Final[tuple[Peer, ...]] = (
    Peer("implicit BM25 neighbours", "implicit", "bm25"),
    Peer("implicit BPR", "implicit", "bpr"),
    Peer("implicit ALS", "implicit", "als"),
    Peer("LensKit ImplicitMF", "lenskit", "implicit-mf"),
    Peer("LensKit EASE", "lenskit", "ease", most_items=6_000),
    Peer(
        "RecTools EASE",
        "rectools",
        "ease",
        most_items=6_000,
        note="its recommend() multiplies by the transposed weights (0.19.0)",
    ),
    Peer("RecTools SASRec, 5 epochs", "rectools", "sasrec", {"epochs": 5}, sets=("ml-1m",)),
)
"""Each has the settings its own documentation recommends, and learns from one event a user more than our strict rows."""


def export(split: LeaveOneOut, folder: Path) -> Path:
    """Writes what a peer may see: all but the last event of each user, and who is asked about. No target."""
    folder.mkdir(parents=True, exist_ok=True)
    told = split.with_validation
    for name, array in (("starts", told.starts), ("rows", told.rows), ("judged", split.users)):
        np.save(folder / f"{name}.npy", array)
    return folder


def read_ranks(split: LeaveOneOut, folder: Path) -> Arrays:
    """The places of the test targets in a peer's lists."""
    lists, scores = load_array(folder, "lists"), load_array(folder, "scores")
    return {"test": ranks_in_lists(lists, scores, split.test, split.sequences.items).astype(np.float32)}
