"""What is a feature: one declaration with everything a reader, the back-fill and the server need to agree on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.features.language.aggregate import Aggregate, Latest
from mainstem.features.language.fold import Fold
from mainstem.features.language.matched import Matched
from mainstem.features.language.source import Source

KNOWN: Final = 0
EMPTY: Final = 1
FAILED: Final = 2
STATES: Final = ("known", "known to be empty", "failed")
"""What a value is: read; read, and there is nothing; or not readable, so that the failure policy decided."""

Policy = Literal["default", "cohort_mean", "refuse"]
Role = Literal["", "user", "item", "cross"]
Align = Literal["cover", "clock"]
Zone = Literal["utc", "local"]


@dataclass(frozen=True, slots=True)
class Context:
    """A number the request itself carries, such as ``now_ms`` or ``surface``, or that each of its candidates does."""

    per: Literal["request", "candidate"] = "request"


@dataclass(frozen=True, slots=True)
class Attribute:
    """A fact of an entity, out of a table that is loaded beside the log.

    Attributes:
        table: Name of the table.
        column: Its column; a column of vectors gives a vector for ``dot``.
        key: The name, in a request or an event, whose number is the table's key.
    """

    table: str
    column: str
    key: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A list as a feature of its own: the newest ``most`` values of a kept list, or its most frequent ones.

    Among equally frequent values the one seen last comes first.
    """

    column: str
    most: int
    frequent: bool = False


@dataclass(frozen=True, slots=True)
class PythonFunction:
    """A function of our own over named columns. It runs where it is served only: such a feature is *logged only*.

    Its past values are those that were logged; they are never recomputed, so no parity is claimed for it.
    """

    function: Callable[..., NDArray[np.float64]]
    reads: tuple[str, ...]


Definition = str | Aggregate | Latest | Fold | Matched | Context | Attribute | Listed | PythonFunction


@dataclass(frozen=True, slots=True)
class Feature:
    """One named value with one meaning, the same for training and for serving.

    Attributes:
        of: What it is: an expression over other names, an aggregate or a fold of a source's events, an attribute, the
            request's own.
        over: The key whose events are aggregated: names that stand both in the source's events and in a request.
        windows: How far back an aggregate looks, such as ``1h`` or ``7d``; ``ever`` is everything. With several windows each
            is a column of its own, ``name_1h``; with one the column has the feature's name.
        align: ``cover`` begins a window at a whole step before it (at least its length); ``clock`` counts whole steps of
            ``step`` with the running one, as "today and the six days before" does.
        step: How finely a window moves; chosen by the window's length when empty (5 min below 12 h, 1 h below 12 d, else 1 d).
        kept: For how long steps are kept, where that is longer than the longest window: for requests about the recent past.
        zone: Whose clock the steps follow: UTC, or the local time that ``utc_offset_ms`` of event and request tells.
        width: How many columns a vector attribute fills, ``name_0`` and so on.
        role: Which side of the ranker's input it is; none for one that only other features read.
        default: What is read instead when the lookup failed.
        empty: What is read when there is nothing; the default when not given.
        failed: What happens when the lookup failed.
        version: Rises whenever the meaning changes; a changed meaning under an old version is refused.
    """

    name: str
    of: Definition
    over: tuple[str, ...] | str = ()
    source: Source | None = None
    windows: tuple[str, ...] = ("ever",)
    align: Align = "cover"
    step: str = ""
    kept: str = ""
    zone: Zone = "utc"
    role: Role = ""
    dtype: Literal["float32", "float64"] = "float32"
    width: int = 1
    unit: str = ""
    about: str = ""
    owner: str = "ranking"
    default: float = 0.0
    empty: float | None = None
    failed: Policy = "default"
    version: int = 1

    @property
    def key(self) -> tuple[str, ...]:
        """The names it is aggregated over."""
        return (self.over,) if isinstance(self.over, str) else tuple(self.over)

    @property
    def when_empty(self) -> float:
        """What is read when there is nothing."""
        return self.default if self.empty is None else self.empty

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it makes."""
        if isinstance(self.of, Latest):
            return tuple(f"{self.name}.{field}" for field in (*self.of.fields, "time_ms"))
        if isinstance(self.of, Matched):
            return tuple(f"{self.name}.{part}" for part in self.of.parts)
        if isinstance(self.of, Fold):
            return tuple(f"{self.name}.{part}" for part in self.of.state)
        if self.width > 1:
            return tuple(f"{self.name}_{place}" for place in range(self.width))
        if len(self.windows) == 1:
            return (self.name,)
        return tuple(f"{self.name}_{window}" for window in self.windows)

    @property
    def tells(self) -> tuple[str, ...]:
        """What it says of each event to sources that see it: names that no request can read."""
        return tuple(f"{self.name}.{told}" for told in self.of.tells) if isinstance(self.of, Fold) else ()

    @property
    def parity(self) -> str:
        """How far its two worlds are held to agree: in every bit, within a sketch's bound, or only where it was logged."""
        if isinstance(self.of, PythonFunction):
            return "logged only"
        return "sketch" if isinstance(self.of, Aggregate) and self.of.registers else "bits"

    def described(self) -> dict[str, Any]:
        """Everything that gives it its meaning except what it reads, for a fingerprint."""
        of = self.of
        if isinstance(of, PythonFunction):
            what: Any = {"function": f"{of.function.__module__}.{of.function.__qualname__}", "reads": list(of.reads)}
        elif isinstance(of, Fold):
            what = {"Fold": of.described()}
        elif isinstance(of, str):
            what = " ".join(of.split())
        else:
            what = {type(of).__name__: _plain(of)}
        return ({"kept": self.kept} if self.kept else {}) | {
            "name": self.name,
            "of": what,
            "over": list(self.key),
            "windows": list(self.windows),
            "align": self.align,
            "step": self.step,
            "zone": self.zone,
            "dtype": self.dtype,
            "width": self.width,
            "default": repr(self.default),
            "empty": repr(self.when_empty),
            "failed": self.failed,
        }


def _plain(record: Any) -> Any:
    """A record of records as plain dictionaries."""
    if isinstance(record, Mapping):
        return {str(name): _plain(value) for name, value in sorted(record.items())}
    if hasattr(record, "__dataclass_fields__"):
        return {name: _plain(getattr(record, name)) for name in record.__dataclass_fields__}
    if isinstance(record, Sequence) and not isinstance(record, str):
        return [_plain(value) for value in record]
    return repr(record) if isinstance(record, float) else record
