"""What machines there are: their processors, memory, network and price, from public tables or your own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainstem.base.errors import CapacityError, did_you_mean

SHAPES = "service_capacity_modeling/hardware/profiles"
"""Where the pack ``netflix_shapes`` keeps its tables."""

GPUS = {"p4d": ("A100-40", 8), "p4de": ("A100-80", 8), "p5": ("H100", 8), "p5en": ("H200", 8), "p6-b200": ("B200", 8)}
"""Accelerators of families whose public shapes do not say any; the one exception in size is below."""
_SINGLE = {"p5.4xlarge": 1}


@dataclass(frozen=True, slots=True)
class Machine:
    """One kind of machine.

    Args:
        name: Its name, such as ``m7i.2xlarge``.
        cores: Physical cores.
        memory_bytes: Memory of the host.
        network_bytes_s: Network, each way.
        price_week: Money a week; 0 when no table says.
        accelerator: The accelerator's name, empty for none.
        accelerators: How many.
        disk_bytes: Local disk.
    """

    name: str
    cores: int
    memory_bytes: float
    network_bytes_s: float
    price_week: float = 0.0
    accelerator: str = ""
    accelerators: int = 0
    disk_bytes: float = 0.0

    def __post_init__(self) -> None:
        if (
            self.cores < 1
            or self.memory_bytes <= 0
            or min(self.network_bytes_s, self.price_week, self.accelerators) < 0
        ):
            raise CapacityError(
                f"found machine {self.name!r} with {self.cores} cores and {self.memory_bytes:g} bytes of memory, "
                "expected both positive and nothing below zero",
                code="capacity-014",
                hint="state physical cores, bytes and bytes a second",
            )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Machines by name."""

    machines: dict[str, Machine]

    def of(self, name: str) -> Machine:
        """The machine of this name.

        Raises:
            CapacityError: ``capacity-015`` for an unknown one.
        """
        if name not in self.machines:
            raise CapacityError(
                f"found machine {name!r}, which the catalogue does not hold",
                code="capacity-015",
                hint=did_you_mean(name, self.machines),
            )
        return self.machines[name]

    def with_own(self, more: Iterable[Machine]) -> Catalogue:
        """The catalogue and your own machines, which replace others of their name."""
        return Catalogue(self.machines | {one.name: one for one in more})


def netflix_shapes(folder: Path) -> Catalogue:
    """The cloud shapes and prices that Netflix's service-capacity-modeling publishes (Apache-2.0).

    Weeks are 1/52 of the yearly three-year-reserved price of one region; shapes without a price cost 0. Accelerators
    are this project's addition, by family.

    Args:
        folder: The unpacked pack ``netflix_shapes``.

    Raises:
        CapacityError: ``capacity-016`` when there are no shapes in the folder.
    """
    root = folder / SHAPES
    files = sorted((root / "shapes" / "aws").glob("auto_*.json"))
    if not files:
        raise CapacityError(
            f"found no shapes under {root}, expected shapes/aws/auto_*.json",
            code="capacity-016",
            hint="unpack netflix_shapes.tar.xz and name its folder",
        )
    prices: dict[str, float] = {}
    for file in sorted((root / "pricing" / "aws").glob("3yr-reserved_*.json")):
        for region in json.loads(file.read_text()).values():
            for name, row in region.get("instances", {}).items():
                if "annual_cost" in row:
                    prices[name] = float(row["annual_cost"])
    found: dict[str, Machine] = {}
    for file in files:
        for name, row in json.loads(file.read_text())["instances"].items():
            if "cpu" in row and "ram_gib" in row:
                found[name] = _machine(name, row, prices.get(name, 0.0))
    return Catalogue(found)


def _machine(name: str, row: dict[str, Any], year: float) -> Machine:
    chip, count = GPUS.get(name.split(".")[0], ("", 0))
    drive = row.get("drive") or {}
    return Machine(
        name=name,
        cores=max(1, int(row.get("cpu_cores") or row["cpu"] // 2)),
        memory_bytes=float(row["ram_gib"]) * 2.0**30,
        network_bytes_s=float(row.get("net_mbps", 0.0)) * 125_000.0,
        price_week=year / 52.0,
        accelerator=chip,
        accelerators=_SINGLE.get(name, count),
        disk_bytes=float(drive.get("size_gib", 0.0)) * 2.0**30,
    )
