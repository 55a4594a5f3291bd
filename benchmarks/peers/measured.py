"""What every peer's script begins and ends with: its job, its data, its clock, its answer. Imports numpy and nothing of ours."""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np


class Job:
    """What this process is asked: ``job.json`` named on the command line."""

    def __init__(self) -> None:
        self.asked = json.loads(Path(sys.argv[1]).read_text())
        self.folder = Path(self.asked["folder"])
        self.data = Path(self.asked["data"])
        self.seed = int(self.asked["seed"])
        self.model = self.asked["model"]

    def array(self, name: str) -> np.ndarray:
        return np.load(self.data / f"{name}.npy")

    def answer(self, fit_cpu_s: float, packages: list[str], card: dict, **arrays: np.ndarray) -> None:
        """Writes arrays and the answer; memory is this process's own high-water mark."""
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)
        told = {
            "fit_cpu_s": fit_cpu_s,
            "versions": {name: _version(name) for name in [*packages, "numpy"]},
            "card": card,
            "peak_mb": peak_mb(),
        }
        (self.folder / "answer.json").write_text(json.dumps(told))


class Sequences:
    """What is learned from: each user's items, oldest first, and which users are asked about."""

    def __init__(self, job: Job) -> None:
        self.starts, self.rows, self.judged = job.array("starts"), job.array("rows"), job.array("judged")
        self.items = int(job.asked["items"])
        self.users = len(self.starts) - 1
        self.k = min(int(job.asked["k"]), self.items)

    @property
    def owners(self) -> np.ndarray:
        return np.repeat(np.arange(self.users), np.diff(self.starts))

    def matrix(self, dtype: type = np.float32):
        """Users by items, 1 where taken."""
        from scipy.sparse import csr_matrix

        found = csr_matrix((np.ones(len(self.rows), dtype), (self.owners, self.rows)), (self.users, self.items))
        found.data[:] = 1
        return found

    def frame(self, user: str, item: str):
        """The same as a pandas table, in order; the order stands in for time, a second an event."""
        import pandas as pd

        within = np.arange(len(self.rows)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        times = pd.to_datetime(1_000_000_000 + within, unit="s")
        return pd.DataFrame({user: self.owners, item: self.rows, "weight": 1.0, "datetime": times})


def lists_of(found: list[np.ndarray], scores: list[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists of different lengths as two arrays, -1 where a list has ended."""
    lists, values = np.full((len(found), k), -1, np.int32), np.full((len(found), k), -np.inf, np.float32)
    for row, (items, score) in enumerate(zip(found, scores, strict=True)):
        lists[row, : len(items)], values[row, : len(items)] = items[:k], score[:k]
    return lists, values


def cpu_s() -> float:
    """Processor seconds of this process and of children it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"
