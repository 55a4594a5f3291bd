"""What do declared features compile to: state tables to fill from events, windows to read, and programs of expressions.

    definition  ->  expression (what an event adds)  ->  monoid (how it is kept)  ->  finish (what is read)

The plan is plain data. Three executors run it with one compiled library: ``backfill`` (columns), and of the live state apply
and read. Their semantics are told in ``docs/concepts/features.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mainstem.base.errors import FeatureError
from mainstem.features.kernel.shape import ADD, BYTEMAX, CLOCK, COVER, DECAY, MAX, MIN, GroupShape, Window
from mainstem.features.language.aggregate import FIXED, Aggregate, Kept, Latest
from mainstem.features.language.feature import Attribute, Context, Feature, Listed, PythonFunction
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.fold import Fold
from mainstem.features.language.matched import Matched
from mainstem.features.language.names import names_in, written_out
from mainstem.features.language.source import Source, duration_ms

_OPS: Final = {"add": ADD, "min": MIN, "max": MAX, "registers": BYTEMAX}
_HOUR_MS: Final = 3_600_000
_STEPS: Final = ((12 * _HOUR_MS, 300_000), (12 * 24 * _HOUR_MS, _HOUR_MS))
_LONGEST_STEP_MS: Final = 24 * _HOUR_MS
LIST_TIME: Final = "time_ms"


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One kept number of a group: an event's expression, and how two combine."""

    value: str
    monoid: str
    scale: float
    words: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """One number that a read gives: an accumulator in a window."""

    name: str
    window: int
    accumulator: int


@dataclass(frozen=True, slots=True)
class Group:
    """One state table: everything kept per key of a source under one clock.

    Attributes:
        first_word: Where each accumulator's words begin.
        leaves: What is read, with the name it has in the request's program.
        fields: Of a group that keeps the latest events: their expressions by name, and the steps per unit.
        where: Of such a group: which events are kept.
    """

    name: str
    source: Source
    key: tuple[str, ...]
    zone: str
    shape: GroupShape
    accumulators: tuple[Accumulator, ...]
    first_word: tuple[int, ...]
    windows: tuple[Window, ...]
    leaves: tuple[Leaf, ...]
    latest: str
    fields: tuple[tuple[str, str, float], ...]
    where: str

    @property
    def ttl_ms(self) -> int | None:
        """After which silence nothing of a key can be read any more; None where something is kept for ever."""
        if self.latest or not self.windows or any(window.level < 0 for window in self.windows):
            return None
        return max((window.reach + 2) * self.shape.hops_ms[window.level] for window in self.windows)


@dataclass(frozen=True, slots=True)
class FoldGroup:
    """One fold's state table, under the name of its feature."""

    name: str
    source: Source
    key: tuple[str, ...]
    fold: Fold

    @property
    def columns(self) -> tuple[str, ...]:
        """The names under which its parts are read."""
        return tuple(f"{self.name}.{part}" for part in self.fold.state)

    @property
    def tells(self) -> tuple[str, ...]:
        """The names of what it says of each event."""
        return tuple(f"{self.name}.{told}" for told in self.fold.tells)


