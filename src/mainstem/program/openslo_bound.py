"""What an OpenSLO file measures of our own server: each objective bound to the impressions log, or a refusal that says why not.

An indicator is ours when its metric source is of the type ``mainstem``; the spec says which answers are asked about and what makes
one good. In ``openslo/v1alpha`` the same words stand in ``source`` and ``query``. Everything else is for the tools that measure it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from mainstem.base.errors import ProgramError, did_you_mean
from mainstem.program.openslo import objectives_of, slo_objects

TYPE: Final = "mainstem"
"""Of a metric source that this product measures."""
METHODS: Final = ("Occurrences", "Timeslices", "RatioTimeslices")
_ASKED: Final = ("surface", "arm")
_GOOD: Final = ("below_ms", "ranked", "whole")
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_UNITS: Final = {"Minute": "m", "Hour": "h", "Day": "d", "Week": "w"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundObjective:
    """One objective as it is measured here.

    Args:
        about: What its evidence and its gate are about.
        target: The share of good answers that is promised.
        surface: Whose answers.
        arm: Only answers with this label of a launch; empty for all.
        below_ms: A good answer took less; infinite where time does not matter.
        inclusive: Whether exactly as long is good too.
        ranked: A good answer is no fallback list.
        whole: In a good answer no part was replaced.
        window_s: The rolling window.
        method: ``Occurrences`` (good answers of all), ``Timeslices`` (good slices of all), ``RatioTimeslices`` (the mean slice).
        slice_s: How long a slice is; 0 where there are none.
        slice_target: The share of good answers from which on a slice is good.
    """

    about: str
    target: float
    surface: str
    arm: str = ""
    below_ms: float = math.inf
    inclusive: bool = False
    ranked: bool = False
    whole: bool = False
    window_s: int
    method: str = METHODS[0]
    slice_s: int = 0
    slice_target: float = 0.0

    @property
    def timed(self) -> bool:
        """Whether it asks how long an answer took."""
        return math.isfinite(self.below_ms)

    @property
    def good(self) -> str:
        """What a good answer is, in words."""
        most = f"{'at most' if self.inclusive else 'under'} {self.below_ms:g} ms" if self.timed else ""
        return " and ".join(filter(None, (most, "ranked" * self.ranked, "nothing replaced" * self.whole)))


def bound_objectives(text: str, where: str) -> list[BoundObjective]:
    """The objectives of a file, each bound to the log.

    Args:
        text: The file.
        where: Its name, for refusals.

    Raises:
        ProgramError: It is no OpenSLO file (``program-060``, ``program-061``), or something in it cannot be measured here
            (``program-110``): another tool's metric, a window that does not roll, an unknown word.
    """
    objects = slo_objects(text, where)
    indicators = {_name(one): one.get("spec") for _, one in objects if one.get("kind") == "SLI"}
    out: list[BoundObjective] = []
    for at, slo in objects:
        if slo.get("kind") == "SLO":
            gates = objectives_of(slo, at)
            for given, gate in zip(slo["spec"]["objectives"], gates, strict=True):
                out.append(_bound(slo["spec"], given, gate, indicators, f"{at} ({gate['about']})"))
    return out


def _name(one: Mapping[str, Any]) -> str:
    return str(_table(one.get("metadata")).get("name", ""))


def _bound(
    spec: Mapping[str, Any],
    given: Mapping[str, Any],
    gate: Mapping[str, Any],
    indicators: Mapping[str, Any],
    where: str,
) -> BoundObjective:
    method = spec.get("budgetingMethod", METHODS[0])
    if method not in METHODS:
        raise refused(f"{where}: the budgetingMethod is {method!r}", f"{', '.join(METHODS)} are measured")
    asked = _asked(_indicator(spec, given, indicators, where), given, where)
    slices = _slices(given, str(method), where)
    return BoundObjective(
        about=str(gate["about"]), target=float(gate["at_least"]), window_s=_window(spec, where), method=str(method),
        slice_s=slices[0], slice_target=slices[1], **asked,
    )  # fmt: skip


def _indicator(
    spec: Mapping[str, Any], given: Mapping[str, Any], indicators: Mapping[str, Any], where: str
) -> Mapping[str, Any]:
    """The metrics of an objective: in the SLO, in an SLI that it names, or (v1alpha) in the objective."""
    if given.get("ratioMetrics") is not None:
        return {"ratioMetric": given["ratioMetrics"]}
    named = spec.get("indicatorRef")
    if named is not None and named not in indicators:
        raise refused(f"{where} names the indicator {named!r}", did_you_mean(str(named), indicators))
    held = indicators[named] if named is not None else _table(spec.get("indicator"))
    return _table(_table(held).get("spec") or held)


def _asked(indicator: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Which answers are asked about, and which of them are good."""
    ratio, threshold = indicator.get("ratioMetric"), indicator.get("thresholdMetric")
    if (ratio is None) == (threshold is None):
        raise refused(f"{where} has no one metric", "expected a ratioMetric or a thresholdMetric")
    if threshold is not None:
        asked = _words(threshold, _ASKED, f"{where}, thresholdMetric")
        return asked | _limit(given, where)
    parts = _table(ratio)
    if parts.get("good") is None or parts.get("total") is None:
        raise refused(f"{where}: the ratioMetric lacks good or total", "bad and raw ratios are not measured here")
    total = _words(parts["total"], _ASKED, f"{where}, total")
    good = _words(parts["good"], (*_ASKED, *_GOOD), f"{where}, good")
    if {key: good.get(key) for key in _ASKED} != {key: total.get(key) for key in _ASKED}:
        raise refused(f"{where}: good and total ask about other answers", "expected the same surface and arm in both")
    if not any(good.get(key) for key in _GOOD):
        raise refused(f"{where}: nothing says what a good answer is", f"expected one of {', '.join(_GOOD)}")
    return good


