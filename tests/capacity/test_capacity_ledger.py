"""Attribution without a rest, and a ledger that cannot flatter: twenty planted frauds."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.capacity_frauds import BASE, FRAUDS, MEASURED, NET, honest, write
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import CapacityError
from mainstem.capacity.attribution import attribute, log_mean, shapley
from mainstem.capacity.ledger import append, read_ledger
from mainstem.capacity.savings import Baseline, saving

ANY = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=6
)


@given(pairs=ANY)
@settings(max_examples=150, deadline=None)
def test_the_parts_add_up_to_the_change(pairs: dict[str, tuple[float, float]]):
    before, after = ({name: pair[at] for name, pair in pairs.items()} for at in (0, 1))
    change = math.prod(after.values()) - math.prod(before.values())
    scale = max(1.0, math.prod(after.values()), math.prod(before.values()))
    assert abs(math.fsum(attribute(before, after).values()) - change) <= 1e-9 * scale
    if len(pairs) <= 4:
        parts = shapley(lambda drivers: math.prod(drivers.values()), before, after)
        assert abs(math.fsum(parts.values()) - change) <= 1e-9 * scale


def test_the_logarithmic_mean_is_steady_and_attribution_names_who_moved():
    assert log_mean(2.0, 2.0) == 2.0
    assert log_mean(1.0 + 1e-13, 1.0) == pytest.approx(1.0, abs=1e-12)
    parts = attribute({"demand": 100.0, "cost": 2.0}, {"demand": 100.0, "cost": 1.0})
    assert parts == {"demand": 0.0, "cost": pytest.approx(-100.0, abs=1e-9)}


def test_demand_moves_the_counterfactual_and_not_the_saving():
    found = saving(BASE, MEASURED, dual=30, migration=10)
    assert (found.counterfactual, found.actual, found.net) == (1_200.0, 720.0, NET)
    assert math.fsum(found.parts.values()) == pytest.approx(720.0 - 1_000.0, abs=1e-9)
    assert saving(BASE, {**BASE.demand, **BASE.efficiency, "requests": 10.0}).gross == 0.0


def test_an_honest_claim_counts_once_it_is_verified(tmp_path: Path):
    file = tmp_path / "ledger.jsonl"
    write(file, honest()[:5])
    assert read_ledger(file).book.verified == {"GPU-h/wk": 0.0}
    write(file, honest()[5:])
    found = read_ledger(file)
    assert found.book.verified == {"GPU-h/wk": NET}
    assert found.book.promised == {"GPU-h/wk": 380.0}
    append(
        file, "correction", "S1", "ann", "2026-06-03", {"of": 4, "amount": 400.0, "reason": "a node was counted twice"}
    )
    assert read_ledger(file, head=found.head).book.verified == {"GPU-h/wk": 400.0}
    append(file, "receipt void", "S1", "bob", "2026-06-04", {"receipt": "R-1", "reason": "taken back"})
    assert read_ledger(file).book.verified == {"GPU-h/wk": 0.0}
    append(file, "withdrawn", "S1", "ann", "2026-06-05", {"reason": "the surface went"})
    assert read_ledger(file).book.claims["S1"].state == "withdrawn"
    append(file, "idea", "S9", "ann", "2026-06-06", {"title": "again", "scope": "feed/rank"})


@pytest.mark.parametrize("name", FRAUDS)
def test_a_planted_fraud_is_refused_and_nothing_is_written(name: str, tmp_path: Path):
    fraud, code = FRAUDS[name]
    file = tmp_path / "ledger.jsonl"
    with pytest.raises(CapacityError) as refused:
        write(file, fraud(honest()))
    assert refused.value.code == code
    read_ledger(file)


@pytest.mark.parametrize("how", ["edited", "removed", "swapped", "cut", "replaced", "no json"])
def test_a_file_that_was_tampered_with_is_refused(how: str, tmp_path: Path):
    file = tmp_path / "ledger.jsonl"
    write(file, honest())
    head = read_ledger(file).head
    lines = file.read_bytes().splitlines(keepends=True)
    match how:
        case "edited":
            entry = json.loads(lines[2])
            entry["body"]["amount"] = 1
            lines[2] = json.dumps(entry).encode() + b"\n"
        case "removed":
            del lines[3]
        case "swapped":
            lines[1], lines[2] = lines[2], lines[1]
        case "cut":
            lines[-1] = lines[-1][:-20]
        case "no json":
            lines[-1] = b"saved\n"
        case _:
            lines = lines[:-1]
    file.write_bytes(b"".join(lines))
    with pytest.raises(CapacityError) as refused:
        read_ledger(file, head=head)
    assert refused.value.code == ("capacity-042" if how == "replaced" else "capacity-041")


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (lambda: attribute({"a": 1}, {"b": 1}), "capacity-030"),
        (lambda: attribute({"a": 1}, {"a": 0}), "capacity-030"),
        (lambda: shapley(lambda _: 0.0, {}, {}), "capacity-030"),
        (lambda: Baseline("x", "u", {"a": 1.0}, {"a": 1.0}), "capacity-031"),
    ],
)
def test_what_cannot_be_attributed_is_refused(broken: Callable[[], object], code: str):
    with pytest.raises(CapacityError) as refused:
        broken()
    assert refused.value.code == code
