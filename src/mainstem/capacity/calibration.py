"""Constants of one machine from micro-benchmarks: fitted, judged on shapes that were held out, dated, and expiring."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls  # type: ignore[import-untyped]

from mainstem.base.errors import CapacityError, did_you_mean

Shape = dict[str, float]
LASTS: Final = 90
"""Days for which measured constants are believed."""
PACKED = 1e6
"""Multiplications from which on OpenBLAS copies both matrices into panels first; smaller products have kernels of their
own (``sgemm_small_kernel_permit``)."""
WORK: Final[dict[str, dict[str, Callable[[Mapping[str, float]], float]]]] = {
    "gather": {
        "call": lambda _: 1.0,
        "rows": lambda s: s["rows"],
        "lines": lambda s: _lines(s),
        "lines outside the core's cache": lambda s: _lines(s) * _outside(8.0 * s["rows"] * s["width"], 1e6),
        "lines of pages unknown": lambda s: (
            _lines(s) * _outside(8.0 * s["rows"] * s["width"], 1e6) * _outside(4.0 * s["table"] * s["width"], 8e6)
        ),
    },
    "gemm": {
        "call": lambda _: 1.0,
        "operations": lambda s: 2.0 * _products(s),
        "columns beside sixteens": lambda s: s["m"] * s["k"] * (s["n"] % 16.0 > 0.0),
        "left": lambda s: s["m"] * s["k"],
        "left packed": lambda s: s["m"] * s["k"] * (_products(s) > PACKED),
        "right packed": lambda s: s["k"] * s["n"] * (_products(s) > PACKED),
        "result": lambda s: s["m"] * s["n"],
        "result packed": lambda s: s["m"] * s["n"] * (_products(s) > PACKED),
    },
    "ranker": {
        "request": lambda _: 1.0,
        "user": lambda s: s["user"] * s["hidden"],
        "candidates": lambda s: s["candidates"],
        "hidden": lambda s: s["candidates"] * s["hidden"],
        "experts": lambda s: s["candidates"] * s["hidden"] * s["experts"],
        "crosses": lambda s: s["candidates"] * s["hidden"] * s["rank"],
        "crossed": lambda s: s["candidates"] * s["hidden"] * (s["rank"] > 0.0),
    },
    "memory": {
        "ranker": lambda _: 1.0,
        "user": lambda s: s["user"] * s["hidden"],
        "hidden": lambda s: s["hidden"],
        "experts": lambda s: s["hidden"] * s["experts"],
        "crosses": lambda s: s["hidden"] * s["rank"],
        "candidates": lambda s: s["candidates"],
    },
}
"""For each kind of measurement, the parts of its work; a part's seconds are fitted and never negative.

