from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from mainstem.base.errors import FeatureError
from mainstem.features.language.expression import Env, Kind, Shape, joined, kinds_of, parse
from mainstem.features.language.program import C, L, M, Program, R, together
from mainstem.features.language.reference import scalar, value

ENV: Env = {
    "a": R,
    "b": R,
    "surface": R,
    "kept.x": L,
    "kept.y": L,
    "seen.z": L,
    "recent": L,
    "item.c": C,
    "pair": Kind(M, "kept"),
    "item.vector": Kind(C, vector=True),
    "user.vector": Kind(R, vector=True),
}
LABELS = {"surface": {"feed": 3, "search": 4}}
NAN = math.nan


def one(text: str, **numbers: float) -> float:
    program = Program.of({"out": text}, ENV, labels=LABELS)
    return float(program.run({name: np.array([number]) for name, number in numbers.items()})["out"][0])


def listed(text: str, x: list[float], y: list[float] | None = None) -> float:
    program = Program.of({"out": text}, ENV)
    arrays = {"kept.x": np.array([x]), "kept.y": np.array([y if y is not None else x])}
    return float(program.run({name: arrays[name] for name in program.names})["out"][0])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a + 2 * b", 12.0),
        ("-a ** 2", -4.0),
        ("a ** 0.5 == sqrt(a)", 1.0),
        ("a ** -1", 0.5),
        ("a // 0", NAN),
        ("(0 - 7) // a", -4.0),
        ("(0 - 7) % a", 1.0),
        ("1 < a <= 2 < b", 1.0),
        ("1 < a > 3", 0.0),
        ("a in (1, 2, 3)", 1.0),
        ("a not in (1, 2, 3)", 0.0),
        ("a > 1 and not b > 9", 1.0),
        ("a if b > 9 else -b", -5.0),
        ("clip(b, 0, 3) + min(a, b, 1) + max(a, b)", 9.0),
        ("round(2.5) + round(3.5) + floor(-0.5)", 5.0),
        ("sign(-a) + sign(0) + abs(-b)", 4.0),
        ("log2(8) + log(1) + log1p(0) + exp(0) + cos(0) + sin(0)", 5.0),
        ("log(0)", NAN),
        ("exp(1000)", NAN),
        ("coalesce(empty, a / 0, b)", 5.0),
        ("known(empty) + known(a)", 1.0),
        ("True + False", 1.0),
        ("pi", math.pi),
    ],
)
def test_what_operators_and_functions_give(text: str, wanted: float) -> None:
    assert one(
        text,
        **{name: number for name, number in (("a", 2.0), ("b", 5.0)) if name in Program.of({"o": text}, ENV).names},
    ) == (pytest.approx(wanted, abs=0, rel=0, nan_ok=True))


@pytest.mark.parametrize("op", ["<", "<=", ">", ">=", "==", "!="])
def test_any_comparison_with_empty_is_false(op: str) -> None:
    assert one(f"a {op} a", a=NAN) == 0.0
    assert one("a not in (1, 2)", a=NAN) == 0.0
    assert one("not a", a=NAN) == 1.0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sum(kept.x)", 7.0),
        ("mean(kept.x)", 3.5),
        ("count(kept.x)", 2.0),
        ("mean(kept.x > 3)", 0.5),
        ("mean(kept.x > 3 and kept.y > 0)", 1 / 3),
        ("count(not kept.x > 3)", 1.0),
        ("all(kept.x > 1)", 1.0),
        ("all(kept.x > 3)", 0.0),
        ("any(kept.x > 3)", 1.0),
        ("max_of(kept.x) - min_of(kept.x)", 2.5 - 0.5),
        ("first_value(kept.x)", 2.5),
        ("at(kept.x, 2)", 4.5),
        ("at(kept.x, 0)", NAN),
        ("at(kept.x, 9)", NAN),
        ("sum(first(kept.x, 2))", 2.5),
        ("at(so_far(kept.x), 2)", 7.0),
        ("at(gaps(kept.x), 2)", 2.0),
        ("sum(run(kept.y > 0))", 3.0),
        ("sum(run(kept.x > 0))", 0.0),
    ],
)
def test_list_functions_look_only_at_places_that_are_there(text: str, wanted: float) -> None:
    assert listed(text, [NAN, 2.5, 4.5, NAN], [1.0, 1.0, 1.0, NAN]) == pytest.approx(wanted, abs=0, rel=0, nan_ok=True)


def test_of_nothing() -> None:
    nothing = [NAN, NAN]
    assert [listed(f"{name}(kept.x > 0)", nothing) for name in ("sum", "count", "any", "all")] == [0.0, 0.0, 0.0, 1.0]
    assert all(math.isnan(listed(f"{name}(kept.x)", nothing)) for name in ("mean", "max_of", "min_of", "first_value"))


