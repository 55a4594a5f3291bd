"""A program: many expressions compiled into one, run by one call over a batch of requests and their candidates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.kernel import machine
from mainstem.features.language.expression import C, Env, Kind, L, Labels, M, Node, R, Shape, kinds_of, parse, together
from mainstem.features.language.lowering import CONST, INPUT, REGISTER, Builder, Place, Step, place_values

__all__ = ["Bound", "C", "Input", "Kind", "L", "M", "Output", "Program", "R", "Shape", "together"]

OUTPUT_LIMIT = 2000
_BLOCK = 16384
"""Elements of a block: a dozen registers of it are to stay in the second cache."""
_CHUNK = 64
"""Least candidates of a chunk, where there are so many: a shorter row costs more than the cache gives."""
_SLAB = 1 << 22
"""Elements of one input that `Program.run` copies at a time."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Input:
    """One name a program reads: what it is and which list its places belong to."""

    name: str
    kind: Kind
    over: str


@dataclass(frozen=True, slots=True)
class Output:
    """One result: its kind, the names it reads, and its column among the results of its shape."""

    name: str
    kind: Kind
    reads: tuple[str, ...]
    column: int


@dataclass(frozen=True, slots=True)
class Program:
    """Compiled expressions: plain data that can be hashed, compared, pickled and fingerprinted.

    Attributes:
        inputs: The names it reads.
        outputs: The results, in the order they were given.
        constants: The bits of every constant.
        registers: Shape and list number of each register.
        lists: Every list, by number; lists that were mixed are one.
        same: Each list's name with the name of the list it was found to be one with.
        steps: Machine steps, those without candidates first.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    constants: tuple[int, ...]
    registers: tuple[tuple[int, int], ...]
    lists: tuple[str, ...]
    same: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]

    @classmethod
    def of(
        cls, outputs: Mapping[str, str], env: Env, *, labels: Labels | None = None, vectors: Collection[str] = ()
    ) -> Program:
        """The program that computes some expressions.

        Args:
            outputs: Expressions by the name of their result; at most 2000.
            env: What names stand for; a bare `Shape` or a `Kind`.
            labels: Codes of strings, by the name they are compared with.
            vectors: Names of `env` that stand for vectors, where `env` holds bare shapes.

        Raises:
            FeatureError: ``feature-030`` to ``feature-036``, ``feature-038``, ``feature-039``.
        """
        if len(outputs) > OUTPUT_LIMIT:
            raise FeatureError(
                f"{len(outputs)} outputs in one program; at most {OUTPUT_LIMIT}",
                code="feature-036",
                hint="make several programs",
            )
        kinds = {n: _as_vector(n, k) if n in vectors else k for n, k in kinds_of(env).items()}
        trees = {name: _parsed(name, text, kinds, labels) for name, text in outputs.items()}
        builder = Builder()
        roots = [(builder.lower(tree), tree.kind.shape) for tree in trees.values()]
        return _assembled(builder, roots, trees)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that some output reads."""
        return tuple(entry.name for entry in self.inputs)

    @property
    def reads(self) -> dict[str, tuple[str, ...]]:
        """The names that each output reads, sorted."""
        return {output.name: output.reads for output in self.outputs}

    def kind_of(self, name: str) -> Kind:
        """Shape and list of an output, as an environment of a later program takes it."""
        return next(output.kind for output in self.outputs if output.name == name)

    def shape_of(self, name: str) -> Shape:
        """Over what an output runs."""
        return self.kind_of(name).shape

    def of_shape(self, shape: Shape) -> tuple[str, ...]:
        """The outputs of one shape, in the order of their columns."""
        return tuple(output.name for output in self.outputs if output.kind.shape is shape)

    def fingerprint(self) -> str:
        """A hash of everything the program computes: equal only for the same steps on the same names."""
        inputs = [(e.name, int(e.kind.shape), e.over, e.kind.vector) for e in self.inputs]
        outputs = [(o.name, int(o.kind.shape), o.column) for o in self.outputs]
        whole = [inputs, outputs, self.constants, self.registers, self.lists, self.same, self.steps]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def bind(
        self,
        requests: int,
        places: int | Mapping[str, int] = 1,
        candidates: int = 1,
        *,
        widths: int | Mapping[str, int] = 1,
        dtype: type[np.float32] | type[np.float64] = np.float64,
    ) -> Bound:
        """Buffers for batches up to this size, to be used again and again (by one thread at a time).

        Args:
            requests: Most requests of a batch.
            places: Length of the lists: one for all, or by list (by name for a name without a dot).
            candidates: Most candidates of a request.
            widths: Width of the vectors: one for all, or by name.
            dtype: Of the results per request and per candidate.

        Raises:
            FeatureError: ``feature-037`` when lists that are mixed differ in length, a size is missing or below 1.
        """
        return Bound(self, requests, places, candidates, widths, dtype)

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, Array]:
        """Every output of a batch.

        Args:
            inputs: Arrays by name, of any number type: R ``[B]``, L ``[B, K]``, C ``[B, n]``, M ``[B, K, n]``; vectors with
                their width behind. Finite or NaN.

        Returns:
            Arrays by output name, shaped the same way; float64 with one NaN for empty.

        Raises:
            FeatureError: ``feature-037`` for a missing input or one whose shape does not fit.
        """
        sizes = _sizes(self, inputs)
        most = max((inputs[e.name].size // max(sizes.requests, 1) for e in self.inputs), default=1)
        slab = min(max(1, _SLAB // max(most, 1)), max(sizes.requests, 1))
        bound = self.bind(slab, sizes.places, sizes.candidates, widths=sizes.widths)
        parts: list[dict[str, Array]] = []
        for start in range(0, max(sizes.requests, 1), slab):
            count = min(slab, sizes.requests - start)
            bound.load({e.name: inputs[e.name][start : start + count] for e in self.inputs})
            bound.run(requests=count)
            parts.append({o.name: bound.result(o.name)[:count].copy() for o in self.outputs})
        return {o.name: np.concatenate([part[o.name] for part in parts]) for o in self.outputs}


def _parsed(name: str, text: str, kinds: Mapping[str, Kind], labels: Labels | None) -> Node:
    try:
        return parse(text, kinds, labels)
    except FeatureError as error:
        raise FeatureError(f"{name!r}: {error.message}", code=error.code, hint=error.hint) from None


def _as_vector(name: str, kind: Kind) -> Kind:
    return kinds_of({name: Kind(kind.shape, kind.over, True)})[name]


def _names(tree: Node) -> set[str]:
    return {tree.name} if tree.op == "name" else {name for arg in tree.args for name in _names(arg)}


def _assembled(builder: Builder, roots: list[tuple[int, Shape]], trees: Mapping[str, Node]) -> Program:
    overs = sorted({value.over for value in builder.values if value.over})
    lists = sorted({builder.root(over) for over in overs})
    placed = place_values(builder, roots, lists)
    counts = dict.fromkeys(Shape, 0)
    outputs: list[Output] = []
    for (name, tree), (value, shape) in zip(trees.items(), roots, strict=True):
        own = builder.values[value]
        reads = tuple(sorted(_names(tree)))
        outputs.append(Output(name, Kind(shape, builder.root(own.over) if own.over else ""), reads, counts[shape]))
        counts[shape] += 1
    inputs, kinds = [], _kinds_read(trees.values())
    for value in placed.inputs:
        own = builder.values[value]
        inputs.append(Input(own.name, kinds[own.name], own.over))
    same = tuple((over, builder.root(over)) for over in overs)
    return Program(
        tuple(inputs),
        tuple(outputs),
        tuple(placed.constants),
        tuple(placed.registers),
        tuple(lists),
        same,
        tuple(placed.steps),
    )


def _kinds_read(trees: Iterable[Node]) -> dict[str, Kind]:
    """The kind of every name in some trees."""
    found: dict[str, Kind] = {}
    stack = list(trees)
    while stack:
        node = stack.pop()
        if node.op == "name":
            found[node.name] = node.kind
        stack += node.args
    return found


@dataclass(frozen=True, slots=True)
class _Sizes:
    requests: int
    places: dict[str, int]
    candidates: int
    widths: dict[str, int]


def _unfit(message: str) -> FeatureError:
    return FeatureError(
        message,
        code="feature-037",
        hint="give every array as [B], [B, K], [B, n] or [B, K, n], vectors with a width behind",
    )


def _sizes(program: Program, inputs: Mapping[str, NDArray[np.generic]]) -> _Sizes:
    """How large is this batch? All arrays must agree."""
    found: dict[str, int] = {}
    for entry in program.inputs:
        if entry.name not in inputs:
            raise _unfit(f"the input {entry.name!r} is missing")
        shape = entry.kind.shape
        axes = [
            "requests",
            *(["places of " + entry.over] if shape.listed else []),
            *(["candidates"] if shape.candidate else []),
        ]
        axes += ["width " + entry.name] if entry.kind.vector else []
        given = inputs[entry.name].shape
        if len(given) != len(axes):
            raise _unfit(f"the input {entry.name!r} has shape {list(given)}, expected {len(axes)} dimensions")
        for axis, length in zip(axes, given, strict=True):
            if found.setdefault(axis, length) != length:
                raise _unfit(f"the input {entry.name!r} has {length} {axis}, expected {found[axis]}")
    places = {axis[10:]: length for axis, length in found.items() if axis.startswith("places of ")}
    widths = {axis[6:]: length for axis, length in found.items() if axis.startswith("width ")}
    return _Sizes(found.get("requests", 1), places, found.get("candidates", 1), widths)


class Bound:
    """A program with its memory: write inputs into `input`, call `run`, read `result`. For one thread at a time.

    Attributes:
        per_request: Results of shape R, ``[requests, columns]``.
        per_candidate: Results of shape C, ``[requests, candidates, columns]``.
    """

    def __init__(
        self,
        program: Program,
        requests: int,
        places: int | Mapping[str, int],
        candidates: int,
        widths: int | Mapping[str, int],
        dtype: type[np.float32] | type[np.float64],
    ) -> None:
        self.program, self.requests, self.candidates, self._dtype = program, requests, candidates, dtype
        if min(requests, candidates) < 1:
            raise _unfit(f"{requests} requests with {candidates} candidates; at least 1 of each")
        self._outputs = {output.name: output for output in program.outputs}
        self._places = _lengths(program, places)
        self._widths = {
            e.name: widths if isinstance(widths, int) else widths[e.name] for e in program.inputs if e.kind.vector
        }
        self._check_widths()
        self.per_request: NDArray[Any] = np.full((requests, len(program.of_shape(R))), np.nan, dtype)
        self.per_candidate: NDArray[Any] = np.full((requests, candidates, len(program.of_shape(C))), np.nan, dtype)
        self._lay_out()

    def input(self, name: str) -> Array:
        """The array of an input, to be written in place; of no matter beyond the counts given to `run`."""
        return self._arrays[name]

    def result(self, name: str) -> NDArray[Any]:
        """The array of an output after `run`; a view that the next `run` overwrites."""
        output = self._outputs[name]
        if output.kind.shape is R:
            return self.per_request[:, output.column]
        return self.per_candidate[:, :, output.column] if output.kind.shape is C else self._results[name]

    def load(self, inputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Copies arrays in; they may be smaller than the buffers along requests and candidates."""
        for name, array in self._arrays.items():
            array[tuple(slice(0, length) for length in inputs[name].shape)] = inputs[name]

    def run(self, requests: int | None = None, candidates: int | None = None) -> None:
        """Runs the program over the first `requests` and `candidates` of the buffers (all when not given).

        Raises:
            FeatureError: ``feature-037`` when they are more than the buffers hold.
        """
        requests = self.requests if requests is None else requests
        candidates = self.candidates if candidates is None else candidates
        if not (0 <= requests <= self.requests and 0 <= candidates <= self.candidates):
            raise _unfit(f"{requests} x {candidates} in buffers for {self.requests} x {self.candidates}")
        self._sizes[0], self._sizes[1] = requests, candidates
        machine.execute(self._steps, self._tables, self._memory, self._sizes, self._scratch, self._wide, self._narrow)

    def _check_widths(self) -> None:
        for step in self.program.steps:
            if step.op == "dot":
                first, second = (self.program.inputs[arg.number].name for arg in step.args)
                if self._widths[first] != self._widths[second] or self._widths[first] < 1:
                    raise _unfit(f"dot of {first!r} [{self._widths[first]}] and {second!r} [{self._widths[second]}]")

    def _lay_out(self) -> None:
        program = self.program
        longest = max(self._places, default=1)
        chunks = -(-self.candidates // max(1, min(self.candidates, max(_CHUNK, _BLOCK // longest))))
        chunk = -(-self.candidates // chunks)
        block = max(1, min(self.requests, _BLOCK // (longest * chunk)))
        self._chunk, self._block, room = chunk, block, block * chunk * longest
        split = sum(not self._late(step) for step in program.steps)
        self._sizes = np.array([0, 0, block, chunk, split], np.int64)
        ends = np.cumsum([0, len(program.constants), *(self._size(e.kind, e.over, e.name) for e in program.inputs)])
        self._constants, self._inputs = 0, ends[1:-1]
        registers = [
            block * (self._places[over] if over >= 0 else 1) * (chunk if shape & 2 else 1)
            for shape, over in program.registers
        ]
        self._registers = np.cumsum([ends[-1], *registers])
        kept = [o for o in program.outputs if o.kind.shape.listed]
        self._kept = np.cumsum([self._registers[-1], *(self._size(o.kind, o.kind.over, "") for o in kept)])
        turned = chunk * max(self._widths.values(), default=0)
        self._scratch = np.array([self._kept[-1], room, self._kept[-1] + 3 * room], np.int64)
        self._memory = np.full(int(self._scratch[2]) + turned, np.nan)
        self._memory[: len(program.constants)] = np.array(program.constants, np.int64).view(np.float64)
        self._arrays = {
            e.name: self._view(self._inputs[i], e.kind, e.over, e.name) for i, e in enumerate(program.inputs)
        }
        self._results = {o.name: self._view(self._kept[i], o.kind, o.kind.over, "") for i, o in enumerate(kept)}
        self._number = {o.name: i for i, o in enumerate(kept)}
        self._tabulate()
        wide, narrow = np.empty(0, np.float64), np.empty(0, np.float32)
        self._wide, self._narrow = (wide, wide), (narrow, narrow)
        if self._dtype is np.float64:
            self._wide = (self.per_request.reshape(-1), self.per_candidate.reshape(-1))
        else:
            self._narrow = (self.per_request.reshape(-1), self.per_candidate.reshape(-1))

    def _late(self, step: Step) -> bool:
        return bool(step.out.shape & 2)

    def _length(self, over: str) -> int:
        roots = dict(self.program.same)
        return self._places[self.program.lists.index(roots.get(over, over))] if over else 1

    def _dims(self, kind: Kind, over: str, name: str) -> list[int]:
        dims = [self.requests, *([self._length(over)] if kind.shape.listed else [])]
        dims += [self.candidates] if kind.shape.candidate else []
        return dims + ([self._widths[name]] if kind.vector else [])

    def _size(self, kind: Kind, over: str, name: str) -> int:
        return int(np.prod(self._dims(kind, over, name)))

    def _view(self, offset: int, kind: Kind, over: str, name: str) -> Array:
        dims = self._dims(kind, over, name)
        return self._memory[offset : offset + int(np.prod(dims))].reshape(dims)

    def _tabulate(self) -> None:
        steps = self.program.steps
        self._steps = np.zeros((len(steps), machine.STEP_FIELDS), np.int64)
        self._tables = np.zeros((len(steps), 4, machine.PLACE_FIELDS), np.int64)
        for at, step in enumerate(steps):
            shapes = step.out.shape | max((arg.shape & 1 for arg in step.args), default=0)
            length = self._places[step.over] if step.over >= 0 and shapes & 1 else 1
            width = self._widths[self.program.inputs[step.args[0].number].name] if step.op == "dot" else 1
            late = self._late(step)
            self._steps[at] = (machine.OPS[step.op], step.immediate, length, late, 1 + len(step.args), width, late)
            for p, place in enumerate((step.out, *step.args)):
                self._tables[at, p] = self._strides(place, length, width if p else 1)

    def _strides(self, place: Place, length: int, width: int) -> tuple[int, ...]:
        """Offset and strides of an operand; arrays move with the block and chunk, registers are used again for each."""
        if place.space == CONST:
            return (place.number, 0, 0, 0, 0, 0)
        listed, candidate = place.shape & 1, bool(place.shape & 2)
        if place.space == REGISTER:
            n, offset = self._chunk, self._registers[place.number]
        else:
            n = self.candidates
            offset = self._inputs[place.number] if place.space == INPUT else self._output_offset(place)
        unit = width
        if place.space not in (INPUT, REGISTER) and not listed:
            unit = self.per_candidate.shape[2] if candidate else self.per_request.shape[1]
        per_place = unit * (n if candidate else 1)
        per_request = per_place * (length if listed else 1)
        fixed = place.space == REGISTER
        return (
            int(offset), per_request, per_place if listed else 0, unit if candidate else 0,
            0 if fixed else per_request, 0 if fixed or not candidate else unit,
        )  # fmt: skip

    def _output_offset(self, place: Place) -> int:
        output = self.program.outputs[place.number]
        return int(self._kept[self._number[output.name]]) if output.kind.shape.listed else output.column


def _lengths(program: Program, places: int | Mapping[str, int]) -> list[int]:
    """The length of each list by its number."""
    lengths = [0] * len(program.lists)
    roots = dict(program.same)
    for over in sorted({e.over for e in program.inputs if e.over}):
        number = program.lists.index(roots[over])
        if not isinstance(places, int) and over not in places:
            raise _unfit(f"the length of the list {over!r} is missing")
        length = places if isinstance(places, int) else places[over]
        if length < 1 or lengths[number] not in (0, length):
            raise _unfit(f"the list {over!r} has {length} places, expected {lengths[number] or 'at least 1'}")
        lengths[number] = length
    return lengths
