"""In which order are names filled in: look up, read, compute, until every wanted name has its array?

The same order is made for an event (whose columns are given) and for a request (whose context and candidates are given), so an
attribute or a derived key means the same on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.features.language.expression import CONSTANTS, Kind, Shape, together
from mainstem.features.language.feature import Attribute, Feature, PythonFunction
from mainstem.features.language.matched import Matched
from mainstem.features.language.names import names_in, written_out
from mainstem.features.language.plan import LIST_TIME, FoldGroup, Group, Plan
from mainstem.features.language.program import Program


@dataclass(frozen=True, slots=True)
class LookUp:
    """Fetch a table's column at the rows of a key."""

    name: str
    table: str
    column: str
    key: str


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """Read everything a state table keeps for a key.

    Attributes:
        name: One of the names it fills.
    """

    name: str
    group: Group | FoldGroup


@dataclass(frozen=True, slots=True)
class Compute:
    """Run a program over names that are there.

    Attributes:
        name: One of the names it fills.
        texts: What it fills, written out.
    """

    name: str
    program: Program
    texts: tuple[tuple[str, str], ...]

    @property
    def listed(self) -> bool:
        """Whether it fills lists only."""
        return all(output.kind.shape.listed for output in self.program.outputs)


@dataclass(frozen=True, slots=True)
class Match:
    """Join a list with the keys that a request or its candidates ask for.

    Attributes:
        name: One of the names it fills.
        columns: All of them.
    """

    name: str
    columns: tuple[str, ...]
    of: Matched


@dataclass(frozen=True, slots=True)
class Call:
    """Run a Python function of our own: where a request is served, never for the past."""

    name: str
    of: PythonFunction


Step = LookUp | ReadGroup | Compute | Match | Call
IsVector = Callable[[str, str], bool]