def _limit(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``op`` and ``value`` of an objective over a threshold metric: milliseconds of the whole answer."""
    op, value = given.get("op"), given.get("value")
    if op not in ("lt", "lte") or not _positive(value):
        raise refused(f"{where}: found op {op!r} and value {value!r}", "expected lt or lte and milliseconds above 0")
    return {"below_ms": float(cast("float", value)), "inclusive": op == "lte"}


def _words(metric: object, known: tuple[str, ...], where: str) -> dict[str, Any]:
    """The spec of a metric source of ours, each word checked."""
    held = _table(metric)
    source = _table(held.get("metricSource")) or {"type": held.get("source"), "spec": _query(held.get("query"))}
    if source.get("type") != TYPE:
        raise refused(
            f"{where} is measured by {source.get('type') or source.get('metricSourceRef') or 'another tool'!r}",
            f"a metricSource of type {TYPE} is measured here; mainstem evidence add takes what another tool measured",
        )
    words = _table(source.get("spec"))
    for key, value in words.items():
        if key not in known:
            raise refused(f"{where} has the word {key!r}", did_you_mean(str(key), known))
        kinds = {"below_ms": _positive(value), "ranked": isinstance(value, bool), "whole": isinstance(value, bool)}
        if not kinds.get(key, isinstance(value, str) and bool(value)):
            raise refused(f"{where}: {key} is {value!r}", "below_ms is above 0, ranked and whole are true or false")
    if "surface" not in words:
        raise refused(f"{where} names no surface", "expected surface: feed or another one that is served")
    return dict(words)


def _query(text: object) -> dict[str, Any]:
    """``surface=feed below_ms=150 whole=true`` as a spec."""
    pairs = [word.partition("=") for word in text.split()] if isinstance(text, str) else []
    values: dict[str, Any] = {"true": True, "false": False}
    return {key: values[told] if told in values else _number(told) for key, _, told in pairs}


def _number(told: str) -> float | str:
    return float(told) if re.fullmatch(r"\d+(\.\d+)?", told) else told


def _slices(given: Mapping[str, Any], method: str, where: str) -> tuple[int, float]:
    if method == METHODS[0]:
        return 0, 0.0
    seconds, target = _duration(given.get("timeSliceWindow")), given.get("timeSliceTarget")
    shared = _positive(target) and cast("float", target) <= 1.0
    if not seconds or (method == METHODS[1] and not shared):
        raise refused(
            f"{where}: found timeSliceWindow {given.get('timeSliceWindow')!r} and timeSliceTarget {target!r}",
            "expected such as 5m, and a share",
        )
    return seconds, float(cast("float", target)) if shared else 0.0


def _window(spec: Mapping[str, Any], where: str) -> int:
    """The rolling window in seconds."""
    held = spec.get("timeWindow") or spec.get("timeWindows")
    one = _table(held[0]) if isinstance(held, list) and len(held) == 1 else {}
    told = one.get("duration") or f"{one.get('count')}{_UNITS.get(str(one.get('unit')), '')}"
    seconds = _duration(told)
    if not seconds or one.get("isRolling") is not True or one.get("calendar") is not None:
        raise refused(
            f"{where}: the time window is {held!r}", "expected one that rolls, of minutes, hours, days or weeks"
        )
    return seconds


def _duration(told: object) -> int:
    """``28d`` in seconds; 0 for what is none, or no fixed length such as a month."""
    found = re.fullmatch(r"(\d{1,6})([mhdw])", told if isinstance(told, str) else f"{told}m")
    return int(found[1]) * _SECONDS[found[2]] if found else 0


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _table(held: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", held) if isinstance(held, Mapping) else {}


def refused(told: str, hint: str) -> ProgramError:
    """What cannot be measured here."""
    return ProgramError(f"{told}, which is not measured here", code="program-110", hint=hint)
