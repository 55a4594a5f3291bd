"""What can be kept of a key's events where their order matters: a declared step from state to state.

Counts, sums and lists do not care who came first, and are declared as aggregates. Some things do: credit for a late outcome, a
taste that fades with each item that joins it, a session. A *fold* declares such a thing: what state a key has, what the step is
told of an event, and the step itself, which sees one key's events in log order. The live state and the back-fill run the same
compiled step, so they agree in every bit whatever the step does.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from mainstem.base.errors import FeatureError

Run: TypeAlias = Callable[[Any, Any, Any, Any, tuple[Any, ...]], None]
"""``run(state, rows, inputs, told, beside)``: takes events in, one after the other.

Shapes: ``state`` float64 [keys, words]; ``rows`` int64 [n], which row of the state an event moves; ``inputs`` float64
[n, takes]; ``told`` float64 [n, tells], NaN where nothing is told; ``beside`` float64 arrays of table columns. It may read and
write the event's own row of the state only, so that any cut of a log into batches gives the same state.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One named piece of a key's state.

    Attributes:
        kind: A number, a list (read newest first: the step keeps it so) or a vector (for ``dot``).
        start: What every word of it is before the first event; NaN is empty.
    """

    kind: Literal["number", "list", "vector"] = "number"
    size: int = 1
    start: float = math.nan


def number(start: float = 0.0) -> Part:
    """One number."""
    return Part("number", 1, start)


def listed(places: int) -> Part:
    """A list of so many places; empty ones are NaN. All lists of a fold have the same number of places."""
    return Part("list", places)


def vector(width: int, start: float = 0.0) -> Part:
    """A vector."""
    return Part("vector", width, start)


@dataclass(frozen=True, slots=True)
class Fold:
    """State that a step moves, one event of a key after the other.

    Attributes:
        state: The parts by name, in the order of their words; a request reads each as ``feature.part``.
        takes: What the step is told of an event, as expressions by name, in order; what is empty is NaN.
        run: The compiled step over a batch.
        tells: What the step says of each event, by name; a later source ``sees`` it as ``feature.name``.
        beside: Columns of attribute tables, as ``table.column``, handed to the step whole.
        version: Rises whenever the step means something else.
    """

    state: Mapping[str, Part]
    takes: Mapping[str, str]
    run: Run
    tells: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    version: int = 1
    words: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", sum(part.size for part in self.state.values()))
        places = {part.size for part in self.state.values() if part.kind == "list"}
        twice = set(self.state) & set(self.tells)
        if len(places) > 1 or twice or not self.state or any(part.size < 1 for part in self.state.values()):
            what = f"{sorted(twice)} are both kept and told" if twice else f"lists of {sorted(places)} places"
            raise FeatureError(
                f"a fold of {len(self.state)} parts cannot be: {what}",
                code="feature-006",
                hint="give it at least one part of at least one word, lists of one length, and each name once",
            )

    @property
    def places(self) -> int:
        """How long its lists are; 0 without any."""
        return next((part.size for part in self.state.values() if part.kind == "list"), 0)

    def place(self, part: str) -> slice:
        """Which words of a key's state a part has."""
        first = 0
        for name, one in self.state.items():
            if name == part:
                return slice(first, first + one.size)
            first += one.size
        raise KeyError(part)

    def starts(self) -> list[float]:
        """The state of a key without events."""
        return [part.start for part in self.state.values() for _ in range(part.size)]

    def described(self) -> dict[str, Any]:
        """Everything that gives it its meaning, the text of its step included (comments and layout do not count)."""
        step = getattr(self.run, "py_func", self.run)
        return {
            "state": {name: [part.kind, part.size, repr(part.start)] for name, part in self.state.items()},
            "takes": {name: " ".join(text.split()) for name, text in self.takes.items()},
            "tells": list(self.tells),
            "beside": list(self.beside),
            "step": f"{step.__module__}.{step.__qualname__}",
            "text": _text_hash(step),
            "version": self.version,
        }


def _text_hash(step: Callable[..., object]) -> str:
    """A hash of what a function says; empty where its text cannot be had."""
    try:
        text = textwrap.dedent(inspect.getsource(step))
    except OSError:
        return ""
    return hashlib.sha256(ast.unparse(ast.parse(text)).encode()).hexdigest()[:12]
