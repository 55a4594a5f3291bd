from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.kernel import machine
from mainstem.features.language.expression import Env, Kind, parse
from mainstem.features.language.program import C, L, M, Program, R
from mainstem.features.language.reference import value

ENV: Env = {
    "a": R,
    "b": R,
    "kept.x": L,
    "kept.y": L,
    "item.c": C,
    "item.d": C,
    "pair": Kind(M, "kept"),
    "user.v": Kind(R, vector=True),
    "item.v": Kind(C, vector=True),
    "kept.v": Kind(L, vector=True),
}
DOTS = ["dot(item.v, kept.v)", "dot(kept.v, item.v)", "dot(user.v, kept.v)", "dot(kept.v, kept.v)"]
FLAT_DOTS = ["dot(item.v, user.v)", "dot(user.v, user.v)", "dot(item.v, item.v)"]
UNARY = ["abs", "floor", "round", "sqrt", "log", "log1p", "exp", "log2", "sin", "cos", "sign", "known", "-", "not "]
BINARY = ["+", "-", "*", "/", "//", "%", "<", "<=", ">", ">=", "==", "!=", "and", "or"]
REDUCE = ["sum", "mean", "count", "any", "all", "max_of", "min_of", "first_value"]


def grown(
    own: st.SearchStrategy[str], other: st.SearchStrategy[str], folded: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    """Expressions out of parts: `own` has list places or not, as the result is to have; `other` is anything."""
    return st.one_of(
        st.builds(lambda f, x: f"({f}({x}))", st.sampled_from(UNARY), own),
        st.builds(lambda x, f, y: f"({x} {f} {y})", own, st.sampled_from(BINARY), other),
        st.builds(lambda f, x, y: f"{f}({x}, {y})", st.sampled_from(["min", "max", "coalesce"]), own, other),
        st.builds(lambda x, c, y: f"({x} if {c} else {y})", own, other, other),
        st.builds(lambda x, lo: f"clip({x}, {lo}, 3)", own, other),
        st.builds(lambda x, p: f"(({x}) ** {p})", own, st.sampled_from(["0", "1", "2", "3", "0.5", "-1", "1.7"])),
        st.builds(lambda x, y: f"({x} in (1, 2.5, {y}))", own, other),
        folded,
    )


def expressions() -> st.SearchStrategy[str]:
    flat: st.SearchStrategy[str] = st.sampled_from(
        ["a", "b", "item.c", "item.d", "2", "0", "0.5", "1e200", "empty", *FLAT_DOTS]
    )
    places: st.SearchStrategy[str] = st.sampled_from(["kept.x", "kept.y", "pair", *DOTS])
    for _ in range(3):
        either = st.one_of(flat, places)
        scans = st.one_of(
            st.builds(lambda f, x: f"{f}({x})", st.sampled_from(["run", "so_far", "gaps"]), places),
            st.builds(lambda x, k: f"first({x}, {k})", places, st.integers(0, 5)),
        )
        reduces = st.one_of(
            st.builds(lambda f, x: f"{f}({x})", st.sampled_from(REDUCE), places),
            st.builds(lambda x, k: f"at({x}, {k})", places, st.integers(0, 5)),
        )
        flat, places = st.one_of(flat, grown(flat, flat, reduces)), st.one_of(places, grown(places, either, scans))
    return st.one_of(flat, places)


def batch(seed: int, requests: int, places: int, candidates: int, width: int = 6) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> NDArray[np.float64]:
        numbers = np.round(rng.normal(size=shape) * 3, int(rng.integers(0, 3)))
        return np.where(rng.random(shape) < 0.25, np.nan, numbers)

    n, k = candidates, places
    sizes = {"a": (), "b": (), "kept.x": (k,), "kept.y": (k,), "item.c": (n,), "item.d": (n,), "pair": (k, n)}
    vectors = {"user.v": (width,), "item.v": (n, width), "kept.v": (k, width)}
    out = {name: drawn(requests, *size) for name, size in sizes.items()}
    return out | {name: np.round(drawn(requests, *size)) for name, size in vectors.items()}


def same_bits(first: NDArray[np.floating], second: NDArray[np.floating]) -> bool:
    both_empty = np.isnan(first) & np.isnan(second)
    first, second = np.where(both_empty, 0.0, first), np.where(both_empty, 0.0, second)
    return (
        first.shape == second.shape and np.ascontiguousarray(first).tobytes() == np.ascontiguousarray(second).tobytes()
    )


@settings(max_examples=250, deadline=None)
@given(
    texts=st.lists(expressions(), min_size=1, max_size=3),
    seed=st.integers(0, 999),
    size=st.sampled_from([(3, 4, 5), (2, 1, 1), (4, 3, 1), (1, 5, 2), (2, 2, 9)]),
)
def test_the_machine_gives_the_bits_of_the_plain_twin(texts: list[str], seed: int, size: tuple[int, int, int]) -> None:
    texts = [text for text in texts if len(text) < 2000]
    inputs = batch(seed, *size)
    program = Program.of({str(i): text for i, text in enumerate(texts)}, ENV)
    outputs = program.run(inputs)
    for number, text in enumerate(texts):
        tree = parse(text, ENV)
        shape = tree.kind.shape
        wanted = np.empty((size[0], *((size[1],) if shape.listed else ()), *((size[2],) if shape.candidate else ())))
        axes = [0, *([1] if shape.listed else []), *([2] if shape.candidate else [])]
        for place in np.ndindex(*wanted.shape):
            at = dict(zip(axes, place, strict=True))
            wanted[place] = value(tree, inputs, at[0], at.get(1, 0), at.get(2, 0))
        got = outputs[str(number)]
        rows = size[0] if program.names else 1  # a program that reads nothing has no batch: one row
        assert same_bits(got, wanted[:rows]), text


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(expressions(), min_size=1, max_size=4), seed=st.integers(0, 999))
def test_a_batch_gives_the_bits_of_its_requests_one_by_one(texts: list[str], seed: int) -> None:
    program = Program.of({str(i): text for i, text in enumerate(texts)} | {"all": "a + count(kept.x > item.c)"}, ENV)
    inputs = batch(seed, 64, 7, 3)
    whole = program.run(inputs)
    for row in range(64):
        alone = program.run({name: array[row : row + 1] for name, array in inputs.items()})
        assert all(same_bits(alone[name], whole[name][row : row + 1]) for name in whole)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(expressions(), min_size=1, max_size=4), seed=st.integers(0, 999))
