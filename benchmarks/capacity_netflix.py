"""``python -m benchmarks.capacity_netflix PYTHON``: time a world and honoured intervals beside Netflix's planner.

``PYTHON`` is the interpreter of an environment that holds ``service-capacity-modeling``; it runs in a process of its own.
A world of theirs is one certain plan of one moment; one of ours is 104 weeks of ten surfaces and three resources.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np

from benchmarks.capacity_numbers import ten_surfaces
from mainstem.capacity.elicited import Elicited, joint
from mainstem.capacity.worlds import draw_worlds

TRIPLES = ((1_000, 10_000, 100_000), (9_000, 10_000, 11_000), (100, 200, 500))
SIMULATIONS = 32
THEIRS = f"""
import importlib.metadata, json, time
from service_capacity_modeling.capacity_planner import planner
from service_capacity_modeling.interface import CapacityDesires, DataShape, Interval, QueryPattern
from service_capacity_modeling.stats import dist_for_interval
def doubt(low, mid, high): return Interval(low=low, mid=mid, high=high, confidence=0.8)
shares = []
for low, mid, high in {TRIPLES}:
    fitted = dist_for_interval(doubt(low, mid, high))
    shares.append([float(fitted.cdf(low)), float(fitted.cdf(mid)), float(1 - fitted.cdf(high))])
desires = CapacityDesires(
    service_tier=1,
    query_pattern=QueryPattern(estimated_read_per_second=doubt(1000, 10000, 100000),
                               estimated_write_per_second=doubt(100, 1000, 10000)),
    data_shape=DataShape(estimated_state_size_gib=doubt(10, 50, 500)))
started = time.process_time()
planner.plan(model_name="org.netflix.stateless-java", region="us-east-1", desires=desires, simulations={SIMULATIONS})
print(json.dumps([(time.process_time() - started) / {SIMULATIONS}, shares,
                  importlib.metadata.version("service-capacity-modeling")]))
"""


def main(python: str) -> None:
    """Prints both beside each other."""
    told = subprocess.run([python, "-c", THEIRS], capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    their_s, their_shares, version = json.loads(told)
    plan = ten_surfaces()
    draw_worlds(plan, 10)
    started = time.process_time()
    draw_worlds(plan, 10_000)
    our_s = (time.process_time() - started) / 10_000
    print(
        f"CPU time a world: theirs ({version}, stateless Java, one moment) {their_s * 1e3:.1f} ms, ours {our_s * 1e3:.4f} ms"
    )
    print(f"  {their_s / our_s:.0f} times as long")
    print("share below P10, below P50, above P90 of a fitted estimate (10 %, 50 %, 10 % were asked for):")
    for triple, theirs in zip(TRIPLES, their_shares, strict=True):
        low, middle, high = triple
        got = joint({"x": Elicited(low, middle, high)}, {}, 10_000, 0)["x"]
        ours = [float(np.mean(x)) for x in (got <= low, got <= middle, got > high)]
        line = "  ".join(f"{share:.1%}" for share in theirs), "  ".join(f"{share:.1%}" for share in ours)
        print(f"  {triple}: theirs {line[0]}; ours {line[1]}")
    print("their middle value is the mean, ours the median: that column compares two readings of one number")


if __name__ == "__main__":
    main(sys.argv[1])
