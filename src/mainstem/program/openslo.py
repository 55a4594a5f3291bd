"""OpenSLO files as gates: each objective of an SLO is a gate that wants at least its target, as a share of good events.

A gate names the file (``openslo = "slo/feed.yaml"``), which stays the one place that says the target. Read are ``openslo/v1`` and
``openslo/v1alpha``; other kinds of object beside the SLO, and how the share is measured, are for the tools that measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Final

from mainstem.base.errors import ProgramError

VERSIONS: Final = ("openslo/v1", "openslo/v1alpha")
_OWN: Final = ("about", "at_least", "at_most")


def gates_of_slo(text: str, where: str) -> list[dict[str, Any]]:
    """Which gates the SLOs of a file ask for: ``about`` and ``at_least`` of each objective.

    One objective is about the SLO's name; of several each is about ``NAME/DISPLAYNAME``, or ``NAME/2`` without one.

    Raises:
        ProgramError: It is no YAML, holds no SLO, or an objective has no target between 0 and 1 (``program-060``), with the
            line or the place; or no YAML reader is installed (``program-061``).
    """
    return [gate for at, one in slo_objects(text, where) if one.get("kind") == "SLO" for gate in objectives_of(one, at)]


def slo_objects(text: str, where: str) -> list[tuple[str, dict[str, Any]]]:
    """Every object of a file with its place, of which at least one is an SLO.

    Raises:
        ProgramError: It is no YAML or holds no SLO (``program-060``), or no YAML reader is installed (``program-061``).
    """
    objects = [
        one for document in _documents(text, where) for one in (document if isinstance(document, list) else [document])
    ]
    out = [(f"{where}, object {at}", one) for at, one in enumerate(objects, 1) if isinstance(one, dict)]
    if not any(one.get("kind") == "SLO" for _, one in out):
        raise _refused(f"{where} holds no object of the kind SLO")
    return out


def with_openslo(given: dict[str, Any], beside: Callable[[str], str] | None, where: str) -> dict[str, Any]:
    """The plan's tables with each gate that names an OpenSLO file turned into the gates of that file.

    Args:
        given: The tables as they were read; they are not changed.
        beside: The text of a file beside the plan; None when a plan has no place.
        where: The plan, for refusals.

    Raises:
        ProgramError: What ``gates_of_slo`` raises, or the file is not there or has bounds beside it (``program-060``).
    """
    stones = given.get("milestones")
    if not isinstance(stones, dict):
        return given
    out = {}
    for name, one in stones.items():
        out[name] = one
        gates = one.get("gates") if isinstance(one, dict) else None
        if isinstance(gates, list) and any(isinstance(gate, dict) and "openslo" in gate for gate in gates):
            out[name] = one | {"gates": _expanded(gates, beside, f"{where}: milestones.{name}.gates")}
    return given | {"milestones": out}


def without_openslo(gates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The gates as the plan's text has them: one for each named file, without what the file says."""
    out: list[dict[str, Any]] = []
    for gate in gates:
        plain = {key: value for key, value in gate.items() if key not in _OWN} if gate.get("openslo") else gate
        if plain not in out or not gate.get("openslo"):
            out.append(plain)
    return out


def _expanded(gates: list[Any], beside: Callable[[str], str] | None, where: str) -> list[Any]:
    out: list[Any] = []
    for gate in gates:
        file = gate.get("openslo") if isinstance(gate, dict) else None
        if not isinstance(file, str) or not file:
            out.append(gate)
            continue
        own = [key for key in _OWN if key in gate]
        if own:
            raise _refused(f"{where} has {own[0]} beside openslo = {file!r}, which says it")
        out += [gate | one for one in gates_of_slo(_text_of(file, beside, where), file)]
    return out


def _text_of(file: str, beside: Callable[[str], str] | None, where: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise _refused(f"{where} names {file!r}, expected a file in the plan's folder")
    if beside is None:
        raise _refused(f"{where} names {file!r}, and a text alone has no files beside it")
    try:
        return beside(file)
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(f"{where} names {file!r}, which cannot be read: {error}") from None


def _documents(text: str, where: str) -> list[Any]:
    try:
        import yaml
    except ImportError:
        raise ProgramError(
            f"{where} is YAML, and no reader of it is installed",
            code="program-061",
            hint="pip install 'mainstem[openslo]'",
        ) from None
    try:
        for node in yaml.compose_all(text, yaml.SafeLoader):
            _refuse_twice(node, where, set())
        return list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise _refused(f"{where}{line}: {getattr(error, 'problem', None) or error}") from None
    except (RecursionError, ValueError) as error:
        raise _refused(f"{where}: {error}") from None


def _refuse_twice(node: Any, where: str, seen: set[int]) -> None:
    """A key that comes twice has no one meaning, though YAML's reader takes the last."""
    if node is None or id(node) in seen or not isinstance(node.value, list):
        return
    seen.add(id(node))
    keys: set[str] = set()
    for one in node.value:
        key, *rest = one if isinstance(one, tuple) else (None, one)
        if key is not None and isinstance(key.value, str):
            if key.value in keys:
                raise _refused(f"{where}:{key.start_mark.line + 1}: the key {key.value!r} comes twice")
            keys.add(key.value)
        for inner in rest:
            _refuse_twice(inner, where, seen)


def objectives_of(slo: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The gates of one SLO: ``about`` and ``at_least`` of each of its objectives, as ``gates_of_slo``."""
    if slo.get("apiVersion") not in VERSIONS:
        raise _refused(f"{where} is of {slo.get('apiVersion')!r}, expected {' or '.join(VERSIONS)}")
    metadata, spec = slo.get("metadata"), slo.get("spec")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    held = spec.get("objectives") if isinstance(spec, dict) else None
    if not isinstance(name, str) or not name:
        raise _refused(f"{where} has no metadata.name")
    if not isinstance(held, list) or not held or not all(isinstance(one, dict) for one in held):
        raise _refused(f"{where} ({name}) has no list of spec.objectives")
    return [
        {
            "about": name if len(held) == 1 else f"{name}/{one.get('displayName') or at}",
            "at_least": _target(one, f"{where} ({name}), objective {at}"),
        }
        for at, one in enumerate(held, 1)
    ]


def _target(objective: dict[str, Any], where: str) -> float:
    share, percent = objective.get("target"), objective.get("targetPercent")
    if (share is None) == (percent is None):
        raise _refused(f"{where}: expected one of target and targetPercent")
    value = share if percent is None else percent
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refused(f"{where}: the target is {value!r}, expected a number")
    # Rounded, because 99.9 percent is not quite 0.999 in binary.
    found = float(value) if percent is None else round(value / 100, 12)
    if not 0 < found <= 1:
        raise _refused(f"{where}: the target is {found:g}, expected a share above 0 and at most 1")
    return found


def _refused(told: str) -> ProgramError:
    return ProgramError(
        told, code="program-060", hint="docs/guides/program-as-code.md shows a gate and its OpenSLO file"
    )