def test_five_hundred_candidates_give_the_bits_of_each_alone(texts: list[str], seed: int) -> None:
    program = Program.of({str(i): text for i, text in enumerate(texts)} | {"all": "sum(a * item.c + kept.x)"}, ENV)
    inputs = batch(seed, 1, 20, 500)
    whole = program.run(inputs)
    for j in (0, 1, 7, 63, 64, 255, 499):
        cut = {name: array[..., j : j + 1] for name, array in inputs.items() if name in ("item.c", "item.d", "pair")}
        alone = program.run(inputs | cut | {"item.v": inputs["item.v"][:, j : j + 1]})
        for name in whole:
            row = whole[name][..., j : j + 1] if program.shape_of(name).candidate else whole[name]
            assert same_bits(alone[name], row), texts


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(expressions(), min_size=1, max_size=4),
    seed=st.integers(0, 999),
    cut=st.sampled_from([(1, 1), (20, 4), (60, 6), (300, 2)]),
    size=st.sampled_from([(5, 4, 13), (7, 6, 1), (9, 1, 4)]),
)
def test_blocks_and_chunks_change_no_bit(
    texts: list[str], seed: int, cut: tuple[int, int], size: tuple[int, int, int]
) -> None:
    named = {str(i): text for i, text in enumerate(texts)} | {
        "all": "sum(a * item.c + kept.x + pair)",
        "list": "kept.x * item.c",
    }
    program, inputs = Program.of(named, ENV), batch(seed, *size)
    whole = program.run(inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mainstem.features.language.program._BLOCK", cut[0])
        patch.setattr("mainstem.features.language.program._CHUNK", cut[1])
        parts = program.run(inputs)
    assert all(same_bits(parts[name], whole[name]) for name in named), named


TEXTS = {
    "share": "mean(kept.x > item.c)",
    "own": "sum(kept.x) + a",
    "near": "max_of(dot(item.v, kept.v))",
    "list": "so_far(kept.x) * a",
    "pairs": "pair - kept.y",
}


def test_buffers_serve_smaller_batches_and_both_widths() -> None:
    program = Program.of(TEXTS, ENV)
    for dtype in (np.float64, np.float32):
        bound = program.bind(5, 4, 130, widths=6, dtype=dtype)
        for requests, candidates in ((5, 130), (2, 77), (1, 1), (3, 129)):
            inputs = batch(requests, requests, 4, candidates)
            bound.load(inputs)
            bound.run(requests, candidates)
            wanted = program.run(inputs)
            for name in TEXTS:
                got = bound.result(name)[:requests]
                got = got[..., :candidates] if program.shape_of(name).candidate else got
                kept = program.shape_of(name).listed
                assert same_bits(got, wanted[name] if kept else wanted[name].astype(dtype)), (name, dtype, requests)
    assert bound.per_request.shape == (5, 1)
    assert bound.per_candidate.shape == (5, 130, 2)


def test_inputs_may_be_written_in_place() -> None:
    bound = Program.of({"out": "mean(kept.x) * item.c"}, ENV).bind(1, 2, 3)
    bound.input("kept.x")[0] = (1.0, 3.0)
    bound.input("item.c")[0] = (1.0, 2.0, np.nan)
    bound.run()
    assert bound.result("out")[0].tolist()[:2] == [2.0, 4.0]
    assert np.isnan(bound.result("out")[0, 2])


def test_what_float32_cannot_hold_is_empty() -> None:
    bound = Program.of({"out": "a"}, ENV).bind(1, dtype=np.float32)
    bound.input("a")[0] = 1e300
    bound.run()
    assert np.isnan(bound.result("out")[0])


def test_a_long_batch_runs_in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    program, inputs = Program.of(TEXTS, ENV), batch(1, 50, 4, 6)
    whole = program.run(inputs)
    monkeypatch.setattr("mainstem.features.language.program._SLAB", 100)
    assert all(same_bits(program.run(inputs)[name], whole[name]) for name in TEXTS)
    none = program.run({name: array[:0] for name, array in inputs.items()})
    assert none["share"].shape == (0, 6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"a": np.zeros(4)}, "4 requests"),
        ({"item.d": np.zeros((3, 9))}, "9 candidates"),
        ({"kept.y": np.zeros((3, 5))}, "5 places of kept"),
        ({"kept.x": np.zeros(3)}, "expected 2 dimensions"),
        ({"kept.v": np.zeros((3, 4, 8))}, "dot of"),
    ],
)
def test_inputs_must_fit_together(change: dict[str, NDArray[np.float64]], said: str) -> None:
    with pytest.raises(FeatureError) as caught:
        Program.of(TEXTS | {"more": "sum(kept.x + kept.y) + sum(item.d + kept.y)"}, ENV).run(batch(0, 3, 4, 5) | change)
    assert caught.value.code == "feature-037"
    assert said in caught.value.message


