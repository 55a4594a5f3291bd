"""Made sets and in-process workers for the benchmark's tests: a fresh process each would cost seconds of imports."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mainstem.bench.process import Ended


def write_ml_100k(folder: Path, users: int = 40, items: int = 30, seed: int = 0) -> Path:
    """Events of users who walk around a ring of items, as RecBole's atomic files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(users):
        first, stamp = int(rng.integers(items)), 880_000_000
        for step in range(6):
            lines.append(f"{user}\t{(first + step) % items + 1}\t4\t{stamp + step * 60}")
    (folder / "ml-100k.inter").write_text("\n".join(lines) + "\n")
    kinds = [f"{item + 1}\tfilm {item}\t1995\t{'Drama' if item % 2 else 'Comedy'}" for item in range(items)]
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    (folder / "ml-100k.item").write_text("\n".join([head, *kinds]) + "\n")
    return folder


class Workers:
    """Stands in for ``run_fresh``: calls a module's ``main`` here, and counts what was run.

    Args:
        mains: By the last part of the module's name.
        fail: Raised instead of running the job whose system has this name.
    """

    def __init__(self, mains: dict[str, Callable[[str], int]], fail: dict[str, BaseException] | None = None) -> None:
        self.mains, self.fail = mains, fail or {}
        self.ran: list[str] = []

    def __call__(
        self, command: Sequence[str], job: dict[str, Any], folder: Path, limit_s: float = 0, threads: int = 1
    ) -> Ended:
        name = str(job.get("system", "rows"))
        self.ran.append(name)
        if name in self.fail:
            raise self.fail[name]
        folder.mkdir(parents=True, exist_ok=True)
        asked = folder / "job.json"
        asked.write_bytes(msgspec.json.encode(job | {"folder": str(folder)}))
        assert command[0] == sys.executable
        code = self.mains[command[2].rpartition(".")[2]](str(asked))
        told = msgspec.json.decode((folder / "answer.json").read_bytes())
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Ended(code, used.ru_utime, float(told["peak_mb"]), told, "")
