"""Is an SLO kept, by what our own server wrote down: an OpenSLO file measured over the live log, and put where gates read it.

What the log does not hold is not guessed: a window with holes, too few answers for the promised share, or answers without their
time are refused. A request that was turned away or failed as a whole left no answer, and only the load balancer knows of it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ProgramError, did_you_mean
from mainstem.base.evidence import Evidence
from mainstem.launch.served_log import TOTAL, reader_of
from mainstem.program.openslo_bound import METHODS, BoundObjective, bound_objectives
from mainstem.store.event_log import IMPRESSION
from mainstem.workspace.evidence_log import append_evidence
from mainstem.workspace.layout import Workspace

SOURCE: Final = "mainstem evidence slo"
FALLBACK: Final = "fallback"
"""The stack of an answer that nobody ranked."""
MOST_GAP: Final = 0.05
"""Of the window: a longer stretch without an answer is a log that does not cover it."""
IN_BUDGET: Final = 5
"""So many bad answers the budget has to allow, or one answer would decide too much."""
_STEP: Final = 20_000
_UNTIMED: Final = math.nan


class _Shown(msgspec.Struct):
    """What is read of an impression."""

    surface: str
    time_ms: int
    stack: str
    arm: str | None = None
    timings_ms: dict[str, float] = {}
    degraded: tuple[str, ...] = ()


@dataclass(slots=True)
class ServedAnswers:
    """Answers of one surface (and arm), as columns in the order of the log."""

    time_ms: array[int] = field(default_factory=lambda: array("q"))
    total_ms: array[float] = field(default_factory=lambda: array("d"))
    ranked: bytearray = field(default_factory=bytearray)
    whole: bytearray = field(default_factory=bytearray)

    def add(self, shown: _Shown) -> None:
        """Takes one answer in."""
        self.time_ms.append(shown.time_ms)
        self.total_ms.append(shown.timings_ms.get(TOTAL, _UNTIMED))
        self.ranked.append(shown.stack != FALLBACK)
        self.whole.append(not shown.degraded)


@dataclass(frozen=True, slots=True, kw_only=True)
class SloMeasured:
    """What was found of one objective.

    Args:
        objective: Which.
        answers: How many fell into the window.
        good: How many of them were good.
        share: What the gate reads: of answers, or of slices.
        slices: How many slices had an answer; 0 where there are none.
        begins, ends: The window.
        at: When it counts as measured: the window's end, or for a log with a clock of its own its last write.
    """

    objective: BoundObjective
    answers: int
    good: int
    share: float
    slices: int
    begins: datetime
    ends: datetime
    at: datetime

    @property
    def met(self) -> bool:
        """Whether the promised share was kept."""
        return self.share >= self.objective.target

    @property
    def budget_left(self) -> float:
        """What is left of the share that may be bad; below 0 when more was used."""
        budget, used = 1.0 - self.objective.target, 1.0 - self.share
        return 1.0 - used / budget if budget > 0 else float(used == 0)

    @property
    def sentence(self) -> str:
        """All of it, as the record notes it."""
        one = self.objective
        of = f"{one.surface} ({one.arm})" if one.arm else one.surface
        slices = f", {self.share:.6g} of {self.slices} slices" if self.slices else ""
        return (
            f"{self.good} of {self.answers} answers on {of} {one.good}{slices}; {self.begins:%Y-%m-%dT%H:%MZ} to "
            f"{self.ends:%Y-%m-%dT%H:%MZ}; {self.budget_left:.1%} of the budget left, target {one.target:g}"
        )


def measure_slo(
    workspace: Workspace,
    file: Path,
    *,
    now: datetime | None = None,
    to_newest: bool = False,
    least: int | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[SloMeasured, ...]:
    """Each objective of an OpenSLO file over its window of the live log.

    Args:
        workspace: Whose log.
        file: The OpenSLO file.
        now: Where windows end; None is the machine's clock. A log with a clock of its own ends at its newest answer.
        to_newest: Windows end at the newest answer of all, and the measurement is as old as that.
        least: How many answers are needed; None is as many as allow for ``IN_BUDGET`` bad ones.
        progress: Told of the reading.

    Raises:
        ProgramError: What `bound_objectives` raises; a surface that is not served (``program-111``), too few answers
            (``program-112``), a window that the log does not cover (``program-113``), or answers without their time
            (``program-114``).
    """
    now = now or datetime.now(UTC)
    objectives = bound_objectives(_text(file), file.name)
    served = workspace.settings.served()
    for one in objectives:
        if one.surface not in served:
            raise ProgramError(
                f"{file.name} asks for the surface {one.surface!r}", code="program-111",
                hint=did_you_mean(one.surface, served),
            )  # fmt: skip
    written = _last_write(workspace.live)
    held, newest_ms = _answers(workspace, {(one.surface, one.arm) for one in objectives}, progress)
    own_clock = workspace.settings.serve.clock != "system"
    now_ms = int(now.timestamp() * 1e3)
    ends_ms = newest_ms if own_clock or to_newest else now_ms
    at = min(now, written) if own_clock else _day(min(ends_ms, now_ms))
    return tuple(_measured(one, held[one.surface, one.arm], ends_ms, at, least) for one in objectives)


def slo_measured(workspace: Workspace, file: Path, found: Sequence[SloMeasured]) -> tuple[Evidence, ...]:
    """``slo`` of each objective: the share that its gate reads. It rests on the OpenSLO file: an edited one puts it in doubt."""
    records = [
        Evidence(
            kind="slo", about=one.objective.about, value=one.share, at=one.at, source=SOURCE, file=str(file.resolve()),
            note=one.sentence,
        )
        for one in found
    ]  # fmt: skip
    return append_evidence(workspace, *records)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProgramError(f"{file} cannot be read: {error}", code="program-060", hint="name an OpenSLO file") from None


def _last_write(live: Path) -> datetime:
    """When the log was last written to; long ago where there is none."""
    files = [one for one in live.glob("events.sqlite*") if one.name.endswith(("sqlite", "-wal")) and one.stat().st_size]
    return datetime.fromtimestamp(max((one.stat().st_mtime for one in files), default=0.0), UTC)


def _answers(
    workspace: Workspace, wanted: set[tuple[str, str]], progress: Callable[[float, str], None] | None
) -> tuple[dict[tuple[str, str], ServedAnswers], int]:
    """The answers of each surface and arm, and the time of the newest of any."""
    held = {one: ServedAnswers() for one in wanted}
    read, decode, offset, newest = reader_of(workspace.live / "events.sqlite"), _DECODER.decode, 0, 0
    while records := read(offset, _STEP):
        offset = records[-1].offset
        for one in records:
            if one.kind != IMPRESSION:
                continue
            shown = decode(one.payload)
            newest = max(newest, shown.time_ms)
            for arm in {"", shown.arm or ""}:
                if (into := held.get((shown.surface, arm))) is not None:
                    into.add(shown)
        if progress is not None:
            progress(0.0, f"read to {offset}")
    return held, newest


def _measured(one: BoundObjective, held: ServedAnswers, ends_ms: int, at: datetime, least: int | None) -> SloMeasured:
    times = np.asarray(held.time_ms, np.int64)
    begins_ms = ends_ms - 1_000 * one.window_s
    inside = (times > begins_ms) & (times <= ends_ms)
    times, total = times[inside], np.asarray(held.total_ms, np.float64)[inside]
    _check_covered(one, times, begins_ms, ends_ms)
    _check_enough(one, len(times), least)
    good = np.ones(len(times), np.bool_)
    if one.timed:
        _check_timed(one, times, total)
        good &= (total <= one.below_ms) if one.inclusive else (total < one.below_ms)
    for wanted, column in ((one.ranked, held.ranked), (one.whole, held.whole)):
        if wanted:
            good &= np.frombuffer(bytes(column), np.bool_)[inside]
    share, slices = _share(one, times - begins_ms - 1, good)
    return SloMeasured(
        objective=one, answers=len(times), good=int(good.sum()), share=share, slices=slices, begins=_day(begins_ms),
        ends=_day(ends_ms), at=at,
    )  # fmt: skip


def _share(one: BoundObjective, since_ms: NDArray[np.int64], good: NDArray[np.bool_]) -> tuple[float, int]:
    """The share by the file's method, and of how many slices; a slice without an answer is none."""
    if one.method == METHODS[0]:
        return float(good.mean()), 0
    of = since_ms // (1_000 * one.slice_s)
    counts = np.bincount(of)
    there = counts > 0
    shares = np.bincount(of, weights=good)[there] / counts[there]
    return float((shares >= one.slice_target).mean() if one.method == METHODS[1] else shares.mean()), int(there.sum())


