"""What one piece of work costs: run in a fresh process, its processor seconds and memory told by the system."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from mainstem.base.errors import BenchError

THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
"""Everything measured has one thread, ours and peers alike: processor seconds then compare across machines with any cores."""
ABSENT: Final = 4
"""The exit code of a process that finds that what it should measure is not there."""
_LAST_WORDS = 400


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code; negative when a signal ended it.
        cpu_s: User and system seconds, children that it waited for included.
        peak_mb: Largest resident memory, as the process itself read it at its end where it could.
        told: What it wrote as its answer; empty when it did not get so far.
        last_words: The end of what it printed.
    """

    code: int
    cpu_s: float
    peak_mb: float
    told: dict[str, Any]
    last_words: str


def run_fresh(
    command: Sequence[str], job: dict[str, Any], folder: Path, limit_s: float = 7_200.0, threads: int = 1
) -> Ended:
    """Runs ``command JOB.json`` and waits; the process writes its answer to ``answer.json`` in the folder.

    Args:
        command: The program, without its argument.
        job: What it is asked; ``folder`` is added.
        folder: Where its files go: job, answer, arrays and what it printed.
        limit_s: Seconds by the clock after which it is ended.
        threads: How many threads its libraries may use.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answer, printed, asked = folder / "answer.json", folder / "printed.txt", folder / "job.json"
    answer.unlink(missing_ok=True)
    asked.write_bytes(msgspec.json.encode(job | {"folder": str(folder)}))
    environment = (
        os.environ | dict.fromkeys(THREADS, str(threads)) | {"PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}
    )
    with printed.open("wb") as output:
        process = subprocess.Popen([*command, str(asked)], stdout=output, stderr=output, env=environment)
        alarm = threading.Timer(limit_s, process.kill)
        alarm.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            code = process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            alarm.cancel()
            if process.returncode is None:
                process.kill()
                process.wait()
    told = _told(answer)
    peak = float(told.get("peak_mb", used.ru_maxrss / 1024))
    return Ended(code, used.ru_utime + used.ru_stime, peak, told, _last_words(printed))


def own_module(name: str) -> list[str]:
    """The command that runs a module of this package with this interpreter, warnings and all."""
    return [sys.executable, "-m", name]


def read_job(path: str) -> dict[str, Any]:
    """What this process is asked."""
    return msgspec.json.decode(Path(path).read_bytes())


def write_answer(job: dict[str, Any], told: dict[str, Any]) -> None:
    """The end of a measured process: its answer, with its largest memory."""
    Path(job["folder"], "answer.json").write_bytes(msgspec.json.encode(told | {"peak_mb": peak_mb()}))


def peak_mb() -> float:
    """The largest resident memory of this process in MB.

    Read from the process's own status where the system has it: the parent's count begins before this program was loaded
    and so contains the parent.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        scale = 1024**2 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


class Stopwatch:
    """Processor seconds since it was made, all threads of this process and children it waited for."""

    def __init__(self) -> None:
        self._began = self._now()

    def seconds(self) -> float:
        """How many by now."""
        return self._now() - self._began

    @staticmethod
    def _now() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime


def _told(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise BenchError(
            f"found an answer at {path} that is not JSON: {error}", code="bench-011", hint="run it again with --resume"
        ) from error


def _last_words(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    return text[-_LAST_WORDS:]
