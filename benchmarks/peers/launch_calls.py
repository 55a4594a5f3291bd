"""How much one analysis costs in this process: the first call with its imports, the least of the later ones, the memory."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

from measured import peak_mb


def measured(analyse: Callable[[str], dict], packages: list[str], calls: int = 4) -> None:
    """Runs an analysis of the Parquet file on the command line some times and prints what it cost and said."""
    cpu, first = [], 0.0
    found: dict = {}
    for call in range(calls):
        began = time.process_time()
        found = analyse(sys.argv[1])
        cpu.append(time.process_time() - began)
        first = peak_mb() if call == 0 else first
    told = {
        "cold_cpu_s": time.process_time() - sum(cpu[1:]),
        "warm_cpu_s": min(cpu[1:]),
        "first_peak_mb": first,
        "peak_mb": peak_mb(),
        "found": found,
        "versions": {name: version(name) for name in packages},
    }
    print(json.dumps(told))