def _check_covered(one: BoundObjective, times: NDArray[np.int64], begins_ms: int, ends_ms: int) -> None:
    edges = np.concatenate([[begins_ms], np.sort(times), [ends_ms]])
    gaps = np.diff(edges)
    at = int(gaps.argmax())
    if gaps[at] > MOST_GAP * 1_000 * one.window_s:
        raise ProgramError(
            f"found no answer for {one.about} from {_day(int(edges[at])):%Y-%m-%dT%H:%MZ} to "
            f"{_day(int(edges[at + 1])):%Y-%m-%dT%H:%MZ}, expected none missing for longer than {MOST_GAP:.0%} of the window",
            code="program-113",
            hint="wait until the log covers the window, or promise a shorter one",
        )


def _check_enough(one: BoundObjective, answers: int, least: int | None) -> None:
    needed = math.ceil(IN_BUDGET / max(1.0 - one.target, 1e-4) - 1e-6) if least is None else least
    if answers < needed:
        raise ProgramError(
            f"found {answers} answers for {one.about}, expected at least {needed} for a target of {one.target:g}",
            code="program-112",
            hint="a longer window, or --least if fewer will do",
        )


def _check_timed(one: BoundObjective, times: NDArray[np.int64], total: NDArray[np.float64]) -> None:
    untimed = np.isnan(total)
    if untimed.any():
        raise ProgramError(
            f"found {int(untimed.sum())} of {len(times)} answers for {one.about} without their time, the last at "
            f"{_day(int(times[untimed].max())):%Y-%m-%dT%H:%MZ}",
            code="program-114",
            hint="a server of an older version wrote them: wait until they have left the window",
        )


def _day(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1e3, UTC)


_DECODER: Final = msgspec.msgpack.Decoder(_Shown)
