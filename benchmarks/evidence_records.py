"""How long a workspace's records of evidence take to read and to append to, and whether planted tampering is found.

.venv/bin/python -m benchmarks.evidence_records
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from mainstem.base.errors import EvidenceError
from mainstem.base.evidence import Evidence
from mainstem.base.evidence_chain import append_records, read_records

RECORDS = 10_000
TAMPERINGS = 200


def made(many: int) -> list[Evidence]:
    """Records of a made program."""
    start = datetime(2026, 1, 5, 12, tzinfo=UTC)
    kinds = ("parity", "slo", "launch", "rollback")
    return [
        Evidence(kind=kinds[i % 4], about=f"surface-{i % 9}", value=0.9, at=start + timedelta(hours=i), note="made")
        for i in range(many)
    ]


def cpu_ms(work: Callable[[], object], times: int = 5) -> float:
    """The median CPU time of some runs, in milliseconds."""
    took = []
    for _ in range(times):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return 1e3 * float(np.median(took))


def tamper(lines: list[bytes], draw: np.random.Generator) -> bytes:
    """One tampering: a value changed, a line taken away, two swapped, one doubled, or the end cut off."""
    at, kind = int(draw.integers(0, len(lines) - 1)), int(draw.integers(5))
    changed = list(lines)
    if kind == 0:
        changed[at] = changed[at].replace(b'"value":0.9', b'"value":1.0')
    elif kind == 1:
        del changed[at]
    elif kind == 2:
        changed[at], changed[at + 1] = changed[at + 1], changed[at]
    elif kind == 3:
        changed.insert(at, changed[at])
    else:
        changed = changed[: at + 1]
    return b"".join(changed)


def found(folder: Path, seed: int = 5) -> int:
    """How many of the planted tamperings are found."""
    file, draw = folder / "small.jsonl", np.random.default_rng(seed)
    append_records(file, made(60))
    whole, caught = file.read_bytes(), 0
    for _ in range(TAMPERINGS):
        file.write_bytes(tamper(whole.splitlines(keepends=True), draw))
        try:
            read_records(file)
        except EvidenceError:
            caught += 1
    file.write_bytes(whole)
    assert len(read_records(file).records) == 60
    return caught


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "records.jsonl"
        append_records(file, made(RECORDS))
        read = cpu_ms(lambda: read_records(file))
        one = cpu_ms(lambda: append_records(file, made(1)))
        caught = found(folder)
    told = "met" if caught == TAMPERINGS else "missed"
    print(f"{RECORDS:,} records: read with every hash checked {read:.0f} ms, one appended {one:.0f} ms of CPU")
    print(f"{caught} of {TAMPERINGS} planted tamperings found ({told}: all)")


if __name__ == "__main__":
    main()