def test_strings_stand_for_codes() -> None:
    assert one("surface == 'feed'", surface=3.0) == 1.0
    assert one("'search' != surface", surface=3.0) == 1.0
    assert one("surface in ('feed', 'search', 9)", surface=4.0) == 1.0


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("a +", "feature-030", "not an expression"),
        ("a\x00", "feature-030", "not an expression"),
        ("a + " * 600 + "a", "feature-030", "2401 characters"),
        ("-" * 60 + "a", "feature-030", "50 deep"),
        ("(" * 900 + "a" + ")" * 900, "feature-030", "not an expression"),
        ("a + kept.xx", "feature-031", "'kept.xx', at column 5"),
        ("summ(kept.x)", "feature-032", "'summ'"),
        ("min(kept.x)", "feature-032", "2 to 64"),
        ("clip(a, lo=1, hi=2)", "feature-032", "3 arguments"),
        ("a ** b", "feature-032", "exponent"),
        ("at(kept.x, 0 - 1)", "feature-032", "not a constant"),
        ("at(kept.x, -1)", "feature-032", "-1"),
        ("first(kept.x, 1.5)", "feature-032", "1.5"),
        ("a.__class__()", "feature-032", "unknown function"),
        ("kept.x + seen.z", "feature-033", "kept and seen"),
        ("sum(a)", "feature-033", "needs a value over a list"),
        ("lambda: a", "feature-034", "Lambda"),
        ("kept.x.y", "feature-034", "one dot"),
        ("a == 'feed'", "feature-034", "not a number"),
        ("surface < 'feed'", "feature-034", "not a number"),
        ("1e999", "feature-034", "not a number"),
        ("a is b", "feature-034", "Is"),
        ("a @ b", "feature-034", "MatMult"),
        ("~a", "feature-034", "~"),
        ("a in b", "feature-034", "brackets"),
        ("[a for a in (1,)]", "feature-034", "ListComp"),
        ("surface == 'fed'", "feature-035", "'fed'"),
        ("item.vector + 1", "feature-039", "vector"),
        ("dot(a, user.vector)", "feature-039", "two vectors"),
    ],
)
def test_refusals_say_what_and_where(text: str, code: str, said: str) -> None:
    with pytest.raises(FeatureError) as caught:
        parse(text, ENV, LABELS)
    assert caught.value.code == code
    assert said in caught.value.message
    assert caught.value.hint


def test_an_unknown_name_is_told_its_neighbours() -> None:
    with pytest.raises(FeatureError, match=r"'score': unknown name 'kept.xx'") as caught:
        Program.of({"score": "kept.xx"}, ENV)
    assert "kept.x" in caught.value.hint
    with pytest.raises(FeatureError) as caught:
        parse("zzzzzz", {f"name{i}": R for i in range(60)})
    assert len(caught.value.hint) < 200


@pytest.mark.parametrize("name", ["pi", "empty", "a.b.c", "1a", "a b", ""])
def test_a_name_must_be_a_word(name: str) -> None:
    with pytest.raises(FeatureError) as caught:
        kinds_of({name: R})
    assert caught.value.code == "feature-038"


def test_a_vector_runs_over_one_thing() -> None:
    with pytest.raises(FeatureError) as caught:
        kinds_of({"v": Kind(M, "kept", vector=True)})
    assert caught.value.code == "feature-038"


def test_too_many_outputs_are_refused() -> None:
    with pytest.raises(FeatureError) as caught:
        Program.of({str(i): "a" for i in range(2001)}, ENV)
    assert caught.value.code == "feature-036"


def test_shapes_join() -> None:
    assert together(L, C) is M
    assert together(R, C) is C
    assert joined([Kind(L, "kept"), Kind(C)]) == Kind(M, "kept")
    assert joined([Kind(L, "kept"), Kind(L, "seen")]) is None
    assert Program.of({"o": "recent + kept.x"}, ENV).kind_of("o") == Kind(L, "kept")
    assert [shape.listed for shape in Shape] == [False, True, False, True]


def test_common_parts_are_found_once_over_all_outputs() -> None:
    program = Program.of({"p": "sum(kept.x * 2 + a)", "q": "mean(a + 2 * kept.x)", "r": "sum(2 * kept.x + a) + 1"}, ENV)
    assert sorted(step.op for step in program.steps) == ["add", "add", "mean", "mul", "sum", "write", "write", "write"]


def test_constants_fold_and_registers_are_shared() -> None:
    program = Program.of({"p": "a + (1 + 2 * 3) ** 2 + log(0)"}, ENV)
    assert [step.op for step in program.steps] == ["add", "add", "write"]
    chain = Program.of({"p": " + ".join(f"log(a * {i})" for i in range(2, 30))}, ENV)
    assert len(chain.registers) <= 4


def test_a_program_is_plain_data() -> None:
    texts = {"p": "sum(kept.x > item.c)", "q": "a + empty"}
    program, again = Program.of(texts, ENV), Program.of(dict(texts), ENV)
    assert program == again
    assert hash(program) == hash(again)
    assert pickle.loads(pickle.dumps(program)) == program
    assert program.fingerprint() == again.fingerprint()
    assert program.fingerprint() != Program.of(texts | {"q": "a + 1"}, ENV).fingerprint()
    assert program.reads == {"p": ("item.c", "kept.x"), "q": ("a",)}
    assert program.shape_of("p") is C
    assert program.of_shape(R) == ("q",)
    assert set(program.names) == {"a", "item.c", "kept.x"}


def test_the_twin_folds_as_it_runs() -> None:
    assert math.isnan(scalar("div", 1.0, 0.0))
    assert math.isnan(scalar("exp", 1000.0))
    assert math.copysign(1.0, scalar("floor", -0.0)) == -1.0
    assert value(parse("sum(kept.x)", ENV), {"kept.x": np.array([[1.0, NAN, 2.0]])}, 0, 0, 0) == 3.0
