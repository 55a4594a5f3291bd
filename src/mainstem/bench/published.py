"""What others printed, to stand beside what is measured; a published row is never compared by an interval."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Published:
    """One row of somebody's table.

    Attributes:
        figures: By our names of the metrics.
        source: Whose, and under what conditions that differ from ours.
    """

    system: str
    figures: dict[str, float]
    source: str
    notes: dict[str, str] = field(default_factory=dict)


def _row(system: str, hr10: float, ndcg10: float, source: str) -> Published:
    return Published(system, {"hr@10": hr10, "ndcg@10": ndcg10}, source)


_TURNING = "Klenitskiy and Vasilev, RecSys 2023; same preparation, GPU"
_GSAS = "Petrov and Macdonald, RecSys 2023, gSASRec-pytorch; same preparation, GPU"
_ESAS = "eSASRec, RecSys 2025; GPU; whether the fit holds the validation event is not told"
_HSTU = "HSTU's repository; another preparation (3,706 items), unstable sort, reads the target's time"
_TIGER = "as listed by eSASRec, RecSys 2025"

SEQUENCES: Final[dict[str, tuple[Published, ...]]] = {
    "ml-1m": (
        _row("SASRec (BCE)", 0.2500, 0.1341, _TURNING),
        _row("BERT4Rec", 0.2843, 0.1537, _TURNING),
        _row("SASRec+ (full softmax)", 0.3152, 0.1821, _TURNING),
        _row("SASRec+ (3,000 negatives)", 0.3159, 0.1857, _TURNING),
        _row("gSASRec", 0.3003, 0.1726, _GSAS),
        _row("eSASRec", 0.3133, 0.1772, _ESAS),
        _row("HSTU", 0.3097, 0.1720, _HSTU),
        _row("HSTU-large", 0.3294, 0.1893, _HSTU),
    ),
    "beauty": (
        _row("SASRec + sampled softmax", 0.0921, 0.0531, _ESAS),
        _row("eSASRec", 0.0928, 0.0523, _ESAS),
        _row("HSTU", 0.0788, 0.0439, _ESAS),
        _row("TIGER", 0.0648, 0.0384, _TIGER),
        _row("ActionPiece", 0.0775, 0.0424, _TIGER),
    ),
    "toys": (
        _row("SASRec + sampled softmax", 0.0970, 0.0580, _ESAS),
        _row("eSASRec", 0.0939, 0.0538, _ESAS),
        _row("HSTU", 0.0778, 0.0450, _ESAS),
        _row("TIGER", 0.0712, 0.0432, _TIGER),
    ),
}