def test_sizes_must_be_there() -> None:
    program = Program.of(TEXTS, ENV)
    for refused in (
        lambda: program.run({}),
        lambda: program.bind(0, 4, 5, widths=6),
        lambda: program.bind(1, {"seen": 4}, 5, widths=6),
        lambda: program.bind(1, 0, 5, widths=6),
        lambda: program.bind(1, 4, 5, widths=6).run(2),
    ):
        with pytest.raises(FeatureError) as caught:
            refused()
        assert caught.value.code == "feature-037"


def test_a_list_without_a_dot_fits_any_of_its_length() -> None:
    program = Program.of({"out": "sum(recent * kept.x)", "own": "sum(other)"}, {**ENV, "recent": L, "other": L})
    inputs = {"recent": np.ones((1, 4)), "kept.x": np.ones((1, 4)), "other": np.ones((1, 9))}
    assert [float(x[0]) for x in program.run(inputs).values()] == [4.0, 9.0]
    with pytest.raises(FeatureError) as caught:
        program.run(inputs | {"recent": np.ones((1, 3))})
    assert caught.value.code == "feature-037"


def test_every_operation_has_its_number() -> None:
    numbered = {
        name: number
        for name, number in vars(machine).items()
        if name.lower() in machine.OPS and isinstance(number, int)
    }
    assert {name.lower(): number for name, number in numbered.items()} == machine.OPS
