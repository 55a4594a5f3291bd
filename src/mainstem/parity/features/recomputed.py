"""The recomputed world: the same requests from the log's columns alone, each as of the offset its server had seen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.features.backfill import Backfill, Requests
from mainstem.features.events import Events
from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.plan import Plan
from mainstem.features.steps import Tables
from mainstem.parity.features.configuration import Asked, Configuration, Side
from mainstem.parity.features.everything import Everything, kinds_of
from mainstem.parity.features.served import value_table
from mainstem.parity.features.value_rows import Rows, columns_of_roles, filled_places, lists_of
from mainstem.parity.features.values import ragged

Ints = NDArray[np.int64]
Progress = Callable[[float], None]
_NUMBERS: Final = 32_000_000
"""Numbers of lists and vectors that are held at once: 256 MB."""


class Recomputed:
    """A log made ready for being asked again and again.

    Args:
        configuration: What is declared.
        streams: The log's events by stream.
        plan: What is compiled instead of the configuration's own.
        tables: Where attributes come from instead.
        threads: Ranges of keys worked on side by side.
        names: The columns that are computed; all when None.
        default: Stands for every declared default and empty value; the declared ones when None.
        swapped: A key that is read by another name's number (``Everything``).
    """

    def __init__(
        self,
        configuration: Configuration,
        streams: Mapping[str, Events],
        plan: Plan | None = None,
        tables: Tables | None = None,
        threads: int = 2,
        names: Collection[str] | None = None,
        swapped: tuple[str, str] | None = None,
        default: float | None = None,
    ) -> None:
        self.configuration, self.default = configuration, default
        self.plan, self.tables = plan or configuration.plan, tables or configuration.tables
        self._backfill = Backfill(self.plan, self.tables, streams, threads=threads)
        self._filled: dict[str, Ints] = {}
        kinds = kinds_of(self.plan, self.tables)
        own = set(kinds if names is None else names)
        lists = {kinds[name].over for name in own if kinds[name].shape.listed}
        own |= {name for name, kind in kinds.items() if kind.over in lists and name.startswith(f"{kind.over}.")}
        self._whole = Everything(self.plan, self.tables, lambda name, kind: name in own)
        wanted: dict[str, Callable[[Kind], bool]] = {
            "requests": lambda kind: kind.shape is Shape.R,
            "candidates": lambda kind: kind.shape is Shape.C and not kind.vector,
            "lists": lambda kind: kind.shape is Shape.L,
            "pairs": lambda kind: kind.shape is Shape.M or (kind.shape is Shape.C and kind.vector),
        }
        self._readings = {
            part: Everything(self.plan, self.tables, lambda name, kind, one=one: name in own and one(kind), swapped)
            for part, one in wanted.items()
            if any(one(kinds[name]) for name in own)
        }

    def table(self, asked: Asked, as_of: Ints, progress: Progress | None = None) -> pa.Table:
        """The value table of these requests.

        Args:
            asked: What was asked.
            as_of: The offset before which each saw the events.
            progress: Told the share that is done.
        """
        rows = self.rows(asked, as_of, progress)
        return value_table(self.configuration, asked, as_of, rows, self._sides(asked, rows))

    def rows(self, asked: Asked, as_of: Ints, progress: Progress | None = None) -> Rows:
        """The values by column."""
        n = len(asked)
        rows = Rows(self._whole)
        request = np.repeat(np.arange(n), asked.logged)
        place = ragged(np.zeros(n, np.int64), asked.logged)
        one_each = np.ones(n, np.int64)
        alone, each = (np.arange(n), np.zeros(n, np.int64)), (request, place)
        for done, (name, reading) in enumerate(self._readings.items()):
            at, which = each if name in ("candidates", "pairs") else alone
            for part in self._chunks(reading, asked, at):
                values = self._values(reading, asked, as_of, at[part], which[part])
                counts = np.ones(len(part), np.int64) if name in ("candidates", "pairs") else one_each[: len(part)]
                filled: dict[str, Ints] = {}
                if name == "lists":
                    filled = filled_places(values, lists_of(reading))
                    self._filled = (
                        {
                            over: np.concatenate([self._filled.get(over, filled[over][:0]), filled[over]])
                            for over in filled
                        }
                        if part[0]
                        else filled
                    )
                elif name == "pairs":
                    filled = {over: found[at[part]] for over, found in self._filled.items()}
                rows.add(values, counts, filled)
            if progress is not None:
                progress((done + 1) / len(self._readings))
        return rows

    def _values(self, reading: Everything, asked: Asked, as_of: Ints, at: Ints, which: Ints) -> dict[str, Any]:
        candidates = asked.candidates[at, which][:, None]
        given = self.configuration.given(asked, at, candidates)
        found = self._backfill.values(reading, Requests(given, as_of[at]))
        return {
            name: array[:, None] if reading.kind_of(name).shape is Shape.C else array for name, array in found.items()
        }

    def _chunks(self, reading: Everything, asked: Asked, at: Ints) -> list[Ints]:
        """Rows that are computed together: few where lists are long."""
        widths = sum(self._size(reading, column.name) for column in reading.columns)
        step = max(256, _NUMBERS // max(widths, 1))
        return [np.arange(start, min(start + step, len(at))) for start in range(0, len(at), step)]

    def _size(self, reading: Everything, name: str) -> int:
        kind = reading.kind_of(name)
        places = reading.places.get(kind.over, 64) if kind.shape.listed else 1
        return places * (64 if kind.vector else 1)

    def _sides(self, asked: Asked, rows: Rows) -> tuple[Side, Side] | None:
        """The ranker's columns as the server reads them: in float32, empty ones as declared."""
        configuration = self.configuration
        if not configuration.user:
            return None
        sides = []
        sizes = (len(asked), int(asked.logged.sum()))
        for roles, size in zip((configuration.user, configuration.candidate), sizes, strict=True):
            columns = [np.empty((size, 0), configuration.dtype)]
            for feature, _ in columns_of_roles(self.plan, roles):
                for name in (feature.name,) if feature.width > 1 else feature.columns:
                    numbers = rows.column(name)[0] if name in rows.kinds else np.zeros(size * feature.width)
                    empty = feature.when_empty if self.default is None else self.default
                    filled = np.where(np.isnan(numbers), empty, numbers).astype(configuration.dtype)
                    columns.append(filled.reshape(-1, feature.width))
            sides.append(np.concatenate(columns, axis=1))
        defaults = [d for role in configuration.user for d in self.plan.features.defaults_of(role)]
        if self.default is not None:
            defaults = [self.default] * len(defaults)
        sides[0][asked.failed] = np.array(defaults, configuration.dtype)
        return sides[0], sides[1]