class Plan:
    """The compiled form of a feature set.

    Args:
        features: What to compile.

    Raises:
        FeatureError: A window is no whole number of steps (``feature-003``), or a fading sum has no window (``feature-003``).
    """

    def __init__(self, features: FeatureSet) -> None:
        self.features = features
        drafts: dict[tuple[str, ...], _Draft] = {}
        self._finish: dict[str, str] = {}
        self._meanings: dict[str, str | None] = {}
        tiled = {_table_of(f) for f in features if isinstance(f.of, Aggregate) and set(f.windows) != {"ever"}}
        for feature in features:
            if isinstance(feature.of, Aggregate | Latest):
                latest = feature.name if isinstance(feature.of, Latest) else ""
                place = (*_table_of(feature), latest, _family(feature, _table_of(feature) in tiled))
                draft = drafts.setdefault(place, _Draft(f"g{len(drafts)}", feature))
                self._finish |= draft.take(feature)
        self.groups = tuple(draft.group() for draft in drafts.values())
        self.folds = tuple(
            FoldGroup(feature.name, feature.source, feature.key, feature.of)
            for feature in features
            if isinstance(feature.of, Fold) and feature.source is not None
        )

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The sources that some group reads, each after those it sees."""
        used = {group.source.name for group in (*self.groups, *self.folds)}
        return tuple(source for source in self.features.sources if source.name in used)

    def groups_of(self, source: Source) -> tuple[Group, ...]:
        """The state tables that a source's events fill."""
        return tuple(group for group in self.groups if group.source.name == source.name)

    def folds_of(self, source: Source) -> tuple[FoldGroup, ...]:
        """The folds that a source's events move."""
        return tuple(fold for fold in self.folds if fold.source.name == source.name)

    def text_of(self, column: str) -> str:
        """The expression of a column over inputs, attributes and reads, every derived name written out."""
        return written_out(column, self.meaning, f"feature {column!r}")

    def meaning(self, name: str) -> str | None:
        """What a derived or aggregated name stands for; None for inputs, attributes, lists and reads."""
        if name not in self._meanings:
            self._meanings[name] = self._finish.get(name) or self._derived(name)
        return self._meanings[name]

    def _derived(self, name: str) -> str | None:
        feature = self.features.owner_of.get(name)
        if feature is not None and isinstance(feature.of, str) and name == feature.name:
            return self.text_of_definition(feature)
        return None

    def text_of_definition(self, feature: Feature) -> str:
        """A derived feature's expression with every derived name written out."""
        assert isinstance(feature.of, str)
        return written_out(feature.of, self.meaning, f"feature {feature.name!r}")

    def kind_of(self, name: str) -> str:
        """Whether a name is ``context``, ``attribute``, ``derived``, ``aggregate``, ``latest``, ``fold``, ``matched``,
        ``listed`` or ``function``."""
        return kind_of(self.features.owner_of[name])


def kind_of(feature: Feature) -> str:
    """Whether a feature is ``context``, ``attribute``, ``derived``, ``aggregate``, ``latest``, ``fold``, ``matched``, ``listed`` or
    ``function``."""
    names = {
        Context: "context",
        Attribute: "attribute",
        str: "derived",
        Aggregate: "aggregate",
        Latest: "latest",
        Fold: "fold",
        Matched: "matched",
        Listed: "listed",
        PythonFunction: "function",
    }
    return names[type(feature.of)]


