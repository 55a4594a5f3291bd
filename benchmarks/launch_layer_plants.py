"""Is the layer that was broken on purpose the one that is named? Real stacks, layer by layer, before made users.

``python -m benchmarks.launch_layer_plants WORKSPACE [--half] [--users 1600] [--seeds 1]``: a workspace whose log is made and whose
three stacks are trained, such as ``mainstem demo`` leaves. Each layer that a rehearsal can break is broken in turn; then none is,
which has no target: what is named then is what the new stack does of itself. Times are CPU time of one thread.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse  # noqa: E402
import resource  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import msgspec  # noqa: E402

from mainstem.base.settings import FILE as SETTINGS  # noqa: E402
from mainstem.data.log import read_log  # noqa: E402
from mainstem.data.world import World, WorldSettings, make_world  # noqa: E402
from mainstem.workspace.layer_arms import LayersTold, layers_of  # noqa: E402
from mainstem.workspace.layout import Workspace  # noqa: E402
from mainstem.workspace.rehearsal import FAULTS, _with_surfaces  # noqa: E402
from mainstem.workspace.students import teacher_of  # noqa: E402
from mainstem.workspace.value_edit import edited  # noqa: E402

NONE = "none"


def broken(place: Workspace, folder: Path, surface: str, layer: str) -> Workspace:
    """The workspace with one layer of the new stack broken: its log and models, other settings."""
    folder.mkdir()
    for part in ("log", "models"):
        (folder / part).symlink_to((place.folder / part).resolve(), target_is_directory=True)
    text = _with_surfaces(place.file.read_text(encoding="utf-8") if place.file.is_file() else "")
    if layer != NONE:
        path, value = FAULTS[layer]
        text = edited(text, ("surfaces", surface, *path), value)
    (folder / SETTINGS).write_text(text, encoding="utf-8")
    return Workspace.open(folder)


def told(world: World, stage: Workspace, surface: str, seed: int, users: int, half: bool) -> LayersTold:
    """What the arms say."""
    legacy = teacher_of(stage, surface)
    return layers_of(stage, world, surface, legacy, seed, lambda share, what: None, users=users, half=half)


def main() -> None:
    """Prints a line for each plant and seed, then how many were named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--surface", default="feed")
    parser.add_argument("--users", type=int, default=1_600)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=(*FAULTS, NONE), help="one of them")
    parser.add_argument("--half", action="store_true", help="8 of 16 arms")
    asked = parser.parse_args()
    place = Workspace.open(asked.workspace)
    world = make_world(msgspec.convert(read_log(place.log).manifest.facts, WorldSettings))
    started, right, runs = time.process_time(), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for layer in (asked.only,) if asked.only else (*FAULTS, NONE):
            stage = broken(place, Path(scratch) / layer, asked.surface, layer)
            for seed in range(1, asked.seeds + 1):
                found = told(world, stage, asked.surface, seed, asked.users, asked.half)
                good = found.blame.layer == layer
                right, runs = right + good, runs + (layer != NONE)
                mark = "" if layer == NONE else "met" if good else "MISSED"
                print(f"{layer:<10} {mark:<7} {found.sentence}{', by itself' if found.blame.alone else ''}")
                effects = found.effects["long_view"].layers.items()
                told_all = ", ".join(
                    f"{name} {one.mid:+.1%} ({one.low:+.1%} to {one.high:+.1%})" for name, one in effects
                )
                print(f"{'':<18} {told_all}", flush=True)
    spent, peak = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"\n{right} of {runs} plants named, {asked.users} users each, {spent:.0f} CPU s, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
