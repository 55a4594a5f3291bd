"""A timeline for other tools: rows in the shape of FOCUS, OpenMetrics text, JSON."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import Any

import msgspec
import numpy as np

from mainstem.base.errors import CapacityError
from mainstem.capacity.timeline import QUANTILES, Timeline
from mainstem.capacity.transition import Transition

FORMS = ("focus", "openmetrics", "json")
FOCUS = (
    "BilledCost",
    "BillingCurrency",
    "ChargeCategory",
    "ChargeDescription",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "ResourceName",
    "ServiceName",
    "x_BaselineQuantity",
    "x_ForecastQuantile",
    "x_PoolQuantity",
)
"""Columns of FOCUS 1.0 that a forecast can fill, and three of our own, which FOCUS marks with ``x_``."""


def exported(form: str, plan: Transition, found: Timeline, *, first: date, currency: str = "USD") -> str:
    """The timeline as text.

    Args:
        form: ``focus``, ``openmetrics`` or ``json``.
        plan: What it is of.
        found: The timeline.
        first: The first day of week 0.
        currency: Of the prices.

    Raises:
        CapacityError: ``capacity-056`` for an unknown form.
    """
    match form:
        case "focus":
            return focus_csv(plan, found, first=first, currency=currency)
        case "openmetrics":
            return open_metrics(plan, found)
        case "json":
            return msgspec.json.format(msgspec.json.encode(as_builtins(found)), indent=1).decode() + "\n"
        case _:
            raise CapacityError(f"found form {form!r}", code="capacity-056", hint=f"forms are {', '.join(FORMS)}")


def as_builtins(found: Timeline) -> Any:
    """The timeline as lists, numbers and text."""
    return msgspec.to_builtins(found, enc_hook=lambda array: np.asarray(array).tolist())


def focus_csv(plan: Transition, found: Timeline, *, first: date, currency: str) -> str:
    """One row a resource, week and quantile. Nothing of a forecast is billed, so ``BilledCost`` is 0.

    Rows of different quantiles are alternatives and not to be added up.
    """
    out = io.StringIO()
    rows = csv.DictWriter(out, FOCUS, lineterminator="\n")
    rows.writeheader()
    for resource, line in zip(plan.resources, found.resources, strict=True):
        for week in range(plan.weeks):
            start = first + timedelta(weeks=week)
            for at, share in enumerate(QUANTILES):
                units, cost = line.held[week, at], line.held[week, at] * resource.price
                rows.writerow(
                    {
                        "BilledCost": 0,
                        "BillingCurrency": currency,
                        "ChargeCategory": "Usage",
                        "ChargeDescription": f"forecast of {resource.name} in week {week}",
                        "ChargePeriodStart": f"{start.isoformat()}T00:00:00Z",
                        "ChargePeriodEnd": f"{(start + timedelta(weeks=1)).isoformat()}T00:00:00Z",
                        "ConsumedQuantity": f"{units:.6f}",
                        "ConsumedUnit": f"{resource.unit}-Weeks",
                        "ContractedCost": f"{cost:.6f}",
                        "EffectiveCost": f"{cost:.6f}",
                        "ListCost": f"{cost:.6f}",
                        "PricingQuantity": f"{units:.6f}",
                        "PricingUnit": f"{resource.unit}-Weeks",
                        "ProviderName": "mainstem forecast",
                        "ResourceName": resource.name,
                        "ServiceName": "ranking",
                        "x_BaselineQuantity": f"{line.baseline[week, at]:.6f}",
                        "x_ForecastQuantile": f"P{share * 100:.0f}",
                        "x_PoolQuantity": _pool(dict(resource.pool), week),
                    }
                )
    return out.getvalue()


def open_metrics(plan: Transition, found: Timeline) -> str:
    """Gauges of every week, and what the whole transition costs."""
    lines = [
        "# TYPE mainstem_capacity_units gauge",
        "# HELP mainstem_capacity_units Units held or in the baseline, by resource, week and quantile.",
    ]
    for resource, line in zip(plan.resources, found.resources, strict=True):
        for kind, values in (("held", line.held), ("baseline", line.baseline)):
            lines += [
                f'mainstem_capacity_units{{resource="{_label(resource.name)}",unit="{_label(resource.unit)}",kind="{kind}",'
                f'week="{week}",quantile="{share}"}} {values[week, at]:.6f}'
                for week in range(plan.weeks)
                for at, share in enumerate(QUANTILES)
            ]
    lines += [
        "# TYPE mainstem_capacity_short_chance gauge",
        "# HELP mainstem_capacity_short_chance Share of worlds in which the pool is too small in some week.",
        *(
            f'mainstem_capacity_short_chance{{resource="{_label(line.name)}"}} {line.short_chance:.6f}'
            for line in found.resources
        ),
        "# EOF",
    ]
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _pool(pool: dict[int, float], week: int) -> str:
    """The pool's units in a week; empty when there is no limit."""
    began = [start for start in pool if start <= week]
    return f"{pool[max(began)]:.6f}" if began else ""