class _Draft:
    """A group while the features that share it are collected."""

    def __init__(self, name: str, first: Feature) -> None:
        assert first.source is not None
        self._name = name
        self._first = first
        self._source = first.source
        self._accumulators: dict[Accumulator, int] = {}
        self._hops: dict[int, int] = {}
        self._windows: dict[Window, int] = {}
        self._leaves: dict[str, Leaf] = {}

    def take(self, feature: Feature) -> dict[str, str]:
        """Adds what a feature needs; answers the finish of each of its columns."""
        of = feature.of
        if isinstance(of, Latest):
            return {}
        assert isinstance(of, Aggregate)
        out: dict[str, str] = {}
        for column, window in zip(feature.columns, feature.windows, strict=True):
            read = self._window(feature, of, window)
            leaves = {part: self._leaf(kept, of, read) for part, kept in of.parts.items()}
            finish = of.finish or next(iter(of.parts))
            out[column] = written_out(finish, leaves.get, f"feature {feature.name!r}")
        return out

    def group(self) -> Group:
        """The finished group."""
        of = self._first.of
        words = [accumulator.words for accumulator in self._accumulators]
        first = [sum(words[:at]) for at in range(len(words))]
        latest = of if isinstance(of, Latest) else None
        fields = (
            tuple((name, text, self._field_scale(latest, name)) for name, text in latest.fields.items())
            if latest
            else ()
        )
        shape = GroupShape(
            key_width=len(self._first.key),
            ops=tuple(_OPS[a.monoid] for a in self._accumulators for _ in range(a.words)),
            hops_ms=tuple(self._hops),
            keeps=tuple(self._hops.values()),
            list_k=latest.keep if latest else 0,
            list_fields=len(fields),
            by_time=latest.by_time if latest else True,
        )
        return Group(
            name=self._name,
            source=self._source,
            key=self._first.key,
            zone=self._first.zone,
            shape=shape,
            accumulators=tuple(self._accumulators),
            first_word=tuple(first),
            windows=tuple(self._windows),
            leaves=tuple(self._leaves.values()),
            latest=self._first.name if latest else "",
            fields=fields,
            where=latest.where if latest else "",
        )

    def _field_scale(self, latest: Latest, name: str) -> float:
        """Steps per unit of a kept field: one for a column of whole numbers, or what is declared."""
        whole = self._source.columns.get(latest.fields[name]) == "int64"
        return latest.scale.get(name, 1.0 if whole else FIXED)

    def _leaf(self, kept: Kept, of: Aggregate, window: int) -> str:
        """The name of one number, in units of its value."""
        monoid = kept.monoid
        words = of.registers // 8 if monoid == "registers" else 1
        wanted = Accumulator(kept.value, monoid, kept.scale, words)
        at = self._accumulators.setdefault(wanted, len(self._accumulators))
        name = f"{self._name}w{window}a{at}"
        self._leaves.setdefault(name, Leaf(name, window, at))
        return name if kept.scale == 1.0 else f"({name} / {kept.scale!r})"

    def _window(self, feature: Feature, of: Aggregate, text: str) -> int:
        if text == "ever":
            if of.half_life:
                raise FeatureError(
                    f"the fading sum {feature.name!r} has no window, and old tiles have to go some day",
                    code="feature-003",
                    hint="give it one of a few half lives, such as windows=('90d',)",
                )
            return self._windows.setdefault(Window(-1, 0), len(self._windows))
        span = duration_ms(text)
        hop = duration_ms(feature.step) if feature.step else _step_ms(span)
        if span % hop:
            raise FeatureError(
                f"the window {text} of feature {feature.name!r} is no whole number of its steps of {hop // 1000} s",
                code="feature-003",
                hint="choose a step that divides the window, such as step='1h'",
            )
        reach = span // hop
        level = list(self._hops).index(hop) if hop in self._hops else len(self._hops)
        kept = -(-duration_ms(feature.kept) // hop) if feature.kept else 0
        self._hops[hop] = max(self._hops.get(hop, 0), reach + 1, kept + 1)
        kind = CLOCK if feature.align == "clock" else COVER
        weights: tuple[float, ...] = ()
        if of.half_life:
            kind, half_ms = DECAY, duration_ms(of.half_life)
            weights = tuple(0.5 ** (age * hop / half_ms) for age in range(reach + 1))
        return self._windows.setdefault(Window(level, reach, kind, weights), len(self._windows))


def _table_of(feature: Feature) -> tuple[str, ...]:
    assert feature.source is not None
    return (feature.source.name, *feature.key, feature.zone)


def _family(feature: Feature, tiled: bool) -> str:
    """What is kept together: sums have running totals that extremes and registers, which cannot be taken back, have not.

    Where nothing of the table is read in windows there are no totals to keep apart, and one look is cheaper than two. What is
    kept for ever only stands apart from what is kept in tiles: every tile holds all sums of its table.
    """
    if isinstance(feature.of, Latest):
        return "list"
    assert isinstance(feature.of, Aggregate)
    monoid = next(iter(feature.of.parts.values())).monoid
    family = ("extreme" if tiled else "add") if monoid in ("min", "max") else monoid
    return family if set(feature.windows) == {"ever"} else f"{family} in tiles"


def _step_ms(span_ms: int) -> int:
    """How finely a window of this length moves (Chronon's rule)."""
    return next((hop for below, hop in _STEPS if span_ms < below), _LONGEST_STEP_MS)


def reads_of(text: str) -> tuple[str, ...]:
    """The names of an expression of the plan."""
    return names_in(text, "the plan")
