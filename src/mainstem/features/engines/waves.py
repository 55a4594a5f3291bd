"""In which order are keys asked for: a request's keys may need what was read under other keys first."""

from __future__ import annotations

from dataclasses import dataclass

from mainstem.features.language.feature import Listed
from mainstem.features.language.plan import FoldGroup, Group
from mainstem.features.language.resolve import ReadGroup, Step, fills, reads
from mainstem.features.reading import Reading


@dataclass(frozen=True, slots=True)
class Wave:
    """What is done before some groups are asked, and which.

    Attributes:
        steps: Everything their keys need; steps of earlier waves that need no group are made again, which costs little.
    """

    steps: tuple[Step, ...]
    groups: tuple[Group | FoldGroup, ...]


def waves_of(reading: Reading) -> tuple[Wave, ...]:
    """Most features need one wave; one more for each level of keys that are read under keys."""
    left = list(reading.steps)
    done: list[Step] = []
    waves: list[Wave] = []
    while left:
        missing: set[str] = set()
        later: list[Step] = []
        groups: list[Group | FoldGroup] = []
        for step in left:
            needed, filled = reads(step), fills(step)
            if not missing.isdisjoint(needed):
                later.append(step)
                missing.update(filled)
            elif isinstance(step, ReadGroup):
                groups.append(step.group)
                missing.update(filled)
            else:
                done.append(step)
        if groups:
            keys = {name for group in groups for name in (*group.key, "now_ms", "utc_offset_ms")}
            waves.append(Wave(tuple(_needed(done, keys)), tuple(groups)))
        left = later
    return tuple(waves)


def used_names(reading: Reading) -> set[str]:
    """Every name that some step, the program or a list feature reads."""
    names = {*reading.program.names, *(column.vector for column in reading.columns)}
    for step in reading.steps:
        names |= {*reads(step), "utc_offset_ms"}
    return names | {feature.of.column for feature in reading.lists if isinstance(feature.of, Listed)}


def _needed(steps: list[Step], names: set[str]) -> list[Step]:
    """The steps that some names are made with."""
    wanted, out = set(names), []
    for step in reversed(steps):
        needed, filled = reads(step), fills(step)
        if not wanted.isdisjoint(filled):
            wanted.update(needed)
            out.append(step)
    return out[::-1]