class Resolver:
    """Collects the steps that fill wanted names.

    Args:
        plan: What names mean.
        given: The names that are there from the start, with their shapes.
        derived: Names of the caller's own as expressions; they come before features of the same name.
        is_vector: Whether a table's column holds vectors.
        may_read: Whether state may be read (not while an event is taken in).
    """

    def __init__(
        self,
        plan: Plan,
        given: Mapping[str, Kind],
        derived: Mapping[str, str],
        is_vector: IsVector,
        may_read: bool = True,
    ) -> None:
        self._plan, self._derived, self._is_vector, self._may_read = plan, derived, is_vector, may_read
        self.kinds: dict[str, Kind] = dict(given)
        self.steps: list[Step] = []
        self._underway: list[str] = []
        self._read_by: dict[str, Group | FoldGroup] = {}
        for group in plan.groups:
            self._read_by.update(dict.fromkeys([leaf.name for leaf in group.leaves], group))
            self._read_by.update(dict.fromkeys(list_columns(group), group))
        for fold in plan.folds:
            self._read_by.update(dict.fromkeys(fold.columns, fold))

    def text(self, expression: str, where: str) -> str:
        """An expression with derived names written out, and every name it then reads filled in by a step."""
        whole = written_out(expression, self._meaning, where)
        for name in names_in(whole, where):
            if name not in CONSTANTS:
                self.need(name, where)
        return whole

    def need(self, name: str, where: str) -> None:
        """Makes sure that a name is there when the steps have run."""
        if name in self.kinds:
            return
        if name in self._underway:
            raise FeatureError(
                f"{where} needs {name!r}, which needs itself: {' needs '.join([*self._underway, name])}",
                code="feature-002",
                hint="key the attribute by the request or by an event's column",
            )
        self._underway.append(name)
        feature = self._plan.features.owner_of.get(name)
        if name in self._read_by:
            self._read(self._read_by[name], where)
        elif feature is not None and isinstance(feature.of, Attribute) and name not in self._derived:
            self._look_up(name, feature.of, where)
        elif feature is not None and isinstance(feature.of, PythonFunction):
            self._call(name, feature.of, where)
        elif feature is not None and isinstance(feature.of, Matched):
            self._match(feature, feature.of, where)
        elif self._meaning(name) is not None:
            self._compute(name, where)
        else:
            raise FeatureError(
                f"{where} reads {name!r}, which is not there: neither given nor declared",
                code="feature-031",
                hint=did_you_mean(name, {*self.kinds, *self._plan.features.owner_of}),
            )
        self._underway.pop()

    def program(self, outputs: Mapping[str, str], where: str) -> Program:
        """The program of some expressions, after steps for everything they read."""
        return self._program({name: self.text(text, f"{where} {name!r}") for name, text in outputs.items()})

    def ordered(self) -> tuple[Step, ...]:
        """The steps, with what is computed along lists done by one program as soon as all it reads is there."""
        done = {name for name in self.kinds if not any(name in fills(step) for step in self.steps)}
        waiting, out = list(self.steps), []
        while waiting:
            ready = [step for step in waiting if set(reads(step)) <= done]
            now = [step for step in ready if not (isinstance(step, Compute) and step.listed)] or [self._together(ready)]
            gone = {name for step in now for name in fills(step)}
            waiting = [step for step in waiting if not set(fills(step)) <= gone]
            done |= gone
            out += now
        return tuple(out)

    def _together(self, ready: Sequence[Step]) -> Step:
        """Several computations along lists as one."""
        texts = tuple(text for step in ready if isinstance(step, Compute) for text in step.texts)
        return Compute(texts[0][0], self._program(dict(texts)), texts)

    def shape_of(self, names: Iterable[str]) -> Shape:
        """The shape of several names together."""
        out = Shape.R
        for name in names:
            out = together(out, self.kinds[name].shape)
        return out

    def _meaning(self, name: str) -> str | None:
        if name in self.kinds:
            return None
        own = self._derived.get(name)
        if own is not None:
            return written_out(own, self._meaning, f"column {name!r}")
        return self._plan.meaning(name)

    def _look_up(self, name: str, of: Attribute, where: str) -> None:
        self.need(of.key, where)
        self.steps.append(LookUp(name, of.table, of.column, of.key))
        key = self.kinds[of.key]
        self.kinds[name] = Kind(key.shape, key.over, self._is_vector(of.table, of.column))

    def _compute(self, name: str, where: str) -> None:
        text = self._meaning(name)
        assert text is not None
        whole = self.text(text, where)
        program = self._program({name: whole})
        self.steps.append(Compute(name, program, ((name, whole),)))
        self.kinds[name] = program.kind_of(name)

    def _call(self, name: str, of: PythonFunction, where: str) -> None:
        for read in of.reads:
            self.need(read, where)
        self.steps.append(Call(name, of))
        self.kinds[name] = Kind(self.shape_of(of.reads))

    def _match(self, feature: Feature, of: Matched, where: str) -> None:
        for name in (of.key, of.to, *of.values):
            self.need(name, where)
        to = self.kinds[of.to]
        lists = {self.kinds[name].over for name in (of.key, *of.values)}
        shapes = {self.kinds[name].shape for name in (of.key, *of.values)}
        if to.shape.listed or shapes != {Shape.L} or len(lists) > 1:
            raise FeatureError(
                f"{feature.name!r} joins {of.key!r} with {of.to!r}: the key and the values must be of one list, the other "
                "name a number of the request or the candidate",
                code="feature-006",
                hint="name list values that do not depend on the candidate",
            )
        self.steps.append(Match(feature.columns[0], feature.columns, of))
        for column in feature.columns:
            self.kinds[column] = Kind(to.shape)

    def _read(self, group: Group | FoldGroup, where: str) -> None:
        if not self._may_read:
            raise FeatureError(
                f"{where} reads state while an event of {group.source.name!r} is taken in",
                code="feature-006",
                hint="name the feature in `sees` of the source: it is then read as it was before the event",
            )
        local = isinstance(group, Group) and group.zone == "local"
        for name in (*group.key, *(("utc_offset_ms",) if local else ())):
            self.need(name, f"the key of {where}")
        shape = self.shape_of(group.key)
        if shape.listed:
            raise FeatureError(
                f"the key {group.key} of {where} is a list, and a state table is read once per request or candidate",
                code="feature-006",
                hint="key it by a name of the request or of the candidate",
            )
        if isinstance(group, FoldGroup):
            self._read_fold(group, shape)
            return
        self.steps.append(ReadGroup(list_columns(group)[0] if group.latest else group.leaves[0].name, group))
        for leaf in group.leaves:
            self.kinds[leaf.name] = Kind(shape)
        for name in list_columns(group):
            self.kinds[name] = Kind(Shape.L, group.latest)

    def _read_fold(self, fold: FoldGroup, shape: Shape) -> None:
        if shape.candidate and fold.fold.places:
            raise FeatureError(
                f"the fold {fold.name!r} keeps lists, and its key {fold.key} is a candidate's",
                code="feature-006",
                hint="key it by a name of the request, or keep numbers and vectors only",
            )
        self.steps.append(ReadGroup(fold.columns[0], fold))
        for name, part in zip(fold.columns, fold.fold.state.values(), strict=True):
            self.kinds[name] = (
                Kind(Shape.L, fold.name) if part.kind == "list" else Kind(shape, "", part.kind == "vector")
            )

    def _program(self, texts: Mapping[str, str]) -> Program:
        return Program.of(texts, self.kinds)


def reads(step: Step) -> tuple[str, ...]:
    """The names that a step reads."""
    if isinstance(step, LookUp):
        return (step.key,)
    if isinstance(step, Compute):
        return step.program.names
    if isinstance(step, Match):
        return (step.of.key, step.of.to, *step.of.values)
    if isinstance(step, Call):
        return step.of.reads
    local = isinstance(step.group, Group) and step.group.zone == "local"
    return (*step.group.key, *(("utc_offset_ms",) if local else ()))


def fills(step: Step) -> tuple[str, ...]:
    """The names that a step fills."""
    if isinstance(step, Compute):
        return tuple(output.name for output in step.program.outputs)
    if isinstance(step, Match):
        return step.columns
    if not isinstance(step, ReadGroup):
        return (step.name,)
    if isinstance(step.group, FoldGroup):
        return step.group.columns
    return (*(leaf.name for leaf in step.group.leaves), *list_columns(step.group))


def list_columns(group: Group) -> tuple[str, ...]:
    """The names under which a group's latest events are read; none for a group that keeps no list."""
    if not group.latest:
        return ()
    return tuple(f"{group.latest}.{name}" for name in (*(field[0] for field in group.fields), LIST_TIME))