``memory`` is the most that a ranker of 10,000 items holds from its building through a request, in bytes, in the same fields.
"""


def _lines(shape: Mapping[str, float]) -> float:
    """Lines of 64 bytes that a gather reads."""
    return shape["rows"] * math.ceil(shape["width"] / 16.0)


def _products(shape: Mapping[str, float]) -> float:
    """Multiplications of a product of matrices."""
    return shape["m"] * shape["k"] * shape["n"]


def _outside(wanted: float, held: float) -> float:
    """The share of the bytes wanted that a store of so many bytes does not hold."""
    return max(0.0, 1.0 - held / wanted)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What was measured on: constants of another machine or library are another calibration's.

    Args:
        processor: The processor's name.
        cores: How many this process may use.
        libraries: Versions that the time depends on.
    """

    processor: str
    cores: int
    libraries: dict[str, str]

    @classmethod
    def here(cls) -> Hardware:
        """This machine."""
        import platform
        from importlib.metadata import version

        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return cls(
            names[0] if names else platform.processor(),
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            {name: version(name) for name in ("mainstem", "numpy")},
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """One kind's constants.

    Args:
        seconds: Seconds a unit of each part of the work.
        low: The least value measured of each parameter of the shape.
        high: The largest.
        shapes: How many shapes it was fitted on.
        held_out: How many it was judged on.
        error_p50: Median of the relative errors on the held-out shapes.
        error_p90: Their ninth decile.
        factor_low: The held-out measurements' fifth percentile over the prediction.
        factor_high: Their 95th.
    """

    seconds: dict[str, float]
    low: Shape
    high: Shape
    shapes: int
    held_out: int
    error_p50: float
    error_p90: float
    factor_low: float
    factor_high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Measured constants with what they were measured on and until when they count.

    Args:
        hardware: The machine and libraries.
        measured: The date.
        expires: The last day on which a prediction is made.
        fitted: Constants by kind.
        single: Single measured numbers that have no shape: bytes a logged row, training rows a CPU second.
    """

    hardware: Hardware
    measured: date
    expires: date
    fitted: dict[str, Fitted]
    single: dict[str, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted time with everything it stands on.

    Args:
        seconds: The time.
        low: The fifth percentile, by the errors on held-out shapes.
        high: The 95th.
        error_p50: The median error on held-out shapes.
        held_out: How many those were.
        processor: Of which processor.
        measured: On which day.
        expires: The last day it may be used.
    """

    seconds: float
    low: float
    high: float
    error_p50: float
    held_out: int
    processor: str
    measured: date
    expires: date


def fit(kind: str, shapes: list[Shape], seconds: NDArray[np.float64]) -> Fitted:
    """Constants from two shapes of three, judged on the third.

    Every third shape in the order given is held out; the fit weighs relative errors, so small shapes count as large ones.

    Raises:
        CapacityError: ``capacity-047`` for an unknown kind, ``capacity-048`` for too few shapes or a time that is not
            positive.
    """
    parts = _parts(kind)
    if len(shapes) != seconds.size or len(shapes) < 3 * len(parts) or not (seconds > 0.0).all():
        raise CapacityError(
            f"found {seconds.size} times of {len(shapes)} shapes for {kind}, expected positive ones, at least {3 * len(parts)}",
            code="capacity-048",
            hint="measure more shapes; a third of them is held out",
        )
    work = np.array([[part(shape) for part in parts.values()] for shape in shapes])
    held = np.arange(len(shapes)) % 3 == 1
    scale = work[~held].max(axis=0)
    scale[scale == 0.0] = 1.0
    found, _ = nnls(work[~held] / scale / seconds[~held, None], np.ones(int((~held).sum())))
    constants = found / scale
    factors = seconds[held] / (work[held] @ constants)
    wrong = np.abs(1.0 / factors - 1.0)
    keys = list(shapes[0])
    return Fitted(
        seconds={name: float(value) for name, value in zip(parts, constants, strict=True)},
        low={key: min(shape[key] for shape in shapes) for key in keys},
        high={key: max(shape[key] for shape in shapes) for key in keys},
        shapes=int((~held).sum()),
        held_out=int(held.sum()),
        error_p50=float(np.median(wrong)),
        error_p90=float(np.quantile(wrong, 0.9)),
        factor_low=float(np.quantile(factors, 0.05)),
        factor_high=float(np.quantile(factors, 0.95)),
    )


def predict(held: Calibration, kind: str, shape: Shape, *, today: date, hardware: Hardware | None = None) -> Prediction:
    """The time of a shape, or a refusal: outside what was measured, too old, or of another machine.

    Args:
        held: The constants.
        kind: ``gather``, ``gemm``, ``ranker`` or ``memory``.
        shape: Its parameters.
        today: The date; a calibration that has expired predicts nothing.
        hardware: Where the prediction is to hold; None for the machine that was measured.

    Raises:
        CapacityError: ``capacity-047`` for an unknown kind, ``capacity-049`` after the last day, ``capacity-050`` for
            another machine, ``capacity-051`` outside the range, ``capacity-052`` for a shape with other parameters,
            ``capacity-053`` for constants that another version measured.
    """
    fitted = _usable(held, kind, shape, today, hardware)
    parts = _parts(kind)
    seconds = sum(fitted.seconds[name] * part(shape) for name, part in parts.items())
    return Prediction(
        seconds,
        seconds * fitted.factor_low,
        seconds * fitted.factor_high,
        fitted.error_p50,
        fitted.held_out,
        held.hardware.processor,
        held.measured,
        held.expires,
    )


def calibration(
    fitted: dict[str, Fitted], single: dict[str, float], *, today: date, hardware: Hardware | None = None
) -> Calibration:
    """Constants dated today."""
    return Calibration(hardware or Hardware.here(), today, today + timedelta(days=LASTS), fitted, single)


def save(held: Calibration, file: Path) -> None:
    """Writes the constants; the file is complete or not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(asdict(held)), indent=1) + b"\n")
    os.replace(scratch, file)


def load(file: Path) -> Calibration:
    """The constants of a file.

    Raises:
        CapacityError: ``capacity-053`` when it is not there or holds something else.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Calibration)
    except (OSError, msgspec.DecodeError) as no:
        raise CapacityError(
            f"found no constants in {file}: {no}", code="capacity-053", hint="run mainstem capacity calibrate"
        ) from no


def _parts(kind: str) -> dict[str, Callable[[Mapping[str, float]], float]]:
    if kind not in WORK:
        raise CapacityError(f"found kind {kind!r}", code="capacity-047", hint=did_you_mean(kind, WORK))
    return WORK[kind]


def _usable(held: Calibration, kind: str, shape: Shape, today: date, hardware: Hardware | None) -> Fitted:
    """The constants of a kind, when they may speak of this shape, today, there."""
    parts = _parts(kind)
    if kind not in held.fitted:
        raise CapacityError(
            f"found no constants of {kind!r}", code="capacity-047", hint=did_you_mean(kind, held.fitted)
        )
    if today > held.expires:
        raise CapacityError(
            f"found constants of {held.measured}, which expired on {held.expires}",
            code="capacity-049",
            hint="run mainstem capacity calibrate again",
        )
    if hardware is not None and hardware != held.hardware:
        raise CapacityError(
            f"found constants of {held.hardware}, expected {hardware}",
            code="capacity-050",
            hint="run mainstem capacity calibrate on that machine",
        )
    fitted = held.fitted[kind]
    if set(shape) != set(fitted.low):
        raise CapacityError(
            f"found a shape of {', '.join(shape)} for {kind}, expected {', '.join(fitted.low)}",
            code="capacity-052",
            hint="name every parameter once",
        )
    for key, value in shape.items():
        if not fitted.low[key] <= value <= fitted.high[key]:
            raise CapacityError(
                f"found {key} {value:g} for {kind}, measured were {fitted.low[key]:g} to {fitted.high[key]:g}",
                code="capacity-051",
                hint="outside its range a fit says nothing; measure such a shape",
            )
    if set(fitted.seconds) != set(parts):
        raise CapacityError(
            f"found constants of {', '.join(fitted.seconds)} for {kind}, expected {', '.join(parts)}",
            code="capacity-053",
            hint="another version measured them: run mainstem capacity calibrate again",
        )
    return fitted
